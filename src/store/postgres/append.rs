//! The append: one statement for a batch, which is the function `salon_append`.

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::rows::{change_kind, get, signed, time, unsigned};
use crate::model::ChangeKind;

pub async fn append(pool: &Pool, batch: &[Append], wait: bool) -> Result<Vec<Appended>> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let rooms: Vec<i64> = batch.iter().map(|item| item.room.0).collect();
    let authors: Vec<i64> = batch.iter().map(|item| item.author.0).collect();
    let nonces: Vec<&str> = batch.iter().map(|item| item.nonce.as_str()).collect();
    let contents: Vec<&str> = batch.iter().map(|item| item.content.as_str()).collect();
    let fingerprints: Vec<&[u8]> = batch.iter().map(|item| item.fingerprint.as_slice()).collect();
    let replies: Vec<Option<i64>> = batch.iter().map(|item| item.reply_to.map(signed)).collect();
    let rows = pool
        .query(
            "SELECT idx, outcome, id, created_at, author, seq, kind, edited_at, deleted, content
             FROM salon_append($1, $2, $3, $4, $5, $6, $7)",
            &[&rooms, &authors, &nonces, &contents, &fingerprints, &replies, &wait],
        )
        .await?;

    let mut outcomes: Vec<Option<Appended>> = vec![None; batch.len()];
    for row in &rows {
        let index = usize::try_from(get::<i64>(row, 0)? - 1).unwrap_or(usize::MAX);
        if let (Some(place), Some(item)) = (outcomes.get_mut(index), batch.get(index)) {
            *place = Some(outcome(row, item)?);
        }
    }
    outcomes
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| StoreError::Internal("an append gave no outcome for one of its items".into()))
}

fn outcome(row: &Row, item: &Append) -> Result<Appended> {
    Ok(match get::<i32>(row, 1)? {
        0 => Appended::Stored { id: unsigned(get(row, 2)?), created_at: time(row, 3)? },
        1 => Appended::Duplicate(Box::new(duplicate(row, item)?)),
        2 => Appended::Busy,
        code => Appended::Refused(refusal(code)?),
    })
}

/// Of an item of the same batch nothing was read back: it has this item's content, and was not changed since.
fn duplicate(row: &Row, item: &Append) -> Result<Message> {
    let id = unsigned(get(row, 2)?);
    Ok(Message {
        room: item.room,
        id,
        seq: get::<Option<i64>>(row, 5)?.map_or(id, unsigned),
        kind: get::<Option<i16>>(row, 6)?.map_or(Ok(ChangeKind::Created), change_kind)?,
        author: Username::from_stored(get(row, 4)?),
        author_id: item.author,
        content: get::<Option<String>>(row, 9)?.unwrap_or_else(|| item.content.as_str().to_owned()),
        created_at: time(row, 3)?,
        edited_at: get::<Option<std::time::SystemTime>>(row, 7)?.map(Timestamp::from),
        deleted: get::<Option<bool>>(row, 8)?.unwrap_or(false),
        reply_to: item.reply_to,
        nonce: Some(item.nonce.as_str().to_owned()),
    })
}

/// The numbers of the functions in `migrations/postgres`.
pub fn refusal(code: i32) -> Result<Refusal> {
    Ok(match code {
        3 => Refusal::NoRoom,
        4 => Refusal::Disabled,
        5 => Refusal::Banned,
        6 => Refusal::Muted,
        7 => Refusal::NonceReused,
        8 => Refusal::NoReplyTarget,
        9 => Refusal::NoMessage,
        10 => Refusal::NotAllowed,
        11 => Refusal::Gone,
        other => return Err(StoreError::Internal(format!("outcome {other} is unknown"))),
    })
}
