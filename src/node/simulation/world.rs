//! A node with a few rooms and sockets, stepped by hand: each wait that the node has (for the store, for a writer) is
//! a place where anything else may happen first.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use super::socket::Socket;
use super::store::Store;
use super::{Op, Sizes};
use crate::config::Config;
use crate::model::{MessageId, RoomId, Seq, Username};
use crate::node::catch_up::{Page, Start, frame, frames};
use crate::node::gate::Frame;
use crate::node::hub::open_gate;
use crate::node::metrics::Metrics;
use crate::node::queue::Budget;
use crate::node::room::Room;
use crate::presence::Incarnation;
use crate::store::Changes;

pub const ROOMS: usize = 2;
pub const SOCKETS: usize = 3;
/// Reads of one room that may be under way at once.
const REPAIRS_MAX: usize = 3;
/// Steps after which everything must have come to rest.
const REST_STEPS_MAX: usize = 3_000;

pub struct World {
    sizes: Sizes,
    rooms: Vec<Place>,
    sockets: Vec<Socket>,
    budget: Budget,
    answers: u32,
}

/// A room, and what is on its way to it.
pub struct Place {
    pub store: Store,
    pub room: Arc<Room>,
    hints: VecDeque<Frame>,
    opening: Option<Changes>,
    opened: bool,
    repairs: VecDeque<Repair>,
    beacon: Option<(Seq, MessageId)>,
}

enum Repair {
    Asked { after: Seq },
    Read(Page),
}

impl World {
    pub fn new(sizes: Sizes) -> Self {
        let mut config = Config::default();
        config.node.held_frames_per_room = sizes.held;
        config.node.memory_frames_per_room = sizes.memory;
        let budget = Budget::new(sizes.budget_bytes);
        let rooms = (0..ROOMS).map(|room| Place::new(RoomId(room as i64 + 1), &config)).collect();
        let sockets = (0..SOCKETS).map(|id| Socket::new(id, &sizes, &budget)).collect();
        Self { sizes, rooms, sockets, budget, answers: 0 }
    }

    pub fn run(&mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            self.step(&op);
        }
    }

    pub fn is_caught_up(&self, socket: usize, room: usize) -> bool {
        let Place { room, store, .. } = &self.rooms[room];
        self.sockets[socket].session.standing(room.id) == Some((store.head(), true))
    }

    /// After which seq the page was read that a socket is about to take.
    pub fn page_under_way(&self, socket: usize) -> Option<Seq> {
        self.sockets[socket].page_under_way()
    }

    pub fn step(&mut self, op: &Op) {
        let sizes = self.sizes;
        match *op {
            Op::Send { room, length } => self.rooms[room].commit(|store| Some(store.send(length))),
            Op::Edit { room, which } => self.rooms[room].commit(|store| store.edit(which)),
            Op::Delete { room, which } => self.rooms[room].commit(|store| store.delete(which)),
            Op::Purge { room, which } => self.rooms[room].store.purge(which),
            Op::Age { room, count } => self.rooms[room].store.age(count),
            Op::Hear { room, which, again } => self.rooms[room].hear(which, again),
            Op::Lose { room, which } => self.rooms[room].lose(which),
            Op::Beacon { room } => self.rooms[room].beacon(),
            Op::Open { room } => self.rooms[room].open(&sizes),
            Op::Repair { room, begin } => self.rooms[room].repair(begin, &sizes),
            Op::Shrink { room, frames } => self.rooms[room].room.lock().gate.memory_mut().shrink(frames),
            Op::Come { room, user } => self.rooms[room].presence(user, true),
            Op::Go { room, user } => self.rooms[room].presence(user, false),
            Op::Join { socket, room, wish } => self.sockets[socket].join(room, wish, &mut self.rooms, &sizes),
            Op::Leave { socket, room } => self.sockets[socket].leave(room, &mut self.rooms),
            Op::TakeOut { socket, room } => self.sockets[socket].take_out(room, &self.rooms),
            Op::Write { socket, bytes } => drop(self.sockets[socket].write(bytes, &mut self.rooms, &sizes)),
            Op::Answer { socket } => {
                self.answers += 1;
                self.sockets[socket].answer(format!(r#"{{"type":"pong","ref":{}}}"#, self.answers));
            }
        }
        self.is_bounded();
    }

    /// Hints come or not; then the beacon looks, what is missing is repaired, everybody reads.
    pub fn come_to_rest(&mut self) {
        for place in &mut self.rooms {
            while !place.opened {
                place.open(&self.sizes);
            }
            place.rest(&self.sizes);
        }
        let mut steps = 0;
        let mut busy = true;
        while busy {
            busy = false;
            for socket in &mut self.sockets {
                busy |= socket.enter(&self.rooms);
                busy |= socket.write(10_000, &mut self.rooms, &self.sizes);
            }
            steps += 1;
            assert!(steps < REST_STEPS_MAX, "it never comes to rest");
        }
        for (place, room) in self.rooms.iter().zip(0..) {
            let inner = place.room.lock();
            assert_eq!(inner.gate.position(), place.store.head());
            let online: BTreeSet<String> = inner.listed().0.iter().map(|user| user.as_str().to_owned()).collect();
            for socket in &self.sockets {
                let standing = socket.session.standing(place.room.id);
                if let Some(held) = socket.reader.held(room).filter(|held| held.joined) {
                    let (seq, live) = standing.expect("who reads a joined is in the room");
                    assert!(live, "everybody is live");
                    assert!((seq + 1..=place.store.head()).all(|seq| place.store.is_void(seq)), "owed from {seq}");
                    held.is_complete(&place.store, &online);
                } else {
                    assert_eq!(standing, None, "who reads no joined is in no room");
                }
            }
        }
        assert!(self.sockets.iter().all(|socket| socket.reader.answers.is_empty()), "an answer was lost");
        assert_eq!(self.budget.used(), 0);
    }

    /// Dropped queues give back what they took of the node's budget.
    pub fn end(self) {
        let Self { sockets, rooms, budget, .. } = self;
        drop((sockets, rooms));
        assert_eq!(budget.used(), 0);
    }

    fn is_bounded(&self) {
        for place in &self.rooms {
            let inner = place.room.lock();
            assert!(inner.gate.held_count() <= self.sizes.held, "too much is held");
            assert!(inner.gate.position() <= place.store.head(), "the gate is ahead of the truth");
            let remembered = inner.gate.memory();
            assert!(remembered.after(Seq::MAX - 1).is_some_and(|mut none| none.next().is_none()));
            for cursor in 0..=inner.gate.position() {
                let Some(after) = remembered.after(cursor) else { continue };
                let after: Vec<&Frame> = after.collect();
                assert!(after.len() <= self.sizes.memory, "too much is remembered");
                place.is_all_after(cursor, inner.gate.position(), after.iter().map(|frame| frame.seq));
            }
        }
    }
}

impl Place {
    fn new(id: RoomId, config: &Config) -> Self {
        let store = Store::new(id);
        let memory_used = Arc::new(AtomicUsize::new(0));
        let room = Room::new(id, store.slug.clone(), config, memory_used, Arc::new(Metrics::new()));
        Self {
            store,
            room: Arc::new(room),
            hints: VecDeque::new(),
            opening: None,
            opened: false,
            repairs: VecDeque::new(),
            beacon: None,
        }
    }

    fn commit(&mut self, change: impl FnOnce(&mut Store) -> Option<crate::model::Message>) {
        if let Some(message) = change(&mut self.store) {
            self.hints.push_back(frame(&message, &self.store.slug));
        }
    }

    fn hear(&mut self, which: usize, again: bool) {
        let Some(which) = which.checked_rem(self.hints.len()) else { return };
        let Some(frame) = self.hints.remove(which) else { return };
        if again {
            self.hints.push_back(frame.clone());
        }
        self.room.lock().offer(frame);
    }

    fn lose(&mut self, which: usize) {
        if let Some(which) = which.checked_rem(self.hints.len()) {
            self.hints.remove(which);
        }
    }

    /// Tells the head that was read the last time, which others may have overtaken, and reads it again.
    fn beacon(&mut self) {
        let seen = self.beacon.replace((self.store.head(), self.store.outdated()));
        if let Some((head, outdated)) = seen.filter(|_| self.opened) {
            let mut inner = self.room.lock();
            inner.gate.note_head(head, Instant::now());
            inner.gate.memory_mut().purge(outdated);
            let memory = inner.gate.memory();
            let oldest = memory.after(memory.floor()).and_then(|frames| frames.map(|frame| frame.id).min());
            assert!(
                oldest.is_none_or(|oldest| oldest > outdated),
                "{oldest:?} is told although {outdated} was removed"
            );
            let hole = inner.gate.hole_age(Instant::now()).is_some();
            assert!(hole || inner.gate.position() >= head, "a head that was seen reveals a hole");
            assert!(!hole || inner.gate.position() < self.store.head(), "there is no hole where nothing is missing");
        }
    }

    fn open(&mut self, sizes: &Sizes) {
        if self.opened {
            return;
        }
        match self.opening.take() {
            None => self.opening = Some(self.store.recent_changes(sizes.memory.min(sizes.page))),
            Some(changes) => {
                open_gate(&mut self.room.lock(), &self.store.slug, changes);
                self.opened = true;
            }
        }
    }

    fn repair(&mut self, begin: bool, sizes: &Sizes) {
        if !self.opened {
            return;
        }
        if begin && self.repairs.len() < REPAIRS_MAX {
            self.repairs.push_back(Repair::Asked { after: self.room.lock().gate.position() });
            return;
        }
        match self.repairs.pop_front() {
            None => {}
            Some(Repair::Asked { after }) => {
                let page = Page::read(after, self.store.changes_after(after, sizes.page), &self.store.slug);
                self.repairs.push_back(Repair::Read(page));
            }
            Some(Repair::Read(page)) => self.room.lock().repair(page),
        }
    }

    fn presence(&self, user: usize, comes: bool) {
        let (node, user) = (Incarnation("elsewhere".into()), Username::from_stored(format!("user-{user}")));
        let mut inner = self.room.lock();
        if comes {
            inner.heard_entered(&node, &user);
        } else {
            inner.heard_left(&node, &user);
        }
    }

    /// The beacon finds whatever hole is left, and it is repaired, however the pages fall.
    fn rest(&mut self, sizes: &Sizes) {
        self.beacon();
        self.beacon();
        let mut steps = 0;
        loop {
            let hole = self.room.lock().gate.hole_age(Instant::now()).is_some();
            if !hole && self.repairs.is_empty() {
                return;
            }
            let begin = self.repairs.is_empty();
            self.repair(begin, sizes);
            steps += 1;
            assert!(steps < REST_STEPS_MAX, "a hole is never closed");
        }
    }

    pub fn is_open(&self) -> bool {
        self.opened
    }

    /// Whether `told` are all changes after `cursor` that hold by `head`.
    pub fn is_all_after(&self, cursor: Seq, head: Seq, told: impl Iterator<Item = Seq>) {
        let told: BTreeSet<Seq> = told.collect();
        for seq in &told {
            self.holds_by(*seq, head);
        }
        for seq in (cursor + 1..=head).filter(|seq| !self.store.is_void(*seq)) {
            assert!(told.contains(&seq), "{seq} is missing among the changes from {cursor} to {head}: {told:?}");
        }
    }

    /// What was superseded is not told any more, unless what superseded it lies beyond `head` and is still to come.
    fn holds_by(&self, seq: Seq, head: Seq) {
        assert!(seq <= head, "{seq} lies beyond {head}");
        let id = self.store.change(seq).id;
        let present = self.store.present().find(|message| message.id == id).map(|message| message.seq);
        // Of what was purged the last change may be gone untold.
        assert!(present.is_none_or(|present| present == seq || present > head), "{seq} was superseded by {present:?}");
    }

    /// Whether a `joined` that is not told after a cursor leaves nothing out of what it covers.
    pub fn is_latest(&self, start: &Start, limit: u32) {
        assert!(start.frames.len() <= limit as usize);
        let told: BTreeSet<Seq> = start.frames.iter().map(|frame| frame.seq).collect();
        for seq in &told {
            self.holds_by(*seq, start.seq);
        }
        let oldest = match start.frames.first() {
            Some(first) if start.more => first.id,
            None if start.more => return,
            _ => 0,
        };
        for message in self.store.present().filter(|message| message.id > oldest && message.seq <= start.seq) {
            assert!(told.contains(&message.seq), "{} is missing among the latest: {told:?}", message.seq);
        }
    }
}

impl Place {
    /// What `joined` tells, from memory where it reaches back far enough; as the node's `past`.
    pub fn past(&mut self, after: Option<Seq>, limit: u32, sizes: &Sizes) -> Start {
        let Some(after) = after else { return self.latest(limit, false, sizes) };
        if after > self.room.lock().gate.position() {
            self.rest(sizes);
            if after > self.room.lock().gate.position() {
                return self.latest(limit, true, sizes);
            }
        }
        let remembered = Page::remembered(&self.room.lock().gate, after, sizes.resume);
        let page = remembered.unwrap_or_else(|| {
            Page::read(after, self.store.changes_after(after, sizes.resume as usize), &self.store.slug)
        });
        if page.more {
            return self.latest(limit, true, sizes);
        }
        Start::resumed(page, sizes.queue_bytes)
    }

    fn latest(&self, limit: u32, reset: bool, sizes: &Sizes) -> Start {
        let remembered = Start::remembered(&self.room.lock().gate, limit, reset, sizes.queue_bytes);
        remembered.unwrap_or_else(|| {
            let (messages, older) = self.store.latest(limit as usize);
            Start::latest(self.store.head(), frames(messages, &self.store.slug), older, reset, sizes.queue_bytes)
        })
    }
}
