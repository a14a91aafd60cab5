//! What was allowed and is not any more: ended login sessions and disabled accounts, remembered as long as a token
//! from before could still be shown.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Node;
use super::session::Close;
use crate::broker::Channel;
use crate::error::Result;
use crate::model::UserId;
use crate::protocol::envelope::{Envelope, Notice};
use crate::store::{Revocation, Revoked};

/// Access tokens live for 15 minutes and are taken 5 s longer; a start reads back this far.
pub(super) const KEPT: Duration = Duration::from_secs(16 * 60);
/// What the beacon reads each time: rows can become visible out of order, so windows overlap.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Revocations {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: HashSet<i64>,
    sessions: HashMap<String, Instant>,
    /// By user: tokens issued until then (seconds since 1970) are refused.
    users: HashMap<UserId, (i64, Instant)>,
}

impl Revocations {
    fn forget_old(state: &mut State) {
        let old = |since: &Instant| since.elapsed() > KEPT;
        state.sessions.retain(|_, since| !old(since));
        state.users.retain(|_, (_, since)| !old(since));
        if state.sessions.is_empty() && state.users.is_empty() {
            state.seen.clear();
        }
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

    /// Ends a login session everywhere: in the store, then on every node's sockets and tokens.
    pub async fn logout(&self, user: UserId, session: &str) -> Result<()> {
        self.store.end_login_session(user, session).await?;
        let notice = Notice::SessionEnded { session: session.to_owned() };
        self.broker.publish(Channel::Cluster, Envelope::from(notice).encode());
        self.end_login_session(session);
        Ok(())
    }

    pub(super) fn end_login_session(&self, session: &str) {
        self.revocations.lock().sessions.insert(session.to_owned(), Instant::now());
        self.hub.close_where(Close::SessionEnded, |held| held.login_session.as_deref() == Some(session));
    }

    /// What the beacon (or a start) read.
    pub(super) fn apply_revocations(self: &Arc<Self>, read: Vec<Revocation>) {
        for revocation in read {
            let fresh = {
                let mut state = self.revocations.lock();
                Revocations::forget_old(&mut state);
                state.seen.insert(revocation.id)
            };
            if !fresh {
                continue;
            }
            match revocation.what {
                Revoked::LoginSession(session) => self.end_login_session(&session),
                Revoked::User(user) => {
                    // A token carries whole seconds: one issued within the second of the disabling counts as before.
                    let until = revocation.at.0.div_euclid(1_000);
                    self.revocations.lock().users.insert(user, (until, Instant::now()));
                    self.accounts.forget(user);
                    self.hub
                        .close_where(Close::AccountDisabled, |held| held.user.id == user && held.issued_at() <= until);
                }
            }
        }
    }
}
