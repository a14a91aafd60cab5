//! Who has read how far, and what they have not.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::super::*;
use super::room_info::unread_columns;
use super::rows::{ago, signed};

pub fn move_marks(db: &Connection, marks: &[Mark]) -> Result<Vec<Mark>> {
    let mut moved = Vec::new();
    for mark in marks {
        let now_at = db
            .prepare_cached(
                "UPDATE members AS m SET last_read = min(?3, c.seq) FROM room_clocks c
                 WHERE m.room_id = ?2 AND m.user_id = ?1 AND c.room_id = ?2 AND NOT c.deleted
                     AND m.last_read < min(?3, c.seq)
                 RETURNING last_read",
            )?
            .query_row([mark.user.0, mark.room.0, signed(mark.seq)], |row| row.get(0))
            .optional()?;
        moved.extend(now_at.map(|seq| Mark { seq, ..*mark }));
    }
    Ok(moved)
}

pub fn memberships(db: &Connection, users: &[UserId], limit: u32, window: Duration) -> Result<Vec<Membership>> {
    let mut statement = db.prepare_cached(
        "SELECT m.room_id, c.seq, c.stamped_at > ?3 FROM members m
         JOIN room_clocks c ON c.room_id = m.room_id AND NOT c.deleted
         WHERE m.user_id = ?1 ORDER BY m.room_id LIMIT ?2",
    )?;
    let mut found = Vec::new();
    for user in users {
        let rows = statement.query_map([user.0, i64::from(limit), ago(window)], |row| {
            Ok(Membership { user: *user, room: RoomId(row.get(0)?), head: row.get(1)?, stirred: row.get(2)? })
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}

pub fn unread(db: &Connection, pairs: &[(UserId, RoomId)]) -> Result<Vec<Unread>> {
    let mut statement = db.prepare_cached(concat!(
        "SELECT r.slug, m.last_read, ",
        unread_columns!(),
        " FROM members m JOIN rooms r ON r.id = m.room_id AND r.deleted_at IS NULL
         WHERE m.room_id = ?2 AND m.user_id = ?1 AND NOT EXISTS (
             SELECT 1 FROM bans b WHERE b.room_id = ?2 AND b.user_id = ?1 AND (b.until IS NULL OR b.until > ?3))"
    ))?;
    let mut found = Vec::new();
    for (user, room) in pairs {
        let one = statement
            .query_row([user.0, room.0, Timestamp::now().0], |row| {
                Ok(Unread {
                    user: *user,
                    room: *room,
                    slug: Slug::from_stored(row.get(0)?),
                    last_read: row.get(1)?,
                    unread: row.get(2)?,
                    mentions: row.get(3)?,
                })
            })
            .optional()?;
        found.extend(one);
    }
    Ok(found)
}
