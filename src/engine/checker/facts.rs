//! What is known of one room from everybody together: the final history and every change anybody was told of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::super::log::{Answer, Event, Log};
use super::super::wire::{Change, Kind};
use super::{History, Report, Rule};

pub(super) struct Facts<'a> {
    pub history: &'a History,
    /// Messages in their final state.
    pub by_id: BTreeMap<u64, &'a Change>,
    /// The `seq`s of final states: those that no hole may hide.
    pub final_seqs: BTreeSet<u64>,
    /// Every `seq` at which a message is known to have changed.
    pub seqs_of: HashMap<u64, BTreeSet<u64>>,
    /// Every `seq` that is explained by something.
    pub explained: BTreeSet<u64>,
    /// When the room's clock was first known to have reached a `seq`: the times rise, and so do the `seq`s.
    reached: Vec<(Duration, u64)>,
}

/// Collects, and judges what needs no client: the history itself, and that all were told the same.
pub(super) fn gather<'a>(logs: &'a [Log], history: &'a History, report: &mut Report) -> Facts<'a> {
    let mut facts = Facts {
        history,
        by_id: BTreeMap::new(),
        final_seqs: BTreeSet::new(),
        seqs_of: HashMap::new(),
        explained: BTreeSet::new(),
        reached: Vec::new(),
    };
    facts.take_history(report);
    let mut told: HashMap<u64, &Change> = history.messages.iter().map(|message| (message.seq, message)).collect();
    let mut reached = Vec::new();
    for log in logs {
        for entry in &log.entries {
            match &entry.event {
                Event::Live { change, .. } if change.room == history.room => {
                    facts.take_change(&mut told, change, &log.user, report);
                    reached.push((entry.at, change.seq));
                }
                Event::Joined(snapshot) if snapshot.room == history.room => {
                    for change in &snapshot.changes {
                        facts.take_change(&mut told, change, &log.user, report);
                    }
                    reached.push((entry.at, snapshot.seq));
                }
                Event::Answer { op, answer: Answer::Acked { id, seq, .. }, .. }
                    if log.ops[*op].room == history.room =>
                {
                    facts.know(*id, *id);
                    facts.know(*id, *seq);
                    reached.push((entry.at, *seq));
                }
                _ => {}
            }
        }
    }
    facts.reached = rising(reached);
    facts
}

impl<'a> Facts<'a> {
    pub fn room(&self) -> &'a str {
        &self.history.room
    }

    /// The highest `seq` that was known to somebody before `at`.
    pub fn reached_before(&self, at: Duration) -> u64 {
        let place = self.reached.partition_point(|(when, _)| *when < at);
        place.checked_sub(1).map_or(0, |last| self.reached[last].1)
    }

    fn know(&mut self, id: u64, seq: u64) {
        self.seqs_of.entry(id).or_default().insert(seq);
        self.explained.insert(seq);
    }

    fn take_history(&mut self, report: &mut Report) {
        let room = self.room();
        let mut last = 0;
        for message in &self.history.messages {
            if message.id <= last || message.seq < message.id {
                let detail = format!("message {} at seq {} follows message {last}", message.id, message.seq);
                report.add(Rule::HistoryMalformed, room, "history", detail);
            }
            last = last.max(message.id);
            if !self.final_seqs.insert(message.seq) {
                report.add(Rule::HistoryMalformed, room, "history", format!("seq {} stands twice", message.seq));
            }
            if shape_is_wrong(message) {
                report.add(Rule::HistoryMalformed, room, "history", format!("{message:?}"));
            }
            self.know(message.id, message.id);
            self.know(message.id, message.seq);
            self.by_id.insert(message.id, message);
        }
        // The last change of a room is always some message's present state.
        let top = self.final_seqs.last().copied().unwrap_or(0);
        if top > self.history.head || (top < self.history.head && self.history.purged == 0) {
            let detail = format!("the head is {}, the highest seq of a message {top}", self.history.head);
            report.add(Rule::HistoryMalformed, room, "history", detail);
        }
    }

    fn take_change(&mut self, told: &mut HashMap<u64, &'a Change>, change: &'a Change, who: &str, report: &mut Report) {
        let room = self.room();
        if shape_is_wrong(change) {
            report.add(Rule::Disagree, room, who, format!("not in the one shape: {change:?}"));
        }
        let first = *told.entry(change.seq).or_insert(change);
        // Almost always the very same text; compared by reference first is not worth its code.
        let mut stripped = change.stripped();
        if change.id <= self.history.purged {
            stripped.created_at.clone_from(&first.created_at);
        }
        if first.stripped() != stripped {
            report.add(Rule::Disagree, room, who, format!("seq {}: {change:?}, others {first:?}", change.seq));
        }
        if change.seq > self.history.head {
            let detail = format!("was told seq {}, the head is {}", change.seq, self.history.head);
            report.add(Rule::AckedLost, room, who, detail);
        }
        self.know(change.id, change.id);
        self.know(change.id, change.seq);
    }
}

fn shape_is_wrong(change: &Change) -> bool {
    let first = change.kind == Kind::Created;
    let gone = change.kind == Kind::Deleted;
    (first != (change.id == change.seq))
        || (gone && !change.deleted)
        || (change.deleted && !change.content.is_empty())
        || change.from.is_some_and(|from| from > change.seq)
}

/// Keeps of each moment the highest `seq` known by then.
fn rising(mut reached: Vec<(Duration, u64)>) -> Vec<(Duration, u64)> {
    reached.sort_unstable();
    let mut highest = 0;
    for (_, seq) in &mut reached {
        highest = highest.max(*seq);
        *seq = highest;
    }
    reached
}
