//! Readers that stall, vanish, all come back at once, or lie about what they have.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use salon::engine::http::{Account, authority};
use salon::engine::socket::{Opening, Socket};
use salon::engine::workload::{Pace, Plan, Stop, percentile};
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket as Raw, Type};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::database::{QUIET, cluster_on, joined, well};
use crate::support::cluster::{Cluster, assert_green};
use crate::support::measure::{SLACK, measured};
use crate::support::node::{Single, unique};
use crate::support::postgres::{self, Postgres};
use crate::support::proxy::{Proxy, Way};

/// Delivery beside readers that stall.
const UNAFFECTED: Duration = Duration::from_millis(500);

/// From reading again to having everything; not promised, and what a person would wait.
const CAUGHT_UP: Duration = Duration::from_secs(20);

/// What a node's memory may grow by for reasons of its own under the load.
const SLACK_BYTES: u64 = 32 << 20;

/// A reader whose machine takes next to nothing in its name: small segments and a small window, so that what it does
/// not read stays with the node.
struct Narrow {
    stream: WebSocketStream<TcpStream>,
    /// Where it stands; the next change must begin right after.
    seq: u64,
}

impl Narrow {
    async fn join(url: &str, account: &Account, room: &str) -> Narrow {
        let authority = authority(url);
        let raw = Raw::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        raw.set_recv_buffer_size(4_096).expect("a small window");
        raw.set_tcp_mss(1_000).expect("small segments");
        let address: std::net::SocketAddr = authority.parse().expect("an address");
        raw.connect(&SockAddr::from(address)).expect("connected");
        raw.set_nonblocking(true).expect("for the runtime");
        let tcp = TcpStream::from_std(raw.into()).expect("for the runtime");
        let mut request = format!("ws://{authority}/ws").into_client_request().expect("a request");
        let cookies = account.http.cookie_header("/ws").expect("logged in");
        request.headers_mut().append("cookie", cookies.parse().expect("a header"));
        let (stream, _) = client_async(request, tcp).await.expect("a socket");
        let mut narrow = Narrow { stream, seq: 0 };
        let join = json!({"type": "join", "room": room, "limit": 0}).to_string();
        narrow.stream.send(Message::Text(join.into())).await.expect("alive");
        loop {
            let frame = narrow.frame().await;
            if frame["type"] == "joined" {
                narrow.seq = frame["seq"].as_u64().expect("a number");
                return narrow;
            }
        }
    }

    async fn frame(&mut self) -> Value {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
                Some(Ok(Message::Close(close))) => panic!("closed: {close:?}"),
                Some(Ok(_)) => {}
                other => panic!("cut off: {other:?}"),
            }
        }
    }

    /// Reads to `head`, each change right after the one before. Gives how many frames that took.
    async fn reaches(&mut self, head: u64) -> u64 {
        let mut frames = 0;
        while self.seq < head {
            let frame = self.frame().await;
            let Some(seq) = frame["seq"].as_u64().filter(|_| !frame["content"].is_null()) else { continue };
            let from = frame["from"].as_u64().unwrap_or(seq);
            assert_eq!(from, self.seq + 1, "not contiguous: {frame}");
            self.seq = seq;
            frames += 1;
        }
        frames
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_cost_their_queue_and_complete_later() {
    const STALLED: usize = 300;
    const QUEUE_BYTES: u64 = 65_536;
    let queue = QUEUE_BYTES.to_string();
    // Only the queue is tested: nobody is closed for not answering.
    let settings = [
        ("SALON_LIMITS__QUEUE_BYTES", queue.as_str()),
        ("SALON_NODE__STALL_TIMEOUT_S", "600"),
        ("SALON_NODE__HEARTBEAT_S", "600"),
    ];
    let single = Single::start_with(&settings).await;
    let plan = Plan {
        nodes: vec![single.url()],
        prefix: unique("stall"),
        clients: 10,
        rooms: 1,
        stop: Stop::Told,
        pace: Pace::PerSecond(40.0),
        content_chars: 1_500,
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    running.progress(20, QUIET).await.expect("it works");
    let people = [single.user("stalled").await, single.user("stalled").await];
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        stalled.push(Narrow::join(&single.url(), &people[number % 2], &running.rooms[0]).await);
    }
    let before = single.node.resident_bytes();
    let overflowed = async {
        // Each of them once at least; from then on they hold all that they can.
        while single.node.metric("salon_queue_overflows_total").await < STALLED as f64 {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(2 * QUIET, overflowed).await.expect("the queues overflow");
    let (mut grown, mut queued) = (0, 0.0_f64);
    let target = running.acked() + 200;
    while running.acked() < target {
        grown = grown.max(single.node.resident_bytes().saturating_sub(before));
        queued = queued.max(single.node.metric("salon_queue_bytes").await);
        sleep(Duration::from_millis(100)).await;
    }
    let bound = QUEUE_BYTES * STALLED as u64;
    println!("fault: {STALLED} readers stall: memory grew by {grown} bytes, {queued} queued; bound {bound}");
    assert!(grown <= bound + SLACK_BYTES, "memory grew by {grown} bytes");
    // Those who read may have something queued, too.
    assert!(queued <= (bound + 10 * QUEUE_BYTES) as f64, "{queued} bytes are queued");
    well(&single.node).await;
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("readers that stall", &finished, &[&single.node]);
    let p99 = percentile(&finished.timings().delivery, 0.99);
    measured("readers stall", "p99 of delivery to the others", p99, UNAFFECTED);

    let head = finished.histories[0].head;
    let began = Instant::now();
    let reading = futures_util::future::join_all(stalled.iter_mut().map(|narrow| narrow.reaches(head)));
    let frames = timeout(SLACK * CAUGHT_UP, reading).await.expect("all of them complete");
    measured("readers stalled and read again", "all have everything", began.elapsed(), CAUGHT_UP);
    println!("fault: {STALLED} readers stall: {} frames to one of them", frames[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_comes_back_asks_the_database_little() {
    const CROWD: usize = 1_500;
    const PEOPLE: usize = 15;
    const MISSED: u64 = 10;
    const BACK: Duration = Duration::from_secs(20);
    let server = Postgres::start_with(&["shared_preload_libraries=pg_stat_statements"]);
    let database = server.fresh_database().await;
    postgres::execute(&database, "CREATE EXTENSION pg_stat_statements").await;
    let nodes = cluster_on(&database, &[&[]]).await;
    let node = &nodes[0];
    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        people.push(Account::register(&node.url(), &unique("crowd")).await.expect("registration"));
    }
    let room = people[0].http.create_room(&unique("crowd"), "public").await.expect("a room").slug;
    let mut speaker = joined(&node.url(), &people[0], &room).await;
    for number in 0..MISSED * 3 {
        let send = json!({"type": "send", "room": room, "content": format!("{number}")});
        assert_eq!(speaker.ask(send).await.expect("an answer")["type"], "ack");
    }
    let (head, after) = (MISSED * 3, MISSED * 2);
    let come = async |number: usize| -> Socket {
        let account = &people[number % PEOPLE];
        loop {
            // The kernel's queue of connections may be full for a moment; a client comes again.
            let Ok(mut socket) = Opening::new(&node.url()).cookies(&account.http).welcomed().await else { continue };
            let joined = socket.ask(json!({"type": "join", "room": room, "after": after})).await.expect("an answer");
            let seqs: Vec<u64> = joined["messages"]
                .as_array()
                .expect("messages")
                .iter()
                .map(|m| m["seq"].as_u64().unwrap_or(0))
                .collect();
            assert_eq!((seqs, &joined["reset"]), ((after + 1..=head).collect(), &json!(false)), "{joined}");
            return socket;
        }
    };
    let statements = async || -> i64 {
        let client = postgres::connect(&database).await;
        let sql =
            "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
            WHERE d.datname = current_database()";
        client.query_one(sql, &[]).await.expect("a row").get(0)
    };
    drop(speaker);
    // Nothing is in the node's memory when they come.
    node.kill9();
    node.restart().await;
    let (before, began) = (statements().await, Instant::now());
    let crowd =
        timeout(SLACK * BACK, futures_util::future::join_all((0..CROWD).map(come))).await.expect("all are back");
    let took = began.elapsed();
    let asked = statements().await - before;
    println!("fault: {CROWD} sockets come back at once; measured {asked} database queries; bound {}", CROWD / 5);
    measured("1,500 sockets come back at once", "all have what they missed", took, BACK);
    assert!(asked < i64::try_from(CROWD / 5).expect("small"), "{asked} queries for {CROWD} sockets");
    well(node).await;
    drop(crowd);
}

/// The other end vanishes without a word: nothing is closed, nothing arrives any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_clients_are_let_go() {
    const GONE: Duration = Duration::from_secs(2);
    /// Its leave is told some seconds after, lest a page's reload be one.
    const LEFT: Duration = Duration::from_secs(2 + 5);
    let single = Single::start_with(&[("SALON_NODE__HEARTBEAT_S", "1"), ("SALON_NODE__PONG_TIMEOUT_S", "1")]).await;
    let target = authority(&single.url()).to_owned();
    let (deaf, vanished) = (Proxy::plain(&target).await, Proxy::plain(&target).await);
    let (alice, bob, cid) = (single.user("alice").await, single.user("bob").await, single.user("cid").await);
    let room = alice.http.create_room(&unique("half-open"), "public").await.expect("a room").slug;
    let mut watching = joined(&single.url(), &alice, &room).await;
    let at = |proxy: &Proxy| format!("http://{}", proxy.address());
    let mut unheard = joined(&at(&deaf), &bob, &room).await;
    let mut lost = joined(&at(&vanished), &cid, &room).await;
    // It goes on reading, and so answering, for as long as anything arrives.
    let lost = tokio::spawn(async move { lost.closed(QUIET).await });
    let answering = async { tokio::join!(watching.closed(2 * GONE), unheard.closed(2 * GONE)) };
    let (hers, his) = answering.await;
    assert!(hers.is_err() && his.is_err() && !lost.is_finished(), "who answers is let go: {hers:?} {his:?}");

    deaf.blackhole(Way::ToServer);
    vanished.blackhole(Way::ToServer);
    vanished.blackhole(Way::ToClient);
    let began = Instant::now();
    let closed = async {
        let code = unheard.closed(SLACK * GONE).await.expect("closed");
        (code, began.elapsed())
    };
    let name = cid.user.username.as_str();
    let told = |frame: &Value| frame["type"] == "user_leave" && frame["user"] == name;
    let seen = async {
        watching.expect_where("the leave", SLACK * LEFT, told).await.expect("told");
        began.elapsed()
    };
    let ((code, took), left) = tokio::join!(closed, seen);
    assert_eq!(code, Some(4009));
    measured("half-open client", "closed with 4009", took, GONE);
    measured("half-open client", "its leave is told", left, LEFT);
    // The node's own end of it is gone, too.
    let deadline = began + SLACK * LEFT;
    while single.node.metric("salon_sockets").await > 1.0 {
        assert!(Instant::now() < deadline, "the socket of a client that vanished is kept");
        sleep(Duration::from_millis(100)).await;
    }
    well(&single.node).await;
    lost.abort();
}

/// What a client claims to have can be wrong in every way; what it is given never is.
async fn forged_positions(urls: &[String]) {
    let alice = Account::register(&urls[0], &unique("alice")).await.expect("registration");
    let mut rooms = Vec::new();
    for count in [3, 12] {
        let room = alice.http.create_room(&unique("forged"), "public").await.expect("a room");
        let mut socket = joined(&urls[0], &alice, &room.slug).await;
        for number in 0..count {
            let send = json!({"type": "send", "room": room.slug, "content": format!("{} {number}", room.slug)});
            assert_eq!(socket.ask(send).await.expect("an answer")["type"], "ack");
        }
        rooms.push((room, count));
    }
    let ((room, head), (other, other_head)) = (&rooms[0], &rooms[1]);
    let after = |after: Value| json!({"room": room.slug, "after": after});
    let with = |after: u64, epoch: &str| json!({"room": room.slug, "after": after, "epoch": epoch});
    let fresh = [
        after(json!(head + 1)),
        after(json!(other_head)),
        with(*other_head, &other.epoch),
        with(1, &other.epoch),
        with(0, "forged"),
        after(json!(1_u64 << 62)),
        after(json!(i64::MAX)),
    ];
    let continued =
        [(after(json!(0)), 0), (after(json!(2)), 2), (with(1, &room.epoch), 1), (with(*head, &room.epoch), *head)];
    let invalid = [json!(-1), json!(i64::MIN), json!(1e300), json!(0.5), json!("2"), json!([2]), json!({})].map(after);
    for url in urls {
        let mut socket = Opening::new(url).cookies(&alice.http).welcomed().await.expect("a socket");
        let mut ask = async |mut wish: Value| -> Value {
            wish["type"] = json!("join");
            let answer = socket.ask(wish).await.expect("an answer");
            for message in answer["messages"].as_array().into_iter().flatten() {
                assert_eq!(message["room"], room.slug, "of another room: {answer}");
                assert!(message["content"].as_str().is_some_and(|text| text.starts_with(&room.slug)), "{answer}");
            }
            answer
        };
        let seqs = |answer: &Value| -> Vec<u64> {
            let messages = answer["messages"].as_array().into_iter().flatten();
            messages.map(|message| message["seq"].as_u64().expect("a number")).collect()
        };
        for wish in &fresh {
            let told = ask(wish.clone()).await;
            assert_eq!((&told["reset"], &told["seq"]), (&json!(true), &json!(head)), "{wish}: {told}");
            assert_eq!(seqs(&told), (1..=*head).collect::<Vec<_>>(), "{wish}: {told}");
        }
        for (wish, from) in &continued {
            let told = ask(wish.clone()).await;
            assert_eq!(told["reset"], json!(false), "{wish}: {told}");
            assert_eq!(seqs(&told), (from + 1..=*head).collect::<Vec<_>>(), "{wish}: {told}");
        }
        for wish in &invalid {
            let told = ask(wish.clone()).await;
            assert_eq!(told["code"], "invalid", "{wish}: {told}");
        }
        let huge = ask(after(json!(u64::MAX))).await;
        assert!(huge["code"] == "invalid" || huge["reset"] == true, "{huge}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_position_gets_a_fresh_start_or_nothing() {
    let single = Single::shared().await;
    forged_positions(&[single.url()]).await;
    well(&single.node).await;
    let cluster = Cluster::start(2).await;
    forged_positions(&cluster.urls()).await;
    for node in &cluster.nodes {
        well(node).await;
    }
}
