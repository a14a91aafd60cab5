//! What a message costs in parts: `cargo bench`, or `cargo bench --bench hot_path -- append` for some of it.
//!
//! A message is parsed once, appended in a batch, encoded once; it goes through the gate of each node and into the queue
//! of each socket.
#![forbid(unsafe_code)]

mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use salon::model::{ChangeKind, Content, Message, Nonce, Reactions, RoomId, Slug, Timestamp, UserId, Username};
use salon::node::gate::{Delivery, Frame, Gate, Offer};
use salon::node::queue::{Budget, Push, Queue, delivery_text};
use salon::protocol::envelope::Envelope;
use salon::protocol::frames::encode_change;
use salon::protocol::incoming::parse;
use salon::store::{Append, Appended};
use support::bed::Bed;
use support::postgres::Postgres;

const ROOM: RoomId = RoomId(3);
/// As in the comparison.
const CONTENT_BYTES: usize = 128;
const SESSIONS: usize = 500;
/// What one write of a socket takes off its queue at most.
const WRITE_BYTES: usize = 16 * 1024;
const QUEUE_BYTES: usize = 256 * 1024;

criterion_group!(benches, frames, gate, broadcast, append);
criterion_main!(benches);

fn frames(c: &mut Criterion) {
    let send = format!(r#"{{"type":"send","room":"general","nonce":"17.4711","content":"{}"}}"#, content());
    let join = r#"{"type":"join","room":"general","limit":0}"#;
    c.bench_function("parse a send", |b| b.iter(|| parse(black_box(&send), None, 200)));
    c.bench_function("parse a join", |b| b.iter(|| parse(black_box(join), None, 200)));

    let (message, slug) = (message(), Slug::parse("general").expect("a slug"));
    c.bench_function("encode a change", |b| b.iter(|| encode_change(black_box(&message), &slug)));
    let text = Bytes::from(encode_change(&message, &slug));
    let change = Envelope::Change { seq: 100_000, id: 100_000, text };
    c.bench_function("encode an envelope", |b| b.iter(|| black_box(&change).encode()));
    let bytes = change.encode();
    c.bench_function("decode an envelope", |b| b.iter(|| Envelope::decode(black_box(bytes.clone()))));
}

fn gate(c: &mut Criterion) {
    let text = Bytes::from(encode_change(&message(), &Slug::parse("general").expect("a slug")));
    let frame = |seq| Frame { seq, id: seq, text: text.clone() };
    let mut group = c.benchmark_group("offer to a gate");
    group.bench_function("what is next, and its echo", |b| {
        let (mut gate, mut seq, mut out) = (open_gate(), 0, Vec::new());
        b.iter(|| {
            seq += 1;
            out.clear();
            assert_eq!(gate.offer(frame(seq), Instant::now(), &mut out), Offer::Delivered);
            assert_eq!(gate.offer(frame(seq), Instant::now(), &mut out), Offer::Known);
        });
    });
    group.bench_function("a pair in the wrong order", |b| {
        let (mut gate, mut seq, mut out) = (open_gate(), 0, Vec::new());
        b.iter(|| {
            seq += 2;
            out.clear();
            gate.offer(frame(seq), Instant::now(), &mut out);
            gate.offer(frame(seq - 1), Instant::now(), &mut out);
            assert_eq!(out.len(), 2);
        });
    });
}

/// One change to the queues of a full room, and off them as the writers take it.
fn broadcast(c: &mut Criterion) {
    let text = Bytes::from(encode_change(&message(), &Slug::parse("general").expect("a slug")));
    let budget = Budget::new(usize::MAX);
    let mut group = c.benchmark_group("broadcast to 500 sessions");
    group.throughput(Throughput::Elements(SESSIONS as u64));
    for burst in [1, 8] {
        let mut queues: Vec<Queue> = (0..SESSIONS).map(|_| live_queue(&budget)).collect();
        let (mut seq, mut written) = (0, Vec::new());
        group.bench_function(BenchmarkId::new("changes at once", burst), |b| {
            b.iter(|| {
                for _ in 0..burst {
                    seq += 1;
                    let delivery = Delivery { from: seq, frame: Frame { seq, id: seq, text: text.clone() } };
                    let text = delivery_text(&delivery);
                    for queue in &mut queues {
                        assert_eq!(queue.change(ROOM, &delivery, &text), Push::Queued);
                    }
                }
                for queue in &mut queues {
                    written.clear();
                    queue.take(WRITE_BYTES, &mut written);
                    black_box(&written);
                }
            });
        });
    }
}

/// Batches of 1 and of 100, those over ten rooms; each is committed before the next begins.
fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = Postgres::start().expect("a Postgres");
    let sqlite = format!("sqlite:{}", folder.path().join("salon.db").display());
    let stores = [("SQLite", sqlite), ("Postgres", postgres.new_database("hot_path").expect("a database"))];
    for (name, url) in stores {
        let bed = runtime.block_on(Bed::new(&url, 10, 10)).expect("a store with rooms");
        let mut group = c.benchmark_group(format!("append to {name}"));
        for size in [1, 100] {
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new("messages at once", size), |b| {
                b.to_async(&runtime).iter_batched(
                    || batch(&bed, size),
                    |batch| async {
                        let batch = batch;
                        let outcomes = bed.store.append(&batch, true).await.expect("it is stored");
                        assert!(outcomes.iter().all(|outcome| matches!(outcome, Appended::Stored { .. })));
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn batch(bed: &Bed, size: usize) -> Vec<Append> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let item = |n: usize| Append {
        room: bed.rooms[n % bed.rooms.len()],
        author: bed.users[n % bed.users.len()],
        nonce: Nonce::parse(&NEXT.fetch_add(1, Ordering::Relaxed).to_string()).expect("a nonce"),
        content: Content::parse(&content(), 4_000).expect("content"),
        fingerprint: [7; 16],
        reply_to: None,
    };
    (0..size).map(item).collect()
}

fn open_gate() -> Gate {
    let mut gate = Gate::new(1024, 256);
    gate.open(0, Vec::new(), 0, Instant::now());
    gate
}

fn live_queue(budget: &Budget) -> Queue {
    let mut queue = Queue::new(QUEUE_BYTES, budget.clone());
    queue.enter(ROOM, 0);
    queue.go_live(ROOM);
    queue
}

fn message() -> Message {
    Message {
        room: ROOM,
        id: 100_000,
        seq: 100_000,
        kind: ChangeKind::Created,
        author: Username::parse("alice").expect("a name"),
        author_id: UserId(1_000),
        content: content(),
        created_at: Timestamp(1_795_250_000_123),
        edited_at: None,
        deleted: false,
        reply_to: None,
        nonce: Some("17.4711".to_owned()),
        mentions: Vec::new(),
        reactions: Reactions::default(),
    }
}

fn content() -> String {
    "x".repeat(CONTENT_BYTES)
}
