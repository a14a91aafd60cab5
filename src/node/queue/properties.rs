//! One queue by itself: bounded, nothing answered is lost, and the node's budget is paid back.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::gate::{Delivery, Frame};
use super::{Budget, Item, Push, Queue, delivery_text};
use crate::model::{RoomId, Seq};

const BYTES_MAX: usize = 400;

#[derive(Debug, Clone)]
enum Op {
    Enter { room: i64, seq: Seq },
    Leave { room: i64 },
    Change { room: i64, ahead: Seq, hole: Seq, bytes: usize },
    Aside { room: i64, bytes: usize },
    List { room: i64 },
    Page { room: i64, count: Seq, bytes: usize },
    GoLive { room: i64 },
    Control,
    Unasked { bytes: usize },
    Take { bytes: usize },
    Elsewhere { spent: bool },
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_bounded_and_loses_no_answer(ops in prop::collection::vec(op(), 1..120)) {
        let budget = Budget::new(1_000);
        let mut other = Queue::new(10_000, budget.clone());
        let mut queue = Queue::new(BYTES_MAX, budget.clone());
        let (mut answered, mut answers_taken, mut entered) = (0u32, 0u32, 0);
        let (mut unasked, mut unasked_taken) = (0usize, 0usize);
        for op in ops {
            match op {
                Op::Enter { room, seq } => queue.enter(RoomId(room), seq),
                Op::Leave { room } => {
                    queue.leave(RoomId(room));
                    let of_room = |item: &Item| matches!(item, Item::Room { room: of, .. } if of.0 == room);
                    prop_assert!(!queue.items.iter().any(of_room), "told after leaving");
                }
                Op::Change { room, ahead, hole, bytes } => {
                    let before = queue.standing(RoomId(room));
                    let seq = (before.map_or(0, |(seq, _)| seq) + ahead).saturating_sub(1);
                    let delivery = Delivery { from: seq.saturating_sub(hole).max(1), frame: frame(seq, bytes) };
                    let free = queue.room_bytes == 0;
                    let push = queue.change(RoomId(room), &delivery, &delivery_text(&delivery));
                    match before {
                        Some((known, true)) if seq > known => prop_assert_ne!(push, Push::Ignored),
                        _ => prop_assert_eq!(push, Push::Ignored, "it is known, or not for it"),
                    }
                    prop_assert!(!free || push != Push::Overflowed, "an empty queue takes whatever comes");
                    is_after(&queue, push)?;
                }
                Op::Aside { room, bytes } => {
                    let push = queue.aside(RoomId(room), &frame(1, bytes).text);
                    is_after(&queue, push)?;
                }
                Op::List { room } => {
                    // As the node does: what a socket that just became live is owed.
                    if queue.standing(RoomId(room)).is_some_and(|(_, live)| !live) && queue.room_bytes <= BYTES_MAX / 2 {
                        queue.go_live(RoomId(room));
                        prop_assert_eq!(queue.list(RoomId(room), &frame(1, 40).text), Push::Queued);
                    }
                }
                Op::Page { room, count, bytes } => {
                    let Some((seq, false)) = queue.standing(RoomId(room)) else { continue };
                    let frames: Vec<Frame> = (1..=count).map(|next| frame(seq + next, bytes)).collect();
                    prop_assert!(!queue.page(RoomId(room), seq + 1, frames.iter()), "a page from beyond the cursor");
                    prop_assert_eq!(queue.standing(RoomId(room)), Some((seq, false)));
                    let free = queue.room_bytes == 0;
                    let all = queue.page(RoomId(room), seq, frames.iter());
                    let now = queue.standing(RoomId(room)).map_or(0, |(seq, _)| seq);
                    prop_assert_eq!(all, now == seq + count);
                    prop_assert!(!free || count == 0 || now > seq, "an empty queue takes one at least");
                }
                Op::GoLive { room } => queue.go_live(RoomId(room)),
                Op::Control => {
                    answered += 1;
                    queue.control(Bytes::from(answered.to_string()));
                }
                Op::Unasked { bytes } => {
                    let fits = queue.unasked_bytes + bytes <= BYTES_MAX;
                    prop_assert_eq!(queue.unasked(Bytes::from(format!("{{u{}", "x".repeat(bytes - 2)))), fits);
                    unasked += usize::from(fits);
                }
                Op::Take { bytes } => {
                    let mut out = Vec::new();
                    let due = queue.items.front().map(|item| item.text().clone());
                    queue.take(bytes, &mut out);
                    prop_assert_eq!(out.first(), due.as_ref(), "one at least");
                    prop_assert!(out.len() < 2 || out.iter().map(Bytes::len).sum::<usize>() <= bytes);
                    unasked_taken += out.iter().filter(|text| text.starts_with(b"{u")).count();
                    for text in out.iter().filter(|text| !text.starts_with(b"{")) {
                        answers_taken += 1;
                        prop_assert_eq!(text, &Bytes::from(answers_taken.to_string()), "answers keep their order");
                    }
                }
                Op::Elsewhere { spent } => {
                    other.leave(RoomId(9));
                    if spent {
                        entered += 1;
                        other.enter(RoomId(9), entered);
                        other.go_live(RoomId(9));
                        other.aside(RoomId(9), &frame(1, 1_001).text);
                    }
                }
            }
            let of_rooms = queue.items.iter().filter(|item| matches!(item, Item::Room { .. }));
            let (frames, bytes) = (of_rooms.clone().count(), of_rooms.map(|item| item.text().len()).sum::<usize>());
            prop_assert_eq!(queue.room_bytes, bytes);
            prop_assert_eq!(budget.used(), queue.room_bytes + other.room_bytes);
            prop_assert_eq!(queue.control_full(), queue.control_bytes >= BYTES_MAX);
            prop_assert!(bytes <= BYTES_MAX + 100 || frames == 1, "{bytes} bytes wait");
            let waiting = queue.items.iter().filter(|item| matches!(item, Item::Unasked(_)));
            prop_assert_eq!(queue.unasked_bytes, waiting.map(|item| item.text().len()).sum::<usize>());
            prop_assert!(queue.unasked_bytes <= BYTES_MAX);
        }
        let mut rest = Vec::new();
        queue.take(usize::MAX, &mut rest);
        let answers = rest.iter().filter(|text| !text.starts_with(b"{")).count();
        prop_assert_eq!(answered as usize, answers_taken as usize + answers, "an answer was lost");
        unasked_taken += rest.iter().filter(|text| text.starts_with(b"{u")).count();
        prop_assert_eq!(unasked, unasked_taken, "told once, and lost");
        queue.enter(RoomId(1), 1);
        queue.go_live(RoomId(1));
        queue.aside(RoomId(1), &frame(1, 100).text);
        drop((queue, other));
        prop_assert_eq!(budget.used(), 0);
    }
}

/// What holds after a push that may have overflowed the queue.
fn is_after(queue: &Queue, push: Push) -> Result<(), TestCaseError> {
    if push == Push::Overflowed {
        prop_assert_eq!(queue.room_bytes, 0, "all of the rooms' frames are dropped");
        prop_assert!(queue.lagging().is_some(), "somebody catches up for them");
    }
    Ok(())
}

fn op() -> impl Strategy<Value = Op> {
    let room = 1..4i64;
    let bytes = prop_oneof![9 => 10..90usize, 1 => 300..600usize];
    prop_oneof![
        2 => (room.clone(), 0..9u64).prop_map(|(room, seq)| Op::Enter { room, seq }),
        1 => room.clone().prop_map(|room| Op::Leave { room }),
        6 => (room.clone(), 1..6u64, 0..9u64, bytes.clone())
            .prop_map(|(room, ahead, hole, bytes)| Op::Change { room, ahead, hole, bytes }),
        2 => (room.clone(), bytes.clone()).prop_map(|(room, bytes)| Op::Aside { room, bytes }),
        1 => room.clone().prop_map(|room| Op::List { room }),
        2 => (room.clone(), 0..6u64, bytes).prop_map(|(room, count, bytes)| Op::Page { room, count, bytes }),
        3 => room.prop_map(|room| Op::GoLive { room }),
        1 => Just(Op::Control),
        1 => (10..200usize).prop_map(|bytes| Op::Unasked { bytes }),
        2 => (1..500usize).prop_map(|bytes| Op::Take { bytes }),
        1 => any::<bool>().prop_map(|spent| Op::Elsewhere { spent }),
    ]
}

fn frame(seq: Seq, bytes: usize) -> Frame {
    Frame { seq, id: seq, text: Bytes::from(format!("{{\"x\":\"{}\"}}", "x".repeat(bytes.saturating_sub(8)))) }
}
