//! Whether a load balancer should send people here: what fails for this node alone makes it unready, what fails for
//! everybody only degrades it, or all nodes would leave at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::beacon::PEER_WINDOW;
use crate::store::NodeBeat;

/// How long something must fail here alone before it makes a node unready: while everybody's comes back, somebody is
/// the last to notice.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a load balancer should send people here (`/readyz`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub degraded: Vec<&'static str>,
    pub failing: Vec<&'static str>,
}

#[derive(Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    started: bool,
    draining: bool,
    database: Trouble,
    broker: Trouble,
    /// Peers by what they wrote into the database, for judging our broker …
    peers: Vec<NodeBeat>,
    /// … and by what they said over the broker, for judging our database.
    heard: HashMap<String, (bool, Instant)>,
}

/// How one backend fares, seen from here.
#[derive(Default)]
struct Trouble {
    down: bool,
    /// Since when it has been well for most peers and not for us.
    alone_since: Option<Instant>,
}

impl Health {
    pub fn started(&self) {
        self.lock().started = true;
    }

    pub fn drain(&self) {
        self.lock().draining = true;
    }

    pub fn is_draining(&self) -> bool {
        self.lock().draining
    }

    pub(super) fn database(&self, ok: bool) {
        self.lock().note(|state| state.database.down = !ok);
    }

    pub(super) fn broker(&self, ok: bool) {
        self.lock().note(|state| state.broker.down = !ok);
    }

    pub(super) fn peers(&self, peers: Vec<NodeBeat>) {
        self.lock().note(|state| state.peers = peers);
    }

    pub(super) fn heard(&self, incarnation: String, database_ok: bool) {
        self.lock().note(|state| {
            state.heard.insert(incarnation, (database_ok, Instant::now()));
        });
    }

    pub(super) fn readiness(&self) -> Readiness {
        let mut state = self.lock();
        // What peers said grows old without anything happening.
        state.note(|_| {});
        let mut degraded = Vec::new();
        let mut failing = Vec::new();
        if state.draining {
            failing.push("draining");
        }
        if !state.started {
            failing.push("starting");
        }
        for (name, trouble) in [("database", &state.database), ("broker", &state.broker)] {
            match trouble.alone_since {
                Some(since) if since.elapsed() >= PATIENCE => failing.push(name),
                _ if trouble.down => degraded.push(name),
                _ => {}
            }
        }
        Readiness { ready: failing.is_empty(), degraded, failing }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes something new, and looks at what it means.
    fn note(&mut self, news: impl FnOnce(&mut Self)) {
        news(self);
        self.heard.retain(|_, (_, at)| at.elapsed() < PEER_WINDOW);
        let well = self.heard.values().filter(|(ok, _)| *ok).count();
        self.database.judge(well, self.heard.len());
        let well = self.peers.iter().filter(|peer| peer.broker_ok).count();
        self.broker.judge(well, self.peers.len());
    }
}

impl Trouble {
    fn judge(&mut self, well: usize, peers: usize) {
        if self.down && well * 2 > peers {
            self.alone_since.get_or_insert_with(Instant::now);
        } else {
            self.alone_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, broker_ok: bool) -> NodeBeat {
        NodeBeat { incarnation: name.into(), name: name.into(), version: String::new(), broker_ok, draining: false }
    }

    /// As if what began had begun long ago.
    fn age(health: &Health) {
        let mut state = health.lock();
        let State { database, broker, .. } = &mut *state;
        for since in [&mut database.alone_since, &mut broker.alone_since].into_iter().flatten() {
            *since = since.checked_sub(PATIENCE * 2).expect("the machine has run for a while");
        }
    }

    #[test]
    fn what_fails_here_alone_makes_unready() {
        let health = Health::default();
        health.started();
        health.peers(vec![peer("b", true), peer("c", true)]);
        health.broker(false);
        assert_eq!(health.readiness().degraded, ["broker"], "not at once");
        age(&health);
        assert_eq!(health.readiness().failing, ["broker"]);
        health.peers(vec![peer("b", false), peer("c", true)]);
        let readiness = health.readiness();
        assert!(readiness.ready);
        assert_eq!(readiness.degraded, ["broker"]);
    }

    #[test]
    fn who_is_the_last_to_notice_a_return_stays_ready() {
        let health = Health::default();
        health.started();
        for name in ["b", "c"] {
            health.heard(name.into(), false);
        }
        health.database(false);
        age(&health);
        for name in ["b", "c"] {
            health.heard(name.into(), true);
            assert!(health.readiness().ready, "alone for a moment only");
        }
        health.database(true);
        assert_eq!(health.readiness(), Readiness { ready: true, degraded: vec![], failing: vec![] });
    }

    #[test]
    fn a_single_node_is_degraded_but_ready() {
        let health = Health::default();
        assert_eq!(health.readiness().failing, ["starting"]);
        health.started();
        health.database(false);
        age(&health);
        assert_eq!(health.readiness(), Readiness { ready: true, degraded: vec!["database"], failing: vec![] });
        health.heard("b".into(), true);
        age(&health);
        assert_eq!(health.readiness().failing, ["database"]);
        health.drain();
        assert_eq!(health.readiness().failing, ["draining", "database"]);
    }
}
