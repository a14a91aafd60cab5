//! What was allowed and is not any more: ended login sessions and disabled accounts, remembered as long as a token
//! from before could still be shown.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Node;
use super::session::Close;
use crate::model::{Timestamp, UserId};
use crate::store::{Revocation, Revoked};

/// Access tokens live for 15 minutes and are taken 5 s longer; a start reads back this far.
pub(super) const KEPT: Duration = Duration::from_secs(16 * 60);
/// What the beacon reads each time: rows can become visible out of order, so windows overlap. After an outage it is
/// longer by the time of the outage.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Revocations {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rows that were applied; applying one again would only cost time.
    seen: HashMap<i64, Instant>,
    sessions: HashMap<String, Instant>,
    /// By user: tokens issued until then (seconds since 1970) are refused.
    users: HashMap<UserId, (i64, Instant)>,
}

impl Revocations {
    fn forget_old(state: &mut State) {
        let old = |since: &Instant| since.elapsed() > KEPT;
        state.sessions.retain(|_, since| !old(since));
        state.users.retain(|_, (_, since)| !old(since));
        state.seen.retain(|_, since| !old(since));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Whether this proof of identity was withdrawn: its login session ended, or its user disabled after `issued_at`
    /// (seconds since 1970).
    pub fn is_revoked(&self, user: UserId, session: Option<&str>, issued_at: Option<i64>) -> bool {
        let state = self.revocations.lock();
        session.is_some_and(|session| state.sessions.contains_key(session))
            || state.users.get(&user).is_some_and(|(until, _)| issued_at.unwrap_or(0) <= *until)
    }

    pub(super) fn end_login_sessions(&self, ended: &HashSet<String>) {
        if ended.is_empty() {
            return;
        }
        let now = Instant::now();
        self.revocations.lock().sessions.extend(ended.iter().map(|session| (session.clone(), now)));
        self.hub.close_where(Close::SessionEnded, |held| held.is_of(ended));
    }

    /// What the beacon (or a start) read.
    pub(super) fn apply_revocations(self: &Arc<Self>, mut read: Vec<Revocation>) {
        {
            let mut state = self.revocations.lock();
            let now = Instant::now();
            Revocations::forget_old(&mut state);
            read.retain(|revocation| state.seen.insert(revocation.id, now).is_none());
        }
        let mut ended = HashSet::new();
        for revocation in read {
            match revocation.what {
                Revoked::LoginSession(session) => {
                    ended.insert(session);
                }
                Revoked::User(user) => self.disable(user, revocation.at),
            }
        }
        // All at once: each look at the sockets is at all of them.
        self.end_login_sessions(&ended);
    }

    fn disable(&self, user: UserId, at: Timestamp) {
        // A token carries whole seconds: one issued within the second of the disabling counts as before.
        let until = at.seconds();
        self.revocations.lock().users.insert(user, (until, Instant::now()));
        self.accounts.forget(user);
        self.hub.close_where(Close::AccountDisabled, |held| held.user.id == user && held.issued_at() <= until);
    }
}
