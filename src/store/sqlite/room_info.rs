//! Rooms as users see them.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::*;
use super::access::{Relation, make_member};
use super::rows::{word, word_or_none};

/// What user `?1` has not read, of `rooms r` and `members m`.
macro_rules! unread_columns {
    () => {
        "(SELECT count(*) FROM (
             SELECT 1 FROM messages x
             WHERE x.room_id = r.id AND x.id > m.last_read AND x.author_id <> ?1 AND NOT x.deleted
             ORDER BY x.id LIMIT 100)),
         (SELECT count(*) FROM (
             SELECT 1 FROM mentions x WHERE x.user_id = ?1 AND x.room_id = r.id AND x.id > m.last_read LIMIT 100))"
    };
}
pub(super) use unread_columns;

/// The columns that [`info`] reads, for user `?1`, of `rooms r`, `room_clocks c` and the outer-joined `members m`.
/// A direct room is called by the other one's name.
macro_rules! info_columns {
    () => {
        concat!(
            "r.id, r.slug,
         CASE WHEN r.kind = 'direct' THEN coalesce((
             SELECT u.username FROM members o JOIN users u ON u.id = o.user_id
             WHERE o.room_id = r.id AND o.user_id <> ?1 LIMIT 1), r.name) ELSE r.name END,
         r.topic, r.kind, c.epoch, c.seq, m.role, coalesce(m.last_read, 0),",
            unread_columns!(),
            ", c.access, r.retention_days, c.purged"
        )
    };
}

pub fn one(db: &Connection, user: UserId, room: &RoomRef) -> Result<Option<RoomInfo>> {
    let Some(id) = resolve(db, room)? else { return Ok(None) };
    Ok(by_id(db, user, id)?.filter(|info| info.kind == RoomKind::Public || info.role.is_some()))
}

pub fn page(db: &Connection, user: UserId, limit: u32, cursor: RoomsCursor) -> Result<Page<RoomInfo>> {
    let (own_after, open_after) = cursor.bounds();
    let mut statement = db.prepare_cached(concat!(
        "SELECT ",
        info_columns!(),
        " FROM (
             SELECT * FROM (
                 SELECT 0 AS part, k.room_id AS id FROM members k JOIN rooms d ON d.id = k.room_id
                 WHERE k.user_id = ?1 AND k.room_id > ?2 AND d.deleted_at IS NULL
                 ORDER BY k.room_id LIMIT ?4)
             UNION ALL
             SELECT * FROM (
                 SELECT 1 AS part, d.id AS id FROM rooms d
                 WHERE d.kind = 'public' AND d.deleted_at IS NULL AND d.id > ?3 AND NOT EXISTS (
                     SELECT 1 FROM members k WHERE k.room_id = d.id AND k.user_id = ?1)
                 ORDER BY d.id LIMIT ?4)
             ORDER BY part, id LIMIT ?4
         ) p
         JOIN rooms r ON r.id = p.id
         JOIN room_clocks c ON c.room_id = r.id
         LEFT JOIN members m ON m.room_id = r.id AND m.user_id = ?1
         ORDER BY p.part, p.id"
    ))?;
    let rows = statement.query_map([user.0, own_after, open_after, i64::from(limit) + 1], info)?;
    let rooms = rows.collect::<rusqlite::Result<_>>()?;
    Ok(Page::cut(rooms, limit, RoomsCursor::after))
}

pub fn enter(db: &Connection, pairs: &[(UserId, RoomRef)]) -> Result<Vec<std::result::Result<RoomInfo, Refusal>>> {
    pairs.iter().map(|(user, room)| enter_one(db, *user, room)).collect()
}

fn enter_one(db: &Connection, user: UserId, room: &RoomRef) -> Result<std::result::Result<RoomInfo, Refusal>> {
    let Some(id) = resolve(db, room)? else { return Ok(Err(Refusal::NoRoom)) };
    let Some(relation) = Relation::read(db, user, id)? else { return Ok(Err(Refusal::NoRoom)) };
    if let Some(refusal) = relation.refusal() {
        return Ok(Err(refusal));
    }
    if relation.role.is_none() {
        make_member(db, user, id, Role::Member, relation.clock.seq)?;
    }
    Ok(by_id(db, user, id)?.ok_or(Refusal::NoRoom))
}

fn by_id(db: &Connection, user: UserId, room: RoomId) -> Result<Option<RoomInfo>> {
    Ok(db
        .prepare_cached(concat!(
            "SELECT ",
            info_columns!(),
            " FROM rooms r JOIN room_clocks c ON c.room_id = r.id
             LEFT JOIN members m ON m.room_id = r.id AND m.user_id = ?1
             WHERE r.id = ?2 AND r.deleted_at IS NULL"
        ))?
        .query_row([user.0, room.0], info)
        .optional()?)
}

/// The id that this names, also where there is no such room.
pub fn resolve(db: &Connection, room: &RoomRef) -> Result<Option<RoomId>> {
    match room {
        RoomRef::Id(id) => Ok(Some(*id)),
        RoomRef::Slug(slug) => Ok(db
            .prepare_cached("SELECT id FROM rooms WHERE slug = ? AND deleted_at IS NULL")?
            .query_row([slug.as_str()], |row| row.get(0).map(RoomId))
            .optional()?),
    }
}

fn info(row: &Row<'_>) -> rusqlite::Result<RoomInfo> {
    Ok(RoomInfo {
        id: RoomId(row.get(0)?),
        slug: Slug::from_stored(row.get(1)?),
        name: RoomName::from_stored(row.get(2)?),
        topic: Topic::from_stored(row.get(3)?),
        kind: word(row, 4, RoomKind::from_word)?,
        epoch: Epoch(row.get(5)?),
        seq: row.get(6)?,
        role: word_or_none(row, 7, Role::from_word)?,
        last_read: row.get(8)?,
        unread: row.get(9)?,
        mentions: row.get(10)?,
        online: 0,
        retention_days: row.get(12)?,
        access: row.get(11)?,
        purged: row.get(13)?,
    })
}
