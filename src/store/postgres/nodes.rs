//! The nodes' rows, and the state of the database itself.

use std::time::Duration;

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::rows::{get, milliseconds, time};

/// A standby answers too, but nothing can be stored there.
pub async fn ping(pool: &Pool) -> Result<()> {
    let sql = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";
    match pool.first(sql, &[]).await? {
        Some(row) if !get::<bool>(&row, 0)? => Ok(()),
        _ => {
            pool.leave_server();
            Err(StoreError::Unavailable("the server is read-only".into()))
        }
    }
}

pub async fn durability_risks(pool: &Pool) -> Result<Vec<DurabilityRisk>> {
    let rows = pool
        .query(
            "SELECT name, setting FROM pg_settings
             WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name",
            &[],
        )
        .await?;
    rows.iter().map(|row| Ok(DurabilityRisk { setting: get(row, 0)?, value: get(row, 1)? })).collect()
}

/// Rows of nodes that died without a word go after a day.
pub async fn beat(pool: &Pool, beat: &NodeBeat, window: Duration) -> Result<Beaten> {
    let rows = pool
        .query(
            "WITH own AS (
                 INSERT INTO nodes (incarnation, name, version, broker_ok, draining, sockets)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (incarnation) DO UPDATE
                 SET broker_ok = excluded.broker_ok, draining = excluded.draining, sockets = excluded.sockets,
                     seen_at = clock_timestamp()
                 RETURNING incarnation, name, version, broker_ok, draining, sockets
             ), dead AS (
                 DELETE FROM nodes WHERE seen_at < now() - interval '1 day' AND incarnation <> $1
             )
             SELECT *, clock_timestamp() FROM own
             UNION ALL
             SELECT incarnation, name, version, broker_ok, draining, sockets, clock_timestamp() FROM nodes
             WHERE seen_at >= now() - $7 * interval '1 millisecond' AND incarnation <> $1",
            &[
                &beat.incarnation,
                &beat.name,
                &beat.version,
                &beat.broker_ok,
                &beat.draining,
                &beat.sockets.map(i64::from),
                &(milliseconds(window) as f64),
            ],
        )
        .await?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("a node wrote its row and was not told of it".into()))?;
    Ok(Beaten { at: time(row, 6)?, nodes: rows.iter().map(node).collect::<Result<_>>()? })
}

pub async fn forget(pool: &Pool, incarnation: &str) -> Result<()> {
    pool.query("DELETE FROM nodes WHERE incarnation = $1", &[&incarnation]).await?;
    Ok(())
}

/// What a node said, in the row's first columns.
pub fn node(row: &Row) -> Result<NodeBeat> {
    Ok(NodeBeat {
        incarnation: get(row, 0)?,
        name: get(row, 1)?,
        version: get(row, 2)?,
        broker_ok: get(row, 3)?,
        draining: get(row, 4)?,
        sockets: get::<Option<i64>>(row, 5)?.and_then(|sockets| u32::try_from(sockets).ok()),
    })
}
