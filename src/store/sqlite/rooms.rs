//! Rooms, their clocks and their members.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::*;
use super::access::make_member;
use super::rows::{self, word};
use super::search;

pub fn create(db: &Connection, new: NewRoom) -> Result<RoomInfo> {
    let epoch = Epoch::random();
    db.prepare_cached("INSERT INTO rooms (slug, name, topic, kind, created_at) VALUES (?, ?, ?, ?, ?)")?.execute(
        params![new.slug.as_str(), new.name.as_str(), new.topic.as_str(), new.kind.as_str(), Timestamp::now().0],
    )?;
    let id = RoomId(db.last_insert_rowid());
    db.prepare_cached("INSERT INTO room_clocks (room_id, epoch) VALUES (?, ?)")?.execute(params![id.0, epoch.0])?;
    make_member(db, new.owner, id, Role::Owner, 0)?;
    Ok(RoomInfo {
        id,
        slug: new.slug,
        name: new.name,
        topic: new.topic,
        kind: new.kind,
        epoch,
        seq: 0,
        role: Some(Role::Owner),
        last_read: 0,
        unread: 0,
        mentions: 0,
        online: 0,
        retention_days: None,
        access: 1,
        purged: 0,
    })
}

pub fn update(db: &Connection, room: RoomId, changes: &RoomChanges) -> Result<Option<()>> {
    let name = changes.name.as_ref().map(RoomName::as_str);
    let topic = changes.topic.as_ref().map(Topic::as_str);
    let changed = db
        .prepare_cached(
            "UPDATE rooms SET name = coalesce(?2, name), topic = coalesce(?3, topic),
                 retention_days = CASE WHEN ?4 IS NULL THEN retention_days ELSE nullif(?4, 0) END
             WHERE id = ?1 AND deleted_at IS NULL",
        )?
        .execute(params![room.0, name, topic, changes.retention_days])?;
    if changed == 0 {
        return Ok(None);
    }
    raise_access(db, room)?;
    Ok(Some(()))
}

pub fn delete(db: &Connection, room: RoomId) -> Result<bool> {
    let changed = db
        .prepare_cached("UPDATE room_clocks SET access = access + 1, deleted = 1 WHERE room_id = ? AND NOT deleted")?
        .execute([room.0])?;
    if changed > 0 {
        db.prepare_cached("UPDATE rooms SET deleted_at = ? WHERE id = ?")?.execute([Timestamp::now().0, room.0])?;
    }
    Ok(changed > 0)
}

/// One table after the other; the room's own row stays, marked, so that it is known to be done.
pub fn purge(db: &Connection, limit: u32) -> Result<u64> {
    const TABLES: [&str; 6] = [
        "DELETE FROM mentions WHERE room_id = ?1 AND (id, user_id) IN (
             SELECT id, user_id FROM mentions WHERE room_id = ?1 LIMIT ?2)",
        "DELETE FROM reactions WHERE room_id = ?1 AND (id, emoji, user_id) IN (
             SELECT id, emoji, user_id FROM reactions WHERE room_id = ?1 LIMIT ?2)",
        "DELETE FROM messages WHERE room_id = ?1 AND id IN (
             SELECT id FROM messages WHERE room_id = ?1 ORDER BY id LIMIT ?2)",
        "DELETE FROM members WHERE room_id = ?1 AND user_id IN (
             SELECT user_id FROM members WHERE room_id = ?1 ORDER BY user_id LIMIT ?2)",
        "DELETE FROM bans WHERE room_id = ?1 AND user_id IN (
             SELECT user_id FROM bans WHERE room_id = ?1 ORDER BY user_id LIMIT ?2)",
        "DELETE FROM invites WHERE code_hash IN (SELECT code_hash FROM invites WHERE room_id = ?1 LIMIT ?2)",
    ];
    let limit = u64::from(limit);
    let mut removed = 0;
    while let Some(room) = to_purge(db)? {
        removed += search::purge(db, room, limit - removed)?;
        if removed >= limit {
            return Ok(removed);
        }
        for table in TABLES {
            removed += db.prepare_cached(table)?.execute(params![room, limit - removed])? as u64;
            if removed >= limit {
                return Ok(removed);
            }
        }
        db.prepare_cached("UPDATE rooms SET purged = 1 WHERE id = ?")?.execute([room])?;
    }
    Ok(removed)
}

/// By user id, which the cursor is.
pub fn members(db: &Connection, room: RoomId, limit: u32, after: i64) -> Result<Page<Member>> {
    let mut statement = db.prepare_cached(
        "SELECT u.username, m.user_id, m.role, m.since FROM members m JOIN users u ON u.id = m.user_id
         WHERE m.room_id = ? AND m.user_id > ? ORDER BY m.user_id LIMIT ?",
    )?;
    let rows = statement.query_map([room.0, after, i64::from(limit) + 1], member)?;
    let items = rows.collect::<rusqlite::Result<_>>()?;
    Ok(Page::cut(items, limit, |member| member.user.0.to_string()))
}

/// `None`: no such room, or deleted.
pub fn head(db: &Connection, room: RoomId) -> Result<Option<Head>> {
    Ok(db
        .prepare_cached(
            "SELECT room_id, seq, access, epoch, purged FROM room_clocks WHERE room_id = ? AND NOT deleted",
        )?
        .query_row([room.0], rows::head)
        .optional()?)
}

pub fn renew_epoch(db: &Connection, room: RoomId, old: &Epoch) -> Result<Option<Epoch>> {
    db.prepare_cached(
        "UPDATE room_clocks SET epoch = ?, access = access + 1 WHERE room_id = ? AND epoch = ? AND NOT deleted",
    )?
    .execute(params![Epoch::random().0, room.0, old.0])?;
    Ok(head(db, room)?.map(|head| head.epoch))
}

pub fn raise_access(db: &Connection, room: RoomId) -> Result<()> {
    db.prepare_cached("UPDATE room_clocks SET access = access + 1 WHERE room_id = ?")?.execute([room.0])?;
    Ok(())
}

fn to_purge(db: &Connection) -> Result<Option<i64>> {
    Ok(db
        .prepare_cached("SELECT id FROM rooms WHERE deleted_at IS NOT NULL AND purged = 0 ORDER BY id LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?)
}

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        username: Username::from_stored(row.get(0)?),
        user: UserId(row.get(1)?),
        role: word(row, 2, Role::from_word)?,
        since: Timestamp(row.get(3)?),
    })
}
