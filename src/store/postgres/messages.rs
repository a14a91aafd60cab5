//! Reading messages, and changing one. A head and the rows under it always come from one statement, so from one
//! snapshot.

use tokio_postgres::Row;

use super::super::*;
use super::append::refusal;
use super::mentions::{Wished, wished};
use super::pool::Pool;
use super::rows::{HEAD_WIDTH, MESSAGE_WIDTH, get, head, head_columns, message, message_columns, signed};

pub async fn change(pool: &Pool, change: &Change) -> Result<Changed> {
    let (what, text) = match &change.what {
        ChangeWhat::Edit(content) => (0, Some(content.as_str())),
        ChangeWhat::Delete => (1, None),
        ChangeWhat::React(emoji) => (2, Some(emoji.as_str())),
        ChangeWhat::Unreact(emoji) => (3, Some(emoji.as_str())),
    };
    let edited = text.filter(|_| what == 0);
    let Wished { places, users, .. } = wished(pool, edited.into_iter()).await?.unwrap_or_default();
    let row = pool
        .first(
            concat!(
                "SELECT d.outcome, ",
                message_columns!(),
                " FROM salon_change_4($1, $2, $3, $4, $5, $6, $7) d
                 CROSS JOIN LATERAL (SELECT (d.message).*) m
                 LEFT JOIN users u ON u.id = m.author_id"
            ),
            &[&change.room.0, &change.actor.0, &signed(change.id), &what, &text, &places, &users],
        )
        .await?
        .ok_or_else(|| StoreError::Internal("a change gave no outcome".into()))?;
    let outcome: i32 = get(&row, 0)?;
    match (outcome, message(&row, 1)?) {
        (0, Some(message)) => Ok(Changed::Done(Box::new(message))),
        (1, Some(message)) => Ok(Changed::Unchanged(Box::new(message))),
        (code, _) => Ok(Changed::Refused(refusal(code)?)),
    }
}

pub async fn changes_after(pool: &Pool, room: RoomId, after: Seq, limit: u32) -> Result<Option<Changes>> {
    let rows = pool
        .query(
            concat!(
                "SELECT ",
                head_columns!(),
                ", ",
                message_columns!(),
                " FROM room_clocks c
                 LEFT JOIN LATERAL (
                     SELECT * FROM messages WHERE room_id = c.room_id AND seq > $2 ORDER BY seq LIMIT $3
                 ) m ON true
                 LEFT JOIN users u ON u.id = m.author_id
                 WHERE c.room_id = $1 AND NOT c.deleted ORDER BY m.seq"
            ),
            &[&room.0, &signed(after), &(i64::from(limit) + 1)],
        )
        .await?;
    let Some((head, mut changes)) = split(&rows)? else { return Ok(None) };
    let more = changes.len() > limit as usize;
    changes.truncate(limit as usize);
    Ok(Some(Changes { head, changes, more }))
}

pub async fn recent_changes(pool: &Pool, room: RoomId, limit: u32) -> Result<Option<Changes>> {
    let rows = pool
        .query(
            concat!(
                "SELECT ",
                head_columns!(),
                ", ",
                message_columns!(),
                " FROM room_clocks c
                 LEFT JOIN LATERAL (
                     SELECT * FROM messages WHERE room_id = c.room_id ORDER BY seq DESC LIMIT $2
                 ) m ON true
                 LEFT JOIN users u ON u.id = m.author_id
                 WHERE c.room_id = $1 AND NOT c.deleted ORDER BY m.seq"
            ),
            &[&room.0, &(i64::from(limit) + 1)],
        )
        .await?;
    let Some((head, mut changes)) = split(&rows)? else { return Ok(None) };
    let surplus = changes.len().saturating_sub(limit as usize);
    changes.drain(..surplus);
    Ok(Some(Changes { head, changes, more: surplus > 0 }))
}

pub async fn history(pool: &Pool, room: RoomId, around: Around, limit: u32) -> Result<Option<(Head, History)>> {
    let (backwards, bound) = match around {
        Around::Latest => (true, i64::MAX),
        Around::Before(id) => (true, signed(id)),
        Around::After(id) => (false, signed(id)),
    };
    let sql = if backwards { HISTORY_BEFORE } else { HISTORY_AFTER };
    let rows = pool.query(sql, &[&room.0, &bound, &(i64::from(limit) + 1)]).await?;
    let Some((head, mut messages)) = split(&rows)? else { return Ok(None) };
    let beyond = rows.first().map_or(Ok(false), |row| get(row, HEAD_WIDTH + MESSAGE_WIDTH))?;
    let surplus = messages.len().saturating_sub(limit as usize);
    let history = if backwards {
        messages.drain(..surplus);
        History { messages, older: surplus > 0, newer: beyond }
    } else {
        messages.truncate(limit as usize);
        History { messages, older: beyond, newer: surplus > 0 }
    };
    Ok(Some((head, history)))
}

pub async fn one(pool: &Pool, room: RoomId, id: MessageId) -> Result<Option<Message>> {
    let row = pool
        .first(
            concat!(
                "SELECT ",
                message_columns!(),
                " FROM messages m JOIN users u ON u.id = m.author_id JOIN room_clocks c ON c.room_id = m.room_id
                 WHERE m.room_id = $1 AND m.id = $2 AND NOT c.deleted"
            ),
            &[&room.0, &signed(id)],
        )
        .await?;
    row.map_or(Ok(None), |row| message(&row, 0))
}

const HISTORY_BEFORE: &str = concat!(
    "SELECT ",
    head_columns!(),
    ", ",
    message_columns!(),
    ", EXISTS (SELECT FROM messages x WHERE x.room_id = c.room_id AND x.id >= $2)
     FROM room_clocks c
     LEFT JOIN LATERAL (
         SELECT * FROM messages WHERE room_id = c.room_id AND id < $2 ORDER BY id DESC LIMIT $3
     ) m ON true
     LEFT JOIN users u ON u.id = m.author_id
     WHERE c.room_id = $1 AND NOT c.deleted ORDER BY m.id"
);

const HISTORY_AFTER: &str = concat!(
    "SELECT ",
    head_columns!(),
    ", ",
    message_columns!(),
    ", EXISTS (SELECT FROM messages x WHERE x.room_id = c.room_id AND x.id <= $2)
     FROM room_clocks c
     LEFT JOIN LATERAL (
         SELECT * FROM messages WHERE room_id = c.room_id AND id > $2 ORDER BY id LIMIT $3
     ) m ON true
     LEFT JOIN users u ON u.id = m.author_id
     WHERE c.room_id = $1 AND NOT c.deleted ORDER BY m.id"
);

/// The head, which every row repeats, and the messages; `None`: no row, so no such room.
fn split(rows: &[Row]) -> Result<Option<(Head, Vec<Message>)>> {
    let Some(first) = rows.first() else { return Ok(None) };
    let head = head(first)?;
    let messages = rows.iter().filter_map(|row| message(row, HEAD_WIDTH).transpose()).collect::<Result<_>>()?;
    Ok(Some((head, messages)))
}
