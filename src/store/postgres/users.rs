//! Users.

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::rows::get;

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

pub async fn set_password(
    pool: &Pool,
    user: UserId,
    hash: &str,
    keep: Option<&str>,
) -> Result<Option<Vec<String>>> {
    let row = pool
        .first(
            "WITH changed AS (
                 UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING id
             ), ended AS (
                 DELETE FROM login_sessions
                 WHERE user_id IN (SELECT id FROM changed) AND id IS DISTINCT FROM $3 RETURNING id
             ), told AS (
                 INSERT INTO revocations (login_session_id) SELECT id FROM ended
             )
             SELECT ARRAY(SELECT id FROM ended) FROM changed",
            &[&user.0, &hash, &keep],
        )
        .await?;
    row.map(|row| get(&row, 0)).transpose()
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

fn account(row: &Row) -> Result<Account> {
    Ok(Account { user: user(row, 0)?, password_hash: get(row, 3)?, disabled: get(row, 4)? })
}

/// From id, name and role, whose columns start at `at`.
pub fn user(row: &Row, at: usize) -> Result<User> {
    let role: &str = get(row, at + 2)?;
    Ok(User {
        id: UserId(get(row, at)?),
        username: Username::from_stored(get(row, at + 1)?),
        role: SiteRole::from_word(role).ok_or_else(|| StoreError::Internal(format!("users.role holds {role}")))?,
    })
}
