//! The append: one statement for a batch, which is the function `salon_append_4`.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::super::*;
use super::mentions::wished;
use super::pool::Pool;
use super::rows::{change_kind, get, mentions, reactions, signed, time, unsigned};

/// One trip, or two where somebody may be mentioned. More when a nonce comes twice in the batch: the later items with it are sent when the outcome of the first
/// is known, so that they meet it as they would in the next batch.
pub async fn append(pool: &Pool, batch: &[Append], wait: bool) -> Result<Vec<Appended>> {
    let mut outcomes: Vec<Option<Appended>> = vec![None; batch.len()];
    while outcomes.iter().any(Option::is_none) {
        let round = next_round(batch, &mut outcomes);
        let items: Vec<&Append> = round.iter().filter_map(|index| batch.get(*index)).collect();
        for (index, outcome) in round.into_iter().zip(call(pool, &items, wait).await?) {
            outcomes[index] = Some(outcome);
        }
    }
    Ok(outcomes.into_iter().flatten().collect())
}

/// The undecided items that can go together: all whose nonce is known to be stored, and the first of each other. Those
/// whose first one was busy are busy too, or they would overtake their neighbours.
fn next_round(batch: &[Append], outcomes: &mut [Option<Appended>]) -> Vec<usize> {
    #[derive(Clone, Copy, PartialEq)]
    enum First {
        Stored,
        Busy,
        InThisRound,
    }
    let mut firsts = HashMap::with_capacity(batch.len());
    let mut round = Vec::with_capacity(batch.len());
    for (index, item) in batch.iter().enumerate() {
        let key = (item.room, item.author, item.nonce.as_str());
        match (&outcomes[index], firsts.get(&key).copied()) {
            (Some(Appended::Stored { .. } | Appended::Duplicate(_)), _) => {
                firsts.insert(key, First::Stored);
            }
            (Some(Appended::Busy), _) => {
                firsts.insert(key, First::Busy);
            }
            (None, Some(First::Busy)) => outcomes[index] = Some(Appended::Busy),
            (None, Some(First::Stored)) => round.push(index),
            (None, None) => {
                firsts.insert(key, First::InThisRound);
                round.push(index);
            }
            (Some(Appended::Refused(_)), _) | (None, Some(First::InThisRound)) => {}
        }
    }
    round
}

async fn call(pool: &Pool, items: &[&Append], wait: bool) -> Result<Vec<Appended>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let rooms: Vec<i64> = items.iter().map(|item| item.room.0).collect();
    let authors: Vec<i64> = items.iter().map(|item| item.author.0).collect();
    let nonces: Vec<&str> = items.iter().map(|item| item.nonce.as_str()).collect();
    let contents: Vec<&str> = items.iter().map(|item| item.content.as_str()).collect();
    let fingerprints: Vec<&[u8]> = items.iter().map(|item| item.fingerprint.as_slice()).collect();
    let replies: Vec<Option<i64>> = items.iter().map(|item| item.reply_to.map(signed)).collect();
    let wished = wished(pool, contents.iter().copied()).await?;
    let (items_of, places, users) = match &wished {
        Some(wished) => (Some(&wished.items), Some(&wished.places), Some(&wished.users)),
        None => (None, None, None),
    };
    let rows = pool
        .query(
            "SELECT idx, outcome, id, created_at, author, seq, kind, edited_at, deleted, content, mentions, reactions
             FROM salon_append_4($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[&rooms, &authors, &nonces, &contents, &fingerprints, &replies, &wait, &items_of, &places, &users],
        )
        .await?;
    let mut outcomes: Vec<Option<Appended>> = vec![None; items.len()];
    for row in &rows {
        let index = usize::try_from(get::<i64>(row, 0)? - 1).unwrap_or(usize::MAX);
        if let (Some(place), Some(item)) = (outcomes.get_mut(index), items.get(index)) {
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
        0 => Appended::Stored { id: unsigned(get(row, 2)?), created_at: time(row, 3)?, mentions: mentions(row, 10)? },
        1 => Appended::Duplicate(Box::new(duplicate(row, item)?)),
        2 => Appended::Busy,
        code => Appended::Refused(refusal(code)?),
    })
}

/// What it shares with the send is not read back: the same fingerprint is the same `reply_to`.
fn duplicate(row: &Row, item: &Append) -> Result<Message> {
    Ok(Message {
        room: item.room,
        id: unsigned(get(row, 2)?),
        seq: unsigned(get(row, 5)?),
        kind: change_kind(get(row, 6)?)?,
        author: Username::from_stored(get(row, 4)?),
        author_id: item.author,
        content: get(row, 9)?,
        created_at: time(row, 3)?,
        edited_at: get::<Option<std::time::SystemTime>>(row, 7)?.map(Timestamp::from),
        deleted: get(row, 8)?,
        reply_to: item.reply_to,
        nonce: Some(item.nonce.as_str().to_owned()),
        mentions: mentions(row, 10)?,
        reactions: reactions(row, 11)?,
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
        12 => Refusal::TooManyKinds,
        other => return Err(StoreError::Internal(format!("outcome {other} is unknown"))),
    })
}
