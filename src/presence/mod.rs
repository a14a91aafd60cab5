//! Who is online where, per room *and node incarnation*, as the cluster's shared knowledge. A node's sets count only
//! while its lease lives, so a node that was killed takes its users with it. Views and announcements are the node's.

pub mod memory;
pub mod redis;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{RoomId, Username};

/// A lease that is not renewed ends after this time.
pub const LEASE: Duration = Duration::from_secs(10);

/// A set that nothing is entered into for this long may be forgotten, so that a killed node's sets do not stay for
/// ever. A node enters everything it holds again well within this time.
pub const SET_LIFE: Duration = Duration::from_secs(3600);

/// One start of one process; random, so that a node restarted under the same name is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub String);

/// What renewing the lease told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Every incarnation whose lease lives, this one included.
    pub live: Vec<Incarnation>,
    /// This incarnation's lease was gone (emptied or expired), or a failed renewal leaves open whether it was: its
    /// sets must be written again.
    pub lost: bool,
}

/// The users of a room by the incarnation that holds their sockets; live incarnations only.
pub type Online = HashMap<Incarnation, Vec<Username>>;

#[derive(Debug, Clone, thiserror::Error)]
#[error("presence is unavailable: {0}")]
pub struct PresenceError(pub String);

pub type Result<T> = std::result::Result<T, PresenceError>;

/// Every call is bounded in time and goes in few commands however many entries it has.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// The incarnation this handle writes for.
    fn incarnation(&self) -> &Incarnation;
    /// Adds to this incarnation's sets; adding twice is adding once, and keeps the sets for another [`SET_LIFE`].
    async fn enter(&self, entries: &[(RoomId, Username)]) -> Result<()>;
    /// Takes out of this incarnation's sets.
    async fn leave(&self, entries: &[(RoomId, Username)]) -> Result<()>;
    /// Renews the lease (it lives for 10 s). The first call of an incarnation is not `lost`.
    async fn renew(&self) -> Result<Lease>;
    /// Who is online, room by room, in the order asked.
    async fn online(&self, rooms: &[RoomId]) -> Result<Vec<Online>>;
    /// A clean exit: ends the lease and removes the sets of these rooms.
    async fn resign(&self, rooms: &[RoomId]) -> Result<()>;
}
