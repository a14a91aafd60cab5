//! How many there may be at once.

use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use salon::engine::socket::{Opening, Refused, Socket};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{PROXIED, from};
use crate::support::node::{Folder, Node, PATIENCE, Settings, Single, unique};
use crate::websocket::say;

fn assert_refused(outcome: Result<Socket, Refused>, status: u16, code: &str) {
    let refused = outcome.expect_err("refused");
    let body: Value = serde_json::from_str(&refused.body).unwrap_or_default();
    assert_eq!((refused.status, body["code"].as_str()), (status, Some(code)), "{refused:?}");
}

/// The place of a closed socket is free as soon as the server has seen the close.
async fn opens(opening: &Opening) -> Socket {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match opening.open().await {
            Ok(socket) => return socket,
            Err(refused) => assert!(Instant::now() < deadline, "the place was never given back: {refused:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_an_address_are_bounded_whoever_they_are_of() {
    let single = Single::start_with(&[("SALON_LIMITS__SOCKETS_PER_ADDRESS", "2"), PROXIED]).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    // A /64 of IPv6 is one address.
    let first = from(&single, &alice, "2001:db8:0:1::1").open().await.expect("the first");
    let _second = from(&single, &bob, "2001:db8:0:1:ffff::2").open().await.expect("the second");
    assert_refused(from(&single, &bob, "2001:db8:0:1::3").open().await, 429, "rate_limited");
    let _other = from(&single, &bob, "2001:db8:0:2::1").open().await.expect("of another network");
    // What the client itself wrote into the header does not count.
    let _v4 = from(&single, &alice, "192.0.2.1").open().await.expect("the first");
    let _mapped = from(&single, &alice, "::ffff:192.0.2.1").open().await.expect("the second");
    assert_refused(from(&single, &alice, "203.0.113.7, 192.0.2.1").open().await, 429, "rate_limited");
    let _near = from(&single, &alice, "192.0.2.2").open().await.expect("IPv4 counts one by one");
    first.close().await;
    opens(&from(&single, &alice, "2001:db8:0:1::9")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_sends_sockets_elsewhere_and_answers_all_else() {
    let single = Single::start_with(&[("SALON_LIMITS__SOCKETS_PER_NODE", "2")]).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let open = |account: &Account| Opening::new(&single.url()).cookies(&account.http);
    let (first, mut second) = (open(&alice).open().await.expect("one"), open(&bob).welcomed().await.expect("two"));
    assert_refused(open(&alice).open().await, 503, "unavailable");
    assert_eq!(alice.http.get("/api/account").await.expect("an answer").status, 200);
    second.drained().await.expect("who is in stays");
    first.close().await;
    opens(&open(&alice)).await;
}

/// CPU time of a process so far.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..=12].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_out_of_descriptors_does_not_spin_serves_who_is_in_and_recovers() {
    let data = Folder::new("descriptors");
    let mut settings = Settings { descriptors: Some(80), ..Settings::default() };
    let database = format!("sqlite:{}", data.path().join("salon.db").display());
    settings.env.push(("SALON_DATABASE__URL".to_owned(), database));
    // Who says nothing keeps its descriptor until the test gives it back.
    settings.env.push(("SALON_SERVER__HEADER_TIMEOUT_S".to_owned(), "120".to_owned()));
    let node = Node::start("descriptors", settings).await;
    let alice = Account::register(&node.url(), &unique("alice")).await.expect("registration");
    let room = alice.http.create_room("descriptors", "public").await.expect("a room").slug;
    let mut socket = Opening::new(&node.url()).cookies(&alice.http).welcomed().await.expect("a socket");
    let address = Http::new(&node.url()).authority().to_owned();
    let mut idle = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !node.log_tail().contains("cannot accept connections") {
        // The kernel takes connections up to its queue's length; the node takes as many as it has descriptors.
        idle.push(TcpStream::connect(&address).await.expect("the kernel takes it"));
        assert!(idle.len() < 1_000 && Instant::now() < deadline, "it never ran out of descriptors");
        sleep(Duration::from_millis(5)).await;
    }
    let (before, since) = (cpu(node.pid()), Instant::now());
    let mut acks = 0;
    while since.elapsed() < Duration::from_secs(2) {
        acks = say(&mut socket, &room, "who is in is served").await;
        sleep(Duration::from_millis(100)).await;
    }
    let used = cpu(node.pid()) - before;
    println!("{} connections over 80 descriptors: {used:?} of CPU in 2 s, {acks} acknowledgements", idle.len());
    assert!(used < Duration::from_millis(700), "it spins: {used:?} of CPU in {:?}", since.elapsed());
    drop(idle);
    node.ready(PATIENCE).await.expect("it recovers");
    let answer = Http::new(&node.url()).get("/livez").await.expect("a new connection is taken");
    assert_eq!(answer.json(), json!({"status": "alive"}));
    say(&mut socket, &room, "and goes on").await;
}
