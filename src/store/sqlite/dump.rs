//! One snapshot of the file as records: a read transaction of its own, also beside a node that writes.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::transfer::{
    After, Dump, Extent, InviteRecord, MemberRecord, MessageRecord, PAGE_ROWS, Part, Record, RoomRecord,
    SanctionRecord, UserRecord, Walk, hex, no_such_room, pair,
};
use super::super::*;
use super::rows::{self, signed, word};
use super::{threads, users};
use crate::model::ChangeKind;

/// A row as it was read: its key, and what it is, where its room lives.
type Read = (After, Option<Record>);

struct Snapshot {
    db: Connection,
    walk: Walk,
    extent: Extent,
}

pub fn dump(path: &Path, config: &config::Database, rooms: Option<&[Slug]>) -> crate::error::Result<Box<dyn Dump>> {
    let db = threads::connect(path, Duration::from_millis(config.wait_timeout_ms))?;
    // What was chosen stands in tables of this connection's own; a snapshot begins with the first read.
    db.execute_batch(
        "PRAGMA temp_store = memory;
         CREATE TEMP TABLE chosen_rooms (id INTEGER PRIMARY KEY);
         CREATE TEMP TABLE chosen_users (id INTEGER PRIMARY KEY);
         BEGIN",
    )
    .map_err(StoreError::from)?;
    let ids = match rooms {
        None => None,
        Some(slugs) => Some(choose(&db, slugs)?),
    };
    let extent = extent(&db, ids.is_none())?;
    Ok(Box::new(Snapshot { walk: Walk::new(ids.as_deref()), db, extent }))
}

#[async_trait]
impl Dump for Snapshot {
    fn extent(&self) -> Extent {
        self.extent
    }

    async fn next(&mut self) -> Result<Vec<Record>> {
        tokio::task::block_in_place(|| {
            while let Some((part, after, last)) = self.walk.place() {
                let read = page(&self.db, part, &after, last)?;
                let (count, last) = (read.len(), read.last().map(|(place, _)| place.clone()));
                self.walk.read(count, last);
                let records: Vec<Record> = read.into_iter().filter_map(|(_, record)| record).collect();
                if !records.is_empty() {
                    return Ok(records);
                }
            }
            Ok(Vec::new())
        })
    }
}

fn choose(db: &Connection, slugs: &[Slug]) -> crate::error::Result<Vec<i64>> {
    let mut ids = Vec::new();
    for slug in slugs {
        let found = db
            .prepare_cached("SELECT id FROM rooms WHERE slug = ? AND deleted_at IS NULL")
            .and_then(|mut statement| statement.query_row([slug.as_str()], |row| row.get(0)).optional())
            .map_err(StoreError::from)?;
        ids.push(found.ok_or_else(|| no_such_room(slug))?);
    }
    ids.sort_unstable();
    ids.dedup();
    for id in &ids {
        db.execute("INSERT INTO chosen_rooms VALUES (?)", [id]).map_err(StoreError::from)?;
    }
    for (table, column) in [
        ("members", "user_id"),
        ("bans", "user_id"),
        ("bans", "banned_by"),
        ("mutes", "user_id"),
        ("mutes", "muted_by"),
        ("invites", "created_by"),
        ("messages", "author_id"),
        ("mentions", "user_id"),
        ("reactions", "user_id"),
    ] {
        let sql = format!(
            "INSERT OR IGNORE INTO chosen_users
             SELECT {column} FROM {table} WHERE room_id IN (SELECT id FROM chosen_rooms) AND {column} IS NOT NULL"
        );
        db.execute(&sql, []).map_err(StoreError::from)?;
    }
    Ok(ids)
}

fn extent(db: &Connection, all: bool) -> Result<Extent> {
    let of = |table: &str| {
        format!(
            "(SELECT count(*) FROM {table} x JOIN rooms r ON r.id = x.room_id
              WHERE r.deleted_at IS NULL AND (?1 OR r.id IN (SELECT id FROM chosen_rooms)))"
        )
    };
    let sql = format!(
        "SELECT (SELECT count(*) FROM users WHERE ?1 OR id IN (SELECT id FROM chosen_users))
             + (SELECT count(*) FROM rooms WHERE deleted_at IS NULL AND (?1 OR id IN (SELECT id FROM chosen_rooms)))
             + {},
             (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'users'),
             (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'rooms')",
        ["members", "bans", "mutes", "invites", "messages"].map(of).join(" + ")
    );
    Ok(db.query_row(&sql, [all], |row| {
        Ok(Extent { records: row.get(0)?, last_user: row.get(1)?, last_room: row.get(2)? })
    })?)
}

fn page(db: &Connection, part: Part, after: &After, last: i64) -> Result<Vec<Read>> {
    let limit = PAGE_ROWS as i64;
    let mut statement = db.prepare_cached(&sql_of(part))?;
    let mut rows = match part {
        Part::Users => statement.query(params![after.first, limit])?,
        Part::Rooms => statement.query(params![after.first, last, limit])?,
        Part::Invites => statement.query(params![after.first, after.code_hash, last, limit])?,
        _ => statement.query(params![after.first, after.second, last, limit])?,
    };
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        let place = place(part, row)?;
        let record = if row.get(0)? { Some(record(db, part, row)?) } else { None };
        read.push((place, record));
    }
    Ok(read)
}

/// As in Postgres: whether the row's room lives, the key, the rest.
fn sql_of(part: Part) -> String {
    let keyed = |table: &str, key: &str, columns: &str| {
        format!(
            "SELECT r.id IS NOT NULL, x.room_id, x.{key}, {columns}
             FROM (
                 SELECT * FROM {table} WHERE (room_id, {key}) > (?1, ?2) AND room_id <= ?3
                 ORDER BY room_id, {key} LIMIT ?4
             ) x
             LEFT JOIN rooms r ON r.id = x.room_id AND r.deleted_at IS NULL
             ORDER BY x.room_id, x.{key}"
        )
    };
    match part {
        Part::Users => "SELECT 1, id, username, role, disabled, created_at, password_hash, issuer, subject FROM users
             WHERE id > ?1 AND (id IN (SELECT id FROM chosen_users) OR NOT EXISTS (SELECT 1 FROM chosen_rooms))
             ORDER BY id LIMIT ?2"
            .to_owned(),
        Part::Rooms => {
            "SELECT r.deleted_at IS NULL, r.id, r.slug, r.name, r.topic, r.kind, r.direct_pair, r.created_at,
                 r.retention_days, c.epoch, c.seq, c.purged, nullif(c.stamped_at, 0)
             FROM rooms r JOIN room_clocks c ON c.room_id = r.id
             WHERE r.id > ?1 AND r.id <= ?2 ORDER BY r.id LIMIT ?3"
                .to_owned()
        }
        Part::Members => keyed("members", "user_id", "x.role, x.last_read, x.since"),
        Part::Bans => keyed("bans", "user_id", "x.banned_by, x.reason, x.until, x.created_at"),
        Part::Mutes => keyed("mutes", "user_id", "x.muted_by, x.reason, x.until, x.created_at"),
        Part::Invites => keyed("invites", "code_hash", "x.created_by, x.uses_left, x.expires_at, x.created_at"),
        Part::Messages => keyed(
            "messages",
            "id",
            "x.seq, x.kind, x.author_id, x.created_at, x.edited_at, x.deleted, x.reply_to, x.nonce, x.fingerprint,
             x.content, x.mentions, x.reactions",
        ),
    }
}

fn place(part: Part, row: &Row<'_>) -> Result<After> {
    let mut after = After { first: row.get(1)?, second: 0, code_hash: Vec::new() };
    match part {
        Part::Users | Part::Rooms => {}
        Part::Invites => after.code_hash = row.get(2)?,
        _ => after.second = row.get(2)?,
    }
    Ok(after)
}

fn record(db: &Connection, part: Part, row: &Row<'_>) -> Result<Record> {
    Ok(match part {
        Part::Users => Record::User(user(row)?),
        Part::Rooms => Record::Room(RoomRecord {
            id: row.get(1)?,
            slug: row.get(2)?,
            name: row.get(3)?,
            topic: row.get(4)?,
            kind: word(row, 5, RoomKind::from_word)?,
            pair: pair(row.get::<_, Option<String>>(6)?.as_deref())?,
            created_at: Timestamp(row.get(7)?),
            retention_days: row.get(8)?,
            epoch: row.get(9)?,
            seq: row.get(10)?,
            purged: row.get(11)?,
            stamped_at: time_or_none(row, 12)?,
        }),
        Part::Members => Record::Member(MemberRecord {
            room: row.get(1)?,
            user: row.get(2)?,
            role: word(row, 3, Role::from_word)?,
            last_read: row.get(4)?,
            since: Timestamp(row.get(5)?),
        }),
        Part::Bans => Record::Ban(sanction(row)?),
        Part::Mutes => Record::Mute(sanction(row)?),
        Part::Invites => Record::Invite(InviteRecord {
            room: row.get(1)?,
            code_hash: hex(&row.get::<_, Vec<u8>>(2)?),
            by: row.get(3)?,
            uses_left: row.get(4)?,
            expires_at: time_or_none(row, 5)?,
            created_at: Timestamp(row.get(6)?),
        }),
        Part::Messages => Record::Message(Box::new(message(db, row)?)),
    })
}

fn user(row: &Row<'_>) -> rusqlite::Result<UserRecord> {
    Ok(UserRecord {
        id: row.get(1)?,
        username: row.get(2)?,
        role: word(row, 3, SiteRole::from_word)?,
        disabled: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        password_hash: row.get(6)?,
        issuer: row.get(7)?,
        subject: row.get(8)?,
    })
}

fn sanction(row: &Row<'_>) -> rusqlite::Result<SanctionRecord> {
    Ok(SanctionRecord {
        room: row.get(1)?,
        user: row.get(2)?,
        by: row.get(3)?,
        reason: row.get(4)?,
        until: time_or_none(row, 5)?,
        created_at: Timestamp(row.get(6)?),
    })
}

fn message(db: &Connection, row: &Row<'_>) -> Result<MessageRecord> {
    let kind: ChangeKind = rows::change_kind(row.get(4)?)?;
    let mut message = MessageRecord {
        room: row.get(1)?,
        id: row.get(2)?,
        seq: row.get(3)?,
        kind,
        author: row.get(5)?,
        created_at: Timestamp(row.get(6)?),
        edited_at: time_or_none(row, 7)?,
        deleted: row.get(8)?,
        reply_to: row.get(9)?,
        nonce: row.get(10)?,
        fingerprint: hex(&row.get::<_, Vec<u8>>(11)?),
        content: row.get(12)?,
        mentions: Vec::new(),
        reactions: Vec::new(),
    };
    for name in rows::json::<Vec<String>>(row, 13)? {
        // Messages show names; what they mean are users.
        let account = users::by_name(db, &Username::from_stored(name))?;
        message.mentions.extend(account.map(|account| account.user.id.0));
    }
    let kinds: Vec<crate::model::Reaction> = rows::json(row, 14)?;
    if !kinds.is_empty() {
        let kinds: Vec<String> = kinds.into_iter().map(|kind| kind.emoji).collect();
        let given = reactions(db, message.room, message.id)?;
        message.set_reactions(&kinds, given);
    }
    Ok(message)
}

fn reactions(db: &Connection, room: i64, id: MessageId) -> Result<HashMap<String, Vec<(i64, Seq)>>> {
    let mut statement =
        db.prepare_cached("SELECT emoji, user_id, seq FROM reactions WHERE room_id = ? AND id = ? ORDER BY seq")?;
    let mut rows = statement.query([room, signed(id)])?;
    let mut given: HashMap<String, Vec<(i64, Seq)>> = HashMap::new();
    while let Some(row) = rows.next()? {
        given.entry(row.get(0)?).or_default().push((row.get(1)?, row.get(2)?));
    }
    Ok(given)
}

fn time_or_none(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp))
}
