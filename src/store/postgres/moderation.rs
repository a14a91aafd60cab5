//! Roles, removals, bans, mutes, invitations and direct rooms: functions of the database, each under the room's clock.

use std::time::SystemTime;

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::rows::{get, milliseconds, time};

pub async fn moderate(pool: &Pool, moderation: &Moderation) -> Result<Moderated> {
    let Moderation { room, user, by, seen, act } = moderation;
    let sanction = act.sanction();
    let row = pool
        .first(
            "SELECT outcome, addition FROM salon_moderate($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &room.0,
                &user.0,
                &by.0,
                &seen.map(|version| i64::try_from(version).unwrap_or(i64::MAX)),
                &act.word(),
                &act.role().map(Role::as_str),
                &sanction.map(|sanction| sanction.reason.as_str()).unwrap_or_default(),
                &sanction.and_then(|sanction| sanction.until).map(SystemTime::from),
            ],
        )
        .await?
        .ok_or_else(no_outcome)?;
    match get::<i32>(&row, 0)? {
        0 => Ok(Moderated::Done(get::<Option<i64>>(&row, 1)?.map(AdditionId))),
        1 => Ok(Moderated::Unchanged),
        2 => Ok(Moderated::NoUser),
        3 => Ok(Moderated::NoRoom),
        4 => Ok(Moderated::Overtaken),
        5 => Ok(Moderated::Banned),
        6 => Ok(Moderated::LastOwner),
        other => Err(unknown(other)),
    }
}

/// By user id, which the cursor is.
pub async fn sanctioned(
    pool: &Pool,
    kind: SanctionKind,
    room: RoomId,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Page<Sanctioned>> {
    let after: i64 = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let (table, by) = kind.table();
    let statement = format!(
        "SELECT u.username, s.user_id, s.reason, s.until, b.username, s.created_at
         FROM (
             SELECT * FROM {table} WHERE room_id = $1 AND user_id > $2 AND (until IS NULL OR until > clock_timestamp())
             ORDER BY user_id LIMIT $3
         ) s
         JOIN users u ON u.id = s.user_id
         LEFT JOIN users b ON b.id = s.{by}
         ORDER BY s.user_id"
    );
    let rows = pool.query(&statement, &[&room.0, &after, &(i64::from(limit) + 1)]).await?;
    let items = rows.iter().map(read_sanctioned).collect::<Result<Vec<_>>>()?;
    Ok(Page::cut(items, limit, |one| one.user.0.to_string()))
}

pub async fn create_invite(pool: &Pool, new: &NewInvite) -> Result<Invited> {
    let row = pool
        .first(
            "SELECT outcome, expiry
             FROM salon_create_invite($1, $2, $3, $4, $5, $6 * interval '1 millisecond', $7)",
            &[
                &new.room.0,
                &new.by.0,
                &new.seen.map(|version| i64::try_from(version).unwrap_or(i64::MAX)),
                &new.hash,
                &new.uses.map(|uses| i32::try_from(uses).unwrap_or(i32::MAX)),
                &(milliseconds(new.lifetime) as f64),
                &i64::from(INVITES_OPEN_MAX),
            ],
        )
        .await?
        .ok_or_else(no_outcome)?;
    match get::<i32>(&row, 0)? {
        0 => Ok(Invited::Made { expires_at: time(&row, 1)? }),
        3 => Ok(Invited::NoRoom),
        4 => Ok(Invited::Overtaken),
        7 => Ok(Invited::TooMany),
        other => Err(unknown(other)),
    }
}

/// At most as many as can be open.
pub async fn invites(pool: &Pool, room: RoomId) -> Result<Vec<Invite>> {
    let rows = pool
        .query(
            "SELECT substring(i.code_hash FROM 1 FOR 8), u.username, i.uses_left, i.created_at, i.expires_at
             FROM invites i JOIN users u ON u.id = i.created_by
             WHERE i.room_id = $1 AND coalesce(i.uses_left > 0, true) AND i.expires_at > clock_timestamp()
             ORDER BY i.created_at, i.code_hash LIMIT $2",
            &[&room.0, &i64::from(INVITES_OPEN_MAX)],
        )
        .await?;
    rows.iter().map(invite).collect()
}

/// One row is read, decided on and removed without the clock: an entry by it that is under way comes before or after.
pub async fn withdraw_invite(pool: &Pool, room: RoomId, id: InviteId) -> Result<bool> {
    let row = pool
        .first(
            "DELETE FROM invites WHERE room_id = $1 AND substring(code_hash FROM 1 FOR 8) = $2 RETURNING true",
            &[&room.0, &id.0.as_slice()],
        )
        .await?;
    Ok(row.is_some())
}

pub async fn redeem_invite(pool: &Pool, hash: &[u8], user: UserId) -> Result<Redeemed> {
    let row = pool
        .first("SELECT outcome, room, addition FROM salon_redeem($1, $2)", &[&hash, &user.0])
        .await?
        .ok_or_else(no_outcome)?;
    match get::<i32>(&row, 0)? {
        0 => Ok(Redeemed::Entered { room: RoomId(get(&row, 1)?), addition: AdditionId(get(&row, 2)?) }),
        1 => Ok(Redeemed::Member(RoomId(get(&row, 1)?))),
        3 => Ok(Redeemed::Nothing),
        other => Err(unknown(other)),
    }
}

pub async fn direct_room(pool: &Pool, asking: UserId, other: UserId, slug: &Slug) -> Result<Direct> {
    let row = pool
        .first(
            "SELECT room, first_addition, second_addition FROM salon_direct_room($1, $2, $3, $4)",
            &[&asking.0, &other.0, &slug.as_str(), &Epoch::random().0],
        )
        .await?
        .ok_or_else(no_outcome)?;
    let made = get::<Option<i64>>(&row, 1)?.zip(get::<Option<i64>>(&row, 2)?);
    Ok(Direct {
        room: RoomId(get(&row, 0)?),
        made: made.map(|(asking, other)| (AdditionId(asking), AdditionId(other))),
    })
}

pub async fn recent_additions(
    pool: &Pool,
    window: Duration,
    after: Option<AdditionId>,
    limit: u32,
) -> Result<Vec<Addition>> {
    let rows = pool
        .query(
            "SELECT id, user_id, room_id FROM room_additions
             WHERE at >= now() - $1 * interval '1 millisecond'
               AND ($2::bigint IS NULL OR (at, id) > (SELECT at, id FROM room_additions WHERE id = $2))
             ORDER BY at, id LIMIT $3",
            &[&(milliseconds(window) as f64), &after.map(|id| id.0), &i64::from(limit)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Addition { id: AdditionId(get(row, 0)?), user: UserId(get(row, 1)?), room: RoomId(get(row, 2)?) })
        })
        .collect()
}

pub async fn purge(pool: &Pool, limit: u32) -> Result<u32> {
    let row = pool
        .first(
            "SELECT salon_purge_moderation($1, $2 * interval '1 millisecond')",
            &[&i64::from(limit), &(milliseconds(ADDITION_LIFETIME) as f64)],
        )
        .await?;
    let removed: i64 = row.map_or(Ok(0), |row| get(&row, 0))?;
    Ok(u32::try_from(removed).unwrap_or(limit).min(limit))
}

fn read_sanctioned(row: &Row) -> Result<Sanctioned> {
    Ok(Sanctioned {
        username: Username::from_stored(get(row, 0)?),
        user: UserId(get(row, 1)?),
        reason: Reason::from_stored(get(row, 2)?),
        until: get::<Option<SystemTime>>(row, 3)?.map(Timestamp::from),
        by: get::<Option<String>>(row, 4)?.map(Username::from_stored),
        created_at: time(row, 5)?,
    })
}

fn invite(row: &Row) -> Result<Invite> {
    Ok(Invite {
        id: InviteId::of(get(row, 0)?),
        by: Username::from_stored(get(row, 1)?),
        uses_left: get::<Option<i32>>(row, 2)?.map(|uses| u32::try_from(uses).unwrap_or(0)),
        created_at: time(row, 3)?,
        expires_at: time(row, 4)?,
    })
}

fn no_outcome() -> StoreError {
    StoreError::Internal("a function of the database gave no outcome".into())
}

fn unknown(outcome: i32) -> StoreError {
    StoreError::Internal(format!("a function of the database ended as {outcome}"))
}
