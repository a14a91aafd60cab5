//! Which rooms are open on this node and which sessions it holds; opening, mending and closing rooms.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::Node;
use super::catch_up::{Page, frames};
use super::close::Close;
use super::counts::Counts;
use super::gate::{Frame, Gate};
use super::limits::network;
use super::metrics::Metrics;
use super::people::People;
use super::queue::Budget;
use super::room::{Inner, Room};
use super::session::{Kind, Proof, Session};
use crate::broker::Channel;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::failpoints::{self, Point};
use crate::model::{RoomId, RoomRef, Slug, User, UserId};
use crate::protocol::frames::ServerFrame;
use crate::store::{Changes, StoreError};
use crate::telemetry::metric;

/// Changes read at once when a room opens or is mended.
pub(super) const CHANGES_PAGE: u32 = 500;
/// Room addresses remembered without the room being open.
const ADDRESSES_MAX: usize = 20_000;
/// The least and the most a hole is given to close by itself.
const PATIENCE_MIN: Duration = Duration::from_millis(30);
const PATIENCE_MAX: Duration = Duration::from_millis(500);
/// What somebody with too many sockets is told to wait: one of them may be gone by then.
const SOCKET_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Before a failed read of the store is tried again.
const REPAIR_RETRY: Duration = Duration::from_millis(250);

pub struct Hub {
    rooms: DashMap<RoomId, Arc<Room>>,
    /// Slugs never change and ids are never reused, so an address once seen stays true until the room is deleted.
    addresses: DashMap<Slug, RoomId>,
    slugs: DashMap<RoomId, Slug>,
    sessions: DashMap<u64, Arc<Session>>,
    pub(super) people: People,
    sockets_of: Counts<UserId>,
    /// By [`network`].
    sockets_from: Counts<IpAddr>,
    next_session: AtomicU64,
    pub(super) budget: Budget,
    memory_used: Arc<AtomicUsize>,
}

impl Hub {
    pub fn new(config: &Config) -> Self {
        Self {
            rooms: DashMap::new(),
            addresses: DashMap::new(),
            slugs: DashMap::new(),
            sessions: DashMap::new(),
            people: People::default(),
            sockets_of: Counts::default(),
            sockets_from: Counts::default(),
            next_session: AtomicU64::new(1),
            budget: Budget::new(config.node.queues_bytes),
            memory_used: Arc::default(),
        }
    }

    pub fn room(&self, id: RoomId) -> Option<Arc<Room>> {
        self.rooms.get(&id).map(|room| room.clone())
    }

    pub fn rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.iter().map(|room| room.clone()).collect()
    }

    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.iter().map(|session| session.clone()).collect()
    }

    /// Users with a socket here.
    pub fn users(&self) -> HashSet<UserId> {
        self.people.users()
    }

    /// A user's sockets here.
    pub fn sessions_of(&self, user: UserId) -> Vec<Arc<Session>> {
        self.people.sessions_of(user)
    }

    /// Tells a user's sockets here that `which` says something that is worth nothing to one that does not read. `false`:
    /// one of them was not told, for its answers fill their reserve.
    pub fn to_user(&self, user: UserId, frame: &str, which: impl Fn(&Session) -> bool) -> bool {
        let sessions = self.sessions_of(user);
        // Each of them, also after one that was not told.
        let untold = sessions.iter().filter(|session| which(session) && !session.hint(frame)).count();
        untold == 0
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Remembers where a room is.
    pub fn note_address(&self, id: RoomId, slug: &Slug) {
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.clear();
            self.slugs.clear();
        }
        self.addresses.insert(slug.clone(), id);
        self.slugs.insert(id, slug.clone());
    }

    pub fn forget_address(&self, id: RoomId) {
        if let Some((_, slug)) = self.slugs.remove(&id) {
            self.addresses.remove(&slug);
        }
    }

    /// The id and slug of a room this node has seen lately. Says nothing about who may enter it.
    pub fn address(&self, room: &RoomRef) -> Option<(RoomId, Slug)> {
        match room {
            RoomRef::Id(id) => self.slugs.get(id).map(|slug| (*id, slug.clone())),
            RoomRef::Slug(slug) => self.addresses.get(slug).map(|id| (*id, slug.clone())),
        }
    }

    /// Takes up a socket or an event stream; refused when this node, its user or its address has too many. `first` is what
    /// a socket is told before all else (a stream is told no such thing): from here on anything of the node may talk to it.
    pub fn admit(
        &self,
        user: User,
        from: IpAddr,
        proof: Proof,
        first: Option<&ServerFrame<'_>>,
        config: &Config,
    ) -> Result<Arc<Session>> {
        let limits = &config.limits;
        let kind = if first.is_some() { Kind::Socket } else { Kind::Stream };
        if self.session_count() >= limits.sockets_per_node {
            return Err(Error::unavailable("this node is full; try another"));
        }
        if !self.sockets_of.take(user.id, limits.sockets_per_user) {
            return Err(too_many_sockets(limits.sockets_per_user, "a user"));
        }
        let network = network(from);
        if !self.sockets_from.take(network, limits.sockets_per_address) {
            self.sockets_of.give_back(&user.id);
            return Err(too_many_sockets(limits.sockets_per_address, "an address"));
        }
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        let session = Session::new(id, kind, user, network, proof, config.limits.queue_bytes, self.budget.clone());
        if let Some(first) = first {
            session.answer(first);
        }
        self.people.add(&session);
        self.sessions.insert(id, session.clone());
        Ok(session)
    }

    pub(super) fn dismiss(&self, session: &Session) {
        if self.sessions.remove(&session.id).is_some() {
            self.people.remove(session);
            self.sockets_of.give_back(&session.user.id);
            self.sockets_from.give_back(&session.network);
        }
    }

    /// Returns when no socket is left, or after `within`.
    pub(super) async fn emptied(&self, within: Duration) {
        let until = Instant::now() + within;
        while self.session_count() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends every socket that `which` says.
    pub fn close_each(&self, how: impl Fn(&Session) -> Option<Close>) {
        for session in &self.sessions {
            if let Some(close) = how(&session) {
                session.close(close);
            }
        }
    }

    fn room_or_new(&self, id: RoomId, slug: &Slug, config: &Config, metrics: &Arc<Metrics>) -> Arc<Room> {
        let fresh = || Arc::new(Room::new(id, slug.clone(), config, self.memory_used.clone(), metrics.clone()));
        self.rooms.entry(id).or_insert_with(fresh).clone()
    }
}

impl Node {
    /// The room, open: its subscription stands and its head is read.
    pub(super) async fn open_room(self: &Arc<Self>, id: RoomId, slug: &Slug) -> Result<Arc<Room>> {
        let room = self.hub.room_or_new(id, slug, &self.config, &self.metrics);
        if let Err(error) = room.opened.get_or_try_init(|| self.fill_room(&room)).await {
            // Others may still be trying; the last one to fail leaves nothing behind.
            self.hub.rooms.remove_if(&id, |_, held| Arc::ptr_eq(held, &room) && !held.opened.initialized());
            self.broker.unsubscribe(&[Channel::Room(id)]);
            return Err(error);
        }
        Ok(room)
    }

    /// The subscription first, then the store: what is committed after the read is heard.
    async fn fill_room(self: &Arc<Self>, room: &Arc<Room>) -> Result<()> {
        let channels = [Channel::Room(room.id)];
        if self.broker.health().borrow().hearing {
            if let Err(error) = self.broker.subscribe(&channels).await {
                tracing::debug!(%error, "a room opens unsubscribed; the beacon serves it until the broker is back");
            }
        } else {
            let broker = self.broker.clone();
            tokio::spawn(async move { broker.subscribe(&channels).await.ok() });
        }
        failpoints::reach(Point::BeforeHead, |text| room.slug.as_str().contains(text)).await;
        let limit = u32::try_from(self.config.node.memory_frames_per_room).unwrap_or(CHANGES_PAGE).min(CHANGES_PAGE);
        let online = self.presence.online(&[room.id]).await;
        let changes = self.store.recent_changes(room.id, limit).await?.ok_or_else(Error::room_not_found)?;
        failpoints::reach(Point::AfterHead, |text| room.slug.as_str().contains(text)).await;
        let mut inner = room.lock();
        if let Ok(mut online) = online
            && let Some(online) = online.pop()
        {
            let version = inner.view.version();
            inner.replace_view(online, version, &self.incarnation);
        }
        open_gate(&mut inner, &room.slug, changes);
        if inner.needs_repair(Instant::now()) {
            self.spawn_repair(room);
        }
        Ok(())
    }

    /// Offers a committed change to the room's gate, if the room is open here.
    pub(super) fn offer(self: &Arc<Self>, id: RoomId, frame: Frame) {
        if let Some(room) = self.hub.room(id)
            && room.lock().offer(frame)
        {
            self.spawn_repair(&room);
        }
    }

    /// Sees to a hole: waits as long as the broker's lag warrants, then reads what is missing.
    pub(super) fn spawn_repair(self: &Arc<Self>, room: &Arc<Room>) {
        let (node, room) = (self.clone(), room.clone());
        tokio::spawn(async move {
            loop {
                let patience = node.patience();
                let wait = {
                    let mut inner = room.lock();
                    let age = inner.gate.hole_age(Instant::now());
                    match age {
                        Some(age) if !inner.closed => patience.checked_sub(age),
                        _ => {
                            inner.repairing = false;
                            return;
                        }
                    }
                };
                match wait {
                    Some(wait) if !wait.is_zero() => tokio::time::sleep(wait).await,
                    _ => {
                        if room.lock().is_overdue() && node.broker.health().borrow().hearing {
                            node.metrics.beacon_repairs.increment(1);
                        }
                        if let Err(error) = node.repair(&room, "hole").await {
                            tracing::debug!(%error, "a hole could not be read yet");
                            tokio::time::sleep(REPAIR_RETRY).await;
                        }
                    }
                }
            }
        });
    }

    /// Reads all changes after the gate's position, once for the whole node, and delivers them in order.
    pub(super) async fn repair(self: &Arc<Self>, room: &Arc<Room>, cause: &'static str) -> Result<()> {
        metrics::counter!(metric::GATE_REPAIRS, "cause" => cause).increment(1);
        loop {
            let position = room.lock().gate.position();
            let Some(changes) = self.store.changes_after(room.id, position, CHANGES_PAGE).await? else {
                self.recheck_access(room, None).await;
                return Err(Error::room_not_found());
            };
            if changes.head.seq < position || changes.head.epoch != room.lock().epoch {
                self.spawn_clock_change(room);
                return Err(Error::unavailable("the room's clock went back; it starts anew"));
            }
            let page = Page::read(position, changes, &room.slug);
            let more = page.more;
            room.lock().repair(page);
            if !more {
                return Ok(());
            }
        }
    }

    /// The room's clock went back (or another node already noticed): a new epoch, a new gate, and every socket is
    /// told to throw away what it holds.
    pub(super) fn spawn_clock_change(self: &Arc<Self>, room: &Arc<Room>) {
        let (node, room) = (self.clone(), room.clone());
        tokio::spawn(async move {
            if let Err(error) = node.clock_changed(&room).await {
                tracing::error!(room = room.id.0, %error, "a room whose clock went back could not start anew yet");
            }
        });
    }

    async fn clock_changed(self: &Arc<Self>, room: &Arc<Room>) -> Result<()> {
        let (old, position) = {
            let inner = room.lock();
            (inner.epoch.clone(), inner.gate.position())
        };
        let limit = u32::try_from(self.config.node.memory_frames_per_room).unwrap_or(CHANGES_PAGE).min(CHANGES_PAGE);
        let found = self.store.recent_changes(room.id, limit).await?.ok_or_else(Error::room_not_found)?;
        if found.head.epoch == old {
            if found.head.seq >= position {
                return Ok(());
            }
            tracing::error!(room = room.id.0, was = position, is = found.head.seq, "a room's clock went back");
            self.metrics.clock_went_back.increment(1);
            self.store.renew_epoch(room.id, &old).await?;
        }
        let changes = self.store.recent_changes(room.id, limit).await?.ok_or_else(Error::room_not_found)?;
        {
            let mut inner = room.lock();
            inner.gate = Gate::new(self.config.node.held_frames_per_room, self.config.node.memory_frames_per_room);
            open_gate(&mut inner, &room.slug, changes);
        }
        self.reset_sessions(room).await;
        Ok(())
    }

    fn patience(&self) -> Duration {
        let health = *self.broker.health().borrow();
        if health.hearing { (health.lag * 4).clamp(PATIENCE_MIN, PATIENCE_MAX) } else { PATIENCE_MIN }
    }

    /// Closes rooms nobody is in.
    pub(super) fn close_idle_rooms(&self) {
        let linger = Duration::from_secs(self.config.node.room_linger_s);
        let mut closed = Vec::new();
        for room in self.hub.rooms() {
            let mut inner = room.lock();
            let idle = inner.is_empty() && inner.local_users().next().is_none();
            if idle && inner.empty_since.elapsed() >= linger {
                inner.closed = true;
                closed.push(Channel::Room(room.id));
                self.hub.rooms.remove(&room.id);
            }
        }
        if !closed.is_empty() {
            self.broker.unsubscribe(&closed);
        }
    }

    /// Takes a room out at once, for it was deleted.
    pub(super) fn drop_room(&self, room: &Arc<Room>) {
        room.lock().closed = true;
        self.hub.rooms.remove(&room.id);
        self.hub.forget_address(room.id);
        self.broker.unsubscribe(&[Channel::Room(room.id)]);
    }

    /// Where a room is. What is remembered of it says nothing about this user: only what goes on to ask the store for
    /// permission may use it.
    pub(super) async fn locate(&self, who: &User, room: &RoomRef) -> Result<(RoomId, Slug)> {
        match self.hub.address(room) {
            Some(address) => Ok(address),
            None => self.locate_afresh(who, room).await,
        }
    }

    /// Where a room is, if it exists for this user.
    pub(super) async fn locate_afresh(&self, who: &User, room: &RoomRef) -> Result<(RoomId, Slug)> {
        let info = self.store.room(who.id, room).await?.ok_or_else(Error::room_not_found)?;
        self.hub.note_address(info.id, &info.slug);
        Ok((info.id, info.slug))
    }
}

pub(super) fn open_gate(inner: &mut Inner, slug: &Slug, changes: Changes) {
    let floor = match changes.changes.first() {
        Some(first) if changes.more => first.seq - 1,
        _ if changes.more => changes.head.seq,
        _ => 0,
    };
    inner.epoch = changes.head.epoch;
    inner.forget_title();
    let is_empty = inner.is_empty();
    inner.access.open(changes.head.access, is_empty);
    inner.gate.open(changes.head.seq, frames(changes.changes, slug), floor, Instant::now());
    inner.gate.memory_mut().purge(changes.head.purged);
    inner.opened();
}

fn too_many_sockets(max: usize, of: &str) -> Error {
    Error::RateLimited { what: format!("at most {max} sockets {of}"), retry_after: SOCKET_RETRY_AFTER }
}

impl From<&StoreError> for Error {
    fn from(error: &StoreError) -> Self {
        error.clone().into()
    }
}
