//! Holds what the clients were answered against what the store tells afterwards.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::super::log::{Act, Answer, Event, Log, Outcome};
use super::super::wire::{Change, Kind};
use super::facts::Facts;
use super::{Report, Rule};

/// What was ever asked for in a room, so that the history can be explained by it.
#[derive(Default)]
struct Asked<'a> {
    /// By author and nonce.
    sends: HashMap<(&'a str, &'a str), &'a str>,
    /// Texts that were sent as an edit, certain refusals aside.
    edits: HashMap<u64, Vec<&'a str>>,
    deletes: HashSet<u64>,
    /// Edits and deletions that may have taken a `seq` nobody heard of.
    in_doubt: usize,
}

pub(super) fn check(logs: &[Log], facts: &Facts, report: &mut Report) {
    let mut asked = Asked::default();
    let mut answered = Vec::new();
    for log in logs {
        let outcomes = log.outcomes();
        for (number, op) in log.ops.iter().enumerate().filter(|(_, op)| op.room == facts.room()) {
            let outcome = outcomes[number].clone();
            count(&op.act, &outcome, report);
            asked.take(log, &op.act, &outcome);
            answered.push((log, &op.act, outcome));
        }
    }
    let stored = nonces_once(facts, report);
    for (log, act, outcome) in &answered {
        match act {
            Act::Send { nonce, content } => sent(log, facts, &stored, nonce, content, outcome, report),
            Act::Edit { id, content } => edited(log, facts, &asked, *id, content, outcome, report),
            Act::Delete { id } => deleted(log, facts, *id, outcome, report),
        }
    }
    explained(facts, &asked, report);
    for log in logs {
        one_id(log, facts, report);
        order(log, facts, report);
    }
}

impl<'a> Asked<'a> {
    fn take(&mut self, log: &'a Log, act: &'a Act, outcome: &Outcome) {
        let refused = matches!(outcome, Outcome::Refused { .. });
        let unknown = *outcome == Outcome::Unknown;
        match act {
            Act::Send { nonce, content } => {
                self.sends.insert((&log.user, nonce), content);
            }
            Act::Edit { id, content } if !refused => self.edits.entry(*id).or_default().push(content),
            Act::Delete { id } if !refused => {
                self.deletes.insert(*id);
            }
            Act::Edit { .. } | Act::Delete { .. } => {}
        }
        self.in_doubt += usize::from(unknown && !matches!(act, Act::Send { .. }));
    }
}

fn count(act: &Act, outcome: &Outcome, report: &mut Report) {
    let counts = &mut report.counts;
    match (act, outcome) {
        (Act::Send { .. }, Outcome::Acked { duplicate, .. }) => {
            counts.sends_acked += 1;
            counts.duplicates += usize::from(*duplicate);
        }
        (_, Outcome::Acked { .. }) => counts.changes_acked += 1,
        (_, Outcome::Refused { .. }) => counts.refused += 1,
        (_, Outcome::Unknown) => counts.unknown += 1,
    }
}

/// One nonce of one author is one message; gives where each stands.
fn nonces_once<'a>(facts: &Facts<'a>, report: &mut Report) -> HashMap<(&'a str, &'a str), &'a Change> {
    let mut stored: HashMap<(&str, &str), &Change> = HashMap::new();
    for message in &facts.history.messages {
        let Some(nonce) = message.nonce.as_deref() else { continue };
        if let Some(other) = stored.insert((&message.author, nonce), message) {
            let detail = format!("nonce {nonce} is message {} and message {}", other.id, message.id);
            report.add(Rule::NonceTwice, facts.room(), &message.author, detail);
        }
    }
    stored
}

fn sent(
    log: &Log,
    facts: &Facts,
    stored: &HashMap<(&str, &str), &Change>,
    nonce: &str,
    content: &str,
    outcome: &Outcome,
    report: &mut Report,
) {
    let found = stored.get(&(log.user.as_str(), nonce));
    match outcome {
        Outcome::Acked { id, .. } => match facts.by_id.get(id) {
            None if *id <= facts.history.purged => {}
            None => {
                let detail = format!("message {id} (nonce {nonce}) was acknowledged and is not there");
                report.add(Rule::AckedLost, facts.room(), &log.user, detail);
            }
            Some(message) => {
                let theirs = message.author == log.user && message.nonce.as_deref() == Some(nonce);
                let text_kept = message.kind != Kind::Created || message.content == content;
                if !theirs || !text_kept {
                    let detail = format!("acknowledged {id} (nonce {nonce}), the history has {message:?}");
                    report.add(Rule::AckedElsewhere, facts.room(), &log.user, detail);
                }
            }
        },
        Outcome::Refused { code } => {
            if let Some(message) = found {
                let detail = format!("nonce {nonce} was refused ({code}) and is message {}", message.id);
                report.add(Rule::RefusedStored, facts.room(), &log.user, detail);
            }
        }
        Outcome::Unknown => {}
    }
}

fn edited(log: &Log, facts: &Facts, asked: &Asked, id: u64, content: &str, outcome: &Outcome, report: &mut Report) {
    let Some(message) = facts.by_id.get(&id) else { return };
    match outcome {
        Outcome::Acked { seq, .. } => {
            let in_force = message.seq > *seq || (message.seq == *seq && message.content == content);
            if !in_force {
                let detail = format!("edit of {id} acknowledged at {seq}, the history has {message:?}");
                report.add(Rule::ChangeLost, facts.room(), &log.user, detail);
            }
        }
        Outcome::Refused { code } => {
            let by_another = asked.edits.get(&id).is_some_and(|texts| texts.contains(&content));
            if message.kind == Kind::Edited && message.content == content && !by_another {
                let detail = format!("edit of {id} was refused ({code}) and stands all the same");
                report.add(Rule::RefusedStored, facts.room(), &log.user, detail);
            }
        }
        Outcome::Unknown => {}
    }
}

fn deleted(log: &Log, facts: &Facts, id: u64, outcome: &Outcome, report: &mut Report) {
    let gone = id <= facts.history.purged || facts.by_id.get(&id).is_some_and(|message| message.deleted);
    if matches!(outcome, Outcome::Acked { .. }) && !gone {
        let detail = format!("deletion of {id} was acknowledged, it stands");
        report.add(Rule::ChangeLost, facts.room(), &log.user, detail);
    }
}

/// Everything in the history was asked for by somebody, and every `seq` up to the head was something.
fn explained(facts: &Facts, asked: &Asked, report: &mut Report) {
    for message in &facts.history.messages {
        let nonce = message.nonce.as_deref().unwrap_or("");
        let wanted = match message.kind {
            _ if !asked.sends.contains_key(&(message.author.as_str(), nonce)) => false,
            Kind::Created => asked.sends[&(message.author.as_str(), nonce)] == message.content,
            Kind::Edited => asked.edits.get(&message.id).is_some_and(|texts| texts.contains(&message.content.as_str())),
            Kind::Deleted => asked.deletes.contains(&message.id),
            Kind::Reacted => true,
        };
        if !wanted {
            report.add(Rule::Invented, facts.room(), "history", format!("nobody asked for {message:?}"));
        }
    }
    let holes: Vec<u64> = (1..=facts.history.head).filter(|seq| !facts.explained.contains(seq)).collect();
    if holes.len() > asked.in_doubt {
        let first: Vec<_> = holes.iter().take(10).collect();
        let detail = format!("{} seqs are nothing, {} could be: {first:?}", holes.len(), asked.in_doubt);
        report.add(Rule::Hole, facts.room(), "history", detail);
    }
}

/// Every ack of one send names the same message.
fn one_id(log: &Log, facts: &Facts, report: &mut Report) {
    let mut ids: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    for entry in &log.entries {
        if let Event::Answer { op, answer: Answer::Acked { id, .. }, .. } = &entry.event
            && log.ops[*op].room == facts.room()
            && matches!(log.ops[*op].act, Act::Send { .. })
        {
            ids.entry(*op).or_default().insert(*id);
        }
    }
    for (op, ids) in ids.into_iter().filter(|(_, ids)| ids.len() > 1) {
        report.add(Rule::NonceTwice, facts.room(), &log.user, format!("{:?} was acknowledged as {ids:?}", log.ops[op]));
    }
}

/// A send is above all that anybody knew before it was first sent; one socket's sends keep their order.
fn order(log: &Log, facts: &Facts, report: &mut Report) {
    let mut attempts: BTreeMap<usize, Vec<(Duration, u32)>> = BTreeMap::new();
    let mut sequence = Vec::new();
    for entry in &log.entries {
        if let Event::Attempt { op, connection } = entry.event
            && log.ops[op].room == facts.room()
            && matches!(log.ops[op].act, Act::Send { .. })
        {
            attempts.entry(op).or_default().push((entry.at, connection));
            sequence.push(op);
        }
    }
    let outcomes = log.outcomes();
    let mut last_of: HashMap<u32, u64> = HashMap::new();
    for op in sequence {
        let Outcome::Acked { id, duplicate, .. } = outcomes[op] else { continue };
        let tries = &attempts[&op];
        let (first_at, connection) = tries[0];
        let known = facts.reached_before(first_at);
        if id <= known {
            let detail = format!("message {id} was first sent when {known} was already known");
            report.add(Rule::AckOrder, facts.room(), &log.user, detail);
        }
        // A send that was tried again may have overtaken or been overtaken: its first attempt may be lost.
        if tries.len() == 1 && !duplicate {
            let last = last_of.entry(connection).or_default();
            if id <= *last {
                let detail = format!("message {id} was sent after message {last} on the same socket");
                report.add(Rule::SocketOrder, facts.room(), &log.user, detail);
            }
            *last = (*last).max(id);
        }
    }
}
