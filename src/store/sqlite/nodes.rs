//! The nodes' rows (there is one), and the state of the file itself.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::super::*;
use super::rows::{DAY, ago};

/// Asked on the writing thread's own connection, since both settings belong to a connection.
pub fn durability_risks(db: &Connection) -> Result<Vec<DurabilityRisk>> {
    let mut risks = Vec::new();
    let journal: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if matches!(journal.as_str(), "memory" | "off") {
        risks.push(DurabilityRisk { setting: "journal_mode".into(), value: journal });
    }
    let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if synchronous < 2 {
        risks.push(DurabilityRisk { setting: "synchronous".into(), value: synchronous.to_string() });
    }
    Ok(risks)
}

/// Rows of processes that died without a word go after a day.
pub fn beat(db: &Connection, beat: &NodeBeat, window: Duration) -> Result<Beaten> {
    let now = Timestamp::now();
    db.prepare_cached(
        "INSERT INTO nodes (incarnation, name, version, broker_ok, draining, sockets, started_at, seen_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
         ON CONFLICT (incarnation) DO UPDATE
         SET broker_ok = excluded.broker_ok, draining = excluded.draining, sockets = excluded.sockets,
             seen_at = excluded.seen_at",
    )?
    .execute(params![
        beat.incarnation,
        beat.name,
        beat.version,
        beat.broker_ok,
        beat.draining,
        beat.sockets,
        now.0
    ])?;
    db.prepare_cached("DELETE FROM nodes WHERE seen_at < ?")?.execute([ago(DAY)])?;
    let mut statement = db.prepare_cached(
        "SELECT incarnation, name, version, broker_ok, draining, sockets FROM nodes
         WHERE seen_at >= ? OR incarnation = ?",
    )?;
    let rows = statement.query_map(params![ago(window), beat.incarnation], node)?;
    Ok(Beaten { at: now, nodes: rows.collect::<rusqlite::Result<_>>()? })
}

pub fn forget(db: &Connection, incarnation: &str) -> Result<()> {
    db.prepare_cached("DELETE FROM nodes WHERE incarnation = ?")?.execute([incarnation])?;
    Ok(())
}

/// What a node said, in the row's first columns.
pub fn node(row: &Row<'_>) -> rusqlite::Result<NodeBeat> {
    Ok(NodeBeat {
        incarnation: row.get(0)?,
        name: row.get(1)?,
        version: row.get(2)?,
        broker_ok: row.get(3)?,
        draining: row.get(4)?,
        sockets: row.get(5)?,
    })
}
