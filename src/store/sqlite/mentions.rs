//! Who is mentioned in a text, and the rows by which that is counted.

use rusqlite::{Connection, OptionalExtension};

use super::super::*;
use super::rows::{json_or_null, signed};
use super::users;

/// The members whom a text names, each once, in its order.
pub fn find(db: &Connection, room: RoomId, text: &Content) -> Result<Vec<User>> {
    let mut found: Vec<User> = Vec::new();
    for alternatives in mentioned(text.as_str()) {
        for name in alternatives {
            let Some(account) = users::by_name(db, &name)? else { continue };
            if is_member(db, room, account.user.id)? {
                if !found.contains(&account.user) {
                    found.push(account.user);
                }
                break;
            }
        }
    }
    Ok(found)
}

/// Nobody is told of being named by themselves.
pub fn note(db: &Connection, room: RoomId, id: MessageId, author: UserId, mentioned: &[User]) -> Result<()> {
    for user in mentioned.iter().filter(|user| user.id != author) {
        db.prepare_cached("INSERT INTO mentions (room_id, id, user_id) VALUES (?, ?, ?)")?.execute([
            room.0,
            signed(id),
            user.id.0,
        ])?;
    }
    Ok(())
}

pub fn forget(db: &Connection, room: RoomId, id: MessageId) -> Result<()> {
    db.prepare_cached("DELETE FROM mentions WHERE room_id = ? AND id = ?")?.execute([room.0, signed(id)])?;
    Ok(())
}

/// As the message's row holds them.
pub fn shown(mentioned: &[User]) -> Result<Option<String>> {
    let names: Vec<&str> = mentioned.iter().map(|user| user.username.as_str()).collect();
    json_or_null(&names)
}

fn is_member(db: &Connection, room: RoomId, user: UserId) -> Result<bool> {
    Ok(db
        .prepare_cached("SELECT 1 FROM members WHERE room_id = ? AND user_id = ?")?
        .query_row([room.0, user.0], |_| Ok(()))
        .optional()?
        .is_some())
}
