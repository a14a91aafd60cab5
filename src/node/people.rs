//! The users with sockets on this node, and what is told to all sockets of one of them: that a room became theirs.
//!
//! Each of them has a channel on the broker, subscribed while they have a socket here and a while longer. What a hint
//! on it loses is made good by the beacon, which reads what was added to anybody lately, as it does revocations: one query
//! a look, however many sockets there are. An addition has a number, so that the two together tell it once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::Notify;

use super::Node;
use super::session::Session;
use crate::broker::Channel;
use crate::model::{RoomId, UserId};
use crate::protocol::envelope::{Envelope, Notice};
use crate::protocol::frames::ServerFrame;
use crate::store::{Addition, AdditionId};

/// Users whose channels are subscribed together: few enough that who joins a room does not wait long behind them.
const SUBSCRIBED_TOGETHER: usize = 1_000;
/// Users without a socket whose channel is kept for a while; over it, none is.
const LINGERING_MAX: usize = 10_000;
/// Pairs of users and rooms asked for in one query.
const PAIRS_TOGETHER: usize = 1_000;

#[derive(Default)]
pub struct People {
    here: DashMap<UserId, Person>,
    /// Those whose channels are still to be subscribed.
    new: Mutex<Vec<UserId>>,
    came: Notify,
    /// Additions that were told, or were nobody's here.
    known: Mutex<HashMap<AdditionId, Instant>>,
}

struct Person {
    sessions: Vec<Arc<Session>>,
    empty_since: Instant,
}

impl People {
    pub fn add(&self, session: &Arc<Session>) {
        let mut fresh = false;
        let user = session.user.id;
        let person = || {
            fresh = true;
            Person { sessions: Vec::with_capacity(1), empty_since: Instant::now() }
        };
        self.here.entry(user).or_insert_with(person).sessions.push(session.clone());
        if fresh {
            lock(&self.new).push(user);
            self.came.notify_one();
        }
    }

    pub fn remove(&self, session: &Session) {
        if let Some(mut person) = self.here.get_mut(&session.user.id) {
            person.sessions.retain(|held| held.id != session.id);
            person.empty_since = Instant::now();
        }
    }

    /// The user's sockets on this node.
    pub fn sessions_of(&self, user: UserId) -> Vec<Arc<Session>> {
        self.here.get(&user).map(|person| person.sessions.clone()).unwrap_or_default()
    }

    /// Users with a socket here.
    pub fn users(&self) -> HashSet<UserId> {
        self.here.iter().filter(|person| !person.sessions.is_empty()).map(|person| *person.key()).collect()
    }

    fn is_here(&self, user: UserId) -> bool {
        self.here.get(&user).is_some_and(|person| !person.sessions.is_empty())
    }

    /// `true` the first time.
    fn learn(&self, addition: AdditionId) -> bool {
        lock(&self.known).insert(addition, Instant::now()).is_none()
    }

    /// They could not be told: the beacon shall find them again.
    fn unlearn(&self, additions: &[Addition]) {
        let mut known = lock(&self.known);
        for addition in additions {
            known.remove(&addition.id);
        }
    }

    /// Forgets what no look that reaches back by `window` can read again.
    pub fn forget_known(&self, window: Duration) {
        lock(&self.known).retain(|_, since| since.elapsed() < window * 2);
    }
}

impl Node {
    /// To be called when a room became somebody's: tells their sockets on every node.
    pub(super) fn announce_added(self: &Arc<Self>, user: UserId, room: RoomId, addition: AdditionId) {
        let notice = Notice::RoomAdded { room, addition: addition.0 };
        self.broker.publish(Channel::User(user), Envelope::from(notice).encode());
        self.tell_added(vec![Addition { id: addition, user, room }]);
    }

    /// Tells the sockets here of what became their users', each once.
    pub(super) fn tell_added(self: &Arc<Self>, mut additions: Vec<Addition>) {
        additions.retain(|addition| self.hub.people.learn(addition.id) && self.hub.people.is_here(addition.user));
        for addition in &additions {
            self.watch.refresh(addition.user, addition.room);
        }
        if additions.is_empty() {
            return;
        }
        let node = self.clone();
        tokio::spawn(async move {
            for chunk in additions.chunks(PAIRS_TOGETHER) {
                let pairs: Vec<(UserId, RoomId)> =
                    chunk.iter().map(|addition| (addition.user, addition.room)).collect();
                let Ok(rooms) = node.store.rooms_seen(&pairs).await else {
                    node.hub.people.unlearn(chunk);
                    continue;
                };
                let (users, mut rooms): (Vec<UserId>, Vec<_>) =
                    pairs.iter().zip(rooms).filter_map(|((user, _), room)| Some((*user, room?))).unzip();
                node.fill_online(&mut rooms).await;
                for (user, info) in users.into_iter().zip(&rooms) {
                    for session in node.hub.people.sessions_of(user).iter().filter(|session| session.is_socket()) {
                        session.unasked(ServerFrame::RoomAdded { info }.encode());
                    }
                }
            }
        });
    }

    /// Subscribes the channels of users as they come, many together where many come.
    pub(super) async fn follow_people(self: Arc<Self>) {
        loop {
            let new = {
                let mut new = lock(&self.hub.people.new);
                let left = new.len().saturating_sub(SUBSCRIBED_TOGETHER);
                new.split_off(left)
            };
            if new.is_empty() {
                self.hub.people.came.notified().await;
                continue;
            }
            let channels: Vec<Channel> =
                new.into_iter().filter(|user| self.hub.people.here.contains_key(user)).map(Channel::User).collect();
            if let Err(error) = self.broker.subscribe(&channels).await {
                tracing::debug!(%error, "users are here unsubscribed; the beacon serves them until the broker is back");
            }
        }
    }

    /// Gives up the channels of users who have had no socket for a while.
    pub(super) fn forget_absent_people(&self) {
        let people = &self.hub.people;
        let lingering = people.here.iter().filter(|person| person.sessions.is_empty()).count();
        if lingering == 0 {
            return;
        }
        let linger = match lingering {
            0..=LINGERING_MAX => Duration::from_secs(self.config.node.room_linger_s),
            _ => Duration::ZERO,
        };
        people.here.retain(|user, person| {
            let stays = !person.sessions.is_empty() || person.empty_since.elapsed() < linger;
            if !stays {
                // While this user is held fast: whoever comes next subscribes after it.
                self.broker.unsubscribe(&[Channel::User(*user)]);
            }
            stays
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
