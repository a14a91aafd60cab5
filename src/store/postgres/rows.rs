//! From rows to the model's values. What a row holds was checked when it went in, so a word that is not ours is a
//! defect and said as such.

use std::time::{Duration, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::super::*;
use crate::model::{ChangeKind, Reaction, Reactions};

/// The columns that [`message`] reads, of `messages m` and `users u`, after the room's.
macro_rules! message_columns {
    () => {
        "m.room_id, m.id, m.seq, m.kind, u.username, m.author_id, m.content, m.created_at, m.edited_at, m.deleted, \
         m.reply_to, m.nonce, m.mentions, m.reactions"
    };
}
pub(super) use message_columns;

/// How many columns [`message`] takes.
pub const MESSAGE_WIDTH: usize = 14;

/// The columns that [`head`] reads, of `room_clocks c`.
macro_rules! head_columns {
    () => {
        "c.room_id, c.seq, c.access, c.epoch, c.purged"
    };
}
pub(super) use head_columns;

/// How many columns [`head`] takes; [`message`] starts there where both are read.
pub const HEAD_WIDTH: usize = 5;

/// The message whose columns start at `at`; `None`: an outer join found none.
pub fn message(row: &Row, at: usize) -> Result<Option<Message>> {
    let Some(room) = get::<Option<i64>>(row, at)? else { return Ok(None) };
    Ok(Some(Message {
        room: RoomId(room),
        id: unsigned(get(row, at + 1)?),
        seq: unsigned(get(row, at + 2)?),
        kind: change_kind(get(row, at + 3)?)?,
        author: Username::from_stored(get(row, at + 4)?),
        author_id: UserId(get(row, at + 5)?),
        content: get(row, at + 6)?,
        created_at: time(row, at + 7)?,
        edited_at: get::<Option<SystemTime>>(row, at + 8)?.map(Timestamp::from),
        deleted: get(row, at + 9)?,
        reply_to: get::<Option<i64>>(row, at + 10)?.map(unsigned),
        nonce: Some(get(row, at + 11)?),
        mentions: mentions(row, at + 12)?,
        reactions: reactions(row, at + 13)?,
    }))
}

pub fn mentions(row: &Row, at: usize) -> Result<Vec<Username>> {
    let names = get::<Option<Json<Vec<String>>>>(row, at)?.map(|Json(names)| names).unwrap_or_default();
    Ok(names.into_iter().map(Username::from_stored).collect())
}

pub fn reactions(row: &Row, at: usize) -> Result<Reactions> {
    Ok(Reactions(get::<Option<Json<Vec<Reaction>>>>(row, at)?.map(|Json(kinds)| kinds).unwrap_or_default()))
}

/// The head in the row's first columns.
pub fn head(row: &Row) -> Result<Head> {
    Ok(Head {
        room: RoomId(get(row, 0)?),
        seq: unsigned(get(row, 1)?),
        access: unsigned(get(row, 2)?),
        epoch: Epoch(get(row, 3)?),
        purged: unsigned(get(row, 4)?),
    })
}

pub fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|error| StoreError::Internal(super::pool::with_sources(&error)))
}

pub fn time(row: &Row, at: usize) -> Result<Timestamp> {
    Ok(get::<SystemTime>(row, at)?.into())
}

pub fn change_kind(kind: i16) -> Result<ChangeKind> {
    match kind {
        0 => Ok(ChangeKind::Created),
        1 => Ok(ChangeKind::Edited),
        2 => Ok(ChangeKind::Deleted),
        3 => Ok(ChangeKind::Reacted),
        other => Err(StoreError::Internal(format!("messages.kind holds {other}"))),
    }
}

pub fn role(word: &str) -> Result<Role> {
    Role::from_word(word).ok_or_else(|| StoreError::Internal(format!("members.role holds {word}")))
}

pub fn site_role(word: &str) -> Result<SiteRole> {
    SiteRole::from_word(word).ok_or_else(|| StoreError::Internal(format!("users.role holds {word}")))
}

pub fn room_kind(word: &str) -> Result<RoomKind> {
    RoomKind::from_word(word).ok_or_else(|| StoreError::Internal(format!("rooms.kind holds {word}")))
}

pub fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// For a parameter: beyond the column's range there is nothing to be found.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// For a parameter: beyond the column's range nobody waits for the end.
pub fn days(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
