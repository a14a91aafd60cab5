//! What one socket was told of one room, held against the promise: every `seq` once, in order, and the right message
//! at each.

use std::collections::BTreeSet;

use salon::engine::Result;

use crate::scan::Message;

/// A hole of more is not worth counting: the run ends.
const HOLE_MAX: u64 = 100_000;
/// Of each kind of fault the first is told with what was seen.
const TOLD_MAX: usize = 3;

#[derive(Debug, Default)]
pub struct Heard {
    last: u64,
    /// Skipped so far. Nobody edits in a run, so a hole that the server declared by `from` is as wrong as another.
    missing: BTreeSet<u64>,
    /// Sum of the marks of all it was told.
    sum: u64,
    pub reordered: u64,
    pub duplicated: u64,
    /// The first faults, in words.
    pub seen: Vec<String>,
}

impl Heard {
    /// From after the `seq` with which it joined.
    pub fn after(seq: u64) -> Self {
        Self { last: seq, ..Self::default() }
    }

    pub fn hear(&mut self, message: Message) -> Result<()> {
        let Message { id, seq, name } = message;
        if id != seq {
            return Err(format!("message {id} was created at seq {seq}"));
        }
        if seq == self.last + 1 {
            self.last = seq;
        } else if seq > self.last {
            if seq - self.last > HOLE_MAX {
                return Err(format!("heard seq {seq} after {}", self.last));
            }
            self.saw(format!("seq {seq} came after {}", self.last));
            self.missing.extend(self.last + 1..seq);
            self.last = seq;
        } else if self.missing.remove(&seq) {
            self.reordered += 1;
        } else {
            self.saw(format!("seq {seq} ({name:?}) came again after {}", self.last));
            self.duplicated += 1;
            return Ok(());
        }
        self.sum = self.sum.wrapping_add(name.mark(seq));
        Ok(())
    }

    /// What was read to fill a hole that a `reset` had declared; it is neither late nor lost then.
    pub fn fetch(&mut self, message: Message) {
        if self.missing.remove(&message.seq) {
            self.sum = self.sum.wrapping_add(message.name.mark(message.seq));
        }
    }

    /// The first and the last `seq` of what it was not told so far.
    pub fn hole(&self) -> Option<(u64, u64)> {
        Some((*self.missing.first()?, *self.missing.last()?))
    }

    /// The highest `seq` it was told.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many of the changes up to `head` it was never told.
    pub fn lost(&self, head: u64) -> u64 {
        self.missing.len() as u64 + head.saturating_sub(self.last)
    }

    /// Whether the messages it was told are those that stand there, given the sum of their marks.
    pub fn is_right(&self, sum: u64) -> bool {
        self.sum == sum
    }

    fn saw(&mut self, what: String) {
        if self.seen.len() < TOLD_MAX {
            self.seen.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn message(seq: u64) -> Message {
        Message { id: seq, seq, name: Name { lane: 0, n: seq, micros: 0 } }
    }

    fn sum(seqs: std::ops::RangeInclusive<u64>) -> u64 {
        seqs.fold(0, |sum, seq| sum.wrapping_add(message(seq).name.mark(seq)))
    }

    fn heard(seqs: &[u64]) -> (u64, u64, u64) {
        let mut heard = Heard::after(4);
        seqs.iter().for_each(|seq| heard.hear(message(*seq)).unwrap());
        assert_eq!(heard.is_right(sum(5..=8)), heard.lost(8) == 0, "{seqs:?}");
        assert_eq!(heard.seen.is_empty(), heard.missing.len() as u64 + heard.reordered + heard.duplicated == 0);
        (heard.lost(8), heard.reordered, heard.duplicated)
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        assert_eq!(heard(&[5, 6, 7, 8]), (0, 0, 0));
        assert_eq!(heard(&[5, 8]), (2, 0, 0));
        assert_eq!(heard(&[5, 6]), (2, 0, 0));
        assert_eq!(heard(&[5, 7, 6, 8]), (0, 1, 0));
        assert_eq!(heard(&[5, 6, 6, 7, 8]), (0, 0, 1));
        assert_eq!(heard(&[4, 5, 6, 7, 8]), (0, 0, 1));
        assert!(Heard::after(4).hear(message(u64::MAX)).is_err());
        assert!(Heard::after(4).hear(Message { id: 4, ..message(5) }).is_err());
    }

    #[test]
    fn another_message_in_its_place_is_seen() {
        let mut heard = Heard::after(0);
        heard.hear(message(1)).unwrap();
        heard.hear(Message { name: Name { lane: 0, n: 1, micros: 0 }, ..message(2) }).unwrap();
        assert_eq!(heard.lost(2), 0);
        assert!(!heard.is_right(sum(1..=2)));
    }

    #[test]
    fn a_hole_that_was_fetched_is_none() {
        let mut heard = Heard::after(0);
        heard.hear(message(4)).unwrap();
        assert_eq!(heard.hole(), Some((1, 3)));
        (1..=4).for_each(|seq| heard.fetch(message(seq)));
        assert_eq!((heard.hole(), heard.lost(4), heard.reordered), (None, 0, 0));
        assert!(heard.is_right(sum(1..=4)));
    }
}
