//! What one client did and saw, in order, append-only. The checker judges from this alone.

use std::time::{Duration, Instant};

use super::wire::Change;

/// One clock for all clients of a run, so that "acknowledged before the other was sent" can be told.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

/// One client's record.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub user: String,
    /// Everything asked for; an operation's number is its place here.
    pub ops: Vec<Op>,
    pub entries: Vec<Entry>,
}

/// One thing the client wanted done, however many attempts it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    pub room: String,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Send { nonce: String, content: String },
    Edit { id: u64, content: String },
    Delete { id: u64 },
}

#[derive(Debug, Clone)]
pub struct Entry {
    /// Since the run's clock was started.
    pub at: Duration,
    pub event: Event,
}

#[derive(Debug, Clone)]
pub enum Event {
    /// `connection` counts the client's sockets from 1; `node` is the place in its list of nodes.
    Connected {
        connection: u32,
        node: usize,
    },
    Disconnected {
        connection: u32,
        why: String,
    },
    /// The first entry after a `join` was answered.
    Joined(Box<Snapshot>),
    JoinRefused {
        room: String,
        code: String,
    },
    /// A change told live, or as part of a catch-up of a live room.
    Live {
        connection: u32,
        change: Box<Change>,
    },
    Left {
        room: String,
    },
    Removed {
        room: String,
        reason: String,
    },
    /// A frame that is not what the protocol says.
    Unreadable {
        frame: String,
    },
    /// The operation's frame was handed to the socket.
    Attempt {
        op: usize,
        connection: u32,
    },
    Answer {
        op: usize,
        connection: u32,
        answer: Answer,
    },
    /// No answer within the client's patience: it may have been done or not.
    GaveUp {
        op: usize,
    },
}

/// A `joined` frame, with what had been asked.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub connection: u32,
    pub room: String,
    pub asked_after: Option<u64>,
    pub asked_epoch: Option<String>,
    pub epoch: String,
    pub seq: u64,
    pub reset: bool,
    pub more: bool,
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Acked {
        id: u64,
        seq: u64,
        duplicate: bool,
    },
    /// Certainly not done.
    Refused {
        code: String,
    },
    /// Unknown.
    Unavailable,
}

/// How an operation ended, all its attempts together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Acked {
        id: u64,
        seq: u64,
        duplicate: bool,
    },
    /// Every attempt was answered with a refusal.
    Refused {
        code: String,
    },
    Unknown,
}

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Log {
    pub fn new(user: &str) -> Self {
        Self { user: user.to_owned(), ..Self::default() }
    }

    /// How every operation ended, by its number.
    pub fn outcomes(&self) -> Vec<Outcome> {
        let mut unanswered = vec![0_i64; self.ops.len()];
        let mut outcomes: Vec<Option<Outcome>> = vec![None; self.ops.len()];
        let mut doubtful = vec![false; self.ops.len()];
        for entry in &self.entries {
            match &entry.event {
                Event::Attempt { op, .. } => unanswered[*op] += 1,
                Event::Answer { op, answer, .. } => {
                    unanswered[*op] -= 1;
                    match answer {
                        Answer::Acked { id, seq, duplicate } => {
                            let acked = Outcome::Acked { id: *id, seq: *seq, duplicate: *duplicate };
                            // The first ack counts: a later one of a retry says `duplicate`.
                            if !matches!(outcomes[*op], Some(Outcome::Acked { .. })) {
                                outcomes[*op] = Some(acked);
                            }
                        }
                        Answer::Refused { code } => {
                            outcomes[*op].get_or_insert(Outcome::Refused { code: code.clone() });
                        }
                        Answer::Unavailable => doubtful[*op] = true,
                    }
                }
                _ => {}
            }
        }
        let settle = |(op, outcome): (usize, Option<Outcome>)| match outcome {
            Some(acked @ Outcome::Acked { .. }) => acked,
            Some(refused) if !doubtful[op] && unanswered[op] <= 0 => refused,
            _ => Outcome::Unknown,
        };
        outcomes.into_iter().enumerate().map(settle).collect()
    }
}
