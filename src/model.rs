//! What salon is about: users, rooms, messages. Values that have a limit are parsed into a type that holds it,
//! so that whatever has the type has passed the check.

mod emoji;
mod mention;
mod name_part;
pub mod search;
mod username;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};

pub use emoji::{Emoji, REACTION_KINDS_MAX, REACTION_NAMES_MAX, Reaction, ReactionCount, Reactions};
pub use mention::{MENTIONS_MAX, mentioned};
pub use name_part::{NAME_PART_CHARS_MAX, NamePart};
pub use username::{USERNAME_CHARS_MAX, Username};

pub const SLUG_CHARS_MAX: usize = 64;
pub const ROOM_NAME_CHARS_MAX: usize = 100;
pub const TOPIC_CHARS_MAX: usize = 250;
pub const NONCE_CHARS_MAX: usize = 64;
pub const REASON_CHARS_MAX: usize = 250;
/// The longest that can be set for how long messages are kept: a hundred years.
pub const RETENTION_DAYS_MAX: u32 = 36_500;

#[derive(utoipa::ToSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

#[derive(utoipa::ToSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomId(pub i64);

/// A room's clock: 1 for its first change, then one more for each, with no hole.
pub type Seq = u64;

/// The `seq` at which a message was created: its name within its room, never reused.
pub type MessageId = Seq;

/// Milliseconds since 1970 in UTC; written as RFC 3339 with milliseconds.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-21T08:30:00.123Z")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// Which life of a room's clock this is. Changes only when the clock went back.
#[derive(utoipa::ToSchema, Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub String);

/// A room's address: 1–64 lower-case letters or digits of any script, and `-`, with at least one letter.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 64)]
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

/// 1–100 characters, not blank, trimmed.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, min_length = 1)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RoomName(String);

/// 0–250 characters, trimmed.
#[derive(utoipa::ToSchema, Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Topic(String);

/// Why somebody was banned or muted: 0–250 characters, trimmed.
#[derive(utoipa::ToSchema, Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Reason(String);

/// The sender's own name for a send, 1–64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Nonce(String);

/// A message's text: not blank, no U+0000, at most `limits.content_chars` characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Content(String);

/// How a caller names a room: digits (or an integer in a frame) are its id, anything else its slug.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoomRef {
    Id(RoomId),
    Slug(Slug),
}

#[derive(utoipa::ToSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomKind {
    Public,
    Private,
    Direct,
}

/// A member's role in a room. The order is the order of power.
#[derive(utoipa::ToSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Member,
    Moderator,
    Owner,
}

/// A user's role on the whole site.
#[derive(utoipa::ToSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SiteRole {
    User,
    Admin,
}

#[derive(utoipa::ToSchema, Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    pub id: UserId,
    pub username: Username,
    pub role: SiteRole,
}

/// What the last change of a message was.
#[derive(utoipa::ToSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    #[serde(rename = "chat_message")]
    Created,
    #[serde(rename = "message_edited")]
    Edited,
    #[serde(rename = "message_deleted")]
    Deleted,
    #[serde(rename = "message_reacted")]
    Reacted,
}

/// A message in its present state, stamped with the `seq` of its last change.
///
/// Without the room's slug, which the node knows and adds when it encodes ([`crate::protocol::encode_change`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub room: RoomId,
    pub id: MessageId,
    pub seq: Seq,
    pub kind: ChangeKind,
    pub author: Username,
    pub author_id: UserId,
    /// Empty when deleted.
    pub content: String,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
    pub deleted: bool,
    pub reply_to: Option<MessageId>,
    pub nonce: Option<String>,
    /// Members whom the text names, in its order; empty when deleted.
    pub mentions: Vec<Username>,
    pub reactions: Reactions,
}

/// A room as one user sees it.
#[derive(utoipa::ToSchema)]
#[schema(as = Room)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomInfo {
    pub id: RoomId,
    pub slug: Slug,
    pub name: RoomName,
    pub topic: Topic,
    pub kind: RoomKind,
    pub epoch: Epoch,
    pub seq: Seq,
    /// `null` for who is not a member.
    #[schema(required)]
    pub role: Option<Role>,
    pub last_read: Seq,
    /// Messages by others with id > `last_read`, at most 100.
    pub unread: u32,
    /// Those among them that name the user, at most 100.
    pub mentions: u32,
    /// Users; 0 when it cannot be known now.
    pub online: u32,
    /// Days after which the room's messages are removed, where that is set for the room; at most what is set for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// The room's access version by which they see it.
    #[serde(skip)]
    pub access: u64,
    /// As [`crate::store::Head::purged`].
    #[serde(skip)]
    pub purged: MessageId,
}

impl Epoch {
    pub fn random() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()))
    }
}

impl Timestamp {
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Whole seconds since 1970, as tokens say times.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// From RFC 3339 with any offset; what is finer than a millisecond is dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }

    pub fn plus(self, by: Duration) -> Self {
        Self(self.0 + i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(at: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no time in RFC 3339")))
    }
}

impl Slug {
    /// Takes a slug as it stands.
    pub fn parse(text: &str) -> Result<Self> {
        match Self::from_text(text) {
            Some(slug) if slug.0 == text => Ok(slug),
            _ => Err(Error::invalid(
                "room",
                format!(
                    "is no slug: 1 to {SLUG_CHARS_MAX} lower-case letters or digits and '-', with at least one letter"
                ),
            )),
        }
    }

    /// The slug made from what a person typed: lower case, runs of anything else become one `-`.
    /// `None` when no letter is left.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut slug = String::new();
        let mut chars = 0;
        for c in text.nfkc().collect::<String>().to_lowercase().chars() {
            if chars == SLUG_CHARS_MAX {
                break;
            }
            if c.is_alphanumeric() {
                slug.push(c);
                chars += 1;
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
                chars += 1;
            }
        }
        let slug = slug.trim_end_matches('-');
        slug.chars().any(char::is_alphabetic).then(|| Self(slug.to_owned()))
    }

    /// The same slug with a tail, shortened so that it still fits; for a name whose slug is taken.
    pub fn with_tail(&self, tail: &str) -> Self {
        let room = SLUG_CHARS_MAX.saturating_sub(tail.chars().count() + 1);
        let head: String = self.0.chars().take(room).collect();
        Self(format!("{}-{tail}", head.trim_end_matches('-')))
    }

    pub fn from_stored(slug: String) -> Self {
        Self(slug)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoomName {
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self(trimmed("name", text, 1, ROOM_NAME_CHARS_MAX)?))
    }

    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Topic {
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self(trimmed("topic", text, 0, TOPIC_CHARS_MAX)?))
    }

    pub fn from_stored(topic: String) -> Self {
        Self(topic)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reason {
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self(trimmed("reason", text, 0, REASON_CHARS_MAX)?))
    }

    pub fn from_stored(reason: String) -> Self {
        Self(reason)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Nonce {
    pub fn parse(text: &str) -> Result<Self> {
        let chars = text.chars().count();
        if chars == 0 || chars > NONCE_CHARS_MAX {
            return Err(Error::invalid("nonce", format!("must have 1 to {NONCE_CHARS_MAX} characters")));
        }
        if text.contains('\0') {
            return Err(Error::invalid("nonce", "must not hold U+0000"));
        }
        Ok(Self(text.to_owned()))
    }

    /// For a send that came without one: the node names it before the first attempt, so that its own retries
    /// cannot store it twice.
    pub fn random() -> Self {
        Self(format!("~{:032x}", rand::random::<u128>()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Content {
    pub fn parse(text: &str, chars_max: usize) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::invalid("content", "must not be blank"));
        }
        if text.chars().count() > chars_max {
            return Err(Error::invalid("content", format!("must have at most {chars_max} characters")));
        }
        if text.contains('\0') {
            return Err(Error::invalid("content", "must not hold U+0000"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl RoomRef {
    /// From a path or a string in a frame's path form: all digits are an id, else a slug as it stands.
    /// What cannot be a room's name at all is simply a room that does not exist.
    pub fn parse_path(text: &str) -> Result<Self> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(|id| Self::Id(RoomId(id))).map_err(|_| Error::room_not_found());
        }
        Slug::parse(text).map(Self::Slug).map_err(|_| Error::room_not_found())
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ }) => {
        impl $type {
            /// The word used on the wire and in the store.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words!(RoomKind { Public = "public", Private = "private", Direct = "direct" });
words!(Role { Member = "member", Moderator = "moderator", Owner = "owner" });
words!(SiteRole { User = "user", Admin = "admin" });
words!(ChangeKind {
    Created = "chat_message",
    Edited = "message_edited",
    Deleted = "message_deleted",
    Reacted = "message_reacted"
});

fn trimmed(field: &str, text: &str, min: usize, max: usize) -> Result<String> {
    let text = text.trim();
    let chars = text.chars().count();
    if chars < min || chars > max {
        return Err(Error::invalid(field, format!("must have {min} to {max} characters")));
    }
    if text.contains('\0') {
        return Err(Error::invalid(field, "must not hold U+0000"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let at = Timestamp(1_795_249_800_123);
        assert_eq!(at.to_string(), "2026-11-21T08:30:00.123Z");
        for same in ["2026-11-21T08:30:00.123Z", "2026-11-21T09:30:00.1239+01:00"] {
            assert_eq!(Timestamp::parse(same), Some(at), "{same}");
        }
        for wrong in ["", "2026-11-21", "2026-11-21 08:30", "tomorrow", "1795249800"] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn slugs_come_from_names() {
        assert_eq!(Slug::from_text("  Hello,  World! ").unwrap().as_str(), "hello-world");
        assert_eq!(Slug::from_text("Привет 2").unwrap().as_str(), "привет-2");
        assert_eq!(Slug::from_text("123"), None);
        assert_eq!(Slug::from_text(&"x".repeat(80)).unwrap().as_str().len(), 64);
        assert!(Slug::parse("Hello").is_err());
        assert!(Slug::parse("a--b").is_err());
        assert_eq!(Slug::parse("a-b").unwrap().with_tail("k3x9").as_str(), "a-b-k3x9");
        assert_eq!(Slug::from_text(&"x".repeat(64)).unwrap().with_tail("abcd").as_str().chars().count(), 64);
    }

    #[test]
    fn content_is_bounded_in_characters() {
        assert!(Content::parse(&"é".repeat(4000), 4000).is_ok());
        assert!(Content::parse(&"é".repeat(4001), 4000).is_err());
        assert!(Content::parse(" \n ", 4000).is_err());
        assert!(Content::parse("a\0b", 4000).is_err());
    }

    #[test]
    fn digits_name_an_id() {
        assert_eq!(RoomRef::parse_path("42").unwrap(), RoomRef::Id(RoomId(42)));
        assert!(matches!(RoomRef::parse_path("general").unwrap(), RoomRef::Slug(_)));
        assert!(RoomRef::parse_path("99999999999999999999").is_err());
        assert!(RoomRef::parse_path("No Slug").is_err());
    }
}
