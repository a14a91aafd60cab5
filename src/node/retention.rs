//! Removes messages that are older than they are kept: for all rooms by `retention.messages_days`, for a room by what its
//! owner set. Every node does it; two at the same room take turns at its clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use crate::model::RoomId;
use crate::store::Result;

/// Messages removed in one transaction. Who sends to that room meanwhile waits for it, so it is a matter of milliseconds.
const BATCH_MAX: u32 = 200;
/// Rooms looked at in one query.
const ROOMS_PAGE: u32 = 500;
/// A look, and a removal, is rested from for so many times as long as it took: chat comes first.
const LOOK_REST: u32 = 20;
const REMOVAL_REST: u32 = 3;

impl Node {
    pub(super) async fn keep_to_retention(self: Arc<Self>) {
        loop {
            let interval = Duration::from_secs(self.config.node.purge_interval_s);
            // Nodes that were started together do not look together.
            tokio::time::sleep(interval.mul_f64(rand::random_range(0.9..1.1))).await;
            if let Err(error) = self.purge_outdated().await {
                tracing::debug!(%error, "messages that are too old could not be removed yet");
            }
        }
    }

    /// Goes once through all rooms.
    async fn purge_outdated(&self) -> Result<()> {
        let days = self.config.retention.days();
        let mut cursor = None;
        loop {
            let began = Instant::now();
            let page = self.store.outdated(days, ROOMS_PAGE, cursor.as_deref()).await?;
            tokio::time::sleep(began.elapsed() * LOOK_REST).await;
            for room in page.items {
                self.purge_room(room, days).await?;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn purge_room(&self, room: RoomId, days: Option<u32>) -> Result<()> {
        let limit = self.config.node.purge_rows.min(BATCH_MAX);
        loop {
            let began = Instant::now();
            let removed = self.store.purge_outdated(room, days, limit).await?;
            self.metrics.messages_purged.increment(removed);
            if removed < u64::from(limit) {
                return Ok(());
            }
            tokio::time::sleep(began.elapsed() * REMOVAL_REST).await;
        }
    }
}
