//! The use cases: what a user can do, over the three seams (store, broker, presence). Knows neither HTTP nor
//! WebSocket nor any driver.

pub mod rooms;

use std::sync::Arc;

use crate::broker::Broker;
use crate::config::Config;
use crate::error::Result;
use crate::model::{Message, MessageId, RoomId, RoomRef, Slug, User, UserId, Username};
use crate::presence::{Incarnation, Presence};
use crate::protocol::frames::Removal;
use crate::store::Store;

/// One gateway.
pub struct Node {
    pub config: Arc<Config>,
    pub name: String,
    pub incarnation: Incarnation,
    pub store: Arc<dyn Store>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) presence: Arc<dyn Presence>,
}

/// A message that is stored, with the slug its frame says.
#[derive(Debug, Clone)]
pub struct Told {
    pub slug: Slug,
    pub message: Message,
    /// For a send: the nonce was seen before. For an edit or deletion: it was already so.
    pub unchanged: bool,
}

/// Whether a load balancer should send people here (contract §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub degraded: Vec<&'static str>,
    pub failing: Vec<&'static str>,
}

impl Node {
    /// Stores a message and has it delivered; returns when it is durable.
    pub async fn send(
        &self,
        who: &User,
        room: &RoomRef,
        content: &str,
        nonce: Option<&str>,
        reply_to: Option<MessageId>,
    ) -> Result<Told> {
        todo!()
    }

    pub async fn edit(&self, who: &User, room: &RoomRef, id: MessageId, content: &str) -> Result<Told> {
        todo!()
    }

    pub async fn delete(&self, who: &User, room: &RoomRef, id: MessageId) -> Result<Told> {
        todo!()
    }

    /// Who is online in a room: the first `limit` names and how many there are.
    pub async fn online(&self, room: RoomId, limit: usize) -> Result<(Vec<Username>, usize)> {
        todo!()
    }

    /// How many are online, room by room.
    pub async fn online_counts(&self, rooms: &[RoomId]) -> Result<Vec<u32>> {
        todo!()
    }

    /// To be called after anything that raised a room's access version: every node with the room looks again who
    /// may stay; `removed` says whom it threw out and why, so that they are told.
    pub fn announce_access(&self, room: RoomId, removed: Option<(UserId, Removal)>) {
        todo!()
    }

    /// To be called after name or topic changed.
    pub fn announce_updated(&self, room: RoomId) {
        todo!()
    }

    /// Ends a login session everywhere: in the store, then on every node's sockets and tokens.
    pub async fn logout(&self, user: UserId, session: &str) -> Result<()> {
        todo!()
    }

    /// Whether this proof of identity was withdrawn: its login session ended, or its user disabled after `issued_at`
    /// (seconds since 1970).
    pub fn is_revoked(&self, user: UserId, session: Option<&str>, issued_at: Option<i64>) -> bool {
        todo!()
    }

    pub fn readiness(&self) -> Readiness {
        todo!()
    }
}
