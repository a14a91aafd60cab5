//! Rooms as users see them: name, mark and unread count of many (user, room) pairs in one statement.

use tokio_postgres::Row;

use super::super::*;
use super::append::refusal;
use super::pool::Pool;
use super::rows::{get, role, room_kind, unsigned};

/// What a member has not read, of `rooms r` and `members m`; the argument is the user.
macro_rules! unread_columns {
    ($user:literal) => {
        concat!(
            "(SELECT count(*) FROM (
                 SELECT FROM messages x
                 WHERE x.room_id = r.id AND x.id > m.last_read AND x.author_id <> ",
            $user,
            " AND NOT x.deleted ORDER BY x.id LIMIT 100
             ) unread),
             (SELECT count(*) FROM (
                 SELECT FROM mentions x WHERE x.user_id = ",
            $user,
            " AND x.room_id = r.id AND x.id > m.last_read LIMIT 100
             ) mentions)"
        )
    };
}
pub(super) use unread_columns;

/// The columns that [`info`] reads, of `rooms r`, `room_clocks c` and the outer-joined `members m`; the argument is
/// the user. A direct room is called by the other one's name.
macro_rules! info_columns {
    ($user:literal) => {
        concat!(
            "r.id, r.slug,
             CASE WHEN r.kind = 'direct' THEN coalesce((
                 SELECT u.username FROM members o JOIN users u ON u.id = o.user_id
                 WHERE o.room_id = r.id AND o.user_id <> ",
            $user,
            " LIMIT 1), r.name) ELSE r.name END,
             r.topic, r.kind, c.epoch, c.seq, m.role, coalesce(m.last_read, 0),
",
            unread_columns!($user),
            ", c.access, r.retention_days, c.purged"
        )
    };
}

pub async fn one(pool: &Pool, user: UserId, room: &RoomRef) -> Result<Option<RoomInfo>> {
    let (id, slug) = columns(room);
    let row = pool
        .first(
            concat!(
                "SELECT ",
                info_columns!("$1"),
                " FROM rooms r
                 JOIN room_clocks c ON c.room_id = r.id
                 LEFT JOIN members m ON m.room_id = r.id AND m.user_id = $1
                 WHERE r.id = coalesce($2, (SELECT s.id FROM rooms s WHERE s.slug = $3 AND s.deleted_at IS NULL))
                     AND r.deleted_at IS NULL AND (r.kind = 'public' OR m.user_id IS NOT NULL)"
            ),
            &[&user.0, &id, &slug],
        )
        .await?;
    row.map(|row| info(&row, 0)).transpose()
}

pub async fn seen(pool: &Pool, pairs: &[(UserId, RoomId)]) -> Result<Vec<Option<RoomInfo>>> {
    let users: Vec<i64> = pairs.iter().map(|(user, _)| user.0).collect();
    let rooms: Vec<i64> = pairs.iter().map(|(_, room)| room.0).collect();
    let rows = pool
        .query(
            concat!(
                "SELECT c.room_id IS NOT NULL, ",
                info_columns!("p.user_id"),
                " FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p (user_id, room_id, n)
                 LEFT JOIN members m ON m.room_id = p.room_id AND m.user_id = p.user_id
                 LEFT JOIN rooms r ON r.id = p.room_id AND r.deleted_at IS NULL
                     AND (r.kind = 'public' OR m.user_id IS NOT NULL)
                 LEFT JOIN room_clocks c ON c.room_id = r.id
                 ORDER BY p.n"
            ),
            &[&users, &rooms],
        )
        .await?;
    rows.iter().map(|row| if get(row, 0)? { info(row, 1).map(Some) } else { Ok(None) }).collect()
}

/// The cursor is the part (`own` or `open`) and the id of the last room given.
pub async fn page(pool: &Pool, user: UserId, limit: u32, cursor: Option<&str>) -> Result<Page<RoomInfo>> {
    let (own_after, open_after) = RoomsCursor::parse(cursor).bounds();
    let rows = pool
        .query(
            concat!(
                "SELECT ",
                info_columns!("$1"),
                " FROM (
                     (SELECT 0 AS part, k.room_id AS id FROM members k JOIN rooms d ON d.id = k.room_id
                      WHERE k.user_id = $1 AND k.room_id > $2 AND d.deleted_at IS NULL
                      ORDER BY k.room_id LIMIT $4)
                     UNION ALL
                     (SELECT 1, d.id FROM rooms d
                      WHERE d.kind = 'public' AND d.deleted_at IS NULL AND d.id > $3 AND NOT EXISTS (
                          SELECT FROM members k WHERE k.room_id = d.id AND k.user_id = $1)
                      ORDER BY d.id LIMIT $4)
                     ORDER BY part, id LIMIT $4
                 ) p
                 JOIN rooms r ON r.id = p.id
                 JOIN room_clocks c ON c.room_id = r.id
                 LEFT JOIN members m ON m.room_id = r.id AND m.user_id = $1
                 ORDER BY p.part, p.id"
            ),
            &[&user.0, &own_after, &open_after, &(i64::from(limit) + 1)],
        )
        .await?;
    let rooms = rows.iter().map(|row| info(row, 0)).collect::<Result<Vec<_>>>()?;
    Ok(Page::cut(rooms, limit, RoomsCursor::after))
}

/// Looks and makes members in one statement. What it inserts it does not see, so a new member's mark is the head and
/// nothing is unread.
/// Each look-up is one of an index for each pair (`LATERAL … OFFSET 0`): left to itself the planner reads all members of
/// a large room instead.
pub async fn enter(pool: &Pool, pairs: &[(UserId, RoomRef)]) -> Result<Vec<std::result::Result<RoomInfo, Refusal>>> {
    let users: Vec<i64> = pairs.iter().map(|(user, _)| user.0).collect();
    let (ids, slugs): (Vec<_>, Vec<_>) = pairs.iter().map(|(_, room)| columns(room)).unzip();
    let rows = pool
        .query(
            concat!(
                "WITH pair AS MATERIALIZED (
                     SELECT p.n, p.user_id, r.id AS room_id,
                         CASE
                             WHEN r.id IS NULL THEN 3
                             WHEN u.disabled IS NOT FALSE THEN 4
                             WHEN m.user_id IS NULL AND r.kind <> 'public' THEN 3
                             WHEN b.user_id IS NOT NULL THEN 5
                             WHEN m.user_id IS NULL THEN 1
                             ELSE 0
                         END AS verdict
                     FROM unnest($1::bigint[], $2::bigint[], $3::text[]) WITH ORDINALITY AS p (user_id, id, slug, n)
                     LEFT JOIN LATERAL (
                         SELECT r.id, r.kind FROM rooms r
                         WHERE r.deleted_at IS NULL AND r.id = coalesce(p.id, (
                             SELECT s.id FROM rooms s WHERE s.slug = p.slug AND s.deleted_at IS NULL))
                     ) r ON true
                     LEFT JOIN LATERAL (SELECT * FROM users u WHERE u.id = p.user_id OFFSET 0) u ON true
                     LEFT JOIN LATERAL (
                         SELECT * FROM members m WHERE m.room_id = r.id AND m.user_id = p.user_id OFFSET 0
                     ) m ON true
                     LEFT JOIN LATERAL (
                         SELECT * FROM bans b WHERE b.room_id = r.id AND b.user_id = p.user_id
                             AND (b.until IS NULL OR b.until > clock_timestamp()) OFFSET 0
                     ) b ON true
                 ), entered AS (
                     INSERT INTO members (room_id, user_id, role, last_read)
                     SELECT DISTINCT p.room_id, p.user_id, 'member', c.seq
                     FROM pair p JOIN room_clocks c ON c.room_id = p.room_id
                     WHERE p.verdict = 1 ORDER BY 1, 2
                     ON CONFLICT DO NOTHING
                 )
                 SELECT p.verdict, ",
                info_columns!("p.user_id"),
                " FROM pair p
                 LEFT JOIN LATERAL (SELECT * FROM rooms r WHERE r.id = p.room_id OFFSET 0) r ON true
                 LEFT JOIN LATERAL (SELECT * FROM room_clocks c WHERE c.room_id = p.room_id OFFSET 0) c ON true
                 LEFT JOIN LATERAL (
                     SELECT * FROM members m WHERE m.room_id = p.room_id AND m.user_id = p.user_id OFFSET 0
                 ) m ON true
                 ORDER BY p.n"
            ),
            &[&users, &ids, &slugs],
        )
        .await?;
    rows.iter().map(entered).collect()
}

fn entered(row: &Row) -> Result<std::result::Result<RoomInfo, Refusal>> {
    match get::<i32>(row, 0)? {
        0 => Ok(Ok(info(row, 1)?)),
        1 => {
            let seen = info(row, 1)?;
            Ok(Ok(RoomInfo { role: Some(seen.role.unwrap_or(Role::Member)), last_read: seen.seq, ..seen }))
        }
        code => Ok(Err(refusal(code)?)),
    }
}

fn info(row: &Row, at: usize) -> Result<RoomInfo> {
    Ok(RoomInfo {
        id: RoomId(get(row, at)?),
        slug: Slug::from_stored(get(row, at + 1)?),
        name: RoomName::from_stored(get(row, at + 2)?),
        topic: Topic::from_stored(get(row, at + 3)?),
        kind: room_kind(get(row, at + 4)?)?,
        epoch: Epoch(get(row, at + 5)?),
        seq: unsigned(get(row, at + 6)?),
        role: get::<Option<&str>>(row, at + 7)?.map(role).transpose()?,
        last_read: unsigned(get(row, at + 8)?),
        unread: u32::try_from(get::<i64>(row, at + 9)?).unwrap_or(u32::MAX),
        mentions: u32::try_from(get::<i64>(row, at + 10)?).unwrap_or(u32::MAX),
        online: 0,
        retention_days: get::<Option<i32>>(row, at + 12)?.and_then(|days| u32::try_from(days).ok()),
        access: unsigned(get(row, at + 11)?),
        purged: unsigned(get(row, at + 13)?),
    })
}

fn columns(room: &RoomRef) -> (Option<i64>, Option<&str>) {
    match room {
        RoomRef::Id(id) => (Some(id.0), None),
        RoomRef::Slug(slug) => (None, Some(slug.as_str())),
    }
}
