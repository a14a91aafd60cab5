//! How long somebody may take.

use std::time::{Duration, Instant};

use salon::engine::http::Http;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::node::{PATIENCE, Single};
use crate::websocket::{joined, room};

/// Writes a byte every now and then until the other side has closed; what it said, and after how long.
async fn trickle(single: &Single, head: &str) -> (String, Duration) {
    let mut socket = TcpStream::connect(Http::new(&single.url()).authority()).await.expect("a connection");
    let started = Instant::now();
    socket.write_all(head.as_bytes()).await.expect("taken");
    let (mut read, mut write) = socket.split();
    let mut told = Vec::new();
    let writing = async {
        while write.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // A reset is an end too.
        done = timeout(PATIENCE, read.read_to_end(&mut told)) => drop(done.expect("it is closed in time")),
        () = writing => {}
    }
    (String::from_utf8_lossy(&told).into_owned(), started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_or_a_body_that_trickles_in_is_not_waited_for() {
    let times = [("SALON_SERVER__HEADER_TIMEOUT_S", "1"), ("SALON_SERVER__REQUEST_TIMEOUT_S", "2")];
    let single = Single::start_with(&times).await;
    let (_, after) = trickle(&single, "GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    assert!(after >= Duration::from_millis(900) && after < Duration::from_secs(10), "a head: {after:?}");
    let head = "POST /api/account/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Content-Length: 5000\r\n\r\n{\"username\":\"";
    let (told, after) = trickle(&single, head).await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("\"unavailable\""), "{told}");
    assert!(after >= Duration::from_millis(1_900) && after < Duration::from_secs(15), "a body: {after:?}");
}

/// A reader that reads nothing: what waits for it is bounded, nobody else waits for it, and in the end it is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_costs_its_queue_and_is_closed() {
    const QUEUE_BYTES: f64 = 262_144.0;
    let single = Single::start_with(&[("SALON_NODE__STALL_TIMEOUT_S", "2"), ("SALON_NODE__HEARTBEAT_S", "3600")]).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(&single, &alice, &room).await;
    let _unread = joined(&single, &bob, &room).await;
    let deadline = Instant::now() + PATIENCE;
    let mut most: f64 = 0.0;
    // The kernel's buffers hold some megabytes before anything waits in the node.
    loop {
        for number in 0..20 {
            let content = "\u{1f980}".repeat(4_000);
            let frame = json!({"type": "send", "room": room, "content": content, "ref": number});
            hers.feed_text(frame.to_string()).await.expect("alive");
        }
        for _ in 0..20 {
            hers.expect("ack").await.expect("she is not held up");
            hers.passed.clear();
        }
        most = most.max(single.node.metric("salon_queue_bytes").await);
        if single.node.metrics().await.contains("salon_closes_total{code=\"4008\"} 1") {
            break;
        }
        assert!(Instant::now() < deadline, "it was never closed; {most} bytes waited");
    }
    println!("at most {most} bytes waited");
    assert!(most < 3.0 * QUEUE_BYTES, "two readers, and {most} bytes waited");
    hers.drained().await.expect("she stays");
}
