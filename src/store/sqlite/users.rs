//! Users, login sessions and what was revoked.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::*;
use super::rows::{ago, word};

pub fn create(db: &Connection, new: NewUser) -> Result<User> {
    let (hash, issuer, subject) = match &new.credential {
        Credential::Password { hash } => (Some(hash), None, None),
        Credential::Issuer { issuer, subject } => (None, Some(issuer), Some(subject)),
    };
    db.prepare_cached(
        "INSERT INTO users (username, username_key, password_hash, issuer, subject, role, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        new.username.as_str(),
        new.username.key(),
        hash,
        issuer,
        subject,
        new.role.as_str(),
        Timestamp::now().0
    ])?;
    Ok(User { id: UserId(db.last_insert_rowid()), username: new.username, role: new.role })
}

pub fn by_key(db: &Connection, key: &str) -> Result<Option<Account>> {
    Ok(db
        .prepare_cached("SELECT id, username, role, password_hash, disabled FROM users WHERE username_key = ?")?
        .query_row([key], account)
        .optional()?)
}

pub fn by_id(db: &Connection, user: UserId) -> Result<Option<Account>> {
    Ok(db
        .prepare_cached("SELECT id, username, role, password_hash, disabled FROM users WHERE id = ?")?
        .query_row([user.0], account)
        .optional()?)
}

pub fn by_issuer(db: &Connection, issuer: &str, subject: &str) -> Result<Option<Account>> {
    Ok(db
        .prepare_cached(
            "SELECT id, username, role, password_hash, disabled FROM users WHERE issuer = ? AND subject = ?",
        )?
        .query_row([issuer, subject], account)
        .optional()?)
}

pub fn set_password(db: &Connection, user: UserId, hash: &str) -> Result<bool> {
    let changed =
        db.prepare_cached("UPDATE users SET password_hash = ? WHERE id = ?")?.execute(params![hash, user.0])?;
    Ok(changed > 0)
}

pub fn set_disabled(db: &Connection, user: UserId, disabled: bool) -> Result<bool> {
    let changed =
        db.prepare_cached("UPDATE users SET disabled = ? WHERE id = ?")?.execute(params![disabled, user.0])?;
    if changed > 0 && disabled {
        db.prepare_cached("DELETE FROM login_sessions WHERE user_id = ?")?.execute([user.0])?;
        db.prepare_cached("INSERT INTO revocations (at, user_id) VALUES (?, ?)")?
            .execute([Timestamp::now().0, user.0])?;
    }
    Ok(changed > 0)
}

/// Sessions of the same user that expired go on the way, so that they do not pile up.
pub fn create_login_session(db: &Connection, new: &NewLoginSession) -> Result<()> {
    let now = Timestamp::now();
    db.prepare_cached("DELETE FROM login_sessions WHERE user_id = ? AND expires_at < ?")?
        .execute([new.user.0, now.0])?;
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
    Ok(())
}

pub fn end_login_session(db: &Connection, user: UserId, id: &str) -> Result<bool> {
    let ended =
        db.prepare_cached("DELETE FROM login_sessions WHERE id = ? AND user_id = ?")?.execute(params![id, user.0])?;
    if ended > 0 {
        db.prepare_cached("INSERT INTO revocations (at, login_session_id) VALUES (?, ?)")?
            .execute(params![Timestamp::now().0, id])?;
    }
    Ok(ended > 0)
}

/// A login that raced with disabling its user may have left a session behind: it does not live either.
pub fn live_login_sessions(db: &Connection, ids: Vec<String>) -> Result<Vec<String>> {
    let now = Timestamp::now().0;
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM login_sessions s JOIN users u ON u.id = s.user_id
         WHERE s.id = ? AND s.expires_at > ? AND NOT u.disabled",
    )?;
    let mut live = Vec::new();
    for id in ids {
        if statement.exists(params![id, now])? {
            live.push(id);
        }
    }
    Ok(live)
}

pub fn recent_revocations(db: &Connection, window: Duration) -> Result<Vec<Revocation>> {
    let mut statement =
        db.prepare_cached("SELECT id, at, login_session_id, user_id FROM revocations WHERE at >= ? ORDER BY at, id")?;
    let rows = statement.query_map([ago(window)], |row| {
        let what = match row.get::<_, Option<String>>(2)? {
            Some(session) => Revoked::LoginSession(session),
            None => Revoked::User(UserId(row.get(3)?)),
        };
        Ok(Revocation { id: row.get(0)?, at: Timestamp(row.get(1)?), what })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        user: User {
            id: UserId(row.get(0)?),
            username: Username::from_stored(row.get(1)?),
            role: word(row, 2, SiteRole::from_word)?,
        },
        password_hash: row.get(3)?,
        disabled: row.get(4)?,
    })
}
