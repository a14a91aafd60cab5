//! A lane is one socket in one room, which sends in a closed loop, listens, or both, and checks what it hears.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use salon::engine::Result;
use salon::engine::socket::Socket;
use salon::engine::wire::{Joined, Room};
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::heard::Heard;
use crate::latency::Latencies;

/// What a lane is to do, in which of the run's rooms.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub room: usize,
    pub joins: bool,
    pub sends: bool,
}

/// What all lanes share.
pub struct Traffic {
    clock: Instant,
    pub rooms: Vec<Room>,
    /// The highest acknowledged seq of each room.
    pub heads: Vec<AtomicU64>,
    pub tallies: Vec<Tally>,
    pub acks: Latencies,
    pub receipts: Latencies,
    in_flight: usize,
    content: String,
    /// Whether an ack is followed by the next send.
    pub sending: AtomicBool,
    pub start: CancellationToken,
    pub stop: CancellationToken,
}

/// How far a lane is.
pub struct Tally {
    pub plan: Plan,
    pub sent: AtomicU64,
    pub acked: AtomicU64,
    pub heard: AtomicU64,
    /// The highest seq it was told.
    pub last: AtomicU64,
}

pub struct Lane {
    n: usize,
    socket: Socket,
    heard: Heard,
    /// The last acknowledged send: which it was, and its seq.
    acked: Option<(u64, u64)>,
    traffic: Arc<Traffic>,
}

/// As much of a frame as a measurement needs; millions come, so the rest is passed over without a copy.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    seq: u64,
    #[serde(default, borrow)]
    nonce: Option<Cow<'a, str>>,
}

/// A nonce of ours: which lane sent it, the how manieth of its sends it was, and when.
#[derive(Debug, Clone, Copy)]
struct Name {
    lane: usize,
    n: u64,
    micros: u64,
}

impl Traffic {
    pub fn new(rooms: Vec<Room>, plans: &[Plan], in_flight: usize, content_chars: usize) -> Self {
        Self {
            clock: Instant::now(),
            heads: rooms.iter().map(|room| room.seq.into()).collect(),
            rooms,
            tallies: plans.iter().map(|plan| Tally::new(*plan)).collect(),
            acks: Latencies::new(),
            receipts: Latencies::new(),
            in_flight,
            content: "x".repeat(content_chars),
            sending: true.into(),
            start: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Since the run's clock was started.
    pub fn micros(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub fn acked(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.acked.load(Relaxed)).sum()
    }

    pub fn heard(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.heard.load(Relaxed)).sum()
    }

    /// Everything sent was answered, and everything acknowledged was told to all who joined.
    pub fn is_quiet(&self) -> bool {
        self.tallies.iter().all(|tally| {
            let answered = tally.acked.load(Relaxed) == tally.sent.load(Relaxed);
            answered && (!tally.plan.joins || tally.last.load(Relaxed) >= self.heads[tally.plan.room].load(Relaxed))
        })
    }
}

impl Tally {
    fn new(plan: Plan) -> Self {
        Self { plan, sent: 0.into(), acked: 0.into(), heard: 0.into(), last: 0.into() }
    }
}

impl Lane {
    /// Joins, if that is its plan.
    pub async fn begin(n: usize, mut socket: Socket, traffic: Arc<Traffic>) -> Result<Self> {
        let plan = traffic.tallies[n].plan;
        let mut seq = 0;
        if plan.joins {
            let ask = json!({"type": "join", "room": traffic.rooms[plan.room].id, "limit": 0});
            let answer = socket.ask(ask).await?;
            seq = Joined::deserialize(&answer).map_err(|error| format!("{error} in {answer}"))?.seq;
        }
        traffic.tallies[n].last.store(seq, Relaxed);
        Ok(Self { n, socket, heard: Heard::after(seq), acked: None, traffic })
    }

    /// Sends from the run's start on, and gives what it heard until the run's stop; an error ends the run.
    pub async fn run(mut self) -> Result<(usize, Heard)> {
        let traffic = Arc::clone(&self.traffic);
        let done = async {
            self.listen(&traffic.start).await?;
            if traffic.tallies[self.n].plan.sends {
                for _ in 0..traffic.in_flight {
                    self.send_next().await?;
                }
            }
            self.listen(&traffic.stop).await
        };
        match done.await {
            Ok(()) => Ok((self.n, self.heard)),
            Err(why) => Err(format!("socket {}: {why}", self.n)),
        }
    }

    async fn listen(&mut self, end: &CancellationToken) -> Result<()> {
        let mut end = pin!(end.cancelled());
        loop {
            let text = tokio::select! {
                biased;
                text = self.socket.next_text() => text.map_err(|closed| format!("{closed:?}"))?,
                () = &mut end => return Ok(()),
            };
            let frame: Frame = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
            let name = || {
                let name = frame.nonce.as_deref().and_then(Name::parse);
                name.ok_or_else(|| format!("not named by a socket of this run: {text}"))
            };
            match frame.kind.as_ref() {
                "chat_message" => self.heard(frame.seq, name()?)?,
                "ack" => self.acked(frame.seq, name()?).await?,
                "error" => return Err(format!("refused (does the server have a bench's limits? see --help): {text}")),
                "reconnect" | "removed" => return Err(format!("sent away: {text}")),
                _ => {}
            }
        }
    }

    fn heard(&mut self, seq: u64, name: Name) -> Result<()> {
        self.heard.hear(seq)?;
        let tally = &self.traffic.tallies[self.n];
        tally.last.store(self.heard.last(), Relaxed);
        tally.heard.fetch_add(1, Relaxed);
        self.traffic.receipts.record(self.n, name.micros, self.traffic.micros());
        Ok(())
    }

    async fn acked(&mut self, seq: u64, name: Name) -> Result<()> {
        let traffic = Arc::clone(&self.traffic);
        let tally = &traffic.tallies[self.n];
        if name.lane != self.n || name.n >= tally.sent.load(Relaxed) {
            return Err(format!("an ack for {name:?}, which was not sent here"));
        }
        traffic.acks.record(self.n, name.micros, traffic.micros());
        traffic.heads[tally.plan.room].fetch_max(seq, Relaxed);
        if let Some((n, at)) = self.acked.replace((name.n, seq)).filter(|(n, at)| (*n < name.n) != (*at < seq)) {
            return Err(format!("send {n} took seq {at} and send {} seq {seq}: out of order", name.n));
        }
        if traffic.sending.load(Relaxed) {
            self.send_next().await?;
        }
        // After the next one is counted, so that a lane never looks idle in between.
        tally.acked.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn send_next(&mut self) -> Result<()> {
        let Traffic { tallies, rooms, content, .. } = self.traffic.as_ref();
        let tally = &tallies[self.n];
        let (lane, n, micros) = (self.n, tally.sent.fetch_add(1, Relaxed), self.traffic.micros());
        let room = rooms[tally.plan.room].id;
        let frame = format!(r#"{{"type":"send","room":{room},"nonce":"{lane}.{n}.{micros}","content":"{content}"}}"#);
        self.socket.feed_text(frame).await
    }
}

impl Name {
    fn parse(nonce: &str) -> Option<Self> {
        let mut parts = nonce.split('.');
        let mut next = || parts.next()?.parse::<u64>().ok();
        Some(Self { lane: usize::try_from(next()?).ok()?, n: next()?, micros: next()? })
    }
}
