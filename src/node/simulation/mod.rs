//! Hints are lost, doubled and late, reads are overtaken, readers stall, leave and come back: whatever the order, every
//! reader is told every change of its rooms once, in order, and ends with what the store holds.

mod reader;
mod socket;
mod store;
mod world;

use proptest::prelude::*;

use world::{ROOMS, SOCKETS, World};

/// Small enough that every bound is met.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    held: usize,
    memory: usize,
    /// Changes read of the store at once.
    page: usize,
    /// Changes above which a resumption starts anew.
    resume: u32,
    queue_bytes: usize,
    budget_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
pub enum Wish {
    Fresh { limit: u32 },
    Resume { limit: u32, back: u64 },
    Beyond { limit: u32 },
}

/// What takes several steps is begun and gone on with by the same operation.
#[derive(Debug, Clone)]
pub enum Op {
    Send { room: usize, length: usize },
    Edit { room: usize, which: usize },
    Delete { room: usize, which: usize },
    Purge { room: usize, which: usize },
    Age { room: usize, count: usize },
    Hear { room: usize, which: usize, again: bool },
    Lose { room: usize, which: usize },
    Beacon { room: usize },
    Open { room: usize },
    Repair { room: usize, begin: bool },
    Shrink { room: usize, frames: usize },
    Come { room: usize, user: usize },
    Go { room: usize, user: usize },
    Join { socket: usize, room: usize, wish: Wish },
    Leave { socket: usize, room: usize },
    TakeOut { socket: usize, room: usize },
    Write { socket: usize, bytes: usize },
    Answer { socket: usize },
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_is_told_everything_once_and_in_order(sizes in sizes(), ops in prop::collection::vec(op(), 1..250)) {
        let mut world = World::new(sizes);
        for op in &ops {
            world.step(op);
        }
        world.come_to_rest();
        for op in &ops {
            world.step(op);
        }
        world.end();
    }
}

fn sizes() -> impl Strategy<Value = Sizes> {
    // A queue holds a few frames of some 250 bytes, half of it always a list of those online.
    (1..6usize, 2..10usize, 1..6usize, 1..12u32, 1_000..4_000usize, 2_000..12_000usize).prop_map(
        |(held, memory, page, resume, queue_bytes, budget_bytes)| Sizes {
            held,
            memory,
            page,
            resume,
            queue_bytes,
            budget_bytes,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let any = 0..64usize;
    let room = 0..ROOMS;
    let socket = 0..SOCKETS;
    prop_oneof![
        6 => (room.clone(), 0..200usize).prop_map(|(room, length)| Op::Send { room, length }),
        4 => (room.clone(), any.clone()).prop_map(|(room, which)| Op::Edit { room, which }),
        1 => (room.clone(), any.clone()).prop_map(|(room, which)| Op::Delete { room, which }),
        1 => (room.clone(), any.clone()).prop_map(|(room, which)| Op::Purge { room, which }),
        1 => (room.clone(), 1..9usize).prop_map(|(room, count)| Op::Age { room, count }),
        8 => (room.clone(), prop_oneof![Just(0), any.clone()], prop::bool::weighted(0.2))
            .prop_map(|(room, which, again)| Op::Hear { room, which, again }),
        2 => (room.clone(), any).prop_map(|(room, which)| Op::Lose { room, which }),
        2 => room.clone().prop_map(|room| Op::Beacon { room }),
        2 => room.clone().prop_map(|room| Op::Open { room }),
        4 => (room.clone(), any_bool()).prop_map(|(room, begin)| Op::Repair { room, begin }),
        1 => (room.clone(), 0..8usize).prop_map(|(room, frames)| Op::Shrink { room, frames }),
        1 => (room.clone(), 0..4usize).prop_map(|(room, user)| Op::Come { room, user }),
        1 => (room.clone(), 0..4usize).prop_map(|(room, user)| Op::Go { room, user }),
        4 => (socket.clone(), room.clone(), wish()).prop_map(|(socket, room, wish)| Op::Join { socket, room, wish }),
        1 => (socket.clone(), room.clone()).prop_map(|(socket, room)| Op::Leave { socket, room }),
        1 => (socket.clone(), room).prop_map(|(socket, room)| Op::TakeOut { socket, room }),
        8 => (socket.clone(), 1..4_000usize).prop_map(|(socket, bytes)| Op::Write { socket, bytes }),
        1 => socket.prop_map(|socket| Op::Answer { socket }),
    ]
}

fn any_bool() -> impl Strategy<Value = bool> {
    prop::bool::ANY
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        3 => (0..6u32).prop_map(|limit| Wish::Fresh { limit }),
        4 => (0..6u32, prop_oneof![Just(0), 0..20u64]).prop_map(|(limit, back)| Wish::Resume { limit, back }),
        1 => (0..6u32).prop_map(|limit| Wish::Beyond { limit }),
    ]
}

/// A socket stalls with all of the node's budget; another, whose list of who is online is stale, must still catch up.
#[test]
fn a_spent_budget_keeps_nobody_from_catching_up() {
    let sizes = Sizes { held: 4, memory: 2, page: 4, resume: 9, queue_bytes: 2_000, budget_bytes: 1_500 };
    let mut world = World::new(sizes);
    let (room, other) = (0, 1);
    world.run([Op::Open { room }, Op::Open { room }, Op::Open { room: other }, Op::Open { room: other }]);
    for (socket, room) in [(0, other), (1, room)] {
        world.run(vec![Op::Join { socket, room, wish: Wish::Fresh { limit: 0 } }; 2]);
        world.run([Op::Write { socket, bytes: 9_000 }]);
    }
    // Falls behind, and misses a coming.
    world.run(vec![Op::Send { room, length: 600 }; 4]);
    world.run(vec![Op::Hear { room, which: 0, again: false }; 4]);
    world.run([Op::Come { room, user: 1 }]);
    world.run(vec![Op::Send { room: other, length: 700 }; 2]);
    world.run(vec![Op::Hear { room: other, which: 0, again: false }; 2]);
    world.run(vec![Op::Write { socket: 1, bytes: 9_000 }; 40]);
    assert!(world.is_caught_up(1, room), "it turns in circles");
    world.come_to_rest();
}

/// A page is on its way to a socket that meanwhile comes back from further behind.
#[test]
fn a_page_for_a_cursor_that_moved_back_is_not_taken() {
    let sizes = Sizes { held: 4, memory: 2, page: 9, resume: 9, queue_bytes: 1_000, budget_bytes: 9_000 };
    let mut world = World::new(sizes);
    let room = 0;
    world.run([Op::Open { room }, Op::Open { room }]);
    world.run(vec![Op::Join { socket: 0, room, wish: Wish::Fresh { limit: 0 } }; 2]);
    world.run([Op::Write { socket: 0, bytes: 9_000 }]);
    world.run(vec![Op::Send { room, length: 100 }; 9]);
    world.run(vec![Op::Hear { room, which: 0, again: false }; 9]);
    // Its queue overflowed: it reads one message after the other from the store, until the page after the fifth is
    // read and not yet taken.
    world.run(vec![Op::Write { socket: 0, bytes: 9_000 }; 5 * 4 + 2]);
    assert_eq!(world.page_under_way(0), Some(5));
    let back = Wish::Resume { limit: 0, back: 9 };
    world.run(vec![Op::Join { socket: 0, room, wish: back }; 2]);
    world.run(vec![Op::Write { socket: 0, bytes: 9_000 }; 20]);
    world.come_to_rest();
}
