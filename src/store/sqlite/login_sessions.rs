//! Login sessions and what was revoked. Ending one removes its row, and with it its spent tokens.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::super::*;
use super::rows::ago;
use super::users::user;

/// Sessions of the same user that expired go on the way, so that they do not pile up.
pub fn create(db: &Connection, new: &NewLoginSession) -> Result<bool> {
    let now = Timestamp::now();
    let allowed = db
        .prepare_cached("SELECT 1 FROM users WHERE id = ? AND password_hash = ? AND NOT disabled")?
        .exists(params![new.user.0, new.password_hash])?;
    if !allowed {
        return Ok(false);
    }
    end_all(db, "DELETE FROM login_sessions WHERE user_id = ? AND expires_at < ? RETURNING id", [new.user.0, now.0])?;
    db.prepare_cached(
        "INSERT INTO login_sessions (id, user_id, refresh_hash, agent, address, created_at, seen_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
    )?
    .execute(params![
        new.id,
        new.user.0,
        new.refresh_hash,
        new.agent,
        new.address,
        now.0,
        now.plus(new.lifetime).0
    ])?;
    Ok(true)
}

pub fn list(db: &Connection, user: UserId, limit: u32) -> Result<Vec<LoginSession>> {
    let mut statement = db.prepare_cached(
        "SELECT id, created_at, seen_at, address, agent FROM login_sessions
         WHERE user_id = ? AND expires_at > ? ORDER BY seen_at DESC, id LIMIT ?",
    )?;
    let rows = statement.query_map(params![user.0, Timestamp::now().0, limit], |row| {
        Ok(LoginSession {
            id: row.get(0)?,
            created_at: Timestamp(row.get(1)?),
            seen_at: Timestamp(row.get(2)?),
            address: row.get(3)?,
            agent: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn end(db: &Connection, user: UserId, id: &str) -> Result<bool> {
    let ended =
        db.prepare_cached("DELETE FROM login_sessions WHERE id = ? AND user_id = ?")?.execute(params![id, user.0])?;
    if ended > 0 {
        revoke(db, id)?;
    }
    Ok(ended > 0)
}

pub fn rotate(db: &Connection, rotate: &Rotate) -> Result<Rotation> {
    let now = Timestamp::now();
    let found = db
        .prepare_cached(
            "SELECT u.id, u.username, u.role, s.refresh_hash FROM login_sessions s JOIN users u ON u.id = s.user_id
             WHERE s.id = ? AND s.expires_at > ? AND NOT u.disabled",
        )?
        .query_row(params![rotate.session, now.0], |row| Ok((user(row)?, row.get::<_, Vec<u8>>(3)?)))
        .optional()?;
    let Some((user, current_hash)) = found else { return Ok(Rotation::Unknown) };
    if current_hash == rotate.spent_hash {
        spend(db, rotate, now)?;
        return Ok(Rotation::Renewed { user });
    }
    let successor_hash = db
        .prepare_cached(
            "SELECT successor_hash FROM spent_refresh_tokens WHERE login_session_id = ? AND hash = ? AND spent_at > ?",
        )?
        .query_row(params![rotate.session, rotate.spent_hash, ago(rotate.grace)], |row| row.get(0))
        .optional()?;
    if let Some(successor_hash) = successor_hash {
        db.prepare_cached("UPDATE login_sessions SET seen_at = ? WHERE id = ?")?
            .execute(params![now.0, rotate.session])?;
        return Ok(Rotation::Repeated { user, successor_hash });
    }
    end(db, user.id, &rotate.session)?;
    Ok(Rotation::Ended { user: user.id })
}

pub fn live(db: &Connection, ids: Vec<String>) -> Result<Vec<String>> {
    let now = Timestamp::now().0;
    let mut statement = db.prepare_cached("SELECT 1 FROM login_sessions WHERE id = ? AND expires_at > ?")?;
    let mut live = Vec::new();
    for id in ids {
        if statement.exists(params![id, now])? {
            live.push(id);
        }
    }
    Ok(live)
}

pub fn recent_revocations(
    db: &Connection,
    window: Duration,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<Revocation>> {
    let mut statement = db.prepare_cached(
        "SELECT id, at, login_session_id, user_id FROM revocations
         WHERE at >= ?1 AND (?2 IS NULL OR (at, id) > (SELECT at, id FROM revocations WHERE id = ?2))
         ORDER BY at, id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![ago(window), after, limit], |row| {
        let what = match row.get::<_, Option<String>>(2)? {
            Some(session) => Revoked::LoginSession(session),
            None => Revoked::User(UserId(row.get(3)?)),
        };
        Ok(Revocation { id: row.get(0)?, at: Timestamp(row.get(1)?), what })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Login sessions that expired, then revocations that are old; how many rows.
pub fn purge(db: &Connection, limit: u32) -> Result<u32> {
    let expired = end_all(
        db,
        "DELETE FROM login_sessions
         WHERE id IN (SELECT id FROM login_sessions WHERE expires_at < ? ORDER BY expires_at LIMIT ?) RETURNING id",
        [Timestamp::now().0, i64::from(limit)],
    )?;
    let old = db
        .prepare_cached(
            "DELETE FROM revocations WHERE id IN (SELECT id FROM revocations WHERE at < ? ORDER BY at LIMIT ?)",
        )?
        .execute([ago(REVOCATION_LIFETIME), i64::from(limit) - expired.len() as i64])?;
    Ok((expired.len() + old) as u32)
}

/// Runs a deletion that returns ids, and tells of each; those ids.
pub fn end_all(db: &Connection, deletion: &str, params: impl Params) -> Result<Vec<String>> {
    let ended: Vec<String> =
        db.prepare_cached(deletion)?.query_map(params, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for id in &ended {
        revoke(db, id)?;
    }
    Ok(ended)
}

/// The successor takes the token's place. Those spent too long ago to get theirs again are forgotten: of a token that
/// names the login session and is not known to it, nothing more need be known.
fn spend(db: &Connection, rotate: &Rotate, now: Timestamp) -> Result<()> {
    db.prepare_cached(
        "DELETE FROM spent_refresh_tokens WHERE login_session_id = ?1 AND (spent_at <= ?2 OR hash NOT IN (
             SELECT hash FROM spent_refresh_tokens WHERE login_session_id = ?1 ORDER BY spent_at DESC LIMIT ?3))",
    )?
    .execute(params![rotate.session, ago(rotate.grace), SPENT_TOKENS_MAX - 1])?;
    db.prepare_cached(
        "INSERT INTO spent_refresh_tokens (login_session_id, hash, successor_hash, spent_at) VALUES (?, ?, ?, ?)",
    )?
    .execute(params![rotate.session, rotate.spent_hash, rotate.successor_hash, now.0])?;
    db.prepare_cached("UPDATE login_sessions SET refresh_hash = ?, seen_at = ?, expires_at = ? WHERE id = ?")?
        .execute(params![rotate.successor_hash, now.0, now.plus(rotate.lifetime).0, rotate.session])?;
    Ok(())
}

fn revoke(db: &Connection, id: &str) -> Result<()> {
    db.prepare_cached("INSERT INTO revocations (at, login_session_id) VALUES (?, ?)")?
        .execute(params![Timestamp::now().0, id])?;
    Ok(())
}
