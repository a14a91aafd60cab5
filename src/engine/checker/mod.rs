//! Judges a run: the clients' logs and the rooms' final history in, violations of the promises out.
//!
//! Pure and strict: it assumes that the logs hold every client that wrote to these rooms. What it cannot know (a
//! send without an answer) it allows to be either way, but never twice.

mod facts;
mod outcomes;
mod sockets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use super::log::Log;
use super::wire::Change;

use facts::Facts;

/// A room as the store tells it after the run.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub room: String,
    pub epoch: String,
    /// The room object's `seq`.
    pub head: u64,
    /// All messages by id, oldest first.
    pub messages: Vec<Change>,
    /// Messages with an id up to this one were removed on purpose, with what made them old: they may be missing, and
    /// their time is not judged.
    pub purged: u64,
}

/// What can be wrong, each with the promise it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// G1: a live frame whose `from` (or `seq`) is beyond the next one.
    Gap,
    /// G1, G3: a live frame at or below what the socket already had.
    Backwards,
    /// G1: one `seq`, two different changes.
    Disagree,
    /// G1: the epoch changed though no clock went back.
    EpochChanged,
    /// G1: acknowledged before the other was sent, and yet the larger `seq`.
    AckOrder,
    /// G1: two sends of one socket changed places.
    SocketOrder,
    /// G1: a `seq` up to the head that nobody can explain.
    Hole,
    /// G1: the final history contradicts itself.
    HistoryMalformed,
    /// G2: acknowledged, and not in the history.
    AckedLost,
    /// G2: an acknowledged edit or deletion is not in force.
    ChangeLost,
    /// G2: the history holds it with another id, author or text than was acknowledged.
    AckedElsewhere,
    /// G3: a hole was declared superseded, and held a change still in force.
    HiddenByHole,
    /// G3: `joined` left out a change that it had to tell.
    PageHole,
    /// G3: told again after a resumption that said where it stood.
    Repeated,
    /// G3: `joined` went behind what this client had seen.
    WentBack,
    /// G3: `reset` without a reason.
    ResetUnfounded,
    /// Superseded text was told to somebody who asked later.
    SupersededTold,
    /// G3: at the end a joined client had not reached the head.
    NotAtHead,
    /// G3: at the end a joined client's messages differ from the history.
    StateDiffers,
    /// A frame that is not what the protocol says.
    Unreadable,
    /// A frame of a room the socket was not in.
    NotJoined,
    /// G4: one nonce, more than one message.
    NonceTwice,
    /// G5: refused, and stored all the same.
    RefusedStored,
    /// A message nobody sent, or a change nobody asked for.
    Invented,
}

#[derive(Debug, Clone)]
pub struct Violation {
    pub rule: Rule,
    pub room: String,
    pub who: String,
    pub detail: String,
}

/// How much was judged, so that a green report of an empty run is told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub clients: usize,
    pub rooms: usize,
    pub sends_acked: usize,
    pub changes_acked: usize,
    pub duplicates: usize,
    pub refused: usize,
    pub unknown: usize,
    pub live: usize,
    pub holes_declared: usize,
    pub joins: usize,
    pub resumes: usize,
    pub resets: usize,
    pub connections: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Report {
    pub violations: Vec<Violation>,
    pub counts: Counts,
}

/// Judges a finished, quiet run.
pub fn check(logs: &[Log], histories: &[History]) -> Report {
    let mut report = Report::default();
    report.counts.clients = logs.len();
    report.counts.rooms = histories.len();
    let facts: BTreeMap<&str, Facts> =
        histories.iter().map(|history| (history.room.as_str(), facts::gather(logs, history, &mut report))).collect();
    for log in logs {
        sockets::check(log, &facts, &mut report);
    }
    for facts in facts.values() {
        outcomes::check(logs, facts, &mut report);
    }
    report
}

impl Report {
    pub fn is_green(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether this rule was broken.
    pub fn breaks(&self, rule: Rule) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }

    fn add(&mut self, rule: Rule, room: &str, who: &str, detail: impl Into<String>) {
        self.violations.push(Violation { rule, room: room.to_owned(), who: who.to_owned(), detail: detail.into() });
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {} ({}): {}", self.rule, self.room, self.who, self.detail)
    }
}

/// How many of each rule, then the first ones in words, then the counts.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 25;
        let mut rules: BTreeMap<Rule, usize> = BTreeMap::new();
        for violation in &self.violations {
            *rules.entry(violation.rule).or_default() += 1;
        }
        writeln!(f, "{} violations {rules:?}", self.violations.len())?;
        for violation in self.violations.iter().take(SHOWN) {
            writeln!(f, "  {violation}")?;
        }
        write!(f, "{:?}", self.counts)
    }
}
