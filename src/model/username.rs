//! Usernames: what one may hold, when two are the same, and when one passes for another.

use std::fmt;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};

pub const USERNAME_CHARS_MAX: usize = 32;

/// Names nobody may register: they would speak with a voice that is not theirs.
const RESERVED_USERNAMES: &[&str] = &[
    "admin",
    "administrator",
    "all",
    "anonymous",
    "channel",
    "everyone",
    "here",
    "me",
    "moderator",
    "nobody",
    "null",
    "owner",
    "root",
    "salon",
    "support",
    "system",
    "undefined",
];

/// Letters by their category that show nothing: the fillers of Hangul, and two vowels of Khmer.
const INVISIBLE: &[char] = &['\u{115f}', '\u{1160}', '\u{17b4}', '\u{17b5}'];

/// 1–32 letters or digits of any script, `_`, `-`, `.`, in NFKC.
// Found by [`Username::key`], unique by [`Username::lookalike`].
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, min_length = 1)]
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Username(String);

impl Username {
    /// Normalizes to NFKC and checks length and letters. Reserved names pass here (the command line may make an
    /// `admin`); registration asks [`Username::is_reserved`] too.
    pub fn parse(text: &str) -> Result<Self> {
        let name: String = text.nfkc().collect();
        let chars = name.chars().count();
        if chars == 0 || chars > USERNAME_CHARS_MAX {
            return Err(Error::invalid("username", format!("must have 1 to {USERNAME_CHARS_MAX} characters")));
        }
        if !name.chars().all(|c| (c.is_alphanumeric() && !INVISIBLE.contains(&c)) || matches!(c, '_' | '-' | '.')) {
            return Err(Error::invalid("username", "may hold letters, digits, '_', '-' and '.' only"));
        }
        Ok(Self(name))
    }

    /// For a name that a store gives back: it was parsed when it went in.
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// What the name looks like: of the names with the same look only one can be had, so that nobody passes for
    /// somebody else by a Cyrillic `а`.
    pub fn lookalike(&self) -> String {
        lookalike(&self.key())
    }

    /// Two names with the same key are the same name.
    pub fn key(&self) -> String {
        self.0.to_lowercase().nfkc().collect()
    }

    pub fn is_reserved(&self) -> bool {
        RESERVED_USERNAMES.iter().any(|reserved| lookalike(reserved) == self.lookalike())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The skeleton of UTS #39, without regard to case. `I`, `i`, `l` and `1` are one here, because a name is shown as it
/// was typed, `aIice`, but compared without regard to case.
fn lookalike(key: &str) -> String {
    let skeleton: String = unicode_security::skeleton(key).collect();
    skeleton.to_lowercase().replace('i', "l")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_hold_their_bounds() {
        assert!(Username::parse(&"a".repeat(32)).is_ok());
        assert!(Username::parse(&"a".repeat(33)).is_err());
        assert!(Username::parse("").is_err());
        assert!(Username::parse("a b").is_err());
        for unseen in ['\u{115f}', '\u{3164}', '\u{ffa0}', '\u{200b}', '\u{200d}', '\u{ad}', '\u{202e}', '\u{e0041}'] {
            assert!(Username::parse(&format!("alice{unseen}")).is_err(), "{unseen:?}");
        }
        assert_eq!(Username::parse("Ａlice").unwrap().key(), "alice");
        assert!(Username::parse("Admin").unwrap().is_reserved());
    }

    #[test]
    fn names_that_look_alike_are_told_and_others_are_not() {
        let look = |name: &str| Username::parse(name).unwrap().lookalike();
        for (name, other) in [
            ("alice", "\u{430}lice"),
            ("alice", "ALICE"),
            ("alice", "aIice"),
            ("alice", "a1ice"),
            ("ALICE", "\u{391}LICE"),
            ("scope", "\u{455}\u{441}\u{43e}\u{440}\u{435}"),
            ("bob", "b0b"),
            ("modern", "rnodern"),
            ("m\u{fc}ller", "mu\u{308}ller"),
        ] {
            assert_eq!(look(name), look(other), "{name} {other}");
        }
        for (name, other) in [("alice", "alicia"), ("anna", "\u{430}нна-2"), ("muller", "m\u{fc}ller"), ("a.b", "a_b")]
        {
            assert_ne!(look(name), look(other), "{name} {other}");
        }
        assert!(Username::parse("\u{430}dmin").unwrap().is_reserved());
        assert!(Username::parse("r00t").unwrap().is_reserved());
    }
}
