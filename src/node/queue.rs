//! What waits to be written to one socket, and where the socket stands in each of its rooms. Free of I/O.
//!
//! Joining, resuming and falling behind are one thing here: in each room a socket is *catching up from a cursor* or
//! *live*. A full queue drops its room frames and turns the rooms they were of back to catching up; what the socket
//! was answered (control frames) is never dropped.

#[cfg(test)]
mod properties;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::gate::{Delivery, Frame};
use crate::model::{RoomId, Seq};
use crate::protocol::frames::with_from;

/// Bytes of room frames waiting over all sockets of the node, against their bound.
#[derive(Debug, Clone)]
pub struct Budget {
    used: Arc<AtomicUsize>,
    max: usize,
}

/// What became of something pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    Queued,
    /// Not for this socket now: not in the room, catching up, or it knows it already.
    Ignored,
    /// There was no room: the queue's room frames were dropped, their rooms are catching up.
    Overflowed,
}

#[derive(Debug)]
pub struct Queue {
    items: VecDeque<Item>,
    /// Bytes of items that belong to a room and can be dropped …
    room_bytes: usize,
    /// … and of those that cannot.
    control_bytes: usize,
    /// … and of what nobody asked for, which no pause in reading the socket holds back.
    unasked_bytes: usize,
    slots: HashMap<RoomId, Slot>,
    bytes_max: usize,
    budget: Budget,
}

/// Where the socket stands in one room. `seq`: nothing up to it is still owed. `told`: the last one written or queued,
/// which is less only where changes are gone for good; the next frame's `from` then reaches back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    live: bool,
    seq: Seq,
    told: Seq,
}

#[derive(Debug)]
enum Item {
    Control(Bytes),
    Unasked(Bytes),
    /// `before`: what the socket was told of the room before this frame; for a change only.
    Room {
        room: RoomId,
        before: Option<Seq>,
        text: Bytes,
    },
}

impl Budget {
    pub fn new(max: usize) -> Self {
        Self { used: Arc::default(), max }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn is_spent(&self) -> bool {
        self.used() > self.max
    }
}

impl Queue {
    pub fn new(bytes_max: usize, budget: Budget) -> Self {
        Self {
            items: VecDeque::new(),
            room_bytes: 0,
            control_bytes: 0,
            unasked_bytes: 0,
            slots: HashMap::new(),
            bytes_max,
            budget,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether answers fill their reserve: then the socket must not be read.
    pub fn control_full(&self) -> bool {
        self.control_bytes >= self.bytes_max
    }

    pub fn rooms(&self) -> impl Iterator<Item = RoomId> {
        self.slots.keys().copied()
    }

    pub fn room_count(&self) -> usize {
        self.slots.len()
    }

    /// Where the socket stands in a room: its cursor, and whether it is live.
    pub fn standing(&self, room: RoomId) -> Option<(Seq, bool)> {
        self.slots.get(&room).map(|slot| (slot.seq, slot.live))
    }

    /// Puts the socket into a room, catching up from `seq`; again, when it was in: what was queued of it is void.
    pub fn enter(&mut self, room: RoomId, seq: Seq) {
        self.forget_room(room);
        self.slots.insert(room, Slot { live: false, seq, told: seq });
    }

    /// Takes the socket out of a room, with all that is queued of it. `false`: it was not in.
    pub fn leave(&mut self, room: RoomId) -> bool {
        self.forget_room(room);
        self.slots.remove(&room).is_some()
    }

    /// An answer, or something else that must not be lost.
    pub fn control(&mut self, text: Bytes) {
        self.control_bytes += text.len();
        self.items.push_back(Item::Control(text));
    }

    /// Something that is told once and that nobody asked for. `false`: too much of that waits, and this is not told.
    pub fn unasked(&mut self, text: Bytes) -> bool {
        if self.unasked_bytes + text.len() > self.bytes_max {
            return false;
        }
        self.unasked_bytes += text.len();
        self.items.push_back(Item::Unasked(text));
        true
    }

    /// A change whose turn has come in the room; `text` are its shared bytes for who was told all before `from` and
    /// nothing after.
    pub fn change(&mut self, room: RoomId, delivery: &Delivery, text: &Bytes) -> Push {
        let Some(slot) = self.slots.get_mut(&room) else { return Push::Ignored };
        let seq = delivery.frame.seq;
        if !slot.live || seq <= slot.seq {
            return Push::Ignored;
        }
        if !Self::fits(self.room_bytes, self.bytes_max, &self.budget, text.len()) {
            slot.live = false;
            self.overflow();
            return Push::Overflowed;
        }
        let before = slot.told;
        let text = if delivery.from == before + 1 { text.clone() } else { told(before + 1, &delivery.frame) };
        (slot.seq, slot.told) = (seq, seq);
        self.push(Item::Room { room, before: Some(before), text });
        Push::Queued
    }

    /// Something of a room that is no change (who came, who types): worth nothing to one who is catching up.
    pub fn aside(&mut self, room: RoomId, text: &Bytes) -> Push {
        if !self.slots.get(&room).is_some_and(|slot| slot.live) {
            return Push::Ignored;
        }
        if !Self::fits(self.room_bytes, self.bytes_max, &self.budget, text.len()) {
            if let Some(slot) = self.slots.get_mut(&room) {
                slot.live = false;
            }
            self.overflow();
            return Push::Overflowed;
        }
        self.push(Item::Room { room, before: None, text: text.clone() });
        Push::Queued
    }

    /// The list of who is online, owed to a socket that has just become live. It finds room beside the page it follows
    /// whatever the node's budget: to drop that page for it would begin the same again.
    pub fn list(&mut self, room: RoomId, text: &Bytes) -> Push {
        if !self.slots.get(&room).is_some_and(|slot| slot.live) {
            return Push::Ignored;
        }
        self.push(Item::Room { room, before: None, text: text.clone() });
        Push::Queued
    }

    /// All changes after `after`, which was the cursor of a room that is catching up, in order; as many are taken as
    /// there is room for. Says whether that was all of them.
    pub fn page<'a>(&mut self, room: RoomId, after: Seq, frames: impl Iterator<Item = &'a Frame>) -> bool {
        if self.slots.get(&room).is_none_or(|slot| slot.seq < after) {
            // It left meanwhile, or came again from further back: what lies between is still owed.
            return false;
        }
        for frame in frames {
            let Some(slot) = self.slots.get_mut(&room) else { return false };
            if frame.seq <= slot.seq {
                continue;
            }
            // Half a queue at a time: what is live meanwhile in other rooms keeps its share.
            if self.room_bytes > 0 && self.room_bytes + frame.text.len() > self.bytes_max / 2 {
                return false;
            }
            let before = slot.told;
            (slot.seq, slot.told) = (frame.seq, frame.seq);
            let text = told(before + 1, frame);
            self.push(Item::Room { room, before: Some(before), text });
        }
        true
    }

    /// The store holds nothing between the last page and `seq`: it is gone for good (superseded or purged).
    pub fn skip_to(&mut self, room: RoomId, seq: Seq) {
        if let Some(slot) = self.slots.get_mut(&room).filter(|slot| slot.seq < seq && !slot.live) {
            slot.seq = seq;
        }
    }

    /// The cursor has met the gate.
    pub fn go_live(&mut self, room: RoomId) {
        if let Some(slot) = self.slots.get_mut(&room) {
            slot.live = true;
        }
    }

    /// A room to catch up in, and from where.
    pub fn lagging(&self) -> Option<(RoomId, Seq)> {
        self.slots.iter().find(|(_, slot)| !slot.live).map(|(room, slot)| (*room, slot.seq))
    }

    /// Takes frames to write, in order, at least one and then while they fit into `bytes`.
    pub fn take(&mut self, bytes: usize, out: &mut Vec<Bytes>) {
        let mut taken = 0;
        while let Some(item) = self.items.front() {
            let text = item.text();
            if taken > 0 && taken + text.len() > bytes {
                break;
            }
            taken += text.len();
            if let Some(item) = self.items.pop_front() {
                self.uncount(&item);
                out.push(item.into_text());
            }
        }
        if self.items.is_empty() && self.items.capacity() > 64 {
            // An idle socket must not keep what a burst needed.
            self.items = VecDeque::new();
        }
    }

    fn fits(room_bytes: usize, bytes_max: usize, budget: &Budget, more: usize) -> bool {
        let within = room_bytes + more <= bytes_max || room_bytes == 0;
        // Over the node's bound large queues go first: those above a sixteenth of what one may hold.
        within && !(budget.is_spent() && room_bytes > bytes_max / 16)
    }

    fn push(&mut self, item: Item) {
        if let Item::Room { text, .. } = &item {
            self.room_bytes += text.len();
            self.budget.used.fetch_add(text.len(), Ordering::Relaxed);
        }
        self.items.push_back(item);
    }

    fn uncount(&mut self, item: &Item) {
        match item {
            Item::Control(text) => self.control_bytes -= text.len(),
            Item::Unasked(text) => self.unasked_bytes -= text.len(),
            Item::Room { text, .. } => {
                self.room_bytes -= text.len();
                self.budget.used.fetch_sub(text.len(), Ordering::Relaxed);
            }
        }
    }

    /// Drops every room frame; each room that loses one goes back to where it stood before the first of them.
    fn overflow(&mut self) {
        let items = std::mem::take(&mut self.items);
        for item in items {
            match item {
                Item::Control(_) | Item::Unasked(_) => self.items.push_back(item),
                Item::Room { room, before, .. } => {
                    self.uncount(&item);
                    if let Some(slot) = self.slots.get_mut(&room) {
                        slot.live = false;
                        if let Some(before) = before.filter(|before| *before < slot.told) {
                            (slot.seq, slot.told) = (before, before);
                        }
                    }
                }
            }
        }
    }

    fn forget_room(&mut self, gone: RoomId) {
        if !self.slots.contains_key(&gone) {
            return;
        }
        let items = std::mem::take(&mut self.items);
        for item in items {
            match &item {
                Item::Room { room, .. } if *room == gone => self.uncount(&item),
                _ => self.items.push_back(item),
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.room_bytes, Ordering::Relaxed);
    }
}

impl Item {
    fn text(&self) -> &Bytes {
        match self {
            Self::Control(text) | Self::Unasked(text) | Self::Room { text, .. } => text,
        }
    }

    fn into_text(self) -> Bytes {
        match self {
            Self::Control(text) | Self::Unasked(text) | Self::Room { text, .. } => text,
        }
    }
}

/// The bytes of a delivery for everybody who was told up to `from` − 1: shared, unless a hole must be declared.
pub fn delivery_text(delivery: &Delivery) -> Bytes {
    told(delivery.from, &delivery.frame)
}

fn told(from: Seq, frame: &Frame) -> Bytes {
    if from >= frame.seq {
        return frame.text.clone();
    }
    match std::str::from_utf8(&frame.text) {
        Ok(text) => Bytes::from(with_from(text, from)),
        Err(_) => frame.text.clone(),
    }
}
