//! A lane is one socket in one room, which listens, sends, or both; what it is told is checked as it comes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use salon::engine::Result;
use salon::engine::lean::{Frames, Lean, Outgoing};
use salon::engine::wire::Room;

use crate::heard::Heard;
use crate::latency::{Latencies, Recorder};
use crate::name::Name;
use crate::scan::{self, Message};

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
    /// Of each room the highest acknowledged seq, and the sum of the marks of all that was acknowledged.
    pub heads: Vec<AtomicU64>,
    pub sums: Vec<AtomicU64>,
    pub lanes: Vec<Lane>,
    pub acks: Arc<Latencies>,
    pub receipts: Arc<Latencies>,
    /// Who came, went and how many there are: told by the server unasked.
    pub announcements: AtomicU64,
    /// Answers to joins.
    pub joins: AtomicU64,
    /// The head of a send, up to the content's end.
    content: String,
    /// Whether an ack is followed by the next send.
    pub sending: AtomicBool,
}

pub struct Lane {
    pub plan: Plan,
    pub sent: AtomicU64,
    pub acked: AtomicU64,
    pub heard: AtomicU64,
    /// The highest seq it was told.
    pub last: AtomicU64,
    out: OnceLock<Arc<Outgoing>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    /// `None` until it has joined for the first time.
    pub heard: Option<Heard>,
    /// An answer to a join came that was not asked for yet by [`State::take_joined`].
    joined: Option<u64>,
    /// The last acknowledged send: which it was, and its seq.
    acked: Option<(u64, u64)>,
}

impl Traffic {
    pub fn new(rooms: Vec<Room>, plans: &[Plan], content_chars: usize) -> Self {
        Self {
            clock: Instant::now(),
            heads: rooms.iter().map(|room| room.seq.into()).collect(),
            sums: rooms.iter().map(|_| 0.into()).collect(),
            rooms,
            lanes: plans.iter().map(|plan| Lane::new(*plan)).collect(),
            acks: Arc::new(Latencies::new()),
            receipts: Arc::new(Latencies::new()),
            announcements: 0.into(),
            joins: 0.into(),
            content: "x".repeat(content_chars),
            sending: false.into(),
        }
    }

    /// Since the run's clock was started.
    pub fn micros(&self) -> u64 {
        self.micros_at(Instant::now())
    }

    pub fn micros_at(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.clock).as_micros()).unwrap_or(u64::MAX)
    }

    pub fn acked(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.acked.load(Relaxed)).sum()
    }

    pub fn sent(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.sent.load(Relaxed)).sum()
    }

    pub fn heard(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.heard.load(Relaxed)).sum()
    }

    /// Everything sent was answered, and everything acknowledged was told to all who joined.
    pub fn is_quiet(&self) -> bool {
        self.lanes.iter().all(|lane| {
            let answered = lane.acked.load(Relaxed) == lane.sent.load(Relaxed);
            answered && (!lane.plan.joins || lane.last.load(Relaxed) >= self.heads[lane.plan.room].load(Relaxed))
        })
    }

    /// The frame that joins the lane's room: with nothing of before, or from where it is.
    pub fn join_frame(&self, n: usize) -> String {
        let lane = &self.lanes[n];
        let Room { id, epoch, .. } = &self.rooms[lane.plan.room];
        match &lane.state().heard {
            None => format!(r#"{{"type":"join","room":{id},"limit":0}}"#),
            Some(heard) => {
                format!(r#"{{"type":"join","room":{id},"after":{},"epoch":"{epoch}"}}"#, heard.last())
            }
        }
    }

    /// What the lane says it says by this socket from now on; it is opened once.
    pub fn attach(&self, n: usize, socket: &Lean) {
        let _ = self.lanes[n].out.set(socket.out());
    }

    /// Joins further rooms, with nothing of before; the answers are counted in `joins`.
    pub fn join_also(&self, n: usize, rooms: impl Iterator<Item = usize>) -> Result<()> {
        let rooms: Vec<String> = rooms.map(|room| format!(r#"{{"room":{},"limit":0}}"#, self.rooms[room].id)).collect();
        let Some(out) = self.lanes[n].out.get() else { return Err(format!("socket {n} joins before it is open")) };
        out.send(format!(r#"{{"type":"join","rooms":[{}]}}"#, rooms.join(",")).as_bytes())
    }

    /// Reads until the socket's end, which is an error.
    pub async fn run(&self, n: usize, mut socket: Lean) -> Result<()> {
        let sends = self.lanes[n].plan.sends;
        loop {
            let done = match sends {
                true => socket.read_and_write(|frames| self.take(n, frames)).await,
                false => socket.read(|frames| self.take(n, frames)).await,
            };
            done.map_err(|why| format!("socket {n}: {why}"))?;
        }
    }

    /// What one read gave.
    pub fn take(&self, n: usize, frames: &mut Frames<'_>) -> Result<()> {
        let lane = &self.lanes[n];
        let mut batch = Batch { now: self.micros(), n, told: 0, acked: 0, receipts: None };
        let mut state = lane.state();
        for frame in frames {
            let frame = frame?;
            match scan::kind(frame)?.as_ref() {
                "chat_message" => self.told(&mut state, &mut batch, scan::message(frame)?)?,
                "ack" => self.acked_one(&mut state, &mut batch, scan::message(frame)?)?,
                "joined" => self.joined(&mut state, &mut batch, frame)?,
                "user_join" | "user_leave" | "user_count" | "user_list" => {
                    self.announcements.fetch_add(1, Relaxed);
                }
                "error" => return Err(refused(frame)),
                "reconnect" | "removed" => return Err(scan::wrong("sent away", frame)),
                _ => {}
            }
        }
        if let Some(heard) = &state.heard {
            lane.last.store(heard.last(), Relaxed);
        }
        lane.heard.fetch_add(batch.told, Relaxed);
        // After the next ones are counted as sent, so that a lane never looks idle in between.
        lane.acked.fetch_add(batch.acked, Relaxed);
        Ok(())
    }

    /// Writes one send and leaves it with what waits; `micros` is when it was due.
    pub fn feed(&self, n: usize, micros: u64) -> Result<()> {
        let lane = &self.lanes[n];
        let name = Name { lane: n, n: lane.sent.fetch_add(1, Relaxed), micros };
        let Some(out) = lane.out.get() else { return Err(format!("socket {n} sends before it is open")) };
        let mut frame = Vec::with_capacity(self.content.len() + 128);
        let room = self.rooms[lane.plan.room].id;
        frame.extend_from_slice(format!(r#"{{"type":"send","room":{room},"nonce":""#).as_bytes());
        name.write(&mut frame);
        frame.extend_from_slice(br#"","content":""#);
        frame.extend_from_slice(self.content.as_bytes());
        frame.extend_from_slice(br#""}"#);
        out.feed(&frame);
        Ok(())
    }

    pub fn push(&self, n: usize) -> Result<()> {
        self.lanes[n].out.get().map_or(Ok(()), |out| out.push()).map_err(|why| format!("socket {n}: {why}"))
    }

    fn told<'a>(&'a self, state: &mut State, batch: &mut Batch<'a>, message: Message) -> Result<()> {
        let room = self.lanes[batch.n].plan.room;
        if self.lanes.get(message.name.lane).is_none_or(|sender| sender.plan.room != room) {
            return Err(format!("told a message of another room: {message:?}"));
        }
        let Some(heard) = &mut state.heard else { return Err(format!("told {message:?} without having joined")) };
        heard.hear(message)?;
        batch.told += 1;
        let (now, n) = (batch.now, batch.n);
        batch.receipts.get_or_insert_with(|| self.receipts.recorder(n)).record(message.name.micros, now);
        Ok(())
    }

    fn acked_one(&self, state: &mut State, batch: &mut Batch<'_>, Message { seq, name, .. }: Message) -> Result<()> {
        let lane = &self.lanes[batch.n];
        if name.lane != batch.n || name.n >= lane.sent.load(Relaxed) {
            return Err(format!("an ack for {name:?}, which was not sent here"));
        }
        if let Some((n, at)) = state.acked.replace((name.n, seq)).filter(|(n, at)| *n >= name.n || *at >= seq) {
            return Err(format!("send {n} took seq {at} and then send {} seq {seq}: out of order", name.n));
        }
        self.acks.recorder(batch.n).record(name.micros, batch.now);
        self.heads[lane.plan.room].fetch_max(seq, Relaxed);
        self.sums[lane.plan.room].fetch_add(name.mark(seq), Relaxed);
        batch.acked += 1;
        if self.sending.load(Relaxed) { self.feed(batch.n, batch.now) } else { Ok(()) }
    }

    fn joined(&self, state: &mut State, batch: &mut Batch<'_>, frame: &[u8]) -> Result<()> {
        let joined = scan::joined(frame)?;
        match &mut state.heard {
            None => state.heard = Some(Heard::after(joined.seq)),
            Some(heard) => {
                for message in joined.messages()? {
                    heard.hear(message)?;
                    batch.told += 1;
                }
            }
        }
        state.joined = Some(joined.seq);
        self.joins.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// What is counted once for all frames of a read.
struct Batch<'a> {
    n: usize,
    now: u64,
    told: u64,
    acked: u64,
    receipts: Option<Recorder<'a>>,
}

impl Lane {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            sent: 0.into(),
            acked: 0.into(),
            heard: 0.into(),
            last: 0.into(),
            out: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// At least once.
    pub fn has_joined(&self) -> bool {
        self.state().heard.is_some()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Up to where the last answer to a join tells, once.
    pub fn take_joined(&mut self) -> Option<u64> {
        self.joined.take()
    }
}

/// A frame that was refused, and what to change.
fn refused(frame: &[u8]) -> String {
    let advice = match scan::code(frame) {
        "rate_limited" => " (raise limits.messages_per_s and limits.message_burst of the server)",
        "too_large" => " (raise limits.content_chars, limits.frame_bytes or limits.rooms_per_socket of the server)",
        "unavailable" => " (the server's database is too slow or gone; see node.append_timeout_ms, node.append_queue)",
        _ => "",
    };
    scan::wrong(&format!("refused{advice}"), frame)
}
