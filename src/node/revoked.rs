//! What was allowed and is not any more: ended login sessions and disabled accounts, remembered as long as a token
//! from before could still be shown.
//!
//! Who logged in here is judged by login session alone: disabling an account ends all of its login sessions, and the
//! times in tokens are of the clock of the node that signed them, which may be wrong.

#[cfg(test)]
mod properties;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Node;
use super::close::Close;
use super::session::Session;
use crate::model::{Timestamp, UserId};
use crate::store::{Revocation, Revoked};

/// Access tokens live for 15 minutes and are taken 5 s longer; a start reads back this far.
const KEPT: Duration = Duration::from_secs(16 * 60);
/// Rows can become visible out of order, so each look reads again what the one before it read of so long a time.
const OVERLAP: Duration = Duration::from_secs(60);
/// How far the clock of an issuer may be ahead of the database's.
const ISSUER_AHEAD_S: i64 = 5;

#[derive(Default)]
pub struct Revocations {
    withdrawn: Mutex<Withdrawn>,
}

/// How far back the next look has to read. Free of clocks.
pub(super) struct Reach {
    looked_at: Instant,
    /// What lay before that look and was not read.
    behind: Duration,
}

/// What was withdrawn lately. Free of clocks.
#[derive(Default)]
struct Withdrawn {
    /// Rows that were taken in; taking one in again would only cost time.
    seen: HashMap<i64, Instant>,
    sessions: HashMap<String, Instant>,
    /// When they were disabled, by the database's clock.
    users: HashMap<UserId, (Timestamp, Instant)>,
}

/// What rows just read do to sockets.
#[derive(Default)]
struct Ends {
    /// Login sessions, and when they ended.
    sessions: HashMap<String, Timestamp>,
    users: HashSet<UserId>,
    /// Everybody known to be disabled: of a login session that ended with the account, this is said.
    disabled: HashMap<UserId, Timestamp>,
}

impl Reach {
    pub(super) fn start(now: Instant) -> Self {
        Self { looked_at: now, behind: KEPT - OVERLAP }
    }

    /// Of a look that begins now.
    pub(super) fn window(&self, now: Instant) -> Duration {
        OVERLAP + self.behind + now.saturating_duration_since(self.looked_at)
    }

    /// All that was there when a look began then has been taken in.
    pub(super) fn looked(&mut self, began: Instant) {
        *self = Self { looked_at: began, behind: Duration::ZERO };
    }
}

impl Withdrawn {
    fn take_in(&mut self, read: Vec<Revocation>, now: Instant) -> Ends {
        self.forget_old(now);
        let mut ends = Ends::default();
        for Revocation { id, at, what } in read {
            if self.seen.insert(id, now).is_some() {
                continue;
            }
            match what {
                Revoked::LoginSession(session) => {
                    self.sessions.insert(session.clone(), now);
                    ends.sessions.insert(session, at);
                }
                Revoked::User(user) => {
                    // The latest counts, whichever is read last.
                    let (latest, since) = self.users.entry(user).or_insert((at, now));
                    (*latest, *since) = (at.max(*latest), now);
                    ends.users.insert(user);
                }
            }
        }
        ends.disabled = self.users.iter().map(|(user, (at, _))| (*user, *at)).collect();
        ends
    }

    fn end(&mut self, sessions: &HashSet<String>, now: Instant) {
        self.sessions.extend(sessions.iter().map(|session| (session.clone(), now)));
    }

    fn holds(&self, user: UserId, session: Option<&str>, issued_at: Option<i64>) -> bool {
        match session {
            Some(session) => self.sessions.contains_key(session),
            None => self.users.get(&user).is_some_and(|(at, _)| is_from_before(issued_at, *at)),
        }
    }

    fn forget_old(&mut self, now: Instant) {
        let fresh = |since: &Instant| now.saturating_duration_since(*since) <= KEPT;
        self.sessions.retain(|_, since| fresh(since));
        self.users.retain(|_, (_, since)| fresh(since));
        self.seen.retain(|_, since| fresh(since));
    }
}

impl Ends {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.users.is_empty()
    }

    /// With which code this socket ends, if it does.
    fn close(&self, socket: &Session) -> Option<Close> {
        let user = socket.user.id;
        if let Some(at) = socket.of_login_session(|session| self.sessions.get(session).copied()) {
            let with_account = self.disabled.get(&user).is_some_and(|disabled| *disabled >= at);
            return Some(if with_account { Close::AccountDisabled } else { Close::SessionEnded });
        }
        let disabled = self.disabled.get(&user).filter(|_| self.users.contains(&user) && !socket.has_login_session());
        disabled.filter(|at| is_from_before(Some(socket.issued_at()), **at)).map(|_| Close::AccountDisabled)
    }
}

/// Whether an issuer's token may be from before its user was disabled. It carries whole seconds: one issued within the
/// second of the disabling counts as before, as does one of an issuer that does not say when.
fn is_from_before(issued_at: Option<i64>, disabled: Timestamp) -> bool {
    issued_at.unwrap_or(0) <= disabled.seconds().saturating_add(ISSUER_AHEAD_S)
}

impl Revocations {
    fn lock(&self) -> MutexGuard<'_, Withdrawn> {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Whether this proof of identity was withdrawn: its login session ended, or, of an issuer's user, they were
    /// disabled after `issued_at` (seconds since 1970).
    pub fn is_revoked(&self, user: UserId, session: Option<&str>, issued_at: Option<i64>) -> bool {
        self.revocations.lock().holds(user, session, issued_at)
    }

    pub(super) fn end_login_sessions(&self, ended: &HashSet<String>) {
        if ended.is_empty() {
            return;
        }
        self.revocations.lock().end(ended, Instant::now());
        let is_ended = |session: &str| ended.contains(session).then_some(Close::SessionEnded);
        self.hub.close_each(|socket| socket.of_login_session(is_ended));
    }

    /// What the beacon (or a start) read.
    pub(super) fn apply_revocations(&self, read: Vec<Revocation>) {
        let ends = self.revocations.lock().take_in(read, Instant::now());
        if ends.is_empty() {
            return;
        }
        for user in &ends.users {
            self.accounts.forget(*user);
        }
        // All at once: each look at the sockets is at all of them.
        self.hub.close_each(|socket| ends.close(socket));
    }
}
