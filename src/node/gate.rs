//! The only way of a room's changes to its sockets: puts hints in order, holds back what came too early, and knows
//! the recent past. Free of I/O: changes and clock readings in, deliveries out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::{MessageId, Seq};

/// A change as sockets get it, without `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub seq: Seq,
    pub id: MessageId,
    pub text: Bytes,
}

/// A frame whose turn has come. `from` is the first seq that was not told before it (its own, when none is missing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub from: Seq,
    pub frame: Frame,
}

/// What became of an offered frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It, and perhaps some that waited for it, were delivered.
    Delivered,
    /// It was delivered before (an echo, or a hint that a repair overtook).
    Known,
    /// Something before it is missing.
    Held,
}

/// Invariants: everything below `next` was delivered or superseded before its turn; `told` is the last seq delivered
/// (so `told < next`); `held` has keys above `next` only.
#[derive(Debug)]
pub struct Gate {
    /// `None` while opening: the head is not read yet, so nothing can be put in order.
    next: Option<Seq>,
    told: Seq,
    held: BTreeMap<Seq, Frame>,
    held_max: usize,
    /// Since when something is known to be missing.
    hole_since: Option<Instant>,
    /// The highest seq known to exist, from held frames or from the beacon.
    known: Seq,
    memory: Memory,
}

impl Gate {
    pub fn new(held_max: usize, memory_max: usize) -> Self {
        Self {
            next: None,
            told: 0,
            held: BTreeMap::new(),
            held_max,
            hole_since: None,
            known: 0,
            memory: Memory::new(memory_max),
        }
    }

    /// The last seq that everything up to is delivered; 0 while opening.
    pub fn position(&self) -> Seq {
        self.next.map_or(0, |next| next - 1)
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    pub fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    #[cfg(test)]
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// The head and the latest changes up to it, read in one snapshot after the subscription stood. `floor`: every
    /// message changed after it is among `recent`. Nobody listens yet, so nothing is delivered; what was held and
    /// lies beyond is, for those who come.
    pub fn open(&mut self, head: Seq, recent: Vec<Frame>, floor: Seq, now: Instant) {
        self.memory.restart(floor);
        for frame in recent {
            self.memory.put(frame);
        }
        self.next = Some(head + 1);
        self.told = head;
        self.known = self.known.max(head);
        self.drain_held(&mut Vec::new());
        self.note_hole(now);
    }

    /// A committed change, from this node's own append or heard from another.
    pub fn offer(&mut self, frame: Frame, now: Instant, out: &mut Vec<Delivery>) -> Offer {
        self.known = self.known.max(frame.seq);
        match self.next {
            Some(next) if frame.seq < next => Offer::Known,
            Some(next) if frame.seq == next => {
                self.deliver(frame, out);
                self.drain_held(out);
                self.note_hole(now);
                Offer::Delivered
            }
            _ => {
                self.hold(frame);
                self.note_hole(now);
                Offer::Held
            }
        }
    }

    /// The beacon saw this head in the store.
    pub fn note_head(&mut self, head: Seq, now: Instant) {
        self.known = self.known.max(head);
        self.note_hole(now);
    }

    /// How long something has been missing by now; `None`: nothing is.
    pub fn hole_age(&self, now: Instant) -> Option<Duration> {
        self.hole_since.map(|since| now.saturating_duration_since(since))
    }

    /// All changes after [`Gate::position`] as it was when the read began, in order, each message in its present
    /// state, with the head of the same snapshot. With `more` the changes are only the first part.
    pub fn repair(&mut self, changes: Vec<Frame>, head: Seq, more: bool, now: Instant, out: &mut Vec<Delivery>) {
        let Some(mut next) = self.next else { return };
        for frame in changes {
            if frame.seq >= next {
                next = frame.seq + 1;
                self.next = Some(next);
                self.deliver(frame, out);
            }
        }
        if !more && head >= next {
            // What lies between the last change and the head is gone for good (purged): nothing will tell of it.
            self.next = Some(head + 1);
        }
        self.drain_held(out);
        self.hole_since = None;
        self.note_hole(now);
    }

    fn deliver(&mut self, frame: Frame, out: &mut Vec<Delivery>) {
        self.next = Some(frame.seq + 1);
        self.memory.put(frame.clone());
        out.push(Delivery { from: self.told + 1, frame: frame.clone() });
        self.told = frame.seq;
    }

    fn hold(&mut self, frame: Frame) {
        if self.held.len() < self.held_max {
            self.held.insert(frame.seq, frame);
        } else if let Some(last) = self.held.last_entry()
            && *last.key() > frame.seq
        {
            // Full: what is nearest to its turn is worth most; the rest comes from the store.
            last.remove();
            self.held.insert(frame.seq, frame);
        }
    }

    fn drain_held(&mut self, out: &mut Vec<Delivery>) {
        while let Some(entry) = self.held.first_entry() {
            match self.next {
                Some(next) if *entry.key() < next => {
                    entry.remove();
                }
                Some(next) if *entry.key() == next => {
                    let frame = entry.remove();
                    self.deliver(frame, out);
                }
                _ => break,
            }
        }
    }

    fn note_hole(&mut self, now: Instant) {
        if self.next.is_some_and(|next| self.known >= next) {
            self.hole_since.get_or_insert(now);
        } else {
            self.hole_since = None;
        }
    }
}

/// The recent changes of a room, each message in its present state only: what was superseded is never told again.
///
/// `floor`: every message whose last change has a seq above it is here. Since a message's seq is never below its id,
/// every message with an id above it is here too, so one bound serves both resuming and the latest page.
/// `purged`: no message with an id up to it exists any more, and none of them is here.
#[derive(Debug)]
pub struct Memory {
    floor: Seq,
    purged: MessageId,
    by_seq: BTreeMap<Seq, Frame>,
    by_id: BTreeMap<MessageId, Seq>,
    bytes: usize,
    frames_max: usize,
}

impl Memory {
    fn new(frames_max: usize) -> Self {
        Self { floor: 0, purged: 0, by_seq: BTreeMap::new(), by_id: BTreeMap::new(), bytes: 0, frames_max }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub fn floor(&self) -> Seq {
        self.floor
    }

    /// The changes after `cursor`, oldest first; `None`: it does not reach back that far.
    pub fn after(&self, cursor: Seq) -> Option<impl Iterator<Item = &Frame>> {
        (cursor >= self.floor).then(|| self.by_seq.range(cursor + 1..).map(|(_, frame)| frame))
    }

    /// The latest `limit` messages, oldest first, and whether older ones exist; `None`: it does not reach back that
    /// far.
    pub fn latest(&self, limit: usize) -> Option<(Vec<Frame>, bool)> {
        let mut here = self.by_id.range(self.floor + 1..).rev();
        let mut frames: Vec<Frame> = here.by_ref().take(limit).map(|(_, seq)| self.by_seq[seq].clone()).collect();
        // Below a floor lies at least the room's first change, or what was purged.
        let beyond = self.floor > self.purged;
        if frames.len() < limit && beyond {
            return None;
        }
        frames.reverse();
        Some((frames, here.next().is_some() || beyond))
    }

    /// Messages with an id up to `upto` were removed for good: they are told to nobody any more.
    pub fn purge(&mut self, upto: MessageId) {
        self.purged = self.purged.max(upto);
        while let Some(entry) = self.by_id.first_entry().filter(|entry| *entry.key() <= self.purged) {
            if let Some(frame) = self.by_seq.remove(&entry.remove()) {
                self.bytes -= frame.text.len();
            }
        }
    }

    /// Forgets the oldest until at most `frames` are left.
    pub fn shrink(&mut self, frames: usize) {
        while self.by_seq.len() > frames {
            let Some((seq, frame)) = self.by_seq.pop_first() else { break };
            self.by_id.remove(&frame.id);
            self.bytes -= frame.text.len();
            self.floor = seq;
        }
    }

    fn restart(&mut self, floor: Seq) {
        self.by_seq.clear();
        self.by_id.clear();
        self.bytes = 0;
        self.floor = floor;
    }

    fn put(&mut self, frame: Frame) {
        if frame.id <= self.purged {
            return; // The hint of an edit came after the message was gone.
        }
        if let Some(before) = self.by_id.insert(frame.id, frame.seq)
            && let Some(superseded) = self.by_seq.remove(&before)
        {
            self.bytes -= superseded.text.len();
        }
        self.bytes += frame.text.len();
        self.by_seq.insert(frame.seq, frame);
        self.shrink(self.frames_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: Seq, id: MessageId) -> Frame {
        Frame { seq, id, text: Bytes::from(format!("{{\"seq\":{seq},\"id\":{id}}}")) }
    }

    fn opened(head: Seq) -> Gate {
        let mut gate = Gate::new(4, 8);
        gate.open(head, Vec::new(), head, Instant::now());
        gate
    }

    fn offer(gate: &mut Gate, seq: Seq) -> (Offer, Vec<(Seq, Seq)>) {
        let mut out = Vec::new();
        let offer = gate.offer(frame(seq, seq), Instant::now(), &mut out);
        (offer, out.into_iter().map(|d| (d.from, d.frame.seq)).collect())
    }

    #[test]
    fn in_order_out_of_order_and_twice() {
        let mut gate = opened(3);
        assert_eq!(offer(&mut gate, 4), (Offer::Delivered, vec![(4, 4)]));
        assert_eq!(offer(&mut gate, 4), (Offer::Known, vec![]));
        assert_eq!(offer(&mut gate, 6), (Offer::Held, vec![]));
        assert!(gate.hole_age(Instant::now()).is_some());
        assert_eq!(offer(&mut gate, 5), (Offer::Delivered, vec![(5, 5), (6, 6)]));
        assert!(gate.hole_age(Instant::now()).is_none());
        assert_eq!(gate.position(), 6);
    }

    #[test]
    fn a_repair_declares_what_was_superseded() {
        let mut gate = opened(0);
        let mut out = Vec::new();
        gate.repair(vec![frame(2, 2), frame(5, 1)], 5, false, Instant::now(), &mut out);
        assert_eq!(out.iter().map(|d| (d.from, d.frame.seq)).collect::<Vec<_>>(), [(1, 2), (3, 5)]);
        assert_eq!(gate.position(), 5);
    }

    #[test]
    fn what_came_while_opening_waits_for_the_head() {
        let mut gate = Gate::new(4, 8);
        let mut out = Vec::new();
        assert_eq!(gate.offer(frame(8, 8), Instant::now(), &mut out), Offer::Held);
        gate.offer(frame(6, 6), Instant::now(), &mut out);
        gate.open(7, vec![frame(7, 7)], 6, Instant::now());
        assert_eq!(gate.position(), 8);
        assert_eq!(gate.memory().after(6).unwrap().map(|f| f.seq).collect::<Vec<_>>(), [7, 8]);
    }

    #[test]
    fn the_beacon_opens_a_hole_that_no_hint_revealed() {
        let mut gate = opened(3);
        gate.note_head(3, Instant::now());
        assert_eq!(gate.hole_age(Instant::now()), None);
        gate.note_head(4, Instant::now());
        assert!(gate.hole_age(Instant::now()).is_some());
    }

    #[test]
    fn what_is_held_is_bounded_and_nearest_first() {
        let mut gate = opened(0);
        for seq in [9, 8, 7, 6, 5, 4] {
            offer(&mut gate, seq);
        }
        assert_eq!(gate.held.keys().copied().collect::<Vec<_>>(), [4, 5, 6, 7]);
    }

    #[test]
    fn memory_forgets_the_superseded_and_the_oldest() {
        let mut gate = opened(0);
        for seq in 1..=6 {
            offer(&mut gate, seq);
        }
        let mut out = Vec::new();
        gate.offer(frame(7, 2), Instant::now(), &mut out);
        assert_eq!(gate.memory().after(0).unwrap().map(|f| f.seq).collect::<Vec<_>>(), [1, 3, 4, 5, 6, 7]);
        let (latest, more) = gate.memory().latest(3).unwrap();
        assert_eq!((latest.iter().map(|f| f.id).collect::<Vec<_>>(), more), (vec![4, 5, 6], true));
        for seq in 8..=12 {
            offer(&mut gate, seq);
        }
        // Eight are kept: 1, 3 and 4 are gone.
        assert!(gate.memory().after(3).is_none());
        assert_eq!(gate.memory().after(4).unwrap().count(), 8);
        assert!(gate.memory().latest(8).is_none());
        let (latest, more) = gate.memory().latest(7).unwrap();
        assert_eq!((latest[0].id, more), (5, true));
    }

    #[test]
    fn memory_tells_nothing_of_what_was_purged() {
        let mut gate = opened(0);
        for seq in 1..=12 {
            offer(&mut gate, seq);
        }
        // Down to 5 it remembers; what is older than that may be there still.
        gate.memory_mut().purge(3);
        assert_eq!(gate.memory().latest(8).map(|(latest, more)| (latest.len(), more)), Some((8, true)));
        gate.memory_mut().purge(6);
        assert_eq!(gate.memory().after(4).unwrap().map(|f| f.seq).collect::<Vec<_>>(), [7, 8, 9, 10, 11, 12]);
        assert_eq!(gate.memory().latest(8).map(|(latest, more)| (latest.len(), more)), Some((6, false)));
        let mut out = Vec::new();
        gate.offer(frame(13, 6), Instant::now(), &mut out);
        assert_eq!(out.len(), 1, "it was committed before, and its seq is due");
        assert!(gate.memory().after(12).unwrap().next().is_none());
        assert_eq!(gate.memory().bytes(), gate.memory().after(4).unwrap().map(|frame| frame.text.len()).sum::<usize>());
    }
}
