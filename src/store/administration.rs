//! What administrators of the site see of users, rooms and nodes, and what they change about users.

use crate::model::{RoomId, RoomKind, RoomName, Seq, SiteRole, Slug, Timestamp, Topic, UserId, Username};

use super::NodeBeat;

/// Rows that are gone through for one page, newest first. What is searched for may stand in few of them or in none: no
/// page costs more than this, however large the table is.
pub const SCANNED_MAX: u32 = 100_000;
/// Members of a room that are counted for a list; of a larger room it is told that it has so many.
pub const MEMBERS_COUNTED_MAX: u32 = 10_000;

/// A user as administrators see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUser {
    pub id: UserId,
    pub username: Username,
    pub role: SiteRole,
    pub disabled: bool,
    pub created_at: Timestamp,
    /// When one of their login sessions began or was refreshed last; `None`: they have none.
    pub seen_at: Option<Timestamp>,
    /// The operator's issuer through which they log in; `None`: by password.
    pub issuer: Option<String>,
}

/// A room as administrators see it, of whatever kind and whoever is in it. Nothing that was said there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRoom {
    pub id: RoomId,
    pub slug: Slug,
    pub name: RoomName,
    pub topic: Topic,
    pub kind: RoomKind,
    pub seq: Seq,
    /// At most [`MEMBERS_COUNTED_MAX`].
    pub members: u32,
    /// The two of a direct room; empty for others.
    pub between: Vec<Username>,
    pub created_at: Timestamp,
    /// `None`: nothing was ever said there.
    pub changed_at: Option<Timestamp>,
}

/// A node by its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedNode {
    /// What it said last.
    pub beat: NodeBeat,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// How long ago that was, by the database's clock.
    pub silent_ms: u64,
}

/// A change of a user's account; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountChanges {
    pub disabled: Option<bool>,
    pub role: Option<SiteRole>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Administered {
    Done,
    /// It was already so.
    Unchanged,
    NoUser,
    /// Who asked is no administrator, or not any more.
    NotAllowed,
    /// Nobody disables or demotes themselves.
    Oneself,
}
