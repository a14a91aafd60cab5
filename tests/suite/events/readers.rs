//! Streams that are read slowly or not at all.

use std::time::{Duration, Instant};

use salon::engine::http::{Account, authority};
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket as Raw, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::reaches;
use crate::support::node::Single;
use crate::websocket::{joined, room};

const CAUGHT_UP: Duration = Duration::from_secs(60);

/// A connection with a small window that has asked for a stream and reads nothing of it yet.
pub async fn raw(single: &Single, account: &Account, room: &str) -> TcpStream {
    let url = single.url();
    let authority = authority(&url);
    let raw = Raw::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    raw.set_recv_buffer_size(4_096).expect("a small window");
    raw.set_tcp_mss(1_000).expect("small segments");
    let address: std::net::SocketAddr = authority.parse().expect("an address");
    raw.connect(&SockAddr::from(address)).expect("connected");
    raw.set_nonblocking(true).expect("for the runtime");
    let mut tcp = TcpStream::from_std(raw.into()).expect("for the runtime");
    let cookies = account.http.cookie_header("/api/rooms").expect("logged in");
    let head = format!(
        "GET /api/rooms/{room}/events?limit=0 HTTP/1.1\r\nHost: {authority}\r\nCookie: {cookies}\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.expect("sent");
    let mut start = [0; 15];
    tcp.read_exact(&mut start).await.expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    tcp
}

/// What a slow reader misses is not kept for it: it is read again from the store when it reads, with nothing missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_caught_up_and_costs_its_queue() {
    const MESSAGES: u64 = 600;
    let settings = [("SALON_LIMITS__QUEUE_BYTES", "65536"), ("SALON_NODE__HEARTBEAT_S", "600")];
    let single = Single::start_with(&settings).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut slow = raw(&single, &bob, &room).await;
    let mut hers = joined(&single, &alice, &room).await;
    let filler = "y".repeat(3_000);
    for number in 1..=MESSAGES {
        let send = json!({"type": "send", "room": room, "content": format!("{number} {filler}")});
        assert_eq!(hers.ask(send).await.expect("an answer")["type"], "ack");
    }
    assert!(single.node.metric("salon_queue_overflows_total").await >= 1.0, "it never fell behind");
    let queued = single.node.metric("salon_queue_bytes").await;
    assert!(queued <= 2.0 * 65_536.0, "{queued} bytes are kept for it");

    let mut told = 0;
    let mut unread = String::new();
    let read = async {
        let mut bytes = vec![0; 64 << 10];
        while told < MESSAGES {
            let count = slow.read(&mut bytes).await.expect("not cut off");
            assert_ne!(count, 0, "it ended at {told}");
            unread.push_str(std::str::from_utf8(&bytes[..count]).expect("all of it is ASCII"));
            told = contiguous(&mut unread, told);
        }
    };
    let began = Instant::now();
    timeout(CAUGHT_UP, read).await.expect("all of it in time");
    eprintln!("a stream that had stalled had all {MESSAGES} messages {:?} after it was read again", began.elapsed());
}

/// Takes whole chunks and events off the text, and checks that each change follows the one before.
fn contiguous(unread: &mut String, mut told: u64) -> u64 {
    while let Some(at) = unread.find("data: {") {
        let Some(end) = unread[at..].find("\n\n") else { break };
        // A chunk of HTTP is one or more whole events, so no chunk's head stands within.
        let frame: Value = serde_json::from_str(&unread[at + 6..at + end]).expect("a frame");
        if let Some(seq) = frame["seq"].as_u64().filter(|_| frame["type"] == "chat_message") {
            let from = frame["from"].as_u64().unwrap_or(seq);
            assert_eq!(from, told + 1, "not contiguous: {frame}");
            told = seq;
        }
        unread.drain(..at + end);
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let single = Single::start_with(&[("SALON_NODE__STALL_TIMEOUT_S", "1")]).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut slow = raw(&single, &bob, &room).await;
    let mut hers = joined(&single, &alice, &room).await;
    let filler = "z".repeat(3_900);
    let stalled = async || single.node.metrics().await.contains("salon_closes_total{code=\"4008\"} 1");
    let began = Instant::now();
    while !stalled().await {
        assert!(began.elapsed() < Duration::from_secs(60), "it is still kept");
        for _ in 0..50 {
            hers.ask(json!({"type": "send", "room": room, "content": filler})).await.expect("an answer");
        }
    }
    reaches(&single, "salon_event_streams", 0.0).await;
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(20), slow.read_to_end(&mut rest)).await.expect("the connection is gone");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it is no orderly end: {end:?}");
}
