//! Search by words: taking them from messages, and finding messages by them.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::*;
use super::rooms::head;
use super::rows::{message, message_columns, signed};
use crate::model::ChangeKind;
use crate::model::search::plain_words;

/// Bits of a row id that tell apart the messages of one millisecond.
const TIE_BITS: u32 = 20;

pub fn take_words(db: &Connection, rooms: &[RoomId], limit: u32) -> Result<u32> {
    let mut taken = 0;
    for room in rooms {
        if taken >= limit {
            break;
        }
        taken += take_of_room(db, *room, limit - taken)?;
    }
    Ok(taken)
}

pub fn unworded(db: &Connection, limit: u32) -> Result<Vec<RoomId>> {
    let mut statement = db.prepare_cached(
        "SELECT c.room_id FROM room_clocks c LEFT JOIN word_marks w ON w.room_id = c.room_id
         WHERE NOT c.deleted AND c.seq > coalesce(w.seq, 0) LIMIT ?",
    )?;
    let rooms = statement.query_map([limit], |row| row.get(0).map(RoomId))?;
    Ok(rooms.collect::<rusqlite::Result<_>>()?)
}

/// Takes a message's words away.
pub fn forget(db: &Connection, room: RoomId, id: MessageId) -> Result<()> {
    let row = db
        .prepare_cached("DELETE FROM worded_messages WHERE room_id = ? AND id = ? RETURNING rowid")?
        .query_row([room.0, signed(id)], |row| row.get::<_, i64>(0))
        .optional()?;
    if let Some(row) = row {
        db.prepare_cached("DELETE FROM message_words WHERE rowid = ?")?.execute([row])?;
    }
    Ok(())
}

/// Takes away up to `limit` words of messages of a room; how many.
pub fn purge(db: &Connection, room: i64, limit: u64) -> Result<u64> {
    let ids: Vec<MessageId> = {
        let mut statement = db.prepare_cached("SELECT id FROM worded_messages WHERE room_id = ? LIMIT ?")?;
        let ids = statement.query_map(params![room, limit], |row| row.get(0))?;
        ids.collect::<rusqlite::Result<_>>()?
    };
    for id in &ids {
        forget(db, RoomId(room), *id)?;
    }
    if (ids.len() as u64) < limit {
        db.prepare_cached("DELETE FROM word_marks WHERE room_id = ?")?.execute([room])?;
    }
    Ok(ids.len() as u64)
}

pub fn search(db: &Connection, search: &Search) -> Result<Page<Found>> {
    let (mut below_row, mut below_id) = (i64::MAX, i64::MAX);
    match &search.before {
        Some(Before::Message(id)) => below_id = signed(*id),
        Some(Before::Cursor(cursor)) => {
            below_row = cursor.strip_prefix('c').and_then(|row| row.parse().ok()).unwrap_or(i64::MAX);
        }
        None => {}
    }
    let mut statement = db.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        ", r.slug, x.rowid
         FROM message_words w
         CROSS JOIN worded_messages x ON x.rowid = w.rowid
         JOIN messages m ON m.room_id = x.room_id AND m.id = x.id AND NOT m.deleted
         JOIN rooms r ON r.id = x.room_id AND r.deleted_at IS NULL
         JOIN users u ON u.id = m.author_id
         WHERE message_words MATCH ?2 AND w.rowid < ?4 AND (?3 IS NULL OR x.room_id = ?3) AND x.id < ?5
             AND (r.kind = 'public' OR EXISTS (
                 SELECT 1 FROM members k WHERE k.room_id = x.room_id AND k.user_id = ?1))
             AND NOT EXISTS (
                 SELECT 1 FROM bans b WHERE b.room_id = x.room_id AND b.user_id = ?1 AND (b.until IS NULL OR b.until > ?6))
         ORDER BY w.rowid DESC LIMIT ?7"
    ))?;
    let asked: HashSet<String> = search.query.words().into_iter().collect();
    let room = search.room.map(|room| room.0);
    let rows = statement.query_map(
        params![
            search.user.0,
            search.query.for_fts5(),
            room,
            below_row,
            below_id,
            Timestamp::now().0,
            i64::from(search.limit) + 1
        ],
        |row| {
            let message = message(row)?;
            let words = plain_words(&message.content).filter(|word| asked.contains(word)).collect();
            Ok((Found { slug: Slug::from_stored(row.get(14)?), message, words }, row.get::<_, i64>(15)?))
        },
    )?;
    let found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let Page { items, next } = Page::cut(found, search.limit, |(_, row)| format!("c{row}"));
    Ok(Page { items: items.into_iter().map(|(found, _)| found).collect(), next })
}

fn take_of_room(db: &Connection, room: RoomId, limit: u32) -> Result<u32> {
    let Some(head) = head(db, room)? else { return Ok(0) };
    let mark: Seq = db
        .prepare_cached("SELECT seq FROM word_marks WHERE room_id = ?")?
        .query_row([room.0], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let changes = super::messages::changes_after(db, room, mark, limit)?.map(|read| (read.changes, read.more));
    let (changes, more) = changes.unwrap_or_default();
    for message in &changes {
        // A reaction leaves the words as they are, unless they were never taken.
        if message.kind != ChangeKind::Reacted || !is_worded(db, message)? {
            forget(db, room, message.id)?;
            put(db, message)?;
        }
    }
    let to = match changes.last() {
        Some(last) if more => last.seq,
        _ => head.seq,
    };
    db.prepare_cached(
        "INSERT INTO word_marks (room_id, seq) VALUES (?1, ?2) ON CONFLICT (room_id) DO UPDATE SET seq = ?2",
    )?
    .execute(params![room.0, to])?;
    Ok(u32::try_from(changes.len()).unwrap_or(u32::MAX))
}

fn put(db: &Connection, message: &Message) -> Result<()> {
    if message.deleted {
        return Ok(());
    }
    let base = message.created_at.0 << TIE_BITS;
    let row: i64 = db
        .prepare_cached("SELECT coalesce(max(rowid) + 1, ?1) FROM worded_messages WHERE rowid >= ?1 AND rowid < ?2")?
        .query_row([base, base + (1 << TIE_BITS)], |row| row.get(0))?;
    db.prepare_cached("INSERT INTO worded_messages (rowid, room_id, id) VALUES (?, ?, ?)")?.execute(params![
        row,
        message.room.0,
        signed(message.id)
    ])?;
    db.prepare_cached("INSERT INTO message_words (rowid, content) VALUES (?, ?)")?
        .execute(params![row, message.content])?;
    Ok(())
}

fn is_worded(db: &Connection, message: &Message) -> Result<bool> {
    Ok(db
        .prepare_cached("SELECT 1 FROM worded_messages WHERE room_id = ? AND id = ?")?
        .exists([message.room.0, signed(message.id)])?)
}
