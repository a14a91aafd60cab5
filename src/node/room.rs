//! One room on this node: its gate, the sessions in it, and who is online, behind one lock.
//!
//! Lock order: a room's lock, then a session's. Nothing waits while it holds either.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OnceCell, oneshot};

use super::access::checked::Checked;
use super::catch_up::Page;
use super::gate::{Delivery, Frame, Gate};
use super::metrics::Metrics;
use super::queue::{Push, delivery_text};
use super::session::Session;
use super::view::View;
use crate::config::Config;
use crate::model::{Epoch, RoomId, RoomInfo, RoomKind, RoomName, Seq, Slug, Topic, Username};
use crate::presence::{Incarnation, Online};
use crate::protocol::frames::ServerFrame;

/// Comings and goings that a fresh read of presence revealed, above which the whole list is told instead.
const MENDED_ONE_BY_ONE: usize = 10;
/// One `typing` a user in this time.
const TYPING_INTERVAL: Duration = Duration::from_secs(3);

pub struct Room {
    pub id: RoomId,
    pub slug: Slug,
    /// Filled once the subscription stands and the head is read.
    pub(super) opened: OnceCell<()>,
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    pub gate: Gate,
    pub epoch: Epoch,
    pub access: Checked,
    /// Out of the hub: whoever still holds it must open the room again.
    pub closed: bool,
    pub empty_since: Instant,
    /// Somebody is seeing to the hole.
    pub repairing: bool,
    /// Joiners who must be told up to this seq, which the gate has not reached yet.
    waiting: Vec<(Seq, oneshot::Sender<()>)>,
    /// The head by which the beacon found this room behind although the broker was well. Its hint may only be late.
    pub overdue: Option<Seq>,
    pub view: View,
    /// What the sockets here were told that the room is called.
    title: Option<Title>,
    /// Over the bound: counts are told instead of names.
    counting: bool,
    sessions: Sessions,
    /// Sockets here by user; 0 while a leave waits out its grace.
    local: HashMap<Username, u32>,
    typed: HashMap<Username, Instant>,
    slug: Slug,
    pub id: RoomId,
    list_max: usize,
    memory_bytes: usize,
    memory_used: Arc<AtomicUsize>,
    memory_max: usize,
    metrics: Arc<Metrics>,
}

/// A room's name and topic, and how long it keeps messages, as of an access version.
struct Title {
    version: u64,
    name: RoomName,
    topic: Topic,
    retention_days: Option<u32>,
}

/// The sessions of a room: walked for each delivery, so a plain list; found by id through an index.
#[derive(Default)]
struct Sessions {
    list: Vec<Arc<Session>>,
    places: HashMap<u64, usize>,
}

impl Room {
    pub(super) fn new(
        id: RoomId,
        slug: Slug,
        config: &Config,
        memory_used: Arc<AtomicUsize>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let inner = Inner {
            gate: Gate::new(config.node.held_frames_per_room, config.node.memory_frames_per_room),
            epoch: Epoch(String::new()),
            access: Checked::default(),
            closed: false,
            empty_since: Instant::now(),
            repairing: false,
            waiting: Vec::new(),
            overdue: None,
            view: View::default(),
            title: None,
            counting: false,
            sessions: Sessions::default(),
            local: HashMap::new(),
            typed: HashMap::new(),
            slug: slug.clone(),
            id,
            list_max: config.node.presence_list_max,
            memory_bytes: 0,
            memory_used,
            memory_max: config.node.memory_bytes,
            metrics,
        };
        Self { id, slug, opened: OnceCell::new(), inner: Mutex::new(inner) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it was held can at worst have cut one delivery short, which the next beacon mends.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Offers a committed change; `true`: something is missing now and nobody sees to it yet.
    pub fn offer(&mut self, frame: Frame) -> bool {
        let mut out = Vec::new();
        let now = Instant::now();
        self.gate.offer(frame, now, &mut out);
        self.deliver(&out);
        self.needs_repair(now)
    }

    /// Delivers what was read of the store after the gate's position.
    pub fn repair(&mut self, page: Page) {
        if page.after > self.gate.position() {
            return; // The gate was made anew meanwhile.
        }
        let mut out = Vec::new();
        self.gate.repair(page.frames, page.head, page.more, Instant::now(), &mut out);
        self.deliver(&out);
    }

    /// Ends when everything up to `head`, which the store was seen to hold, has passed the gate or the gate began anew;
    /// `None`: it has. The caller sees to the hole that this may be.
    pub fn reaches(&mut self, head: Seq) -> Option<oneshot::Receiver<()>> {
        if self.gate.position() >= head {
            return None;
        }
        self.gate.note_head(head, Instant::now());
        self.waiting.retain(|(_, reached)| !reached.is_closed());
        let (reached, waits) = oneshot::channel();
        self.waiting.push((head, reached));
        Some(waits)
    }

    /// Whether the caller must see to a hole (it is then marked as seen to).
    pub fn needs_repair(&mut self, now: Instant) -> bool {
        let needs = !self.repairing && self.gate.hole_age(now).is_some();
        self.repairing |= needs;
        needs
    }

    /// Whether what the beacon found missing is missing still; asked once, when patience is over.
    pub fn is_overdue(&mut self) -> bool {
        self.overdue.take().is_some_and(|head| head > self.gate.position())
    }

    pub fn deliver(&mut self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let text = delivery_text(delivery);
            let mut delivered = 0;
            for session in &self.sessions.list {
                match session.change(self.id, delivery, &text) {
                    Push::Queued => delivered += 1,
                    Push::Ignored => {}
                    Push::Overflowed => {
                        self.metrics.queue_overflows.increment(1);
                    }
                }
            }
            self.metrics.deliveries.increment(delivered);
        }
        let position = self.gate.position();
        for (_, reached) in self.waiting.extract_if(.., |(head, _)| *head <= position) {
            // Who waited may have given up.
            reached.send(()).ok();
        }
        self.account_memory();
    }

    /// The gate was opened, or began anew with another clock: who waits for it looks again.
    pub fn opened(&mut self) {
        self.waiting.clear();
        self.account_memory();
    }

    /// Keeps the node-wide sum of what gates remember, and forgets early when it is over its bound.
    fn account_memory(&mut self) {
        if self.memory_used.load(Ordering::Relaxed) > self.memory_max {
            self.gate.memory_mut().shrink(16);
        }
        let bytes = self.gate.memory().bytes();
        self.memory_used.fetch_add(bytes, Ordering::Relaxed);
        self.memory_used.fetch_sub(self.memory_bytes, Ordering::Relaxed);
        self.memory_bytes = bytes;
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.list.is_empty()
    }

    pub fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions.list
    }

    /// What a joiner is told is what the others were told, or newer; then the others are still to be told.
    pub fn agree_on_title(&mut self, info: &mut RoomInfo) {
        match &mut self.title {
            // Direct rooms are called otherwise by each, and for good.
            _ if info.kind == RoomKind::Direct => {}
            Some(title) if title.version > info.access => {
                (info.name, info.topic) = (title.name.clone(), title.topic.clone());
                info.retention_days = title.retention_days;
            }
            Some(_) => {}
            None => self.title = Some(Title::of(info)),
        }
    }

    /// `true`: this is another title than was told, and the sockets are to be told by the caller.
    pub fn take_title(&mut self, info: &RoomInfo) -> bool {
        if info.kind == RoomKind::Direct || self.title.as_ref().is_some_and(|title| title.version > info.access) {
            return false;
        }
        let told = self.title.replace(Title::of(info));
        told.is_some_and(|told| !told.says(info))
    }

    /// By another life of the clock, versions are another count; everybody is told anew.
    pub fn forget_title(&mut self) {
        self.title = None;
    }

    /// Puts a session in. `true`: its user came online on this node and the cluster must be told.
    pub fn add(&mut self, session: &Arc<Session>, own: &Incarnation) -> bool {
        if !self.sessions.add(session) {
            return false;
        }
        let user = session.username();
        // A user in the grace of a leave is still here with no socket: coming back is no news.
        let fresh = !self.local.contains_key(user);
        *self.local.entry(user.clone()).or_insert(0) += 1;
        if fresh && self.view.enter(own, user) {
            self.announce_join(user);
        }
        fresh
    }

    /// Takes a session out. `true`: it was its user's last socket here, a leave is due after the grace.
    pub fn remove(&mut self, session: &Session) -> bool {
        if !self.sessions.remove(session.id) {
            return false;
        }
        if self.is_empty() {
            self.empty_since = Instant::now();
        }
        match self.local.get_mut(session.username()) {
            Some(sockets) => {
                *sockets = sockets.saturating_sub(1);
                *sockets == 0
            }
            None => false,
        }
    }

    /// The grace is over: `true` when the user did not come back and has now left this node.
    pub fn leave_for_good(&mut self, user: &Username, own: &Incarnation) -> bool {
        if self.local.get(user).is_none_or(|sockets| *sockets > 0) {
            return false;
        }
        self.local.remove(user);
        self.typed.remove(user);
        if self.view.leave(own, user) {
            self.announce_leave(user);
        }
        true
    }

    /// Users with a place in this node's own set: those with sockets, and those in the grace of a leave.
    pub fn local_users(&self) -> impl Iterator<Item = &Username> {
        self.local.keys()
    }

    pub fn heard_entered(&mut self, node: &Incarnation, user: &Username) {
        if self.view.enter(node, user) {
            self.announce_join(user);
        }
    }

    pub fn heard_left(&mut self, node: &Incarnation, user: &Username) {
        if self.view.leave(node, user) {
            self.announce_leave(user);
        }
    }

    pub fn retain_nodes(&mut self, live: &std::collections::HashSet<Incarnation>) {
        for user in self.view.retain_nodes(live) {
            self.announce_leave(&user);
        }
    }

    /// Takes presence as it was read; `version` is the view's from before the read. Few comings and goings are told one
    /// by one, many as a new list.
    pub fn replace_view(&mut self, read: Online, version: u64, own: &Incarnation) {
        if self.view.version() != version {
            return;
        }
        let (came, went) = self.view.replace(read, own);
        if came.len() + went.len() > MENDED_ONE_BY_ONE {
            self.tell_list();
            return;
        }
        for user in &came {
            self.announce_join(user);
        }
        for user in &went {
            self.announce_leave(user);
        }
    }

    /// `true`: this user's typing may be told now.
    pub fn may_type(&mut self, user: &Username) -> bool {
        if self.counting {
            return false;
        }
        let now = Instant::now();
        self.typed.retain(|_, at| now.duration_since(*at) < TYPING_INTERVAL);
        if self.typed.contains_key(user) {
            return false;
        }
        self.typed.insert(user.clone(), now);
        true
    }

    pub fn tell_typing(&mut self, user: &Username) {
        if !self.counting {
            let frame = ServerFrame::Typing { room: &self.slug, user }.encode();
            self.tell(frame, Some(user));
        }
    }

    /// The names a `joined` or `user_list` shows (none in a room over the bound), and how many are online.
    pub fn listed(&self) -> (Vec<Username>, usize) {
        let count = self.view.count();
        let names = if count > self.list_max { Vec::new() } else { self.view.names(self.list_max) };
        (names, count)
    }

    /// The list for one session that could not be told of comings and goings.
    pub fn tell_list_to(&self, session: &Session) {
        let (users, user_count) = self.listed();
        let frame = ServerFrame::UserList { room: &self.slug, users: &users, user_count }.encode();
        session.list(self.id, &Bytes::from(frame));
    }

    /// For rooms over the bound, once a second at most: how many are online.
    pub fn tell_count(&mut self) {
        if self.counting {
            let frame = ServerFrame::UserCount { room: &self.slug, user_count: self.view.count() }.encode();
            self.tell(frame, None);
        }
    }

    /// Whether the count must be told from time to time.
    pub fn is_counting(&self) -> bool {
        self.counting
    }

    fn announce_join(&mut self, user: &Username) {
        if !self.mode_changed() && !self.counting {
            let frame = ServerFrame::UserJoin { room: &self.slug, user, user_count: self.view.count() }.encode();
            self.tell(frame, Some(user));
        }
    }

    fn announce_leave(&mut self, user: &Username) {
        if !self.mode_changed() && !self.counting {
            let frame = ServerFrame::UserLeave { room: &self.slug, user, user_count: self.view.count() }.encode();
            self.tell(frame, Some(user));
        }
    }

    fn tell_list(&mut self) {
        if !self.mode_changed() && !self.counting {
            let (users, user_count) = self.listed();
            let frame = ServerFrame::UserList { room: &self.slug, users: &users, user_count }.encode();
            self.tell(frame, None);
        }
    }

    /// Passes the bound between names and counts when it must; `true`: everybody was just told what holds now.
    fn mode_changed(&mut self) -> bool {
        let over = self.view.count() > self.list_max;
        if over == self.counting {
            return false;
        }
        self.counting = over;
        let (users, user_count) = self.listed();
        let frame = if over {
            ServerFrame::UserCount { room: &self.slug, user_count }.encode()
        } else {
            ServerFrame::UserList { room: &self.slug, users: &users, user_count }.encode()
        };
        self.tell(frame, None);
        true
    }

    fn tell(&self, frame: String, except: Option<&Username>) {
        let text = Bytes::from(frame);
        for session in &self.sessions.list {
            if except != Some(session.username()) && session.aside(self.id, &text) == Push::Overflowed {
                self.metrics.queue_overflows.increment(1);
            }
        }
    }
}

impl Title {
    fn of(info: &RoomInfo) -> Self {
        Self {
            version: info.access,
            name: info.name.clone(),
            topic: info.topic.clone(),
            retention_days: info.retention_days,
        }
    }

    fn says(&self, info: &RoomInfo) -> bool {
        (&self.name, &self.topic, self.retention_days) == (&info.name, &info.topic, info.retention_days)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.memory_used.fetch_sub(self.memory_bytes, Ordering::Relaxed);
    }
}

impl Sessions {
    fn add(&mut self, session: &Arc<Session>) -> bool {
        if self.places.contains_key(&session.id) {
            return false;
        }
        self.places.insert(session.id, self.list.len());
        self.list.push(session.clone());
        true
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(place) = self.places.remove(&id) else { return false };
        self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            self.places.insert(moved.id, place);
        }
        true
    }
}
