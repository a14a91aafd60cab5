//! Hints between nodes: a channel per room, one for the whole cluster. At most once, in order per sender and channel
//! while all is well, and nothing is promised when it is not: the node heals what is lost from the store.
//!
//! `open` of a backend gives the broker and the one bounded channel its deliveries leave by, so that a broker never
//! calls back into the node.

pub mod memory;
mod outlet;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::model::{RoomId, UserId};

/// Where a payload is published and heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    Room(RoomId),
    /// All sockets of one user.
    User(UserId),
    /// Every node listens, always: a backend subscribes to it by itself when it opens.
    Cluster,
}

/// What leaves a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Heard {
        channel: Channel,
        payload: Bytes,
    },
    /// Payloads may have been lost just now (reconnected, resubscribed, lagged, our own queue full): compare heads.
    Disturbed(Disturbance),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disturbance {
    Reconnected,
    Resubscribed,
    Lagged,
    /// The node did not take events fast enough.
    Overflow,
    /// Probes went unheard and a new subscriber took over.
    Replaced,
}

impl Disturbance {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconnected => "reconnected",
            Self::Resubscribed => "resubscribed",
            Self::Lagged => "lagged",
            Self::Overflow => "overflow",
            Self::Replaced => "replaced",
        }
    }
}

/// Whether this node hears itself through the broker, by probes on the normal path; never by the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    pub hearing: bool,
    /// Publish to hear, a recent high value: what a hint may take while all is well.
    pub lag: Duration,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("the broker is unavailable: {0}")]
pub struct BrokerError(pub String);

pub type Result<T> = std::result::Result<T, BrokerError>;

#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Confirmed: after `Ok`, whatever is published on these channels is heard, or [`Event::Disturbed`] is. Many
    /// channels go in few commands. After `Err` the channels stay wanted and are subscribed as soon as that works
    /// (with a [`Event::Disturbed`] then). Subscribing twice is subscribing once. Bounded in time.
    async fn subscribe(&self, channels: &[Channel]) -> Result<()>;
    /// Not waited for. What is heard of them afterwards may still arrive.
    fn unsubscribe(&self, channels: &[Channel]);
    /// Never waits: puts it into a bounded queue that is sent pipelined, in order. `false`: the queue was full or
    /// the broker is gone, and the hint is lost (and counted).
    fn publish(&self, channel: Channel, payload: Bytes) -> bool;
    /// Changes when health changes.
    fn health(&self) -> watch::Receiver<Health>;
    /// Sends what is queued, for at most `within`, then closes.
    async fn close(&self, within: Duration);
}
