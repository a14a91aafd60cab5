//! Looks at the store when hints may be missing: heads and access versions of every room with sockets, revocations,
//! and the nodes' rows. It is what bounds the time a lost last hint stays lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::revoked;
use super::room::Room;
use crate::broker::Channel;
use crate::model::{RoomId, Seq};
use crate::protocol::envelope::{Envelope, Notice};
use crate::store::{Head, NodeBeat, StoreError};

/// The query may take at most this share of the time.
const SHARE: u32 = 20;
/// A node whose row is older than this is not counted as a peer.
pub(super) const PEER_WINDOW: Duration = Duration::from_secs(15);
/// Between two writes of this node's row.
pub(super) const BEAT_INTERVAL: Duration = Duration::from_secs(3);

impl Node {
    pub(super) async fn beacon(self: Arc<Self>) {
        let mut health = self.broker.health();
        let mut beaten = None::<(Instant, bool)>;
        let mut purged = Instant::now();
        let mut window = revoked::KEPT;
        let mut looked_at = Instant::now();
        loop {
            let started = Instant::now();
            let looked = self.look_at_store(window).await;
            let took = started.elapsed();
            self.metrics.beacon_seconds.record(took.as_secs_f64());
            self.health.database(looked.is_ok());
            self.metrics.database_up.set(if looked.is_ok() { 1.0 } else { 0.0 });
            // One that failed cost the database nothing, and its return must be noticed soon.
            let rest = if looked.is_ok() { took * SHARE } else { Duration::ZERO };
            match looked {
                Ok(()) => (looked_at, window) = (started, revoked::WINDOW),
                Err(error) => tracing::debug!(%error, "the beacon could not look"),
            }
            window = window.max(looked_at.elapsed() + revoked::WINDOW);
            let hearing = self.broker.health().borrow().hearing;
            self.health.broker(hearing);
            // Peers judge themselves by what this node says of its broker, so they are told at once when that changes.
            if beaten.is_none_or(|(at, said)| at.elapsed() >= BEAT_INTERVAL || said != hearing) {
                self.beat(hearing).await;
                beaten = Some((Instant::now(), hearing));
            }
            self.close_idle_rooms();
            if purged.elapsed() >= Duration::from_secs(self.config.node.purge_interval_s) {
                purged = Instant::now();
                self.store.purge(self.config.node.purge_rows).await.ok();
            }
            self.metrics.rooms.set(self.hub.room_count() as f64);
            self.metrics.sockets.set(self.hub.session_count() as f64);
            self.metrics.queue_bytes.set(self.hub.budget.used() as f64);
            let wait = self.beacon_interval(health.borrow_and_update().hearing);
            // Jitter of a tenth, so that nodes started together do not ask together.
            let wait = wait.mul_f64(rand::random_range(0.9..1.1)).saturating_sub(rest);
            // Whatever calls for a look now: the database is asked no more than its share of the time.
            tokio::time::sleep(rest).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.beacon_now.notified() => {}
                changed = health.changed() => if changed.is_err() { return },
            }
        }
    }

    fn beacon_interval(&self, hearing: bool) -> Duration {
        let node = &self.config.node;
        Duration::from_millis(if hearing { node.beacon_interval_ms } else { node.beacon_interval_unwell_ms })
    }

    async fn look_at_store(self: &Arc<Self>, window: Duration) -> Result<(), StoreError> {
        let rooms: Vec<Arc<Room>> =
            self.hub.rooms().into_iter().filter(|room| room.opened.initialized() && !room.lock().is_empty()).collect();
        for chunk in rooms.chunks(self.config.node.beacon_chunk) {
            // Positions first: what is delivered while the query runs must not look like a clock that went back.
            let positions: Vec<Seq> = chunk.iter().map(|room| room.lock().gate.position()).collect();
            let ids: Vec<RoomId> = chunk.iter().map(|room| room.id).collect();
            let heads: HashMap<RoomId, Head> =
                self.store.heads(&ids).await?.into_iter().map(|head| (head.room, head)).collect();
            for (room, position) in chunk.iter().zip(positions) {
                self.compare(room, position, heads.get(&room.id));
            }
        }
        self.apply_revocations(self.store.recent_revocations(window).await?);
        Ok(())
    }

    fn compare(self: &Arc<Self>, room: &Arc<Room>, position: Seq, head: Option<&Head>) {
        let Some(head) = head else {
            self.look_again(room.id, None);
            return;
        };
        let mut inner = room.lock();
        if head.seq < position || head.epoch != inner.epoch {
            drop(inner);
            self.spawn_clock_change(room);
            return;
        }
        let behind = inner.gate.hole_age(Instant::now()).is_none() && head.seq > inner.gate.position();
        inner.gate.note_head(head.seq, Instant::now());
        let repair = inner.needs_repair(Instant::now());
        let recheck = head.access != inner.access;
        if behind && self.broker.health().borrow().hearing {
            inner.overdue = Some(head.seq);
        }
        drop(inner);
        if repair {
            self.spawn_repair(room);
        }
        if recheck {
            self.look_again(room.id, None);
        }
    }

    /// Writes this node's row, reads its peers', and tells them over the broker how its database fares.
    async fn beat(&self, broker_ok: bool) {
        let beat = NodeBeat {
            incarnation: self.incarnation.0.clone(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            broker_ok,
            draining: self.health.is_draining(),
        };
        let peers = self.store.beat(&beat, PEER_WINDOW).await;
        let database_ok = peers.is_ok();
        if let Ok(peers) = peers {
            self.health.peers(peers.into_iter().filter(|peer| peer.incarnation != self.incarnation.0).collect());
        }
        let notice = Notice::Node { incarnation: self.incarnation.0.clone(), database_ok };
        self.broker.publish(Channel::Cluster, Envelope::from(notice).encode());
    }
}
