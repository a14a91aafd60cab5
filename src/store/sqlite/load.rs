//! Filling an empty file, which nobody else has open meanwhile.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::super::transfer::{
    Extent, Load, LoadError, MessageRecord, Record, RoomRecord, SanctionRecord, Taken, UserRecord, bytes_of_hex,
    missing, not_empty,
};
use super::super::*;
use super::rows::{json_or_null, signed};
use super::{bring_up_to_date, threads};
use crate::model::{ChangeKind, REACTION_NAMES_MAX, Reaction};

struct Filling {
    db: Connection,
    _guard: File,
}

pub fn load(path: &Path, config: &config::Database) -> Result<Box<dyn Load>, LoadError> {
    let refused = |error: crate::error::Error| LoadError::Refused(error.to_string());
    let guard = threads::guard(path).map_err(refused)?;
    let mut db = threads::connect(path, Duration::from_millis(config.wait_timeout_ms))?;
    if config.migrate {
        bring_up_to_date(&mut db)?;
    }
    Ok(Box::new(Filling { db, _guard: guard }))
}

#[async_trait]
impl Load for Filling {
    async fn begun(&mut self) -> Result<Option<Taken>, LoadError> {
        let taken = self
            .db
            .query_row("SELECT lines, digest, finished FROM imports", [], |row| {
                Ok(Taken { lines: row.get(0)?, digest: row.get(1)?, finished: row.get(2)? })
            })
            .optional()
            .map_err(StoreError::from)?;
        if taken.is_some() {
            return Ok(taken);
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM rooms)";
        match self.db.query_row(sql, [], |row| row.get(0)).map_err(StoreError::from)? {
            false => Ok(None),
            true => Err(not_empty()),
        }
    }

    async fn put(&mut self, records: &[Record], taken: &Taken) -> Result<(), LoadError> {
        tokio::task::block_in_place(|| {
            let transaction = self.db.transaction().map_err(StoreError::from)?;
            for record in records {
                put_one(&transaction, record)?;
            }
            transaction
                .execute(
                    "INSERT OR REPLACE INTO imports (id, lines, digest, finished) VALUES (1, ?, ?, ?)",
                    params![taken.lines, taken.digest, taken.finished],
                )
                .map_err(StoreError::from)?;
            Ok(transaction.commit().map_err(StoreError::from)?)
        })
    }

    async fn move_ids(&mut self, extent: &Extent) -> Result<(), LoadError> {
        for (table, last) in [("users", extent.last_user), ("rooms", extent.last_room)] {
            let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
            if self.db.execute(sql, params![table, last]).map_err(StoreError::from)? == 0 {
                let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)";
                self.db.execute(sql, params![table, last]).map_err(StoreError::from)?;
            }
        }
        Ok(())
    }
}

fn put_one(db: &Connection, record: &Record) -> Result<(), LoadError> {
    names_what_is_there(db, record)?;
    match record {
        Record::User(user) => put_user(db, user),
        Record::Room(room) => put_room(db, room),
        Record::Member(member) => execute(
            db,
            "INSERT INTO members (room_id, user_id, role, last_read, since) VALUES (?, ?, ?, ?, ?)",
            params![member.room, member.user, member.role.as_str(), member.last_read, member.since.0],
        ),
        Record::Ban(ban) => put_sanction(db, SanctionKind::Ban, ban),
        Record::Mute(mute) => put_sanction(db, SanctionKind::Mute, mute),
        Record::Invite(invite) => execute(
            db,
            "INSERT INTO invites (code_hash, room_id, created_by, uses_left, expires_at, created_at)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![
                bytes_of_hex(&invite.code_hash),
                invite.room,
                invite.by,
                invite.uses_left,
                invite.expires_at.map(|at| at.0),
                invite.created_at.0
            ],
        ),
        Record::Message(message) => put_message(db, message),
    }
}

fn put_user(db: &Connection, user: &UserRecord) -> Result<(), LoadError> {
    execute(
        db,
        "INSERT INTO users (id, username, username_key, password_hash, issuer, subject, role, disabled, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            user.id,
            user.username,
            Username::from_stored(user.username.clone()).lookalike(),
            user.password_hash,
            user.issuer,
            user.subject,
            user.role.as_str(),
            user.disabled,
            user.created_at.0
        ],
    )
}

fn put_room(db: &Connection, room: &RoomRecord) -> Result<(), LoadError> {
    let pair = room.pair.map(|[first, second]| format!("{first}:{second}"));
    execute(
        db,
        "INSERT INTO rooms (id, slug, name, topic, kind, direct_pair, retention_days, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            room.id,
            room.slug,
            room.name,
            room.topic,
            room.kind.as_str(),
            pair,
            room.retention_days,
            room.created_at.0
        ],
    )?;
    execute(
        db,
        "INSERT INTO room_clocks (room_id, seq, purged, epoch, stamped_at) VALUES (?, ?, ?, ?, ?)",
        params![room.id, room.seq, room.purged, room.epoch, room.stamped_at.map_or(0, |at| at.0)],
    )
}

fn put_sanction(db: &Connection, kind: SanctionKind, sanction: &SanctionRecord) -> Result<(), LoadError> {
    let (table, by) = kind.table();
    execute(
        db,
        &format!("INSERT INTO {table} (room_id, user_id, {by}, reason, until, created_at) VALUES (?, ?, ?, ?, ?, ?)"),
        params![
            sanction.room,
            sanction.user,
            sanction.by,
            sanction.reason,
            sanction.until.map(|at| at.0),
            sanction.created_at.0
        ],
    )
}

fn put_message(db: &Connection, message: &MessageRecord) -> Result<(), LoadError> {
    let kind = match message.kind {
        ChangeKind::Created => 0,
        ChangeKind::Edited => 1,
        ChangeKind::Deleted => 2,
        ChangeKind::Reacted => 3,
    };
    let mentioned = message.mentions.iter().map(|user| username(db, *user)).collect::<Result<Vec<_>>>()?;
    let mut shown = Vec::new();
    for kind in &message.reactions {
        let first = kind.by.iter().take(REACTION_NAMES_MAX);
        let users = first.map(|(user, _)| username(db, *user)).collect::<Result<Vec<_>>>()?;
        shown.push(Reaction { emoji: kind.emoji.clone(), count: kind.by.len() as u64, users });
    }
    execute(
        db,
        "INSERT INTO messages (room_id, id, seq, author_id, created_at, edited_at, reply_to, kind, deleted, fingerprint,
             nonce, content, mentions, reactions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            message.room,
            signed(message.id),
            signed(message.seq),
            message.author,
            message.created_at.0,
            message.edited_at.map(|at| at.0),
            message.reply_to.map(signed),
            kind,
            message.deleted,
            bytes_of_hex(&message.fingerprint),
            message.nonce,
            message.content,
            json_or_null(&mentioned)?,
            json_or_null(&shown)?
        ],
    )?;
    // Nobody is told of being named by themselves.
    for user in message.mentions.iter().filter(|user| **user != message.author) {
        let sql = "INSERT INTO mentions (room_id, id, user_id) VALUES (?, ?, ?)";
        execute(db, sql, params![message.room, signed(message.id), user])?;
    }
    for kind in &message.reactions {
        for (user, seq) in &kind.by {
            let sql = "INSERT INTO reactions (room_id, id, emoji, user_id, seq) VALUES (?, ?, ?, ?, ?)";
            execute(db, sql, params![message.room, signed(message.id), kind.emoji, user, signed(*seq)])?;
        }
    }
    Ok(())
}

fn names_what_is_there(db: &Connection, record: &Record) -> Result<(), LoadError> {
    let users = |user| {
        let found = db.prepare_cached("SELECT 1 FROM users WHERE id = ?").and_then(|mut sql| sql.exists([user]));
        found.unwrap_or(false)
    };
    let mut rooms = HashMap::new();
    if let Some((room, _)) = record.room() {
        let head = db
            .prepare_cached("SELECT seq FROM room_clocks WHERE room_id = ?")
            .and_then(|mut sql| sql.query_row([room], |row| row.get(0)).optional())
            .map_err(StoreError::from)?;
        rooms.extend(head.map(|head: Seq| (room, head)));
    }
    missing(std::iter::once(record), &users, &rooms)
}

fn username(db: &Connection, user: i64) -> Result<String> {
    Ok(db.prepare_cached("SELECT username FROM users WHERE id = ?")?.query_row([user], |row| row.get(0))?)
}

fn execute(db: &Connection, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<(), LoadError> {
    let done = db.prepare_cached(sql).and_then(|mut statement| statement.execute(params));
    match done {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(LoadError::Wrong(error.to_string()))
        }
        Err(error) => Err(StoreError::from(error).into()),
    }
}
