//! Reading messages. The head and the rows under it are of one snapshot, since a read is one transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::*;
use super::rooms::head;
use super::rows::{message, message_columns, signed};

pub fn changes_after(db: &Connection, room: RoomId, after: Seq, limit: u32) -> Result<Option<Changes>> {
    let Some(head) = head(db, room)? else { return Ok(None) };
    let sql = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN users u ON u.id = m.author_id WHERE m.room_id = ? AND m.seq > ? ORDER BY m.seq LIMIT ?"
    );
    let mut changes = list(db, sql, room, signed(after), limit)?;
    let more = changes.len() > limit as usize;
    changes.truncate(limit as usize);
    Ok(Some(Changes { head, changes, more }))
}

pub fn recent_changes(db: &Connection, room: RoomId, limit: u32) -> Result<Option<Changes>> {
    let Some(head) = head(db, room)? else { return Ok(None) };
    let sql = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN users u ON u.id = m.author_id WHERE m.room_id = ? AND m.seq <= ?
         ORDER BY m.seq DESC LIMIT ?"
    );
    let mut changes = list(db, sql, room, i64::MAX, limit)?;
    let more = changes.len() > limit as usize;
    changes.truncate(limit as usize);
    changes.reverse();
    Ok(Some(Changes { head, changes, more }))
}

pub fn history(db: &Connection, room: RoomId, around: Around, limit: u32) -> Result<Option<(Head, History)>> {
    let Some(head) = head(db, room)? else { return Ok(None) };
    let history = match around {
        Around::Latest => before(db, room, i64::MAX, limit)?,
        Around::Before(id) => before(db, room, signed(id), limit)?,
        Around::After(id) => after(db, room, signed(id), limit)?,
    };
    Ok(Some((head, history)))
}

pub fn one(db: &Connection, room: RoomId, id: MessageId) -> Result<Option<Message>> {
    Ok(db
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.id = m.author_id WHERE m.room_id = ? AND m.id = ?"
        ))?
        .query_row(params![room.0, signed(id)], message)
        .optional()?)
}

fn before(db: &Connection, room: RoomId, id: i64, limit: u32) -> Result<History> {
    let sql = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN users u ON u.id = m.author_id WHERE m.room_id = ? AND m.id < ?
         ORDER BY m.id DESC LIMIT ?"
    );
    let mut messages = list(db, sql, room, id, limit)?;
    let older = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    messages.reverse();
    let newer =
        db.prepare_cached("SELECT 1 FROM messages WHERE room_id = ? AND id >= ? LIMIT 1")?.exists([room.0, id])?;
    Ok(History { messages, older, newer })
}

fn after(db: &Connection, room: RoomId, id: i64, limit: u32) -> Result<History> {
    let sql = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN users u ON u.id = m.author_id WHERE m.room_id = ? AND m.id > ? ORDER BY m.id LIMIT ?"
    );
    let mut messages = list(db, sql, room, id, limit)?;
    let newer = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    let older =
        db.prepare_cached("SELECT 1 FROM messages WHERE room_id = ? AND id <= ? LIMIT 1")?.exists([room.0, id])?;
    Ok(History { messages, older, newer })
}

/// One more than `limit`, so that whether there are more is seen.
fn list(db: &Connection, sql: &str, room: RoomId, bound: i64, limit: u32) -> Result<Vec<Message>> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([room.0, bound, i64::from(limit) + 1], message)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
