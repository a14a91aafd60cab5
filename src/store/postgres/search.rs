//! Search by words: taking them from messages, and finding messages by them.

use tokio_postgres::Row;

use super::super::*;
use super::pool::Pool;
use super::rows::{MESSAGE_WIDTH, get, message, message_columns, signed, unsigned};
use crate::model::search::plain_words;

/// Where a page goes on: the time, the room and the id of the last one given.
struct Place {
    at_ms: i64,
    room: i64,
    id: i64,
}

pub async fn take_words(pool: &Pool, configuration: &str, rooms: &[RoomId], limit: u32) -> Result<u32> {
    let rooms: Vec<i64> = rooms.iter().map(|room| room.0).collect();
    let row = pool.first("SELECT salon_take_words($1, $2, $3)", &[&rooms, &configuration, &i64::from(limit)]).await?;
    let taken = row.map_or(Ok(0), |row| get::<i64>(&row, 0))?;
    Ok(u32::try_from(unsigned(taken)).unwrap_or(u32::MAX))
}

pub async fn unworded(pool: &Pool, configuration: &str, limit: u32) -> Result<Vec<RoomId>> {
    let rows = pool
        .query(
            "SELECT c.room_id FROM room_clocks c LEFT JOIN word_marks w ON w.room_id = c.room_id
             WHERE NOT c.deleted AND c.seq > 0 AND (w.seq IS NULL OR w.seq < c.seq OR w.configuration <> $1) LIMIT $2",
            &[&configuration, &i64::from(limit)],
        )
        .await?;
    rows.iter().map(|row| get(row, 0).map(RoomId)).collect()
}

pub async fn search(pool: &Pool, configuration: &str, search: &Search) -> Result<Page<Found>> {
    let place = match (&search.before, search.room) {
        (Some(Before::Message(id)), Some(room)) => Some(place_of(pool, room, *id).await?),
        (Some(Before::Cursor(cursor)), _) => Place::parse(cursor),
        _ => None,
    };
    let Place { at_ms, room: at_room, id: at_id } = place.unwrap_or(Place { at_ms: i64::MAX, room: 0, id: 0 });
    let any: Vec<String> = search.query.words().into_iter().map(|word| format!("\"{word}\"")).collect();
    let rows = pool
        .query(
            concat!(
                "SELECT ",
                message_columns!(),
                ", d.slug, d.tokens
                 FROM salon_search($1, $2, $3, $4, $5,
                     CASE WHEN $6::bigint = 9223372036854775807 THEN 'infinity'::timestamptz
                         ELSE to_timestamp(0) + $6 * interval '1 millisecond' END, $7, $8, $9) d
                 CROSS JOIN LATERAL (SELECT (d.message).*) m
                 CROSS JOIN LATERAL (SELECT d.username) u"
            ),
            &[
                &search.user.0,
                &search.room.map(|room| room.0),
                &configuration,
                &search.query.for_postgres(),
                &any.join(" or "),
                &at_ms,
                &at_room,
                &at_id,
                &(i64::from(search.limit) + 1),
            ],
        )
        .await?;
    let found = rows.iter().filter_map(|row| found(row).transpose()).collect::<Result<Vec<_>>>()?;
    Ok(Page::cut(found, search.limit, |last| {
        format!("c{}-{}-{}", last.message.created_at.0, last.message.room.0, last.message.id)
    }))
}

fn found(row: &Row) -> Result<Option<Found>> {
    let Some(message) = message(row, 0)? else { return Ok(None) };
    let tokens: Vec<&str> = get(row, MESSAGE_WIDTH + 1)?;
    let words = tokens.into_iter().flat_map(plain_words).collect();
    Ok(Some(Found { slug: Slug::from_stored(get(row, MESSAGE_WIDTH)?), message, words }))
}

/// A message's place; of one that is not there, the first place of all.
async fn place_of(pool: &Pool, room: RoomId, id: MessageId) -> Result<Place> {
    let row = pool
        .first(
            "SELECT (extract(epoch FROM created_at) * 1000)::bigint FROM messages
             WHERE room_id = $1 AND id <= $2 ORDER BY id DESC LIMIT 1",
            &[&room.0, &signed(id)],
        )
        .await?;
    let at_ms = row.map_or(Ok(0), |row| get(&row, 0))?;
    Ok(Place { at_ms, room: room.0, id: signed(id) })
}

impl Place {
    fn parse(cursor: &str) -> Option<Self> {
        let mut parts = cursor.strip_prefix('c')?.split('-').map(str::parse::<i64>);
        let (at_ms, room, id) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        // Beyond what a time can be there is nothing to be found either.
        (0..=253_402_300_799_999).contains(&at_ms).then_some(Self { at_ms, room, id })
    }
}
