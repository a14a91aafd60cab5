//! Who may do what in a room, and how that is changed: roles, removals, bans, mutes, and invitations into rooms.

use std::time::Duration;

use crate::model::{Reason, Role, RoomId, Timestamp, UserId, Username};

/// Invitations of one room that are open at once.
pub const INVITES_OPEN_MAX: u32 = 100;
/// How long it is kept that a room became somebody's: beyond any outage of a node through which its sockets live.
pub const ADDITION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A change of what a user may do in a room. Who may make it is the caller's to judge, by [`super::Store::access`].
#[derive(Debug, Clone)]
pub struct Moderation {
    pub room: RoomId,
    pub user: UserId,
    pub by: UserId,
    /// The access version by which the caller judged: by another one nothing is done. `None`: done at any.
    pub seen: Option<u64>,
    pub act: Act,
}

#[derive(Debug, Clone)]
pub enum Act {
    /// Makes a member, or gives a role; `None`: a plain member, and who is one already stays what they are.
    Add(Option<Role>),
    Remove,
    /// Ends the membership too.
    Ban(Sanction),
    Unban,
    /// Outlives the membership.
    Mute(Sanction),
    Unmute,
}

/// The terms of a ban or a mute.
#[derive(Debug, Clone, Default)]
pub struct Sanction {
    pub reason: Reason,
    /// `None`: until it is lifted.
    pub until: Option<Timestamp>,
}

/// What became of a [`Moderation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moderated {
    /// Done; the access version rose, unless somebody merely became a member, which then has a number of its own.
    Done(Option<AdditionId>),
    /// It was already so.
    Unchanged,
    /// The access version is another one by now: judge again.
    Overtaken,
    /// A room that has an owner keeps one.
    LastOwner,
    /// They cannot be added while they are banned.
    Banned,
    NoRoom,
    NoUser,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanctionKind {
    Ban,
    Mute,
}

/// A ban or a mute in force, as moderators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanctioned {
    pub username: Username,
    pub user: UserId,
    pub reason: Reason,
    pub until: Option<Timestamp>,
    /// `None` where nobody knows any more.
    pub by: Option<Username>,
    pub created_at: Timestamp,
}

/// An invitation to be made. Only the code's hash (SHA-256) comes here.
#[derive(Debug, Clone)]
pub struct NewInvite {
    pub room: RoomId,
    pub by: UserId,
    /// As in [`Moderation`].
    pub seen: Option<u64>,
    pub hash: Vec<u8>,
    /// `None`: as many as come.
    pub uses: Option<u32>,
    pub lifetime: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invited {
    Made {
        expires_at: Timestamp,
    },
    Overtaken,
    /// [`INVITES_OPEN_MAX`] are open.
    TooMany,
    NoRoom,
}

/// An open invitation. Its name is the beginning of its code's hash, which tells nothing of the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    pub id: InviteId,
    pub by: Username,
    pub uses_left: Option<u32>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteId(pub [u8; 8]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redeemed {
    Entered {
        room: RoomId,
        addition: AdditionId,
    },
    /// They were a member before; nothing was spent.
    Member(RoomId),
    /// Spent, expired, withdrawn, never made, of a room that is gone or that they are banned from.
    Nothing,
}

/// The number under which it was noted that a room became somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct AdditionId(pub i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    pub id: AdditionId,
    pub user: UserId,
    pub room: RoomId,
}

/// The one direct room of two users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direct {
    pub room: RoomId,
    /// Of the asking user and of the other one, where it was made just now.
    pub made: Option<(AdditionId, AdditionId)>,
}

impl Act {
    /// The word that the store's own functions know it by.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove => "remove",
            Self::Ban(_) => "ban",
            Self::Unban => "unban",
            Self::Mute(_) => "mute",
            Self::Unmute => "unmute",
        }
    }

    pub(super) fn role(&self) -> Option<Role> {
        match self {
            Self::Add(role) => *role,
            _ => None,
        }
    }

    pub(super) fn sanction(&self) -> Option<&Sanction> {
        match self {
            Self::Ban(sanction) | Self::Mute(sanction) => Some(sanction),
            _ => None,
        }
    }

    /// Whether who it befalls may not invite others any more.
    pub(super) fn ends_inviting(&self) -> bool {
        matches!(self, Self::Remove | Self::Ban(_) | Self::Add(Some(Role::Member)))
    }
}

impl SanctionKind {
    /// The table, and the column that says by whom.
    pub(super) fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Ban => ("bans", "banned_by"),
            Self::Mute => ("mutes", "muted_by"),
        }
    }
}

impl InviteId {
    /// Of a code's hash.
    pub fn of(hash: &[u8]) -> Self {
        let mut id = [0; 8];
        for (place, byte) in id.iter_mut().zip(hash) {
            *place = *byte;
        }
        Self(id)
    }

    /// From 16 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_ours)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl std::fmt::Display for InviteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}
