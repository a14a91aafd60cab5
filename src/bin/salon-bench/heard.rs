//! What one socket was told of one room, held against the promise: every `seq` once, in order.

use std::collections::BTreeSet;

use salon::engine::Result;

/// A hole of more is not worth counting: the run ends.
const HOLE_MAX: u64 = 100_000;

#[derive(Debug, Default)]
pub struct Heard {
    last: u64,
    /// Skipped so far. Nobody edits in a run, so a hole that the server declared by `from` is as wrong as another.
    missing: BTreeSet<u64>,
    pub reordered: u64,
    pub duplicated: u64,
}

impl Heard {
    /// From after the `seq` with which it joined.
    pub fn after(seq: u64) -> Self {
        Self { last: seq, ..Self::default() }
    }

    pub fn hear(&mut self, seq: u64) -> Result<()> {
        if seq > self.last {
            if seq - self.last > HOLE_MAX {
                return Err(format!("heard seq {seq} after {}", self.last));
            }
            self.missing.extend(self.last + 1..seq);
            self.last = seq;
        } else if self.missing.remove(&seq) {
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
        Ok(())
    }

    /// The highest `seq` it was told.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many of the changes up to `head` it was never told.
    pub fn lost(&self, head: u64) -> u64 {
        self.missing.len() as u64 + head.saturating_sub(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(seqs: &[u64]) -> (u64, u64, u64) {
        let mut heard = Heard::after(4);
        seqs.iter().for_each(|seq| heard.hear(*seq).unwrap());
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
        assert!(Heard::after(4).hear(u64::MAX).is_err());
    }
}
