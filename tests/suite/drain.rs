//! A node that is told to go: what it does step by step, and that nothing holds it up for ever.

mod rolling;

use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::support::cluster::Cluster;
use crate::support::node::{Node, PATIENCE, Settings, Single, unique};
use crate::support::postgres;

/// What "at once" may take on a busy machine.
const SOON: Duration = Duration::from_secs(8);

async fn joined(url: &str, account: &Account, room: &str) -> Socket {
    let mut socket = Opening::new(url).cookies(&account.http).welcomed().await.expect("a socket");
    let answer = socket.join(room).await.expect("an answer");
    assert_eq!(answer["type"], "joined", "{answer}");
    socket
}

/// Waits until the node says that it is going; how long that took.
async fn draining(node: &Node) -> Duration {
    let began = Instant::now();
    let http = Http::new(&node.admin_url());
    loop {
        let answer = http.get("/readyz").await.expect("the node still answers");
        if answer.status == 503 {
            assert_eq!(answer.json()["failing"][0], "draining", "{}", answer.json());
            return began.elapsed();
        }
        assert!(began.elapsed() < SOON, "it is still ready");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_goes_step_by_step() {
    let (delay, timeout) = (Duration::from_secs(3), Duration::from_secs(25));
    let single = Single::start_with(&[("SALON_DRAIN__DELAY_S", "3"), ("SALON_DRAIN__TIMEOUT_S", "25")]).await;
    let alice = single.user("alice").await;
    let room = alice.http.create_room(&unique("drain"), "public").await.expect("a room").slug;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(joined(&single.url(), &alice, &room).await);
    }
    single.node.signal("TERM");
    let began = Instant::now();
    eprintln!("unready after {:?}", draining(&single.node).await);

    // The load balancer may not know yet: whoever comes is served, but is to come anew the next time.
    sockets.push(joined(&single.url(), &alice, &room).await);
    assert!(began.elapsed() < delay, "too late to tell: {:?}", began.elapsed());
    for _ in 0..2 {
        let answer = alice.http.get("/api/account").await.expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert!(sockets[0].drained().await.expect("alive").iter().all(|frame| frame["type"] != "reconnect"));

    let mut moves = Duration::ZERO;
    for socket in &mut sockets {
        let told = socket.expect("reconnect").await.expect("told");
        assert_eq!(told["reason"], "draining", "{told}");
        assert!(began.elapsed() >= delay, "told before the delay was over: {:?}", began.elapsed());
        moves = moves.max(Duration::from_millis(told["within_ms"].as_u64().expect("a number")));
    }
    let asked = began.elapsed();
    assert!(moves > Duration::from_secs(1) && delay + moves < timeout, "{moves:?}");
    refuses_sockets(&alice).await;

    // All of them stay and talk until they are closed.
    let stays = sockets.iter_mut().map(async |socket| {
        let mut acked = 0;
        loop {
            match socket.ask(json!({"type": "send", "room": room, "content": "still here"})).await {
                Ok(answer) => assert_eq!(answer["type"], "ack", "{answer}"),
                Err(error) => {
                    assert!(error.contains("closed with Some(1012)"), "{error}");
                    return (acked, began.elapsed());
                }
            }
            acked += 1;
            sleep(Duration::from_millis(20)).await;
        }
    });
    let stays = futures_util::future::join_all(stays).await;
    let closed = stays[0].1;
    assert!(stays.iter().all(|(acked, at)| *acked > 10 && *at >= delay + moves), "{stays:?}");
    assert_eq!(single.node.ended(PATIENCE).await, 0);
    let ended = began.elapsed();
    assert!(ended < timeout, "{ended:?}");
    eprintln!("asked by {asked:?} to go within {moves:?}, closed at {closed:?}, ended at {ended:?} of {timeout:?}");
    let acked: usize = stays.iter().map(|(acked, _)| acked).sum();
    single.node.restart().await;
    let head = alice.http.room(&room).await.expect("the room").seq;
    let unanswered = usize::try_from(head).expect("a count") - acked;
    assert!(unanswered <= stays.len(), "{acked} were acknowledged, {head} are stored");
}

/// A further socket is refused before the upgrade, and told to try again.
async fn refuses_sockets(who: &Account) {
    let upgrade = who.http.call("GET", "/ws").header("connection", "upgrade").header("upgrade", "websocket");
    let upgrade = upgrade.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let refused = upgrade.send().await.expect("an answer");
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("unavailable")), "{}", refused.json());
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    let other = who.http.get("/api/account").await.expect("an answer");
    assert_eq!(other.status, 200, "requests are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_twice_it_ends_at_once() {
    let single = Single::start_with(&[("SALON_DRAIN__DELAY_S", "60"), ("SALON_DRAIN__TIMEOUT_S", "120")]).await;
    single.node.signal("TERM");
    draining(&single.node).await;
    single.node.signal("TERM");
    let again = Instant::now();
    assert_eq!(single.node.ended(SOON).await, 0);
    eprintln!("ended {:?} after the second signal", again.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_terminal_there_is_no_delay() {
    let single = Single::start_with(&[("SALON_DRAIN__DELAY_S", "60"), ("SALON_DRAIN__TIMEOUT_S", "120")]).await;
    let alice = single.user("alice").await;
    let mut socket = Opening::new(&single.url()).cookies(&alice.http).welcomed().await.expect("a socket");
    single.node.signal("INT");
    socket.expect("reconnect").await.expect("told at once");
    socket.close().await;
    assert_eq!(single.node.ended(SOON).await, 0);
}

/// A reader whose buffers are full and a request that never comes to its end: neither goes by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_goes_holds_nothing_up() {
    const MESSAGES: usize = 450;
    let timeout = Duration::from_secs(6);
    let single = Single::start_with(&[("SALON_DRAIN__TIMEOUT_S", "6")]).await;
    let alice = single.user("alice").await;
    let room = alice.http.create_room(&unique("stuck"), "public").await.expect("a room").slug;
    let mut writer = joined(&single.url(), &alice, &room).await;
    let content = "\u{1f980}".repeat(4_000);
    for _ in 0..MESSAGES {
        writer.send(json!({"type": "send", "room": room, "content": content})).await.expect("sent");
        writer.expect("ack").await.expect("an ack");
        writer.passed.clear();
    }
    let cookies = alice.http.cookie_header("/ws").expect("cookies");
    let address = single.url().replace("http://", "");
    // A small window, so that what waits in the kernel is not all there is.
    let stuck = TcpSocket::new_v4().expect("a socket");
    stuck.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stuck = stuck.connect(address.parse().expect("an address")).await.expect("connected");
    let head = format!(
        "GET /ws/chat/{room}/?after=0 HTTP/1.1\r\nHost: {address}\r\nCookie: {cookies}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stuck.write_all(head.as_bytes()).await.expect("sent");
    let mut start = [0; 12];
    stuck.read_exact(&mut start).await.expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 101");
    let mut endless = TcpStream::connect(&address).await.expect("connected");
    let head = format!(
        "POST /api/rooms/{room}/messages HTTP/1.1\r\nHost: {address}\r\nCookie: {cookies}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    endless.write_all(head.as_bytes()).await.expect("sent");

    single.node.signal("TERM");
    let began = Instant::now();
    assert_eq!(single.node.ended(PATIENCE).await, 0);
    eprintln!("ended after {:?}, of at most {timeout:?}", began.elapsed());
    assert!(began.elapsed() < timeout + Duration::from_secs(2), "{:?}", began.elapsed());
    drop((stuck, endless));
}

/// A database that refuses, and one that takes connections and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_still_starts_ends_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = silent.local_addr().expect("its address").port();
    for port in [1, silent] {
        let env = [
            ("SALON_DATABASE__URL", format!("postgres://nobody@127.0.0.1:{port}/nothing")),
            ("SALON_AUTH__SECRET", "a secret of the tests that is long enough".into()),
            ("SALON_DRAIN__DELAY_S", "60".into()),
            ("SALON_DRAIN__TIMEOUT_S", "120".into()),
        ];
        let env = env.map(|(key, value)| (key.to_owned(), value)).into();
        let node = Node::launched("starting", Settings { env, ..Settings::default() });
        let http = Http::new(&node.url());
        let began = Instant::now();
        while http.get("/livez").await.is_err() {
            assert!(node.is_running() && began.elapsed() < PATIENCE, "{}", node.log_tail());
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(http.get("/readyz").await.expect("an answer").json()["failing"], json!(["starting"]));
        node.signal("TERM");
        let told = Instant::now();
        assert_eq!(node.ended(SOON).await, 0);
        eprintln!("ended {:?} after SIGTERM, with its database at port {port}", told.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_under_way_gets_its_answer() {
    let cluster = Cluster::of(2).env("SALON_DRAIN__TIMEOUT_S", "20").start().await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("under-way"), "public").await.expect("a room");
    let mut socket = joined(&cluster.url(0), &alice, &room.slug).await;
    let holder = postgres::connect(&cluster.database).await;
    let hold = format!("BEGIN; SELECT seq FROM room_clocks WHERE room_id = {} FOR UPDATE", room.id);
    holder.batch_execute(&hold).await.expect("the clock is held");
    let nonce = unique("nonce");
    let path = format!("/api/rooms/{}/messages", room.slug);
    let send = async {
        let body = json!({"content": "by request", "nonce": nonce});
        alice.http.post(&path, body).await
    };
    let frame = json!({"type": "send", "room": room.slug, "content": "by frame"});
    let told = async {
        // Nothing shows from outside that both have come so far as to wait for the clock, so they get a moment.
        sleep(Duration::from_millis(500)).await;
        cluster.nodes[0].signal("TERM");
        draining(&cluster.nodes[0]).await;
        holder.batch_execute("COMMIT").await.expect("the clock is free");
    };
    let (answer, ack, ()) = tokio::join!(send, socket.ask(frame), told);
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (201, Some("close")), "{}", answer.json());
    let ack = ack.expect("an ack");
    assert_eq!(ack["type"], "ack", "{ack}");
    socket.close().await;
    assert_eq!(cluster.nodes[0].ended(PATIENCE).await, 0);
    let history = alice.http.at(&cluster.url(1)).history(&room.slug).await.expect("history");
    let told: Vec<&str> = history.messages.iter().map(|message| message.content.as_str()).collect();
    assert!(told.len() == 2 && told.contains(&"by request") && told.contains(&"by frame"), "{told:?}");
}

/// Who comes and goes, as one socket was told.
fn comings(frames: &[Value]) -> Vec<(String, String)> {
    let of_people = |frame: &&Value| matches!(frame["type"].as_str(), Some("user_join" | "user_leave" | "user_list"));
    let word = |frame: &Value, key: &str| frame[key].as_str().unwrap_or_default().to_owned();
    frames.iter().filter(of_people).map(|frame| (word(frame, "type"), word(frame, "user"))).collect()
}
