//! The records of an export: what each line holds, and what can be wrong with one by itself.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::super::StoreError;
use crate::error::Error;
use crate::model::{
    ChangeKind, Emoji, Nonce, Reason, Role, RoomKind, RoomName, Seq, SiteRole, Slug, Timestamp, Topic, Username,
};

pub const FINGERPRINT_BYTES: usize = 16;

/// One line of a file. A record comes after those that it names: users, then rooms, then the rest, messages by room and
/// id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    User(UserRecord),
    Room(RoomRecord),
    Member(MemberRecord),
    Ban(SanctionRecord),
    Mute(SanctionRecord),
    Invite(InviteRecord),
    Message(Box<MessageRecord>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    pub id: i64,
    pub username: String,
    pub role: SiteRole,
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
    pub created_at: Timestamp,
    /// PHC string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRecord {
    pub id: i64,
    pub slug: String,
    pub name: String,
    pub topic: String,
    pub kind: RoomKind,
    /// The two users of a direct room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<[i64; 2]>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    pub epoch: String,
    pub seq: Seq,
    pub purged: Seq,
    /// When the clock moved last.
    pub stamped_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberRecord {
    pub room: i64,
    pub user: i64,
    pub role: Role,
    pub last_read: Seq,
    pub since: Timestamp,
}

/// A ban or a mute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SanctionRecord {
    pub room: i64,
    pub user: i64,
    pub by: Option<i64>,
    pub reason: String,
    pub until: Option<Timestamp>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRecord {
    pub room: i64,
    /// Hex.
    pub code_hash: String,
    pub by: i64,
    pub uses_left: Option<u32>,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRecord {
    pub room: i64,
    pub id: Seq,
    pub seq: Seq,
    pub kind: ChangeKind,
    pub author: i64,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Seq>,
    pub nonce: String,
    /// Hex.
    pub fingerprint: String,
    pub content: String,
    /// Users, in the order in which the text names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<i64>,
    /// In the order in which the kinds were first given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<ReactionRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionRecord {
    pub emoji: String,
    /// Who gave it, each with the change by which they did; oldest first.
    pub by: Vec<(i64, Seq)>,
}

impl Record {
    /// What is wrong with it, whatever else there is.
    pub fn check(&self) -> Result<(), String> {
        let named = |what: Result<_, Error>| what.map_err(|error| error.to_string());
        match self {
            Self::User(user) => {
                positive("id", user.id)?;
                named(Username::parse(&user.username).map(drop))?;
                let texts = [&user.password_hash, &user.issuer, &user.subject];
                texts.into_iter().flatten().try_for_each(|text| without_nul("a text", text))?;
                (user.issuer.is_some() == user.subject.is_some())
                    .then_some(())
                    .ok_or_else(|| "issuer and subject go together".to_owned())
            }
            Self::Room(room) => {
                positive("id", room.id)?;
                named(Slug::parse(&room.slug).map(drop))?;
                named(RoomName::parse(&room.name).map(drop))?;
                named(Topic::parse(&room.topic).map(drop))?;
                without_nul("epoch", &room.epoch)?;
                bounded("seq", room.seq)?;
                if room.retention_days == Some(0) || room.retention_days > Some(crate::model::RETENTION_DAYS_MAX) {
                    return Err("retention_days: must be absent or from 1".to_owned());
                }
                let direct = room.kind == RoomKind::Direct;
                match room.pair {
                    Some([first, second]) if direct && first < second => Ok(()),
                    None if !direct => Ok(()),
                    _ => Err("pair: a direct room has two users, the smaller id first; others have none".to_owned()),
                }
            }
            Self::Member(member) => bounded("last_read", member.last_read),
            Self::Ban(sanction) | Self::Mute(sanction) => named(Reason::parse(&sanction.reason).map(drop)),
            Self::Invite(invite) => match bytes_of_hex(&invite.code_hash) {
                Some(_) => Ok(()),
                None => Err("code_hash: is no hex".to_owned()),
            },
            Self::Message(message) => message.check(),
        }
    }

    /// The room that it is in, and up to which `seq` of it its own go.
    pub(in crate::store) fn room(&self) -> Option<(i64, Seq)> {
        match self {
            Self::User(_) | Self::Room(_) => None,
            Self::Member(member) => Some((member.room, member.last_read)),
            Self::Ban(sanction) | Self::Mute(sanction) => Some((sanction.room, 0)),
            Self::Invite(invite) => Some((invite.room, 0)),
            Self::Message(message) => Some((message.room, message.seq)),
        }
    }

    /// The users whom it names.
    pub(in crate::store) fn users(&self) -> Vec<i64> {
        match self {
            Self::User(_) => Vec::new(),
            Self::Room(room) => room.pair.into_iter().flatten().collect(),
            Self::Member(member) => vec![member.user],
            Self::Ban(sanction) | Self::Mute(sanction) => std::iter::once(sanction.user).chain(sanction.by).collect(),
            Self::Invite(invite) => vec![invite.by],
            Self::Message(message) => {
                let reacted = message.reactions.iter().flat_map(|kind| kind.by.iter().map(|(user, _)| *user));
                std::iter::once(message.author).chain(message.mentions.iter().copied()).chain(reacted).collect()
            }
        }
    }
}

impl MessageRecord {
    fn check(&self) -> Result<(), String> {
        bounded("seq", self.seq)?;
        if self.id < 1 || self.seq < self.id {
            return Err("seq: is below the id, or the id below 1".to_owned());
        }
        if (self.kind == ChangeKind::Created) != (self.id == self.seq) {
            return Err("kind: a message as it was created has its id as seq, and no other has".to_owned());
        }
        Nonce::parse(&self.nonce).map_err(|error| error.to_string())?;
        without_nul("content", &self.content)?;
        if self.deleted && !(self.content.is_empty() && self.mentions.is_empty() && self.reactions.is_empty()) {
            return Err("deleted: what is deleted has no content, mentions or reactions".to_owned());
        }
        if bytes_of_hex(&self.fingerprint).is_none_or(|bytes| bytes.len() != FINGERPRINT_BYTES) {
            return Err("fingerprint: is not 16 bytes in hex".to_owned());
        }
        for kind in &self.reactions {
            Emoji::parse(&kind.emoji).map_err(|error| error.to_string())?;
            if kind.by.is_empty() || !kind.by.is_sorted_by_key(|(_, seq)| *seq) {
                return Err("reactions: each kind has who gave it, oldest first".to_owned());
            }
        }
        Ok(())
    }

    /// Puts who reacted with what into the order in which the kinds are shown.
    pub(in crate::store) fn set_reactions(&mut self, kinds: &[String], mut given: HashMap<String, Vec<(i64, Seq)>>) {
        let in_order = kinds.iter().filter_map(|emoji| Some((emoji, given.remove(emoji)?)));
        self.reactions = in_order.map(|(emoji, by)| ReactionRecord { emoji: emoji.clone(), by }).collect();
    }
}

/// As `rooms.direct_pair` holds it.
pub(in crate::store) fn pair(text: Option<&str>) -> Result<Option<[i64; 2]>, StoreError> {
    let Some(text) = text else { return Ok(None) };
    let both = text.split_once(':').and_then(|(first, second)| Some([first.parse().ok()?, second.parse().ok()?]));
    both.map(Some).ok_or_else(|| StoreError::Internal(format!("rooms.direct_pair holds {text}")))
}

pub(in crate::store) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(in crate::store) fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn positive(name: &str, value: i64) -> Result<(), String> {
    if value > 0 { Ok(()) } else { Err(format!("{name}: must be 1 or more")) }
}

fn bounded(name: &str, value: Seq) -> Result<(), String> {
    i64::try_from(value).map(drop).map_err(|_| format!("{name}: is too large"))
}

fn without_nul(name: &str, text: &str) -> Result<(), String> {
    if text.contains('\0') { Err(format!("{name}: must not hold U+0000")) } else { Ok(()) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_both_ways_and_nothing_else_is_hex() {
        assert_eq!(bytes_of_hex(&hex(&[0, 9, 255])), Some(vec![0, 9, 255]));
        for wrong in ["0", "0g", "+1", "é"] {
            assert_eq!(bytes_of_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let message = |change: fn(&mut MessageRecord)| {
            let mut message = MessageRecord {
                room: 1,
                id: 3,
                seq: 3,
                kind: ChangeKind::Created,
                author: 1,
                created_at: Timestamp(0),
                edited_at: None,
                deleted: false,
                reply_to: None,
                nonce: "n".into(),
                fingerprint: "00".repeat(16),
                content: "hi".into(),
                mentions: Vec::new(),
                reactions: Vec::new(),
            };
            change(&mut message);
            Record::Message(Box::new(message)).check()
        };
        assert_eq!(message(|_| ()), Ok(()));
        for (change, what) in [
            ((|m| m.seq = 2) as fn(&mut MessageRecord), "seq"),
            (|m| m.seq = 4, "kind"),
            (|m| m.nonce.clear(), "nonce"),
            (|m| m.content.push('\0'), "content"),
            (|m| m.deleted = true, "deleted"),
            (|m| m.fingerprint.push_str("00"), "fingerprint"),
            (|m| m.reactions.push(ReactionRecord { emoji: "no".into(), by: vec![(1, 1)] }), "emoji"),
            (|m| m.reactions.push(ReactionRecord { emoji: "👍".into(), by: vec![] }), "reactions"),
        ] {
            let why = message(change).expect_err(what);
            assert!(why.starts_with(what), "{why}");
        }
    }
}
