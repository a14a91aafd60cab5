//! A thousand readers that stall beside a hundred that read: they cost their queues, delay nobody, and have everything
//! once they read again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use salon::engine::http::{Account, authority};
use salon::engine::socket::Socket;
use salon::engine::workload::{Pace, Plan, Stop, percentile};
use serde::Deserialize;
use serde_json::json;
use socket2::{Domain, SockAddr, Socket as Raw, Type};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::database::{QUIET, joined, well};
use super::trial::Watch;
use crate::support::cluster::assert_green;
use crate::support::measure::{SLACK, measured};
use crate::support::node::{Single, unique};

const STALLED: usize = 1_000;
const READING: usize = 100;
/// Sockets that are opened at the same time.
const AT_ONCE: usize = 16;
const QUEUE_BYTES: u64 = 65_536;
/// Said to all of them, each of 8 kB: so much that every queue overflows.
const SAID: usize = 40;
const SAID_EVERY: Duration = Duration::from_millis(250);

/// Delivery beside readers that stall, each message to more than a thousand sockets of one node.
const UNAFFECTED: Duration = Duration::from_secs(1);
/// From reading again to having everything; not promised, and what a person would wait.
const CAUGHT_UP: Duration = Duration::from_secs(20);
/// What a node's memory may grow by for reasons of its own under the load.
const SLACK_BYTES: u64 = 32 << 20;

/// What of a frame counts here. The text of it is passed over: a thousand readers live in this process.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    from: Option<u64>,
    seq: Option<u64>,
}

/// A reader that takes what it is given as it comes.
struct Reader {
    stream: WebSocketStream<TcpStream>,
    /// Where it stands; the next change must begin right after.
    seq: u64,
}

impl Reader {
    /// `narrow`: its machine takes next to nothing in its name, small segments and a small window, so that what it does
    /// not read stays with the node.
    async fn join(url: &str, account: &Account, room: &str, narrow: bool) -> Reader {
        let authority = authority(url);
        let raw = Raw::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if narrow {
            raw.set_recv_buffer_size(4_096).expect("a small window");
            raw.set_tcp_mss(1_000).expect("small segments");
        }
        let address: std::net::SocketAddr = authority.parse().expect("an address");
        raw.connect(&SockAddr::from(address)).expect("connected");
        raw.set_nonblocking(true).expect("for the runtime");
        let tcp = TcpStream::from_std(raw.into()).expect("for the runtime");
        let mut request = format!("ws://{authority}/ws").into_client_request().expect("a request");
        let cookies = account.http.cookie_header("/ws").expect("logged in");
        request.headers_mut().append("cookie", cookies.parse().expect("a header"));
        let (stream, _) = client_async(request, tcp).await.expect("a socket");
        let mut reader = Reader { stream, seq: 0 };
        let join = json!({"type": "join", "room": room, "limit": 0}).to_string();
        reader.stream.send(Message::Text(join.into())).await.expect("alive");
        loop {
            let text = reader.text().await;
            let told: Told = serde_json::from_str(&text).expect("JSON");
            if told.kind == "joined" {
                reader.seq = told.seq.expect("a number");
                return reader;
            }
        }
    }

    async fn text(&mut self) -> Utf8Bytes {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return text,
                Some(Ok(Message::Close(close))) => panic!("closed: {close:?}"),
                Some(Ok(_)) => {}
                other => panic!("cut off: {other:?}"),
            }
        }
    }

    /// Reads to `head`, each change right after the one before. When each came.
    async fn reaches(&mut self, head: u64) -> Vec<Instant> {
        let mut times = Vec::new();
        while self.seq < head {
            let text = self.text().await;
            let told: Told = serde_json::from_str(&text).expect("JSON");
            if told.kind != "chat_message" {
                continue;
            }
            let seq = told.seq.expect("a number");
            assert_eq!(told.from.unwrap_or(seq), self.seq + 1, "not contiguous: {seq}");
            self.seq = seq;
            times.push(Instant::now());
        }
        times
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_cost_their_queue_and_complete_later() {
    let queue = QUEUE_BYTES.to_string();
    // Only the queue is tested: nobody is closed for not answering.
    let settings = [
        ("SALON_LIMITS__QUEUE_BYTES", queue.as_str()),
        ("SALON_NODE__STALL_TIMEOUT_S", "600"),
        ("SALON_NODE__HEARTBEAT_S", "600"),
    ];
    let single = Single::start_with(&settings).await;
    let watch = Watch::start(vec![single.url()]);
    let plan = Plan {
        nodes: vec![single.url()],
        prefix: unique("beside"),
        clients: 6,
        rooms: 1,
        stop: Stop::Told,
        pace: Pace::PerSecond(10.0),
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    running.progress(20, QUIET).await.expect("it works");
    let people = [single.user("one").await, single.user("two").await].map(Arc::new);
    let room = people[0].http.create_room(&unique("stalls"), "public").await.expect("a room").slug;
    let mut speaker = joined(&single.url(), &people[0], &room).await;
    let began = Instant::now();
    let mut stalled = crowd(&single, &people, &room, STALLED, true).await;
    let reading = crowd(&single, &people, &room, READING, false).await;
    println!("fault: readers stall: {STALLED} and {READING} have joined after {:.1?}", began.elapsed());

    let before = single.node.resident_bytes();
    let head = SAID as u64;
    let reading: Vec<JoinHandle<Vec<Instant>>> =
        reading.into_iter().map(|mut reader| tokio::spawn(async move { reader.reaches(head).await })).collect();
    let (mut grown, mut queued) = (0, 0.0_f64);
    let bound = QUEUE_BYTES * STALLED as u64;
    // Those who read may have something queued, too.
    let queued_bound = (bound + READING as u64 * QUEUE_BYTES) as f64;
    let mut sent = Vec::new();
    for number in 0..SAID {
        sent.push(say(&mut speaker, &room, number).await);
        grown = grown.max(single.node.resident_bytes().saturating_sub(before));
        assert!(grown <= bound + SLACK_BYTES, "memory grew by {grown} bytes");
        queued = queued.max(single.node.metric("salon_queue_bytes").await);
        assert!(queued <= queued_bound, "{queued} bytes are queued");
        sleep(SAID_EVERY).await;
    }
    println!("fault: readers stall: memory grew by {grown} bytes, {queued} queued; bound {bound}");
    let mut delays = Vec::new();
    for reader in reading {
        let times = timeout(QUIET, reader).await.expect("who reads has everything").expect("each after the other");
        delays.extend(times.iter().zip(&sent).map(|(told, sent)| told.saturating_duration_since(*sent)));
    }
    delays.sort_unstable();
    measured(
        "1,000 readers stall beside 100 that read",
        "p99 of delivery to those who read",
        percentile(&delays, 0.99),
        UNAFFECTED,
    );
    let overflows = single.node.metric("salon_queue_overflows_total").await;
    assert!(overflows >= STALLED as f64, "only {overflows} queues overflowed, so little was tested");
    well(&single.node).await;
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("readers that stall", &finished, &[&single.node]);
    let p99 = percentile(&finished.timings().delivery, 0.99);
    measured("1,000 readers stall beside 100 that read", "p99 of delivery in other rooms", p99, UNAFFECTED);

    let began = Instant::now();
    let all = stalled.drain(..).map(|mut reader| tokio::spawn(async move { reader.reaches(head).await.len() }));
    let all = timeout(SLACK * CAUGHT_UP, futures_util::future::join_all(all)).await.expect("all of them complete");
    assert!(all.into_iter().all(|frames| frames.expect("each after the other") == SAID), "nothing was superseded");
    measured("1,000 readers stalled and read again", "all have everything", began.elapsed(), CAUGHT_UP);
    watch.always_well(&[0]);
}

async fn crowd(single: &Single, people: &[Arc<Account>], room: &str, size: usize, narrow: bool) -> Vec<Reader> {
    let joins = (0..size).map(|number| {
        let (url, account, room) = (single.url(), people[number % people.len()].clone(), room.to_owned());
        async move { Reader::join(&url, &account, &room, narrow).await }
    });
    futures_util::stream::iter(joins).buffer_unordered(AT_ONCE).collect().await
}

/// When it was sent.
async fn say(speaker: &mut Socket, room: &str, number: usize) -> Instant {
    let content = format!("{number} {}", "é".repeat(3_900));
    let sent = Instant::now();
    let answer = speaker.ask(json!({"type": "send", "room": room, "content": content})).await.expect("an answer");
    assert_eq!(answer["type"], "ack", "{answer}");
    sent
}
