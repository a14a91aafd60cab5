//! Who may do what in a room. Read inside the transaction that acts on it.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::*;
use super::rows::{word, word_or_none};

/// A user and a room, with all that decides what the one may do in the other.
pub struct Relation {
    pub clock: Clock,
    pub kind: RoomKind,
    /// `None`: no such user.
    pub site_role: Option<SiteRole>,
    pub disabled: bool,
    pub role: Option<Role>,
    pub muted: bool,
    pub banned: bool,
}

#[derive(Clone, Copy)]
pub struct Clock {
    pub seq: Seq,
    pub access: u64,
    pub stamped_at: Timestamp,
    pub deleted: bool,
}

impl Clock {
    /// `None`: there never was such a room.
    pub fn read(db: &Connection, room: RoomId) -> Result<Option<Self>> {
        Ok(db
            .prepare_cached("SELECT seq, access, stamped_at, deleted FROM room_clocks WHERE room_id = ?")?
            .query_row([room.0], clock)
            .optional()?)
    }
}

impl Relation {
    /// `None`: there never was such a room.
    pub fn read(db: &Connection, user: UserId, room: RoomId) -> Result<Option<Self>> {
        Ok(db
            .prepare_cached(
                "SELECT c.seq, c.access, c.stamped_at, c.deleted, r.kind, u.role, coalesce(u.disabled, 1), m.role,
                     x.user_id IS NOT NULL, b.user_id IS NOT NULL
                 FROM room_clocks c
                 JOIN rooms r ON r.id = c.room_id
                 LEFT JOIN users u ON u.id = ?1
                 LEFT JOIN members m ON m.room_id = c.room_id AND m.user_id = ?1
                 LEFT JOIN bans b ON b.room_id = c.room_id AND b.user_id = ?1 AND (b.until IS NULL OR b.until > ?3)
                 LEFT JOIN mutes x ON x.room_id = c.room_id AND x.user_id = ?1 AND (x.until IS NULL OR x.until > ?3)
                 WHERE c.room_id = ?2",
            )?
            .query_row([user.0, room.0, Timestamp::now().0], relation)
            .optional()?)
    }

    /// Why this user may not be in this room, in the order in which nothing is given away to a stranger.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.clock.deleted {
            Some(Refusal::NoRoom)
        } else if self.disabled {
            Some(Refusal::Disabled)
        } else if self.role.is_none() && self.kind != RoomKind::Public {
            Some(Refusal::NoRoom)
        } else if self.banned {
            Some(Refusal::Banned)
        } else {
            None
        }
    }
}

pub fn access(db: &Connection, user: UserId, room: RoomId) -> Result<Access> {
    let Some(relation) = Relation::read(db, user, room)? else {
        return Ok(Access { version: 0, standing: Standing::Stranger, muted: false, site_role: None });
    };
    let standing = match (relation.role, relation.kind) {
        _ if relation.clock.deleted => Standing::RoomDeleted,
        _ if relation.banned => Standing::Banned,
        (Some(role), _) => Standing::Member(role),
        (None, RoomKind::Public) => Standing::Guest,
        (None, RoomKind::Private | RoomKind::Direct) => Standing::Stranger,
    };
    Ok(Access { version: relation.clock.access, standing, muted: relation.muted, site_role: relation.site_role })
}

/// Makes a member whose read mark is `last_read`; nothing when they are one.
pub fn make_member(db: &Connection, user: UserId, room: RoomId, role: Role, last_read: Seq) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO members (room_id, user_id, role, last_read, since) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )?
    .execute(rusqlite::params![room.0, user.0, role.as_str(), last_read, Timestamp::now().0])?;
    Ok(())
}

fn relation(row: &Row<'_>) -> rusqlite::Result<Relation> {
    Ok(Relation {
        clock: clock(row)?,
        kind: word(row, 4, RoomKind::from_word)?,
        site_role: word_or_none(row, 5, SiteRole::from_word)?,
        disabled: row.get(6)?,
        role: word_or_none(row, 7, Role::from_word)?,
        muted: row.get(8)?,
        banned: row.get(9)?,
    })
}

/// From the first columns.
fn clock(row: &Row<'_>) -> rusqlite::Result<Clock> {
    Ok(Clock { seq: row.get(0)?, access: row.get(1)?, stamped_at: Timestamp(row.get(2)?), deleted: row.get(3)? })
}
