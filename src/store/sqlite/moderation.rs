//! Roles, removals, bans, mutes, invitations and direct rooms. The writing thread is the lock.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::super::*;
use super::access::{Clock, Relation, make_member};
use super::rooms::raise_access;
use super::rows::ago;

pub fn moderate(db: &Connection, moderation: &Moderation) -> Result<Moderated> {
    let Moderation { room, user, by, seen, act } = moderation;
    let Some(relation) = Relation::read(db, *user, *room)?.filter(|relation| !relation.clock.deleted) else {
        return Ok(Moderated::NoRoom);
    };
    if seen.is_some_and(|seen| seen != relation.clock.access) {
        return Ok(Moderated::Overtaken);
    }
    if relation.site_role.is_none() {
        return Ok(Moderated::NoUser);
    }
    if relation.role == Some(Role::Owner) && ends_ownership(act) && !has_other_owner(db, *room, *user)? {
        return Ok(Moderated::LastOwner);
    }
    let key: [&dyn ToSql; 2] = [&room.0, &user.0];
    let done = match act {
        Act::Add(_) if relation.banned => return Ok(Moderated::Banned),
        Act::Add(role) => match (relation.role, role) {
            (None, _) => {
                make_member(db, *user, *room, role.unwrap_or(Role::Member), relation.clock.seq)?;
                return Ok(Moderated::Done(Some(add(db, *user, *room)?)));
            }
            (Some(before), Some(role)) if before != *role => db
                .prepare_cached("UPDATE members SET role = ?3 WHERE room_id = ?1 AND user_id = ?2")?
                .execute(params![room.0, user.0, role.as_str()])?,
            (Some(_), _) => 0,
        },
        Act::Remove => remove(db, key)?,
        Act::Ban(sanction) => {
            remove(db, key)?;
            sanction_user(db, SanctionKind::Ban, key, *by, sanction)?
        }
        Act::Mute(sanction) => sanction_user(db, SanctionKind::Mute, key, *by, sanction)?,
        Act::Unban => db.prepare_cached("DELETE FROM bans WHERE room_id = ? AND user_id = ?")?.execute(key)?,
        Act::Unmute => db.prepare_cached("DELETE FROM mutes WHERE room_id = ? AND user_id = ?")?.execute(key)?,
    };
    if done == 0 {
        return Ok(Moderated::Unchanged);
    }
    if act.ends_inviting() {
        // Who may not invite any more leaves no door open behind them.
        db.prepare_cached("DELETE FROM invites WHERE room_id = ? AND created_by = ?")?.execute(key)?;
    }
    raise_access(db, *room)?;
    Ok(Moderated::Done(None))
}

/// By user id, which the cursor is.
pub fn sanctioned(
    db: &Connection,
    kind: SanctionKind,
    room: RoomId,
    limit: u32,
    after: i64,
) -> Result<Page<Sanctioned>> {
    let (table, by) = kind.table();
    let mut statement = db.prepare_cached(&format!(
        "SELECT u.username, s.user_id, s.reason, s.until, b.username, s.created_at
         FROM {table} s JOIN users u ON u.id = s.user_id LEFT JOIN users b ON b.id = s.{by}
         WHERE s.room_id = ?1 AND s.user_id > ?2 AND (s.until IS NULL OR s.until > ?3) ORDER BY s.user_id LIMIT ?4"
    ))?;
    let rows = statement.query_map([room.0, after, Timestamp::now().0, i64::from(limit) + 1], |row| {
        Ok(Sanctioned {
            username: Username::from_stored(row.get(0)?),
            user: UserId(row.get(1)?),
            reason: Reason::from_stored(row.get(2)?),
            until: row.get::<_, Option<i64>>(3)?.map(Timestamp),
            by: row.get::<_, Option<String>>(4)?.map(Username::from_stored),
            created_at: Timestamp(row.get(5)?),
        })
    })?;
    let items = rows.collect::<rusqlite::Result<_>>()?;
    Ok(Page::cut(items, limit, |one: &Sanctioned| one.user.0.to_string()))
}

pub fn create_invite(db: &Connection, new: &NewInvite) -> Result<Invited> {
    let Some(clock) = Clock::read(db, new.room)?.filter(|clock| !clock.deleted) else { return Ok(Invited::NoRoom) };
    if new.seen.is_some_and(|seen| seen != clock.access) {
        return Ok(Invited::Overtaken);
    }
    let now = Timestamp::now();
    let open: u32 = db
        .prepare_cached(
            "SELECT count(*) FROM invites WHERE room_id = ? AND coalesce(uses_left, 1) > 0 AND expires_at > ?",
        )?
        .query_row([new.room.0, now.0], |row| row.get(0))?;
    if open >= INVITES_OPEN_MAX {
        return Ok(Invited::TooMany);
    }
    let expires_at = now.plus(new.lifetime);
    db.prepare_cached(
        "INSERT INTO invites (code_hash, room_id, created_by, uses_left, expires_at, created_at)
         VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![new.hash, new.room.0, new.by.0, new.uses, expires_at.0, now.0])?;
    Ok(Invited::Made { expires_at })
}

pub fn invites(db: &Connection, room: RoomId) -> Result<Vec<Invite>> {
    let mut statement = db.prepare_cached(
        "SELECT i.code_hash, u.username, i.uses_left, i.created_at, i.expires_at
         FROM invites i JOIN users u ON u.id = i.created_by
         WHERE i.room_id = ? AND coalesce(i.uses_left, 1) > 0 AND i.expires_at > ?
         ORDER BY i.created_at, i.code_hash LIMIT ?",
    )?;
    let rows = statement.query_map([room.0, Timestamp::now().0, i64::from(INVITES_OPEN_MAX)], |row| {
        Ok(Invite {
            id: InviteId::of(row.get_ref(0)?.as_blob()?),
            by: Username::from_stored(row.get(1)?),
            uses_left: row.get(2)?,
            created_at: Timestamp(row.get(3)?),
            expires_at: Timestamp(row.get(4)?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn withdraw_invite(db: &Connection, room: RoomId, id: InviteId) -> Result<bool> {
    let removed = db
        .prepare_cached("DELETE FROM invites WHERE room_id = ? AND substr(code_hash, 1, 8) = ?")?
        .execute(params![room.0, id.0])?;
    Ok(removed > 0)
}

pub fn redeem_invite(db: &Connection, hash: &[u8], user: UserId) -> Result<Redeemed> {
    let found = db
        .prepare_cached(
            "SELECT i.room_id, i.uses_left FROM invites i JOIN users u ON u.id = i.created_by AND NOT u.disabled
             WHERE i.code_hash = ? AND i.expires_at > ?",
        )?
        .query_row(params![hash, Timestamp::now().0], |row| Ok((RoomId(row.get(0)?), row.get::<_, Option<u32>>(1)?)))
        .optional()?;
    let Some((room, uses_left)) = found else { return Ok(Redeemed::Nothing) };
    let Some(relation) = Relation::read(db, user, room)? else { return Ok(Redeemed::Nothing) };
    if relation.clock.deleted || relation.banned || relation.disabled {
        return Ok(Redeemed::Nothing);
    }
    if relation.role.is_some() {
        return Ok(Redeemed::Member(room));
    }
    if uses_left == Some(0) {
        return Ok(Redeemed::Nothing);
    }
    make_member(db, user, room, Role::Member, relation.clock.seq)?;
    db.prepare_cached("UPDATE invites SET uses_left = uses_left - 1 WHERE code_hash = ?")?.execute([hash])?;
    Ok(Redeemed::Entered { room, addition: add(db, user, room)? })
}

pub fn direct_room(db: &Connection, asking: UserId, other: UserId, slug: &Slug) -> Result<Direct> {
    let pair = format!("{}:{}", asking.0.min(other.0), asking.0.max(other.0));
    // One that an operator deleted does not stand in the way of another.
    db.prepare_cached("UPDATE rooms SET direct_pair = NULL WHERE direct_pair = ? AND deleted_at IS NOT NULL")?
        .execute([&pair])?;
    let there = db
        .prepare_cached("SELECT id FROM rooms WHERE direct_pair = ?")?
        .query_row([&pair], |row| row.get(0).map(RoomId))
        .optional()?;
    if let Some(room) = there {
        return Ok(Direct { room, made: None });
    }
    db.prepare_cached(
        "INSERT INTO rooms (slug, name, kind, direct_pair, created_at) VALUES (?, 'direct', 'direct', ?, ?)",
    )?
    .execute(params![slug.as_str(), pair, Timestamp::now().0])?;
    let room = RoomId(db.last_insert_rowid());
    db.prepare_cached("INSERT INTO room_clocks (room_id, epoch) VALUES (?, ?)")?
        .execute(params![room.0, Epoch::random().0])?;
    for user in [asking, other] {
        make_member(db, user, room, Role::Member, 0)?;
    }
    Ok(Direct { room, made: Some((add(db, asking, room)?, add(db, other, room)?)) })
}

pub fn recent_additions(
    db: &Connection,
    window: Duration,
    after: Option<AdditionId>,
    limit: u32,
) -> Result<Vec<Addition>> {
    let mut statement = db.prepare_cached(
        "SELECT id, user_id, room_id FROM room_additions
         WHERE at >= ?1 AND (?2 IS NULL OR (at, id) > (SELECT at, id FROM room_additions WHERE id = ?2))
         ORDER BY at, id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![ago(window), after.map(|id| id.0), limit], |row| {
        Ok(Addition { id: AdditionId(row.get(0)?), user: UserId(row.get(1)?), room: RoomId(row.get(2)?) })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What is over or old, and the mutes of deleted rooms, before those are done with.
pub fn purge(db: &Connection, limit: u32) -> Result<u32> {
    let (now, old) = (Timestamp::now().0, ago(ADDITION_LIFETIME));
    let steps = [
        (
            "DELETE FROM bans WHERE (room_id, user_id) IN (
                 SELECT room_id, user_id FROM bans WHERE until < ?1 ORDER BY until LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM mutes WHERE (room_id, user_id) IN (
                 SELECT room_id, user_id FROM mutes WHERE until < ?1 ORDER BY until LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM invites WHERE code_hash IN (
                 SELECT code_hash FROM invites WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM room_additions WHERE id IN (
                 SELECT id FROM room_additions WHERE at < ?1 ORDER BY at, id LIMIT ?2)",
            old,
        ),
        (
            "DELETE FROM mutes WHERE (room_id, user_id) IN (
                 SELECT x.room_id, x.user_id FROM rooms r JOIN mutes x ON x.room_id = r.id
                 WHERE r.deleted_at <= ?1 AND r.purged = 0 LIMIT ?2)",
            now,
        ),
    ];
    let mut removed = 0;
    for (statement, time) in steps {
        let left = i64::from(limit) - i64::from(removed);
        removed += db.prepare_cached(statement)?.execute([time, left])? as u32;
    }
    Ok(removed)
}

fn ends_ownership(act: &Act) -> bool {
    match act {
        Act::Remove | Act::Ban(_) => true,
        Act::Add(role) => role.is_some_and(|role| role != Role::Owner),
        Act::Unban | Act::Mute(_) | Act::Unmute => false,
    }
}

fn has_other_owner(db: &Connection, room: RoomId, user: UserId) -> Result<bool> {
    Ok(db
        .prepare_cached("SELECT 1 FROM members WHERE room_id = ? AND role = 'owner' AND user_id <> ?")?
        .exists([room.0, user.0])?)
}

fn remove(db: &Connection, key: [&dyn ToSql; 2]) -> Result<usize> {
    Ok(db.prepare_cached("DELETE FROM members WHERE room_id = ? AND user_id = ?")?.execute(key)?)
}

fn sanction_user(
    db: &Connection,
    kind: SanctionKind,
    [room, user]: [&dyn ToSql; 2],
    by: UserId,
    sanction: &Sanction,
) -> Result<usize> {
    let (table, by_column) = kind.table();
    let statement = format!(
        "INSERT OR REPLACE INTO {table} (room_id, user_id, {by_column}, reason, until, created_at)
         VALUES (?, ?, ?, ?, ?, ?)"
    );
    Ok(db.prepare_cached(&statement)?.execute(params![
        room,
        user,
        by.0,
        sanction.reason.as_str(),
        sanction.until.map(|until| until.0),
        Timestamp::now().0
    ])?)
}

/// Notes that a room became somebody's.
fn add(db: &Connection, user: UserId, room: RoomId) -> Result<AdditionId> {
    db.prepare_cached("INSERT INTO room_additions (at, user_id, room_id) VALUES (?, ?, ?)")?.execute([
        Timestamp::now().0,
        user.0,
        room.0,
    ])?;
    Ok(AdditionId(db.last_insert_rowid()))
}
