//! From rows to the model's values, and from SQLite's errors to the store's.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{ErrorCode, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::*;
use crate::model::{ChangeKind, Reactions};

/// The columns that [`message`] reads, of `messages m` and `users u`.
macro_rules! message_columns {
    () => {
        "m.room_id, m.id, m.seq, m.kind, u.username, m.author_id, m.content, m.created_at, m.edited_at, m.deleted, \
         m.reply_to, m.nonce, m.mentions, m.reactions"
    };
}
pub(super) use message_columns;

pub fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        room: RoomId(row.get(0)?),
        id: row.get(1)?,
        seq: row.get(2)?,
        kind: change_kind(row.get(3)?)?,
        author: Username::from_stored(row.get(4)?),
        author_id: UserId(row.get(5)?),
        content: row.get(6)?,
        created_at: Timestamp(row.get(7)?),
        edited_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        deleted: row.get(9)?,
        reply_to: row.get(10)?,
        nonce: Some(row.get(11)?),
        mentions: json::<Vec<String>>(row, 12)?.into_iter().map(Username::from_stored).collect(),
        reactions: Reactions(json(row, 13)?),
    })
}

/// A column of JSON that this store wrote; NULL is the empty value.
pub fn json<T: DeserializeOwned + Default>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    match row.get_ref(at)?.as_str_or_null()? {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(text).map_err(|_| unknown(at, text)),
    }
}

/// For a column that is NULL where there is nothing to say.
pub fn json_or_null<T: Serialize>(values: &[T]) -> Result<Option<String>> {
    if values.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(values).map(Some).map_err(|error| StoreError::Internal(error.to_string()))
}

pub fn head(row: &Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head {
        room: RoomId(row.get(0)?),
        seq: row.get(1)?,
        access: row.get(2)?,
        epoch: Epoch(row.get(3)?),
        purged: row.get(4)?,
    })
}

/// A word of the model. What a row holds was checked when it went in, so any other word is a defect.
pub fn word<T>(row: &Row<'_>, at: usize, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(at)?.as_str()?;
    parse(text).ok_or_else(|| unknown(at, text))
}

pub fn word_or_none<T>(row: &Row<'_>, at: usize, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<Option<T>> {
    match row.get_ref(at)?.as_str_or_null()? {
        None => Ok(None),
        Some(text) => parse(text).map(Some).ok_or_else(|| unknown(at, text)),
    }
}

/// For a parameter: beyond the column's range there is nothing to be found.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub fn ago(window: Duration) -> i64 {
    Timestamp::now().0.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX))
}

pub fn change_kind(kind: i64) -> rusqlite::Result<ChangeKind> {
    match kind {
        0 => Ok(ChangeKind::Created),
        1 => Ok(ChangeKind::Edited),
        2 => Ok(ChangeKind::Deleted),
        3 => Ok(ChangeKind::Reacted),
        other => Err(unknown(3, &other.to_string())),
    }
}

fn unknown(at: usize, text: &str) -> rusqlite::Error {
    let why = format!("column {at} holds {text}");
    rusqlite::Error::FromSqlConversionFailure(at, Type::Text, why.into())
}

/// What unique columns are called to a caller.
const UNIQUE: &[(&str, &str)] = &[
    ("users.username_key", "username"),
    ("users.issuer", "issuer"),
    ("rooms.slug", "slug"),
    ("rooms.direct_pair", "direct room"),
    ("login_sessions.", "login session"),
];

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => match UNIQUE.iter().find(|(column, _)| {
                why.strip_prefix("UNIQUE constraint failed: ").is_some_and(|columns| columns.starts_with(column))
            }) {
                Some((_, what)) => Self::Taken(what),
                None => Self::Internal(why),
            },
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OperationInterrupted
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory,
            ) => Self::Unavailable(why),
            _ => Self::Internal(why),
        }
    }
}
