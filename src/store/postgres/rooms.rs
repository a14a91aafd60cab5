//! Rooms, their members and what users may do in them.

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::rows::{days, get, head, head_columns, role, site_role, time, unsigned};

pub async fn create(pool: &Pool, new: NewRoom) -> Result<RoomInfo> {
    let epoch = Epoch::random();
    let row = pool
        .first(
            "WITH room AS (
                 INSERT INTO rooms (slug, name, topic, kind) VALUES ($1, $2, $3, $4) RETURNING id
             ), clock AS (
                 INSERT INTO room_clocks (room_id, public, epoch) SELECT id, $4 = 'public', $5 FROM room
             ), owner AS (
                 INSERT INTO members (room_id, user_id, role, last_read) SELECT id, $6, 'owner', 0 FROM room
             )
             SELECT id FROM room",
            &[&new.slug.as_str(), &new.name.as_str(), &new.topic.as_str(), &new.kind.as_str(), &epoch.0, &new.owner.0],
        )
        .await?
        .ok_or_else(|| StoreError::Internal("an insert gave no row".into()))?;
    Ok(RoomInfo {
        id: RoomId(get(&row, 0)?),
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

pub async fn update(pool: &Pool, room: RoomId, changes: RoomChanges) -> Result<Option<()>> {
    let name = changes.name.as_ref().map(RoomName::as_str);
    let topic = changes.topic.as_ref().map(Topic::as_str);
    let days = changes.retention_days.map(days);
    let row = pool.first("SELECT salon_update_room_7($1, $2, $3, $4)", &[&room.0, &name, &topic, &days]).await?;
    let done = row.map_or(Ok(false), |row| get(&row, 0))?;
    Ok(done.then_some(()))
}

pub async fn delete(pool: &Pool, room: RoomId) -> Result<bool> {
    let row = pool.first("SELECT salon_delete_room($1)", &[&room.0]).await?;
    row.map_or(Ok(false), |row| get(&row, 0))
}

pub async fn purge(pool: &Pool, limit: u32) -> Result<u64> {
    let row = pool.first("SELECT salon_purge($1)", &[&i64::from(limit)]).await?;
    row.map_or(Ok(0), |row| get(&row, 0).map(unsigned))
}

/// By user id, which the cursor is.
pub async fn members(pool: &Pool, room: RoomId, limit: u32, cursor: Option<&str>) -> Result<Page<Member>> {
    let after: i64 = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let rows = pool
        .query(
            "SELECT u.username, m.user_id, m.role, m.since
             FROM (
                 SELECT * FROM members WHERE room_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3
             ) m
             JOIN users u ON u.id = m.user_id
             ORDER BY m.user_id",
            &[&room.0, &after, &(i64::from(limit) + 1)],
        )
        .await?;
    let items = rows.iter().map(member).collect::<Result<Vec<_>>>()?;
    Ok(Page::cut(items, limit, |member| member.user.0.to_string()))
}

/// One look-up of an index for each pair and table, whatever the planner believes (`LATERAL … OFFSET 0`).
pub async fn access(pool: &Pool, pairs: &[(UserId, RoomId)]) -> Result<Vec<Access>> {
    let users: Vec<i64> = pairs.iter().map(|(user, _)| user.0).collect();
    let rooms: Vec<i64> = pairs.iter().map(|(_, room)| room.0).collect();
    let rows = pool
        .query(
            "SELECT coalesce(c.access, 0), x.user_id IS NOT NULL,
                 CASE
                     WHEN c.room_id IS NULL THEN 'stranger'
                     WHEN c.deleted THEN 'deleted'
                     WHEN b.user_id IS NOT NULL THEN 'banned'
                     WHEN m.user_id IS NOT NULL THEN m.role
                     WHEN r.kind = 'public' THEN 'guest'
                     ELSE 'stranger'
                 END, u.role
             FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p (user_id, room_id, n)
             LEFT JOIN LATERAL (SELECT * FROM users u WHERE u.id = p.user_id OFFSET 0) u ON true
             LEFT JOIN LATERAL (SELECT * FROM room_clocks c WHERE c.room_id = p.room_id OFFSET 0) c ON true
             LEFT JOIN LATERAL (SELECT * FROM rooms r WHERE r.id = p.room_id OFFSET 0) r ON true
             LEFT JOIN LATERAL (
                 SELECT * FROM members m WHERE m.room_id = p.room_id AND m.user_id = p.user_id OFFSET 0
             ) m ON true
             LEFT JOIN LATERAL (
                 SELECT * FROM bans b WHERE b.room_id = p.room_id AND b.user_id = p.user_id
                     AND (b.until IS NULL OR b.until > clock_timestamp()) OFFSET 0
             ) b ON true
             LEFT JOIN LATERAL (
                 SELECT * FROM mutes x WHERE x.room_id = p.room_id AND x.user_id = p.user_id
                     AND (x.until IS NULL OR x.until > clock_timestamp()) OFFSET 0
             ) x ON true
             ORDER BY p.n",
            &[&users, &rooms],
        )
        .await?;
    rows.iter().map(standing).collect()
}

pub async fn heads(pool: &Pool, rooms: &[RoomId]) -> Result<Vec<Head>> {
    let ids: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let rows = pool
        .query(
            concat!("SELECT ", head_columns!(), " FROM room_clocks c WHERE c.room_id = ANY ($1) AND NOT c.deleted"),
            &[&ids],
        )
        .await?;
    rows.iter().map(head).collect()
}

/// Two statements: after losing a race the first one's snapshot would still show the old epoch.
pub async fn renew_epoch(pool: &Pool, room: RoomId, old: &Epoch) -> Result<Option<Epoch>> {
    let renewed = pool
        .first(
            "UPDATE room_clocks SET epoch = $3, access = access + 1
             WHERE room_id = $1 AND epoch = $2 AND NOT deleted RETURNING epoch",
            &[&room.0, &old.0, &Epoch::random().0],
        )
        .await?;
    let row = match renewed {
        Some(row) => Some(row),
        None => pool.first("SELECT epoch FROM room_clocks WHERE room_id = $1 AND NOT deleted", &[&room.0]).await?,
    };
    row.map(|row| get(&row, 0).map(Epoch)).transpose()
}

fn member(row: &Row) -> Result<Member> {
    Ok(Member {
        username: Username::from_stored(get(row, 0)?),
        user: UserId(get(row, 1)?),
        role: role(get(row, 2)?)?,
        since: time(row, 3)?,
    })
}

fn standing(row: &Row) -> Result<Access> {
    let standing = match get(row, 2)? {
        "stranger" => Standing::Stranger,
        "deleted" => Standing::RoomDeleted,
        "banned" => Standing::Banned,
        "guest" => Standing::Guest,
        word => Standing::Member(role(word)?),
    };
    let site_role = get::<Option<&str>>(row, 3)?.map(site_role).transpose()?;
    Ok(Access { version: unsigned(get(row, 0)?), standing, muted: get(row, 1)?, site_role })
}
