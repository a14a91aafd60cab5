//! All that is kept, as records: read out of one database in one snapshot, written into another that is empty. Login
//! sessions, nodes and what is made of messages (words) stay behind, and so do deleted rooms.

use std::collections::HashMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Result, StoreError, postgres, sqlite};
use crate::config::{self, DatabaseUrl};
use crate::error::Error;
use crate::model::{
    ChangeKind, Emoji, Nonce, Reason, Role, RoomKind, RoomName, Seq, SiteRole, Slug, Timestamp, Topic, Username,
};

/// Rows read at once.
pub(super) const PAGE_ROWS: usize = 500;
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

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub records: u64,
    /// The highest ids that were ever given, so that none is given again.
    pub last_user: i64,
    pub last_room: i64,
}

/// How far an import came: records taken, and what their lines are known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub lines: u64,
    pub digest: Vec<u8>,
    pub finished: bool,
}

/// One snapshot of a database that may be in use, read in order and in bounded pages.
#[async_trait]
pub trait Dump: Send {
    fn extent(&self) -> Extent;
    /// The next records; none: that was all.
    async fn next(&mut self) -> Result<Vec<Record>, StoreError>;
}

/// A database that is filled, and that nobody else uses meanwhile.
#[async_trait]
pub trait Load: Send {
    /// What an import before has taken; `None`: the database is empty.
    async fn begun(&mut self) -> Result<Option<Taken>, LoadError>;
    /// Stores records, and how far that is, in one transaction.
    async fn put(&mut self, records: &[Record], taken: &Taken) -> Result<(), LoadError>;
    /// Moves the ids on beyond those that were ever given. To be called before the last [`Load::put`], and again after
    /// it was cut off.
    async fn move_ids(&mut self, extent: &Extent) -> Result<(), LoadError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Of one of the records.
    #[error("{0}")]
    Wrong(String),
    /// The database cannot take an import, and why.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens a snapshot: of everything, or of these rooms and the users who have to do with them. Beside nodes that run.
pub async fn dump(config: &config::Database, rooms: Option<&[Slug]>) -> crate::error::Result<Box<dyn Dump>> {
    match config.parsed_url() {
        Ok(DatabaseUrl::Postgres(_)) => postgres::dump(config, rooms).await,
        Ok(DatabaseUrl::Sqlite(path)) => sqlite::dump(&path, config, rooms),
        Err(why) => Err(Error::invalid("database.url", why)),
    }
}

/// Opens a database to fill it, brings its schema up to date (unless `database.migrate` is off) and keeps nodes off it
/// for as long as this value lives.
pub async fn load(config: &config::Database) -> Result<Box<dyn Load>, LoadError> {
    match config.parsed_url() {
        Ok(DatabaseUrl::Postgres(_)) => postgres::load(config).await,
        Ok(DatabaseUrl::Sqlite(path)) => sqlite::load(&path, config),
        Err(why) => Err(LoadError::Refused(format!("database.url: {why}"))),
    }
}

/// Why a node must not use a database yet.
pub(super) const UNFINISHED: &str = "an import into this database is not finished: run `salon import` again with the same file, or make the database anew";

pub(super) fn no_such_room(slug: &Slug) -> Error {
    Error::NotFound(format!("there is no room {slug}"))
}

pub(super) fn not_empty() -> LoadError {
    LoadError::Refused("the database is not empty: an import needs one without users and rooms".to_owned())
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
    pub(super) fn room(&self) -> Option<(i64, Seq)> {
        match self {
            Self::User(_) | Self::Room(_) => None,
            Self::Member(member) => Some((member.room, member.last_read)),
            Self::Ban(sanction) | Self::Mute(sanction) => Some((sanction.room, 0)),
            Self::Invite(invite) => Some((invite.room, 0)),
            Self::Message(message) => Some((message.room, message.seq)),
        }
    }

    /// The users whom it names.
    pub(super) fn users(&self) -> Vec<i64> {
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
    pub(super) fn set_reactions(&mut self, kinds: &[String], mut given: HashMap<String, Vec<(i64, Seq)>>) {
        let in_order = kinds.iter().filter_map(|emoji| Some((emoji, given.remove(emoji)?)));
        self.reactions = in_order.map(|(emoji, by)| ReactionRecord { emoji: emoji.clone(), by }).collect();
    }
}

/// What records name and is not there, in words; `rooms` are those that are, with their clocks.
pub(super) fn missing<'a>(
    records: impl Iterator<Item = &'a Record>,
    users: &dyn Fn(i64) -> bool,
    rooms: &HashMap<i64, Seq>,
) -> Result<(), LoadError> {
    for record in records {
        if let Some(user) = record.users().into_iter().find(|user| !users(*user)) {
            return Err(LoadError::Wrong(format!("there is no user {user} before it")));
        }
        match record.room() {
            Some((room, seq)) => match rooms.get(&room) {
                None => return Err(LoadError::Wrong(format!("there is no room {room} before it"))),
                Some(head) if seq > *head => {
                    return Err(LoadError::Wrong(format!(
                        "{seq} is beyond the clock of room {room}, which is at {head}"
                    )));
                }
                Some(_) => {}
            },
            None => {}
        }
    }
    Ok(())
}

/// As `rooms.direct_pair` holds it.
pub(super) fn pair(text: Option<&str>) -> Result<Option<[i64; 2]>, StoreError> {
    let Some(text) = text else { return Ok(None) };
    let both = text.split_once(':').and_then(|(first, second)| Some([first.parse().ok()?, second.parse().ok()?]));
    both.map(Some).ok_or_else(|| StoreError::Internal(format!("rooms.direct_pair holds {text}")))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() % 2 != 0 || !digits.iter().all(u8::is_ascii_hexdigit) {
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

/// Which rows are read next: part by part, and in each of them range by range of rooms.
pub(super) struct Walk {
    /// First and last room.
    ranges: Vec<(i64, i64)>,
    part: usize,
    range: usize,
    after: Option<After>,
}

/// The last row read: its room (or user), and what comes next in the table's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct After {
    pub first: i64,
    pub second: i64,
    /// Of an invitation.
    pub code_hash: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Users,
    Rooms,
    Members,
    Bans,
    Mutes,
    Invites,
    Messages,
}

const PARTS: [Part; 7] =
    [Part::Users, Part::Rooms, Part::Members, Part::Bans, Part::Mutes, Part::Invites, Part::Messages];

impl Walk {
    /// Through all rooms, or through these.
    pub fn new(rooms: Option<&[i64]>) -> Self {
        let ranges = match rooms {
            None => vec![(1, i64::MAX)],
            Some(rooms) => rooms.iter().map(|room| (*room, *room)).collect(),
        };
        Self { ranges, part: 0, range: 0, after: None }
    }

    /// What to read: rows behind `After`, up to the room; `None`: that was all.
    pub fn place(&self) -> Option<(Part, After, i64)> {
        let part = *PARTS.get(self.part)?;
        let (first, last) = if part == Part::Users { (1, i64::MAX) } else { *self.ranges.get(self.range)? };
        let start = || After { first: first - 1, second: i64::MAX, code_hash: vec![u8::MAX; 64] };
        Some((part, self.after.clone().unwrap_or_else(start), last))
    }

    /// So many rows were read, the last of which was this one.
    pub fn read(&mut self, rows: usize, last: Option<After>) {
        self.after = last;
        if rows >= PAGE_ROWS {
            return;
        }
        self.after = None;
        self.range += 1;
        if PARTS.get(self.part) == Some(&Part::Users) || self.range >= self.ranges.len() {
            (self.part, self.range) = (self.part + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(walk: &mut Walk, rows: usize) -> Option<(Part, i64, i64)> {
        let (part, after, last) = walk.place()?;
        walk.read(rows, Some(After { first: after.first + 1, second: 7, code_hash: Vec::new() }));
        Some((part, after.first, last))
    }

    #[test]
    fn every_part_of_every_range_is_walked_through_to_its_end() {
        let mut walk = Walk::new(Some(&[4, 9]));
        assert_eq!(read(&mut walk, PAGE_ROWS), Some((Part::Users, 0, i64::MAX)));
        assert_eq!(read(&mut walk, 1), Some((Part::Users, 1, i64::MAX)));
        for part in &PARTS[1..6] {
            assert_eq!(read(&mut walk, 1), Some((*part, 3, 4)));
            assert_eq!(read(&mut walk, 0), Some((*part, 8, 9)));
        }
        assert_eq!(read(&mut walk, PAGE_ROWS), Some((Part::Messages, 3, 4)));
        assert_eq!(read(&mut walk, 3), Some((Part::Messages, 4, 4)));
        assert_eq!(read(&mut walk, 3), Some((Part::Messages, 8, 9)));
        assert_eq!(read(&mut walk, 0), None);
    }

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
