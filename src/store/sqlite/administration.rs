//! What administrators of the site see and change.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::*;
use super::nodes::node;
use super::room_info::resolve;
use super::rows::{ago, word};
use super::users::set_disabled;

pub fn users(db: &Connection, part: &NamePart, limit: u32, below: i64) -> Result<Page<ListedUser>> {
    let names = "SELECT id, username FROM users WHERE id < ? ORDER BY id DESC LIMIT ?";
    let found = scan(db, names, limit, below, |row| Ok(part.is_in(row.get_ref(1)?.as_str()?)))?;
    let items = found.items.into_iter().filter_map(|id| user(db, UserId(id)).transpose()).collect::<Result<_>>()?;
    Ok(Page { items, next: found.next })
}

pub fn user(db: &Connection, user: UserId) -> Result<Option<ListedUser>> {
    Ok(db
        .prepare_cached(
            "SELECT u.id, u.username, u.role, u.disabled, u.created_at,
                 (SELECT max(s.seen_at) FROM login_sessions s WHERE s.user_id = u.id), u.issuer
             FROM users u WHERE u.id = ?",
        )?
        .query_row([user.0], listed_user)
        .optional()?)
}

pub fn administer(db: &Connection, by: UserId, user: UserId, changes: AccountChanges) -> Result<Administered> {
    let standing = |user: UserId| -> Result<Option<(SiteRole, bool)>> {
        Ok(db
            .prepare_cached("SELECT role, disabled FROM users WHERE id = ?")?
            .query_row([user.0], |row| Ok((word(row, 0, SiteRole::from_word)?, row.get(1)?)))
            .optional()?)
    };
    if standing(by)? != Some((SiteRole::Admin, false)) {
        return Ok(Administered::NotAllowed);
    }
    let Some((role, disabled)) = standing(user)? else { return Ok(Administered::NoUser) };
    let wanted = (changes.role.unwrap_or(role), changes.disabled.unwrap_or(disabled));
    if wanted == (role, disabled) {
        return Ok(Administered::Unchanged);
    }
    // They are enabled and an administrator, so that any change is the loss of one or the other.
    if by == user {
        return Ok(Administered::Oneself);
    }
    db.prepare_cached("UPDATE users SET role = ? WHERE id = ?")?.execute(params![wanted.0.as_str(), user.0])?;
    if wanted.1 != disabled {
        set_disabled(db, user, wanted.1)?;
    }
    Ok(Administered::Done)
}

/// Rows of deleted rooms count as gone through: there may be many of them in a row.
pub fn rooms(db: &Connection, part: &NamePart, limit: u32, below: i64) -> Result<Page<ListedRoom>> {
    let names = "SELECT id, name, slug, deleted_at IS NULL FROM rooms WHERE id < ? ORDER BY id DESC LIMIT ?";
    let found = scan(db, names, limit, below, |row| {
        let named = part.is_in(row.get_ref(1)?.as_str()?) || part.is_in(row.get_ref(2)?.as_str()?);
        Ok(named && row.get(3)?)
    })?;
    let items = found.items.into_iter().filter_map(|id| room(db, id).transpose()).collect::<Result<_>>()?;
    Ok(Page { items, next: found.next })
}

pub fn locate(db: &Connection, room: &RoomRef) -> Result<Option<(RoomId, Slug, RoomKind)>> {
    let Some(id) = resolve(db, room)? else { return Ok(None) };
    Ok(db
        .prepare_cached("SELECT slug, kind FROM rooms WHERE id = ? AND deleted_at IS NULL")?
        .query_row([id.0], |row| Ok((id, Slug::from_stored(row.get(0)?), word(row, 1, RoomKind::from_word)?)))
        .optional()?)
}

pub fn nodes(db: &Connection, window: Duration) -> Result<Vec<ListedNode>> {
    let now = Timestamp::now();
    let mut statement = db.prepare_cached(
        "SELECT incarnation, name, version, broker_ok, draining, sockets, started_at, seen_at FROM nodes
         WHERE seen_at >= ? ORDER BY name, started_at, incarnation",
    )?;
    let rows = statement.query_map([ago(window)], |row| {
        let seen_at = Timestamp(row.get(7)?);
        Ok(ListedNode {
            beat: node(row)?,
            started_at: Timestamp(row.get(6)?),
            seen_at,
            silent_ms: u64::try_from(now.0 - seen_at.0).unwrap_or(0),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The ids of one page, newest first. Names are compared here: SQLite itself knows the lower case of ASCII only.
fn scan(
    db: &Connection,
    names: &str,
    limit: u32,
    below: i64,
    is_wanted: impl Fn(&Row<'_>) -> rusqlite::Result<bool>,
) -> Result<Page<i64>> {
    let mut statement = db.prepare_cached(names)?;
    let mut rows = statement.query(params![below, SCANNED_MAX])?;
    let (mut ids, mut scanned, mut last) = (Vec::new(), 0, below);
    while ids.len() <= limit as usize
        && let Some(row) = rows.next()?
    {
        (scanned, last) = (scanned + 1, row.get(0)?);
        if is_wanted(row)? {
            ids.push(last);
        }
    }
    let mut page = Page::cut(ids, limit, i64::to_string);
    if page.next.is_none() && scanned >= SCANNED_MAX {
        page.next = Some(last.to_string());
    }
    Ok(page)
}

fn room(db: &Connection, room: i64) -> Result<Option<ListedRoom>> {
    let found = db
        .prepare_cached(
            "SELECT r.id, r.slug, r.name, r.topic, r.kind, c.seq, r.created_at, nullif(c.stamped_at, 0),
                 (SELECT count(*) FROM (SELECT 1 FROM members m WHERE m.room_id = r.id LIMIT ?2))
             FROM rooms r JOIN room_clocks c ON c.room_id = r.id WHERE r.id = ?1",
        )?
        .query_row(params![room, MEMBERS_COUNTED_MAX], listed_room)
        .optional()?;
    let Some(mut found) = found else { return Ok(None) };
    if found.kind == RoomKind::Direct {
        let mut statement = db.prepare_cached(
            "SELECT u.username FROM members m JOIN users u ON u.id = m.user_id WHERE m.room_id = ? ORDER BY u.id",
        )?;
        let names = statement.query_map([room], |row| row.get(0).map(Username::from_stored))?;
        found.between = names.collect::<rusqlite::Result<_>>()?;
    }
    Ok(Some(found))
}

fn listed_user(row: &Row<'_>) -> rusqlite::Result<ListedUser> {
    Ok(ListedUser {
        id: UserId(row.get(0)?),
        username: Username::from_stored(row.get(1)?),
        role: word(row, 2, SiteRole::from_word)?,
        disabled: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
        seen_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        issuer: row.get(6)?,
    })
}

fn listed_room(row: &Row<'_>) -> rusqlite::Result<ListedRoom> {
    Ok(ListedRoom {
        id: RoomId(row.get(0)?),
        slug: Slug::from_stored(row.get(1)?),
        name: RoomName::from_stored(row.get(2)?),
        topic: Topic::from_stored(row.get(3)?),
        kind: word(row, 4, RoomKind::from_word)?,
        seq: row.get(5)?,
        created_at: Timestamp(row.get(6)?),
        changed_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        members: row.get(8)?,
        between: Vec::new(),
    })
}
