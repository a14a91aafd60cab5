//! Login sessions and what was revoked. Ending one removes its row, and with it its spent tokens.

use std::time::Duration;

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::rows::{get, milliseconds, time};
use super::users::user;

/// Sessions of the same user that expired go on the way, so that they do not pile up. The user's row is locked, so that
/// this comes before a new password, which ends the session, or after it and is refused.
pub async fn create(pool: &Pool, new: NewLoginSession) -> Result<bool> {
    let row = pool
        .first(
            "WITH holder AS (
                 SELECT id FROM users WHERE id = $2 AND password_hash = $7 AND NOT disabled FOR SHARE
             ), expired AS (
                 DELETE FROM login_sessions
                 WHERE user_id IN (SELECT id FROM holder) AND expires_at < clock_timestamp() RETURNING id
             ), told AS (
                 INSERT INTO revocations (login_session_id) SELECT id FROM expired
             )
             INSERT INTO login_sessions (id, user_id, refresh_hash, agent, address, expires_at)
             SELECT $1, id, $3, $4, $5, clock_timestamp() + $6 * interval '1 millisecond' FROM holder
             RETURNING id",
            &[
                &new.id,
                &new.user.0,
                &new.refresh_hash,
                &new.agent,
                &new.address,
                &(milliseconds(new.lifetime) as f64),
                &new.password_hash,
            ],
        )
        .await?;
    Ok(row.is_some())
}

pub async fn list(pool: &Pool, user: UserId, limit: u32) -> Result<Vec<LoginSession>> {
    let rows = pool
        .query(
            "SELECT id, created_at, seen_at, address, agent FROM login_sessions
             WHERE user_id = $1 AND expires_at > clock_timestamp() ORDER BY seen_at DESC, id LIMIT $2",
            &[&user.0, &i64::from(limit)],
        )
        .await?;
    rows.iter().map(login_session).collect()
}

pub async fn end(pool: &Pool, user: UserId, id: &str) -> Result<bool> {
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

pub async fn rotate(pool: &Pool, rotate: &Rotate) -> Result<Rotation> {
    let row = pool
        .first(
            "SELECT outcome, successor, account, name, site_role FROM salon_rotate_refresh(
                 $1, $2, $3, $4 * interval '1 millisecond', $5 * interval '1 millisecond', $6)",
            &[
                &rotate.session,
                &rotate.spent_hash,
                &rotate.successor_hash,
                &(milliseconds(rotate.grace) as f64),
                &(milliseconds(rotate.lifetime) as f64),
                &i64::from(SPENT_TOKENS_MAX),
            ],
        )
        .await?
        .ok_or_else(|| StoreError::Internal("a rotation gave no outcome".into()))?;
    match get::<i32>(&row, 0)? {
        0 => Ok(Rotation::Unknown),
        1 => Ok(Rotation::Renewed { user: user(&row, 2)? }),
        2 => Ok(Rotation::Repeated { user: user(&row, 2)?, successor_hash: get(&row, 1)? }),
        3 => Ok(Rotation::Ended { user: UserId(get(&row, 2)?) }),
        other => Err(StoreError::Internal(format!("a rotation ended as {other}"))),
    }
}

pub async fn live(pool: &Pool, ids: &[String]) -> Result<Vec<String>> {
    let rows = pool
        .query("SELECT id FROM login_sessions WHERE id = ANY ($1) AND expires_at > clock_timestamp()", &[&ids])
        .await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

pub async fn recent_revocations(
    pool: &Pool,
    window: Duration,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<Revocation>> {
    let rows = pool
        .query(
            "SELECT id, at, login_session_id, user_id FROM revocations
             WHERE at >= now() - $1 * interval '1 millisecond'
               AND ($2::bigint IS NULL OR (at, id) > (SELECT at, id FROM revocations WHERE id = $2))
             ORDER BY at, id LIMIT $3",
            &[&(milliseconds(window) as f64), &after, &i64::from(limit)],
        )
        .await?;
    rows.iter().map(revocation).collect()
}

/// Login sessions that expired, then revocations that are old; how many rows.
pub async fn purge(pool: &Pool, limit: u32) -> Result<u32> {
    let row = pool
        .first(
            "SELECT salon_purge_login_sessions($1, $2 * interval '1 millisecond')",
            &[&i64::from(limit), &(milliseconds(REVOCATION_LIFETIME) as f64)],
        )
        .await?;
    let removed: i64 = row.map_or(Ok(0), |row| get(&row, 0))?;
    Ok(u32::try_from(removed).unwrap_or(limit).min(limit))
}

fn login_session(row: &Row) -> Result<LoginSession> {
    Ok(LoginSession {
        id: get(row, 0)?,
        created_at: time(row, 1)?,
        seen_at: time(row, 2)?,
        address: get(row, 3)?,
        agent: get(row, 4)?,
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
