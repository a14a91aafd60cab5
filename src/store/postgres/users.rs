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
            &[&new.username.as_str(), &new.username.lookalike(), &hash, &issuer, &subject, &new.role.as_str()],
        )
        .await?
        .ok_or_else(|| StoreError::Internal("an insert gave no row".into()))?;
    Ok(User { id: UserId(get(&row, 0)?), username: new.username, role: new.role })
}

/// `username_key` holds what names look like; one that only looks like another is not found by it.
pub async fn by_name(pool: &Pool, username: &Username) -> Result<Option<Account>> {
    let row = pool
        .first(
            "SELECT id, username, role, password_hash, disabled FROM users WHERE username_key = $1",
            &[&username.lookalike()],
        )
        .await?;
    let found = row.as_ref().map(account).transpose()?;
    Ok(found.filter(|account| account.user.username.key() == username.key()))
}

pub async fn by_id(pool: &Pool, user: UserId) -> Result<Option<Account>> {
    let row =
        pool.first("SELECT id, username, role, password_hash, disabled FROM users WHERE id = $1", &[&user.0]).await?;
    row.as_ref().map(account).transpose()
}

pub async fn by_issuers(pool: &Pool, names: &[(String, String)]) -> Result<Vec<Option<Account>>> {
    let (issuers, subjects): (Vec<&str>, Vec<&str>) =
        names.iter().map(|(issuer, subject)| (issuer.as_str(), subject.as_str())).unzip();
    let rows = pool
        .query(
            "SELECT u.id, u.username, u.role, u.password_hash, u.disabled, n.place
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS n (issuer, subject, place)
             CROSS JOIN LATERAL (
                 SELECT * FROM users u WHERE u.issuer = n.issuer AND u.subject = n.subject OFFSET 0
             ) u",
            &[&issuers, &subjects],
        )
        .await?;
    let mut found = vec![None; names.len()];
    for row in &rows {
        let place: i64 = get(row, 5)?;
        found[usize::try_from(place - 1).unwrap_or_default()] = Some(account(row)?);
    }
    Ok(found)
}

pub async fn set_password(pool: &Pool, user: UserId, hash: &str, keep: Option<&str>) -> Result<Option<Vec<String>>> {
    let row = pool.first("SELECT salon_set_password($1, $2, $3)", &[&user.0, &hash, &keep]).await?;
    row.map_or(Ok(None), |row| get(&row, 0))
}

pub async fn renew_password_hash(pool: &Pool, user: UserId, old: &str, new: &str) -> Result<bool> {
    let statement = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING id";
    Ok(pool.first(statement, &[&user.0, &old, &new]).await?.is_some())
}

pub async fn set_disabled(pool: &Pool, user: UserId, disabled: bool) -> Result<bool> {
    let row = pool.first("SELECT salon_set_disabled($1, $2)", &[&user.0, &disabled]).await?;
    row.map_or(Ok(false), |row| get(&row, 0))
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
