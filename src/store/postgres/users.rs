//! Users, login sessions and what was revoked.

use std::time::Duration;

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::rows::{get, milliseconds, time};

pub async fn create(pool: &Pool, new: NewUser) -> Result<User> {
    let (hash, issuer, subject) = match &new.credential {
        Credential::Password { hash } => (Some(hash), None, None),
        Credential::Issuer { issuer, subject } => (None, Some(issuer), Some(subject)),
    };
    let row = pool
        .first(
            "INSERT INTO users (username, username_key, password_hash, issuer, subject, role)
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
            &[&new.username.as_str(), &new.username.key(), &hash, &issuer, &subject, &new.role.as_str()],
        )
        .await?
        .ok_or_else(|| StoreError::Internal("an insert gave no row".into()))?;
    Ok(User { id: UserId(get(&row, 0)?), username: new.username, role: new.role })
}

pub async fn by_name(pool: &Pool, username: &Username) -> Result<Option<Account>> {
    let row = pool
        .first(
            "SELECT id, username, role, password_hash, disabled FROM users WHERE username_key = $1",
            &[&username.key()],
        )
        .await?;
    row.as_ref().map(account).transpose()
}

pub async fn by_id(pool: &Pool, user: UserId) -> Result<Option<Account>> {
    let row =
        pool.first("SELECT id, username, role, password_hash, disabled FROM users WHERE id = $1", &[&user.0]).await?;
    row.as_ref().map(account).transpose()
}

pub async fn by_issuer(pool: &Pool, issuer: &str, subject: &str) -> Result<Option<Account>> {
    let row = pool
        .first(
            "SELECT id, username, role, password_hash, disabled FROM users WHERE issuer = $1 AND subject = $2",
            &[&issuer, &subject],
        )
        .await?;
    row.as_ref().map(account).transpose()
}

pub async fn set_password(pool: &Pool, user: UserId, hash: &str) -> Result<bool> {
    let row = pool.first("UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING true", &[&user.0, &hash]).await?;
    Ok(row.is_some())
}

pub async fn set_disabled(pool: &Pool, user: UserId, disabled: bool) -> Result<bool> {
    let row = pool
        .first(
            "WITH changed AS (
                 UPDATE users SET disabled = $2 WHERE id = $1 RETURNING id
             ), ended AS (
                 DELETE FROM login_sessions WHERE $2 AND user_id IN (SELECT id FROM changed)
             ), told AS (
                 INSERT INTO revocations (user_id) SELECT id FROM changed WHERE $2
             )
             SELECT id FROM changed",
            &[&user.0, &disabled],
        )
        .await?;
    Ok(row.is_some())
}

/// Sessions of the same user that expired go on the way, so that they do not pile up.
pub async fn create_login_session(pool: &Pool, new: NewLoginSession) -> Result<()> {
    pool.query(
        "WITH expired AS (
             DELETE FROM login_sessions WHERE user_id = $2 AND expires_at < clock_timestamp()
         )
         INSERT INTO login_sessions (id, user_id, refresh_hash, agent, address, expires_at)
         VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 millisecond')",
        &[&new.id, &new.user.0, &new.refresh_hash, &new.agent, &new.address, &(milliseconds(new.lifetime) as f64)],
    )
    .await?;
    Ok(())
}

pub async fn end_login_session(pool: &Pool, user: UserId, id: &str) -> Result<bool> {
    let row = pool
        .first(
            "WITH ended AS (
                 DELETE FROM login_sessions WHERE id = $1 AND user_id = $2 RETURNING id
             ), told AS (
                 INSERT INTO revocations (login_session_id) SELECT id FROM ended
             )
             SELECT id FROM ended",
            &[&id, &user.0],
        )
        .await?;
    Ok(row.is_some())
}

/// A login that raced with disabling its user may have left a session behind: it does not live either.
pub async fn live_login_sessions(pool: &Pool, ids: &[String]) -> Result<Vec<String>> {
    let rows = pool
        .query(
            "SELECT s.id FROM login_sessions s JOIN users u ON u.id = s.user_id
             WHERE s.id = ANY ($1) AND s.expires_at > clock_timestamp() AND NOT u.disabled",
            &[&ids],
        )
        .await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

pub async fn recent_revocations(pool: &Pool, window: Duration) -> Result<Vec<Revocation>> {
    let rows = pool
        .query(
            "SELECT id, at, login_session_id, user_id FROM revocations
             WHERE at >= now() - $1 * interval '1 millisecond' ORDER BY at, id",
            &[&(milliseconds(window) as f64)],
        )
        .await?;
    rows.iter().map(revocation).collect()
}

fn account(row: &Row) -> Result<Account> {
    let role: &str = get(row, 2)?;
    Ok(Account {
        user: User {
            id: UserId(get(row, 0)?),
            username: Username::from_stored(get(row, 1)?),
            role: SiteRole::from_word(role).ok_or_else(|| StoreError::Internal(format!("users.role holds {role}")))?,
        },
        password_hash: get(row, 3)?,
        disabled: get(row, 4)?,
    })
}

fn revocation(row: &Row) -> Result<Revocation> {
    let what = match (get::<Option<String>>(row, 2)?, get::<Option<i64>>(row, 3)?) {
        (Some(session), _) => Revoked::LoginSession(session),
        (None, Some(user)) => Revoked::User(UserId(user)),
        (None, None) => return Err(StoreError::Internal("a revocation of nothing".into())),
    };
    Ok(Revocation { id: get(row, 0)?, at: time(row, 1)?, what })
}
