//! Who has read how far, and what they have not.

use std::time::Duration;

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::room_info::unread_columns;
use super::rows::{get, milliseconds, signed, unsigned};

/// Members are locked in one order first, so that two nodes that move the same marks do not wait for each other.
pub async fn move_marks(pool: &Pool, marks: &[Mark]) -> Result<Vec<Mark>> {
    let users: Vec<i64> = marks.iter().map(|mark| mark.user.0).collect();
    let rooms: Vec<i64> = marks.iter().map(|mark| mark.room.0).collect();
    let seqs: Vec<i64> = marks.iter().map(|mark| signed(mark.seq)).collect();
    let rows = pool
        .query(
            "WITH forward AS MATERIALIZED (
                 SELECT m.room_id, m.user_id, least(k.seq, c.seq) AS seq
                 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS k (user_id, room_id, seq)
                 JOIN members m ON m.room_id = k.room_id AND m.user_id = k.user_id
                 JOIN room_clocks c ON c.room_id = k.room_id AND NOT c.deleted
                 WHERE m.last_read < least(k.seq, c.seq)
                 ORDER BY m.room_id, m.user_id FOR NO KEY UPDATE OF m
             )
             UPDATE members m SET last_read = f.seq FROM forward f
             WHERE m.room_id = f.room_id AND m.user_id = f.user_id
             RETURNING m.user_id, m.room_id, m.last_read",
            &[&users, &rooms, &seqs],
        )
        .await?;
    let mark =
        |row: &Row| Ok(Mark { user: UserId(get(row, 0)?), room: RoomId(get(row, 1)?), seq: unsigned(get(row, 2)?) });
    rows.iter().map(mark).collect()
}

pub async fn memberships(pool: &Pool, users: &[UserId], limit: u32, window: Duration) -> Result<Vec<Membership>> {
    let users: Vec<i64> = users.iter().map(|user| user.0).collect();
    let rows = pool
        .query(
            "SELECT k.user_id, m.room_id, c.seq, c.stamped_at > clock_timestamp() - $3 * interval '1 millisecond'
             FROM unnest($1::bigint[]) AS k (user_id)
             CROSS JOIN LATERAL (
                 SELECT m.room_id FROM members m WHERE m.user_id = k.user_id ORDER BY m.room_id LIMIT $2
             ) m
             JOIN room_clocks c ON c.room_id = m.room_id AND NOT c.deleted",
            &[&users, &i64::from(limit), &(milliseconds(window) as f64)],
        )
        .await?;
    let membership = |row: &Row| {
        Ok(Membership {
            user: UserId(get(row, 0)?),
            room: RoomId(get(row, 1)?),
            head: unsigned(get(row, 2)?),
            stirred: get(row, 3)?,
        })
    };
    rows.iter().map(membership).collect()
}

pub async fn unread(pool: &Pool, pairs: &[(UserId, RoomId)]) -> Result<Vec<Unread>> {
    let (users, rooms): (Vec<i64>, Vec<i64>) = pairs.iter().map(|(user, room)| (user.0, room.0)).unzip();
    let rows = pool
        .query(
            concat!(
                "SELECT p.user_id, r.id, r.slug, m.last_read, ",
                unread_columns!("p.user_id"),
                " FROM unnest($1::bigint[], $2::bigint[]) AS p (user_id, room_id)
                 JOIN members m ON m.room_id = p.room_id AND m.user_id = p.user_id
                 JOIN rooms r ON r.id = p.room_id AND r.deleted_at IS NULL
                 WHERE NOT EXISTS (
                     SELECT FROM bans b WHERE b.room_id = p.room_id AND b.user_id = p.user_id
                         AND (b.until IS NULL OR b.until > clock_timestamp()))"
            ),
            &[&users, &rooms],
        )
        .await?;
    let unread = |row: &Row| {
        Ok(Unread {
            user: UserId(get(row, 0)?),
            room: RoomId(get(row, 1)?),
            slug: Slug::from_stored(get(row, 2)?),
            last_read: unsigned(get(row, 3)?),
            unread: u32::try_from(get::<i64>(row, 4)?).unwrap_or(u32::MAX),
            mentions: u32::try_from(get::<i64>(row, 5)?).unwrap_or(u32::MAX),
        })
    };
    rows.iter().map(unread).collect()
}
