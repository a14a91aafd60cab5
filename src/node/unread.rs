//! Tells sockets of messages in rooms that they have not joined and their users are members of.
//!
//! A look about once a second. Which rooms those are is held in memory, read anew twice a minute; which of them moved
//! tells one query for their heads (none for rooms that are open here, whose gates know); and only of those that moved
//! is it counted, for the users who are here, what they have not read. So a message in a room with 10,000 members costs
//! no publish, and the database a count a second at most for each of them who is here and has not joined. A look takes
//! at most a fiftieth of the time: with very many rooms it comes less often.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Node;
use crate::model::{RoomId, Seq, UserId};
use crate::protocol::frames::ServerFrame;
use crate::store::{Membership, StoreError, Unread};

/// Between two looks, and so between two `unread` of a room.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks may take at most this share of the time.
const SHARE: u32 = 50;
/// What is known of who is a member where is read again after this time.
const REFRESH: Duration = Duration::from_secs(30);
/// Rooms of one user that are watched.
const ROOMS_MAX: u32 = 1_000;
/// Memberships watched on this node, some 60 bytes each; who comes when there are as many is not told of unread messages.
const WATCHED_MAX: usize = 2_000_000;
/// Users whose rooms are read in one query, and in one look.
const USERS_CHUNK: usize = 500;
const USERS_A_LOOK: usize = 2_000;
/// Pairs of user and room counted in one query.
const PAIRS_CHUNK: usize = 500;
/// A room that stirred shortly before its member came is counted, since nobody knows on which side of their own look
/// that was.
const OVERLAP: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Watch(Mutex<State>);

#[derive(Default)]
struct State {
    users: HashMap<UserId, Watched>,
    /// The heads that were looked at last, and whom they concern.
    rooms: HashMap<RoomId, (Seq, HashSet<UserId>)>,
    watched: usize,
}

struct Watched {
    since: Instant,
    /// `None`: its rooms are to be read.
    read_at: Option<Instant>,
    /// What was told last of each room.
    rooms: HashMap<RoomId, Option<(Seq, u32, u32)>>,
}

impl Watch {
    /// The user may have become a member of this room: looked at again soon, unless that is known.
    pub fn refresh(&self, user: UserId, room: RoomId) {
        if let Some(watched) = self.lock().users.get_mut(&user)
            && !watched.rooms.contains_key(&room)
        {
            watched.read_at = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who is here now; gives back those whose rooms are to be read, and how far back they may have stirred unseen.
    fn meet(&mut self, present: &HashSet<UserId>) -> (Vec<UserId>, Duration) {
        let gone: Vec<UserId> = self.users.keys().filter(|user| !present.contains(user)).copied().collect();
        for user in gone {
            self.forget(user);
        }
        let now = Instant::now();
        for user in present {
            self.users.entry(*user).or_insert_with(|| Watched { since: now, read_at: None, rooms: HashMap::new() });
        }
        let due = |watched: &Watched| watched.read_at.is_none_or(|at| at.elapsed() >= REFRESH);
        let mut due: Vec<(Instant, UserId)> = self
            .users
            .iter()
            .filter(|(_, of)| due(of))
            .map(|(user, of)| (of.read_at.unwrap_or(of.since), *user))
            .collect();
        due.sort_unstable_by_key(|(since, user)| (*since, user.0));
        due.truncate(USERS_A_LOOK);
        let unseen = due.first().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        (due.into_iter().map(|(_, user)| user).collect(), unseen + OVERLAP)
    }

    /// Takes the rooms of these users as they were read; gives back the pairs to be counted at once.
    fn learn(&mut self, users: &[UserId], read: &[Membership]) -> Vec<(UserId, RoomId)> {
        let mut now_in: HashMap<UserId, HashSet<RoomId>> = HashMap::new();
        let mut stirred = Vec::new();
        for Membership { user, room, head, stirred: is_stirred } in read {
            now_in.entry(*user).or_default().insert(*room);
            let Some(watched) = self.users.get_mut(user) else { continue };
            if watched.rooms.contains_key(room) || self.watched >= WATCHED_MAX {
                continue;
            }
            watched.rooms.insert(*room, None);
            self.watched += 1;
            self.rooms.entry(*room).or_insert_with(|| (*head, HashSet::new())).1.insert(*user);
            if *is_stirred {
                stirred.push((*user, *room));
            }
        }
        let now = Instant::now();
        for user in users {
            let Some(watched) = self.users.get_mut(user) else { continue };
            watched.read_at = Some(now);
            let left: Vec<RoomId> = match now_in.get(user) {
                Some(still) => watched.rooms.keys().filter(|room| !still.contains(room)).copied().collect(),
                None => watched.rooms.keys().copied().collect(),
            };
            for room in left {
                self.users.get_mut(user).and_then(|watched| watched.rooms.remove(&room));
                self.forget_place(*user, room);
            }
        }
        stirred
    }

    fn forget(&mut self, user: UserId) {
        for room in self.users.remove(&user).into_iter().flat_map(|watched| watched.rooms.into_keys()) {
            self.forget_place(user, room);
        }
    }

    fn forget_place(&mut self, user: UserId, room: RoomId) {
        self.watched -= 1;
        if let Some((_, users)) = self.rooms.get_mut(&room) {
            users.remove(&user);
            if users.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    /// The pairs of rooms whose head is another one now. A clock that went back moved too.
    fn moved(&mut self, heads: impl Iterator<Item = (RoomId, Seq)>) -> Vec<(UserId, RoomId)> {
        let mut pairs = Vec::new();
        for (room, head) in heads {
            if let Some((known, users)) = self.rooms.get_mut(&room)
                && *known != head
            {
                *known = head;
                pairs.extend(users.iter().map(|user| (*user, room)));
            }
        }
        pairs
    }

    /// Whether this is another thing than was told last; it is remembered as told. That nothing is left is news when it
    /// was deleted, and not when it was read: `read` says so.
    fn is_news(&mut self, count: &Unread) -> bool {
        let Some(told) = self.users.get_mut(&count.user).and_then(|of| of.rooms.get_mut(&count.room)) else {
            return false;
        };
        let now = (count.last_read, count.unread, count.mentions);
        let before = told.replace(now);
        match (now, before) {
            ((mark, 0, 0), Some((old_mark, unread, mentions))) => mark == old_mark && (unread, mentions) != (0, 0),
            ((_, 0, 0), None) => false,
            _ => before != Some(now),
        }
    }

    /// What could not be said is told at the next chance.
    fn untell(&mut self, count: &Unread) {
        if let Some(told) = self.users.get_mut(&count.user).and_then(|of| of.rooms.get_mut(&count.room)) {
            *told = None;
        }
    }

    /// A count that failed: the rooms look as if they had moved again.
    fn unsee(&mut self, pairs: &[(UserId, RoomId)]) {
        for (_, room) in pairs {
            if let Some((known, _)) = self.rooms.get_mut(room) {
                *known = Seq::MAX;
            }
        }
    }
}

impl Node {
    /// Runs beside the sockets.
    pub(super) async fn watch_unread(self: Arc<Self>) {
        loop {
            let started = Instant::now();
            if let Err(error) = self.look_for_unread().await {
                tracing::debug!(%error, "unread messages could not be counted");
            }
            let took = started.elapsed();
            self.metrics.unread_seconds.record(took.as_secs_f64());
            tokio::time::sleep(LOOK_INTERVAL.max(took * SHARE)).await;
        }
    }

    async fn look_for_unread(&self) -> Result<(), StoreError> {
        let present = self.hub.users();
        let (due, unseen) = self.watch.lock().meet(&present);
        let mut pairs = Vec::new();
        for users in due.chunks(USERS_CHUNK) {
            let read = self.store.memberships(users, ROOMS_MAX, unseen).await?;
            pairs.extend(self.watch.lock().learn(users, &read));
        }
        pairs.extend(self.moved().await?);
        pairs.sort_unstable();
        pairs.dedup();
        pairs.retain(|(user, room)| self.hub.sessions_of(*user).iter().any(|session| session.is_elsewhere(*room)));
        let mut chunks = pairs.chunks(PAIRS_CHUNK);
        while let Some(chunk) = chunks.next() {
            match self.store.unread(chunk).await {
                Ok(counts) => counts.iter().for_each(|count| self.tell_unread(count)),
                Err(error) => {
                    let mut state = self.watch.lock();
                    state.unsee(chunk);
                    chunks.for_each(|chunk| state.unsee(chunk));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The pairs of watched rooms that moved since the last look.
    async fn moved(&self) -> Result<Vec<(UserId, RoomId)>, StoreError> {
        let watched: Vec<RoomId> = self.watch.lock().rooms.keys().copied().collect();
        let (mut heads, mut others) = (Vec::new(), Vec::new());
        for room in watched {
            match self.hub.room(room).filter(|room| room.opened.initialized()) {
                Some(open) => heads.push((room, open.lock().gate.position())),
                None => others.push(room),
            }
        }
        for chunk in others.chunks(self.config.node.beacon_chunk) {
            heads.extend(self.store.heads(chunk).await?.into_iter().map(|head| (head.room, head.seq)));
        }
        Ok(self.watch.lock().moved(heads.into_iter()))
    }

    fn tell_unread(&self, count: &Unread) {
        if !self.watch.lock().is_news(count) {
            return;
        }
        let frame = ServerFrame::Unread { room: &count.slug, unread: count.unread, mentions: count.mentions }.encode();
        if !self.hub.to_user(count.user, &frame, |session| session.is_elsewhere(count.room)) {
            self.watch.lock().untell(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Slug;

    const ALICE: UserId = UserId(1);
    const ROOM: RoomId = RoomId(7);

    fn membership(room: RoomId, head: Seq, stirred: bool) -> Membership {
        Membership { user: ALICE, room, head, stirred }
    }

    fn count(last_read: Seq, unread: u32) -> Unread {
        let slug = Slug::from_stored("general".into());
        Unread { user: ALICE, room: ROOM, slug, last_read, unread, mentions: 0 }
    }

    fn watching() -> State {
        let mut state = State::default();
        assert_eq!(state.meet(&[ALICE].into()).0, [ALICE]);
        assert_eq!(state.learn(&[ALICE], &[membership(ROOM, 5, false)]), []);
        state
    }

    #[test]
    fn only_rooms_that_moved_are_counted() {
        let mut state = watching();
        assert_eq!(state.meet(&[ALICE].into()).0, []);
        assert_eq!(state.moved([(ROOM, 5), (RoomId(8), 1)].into_iter()), []);
        assert_eq!(state.moved([(ROOM, 6)].into_iter()), [(ALICE, ROOM)]);
        assert_eq!(state.moved([(ROOM, 6)].into_iter()), []);
        state.unsee(&[(ALICE, ROOM)]);
        assert_eq!(state.moved([(ROOM, 6)].into_iter()), [(ALICE, ROOM)]);
    }

    #[test]
    fn what_stirred_when_somebody_came_is_counted_at_once() {
        let mut state = State::default();
        state.meet(&[ALICE].into());
        assert_eq!(state.learn(&[ALICE], &[membership(ROOM, 5, true)]), [(ALICE, ROOM)]);
        assert_eq!(state.learn(&[ALICE], &[membership(ROOM, 6, true)]), [], "known already: its head tells");
    }

    #[test]
    fn the_same_counts_are_told_once_unless_the_mark_moved() {
        let mut state = watching();
        assert!(!state.is_news(&count(3, 0)), "nothing unread is no news at first");
        assert!(state.is_news(&count(3, 2)));
        assert!(!state.is_news(&count(3, 2)));
        assert!(state.is_news(&count(5, 2)), "others, after what was read");
        assert!(state.is_news(&count(5, 0)), "deleted again");
        assert!(!state.is_news(&count(5, 0)));
        state.is_news(&count(5, 4));
        assert!(!state.is_news(&count(9, 0)), "all was read");
        state.is_news(&count(5, 1));
        state.untell(&count(5, 1));
        assert!(state.is_news(&count(5, 1)));
    }

    #[test]
    fn who_left_a_room_or_went_is_forgotten() {
        let mut state = watching();
        state.learn(&[ALICE], &[membership(RoomId(8), 1, false)]);
        assert_eq!(state.moved([(ROOM, 9), (RoomId(8), 2)].into_iter()), [(ALICE, RoomId(8))]);
        assert_eq!((state.watched, state.rooms.len()), (1, 1));
        state.meet(&HashSet::new());
        assert_eq!((state.watched, state.rooms.len(), state.users.len()), (0, 0, 0));
    }
}
