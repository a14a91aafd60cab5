//! Reactions: the rows of who gave which, and what the message shows of them.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::*;
use super::rows::{json_or_null, signed};
use crate::model::{REACTION_NAMES_MAX, Reaction, Reactions};

/// Whether the message can take this kind: it has it, or not too many others.
pub fn fits(emoji: &Emoji, message: &Message) -> bool {
    let kinds = &message.reactions.0;
    kinds.len() < REACTION_KINDS_MAX || kinds.iter().any(|kind| kind.emoji == emoji.as_str())
}

/// Whether the actor has given it.
pub fn given(db: &Connection, change: &Change, emoji: &Emoji) -> Result<bool> {
    Ok(db
        .prepare_cached("SELECT 1 FROM reactions WHERE room_id = ? AND id = ? AND emoji = ? AND user_id = ?")?
        .query_row(params![change.room.0, signed(change.id), emoji.as_str(), change.actor.0], |_| Ok(()))
        .optional()?
        .is_some())
}

pub fn give(db: &Connection, change: &Change, emoji: &Emoji, message: Message, seq: Seq) -> Result<()> {
    db.prepare_cached("INSERT INTO reactions (room_id, id, emoji, user_id, seq) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![change.room.0, signed(change.id), emoji.as_str(), change.actor.0, seq])?;
    let mut kinds = message.reactions;
    if !kinds.0.iter().any(|kind| kind.emoji == emoji.as_str()) {
        kinds.0.push(Reaction { emoji: emoji.as_str().to_owned(), count: 0, users: Vec::new() });
    }
    if let Some(kind) = kinds.0.iter_mut().find(|kind| kind.emoji == emoji.as_str()) {
        kind.count += 1;
        if kind.users.len() < REACTION_NAMES_MAX {
            kind.users.push(username(db, change.actor)?);
        }
    }
    show(db, change, &kinds, seq)
}

pub fn take_back(db: &Connection, change: &Change, emoji: &Emoji, message: Message, seq: Seq) -> Result<()> {
    db.prepare_cached("DELETE FROM reactions WHERE room_id = ? AND id = ? AND emoji = ? AND user_id = ?")?
        .execute(params![change.room.0, signed(change.id), emoji.as_str(), change.actor.0])?;
    let mut kinds = message.reactions;
    if let Some(kind) = kinds.0.iter_mut().find(|kind| kind.emoji == emoji.as_str()) {
        kind.count = kind.count.saturating_sub(1);
        kind.users = first_users(db, change, emoji)?;
    }
    kinds.0.retain(|kind| kind.count > 0);
    show(db, change, &kinds, seq)
}

fn show(db: &Connection, change: &Change, kinds: &Reactions, seq: Seq) -> Result<()> {
    db.prepare_cached("UPDATE messages SET seq = ?, kind = 3, reactions = ? WHERE room_id = ? AND id = ?")?
        .execute(params![seq, json_or_null(&kinds.0)?, change.room.0, signed(change.id)])?;
    Ok(())
}

fn first_users(db: &Connection, change: &Change, emoji: &Emoji) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT u.username FROM reactions r JOIN users u ON u.id = r.user_id
         WHERE r.room_id = ? AND r.id = ? AND r.emoji = ? ORDER BY r.seq LIMIT ?",
    )?;
    let names = statement
        .query_map(params![change.room.0, signed(change.id), emoji.as_str(), REACTION_NAMES_MAX as u64], |row| {
            row.get(0)
        })?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

fn username(db: &Connection, user: UserId) -> Result<String> {
    Ok(db.prepare_cached("SELECT username FROM users WHERE id = ?")?.query_row([user.0], |row| row.get(0))?)
}
