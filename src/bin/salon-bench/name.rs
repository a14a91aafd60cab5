//! The nonce of a send says which lane sent it, the how manieth of its sends it was, and when it was due: so whoever is
//! told a message knows its age and whether it is the right one.

use std::io::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    pub lane: usize,
    pub n: u64,
    pub micros: u64,
}

impl Name {
    pub fn parse(nonce: &[u8]) -> Option<Self> {
        let mut parts = nonce.split(|byte| *byte == b'.');
        let mut next = || number(parts.next()?);
        let name = Self { lane: usize::try_from(next()?).ok()?, n: next()?, micros: next()? };
        parts.next().is_none().then_some(name)
    }

    pub fn write(self, to: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = write!(to, "{}.{}.{}", self.lane, self.n, self.micros);
    }

    /// A number for "this message stands at that seq". The sum of many tells two sets of them apart, in whatever order
    /// they were told.
    pub fn mark(self, seq: u64) -> u64 {
        mixed(seq ^ mixed(((self.lane as u64) << 40) ^ self.n))
    }
}

/// Digits only, and not so many that the number would not fit.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

/// The finisher of splitmix64: neighbours come out far apart.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let name = Name { lane: 12, n: 0, micros: 9_876_543_210 };
        let mut nonce = Vec::new();
        name.write(&mut nonce);
        assert_eq!(Name::parse(&nonce), Some(name));
        for wrong in ["", "1", "1.2", "1.2.", "1.2.3.4", "a.2.3", "1.2.99999999999999999999"] {
            assert_eq!(Name::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn messages_that_changed_places_are_seen_in_the_sum() {
        let [a, b] = [1, 2].map(|n| Name { lane: 0, n, micros: 0 });
        let right = a.mark(1).wrapping_add(b.mark(2));
        assert_ne!(right, a.mark(2).wrapping_add(b.mark(1)));
        assert_eq!(right, b.mark(2).wrapping_add(a.mark(1)));
    }
}
