//! Removing messages by age.

use super::super::*;
use super::pool::Pool;
use super::rows::{days, get, unsigned};

/// The oldest message is looked for behind what was removed: what autovacuum has not cleared away yet is not gone
/// through again.
pub async fn outdated(pool: &Pool, kept: Option<u32>, limit: u32, cursor: Option<&str>) -> Result<Page<RoomId>> {
    let after: i64 = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let rows = pool
        .query(
            "SELECT r.id, coalesce(o.created_at < clock_timestamp() - r.days * interval '1 day', false)
             FROM (
                 SELECT id, least(retention_days, $1) AS days FROM rooms
                 WHERE id > $2 AND deleted_at IS NULL AND least(retention_days, $1) IS NOT NULL ORDER BY id LIMIT $3
             ) r
             JOIN room_clocks c ON c.room_id = r.id
             LEFT JOIN LATERAL (
                 SELECT m.created_at FROM messages m WHERE m.room_id = r.id AND m.id > c.purged ORDER BY m.id LIMIT 1
             ) o ON true
             ORDER BY r.id",
            &[&kept.map(days), &after, &i64::from(limit)],
        )
        .await?;
    let looked: Vec<(i64, bool)> =
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<Vec<_>>>()?;
    Ok(Page::among(&looked, limit))
}

pub async fn purge(pool: &Pool, room: RoomId, kept: Option<u32>, limit: u32) -> Result<u64> {
    let parameters: &[super::pool::Param<'_>] = &[&room.0, &kept.map(days), &i64::from(limit)];
    let row = pool.first("SELECT salon_purge_outdated($1, $2, $3)", parameters).await?;
    row.map_or(Ok(0), |row| get(&row, 0).map(unsigned))
}
