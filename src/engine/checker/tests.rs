//! The checker must go red: one hand-made run that is right, and for each rule a change that breaks it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::log::{Act, Answer, Entry, Event, Log, Op, Snapshot};
use super::super::wire::{Change, Kind};
use super::{History, Report, Rule, check};

const ROOM: &str = "general";

/// A run of two clients. Alice sends 1, 2 and 4 and edits 2 (seq 5); Bob sends 3, deletes it (6), sends 7. Bob's
/// socket breaks after 2 and he resumes; Alice is told 5 with 2 superseded before she joined.
struct Run {
    alice: Log,
    bob: Log,
    history: History,
}

fn change(kind: Kind, id: u64, seq: u64, author: &str, content: &str) -> Change {
    Change {
        kind,
        room: ROOM.into(),
        room_id: 1,
        id,
        seq,
        from: None,
        author: author.into(),
        author_id: if author == "alice" { 1 } else { 2 },
        content: content.into(),
        created_at: "2026-11-21T08:30:00.123Z".into(),
        edited_at: (kind == Kind::Edited).then(|| "2026-11-21T08:31:00.123Z".into()),
        deleted: kind == Kind::Deleted,
        reply_to: None,
        nonce: Some(format!("n{id}")),
        mentions: Vec::new(),
        reactions: BTreeMap::new(),
    }
}

fn created(id: u64) -> Change {
    let author = if matches!(id, 3 | 7) { "bob" } else { "alice" };
    change(Kind::Created, id, id, author, &format!("text {id}"))
}

fn edited() -> Change {
    change(Kind::Edited, 2, 5, "alice", "text 2, better")
}

fn deleted() -> Change {
    change(Kind::Deleted, 3, 6, "bob", "")
}

fn at(log: &mut Log, ms: u64, event: Event) {
    log.entries.push(Entry { at: Duration::from_millis(ms), event });
}

fn live(connection: u32, from: Option<u64>, change: Change) -> Event {
    Event::Live { connection, change: Box::new(Change { from, ..change }) }
}

fn joined(connection: u32, after: Option<u64>, seq: u64, changes: Vec<Change>) -> Event {
    Event::Joined(Box::new(Snapshot {
        connection,
        room: ROOM.into(),
        asked_after: after,
        asked_epoch: after.map(|_| "e1".into()),
        epoch: "e1".into(),
        seq,
        reset: false,
        more: false,
        changes,
    }))
}

fn ask(log: &mut Log, act: Act) -> usize {
    log.ops.push(Op { room: ROOM.into(), act });
    log.ops.len() - 1
}

fn send(id: u64) -> Act {
    Act::Send { nonce: format!("n{id}"), content: format!("text {id}") }
}

fn acked(op: usize, connection: u32, id: u64, seq: u64) -> Event {
    Event::Answer { op, connection, answer: Answer::Acked { id, seq, duplicate: false } }
}

/// Asks, attempts at `ms`, is acknowledged 5 ms later.
fn done(log: &mut Log, ms: u64, connection: u32, act: Act, id: u64, seq: u64) {
    let op = ask(log, act);
    at(log, ms, Event::Attempt { op, connection });
    at(log, ms + 5, acked(op, connection, id, seq));
}

fn run() -> Run {
    let mut alice = Log::new("alice");
    let mut bob = Log::new("bob");
    at(&mut alice, 0, Event::Connected { connection: 1, node: 0 });
    at(&mut bob, 0, Event::Connected { connection: 1, node: 1 });
    at(&mut alice, 1, joined(1, None, 0, vec![]));
    at(&mut bob, 1, joined(1, None, 0, vec![]));
    done(&mut alice, 10, 1, send(1), 1, 1);
    at(&mut alice, 16, live(1, None, created(1)));
    at(&mut bob, 16, live(1, None, created(1)));
    done(&mut alice, 20, 1, send(2), 2, 2);
    at(&mut alice, 26, live(1, None, created(2)));
    at(&mut bob, 26, live(1, None, created(2)));
    at(&mut bob, 27, Event::Disconnected { connection: 1, why: "cut".into() });
    at(&mut bob, 28, Event::Connected { connection: 2, node: 2 });
    done(&mut bob, 30, 2, send(3), 3, 3);
    at(&mut alice, 36, live(1, None, created(3)));
    done(&mut alice, 40, 1, send(4), 4, 4);
    at(&mut bob, 46, joined(2, Some(2), 4, vec![created(3), created(4)]));
    done(&mut alice, 50, 1, Act::Edit { id: 2, content: "text 2, better".into() }, 2, 5);
    at(&mut alice, 56, live(1, None, created(4)));
    at(&mut alice, 57, live(1, None, edited()));
    at(&mut bob, 57, live(2, None, edited()));
    done(&mut bob, 60, 2, Act::Delete { id: 3 }, 3, 6);
    at(&mut alice, 66, live(1, None, deleted()));
    at(&mut bob, 66, live(2, None, deleted()));
    // Joined once more when nothing had changed.
    at(&mut bob, 67, joined(2, Some(6), 6, vec![]));
    done(&mut bob, 70, 2, send(7), 7, 7);
    at(&mut alice, 76, live(1, None, created(7)));
    at(&mut bob, 76, live(2, None, created(7)));
    let op = ask(&mut alice, send(99));
    at(&mut alice, 80, Event::Attempt { op, connection: 1 });
    at(&mut alice, 81, Event::Answer { op, connection: 1, answer: Answer::Refused { code: "rate_limited".into() } });
    let messages = vec![created(1), edited(), deleted(), created(4), created(7)];
    let history = History { room: ROOM.into(), epoch: "e1".into(), head: 7, messages, purged: 0 };
    Run { alice, bob, history }
}

impl Run {
    fn check(&self) -> Report {
        check(&[self.alice.clone(), self.bob.clone()], std::slice::from_ref(&self.history))
    }

    /// Alice's live frame of this `seq`.
    fn alices_frame(&mut self, seq: u64) -> &mut Change {
        let frames = self.alice.entries.iter_mut().filter_map(|entry| match &mut entry.event {
            Event::Live { change, .. } => Some(change),
            _ => None,
        });
        frames.into_iter().find(|change| change.seq == seq).expect("she was told it")
    }

    fn bobs_resumption(&mut self) -> &mut Snapshot {
        let joins = self.bob.entries.iter_mut().filter_map(|entry| match &mut entry.event {
            Event::Joined(snapshot) => Some(snapshot),
            _ => None,
        });
        joins.into_iter().find(|snapshot| snapshot.asked_after.is_some()).expect("he resumed")
    }

    fn forget_alices_frames(&mut self, gone: impl Fn(&Change) -> bool) {
        self.alice.entries.retain(|entry| !matches!(&entry.event, Event::Live { change, .. } if gone(change)));
    }

    fn must_break(&self, rule: Rule) {
        let report = self.check();
        assert!(report.breaks(rule), "{rule:?} was not seen: {report}");
    }
}

#[test]
fn a_right_run_is_green_and_counted() {
    let report = run().check();
    assert!(report.is_green(), "{report}");
    assert_eq!(report.counts.sends_acked, 5);
    assert_eq!(report.counts.changes_acked, 2);
    assert_eq!(report.counts.refused, 1);
    assert_eq!((report.counts.joins, report.counts.resumes), (4, 2));
}

#[test]
fn a_declared_hole_of_what_was_superseded_is_green() {
    let mut run = run();
    run.forget_alices_frames(|change| change.seq == 3);
    // 3 was deleted at 6: she may be told 4 with the hole before it.
    run.alices_frame(4).from = Some(3);
    let report = run.check();
    assert!(report.is_green(), "{report}");
    assert_eq!(report.counts.holes_declared, 1);
}

#[test]
fn an_undeclared_hole_is_a_gap() {
    let mut run = run();
    run.forget_alices_frames(|change| change.seq == 3);
    run.must_break(Rule::Gap);
}

#[test]
fn a_hole_may_not_hide_what_is_in_force() {
    let mut run = run();
    run.forget_alices_frames(|change| change.seq == 4);
    run.alices_frame(5).from = Some(4);
    run.must_break(Rule::HiddenByHole);
}

#[test]
fn a_frame_told_twice_goes_backwards() {
    let mut run = run();
    at(&mut run.alice, 90, live(1, None, created(7)));
    run.must_break(Rule::Backwards);
}

#[test]
fn all_are_told_the_same() {
    let mut run = run();
    run.alices_frame(3).content = "something else".into();
    run.must_break(Rule::Disagree);
}

#[test]
fn the_epoch_stays() {
    let mut run = run();
    run.bobs_resumption().epoch = "e2".into();
    run.must_break(Rule::EpochChanged);
}

#[test]
fn acks_order_later_sends() {
    let mut run = run();
    // Bob had sent his 7 only after somebody knew of 8.
    at(&mut run.alice, 65, joined(1, None, 8, vec![]));
    run.must_break(Rule::AckOrder);
}

#[test]
fn one_sockets_sends_keep_their_order() {
    let mut run = run();
    let alice = &mut run.alice;
    let late = alice.entries.iter().position(|e| matches!(e.event, Event::Attempt { op: 1, .. })).unwrap();
    let moved = alice.entries.remove(late);
    let first = alice.entries.iter().position(|e| matches!(e.event, Event::Attempt { op: 0, .. })).unwrap();
    alice.entries.insert(first, moved);
    run.must_break(Rule::SocketOrder);
}

#[test]
fn every_seq_is_something() {
    let mut run = run();
    run.history.messages.last_mut().unwrap().id = 9;
    run.history.messages.last_mut().unwrap().seq = 9;
    run.history.head = 9;
    run.must_break(Rule::Hole);
}

#[test]
fn the_history_agrees_with_itself() {
    let mut first = run();
    first.history.head = 8;
    first.must_break(Rule::HistoryMalformed);
    let mut second = run();
    second.history.messages.swap(0, 1);
    second.must_break(Rule::HistoryMalformed);
}

#[test]
fn acknowledged_is_durable() {
    let mut run = run();
    run.history.messages.retain(|message| message.id != 4);
    run.must_break(Rule::AckedLost);
}

#[test]
fn acknowledged_changes_are_in_force() {
    let mut first = run();
    first.history.messages[1] = created(2);
    first.must_break(Rule::ChangeLost);
    let mut second = run();
    second.history.messages[2] = created(3);
    second.must_break(Rule::ChangeLost);
}

#[test]
fn the_history_has_what_was_acknowledged() {
    let mut run = run();
    run.history.messages[3].content = "not what she sent".into();
    run.must_break(Rule::AckedElsewhere);
    run.must_break(Rule::Invented);
}

#[test]
fn a_resumption_tells_everything() {
    let mut run = run();
    run.bobs_resumption().changes.remove(0);
    run.must_break(Rule::PageHole);
}

#[test]
fn a_first_page_has_no_holes() {
    let mut run = run();
    at(&mut run.bob, 90, joined(2, None, 7, vec![created(1), edited(), created(4), created(7)]));
    run.must_break(Rule::PageHole);
}

#[test]
fn a_resumption_tells_nothing_twice() {
    let mut run = run();
    run.bobs_resumption().changes.insert(0, created(2));
    run.must_break(Rule::Repeated);
}

#[test]
fn a_join_never_goes_back() {
    let mut run = run();
    at(&mut run.bob, 90, joined(2, None, 6, vec![]));
    run.must_break(Rule::WentBack);
}

#[test]
fn a_reset_needs_a_reason() {
    let mut run = run();
    run.bobs_resumption().reset = true;
    run.must_break(Rule::ResetUnfounded);
}

#[test]
fn superseded_text_is_not_told_again() {
    let mut run = run();
    let page = vec![created(1), created(2), created(4), deleted(), created(7)];
    at(&mut run.bob, 90, joined(2, None, 7, page));
    run.must_break(Rule::SupersededTold);
}

#[test]
fn everybody_reaches_the_head() {
    let mut run = run();
    run.forget_alices_frames(|change| change.seq == 7);
    run.must_break(Rule::NotAtHead);
}

#[test]
fn the_held_state_is_the_history() {
    let mut run = run();
    // Told right, but the history says otherwise since.
    run.history.messages[0].created_at = "2026-11-21T08:30:09.000Z".into();
    run.must_break(Rule::StateDiffers);
}

#[test]
fn frames_come_for_joined_rooms_only() {
    let mut first = run();
    at(&mut first.alice, 75, Event::Left { room: ROOM.into() });
    let left = first.alice.entries.pop().unwrap();
    let last = first.alice.entries.iter().position(|e| e.at >= Duration::from_millis(76)).unwrap();
    first.alice.entries.insert(last, left);
    first.must_break(Rule::NotJoined);
    let mut second = run();
    second.bob.entries.retain(|entry| !matches!(&entry.event, Event::Joined(s) if s.asked_after.is_some()));
    second.must_break(Rule::NotJoined);
}

#[test]
fn every_frame_can_be_read() {
    let mut run = run();
    at(&mut run.alice, 90, Event::Unreadable { frame: "{}".into() });
    run.must_break(Rule::Unreadable);
}

#[test]
fn one_nonce_is_one_message() {
    let mut first = run();
    first.history.messages[3].nonce = Some("n1".into());
    first.must_break(Rule::NonceTwice);
    let mut second = run();
    at(&mut second.alice, 95, acked(0, 1, 4, 4));
    second.must_break(Rule::NonceTwice);
}

#[test]
fn refused_is_not_stored() {
    let mut run = run();
    let mut message = created(8);
    message.nonce = Some("n99".into());
    message.content = "text 99".into();
    run.history.messages.push(message.clone());
    run.history.head = 8;
    at(&mut run.alice, 90, live(1, None, message.clone()));
    at(&mut run.bob, 90, live(2, None, message));
    run.must_break(Rule::RefusedStored);
    assert_eq!(run.check().violations.len(), 1, "{}", run.check());
}

#[test]
fn an_unknown_send_may_be_stored_once() {
    let mut run = run();
    for entry in &mut run.alice.entries {
        if let Event::Answer { answer: answer @ Answer::Refused { .. }, .. } = &mut entry.event {
            *answer = Answer::Unavailable;
        }
    }
    let mut message = created(8);
    message.nonce = Some("n99".into());
    message.content = "text 99".into();
    run.history.messages.push(message.clone());
    run.history.head = 8;
    at(&mut run.alice, 90, live(1, None, message.clone()));
    at(&mut run.bob, 90, live(2, None, message));
    assert!(run.check().is_green(), "{}", run.check());
}

#[test]
fn nothing_is_invented() {
    let mut run = run();
    run.history.messages[0].nonce = Some("never sent".into());
    run.must_break(Rule::Invented);
}
