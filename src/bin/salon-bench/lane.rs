//! A lane is a socket that sends in a closed loop, listens, or both, and checks what it hears as it goes.
//!
//! Completeness is checked without keeping messages: who heard every `seq` of its room once, in order, and whose sum
//! over (seq, nonce) equals the sum over the room's acknowledgements, has heard exactly what was acknowledged.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use salon::engine::Result;
use tokio_util::sync::CancellationToken;

use crate::latency::{Clock, Latencies};
use crate::light::Light;
use crate::scan::{Seen, scan};
use crate::target::Place;

/// Before a refused send is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What a lane is to do. Rooms are places in the list of the run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub listens_in: Option<usize>,
    /// Rooms it sends to in turn; none: it only listens.
    pub sends_to: Vec<usize>,
}

/// What all lanes share.
pub struct Traffic {
    pub clock: Clock,
    pub places: Vec<Place>,
    pub lanes: Vec<LaneTally>,
    rooms: Vec<RoomTally>,
    pub acks: Latencies,
    pub receipts: Latencies,
    pub sending: AtomicBool,
    /// A lane has ended before its time: the run is worth nothing any more.
    pub broken: AtomicBool,
    pub retries: AtomicU64,
    in_flight: usize,
    content: String,
    pub go: CancellationToken,
    pub stop: CancellationToken,
}

/// What a room acknowledged, over all lanes.
struct RoomTally {
    /// The highest seq.
    head: AtomicU64,
    acked: AtomicU64,
    /// Sums that must come out: over the seqs, and over what was named by them.
    seqs: AtomicU64,
    messages: AtomicU64,
}

/// How far a lane is.
#[derive(Default)]
pub struct LaneTally {
    listens_in: Option<usize>,
    /// The seq it heard last.
    pub last: AtomicU64,
    heard: AtomicU64,
    /// As in [`RoomTally`], of what it heard.
    messages: AtomicU64,
    unanswered: AtomicU64,
}

pub struct Lane {
    n: usize,
    socket: Light,
    plan: Plan,
    sent: u64,
    /// The last acknowledged send to each room: its number and its seq.
    order: HashMap<usize, (u64, u64)>,
    /// A send that was tried again has lost its place in the order.
    retried: bool,
    traffic: Arc<Traffic>,
}

/// A nonce of ours: which lane sent it, the how manieth of its sends it was, and when.
#[derive(Debug, Clone, Copy)]
struct Name {
    lane: u64,
    n: u64,
    micros: u64,
}

impl Traffic {
    pub fn new(places: Vec<Place>, plans: &[Plan], in_flight: usize, content_bytes: usize) -> Self {
        let lane = |plan: &Plan| LaneTally { listens_in: plan.listens_in, ..LaneTally::default() };
        Self {
            clock: Clock::start(),
            rooms: places.iter().map(|place| RoomTally::new(place.seq)).collect(),
            places,
            lanes: plans.iter().map(lane).collect(),
            acks: Latencies::new(),
            receipts: Latencies::new(),
            sending: true.into(),
            broken: false.into(),
            retries: 0.into(),
            in_flight,
            content: "x".repeat(content_bytes.max(1)),
            go: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    pub fn acked(&self) -> u64 {
        self.rooms.iter().map(|room| room.acked.load(Ordering::Relaxed)).sum()
    }

    pub fn heard(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.heard.load(Ordering::Relaxed)).sum()
    }

    /// Everything sent was answered, and everything acknowledged was heard by all who listen.
    pub fn is_quiet(&self) -> bool {
        self.lanes.iter().all(|lane| {
            let head = lane.listens_in.map_or(0, |room| self.rooms[room].head.load(Ordering::Relaxed));
            lane.unanswered.load(Ordering::Relaxed) == 0 && lane.last.load(Ordering::Relaxed) >= head
        })
    }

    /// Violations that only the sums show, when all is quiet.
    pub fn compared(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for (room, place) in self.rooms.iter().zip(&self.places) {
            let (head, acked) = (room.head.load(Ordering::Relaxed), room.acked.load(Ordering::Relaxed));
            let due = (place.seq + 1..=head).fold(0u64, |sum, seq| sum.wrapping_add(mix(seq, 0, 0)));
            if acked != head - place.seq || due != room.seqs.load(Ordering::Relaxed) {
                let what = format!("{acked} acknowledgements do not name each seq up to {head} once");
                violations.push(format!("room {}: {what}", place.id));
            }
        }
        for (n, lane) in self.lanes.iter().enumerate() {
            let Some(room) = lane.listens_in else { continue };
            if lane.messages.load(Ordering::Relaxed) != self.rooms[room].messages.load(Ordering::Relaxed) {
                violations.push(format!("socket {n}: what it heard is not what was acknowledged"));
            }
        }
        violations
    }
}

impl RoomTally {
    fn new(head: u64) -> Self {
        Self { head: head.into(), acked: 0.into(), seqs: 0.into(), messages: 0.into() }
    }
}

impl Lane {
    pub fn new(n: usize, socket: Light, plan: Plan, traffic: Arc<Traffic>) -> Self {
        Self { n, socket, plan, sent: 0, order: HashMap::new(), retried: false, traffic }
    }

    /// Until the run stops it, or a promise is broken: then that is what it gives.
    pub async fn run(mut self) -> Option<String> {
        let traffic = Arc::clone(&self.traffic);
        let done = async {
            self.until(&traffic.go).await?;
            if !self.plan.sends_to.is_empty() {
                for _ in 0..traffic.in_flight {
                    self.send_next().await?;
                }
            }
            self.until(&traffic.stop).await
        };
        let failure = done.await.err()?;
        traffic.broken.store(true, Ordering::Relaxed);
        Some(format!("socket {}: {failure}", self.n))
    }

    async fn until(&mut self, end: &CancellationToken) -> Result<()> {
        let mut end = pin!(end.cancelled());
        loop {
            let text = tokio::select! {
                biased;
                text = self.socket.next() => text?,
                () = &mut end => return Ok(()),
            };
            match scan(&text).ok_or_else(|| format!("no frame of the protocol: {text}"))? {
                Seen::Change { seq, from, nonce } => self.heard(seq, from, nonce)?,
                Seen::Ack { seq, nonce } => self.acked(seq, nonce).await?,
                Seen::Error { code: "unavailable" | "rate_limited", nonce } => self.again(nonce).await?,
                Seen::Error { .. } => return Err(format!("refused: {text}")),
                Seen::Other("reconnect" | "removed") => return Err(format!("sent away: {text}")),
                Seen::Other(_) => {}
            }
        }
    }

    fn heard(&self, seq: u64, from: Option<u64>, nonce: &str) -> Result<()> {
        let tally = &self.traffic.lanes[self.n];
        let last = tally.last.load(Ordering::Relaxed);
        // Nobody edits in a run, so a declared hole is as wrong as an undeclared one.
        if seq != last + 1 || from.is_some_and(|from| from != seq) {
            return Err(format!("heard seq {seq} (from {from:?}) after {last}"));
        }
        let name = Name::parse(nonce).ok_or_else(|| format!("seq {seq} is nobody's: nonce {nonce:?}"))?;
        tally.last.store(seq, Ordering::Relaxed);
        tally.heard.fetch_add(1, Ordering::Relaxed);
        tally.messages.fetch_add(mix(seq, name.lane, name.n), Ordering::Relaxed);
        self.traffic.receipts.record(self.n, name.micros, self.traffic.clock.micros());
        Ok(())
    }

    async fn acked(&mut self, seq: u64, nonce: &str) -> Result<()> {
        let traffic = &self.traffic;
        let mine = |name: &Name| name.lane == self.n as u64 && name.n < self.sent;
        let name = Name::parse(nonce).filter(mine).ok_or_else(|| format!("an ack for {nonce:?}, not sent here"))?;
        let index = self.room_of(name.n);
        let room = &traffic.rooms[index];
        room.acked.fetch_add(1, Ordering::Relaxed);
        room.head.fetch_max(seq, Ordering::Relaxed);
        room.seqs.fetch_add(mix(seq, 0, 0), Ordering::Relaxed);
        room.messages.fetch_add(mix(seq, name.lane, name.n), Ordering::Relaxed);
        traffic.acks.record(self.n, name.micros, traffic.clock.micros());
        let before = self.order.insert(index, (name.n, seq));
        if let Some((n, at)) = before.filter(|(n, at)| !self.retried && (*n < name.n) != (*at < seq)) {
            return Err(format!("send {n} took seq {at} and send {} seq {seq}: out of order", name.n));
        }
        if traffic.sending.load(Ordering::Relaxed) {
            self.send_next().await?;
        }
        // After the next one is counted, so that a lane never looks idle in between.
        self.traffic.lanes[self.n].unanswered.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    async fn send_next(&mut self) -> Result<()> {
        let name = Name { lane: self.n as u64, n: self.sent, micros: self.traffic.clock.micros() };
        self.sent += 1;
        self.traffic.lanes[self.n].unanswered.fetch_add(1, Ordering::Relaxed);
        self.put(name).await
    }

    /// Unknown, or too much at once: the same send again. Its latency counts from the first time.
    async fn again(&mut self, nonce: &str) -> Result<()> {
        let name = Name::parse(nonce).ok_or_else(|| format!("an error for {nonce:?}"))?;
        self.retried = true;
        self.traffic.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(RETRY).await;
        self.put(name).await
    }

    async fn put(&mut self, Name { lane, n, micros }: Name) -> Result<()> {
        let (room, content) = (self.traffic.places[self.room_of(n)].id, &self.traffic.content);
        let frame =
            format!(r#"{{"type":"send","room":{room},"nonce":"{lane}.{n}.{micros}","content":"{content}"}}"#);
        self.socket.feed(frame).await
    }

    fn room_of(&self, n: u64) -> usize {
        let rooms = &self.plan.sends_to;
        rooms[usize::try_from(n % rooms.len() as u64).unwrap_or(0)]
    }
}

impl Name {
    fn parse(nonce: &str) -> Option<Self> {
        let mut parts = nonce.split('.').map(|part| part.parse().ok());
        Some(Self { lane: parts.next()??, n: parts.next()??, micros: parts.next()?? })
    }
}

/// Spreads what it is given over all bits, so that sums of it hide no exchange.
fn mix(seq: u64, lane: u64, n: u64) -> u64 {
    let mut x = seq ^ lane.rotate_left(40) ^ n.rotate_left(20);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
