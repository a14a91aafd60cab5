//! What an administrator looks for among names.

use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};

pub const NAME_PART_CHARS_MAX: usize = 100;

/// A part of a name, in lower case; empty: any name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamePart(String);

impl NamePart {
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.chars().count() > NAME_PART_CHARS_MAX {
            return Err(Error::invalid("q", format!("must have at most {NAME_PART_CHARS_MAX} characters")));
        }
        if text.contains('\0') {
            return Err(Error::invalid("q", "must not hold U+0000"));
        }
        Ok(Self(text.nfkc().collect::<String>().to_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name has it, in any case.
    pub fn is_in(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_in_any_case_and_script() {
        let part = |text: &str| NamePart::parse(text).unwrap();
        assert!(part(" LIC ").is_in("Alice") && part("привет").is_in("ПРИВЕТ") && part("Ａ").is_in("bob-a"));
        assert!(part("").is_in("anybody") && !part("%").is_in("alice"));
        assert!(NamePart::parse(&"x".repeat(101)).is_err() && NamePart::parse("a\0").is_err());
    }
}
