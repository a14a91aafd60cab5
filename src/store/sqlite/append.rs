//! Giving changes their place: the append, the edit, the deletion, the reaction. The writing thread is the lock.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::*;
use super::access::{Relation, make_member};
use super::rows::signed;
use super::{mentions, messages, reactions, search};

pub fn append(db: &Connection, batch: &[Append]) -> Result<Vec<Appended>> {
    batch.iter().map(|item| append_one(db, item)).collect()
}

pub fn change(db: &Connection, change: &Change) -> Result<Changed> {
    let Some(relation) = Relation::read(db, change.actor, change.room)? else {
        return Ok(Changed::Refused(Refusal::NoRoom));
    };
    let deletes = matches!(change.what, ChangeWhat::Delete);
    // An administrator of the site may delete in rooms they are not in.
    let sovereign = deletes && relation.site_role == Some(SiteRole::Admin) && !relation.disabled;
    let refusal = match relation.refusal() {
        Some(_) if sovereign && !relation.clock.deleted => None,
        None if !deletes && relation.muted => Some(Refusal::Muted),
        other => other,
    };
    if let Some(refusal) = refusal {
        return Ok(Changed::Refused(refusal));
    }
    let Some(message) = messages::one(db, change.room, change.id)? else {
        return Ok(Changed::Refused(Refusal::NoMessage));
    };
    let moderates = deletes && (sovereign || relation.role >= Some(Role::Moderator));
    let owned = matches!(change.what, ChangeWhat::Edit(_) | ChangeWhat::Delete);
    if owned && message.author_id != change.actor && !moderates {
        return Ok(Changed::Refused(Refusal::NotAllowed));
    }
    match &change.what {
        // Its reactions went with it, so there is none to take back.
        ChangeWhat::Delete | ChangeWhat::Unreact(_) if message.deleted => {
            return Ok(Changed::Unchanged(Box::new(message)));
        }
        ChangeWhat::Edit(_) | ChangeWhat::React(_) if message.deleted => return Ok(Changed::Refused(Refusal::Gone)),
        ChangeWhat::Edit(content) if content.as_str() == message.content => {
            return Ok(Changed::Unchanged(Box::new(message)));
        }
        ChangeWhat::React(emoji) if reactions::given(db, change, emoji)? => {
            return Ok(Changed::Unchanged(Box::new(message)));
        }
        ChangeWhat::Unreact(emoji) if !reactions::given(db, change, emoji)? => {
            return Ok(Changed::Unchanged(Box::new(message)));
        }
        ChangeWhat::React(emoji) if !reactions::fits(emoji, &message) => {
            return Ok(Changed::Refused(Refusal::TooManyKinds));
        }
        ChangeWhat::Edit(_) | ChangeWhat::Delete | ChangeWhat::React(_) | ChangeWhat::Unreact(_) => {}
    }
    let (seq, now) = tick(db, change.room, &relation)?;
    match &change.what {
        ChangeWhat::Edit(content) => edit(db, change, content, seq, now)?,
        ChangeWhat::Delete => erase(db, change, seq)?,
        ChangeWhat::React(emoji) => reactions::give(db, change, emoji, message, seq)?,
        ChangeWhat::Unreact(emoji) => reactions::take_back(db, change, emoji, message, seq)?,
    }
    let changed = messages::one(db, change.room, change.id)?
        .ok_or_else(|| StoreError::Internal("a message went while it was changed".into()))?;
    Ok(Changed::Done(Box::new(changed)))
}

fn edit(db: &Connection, change: &Change, content: &Content, seq: Seq, now: Timestamp) -> Result<()> {
    let mentions = mentions::find(db, change.room, content)?;
    mentions::forget(db, change.room, change.id)?;
    search::forget(db, change.room, change.id)?;
    mentions::note(db, change.room, change.id, change.actor, &mentions)?;
    db.prepare_cached(
        "UPDATE messages SET seq = ?, kind = 1, edited_at = ?, content = ?, mentions = ? WHERE room_id = ? AND id = ?",
    )?
    .execute(params![
        seq,
        now.0,
        content.as_str(),
        mentions::shown(&mentions)?,
        change.room.0,
        signed(change.id)
    ])?;
    Ok(())
}

fn erase(db: &Connection, change: &Change, seq: Seq) -> Result<()> {
    mentions::forget(db, change.room, change.id)?;
    search::forget(db, change.room, change.id)?;
    db.prepare_cached("DELETE FROM reactions WHERE room_id = ? AND id = ?")?
        .execute([change.room.0, signed(change.id)])?;
    db.prepare_cached(
        "UPDATE messages SET seq = ?, kind = 2, deleted = 1, content = '', mentions = NULL, reactions = NULL
         WHERE room_id = ? AND id = ?",
    )?
    .execute(params![seq, change.room.0, signed(change.id)])?;
    Ok(())
}

/// What is stored is a duplicate even for a user who may send no more: "refused" would be a lie.
fn append_one(db: &Connection, item: &Append) -> Result<Appended> {
    let relation = match Relation::read(db, item.author, item.room)? {
        Some(relation) if !relation.clock.deleted => relation,
        _ => return Ok(Appended::Refused(Refusal::NoRoom)),
    };
    let old = stored(db, item)?;
    if let Some((id, fingerprint)) = &old
        && fingerprint == &item.fingerprint
    {
        let message = messages::one(db, item.room, *id)?
            .ok_or_else(|| StoreError::Internal("a nonce names no message".into()))?;
        return Ok(Appended::Duplicate(Box::new(message)));
    }
    let refusal = match relation.refusal() {
        Some(refusal) => Some(refusal),
        None if relation.muted => Some(Refusal::Muted),
        None if old.is_some() => Some(Refusal::NonceReused),
        None => match item.reply_to {
            Some(target) if messages::one(db, item.room, target)?.is_none() => Some(Refusal::NoReplyTarget),
            _ => None,
        },
    };
    if let Some(refusal) = refusal {
        return Ok(Appended::Refused(refusal));
    }
    if relation.role.is_none() {
        make_member(db, item.author, item.room, Role::Member, relation.clock.seq)?;
    }
    let (id, created_at) = tick(db, item.room, &relation)?;
    let mentions = mentions::find(db, item.room, &item.content)?;
    mentions::note(db, item.room, id, item.author, &mentions)?;
    db.prepare_cached(
        "INSERT INTO messages (room_id, id, seq, author_id, created_at, reply_to, fingerprint, nonce, content, mentions)
         VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        item.room.0,
        id,
        item.author.0,
        created_at.0,
        item.reply_to.map(signed),
        item.fingerprint,
        item.nonce.as_str(),
        item.content.as_str(),
        mentions::shown(&mentions)?
    ])?;
    let mentions = mentions.into_iter().map(|user| user.username).collect();
    Ok(Appended::Stored { id, created_at, mentions })
}

/// The message that has this nonce already: its id and fingerprint.
fn stored(db: &Connection, item: &Append) -> Result<Option<(MessageId, [u8; 16])>> {
    Ok(db
        .prepare_cached("SELECT id, fingerprint FROM messages WHERE room_id = ? AND author_id = ? AND nonce = ?")?
        .query_row(params![item.room.0, item.author.0, item.nonce.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// The room's next seq, and the time, which never goes back within a room.
fn tick(db: &Connection, room: RoomId, relation: &Relation) -> Result<(Seq, Timestamp)> {
    let seq = relation.clock.seq + 1;
    let now = Timestamp::now().max(relation.clock.stamped_at);
    db.prepare_cached("UPDATE room_clocks SET seq = ?, stamped_at = ? WHERE room_id = ?")?
        .execute(params![seq, now.0, room.0])?;
    Ok((seq, now))
}
