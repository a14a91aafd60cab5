//! Keeps presence true: writes this node's own sets, tells the cluster, renews the lease, and reads afresh what hints
//! may have missed.

mod leases;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use leases::Leases;

use super::Node;
use super::room::Room;
use crate::broker::Channel;
use crate::error::Result;
use crate::model::{RoomId, Username};
use crate::protocol::envelope::{Envelope, Notice};

/// A leave is announced after this: a page reload is silent.
pub const LEAVE_GRACE: Duration = Duration::from_secs(3);
const LEASE_INTERVAL: Duration = Duration::from_secs(2);
/// Every room is read afresh within this time.
const SWEEP_PERIOD: Duration = Duration::from_secs(240);
const SWEEP_TICK: Duration = Duration::from_secs(1);
const SWEEP_CHUNK: usize = 200;
const WRITE_RETRY: Duration = Duration::from_millis(500);
const WRITE_CHUNK: usize = 5_000;
/// What is gathered before it is written and told: a crowd that comes costs a few commands a room, not a few a head.
const GATHER: Duration = Duration::from_millis(50);
/// Users in one hint.
const TOLD_MAX: usize = 500;

#[derive(Default)]
pub struct Comings {
    /// What the shared sets still have to learn: the last word for each user and room counts.
    pending: Mutex<HashMap<(RoomId, Username), bool>>,
    write: Notify,
    /// Some of it is being written and told.
    writing: AtomicBool,
    /// Leaves waiting out their grace, oldest first.
    leaving: Mutex<VecDeque<(Instant, RoomId, Username)>>,
    /// Rooms to be read afresh soon.
    stale: Mutex<HashSet<RoomId>>,
}

impl Comings {
    pub fn entered(&self, room: RoomId, user: &Username) {
        lock(&self.pending).insert((room, user.clone()), true);
        self.write.notify_one();
    }

    pub fn left(&self, room: RoomId, user: &Username) {
        lock(&self.pending).insert((room, user.clone()), false);
        self.write.notify_one();
    }

    pub fn leaving(&self, room: RoomId, user: &Username) {
        lock(&self.leaving).push_back((Instant::now() + LEAVE_GRACE, room, user.clone()));
    }

    fn take(&self) -> Vec<((RoomId, Username), bool)> {
        let mut pending = lock(&self.pending);
        let keys: Vec<_> = pending.keys().take(WRITE_CHUNK).cloned().collect();
        self.writing.store(!keys.is_empty(), Ordering::SeqCst);
        keys.into_iter().filter_map(|key| pending.remove_entry(&key)).collect()
    }

    /// What could not be written; a later word on the same user and room goes before it.
    fn put_back(&self, batch: Vec<((RoomId, Username), bool)>) {
        let mut pending = lock(&self.pending);
        for (key, enters) in batch {
            pending.entry(key).or_insert(enters);
        }
    }

    /// Nobody waits out a grace, and all comings and goings are written and told.
    pub fn is_settled(&self) -> bool {
        let pending = lock(&self.pending);
        lock(&self.leaving).is_empty() && pending.is_empty() && !self.writing.load(Ordering::SeqCst)
    }

    pub fn mark_stale(&self, rooms: impl IntoIterator<Item = RoomId>) {
        lock(&self.stale).extend(rooms);
    }
}

impl Node {
    pub(super) fn start_presence(self: &Arc<Self>) {
        self.run_beside(self.clone().write_presence());
        self.run_beside(self.clone().renew_lease());
        self.run_beside(self.clone().tick_presence());
    }

    /// Writes first, tells after: who reads the sets because of a hint must find it there.
    async fn write_presence(self: Arc<Self>) {
        loop {
            // A word that comes while nobody waits for it is kept.
            self.comings.write.notified().await;
            tokio::time::sleep(GATHER).await;
            let batch = self.comings.take();
            if batch.is_empty() {
                continue;
            }
            if batch.len() == WRITE_CHUNK {
                self.comings.write.notify_one();
            }
            let side = |entering: bool| -> Vec<(RoomId, Username)> {
                batch.iter().filter(|(_, enters)| *enters == entering).map(|(key, _)| key.clone()).collect()
            };
            let (enters, leaves) = (side(true), side(false));
            let written = async {
                if !enters.is_empty() {
                    self.presence.enter(&enters).await?;
                }
                if !leaves.is_empty() {
                    self.presence.leave(&leaves).await?;
                }
                Ok::<(), crate::presence::PresenceError>(())
            }
            .await;
            match written {
                Ok(()) => self.tell_comings(batch),
                Err(error) => {
                    tracing::debug!(%error, entries = batch.len(), "presence could not be written yet");
                    self.comings.put_back(batch);
                    tokio::time::sleep(WRITE_RETRY).await;
                    self.comings.write.notify_one();
                }
            }
        }
    }

    /// One hint a room, or a few where very many came or went at once.
    fn tell_comings(&self, batch: impl IntoIterator<Item = ((RoomId, Username), bool)>) {
        let mut rooms: HashMap<RoomId, Vec<(Username, bool)>> = HashMap::new();
        for ((room, user), enters) in batch {
            rooms.entry(room).or_default().push((user, enters));
        }
        for (room, users) in rooms {
            for told in users.chunks(TOLD_MAX) {
                let (entered, left): (Vec<_>, Vec<_>) = told.iter().partition(|(_, enters)| *enters);
                let names =
                    |users: Vec<&(Username, bool)>| users.iter().map(|(user, _)| user.as_str().to_owned()).collect();
                let incarnation = self.incarnation.0.clone();
                let notice = Notice::Presence { incarnation, entered: names(entered), left: names(left) };
                self.broker.publish(Channel::Room(room), Envelope::from(notice).encode());
            }
        }
    }

    /// Renews this incarnation's lease and drops the users of those whose lease is over.
    async fn renew_lease(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LEASE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut leases = Leases::default();
        loop {
            ticks.tick().await;
            let Ok(lease) = self.presence.renew().await else { continue };
            if lease.lost {
                tracing::warn!("presence came back empty; writing this node's users again");
                self.write_own_sets();
            }
            if let Some(keep) = leases.renewed(lease, &self.incarnation, Instant::now()) {
                for room in self.hub.rooms() {
                    room.lock().retain_nodes(&keep);
                }
            }
        }
    }

    fn write_own_sets(&self) {
        for room in self.hub.rooms() {
            let inner = room.lock();
            let mut pending = lock(&self.comings.pending);
            for user in inner.local_users() {
                pending.entry((room.id, user.clone())).or_insert(true);
            }
        }
        self.comings.write.notify_one();
        self.comings.mark_stale(self.hub.rooms().iter().map(|room| room.id));
    }

    /// Leaves whose grace is over, counts of large rooms, rooms to be read afresh.
    async fn tick_presence(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next_sweep = Instant::now() + SWEEP_TICK;
        let mut sweep = Vec::new();
        let mut counts: HashMap<RoomId, usize> = HashMap::new();
        loop {
            ticks.tick().await;
            self.finish_leaves();
            if Instant::now() < next_sweep {
                continue;
            }
            next_sweep = Instant::now() + SWEEP_TICK;
            self.tell_counts(&mut counts);
            self.sweep(&mut sweep).await;
        }
    }

    fn finish_leaves(&self) {
        let now = Instant::now();
        loop {
            let Some((_, room, user)) = lock(&self.comings.leaving).front().filter(|(due, ..)| *due <= now).cloned()
            else {
                return;
            };
            if let Some(room) = self.hub.room(room)
                && room.lock().leave_for_good(&user, &self.incarnation)
            {
                self.comings.left(room.id, &user);
            }
            // Only now, so that it never looks settled in between; others only append.
            lock(&self.comings.leaving).pop_front();
        }
    }

    /// Rooms over the bound: the count, when it is another one than a second ago.
    fn tell_counts(&self, told: &mut HashMap<RoomId, usize>) {
        let rooms = self.hub.rooms();
        for room in &rooms {
            let mut inner = room.lock();
            if inner.is_counting() {
                let count = inner.view.count();
                if told.insert(room.id, count) != Some(count) {
                    inner.tell_count();
                }
            } else {
                told.remove(&room.id);
            }
        }
        if told.len() > rooms.len() {
            told.retain(|id, _| self.hub.room(*id).is_some());
        }
    }

    /// Reads a share of all rooms afresh, the stale ones first.
    async fn sweep(&self, round: &mut Vec<RoomId>) {
        if round.is_empty() {
            *round = self.hub.rooms().iter().map(|room| room.id).collect();
        }
        let share = (self.hub.room_count() as u64 / SWEEP_PERIOD.as_secs() + 1) as usize;
        let mut rooms: Vec<RoomId> = {
            let mut stale = lock(&self.comings.stale);
            let first: Vec<RoomId> = stale.iter().take(SWEEP_CHUNK * 5).copied().collect();
            for id in &first {
                stale.remove(id);
            }
            first
        };
        let keep = round.len().saturating_sub(share);
        rooms.extend(round.drain(keep..));
        for chunk in rooms.chunks(SWEEP_CHUNK) {
            if let Err(error) = self.read_presence(chunk).await {
                tracing::debug!(%error, "presence could not be read afresh");
                self.comings.mark_stale(chunk.iter().copied());
            }
        }
    }

    async fn read_presence(&self, ids: &[RoomId]) -> Result<(), crate::presence::PresenceError> {
        let rooms: Vec<(Arc<Room>, u64)> = ids
            .iter()
            .filter_map(|id| self.hub.room(*id))
            .map(|room| {
                let version = room.lock().view.version();
                (room, version)
            })
            .collect();
        // Own sets expire when nobody writes them for long, so that what a node leaves behind goes away.
        let own: Vec<(RoomId, Username)> = rooms
            .iter()
            .flat_map(|(room, _)| room.lock().local_users().map(|user| (room.id, user.clone())).collect::<Vec<_>>())
            .collect();
        self.presence.enter(&own).await?;
        let ids: Vec<RoomId> = rooms.iter().map(|(room, _)| room.id).collect();
        let read = self.presence.online(&ids).await?;
        for ((room, version), online) in rooms.into_iter().zip(read) {
            room.lock().replace_view(online, version, &self.incarnation);
        }
        Ok(())
    }

    /// Who is online in a room: the first `limit` names and how many there are.
    pub async fn online(&self, room: RoomId, limit: usize) -> Result<(Vec<Username>, usize)> {
        if let Some(room) = self.hub.room(room)
            && room.opened.initialized()
        {
            let inner = room.lock();
            return Ok((inner.view.names(limit), inner.view.count()));
        }
        let users = self.read_online(&[room]).await.pop().unwrap_or_default();
        let count = users.len();
        Ok((users.into_iter().take(limit).collect(), count))
    }

    /// How many are online, room by room; 0 where presence cannot be read now.
    pub async fn online_counts(&self, rooms: &[RoomId]) -> Result<Vec<u32>> {
        let here = |id: &RoomId| {
            self.hub.room(*id).filter(|room| room.opened.initialized()).map(|room| room.lock().view.count())
        };
        let known: Vec<Option<usize>> = rooms.iter().map(here).collect();
        let elsewhere: Vec<RoomId> =
            rooms.iter().zip(&known).filter(|(_, count)| count.is_none()).map(|(id, _)| *id).collect();
        let mut read = Vec::new();
        for chunk in elsewhere.chunks(SWEEP_CHUNK) {
            read.extend(self.read_online(chunk).await.into_iter().map(|users| users.len()));
        }
        let mut read = read.into_iter();
        let counts = known.into_iter().map(|count| count.or_else(|| read.next()).unwrap_or(0));
        Ok(counts.map(|count| u32::try_from(count).unwrap_or(u32::MAX)).collect())
    }

    /// Presence down means "unknown", which is told as nobody rather than as a failure of the whole answer.
    async fn read_online(&self, rooms: &[RoomId]) -> Vec<Vec<Username>> {
        match self.presence.online(rooms).await {
            Ok(read) => read
                .into_iter()
                .map(|online| {
                    let mut users: Vec<Username> = online.into_values().flatten().collect();
                    users.sort_unstable();
                    users.dedup();
                    users
                })
                .collect(),
            Err(error) => {
                tracing::debug!(%error, "presence could not be read");
                vec![Vec::new(); rooms.len()]
            }
        }
    }

    /// A clean exit takes its users along at once: those still here, and those whose leave is not told yet.
    pub(super) async fn resign(&self) {
        let rooms: Vec<RoomId> = self.hub.rooms().iter().map(|room| room.id).collect();
        let mut gone = std::mem::take(&mut *lock(&self.comings.pending));
        for room in self.hub.rooms() {
            gone.extend(room.lock().local_users().map(|user| ((room.id, user.clone()), false)));
        }
        gone.values_mut().for_each(|enters| *enters = false);
        self.tell_comings(gone);
        if let Err(error) = self.presence.resign(&rooms).await {
            tracing::warn!(%error, "presence could not be left; the lease will run out");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
