//! Operations under way: what was tried, what is in doubt, when to try again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::log::{Act, Op, Outcome};

/// What the client still owes an end.
#[derive(Default)]
pub(super) struct Pending {
    ops: BTreeMap<usize, Open>,
}

struct Open {
    frame: Value,
    done: oneshot::Sender<Outcome>,
    since: Instant,
    /// An attempt is out on the present socket since then.
    out_since: Option<Instant>,
    /// Not to be tried before.
    not_before: Instant,
    /// An attempt ended without a certain answer.
    doubtful: bool,
}

/// What is due now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Attempt(usize),
    GiveUp(usize),
}

impl Pending {
    pub fn add(&mut self, number: usize, op: &Op, done: oneshot::Sender<Outcome>) {
        let now = Instant::now();
        let frame = frame_of(number, op);
        let open = Open { frame, done, since: now, out_since: None, not_before: now, doubtful: false };
        self.ops.insert(number, open);
    }

    /// The frame, and that it is out now.
    pub fn attempt(&mut self, number: usize) -> Option<Value> {
        let open = self.ops.get_mut(&number)?;
        // What was out already and is tried again may have been done.
        open.doubtful |= open.out_since.is_some();
        open.out_since = Some(Instant::now());
        Some(open.frame.clone())
    }

    /// The socket is gone: what was out is in doubt, and is tried again on the next one.
    pub fn lost(&mut self) {
        for open in self.ops.values_mut() {
            open.doubtful |= open.out_since.take().is_some();
        }
    }

    /// Unknown or not now: again after a while.
    pub fn again(&mut self, number: usize, after: Duration, doubtful: bool) {
        if let Some(open) = self.ops.get_mut(&number) {
            open.out_since = None;
            open.doubtful |= doubtful;
            open.not_before = Instant::now() + after;
        }
    }

    /// Ends it; `false` when it had ended before.
    pub fn settle(&mut self, number: usize, outcome: Outcome) -> bool {
        let Some(open) = self.ops.remove(&number) else { return false };
        let outcome = match outcome {
            Outcome::Refused { .. } if open.doubtful => Outcome::Unknown,
            other => other,
        };
        // Nobody needs to wait for it.
        let _ = open.done.send(outcome);
        true
    }

    /// In the order in which they were asked for.
    pub fn due(&self, connected: bool, answer_patience: Duration, patience: Duration) -> Vec<Due> {
        let now = Instant::now();
        let due = |(number, open): (&usize, &Open)| {
            if now >= open.since + patience {
                return Some(Due::GiveUp(*number));
            }
            let ripe = match open.out_since {
                Some(out) => now >= out + answer_patience,
                None => now >= open.not_before,
            };
            (connected && ripe).then_some(Due::Attempt(*number))
        };
        self.ops.iter().filter_map(due).collect()
    }

    /// When the next one is due; `None`: nothing is pending.
    pub fn wake(&self, connected: bool, answer_patience: Duration, patience: Duration) -> Option<Instant> {
        let when = |open: &Open| {
            let end = open.since + patience;
            match open.out_since {
                _ if !connected => end,
                Some(out) => end.min(out + answer_patience),
                None => end.min(open.not_before),
            }
        };
        self.ops.values().map(when).min()
    }

    pub fn numbers(&self) -> Vec<usize> {
        self.ops.keys().copied().collect()
    }
}

fn frame_of(number: usize, op: &Op) -> Value {
    match &op.act {
        Act::Send { nonce, content } => {
            json!({"type": "send", "ref": number, "room": op.room, "nonce": nonce, "content": content})
        }
        Act::Edit { id, content } => {
            json!({"type": "edit", "ref": number, "room": op.room, "id": id, "content": content})
        }
        Act::Delete { id } => json!({"type": "delete", "ref": number, "room": op.room, "id": id}),
    }
}
