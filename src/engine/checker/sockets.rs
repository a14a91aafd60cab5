//! Walks one client's log and judges every frame by what the client held at that moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::super::log::{Event, Log, Snapshot};
use super::super::wire::Change;
use super::facts::Facts;
use super::{Report, Rule};

/// Over this many changes behind, the server may say `reset`.
const RESUME_CHANGES_MAX: u64 = 500;

/// What a client holds of one room.
struct Hold<'a> {
    /// The last `seq` it was told.
    seq: u64,
    /// Every final state above this must be held.
    base: u64,
    messages: BTreeMap<u64, &'a Change>,
    /// The socket it is joined on; `None`: not joined.
    connection: Option<u32>,
}

pub(super) fn check(log: &Log, facts: &BTreeMap<&str, Facts>, report: &mut Report) {
    let mut holds: HashMap<&str, Hold> = HashMap::new();
    for entry in &log.entries {
        match &entry.event {
            Event::Connected { .. } => report.counts.connections += 1,
            Event::Disconnected { connection, .. } => {
                for hold in holds.values_mut().filter(|hold| hold.connection == Some(*connection)) {
                    hold.connection = None;
                }
            }
            Event::Joined(snapshot) => {
                if let Some(facts) = facts.get(snapshot.room.as_str()) {
                    joined(log, facts, snapshot, &mut holds, report);
                }
            }
            Event::Live { connection, change } => {
                if let Some(facts) = facts.get(change.room.as_str()) {
                    live(log, facts, *connection, change, &mut holds, report);
                }
            }
            Event::Unreadable { frame } => report.add(Rule::Unreadable, "", &log.user, frame),
            Event::Left { room } | Event::Removed { room, .. } => {
                if let Some(hold) = holds.get_mut(room.as_str()) {
                    hold.connection = None;
                }
            }
            _ => {}
        }
    }
    for (room, hold) in holds {
        if let (Some(facts), true) = (facts.get(room), hold.connection.is_some()) {
            at_the_end(log, facts, &hold, report);
        }
    }
}

fn joined<'a>(
    log: &'a Log,
    facts: &Facts,
    snapshot: &'a Snapshot,
    holds: &mut HashMap<&'a str, Hold<'a>>,
    report: &mut Report,
) {
    let room = snapshot.room.as_str();
    report.counts.joins += 1;
    if snapshot.epoch != facts.history.epoch {
        let detail = format!("joined under {}, the history's is {}", snapshot.epoch, facts.history.epoch);
        report.add(Rule::EpochChanged, room, &log.user, detail);
    }
    told_rightly(log, facts, snapshot, report);
    let held = holds.remove(room);
    if let Some(held) = &held
        && snapshot.seq < held.seq
    {
        let detail = format!("joined at {} after having seen {}", snapshot.seq, held.seq);
        report.add(Rule::WentBack, room, &log.user, detail);
    }
    let resumed_after = snapshot.asked_after.filter(|_| !snapshot.reset);
    let hold = match resumed_after {
        Some(after) => {
            resumed(log, facts, snapshot, after, report);
            let held = held.filter(|held| held.seq == after);
            let (base, messages) = held.map_or_else(|| (after, BTreeMap::new()), |held| (held.base, held.messages));
            Hold { seq: snapshot.seq, base, messages, connection: None }
        }
        None => {
            page(log, facts, snapshot, report);
            let base = if snapshot.more { snapshot.seq } else { 0 };
            Hold { seq: snapshot.seq, base, messages: BTreeMap::new(), connection: None }
        }
    };
    let hold = holds.entry(room).insert_entry(hold).into_mut();
    hold.connection = Some(snapshot.connection);
    for change in &snapshot.changes {
        take(hold, change);
    }
}

/// What holds for every `joined`: one snapshot, each message once, nothing superseded.
fn told_rightly(log: &Log, facts: &Facts, snapshot: &Snapshot, report: &mut Report) {
    let mut ids = BTreeSet::new();
    for change in &snapshot.changes {
        if !ids.insert(change.id) {
            let detail = format!("message {} stands twice in one joined", change.id);
            report.add(Rule::Repeated, &snapshot.room, &log.user, detail);
        }
        if change.seq > snapshot.seq {
            let detail = format!("joined at {} tells seq {}", snapshot.seq, change.seq);
            report.add(Rule::Backwards, &snapshot.room, &log.user, detail);
        }
        let later = facts.seqs_of.get(&change.id).and_then(|seqs| seqs.range(change.seq + 1..).next());
        if let Some(later) = later.filter(|later| **later <= snapshot.seq) {
            let detail = format!(
                "joined at {} tells message {} as of {}, it changed at {later}",
                snapshot.seq, change.id, change.seq
            );
            report.add(Rule::SupersededTold, &snapshot.room, &log.user, detail);
        }
    }
}

fn resumed(log: &Log, facts: &Facts, snapshot: &Snapshot, after: u64, report: &mut Report) {
    let room = snapshot.room.as_str();
    report.counts.resumes += 1;
    let mut last = after;
    for change in &snapshot.changes {
        if change.seq <= after {
            report.add(Rule::Repeated, room, &log.user, format!("asked after {after}, told seq {}", change.seq));
        } else if change.seq <= last {
            report.add(Rule::Backwards, room, &log.user, format!("joined tells {} after {last}", change.seq));
        }
        last = last.max(change.seq);
    }
    if snapshot.seq < after {
        let detail = format!("resumed after {after}, joined at {} without reset", snapshot.seq);
        report.add(Rule::WentBack, room, &log.user, detail);
        return;
    }
    let told: BTreeSet<u64> = snapshot.changes.iter().map(|change| change.id).collect();
    // Whatever was created in between must be there in some state, whatever got its final state then too.
    let created = facts.by_id.range((Bound::Excluded(after), Bound::Included(snapshot.seq))).map(|(id, _)| *id);
    let changed = facts.by_id.values().filter(|m| m.seq > after && m.seq <= snapshot.seq).map(|m| m.id);
    for id in created.chain(changed).filter(|id| !told.contains(id)).collect::<BTreeSet<_>>() {
        let detail = format!("resumed after {after} to {}, message {id} was not told", snapshot.seq);
        report.add(Rule::PageHole, room, &log.user, detail);
    }
}

fn page(log: &Log, facts: &Facts, snapshot: &Snapshot, report: &mut Report) {
    let room = snapshot.room.as_str();
    if snapshot.reset {
        report.counts.resets += 1;
        let same_epoch = snapshot.asked_epoch.as_ref().is_none_or(|epoch| *epoch == snapshot.epoch);
        let behind = snapshot.asked_after.and_then(|after| snapshot.seq.checked_sub(after));
        if same_epoch && behind.is_some_and(|behind| behind <= RESUME_CHANGES_MAX) {
            let detail = format!("asked after {:?}, reset at {}", snapshot.asked_after, snapshot.seq);
            report.add(Rule::ResetUnfounded, room, &log.user, detail);
        }
    }
    let lowest_id = snapshot.changes.iter().map(|change| change.id).min();
    let lowest_seq = snapshot.changes.iter().map(|change| change.seq).min();
    let (Some(lowest_id), Some(lowest_seq)) = (lowest_id, lowest_seq) else { return };
    let (lowest_id, lowest_seq) = if snapshot.more { (lowest_id, lowest_seq) } else { (0, 0) };
    let told: BTreeSet<u64> = snapshot.changes.iter().map(|change| change.id).collect();
    for (id, message) in facts.by_id.range(lowest_id..) {
        if message.seq >= lowest_seq && message.seq <= snapshot.seq && !told.contains(id) {
            let detail = format!("joined at {}, message {id} was not told", snapshot.seq);
            report.add(Rule::PageHole, room, &log.user, detail);
        }
    }
}

fn live<'a>(
    log: &'a Log,
    facts: &Facts,
    connection: u32,
    change: &'a Change,
    holds: &mut HashMap<&'a str, Hold<'a>>,
    report: &mut Report,
) {
    let room = facts.room();
    report.counts.live += 1;
    let hold = holds.get_mut(change.room.as_str()).filter(|hold| hold.connection == Some(connection));
    let Some(hold) = hold else {
        report.add(Rule::NotJoined, room, &log.user, format!("seq {} on socket {connection}", change.seq));
        return;
    };
    if change.seq <= hold.seq {
        report.add(Rule::Backwards, room, &log.user, format!("seq {} after {}", change.seq, hold.seq));
        return;
    }
    if change.first() > hold.seq + 1 {
        let detail = format!("after {} came {} (from {:?})", hold.seq, change.seq, change.from);
        report.add(Rule::Gap, room, &log.user, detail);
    }
    if change.seq > hold.seq + 1 {
        report.counts.holes_declared += 1;
        for hidden in facts.final_seqs.range(hold.seq + 1..change.seq) {
            let detail = format!("seq {hidden} is in force, {} came after {}", change.seq, hold.seq);
            report.add(Rule::HiddenByHole, room, &log.user, detail);
        }
    }
    hold.seq = change.seq;
    take(hold, change);
}

fn take<'a>(hold: &mut Hold<'a>, change: &'a Change) {
    let held = hold.messages.entry(change.id).or_insert(change);
    if change.seq > held.seq {
        *held = change;
    }
}

fn at_the_end(log: &Log, facts: &Facts, hold: &Hold, report: &mut Report) {
    let room = facts.room();
    if hold.seq != facts.history.head {
        let detail = format!("stands at {}, the head is {}", hold.seq, facts.history.head);
        report.add(Rule::NotAtHead, room, &log.user, detail);
        return;
    }
    for (id, message) in &facts.by_id {
        match hold.messages.get(id) {
            Some(held) if held.stripped() != **message => {
                report.add(Rule::StateDiffers, room, &log.user, format!("holds {held:?}, the history {message:?}"));
            }
            None if message.seq > hold.base => {
                report.add(
                    Rule::StateDiffers,
                    room,
                    &log.user,
                    format!("never got message {id} (seq {})", message.seq),
                );
            }
            _ => {}
        }
    }
    let kept = |id: &&u64| **id > facts.history.purged;
    for id in hold.messages.keys().filter(kept).filter(|id| !facts.by_id.contains_key(id)) {
        report.add(Rule::StateDiffers, room, &log.user, format!("holds message {id}, the history does not"));
    }
}
