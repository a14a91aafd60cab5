//! Removing messages by age.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::*;
use super::rows::{DAY, ago, signed};
use super::{mentions, search};

/// The days that are kept, of `rooms r` and of `?1`, which is for all rooms; NULL: for ever.
macro_rules! days {
    () => {
        "coalesce(min(r.retention_days, ?1), r.retention_days, ?1)"
    };
}

pub fn outdated(db: &Connection, kept: Option<u32>, limit: u32, after: i64) -> Result<Page<RoomId>> {
    let mut statement = db.prepare_cached(concat!(
        "SELECT r.id, ",
        days!(),
        ", (SELECT m.created_at FROM messages m WHERE m.room_id = r.id AND m.id > c.purged ORDER BY m.id LIMIT 1)
         FROM rooms r JOIN room_clocks c ON c.room_id = r.id
         WHERE r.id > ?2 AND r.deleted_at IS NULL AND ",
        days!(),
        " IS NOT NULL ORDER BY r.id LIMIT ?3"
    ))?;
    let rows = statement.query_map(params![kept, after, limit], |row| {
        let oldest: Option<i64> = row.get(2)?;
        let before = ago(DAY * row.get(1)?);
        Ok((row.get(0)?, oldest.is_some_and(|oldest| oldest < before)))
    })?;
    let looked: Vec<(i64, bool)> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(Page::among(&looked, limit))
}

pub fn purge(db: &Connection, room: RoomId, kept: Option<u32>, limit: u32) -> Result<u64> {
    let days = db
        .prepare_cached(concat!(
            "SELECT ",
            days!(),
            " FROM rooms r WHERE r.id = ?2 AND r.deleted_at IS NULL AND ",
            days!(),
            " IS NOT NULL"
        ))?
        .query_row(params![kept, room.0], |row| row.get::<_, u32>(0))
        .optional()?;
    let Some(days) = days else { return Ok(0) };
    let outdated = oldest(db, room, ago(DAY * days), limit)?;
    for id in &outdated {
        mentions::forget(db, room, *id)?;
        search::forget(db, room, *id)?;
        db.prepare_cached("DELETE FROM reactions WHERE room_id = ? AND id = ?")?.execute([room.0, signed(*id)])?;
        db.prepare_cached("DELETE FROM messages WHERE room_id = ? AND id = ?")?.execute([room.0, signed(*id)])?;
    }
    if let Some(last) = outdated.last() {
        db.prepare_cached("UPDATE room_clocks SET purged = ? WHERE room_id = ?")?.execute([signed(*last), room.0])?;
    }
    Ok(outdated.len() as u64)
}

/// Messages from the beginning that were created before.
fn oldest(db: &Connection, room: RoomId, before: i64, limit: u32) -> Result<Vec<MessageId>> {
    let mut statement = db.prepare_cached(
        "SELECT id FROM (SELECT id, created_at FROM messages WHERE room_id = ?1 ORDER BY id LIMIT ?3)
         WHERE created_at < ?2 ORDER BY id",
    )?;
    let ids = statement.query_map(params![room.0, before, limit], |row| row.get(0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}
