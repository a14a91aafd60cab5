//! Users.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::*;
use super::login_sessions::end_all;
use super::rows::word;

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
        new.username.lookalike(),
        hash,
        issuer,
        subject,
        new.role.as_str(),
        Timestamp::now().0
    ])?;
    Ok(User { id: UserId(db.last_insert_rowid()), username: new.username, role: new.role })
}

/// `username_key` holds what names look like; one that only looks like another is not found by it.
pub fn by_name(db: &Connection, username: &Username) -> Result<Option<Account>> {
    let found = db
        .prepare_cached("SELECT id, username, role, password_hash, disabled FROM users WHERE username_key = ?")?
        .query_row([username.lookalike()], account)
        .optional()?;
    Ok(found.filter(|account| account.user.username.key() == username.key()))
}

pub fn by_id(db: &Connection, user: UserId) -> Result<Option<Account>> {
    Ok(db
        .prepare_cached("SELECT id, username, role, password_hash, disabled FROM users WHERE id = ?")?
        .query_row([user.0], account)
        .optional()?)
}

pub fn by_issuer(db: &Connection, (issuer, subject): &(String, String)) -> Result<Option<Account>> {
    Ok(db
        .prepare_cached(
            "SELECT id, username, role, password_hash, disabled FROM users WHERE issuer = ? AND subject = ?",
        )?
        .query_row([issuer, subject], account)
        .optional()?)
}

pub fn set_password(db: &Connection, user: UserId, hash: &str, keep: Option<&str>) -> Result<Option<Vec<String>>> {
    let changed =
        db.prepare_cached("UPDATE users SET password_hash = ? WHERE id = ?")?.execute(params![hash, user.0])?;
    if changed == 0 {
        return Ok(None);
    }
    let others = "DELETE FROM login_sessions WHERE user_id = ? AND id IS NOT ? RETURNING id";
    end_all(db, others, params![user.0, keep]).map(Some)
}

pub fn renew_password_hash(db: &Connection, user: UserId, old: &str, new: &str) -> Result<bool> {
    let renewed = db
        .prepare_cached("UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?")?
        .execute(params![new, user.0, old])?;
    Ok(renewed > 0)
}

pub fn set_disabled(db: &Connection, user: UserId, disabled: bool) -> Result<bool> {
    let changed =
        db.prepare_cached("UPDATE users SET disabled = ? WHERE id = ?")?.execute(params![disabled, user.0])?;
    if changed > 0 && disabled {
        let now = Timestamp::now();
        // First, so that whoever reads of its login sessions knows why they ended.
        db.prepare_cached("INSERT INTO revocations (at, user_id) VALUES (?, ?)")?.execute([now.0, user.0])?;
        db.prepare_cached(
            "INSERT INTO revocations (at, login_session_id) SELECT ?, id FROM login_sessions WHERE user_id = ?",
        )?
        .execute([now.0, user.0])?;
        db.prepare_cached("DELETE FROM login_sessions WHERE user_id = ?")?.execute([user.0])?;
    }
    Ok(changed > 0)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account { user: user(row)?, password_hash: row.get(3)?, disabled: row.get(4)? })
}

/// From id, name and role in the first columns.
pub fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: UserId(row.get(0)?),
        username: Username::from_stored(row.get(1)?),
        role: word(row, 2, SiteRole::from_word)?,
    })
}
