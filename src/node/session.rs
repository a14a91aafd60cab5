//! One socket (or event stream) as the node sees it: who it is, what waits to be written to it, and how it is told to end.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Notify;

use super::close::Close;
use super::gate::{Delivery, Frame};
use super::queue::{Budget, Push, Queue};
use crate::error::Error;
use crate::model::{RoomId, Seq, User, Username};
use crate::protocol::frames::ServerFrame;
use crate::protocol::incoming::Echo;

/// What a session is heard through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any number of rooms, and what happens to its user elsewhere.
    Socket,
    /// One room, and nothing that is not of it.
    Stream,
}

/// How a socket proved who it is.
#[derive(Debug, Clone)]
pub struct Proof {
    pub login_session: Option<String>,
    /// Seconds since 1970; `None` where the token did not say.
    pub issued_at: Option<i64>,
    /// Seconds since 1970; `None`: as long as the login session lives.
    pub expires_at: Option<i64>,
}

pub struct Session {
    pub id: u64,
    kind: Kind,
    pub user: User,
    /// The client's address as sockets are counted by it.
    pub network: IpAddr,
    /// The one it was opened with …
    login_session: Option<String>,
    /// … and the one that extended it last: it ends with either.
    extended_by: Mutex<Option<String>>,
    issued_at: AtomicI64,
    /// Seconds since 1970; [`i64::MAX`]: never by itself.
    expires_at: AtomicI64,
    queue: Mutex<State>,
    /// Something to write, to catch up, or the end.
    wake: Notify,
    /// Answers were taken off a full reserve.
    drained: Notify,
    /// The expiry was moved.
    pub expiry_moved: Notify,
    /// It was told to end.
    closing: Notify,
    gone: AtomicBool,
}

struct State {
    queue: Queue,
    /// Rooms whose list of online users must be given afresh when they are live again.
    stale_lists: HashSet<RoomId>,
    close: Option<Close>,
    /// Whether `wake` was told since the writer last looked.
    woken: bool,
}

/// What the writer is to do next.
#[derive(Debug)]
pub enum Work {
    Write(Vec<Bytes>),
    CatchUp { room: RoomId, after: Seq },
    Close(Close),
}

impl Session {
    pub fn new(
        id: u64,
        kind: Kind,
        user: User,
        network: IpAddr,
        proof: Proof,
        queue_bytes: usize,
        budget: Budget,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            kind,
            user,
            network,
            login_session: proof.login_session,
            extended_by: Mutex::default(),
            issued_at: AtomicI64::new(proof.issued_at.unwrap_or(0)),
            expires_at: AtomicI64::new(proof.expires_at.unwrap_or(i64::MAX)),
            queue: Mutex::new(State {
                queue: Queue::new(queue_bytes, budget),
                stale_lists: HashSet::new(),
                close: None,
                woken: false,
            }),
            wake: Notify::new(),
            drained: Notify::new(),
            expiry_moved: Notify::new(),
            closing: Notify::new(),
            gone: AtomicBool::new(false),
        })
    }

    pub fn username(&self) -> &Username {
        &self.user.username
    }

    pub fn issued_at(&self) -> i64 {
        self.issued_at.load(Ordering::Relaxed)
    }

    pub fn expires_at(&self) -> i64 {
        self.expires_at.load(Ordering::Relaxed)
    }

    /// How long its token still holds; a day when it has no end, since timers have no "never".
    pub fn time_left(&self) -> Duration {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_secs(u64::try_from(self.expires_at()).unwrap_or(0)).saturating_sub(unix);
        left.min(Duration::from_secs(86_400))
    }

    /// What is found of the first of its login sessions of which something is.
    pub fn of_login_session<T>(&self, found: impl Fn(&str) -> Option<T>) -> Option<T> {
        let extended_by = self.extended_by.lock().unwrap_or_else(PoisonError::into_inner);
        self.login_session.iter().chain(extended_by.as_ref()).find_map(|session| found(session))
    }

    /// Whether its user logged in here; else an issuer of the operator's vouches for them.
    pub fn has_login_session(&self) -> bool {
        self.login_session.is_some()
    }

    /// A new proof of the same user's: the socket lives on until its expiry, and ends with its login session too.
    pub fn extend(&self, proof: Proof) {
        *self.extended_by.lock().unwrap_or_else(PoisonError::into_inner) = proof.login_session;
        self.issued_at.store(proof.issued_at.unwrap_or(0), Ordering::Relaxed);
        self.expires_at.store(proof.expires_at.unwrap_or(i64::MAX), Ordering::Relaxed);
        self.expiry_moved.notify_one();
    }

    /// Puts an answer into the queue; never dropped.
    pub fn answer(&self, frame: &ServerFrame<'_>) {
        self.control(frame.encode());
    }

    pub fn refuse(&self, echo: &Echo, error: &Error) {
        if let Error::Internal(why) = error {
            tracing::error!(user = self.user.id.0, why, "a frame failed");
        }
        self.control(ServerFrame::refusal(echo, error));
    }

    pub fn control(&self, text: String) {
        self.with(|state| state.queue.control(Bytes::from(text)));
    }

    /// Puts something into the queue that may be lost; `false`: it was, for answers fill their reserve.
    pub(super) fn hint(&self, text: &str) -> bool {
        self.with(|state| {
            let fits = !state.queue.control_full();
            if fits {
                state.queue.control(Bytes::copy_from_slice(text.as_bytes()));
            }
            fits
        })
    }

    /// Something that the socket did not ask for and is told once. A reader that lets a queue full of it wait takes
    /// nothing any more: it starts anew rather than miss one.
    pub(super) fn unasked(&self, text: String) {
        if !self.with(|state| state.queue.unasked(Bytes::from(text))) {
            self.close(Close::Stalled);
        }
    }

    pub(super) fn change(&self, room: RoomId, delivery: &Delivery, text: &Bytes) -> Push {
        self.with(|state| {
            let push = state.queue.change(room, delivery, text);
            state.note_overflow(push);
            push
        })
    }

    pub(super) fn aside(&self, room: RoomId, text: &Bytes) -> Push {
        self.with(|state| {
            let push = state.queue.aside(room, text);
            state.note_overflow(push);
            if push == Push::Ignored && state.queue.standing(room).is_some() {
                // It is catching up, and who comes and goes is told only once.
                state.stale_lists.insert(room);
            }
            push
        })
    }

    pub(super) fn list(&self, room: RoomId, text: &Bytes) {
        self.with(|state| state.queue.list(room, text));
    }

    /// Enters a room with its `joined` frame, catching up from `seq`.
    pub(super) fn enter(&self, room: RoomId, seq: Seq, joined: String) {
        self.with(|state| {
            state.queue.enter(room, seq);
            state.stale_lists.remove(&room);
            state.queue.control(Bytes::from(joined));
        });
    }

    /// Leaves a room; `last` is said after everything that was queued before. `false`: it was not in.
    pub(super) fn leave(&self, room: RoomId, last: Option<String>) -> bool {
        self.with(|state| {
            state.stale_lists.remove(&room);
            let was_in = state.queue.leave(room);
            if was_in && let Some(last) = last {
                state.queue.control(Bytes::from(last));
            }
            was_in
        })
    }

    /// Gives a catching-up room all changes after `after`; whether there was room for all of them.
    pub(super) fn page<'a>(&self, room: RoomId, after: Seq, frames: impl Iterator<Item = &'a Frame>) -> bool {
        self.with(|state| state.queue.page(room, after, frames))
    }

    pub(super) fn skip_to(&self, room: RoomId, seq: Seq) {
        self.with(|state| state.queue.skip_to(room, seq));
    }

    /// The room's cursor has met the gate. Whether its list of online users must be given afresh.
    pub(super) fn go_live(&self, room: RoomId) -> bool {
        self.with(|state| {
            state.queue.go_live(room);
            state.stale_lists.remove(&room)
        })
    }

    /// Where the socket stands in a room: its cursor, and whether it is live.
    pub fn standing(&self, room: RoomId) -> Option<(Seq, bool)> {
        self.lock().queue.standing(room)
    }

    /// Whether it is told of what happens to its user in rooms that it has not joined.
    pub fn is_socket(&self) -> bool {
        self.kind == Kind::Socket
    }

    /// Whether it is a socket that has not joined this room.
    pub fn is_elsewhere(&self, room: RoomId) -> bool {
        self.is_socket() && self.standing(room).is_none()
    }

    pub fn rooms(&self) -> Vec<RoomId> {
        self.lock().queue.rooms().collect()
    }

    pub fn room_count(&self) -> usize {
        self.lock().queue.room_count()
    }

    /// Ends the socket with this code; the first one counts.
    pub fn close(&self, close: Close) {
        self.with(|state| {
            state.close.get_or_insert(close);
        });
        self.closing.notify_one();
    }

    /// Returns when it was told to end, and how; to one that waits, once.
    pub async fn closing(&self) -> Close {
        self.closing.notified().await;
        self.lock().close.unwrap_or(Close::Normal)
    }

    pub fn is_closing(&self) -> bool {
        self.lock().close.is_some()
    }

    /// The socket is gone: nothing is put into its queue's rooms any more.
    pub(super) fn mark_gone(&self) -> bool {
        !self.gone.swap(true, Ordering::SeqCst)
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// What to do next, or wait with [`Session::woken`].
    pub fn work(&self, bytes: usize) -> Option<Work> {
        let mut state = self.lock();
        state.woken = false;
        if let Some(close) = state.close {
            // A restarting node says what it still has to say; the others end at once.
            if close != Close::Restarting || state.queue.is_empty() {
                return Some(Work::Close(close));
            }
        }
        if !state.queue.is_empty() {
            let was_full = state.queue.control_full();
            let mut frames = Vec::new();
            state.queue.take(bytes, &mut frames);
            if was_full && !state.queue.control_full() {
                self.drained.notify_waiters();
            }
            return Some(Work::Write(frames));
        }
        state.queue.lagging().map(|(room, after)| Work::CatchUp { room, after })
    }

    /// Returns when there may be work again.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Returns when there is room for another answer.
    pub async fn answerable(&self) {
        loop {
            let drained = self.drained.notified();
            if !self.lock().queue.control_full() {
                return;
            }
            drained.await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        let State { queue, close, woken, .. } = &*state;
        // A queue that overflowed may be empty, but there is a room to catch up in.
        let wake = !woken && (!queue.is_empty() || close.is_some() || queue.lagging().is_some());
        state.woken |= wake;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves at worst one queue half filled; the socket's own end cleans that up.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// After an overflow the lists of all rooms now catching up are stale.
    fn note_overflow(&mut self, push: Push) {
        if push == Push::Overflowed {
            let Self { queue, stale_lists, .. } = self;
            stale_lists.extend(queue.rooms().filter(|room| queue.standing(*room).is_some_and(|(_, live)| !live)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SiteRole, UserId};

    #[tokio::test]
    async fn who_takes_nothing_of_what_is_told_once_is_ended() {
        let user = User { id: UserId(7), username: Username::from_stored("alice".into()), role: SiteRole::User };
        let proof = Proof { login_session: None, issued_at: None, expires_at: None };
        let session = Session::new(1, Kind::Socket, user, [127, 0, 0, 1].into(), proof, 100, Budget::new(1_000));
        for _ in 0..100 {
            session.unasked("x".repeat(50));
            session.unasked("x".repeat(50));
            assert!(
                matches!(session.work(1_000), Some(Work::Write(frames)) if frames.len() == 2),
                "a reader is told all"
            );
        }
        for _ in 0..3 {
            assert!(!session.is_closing());
            session.unasked("x".repeat(40));
        }
        let told = tokio::time::timeout(Duration::from_secs(5), session.closing()).await;
        assert_eq!(told, Ok(Close::Stalled), "whoever waits for the end, being unable to write");
        assert!(matches!(session.work(1_000), Some(Work::Close(Close::Stalled))));
    }
}
