//! What administrators of the site see and change.

use std::time::{Duration, SystemTime};

use tokio_postgres::Row;

use super::super::page::below;
use super::super::*;
use super::pool::Pool;
use super::rows::{get, milliseconds, room_kind, site_role, time, unsigned};

/// The columns that [`listed_user`] reads, of `users u`.
macro_rules! user_columns {
    () => {
        "u.id, u.username, u.role, u.disabled, u.created_at,
         (SELECT max(s.seen_at) FROM login_sessions s WHERE s.user_id = u.id), u.issuer"
    };
}

/// The rows gone through are cut off first, so that the page has a bound; what else is told of a row is looked up for
/// those on the page only.
pub async fn users(pool: &Pool, part: &NamePart, limit: u32, cursor: Option<&str>) -> Result<Page<ListedUser>> {
    let rows = pool
        .query(
            concat!(
                "SELECT ",
                user_columns!(),
                " FROM (
                     SELECT * FROM (SELECT * FROM users x WHERE x.id < $1 ORDER BY x.id DESC LIMIT $2) x
                     WHERE $3 = '' OR strpos(salon_fold(x.username), $3) > 0
                     ORDER BY x.id DESC LIMIT $4
                 ) u
                 ORDER BY u.id DESC"
            ),
            &[&below(cursor), &i64::from(SCANNED_MAX), &part.as_str(), &(i64::from(limit) + 1)],
        )
        .await?;
    let items = rows.iter().map(listed_user).collect::<Result<Vec<_>>>()?;
    let mut page = Page::cut(items, limit, |user| user.id.0.to_string());
    if page.next.is_none() {
        page.next =
            scanned_to(pool, "SELECT id FROM users WHERE id < $1 ORDER BY id DESC OFFSET $2 LIMIT 1", cursor).await?;
    }
    Ok(page)
}

pub async fn user(pool: &Pool, user: UserId) -> Result<Option<ListedUser>> {
    let row = pool.first(concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1"), &[&user.0]).await?;
    row.as_ref().map(listed_user).transpose()
}

pub async fn administer(pool: &Pool, by: UserId, user: UserId, changes: AccountChanges) -> Result<Administered> {
    let role = changes.role.map(SiteRole::as_str);
    let row = pool
        .first("SELECT salon_administer($1, $2, $3, $4)", &[&by.0, &user.0, &changes.disabled, &role])
        .await?
        .ok_or_else(|| StoreError::Internal("a change of an account gave no outcome".into()))?;
    match get::<i32>(&row, 0)? {
        0 => Ok(Administered::Done),
        1 => Ok(Administered::Unchanged),
        2 => Ok(Administered::NoUser),
        3 => Ok(Administered::NotAllowed),
        4 => Ok(Administered::Oneself),
        other => Err(StoreError::Internal(format!("a change of an account ended as {other}"))),
    }
}

/// Rows of deleted rooms count as gone through: there may be many of them in a row.
pub async fn rooms(pool: &Pool, part: &NamePart, limit: u32, cursor: Option<&str>) -> Result<Page<ListedRoom>> {
    let rows = pool
        .query(
            "SELECT r.id, r.slug, r.name, r.topic, r.kind, c.seq, r.created_at, nullif(c.stamped_at, '-infinity'),
                 (SELECT count(*) FROM (SELECT FROM members m WHERE m.room_id = r.id LIMIT $5) m),
                 CASE WHEN r.kind = 'direct' THEN ARRAY(
                     SELECT u.username FROM members m JOIN users u ON u.id = m.user_id
                     WHERE m.room_id = r.id ORDER BY u.id)
                 END
             FROM (
                 SELECT * FROM (SELECT * FROM rooms x WHERE x.id < $1 ORDER BY x.id DESC LIMIT $2) x
                 WHERE x.deleted_at IS NULL
                     AND ($3 = '' OR strpos(salon_fold(x.name), $3) > 0 OR strpos(x.slug, $3) > 0)
                 ORDER BY x.id DESC LIMIT $4
             ) r
             CROSS JOIN LATERAL (SELECT * FROM room_clocks c WHERE c.room_id = r.id OFFSET 0) c
             ORDER BY r.id DESC",
            &[
                &below(cursor),
                &i64::from(SCANNED_MAX),
                &part.as_str(),
                &(i64::from(limit) + 1),
                &i64::from(MEMBERS_COUNTED_MAX),
            ],
        )
        .await?;
    let items = rows.iter().map(listed_room).collect::<Result<Vec<_>>>()?;
    let mut page = Page::cut(items, limit, |room| room.id.0.to_string());
    if page.next.is_none() {
        page.next =
            scanned_to(pool, "SELECT id FROM rooms WHERE id < $1 ORDER BY id DESC OFFSET $2 LIMIT 1", cursor).await?;
    }
    Ok(page)
}

pub async fn locate(pool: &Pool, room: &RoomRef) -> Result<Option<(RoomId, Slug, RoomKind)>> {
    let row = match room {
        RoomRef::Id(id) => {
            pool.first("SELECT id, slug, kind FROM rooms WHERE id = $1 AND deleted_at IS NULL", &[&id.0]).await?
        }
        RoomRef::Slug(slug) => {
            let sql = "SELECT id, slug, kind FROM rooms WHERE slug = $1 AND deleted_at IS NULL";
            pool.first(sql, &[&slug.as_str()]).await?
        }
    };
    let Some(row) = row else { return Ok(None) };
    Ok(Some((RoomId(get(&row, 0)?), Slug::from_stored(get(&row, 1)?), room_kind(get(&row, 2)?)?)))
}

pub async fn nodes(pool: &Pool, window: Duration) -> Result<Vec<ListedNode>> {
    let rows = pool
        .query(
            "SELECT incarnation, name, version, broker_ok, draining, sockets, started_at, seen_at,
                 (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint
             FROM nodes WHERE seen_at >= clock_timestamp() - $1 * interval '1 millisecond'
             ORDER BY name, started_at, incarnation",
            &[&(milliseconds(window) as f64)],
        )
        .await?;
    rows.iter().map(listed_node).collect()
}

/// Where the next page begins when the rows that may be gone through for one ended before the table did.
async fn scanned_to(pool: &Pool, sql: &str, cursor: Option<&str>) -> Result<Option<String>> {
    let row = pool.first(sql, &[&below(cursor), &(i64::from(SCANNED_MAX) - 1)]).await?;
    row.map(|row| Ok(get::<i64>(&row, 0)?.to_string())).transpose()
}

fn listed_user(row: &Row) -> Result<ListedUser> {
    Ok(ListedUser {
        id: UserId(get(row, 0)?),
        username: Username::from_stored(get(row, 1)?),
        role: site_role(get(row, 2)?)?,
        disabled: get(row, 3)?,
        created_at: time(row, 4)?,
        seen_at: get::<Option<SystemTime>>(row, 5)?.map(Timestamp::from),
        issuer: get(row, 6)?,
    })
}

fn listed_room(row: &Row) -> Result<ListedRoom> {
    let between = get::<Option<Vec<String>>>(row, 9)?.unwrap_or_default();
    Ok(ListedRoom {
        id: RoomId(get(row, 0)?),
        slug: Slug::from_stored(get(row, 1)?),
        name: RoomName::from_stored(get(row, 2)?),
        topic: Topic::from_stored(get(row, 3)?),
        kind: room_kind(get(row, 4)?)?,
        seq: unsigned(get(row, 5)?),
        created_at: time(row, 6)?,
        changed_at: get::<Option<SystemTime>>(row, 7)?.map(Timestamp::from),
        members: u32::try_from(get::<i64>(row, 8)?).unwrap_or(u32::MAX),
        between: between.into_iter().map(Username::from_stored).collect(),
    })
}

fn listed_node(row: &Row) -> Result<ListedNode> {
    Ok(ListedNode {
        beat: super::nodes::node(row)?,
        started_at: time(row, 6)?,
        seen_at: time(row, 7)?,
        silent_ms: unsigned(get(row, 8)?),
    })
}
