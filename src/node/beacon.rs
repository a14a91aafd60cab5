//! Looks at the store when hints may be missing: heads and access versions of every room with sockets, revocations,
//! rooms that became somebody's, and the nodes' rows. It is what bounds the time a lost last hint stays lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Node;
use super::revoked::Reach;
use super::room::Room;
use crate::broker::Channel;
use crate::model::{RoomId, Seq, Timestamp};
use crate::protocol::envelope::{Envelope, Notice};
use crate::store::{Head, NodeBeat, StoreError};
use crate::telemetry::Complaint;

/// The query may take at most this share of the time.
const SHARE: u32 = 20;
/// The least rest after a look, also after one that failed at once: no storm of calls for a look makes it spin.
const REST_MIN: Duration = Duration::from_millis(50);
/// A node whose row is older than this is not counted as a peer.
pub(super) const PEER_WINDOW: Duration = Duration::from_secs(15);
/// Between two writes of this node's row.
pub(super) const BEAT_INTERVAL: Duration = Duration::from_secs(3);

impl Node {
    pub(super) async fn beacon(self: Arc<Self>) {
        let mut health = self.broker.health();
        let mut beaten = None::<(Instant, (bool, bool))>;
        // A database that is read and takes no writes, as on a full disk, is not well.
        let mut written = Ok(());
        let mut purged = Instant::now();
        let mut reach = Reach::start(Instant::now());
        let mut complaint = Complaint::default();
        loop {
            let started = Instant::now();
            let looked = self.look_at_store(reach.window(started)).await;
            let took = started.elapsed();
            self.metrics.beacon_seconds.record(took.as_secs_f64());
            self.judge_database(looked.as_ref().and(written.as_ref()), &mut complaint);
            // One that failed cost the database nothing, and its return must be noticed soon.
            let rest = if looked.is_ok() { REST_MIN.max(took * SHARE) } else { REST_MIN };
            if looked.is_ok() {
                reach.looked(started);
            }
            let hearing = self.broker.health().borrow().hearing;
            self.health.broker(hearing);
            // Peers judge themselves by what this node says of its broker, so they are told at once when that changes.
            let state = (hearing, self.health.is_draining());
            let due = beaten.is_none_or(|(at, said)| at.elapsed() >= BEAT_INTERVAL || said != state);
            if due || written.is_err() {
                written = self.beat(hearing).await;
                beaten = Some((Instant::now(), state));
                // The latest word, and the one that peers were given: theirs and ours must not differ.
                self.judge_database(written.as_ref(), &mut complaint);
            }
            self.close_idle_rooms();
            self.forget_absent_people();
            if purged.elapsed() >= Duration::from_secs(self.config.node.purge_interval_s) {
                purged = Instant::now();
                self.store.purge(self.config.node.purge_rows).await.ok();
            }
            self.metrics.rooms.set(self.hub.room_count() as f64);
            self.metrics.sockets.set(self.hub.session_count() as f64);
            self.metrics.queue_bytes.set(self.hub.budget.used() as f64);
            let heard = health.borrow_and_update().hearing;
            let wait = self.beacon_interval(heard);
            // Jitter of a tenth, so that nodes started together do not ask together.
            let wait = wait.mul_f64(rand::random_range(0.9..1.1)).saturating_sub(rest);
            // Whatever calls for a look now: the database is asked no more than its share of the time.
            tokio::time::sleep(rest).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.beacon_now.notified() => {}
                // How late hints come changes all the time, and is no reason to look.
                changed = health.wait_for(|health| health.hearing != heard) => if changed.is_err() { return },
            }
        }
    }

    fn judge_database(&self, found: Result<&(), &StoreError>, complaint: &mut Complaint) {
        self.health.database(found.is_ok());
        self.metrics.database_up.set(if found.is_ok() { 1.0 } else { 0.0 });
        match found {
            Ok(()) if complaint.ends() => tracing::info!("the database answers again"),
            Err(error) if complaint.is_news(error) => tracing::warn!(%error, "the database does not answer"),
            _ => {}
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
        self.read_revocations(window).await?;
        self.read_additions(window).await
    }

    /// In the same way.
    async fn read_additions(self: &Arc<Self>, window: Duration) -> Result<(), StoreError> {
        let limit = u32::try_from(self.config.node.beacon_chunk).unwrap_or(u32::MAX);
        let mut after = None;
        loop {
            let page = self.store.recent_additions(window, after, limit).await?;
            let more = page.len() >= self.config.node.beacon_chunk;
            after = page.last().map(|last| last.id);
            self.tell_added(page);
            if !more {
                self.hub.people.forget_known(window);
                return Ok(());
            }
        }
    }

    /// Page by page, each applied before the next is read. A row that becomes visible behind the page it belongs to is
    /// read by the next look, whose window reaches back over this one.
    pub(super) async fn read_revocations(self: &Arc<Self>, window: Duration) -> Result<(), StoreError> {
        let limit = u32::try_from(self.config.node.beacon_chunk).unwrap_or(u32::MAX);
        let mut after = None;
        loop {
            let page = self.store.recent_revocations(window, after, limit).await?;
            let more = page.len() >= self.config.node.beacon_chunk;
            after = page.last().map(|last| last.id);
            self.apply_revocations(page);
            if !more {
                return Ok(());
            }
        }
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
        inner.gate.memory_mut().purge(head.purged);
        let repair = inner.needs_repair(Instant::now());
        let recheck = head.access != inner.access.version();
        if behind && self.broker.health().borrow().hearing {
            inner.overdue = Some(head.seq);
        }
        drop(inner);
        if !recheck {
            if repair {
                self.spawn_repair(room);
            }
            return;
        }
        // Who may stay comes first: what was said after somebody was put out is not read to them.
        let (node, room) = (self.clone(), room.clone());
        tokio::spawn(async move {
            node.recheck_access(&room, None).await;
            if repair {
                node.spawn_repair(&room);
            }
        });
    }

    /// Writes this node's row, reads its peers', and tells them over the broker how its database fares.
    async fn beat(&self, broker_ok: bool) -> Result<(), StoreError> {
        let beat = NodeBeat {
            incarnation: self.incarnation.0.clone(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            broker_ok,
            draining: self.health.is_draining(),
            sockets: u32::try_from(self.hub.session_count()).ok(),
        };
        let before = Timestamp::now();
        let beaten = self.store.beat(&beat, PEER_WINDOW).await;
        let database_ok = beaten.is_ok();
        let notice = Notice::Node { incarnation: self.incarnation.0.clone(), database_ok };
        self.broker.publish(Channel::Cluster, Envelope::from(notice).encode());
        let beaten = beaten?;
        // The database read its clock somewhere between: half of what it took is the best guess.
        let skew = before.0.midpoint(Timestamp::now().0) - beaten.at.0;
        self.metrics.clock_skew_seconds.set(skew as f64 / 1_000.0);
        let others = beaten.nodes.into_iter().filter(|peer| peer.incarnation != self.incarnation.0);
        self.health.peers(others.collect());
        Ok(())
    }
}
