//! Reactions: which texts are an emoji, and what a message shows of those it was given.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Result};

/// Kinds of reactions of one message.
pub const REACTION_KINDS_MAX: usize = 20;
/// Names shown of those who reacted alike; the count is of all.
pub const REACTION_NAMES_MAX: usize = 20;
/// No emoji of Unicode is longer.
const EMOJI_BYTES_MAX: usize = 64;

/// One emoji of Unicode's list, skin tones, flags and joined ones among them, in its fully qualified form: a heart is
/// the same with the selector that asks for colours and without it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Emoji(String);

/// What a message shows of its reactions, in the order in which the kinds were first given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reactions(pub Vec<Reaction>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    pub emoji: String,
    pub count: u64,
    /// The first [`REACTION_NAMES_MAX`] who gave it.
    pub users: Vec<String>,
}

impl Emoji {
    pub fn parse(text: &str) -> Result<Self> {
        let found = if text.len() <= EMOJI_BYTES_MAX { emojis::get(text) } else { None };
        found
            .map(|emoji| Self(emoji.as_str().to_owned()))
            .ok_or_else(|| Error::invalid("emoji", "must be one emoji of Unicode's list"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reactions {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How many gave a message the same reaction, and the first of them by name.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReactionCount<'a> {
    count: u64,
    users: &'a [String],
}

/// As the wire shows them: by emoji.
impl Serialize for Reactions {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for Reaction { emoji, count, users } in &self.0 {
            map.serialize_entry(emoji, &ReactionCount { count: *count, users })?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_are_those_of_unicode_in_one_form() {
        for emoji in ["👍", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "#️⃣", "🧑🏿‍🚀", "❤️", "☺️"]
        {
            assert_eq!(Emoji::parse(emoji).unwrap().as_str(), emoji);
        }
        for (short, full) in [("❤", "❤️"), ("🏳‍🌈", "🏳️‍🌈"), ("☺", "☺️"), ("#⃣", "#️⃣")]
        {
            assert_eq!(Emoji::parse(short).unwrap().as_str(), full);
        }
        let long = "👍".repeat(100);
        for nonsense in ["", "a", "1", "#", "👍👍", "👍 ", "\u{200d}", "\u{fe0f}", "🇩", ":+1:", "\0", "\"", &long]
        {
            assert!(Emoji::parse(nonsense).is_err(), "{nonsense:?}");
        }
        assert!(emojis::iter().all(|emoji| emoji.as_str().len() <= EMOJI_BYTES_MAX));
    }

    #[test]
    fn reactions_are_shown_by_emoji_in_their_order() {
        let one = |emoji: &str, users: &[&str]| Reaction {
            emoji: emoji.into(),
            count: users.len() as u64,
            users: users.iter().map(|user| (*user).to_owned()).collect(),
        };
        let shown = serde_json::to_string(&Reactions(vec![one("👍", &["alice", "bob"]), one("🎉", &["bob"])])).unwrap();
        assert_eq!(shown, r#"{"👍":{"count":2,"users":["alice","bob"]},"🎉":{"count":1,"users":["bob"]}}"#);
    }
}
