//! Whether a load balancer should send people here: what fails for this node alone makes it unready, what fails for
//! everybody only degrades it, or all nodes would leave at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::beacon::PEER_WINDOW;
use crate::store::NodeBeat;

/// How long something must fail before it makes a node unready.
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
    database_down: Option<Instant>,
    broker_down: Option<Instant>,
    /// Peers by what they wrote into the database, for judging our broker …
    peers: Vec<NodeBeat>,
    /// … and by what they said over the broker, for judging our database.
    heard: HashMap<String, (bool, Instant)>,
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
        note(&mut self.lock().database_down, ok);
    }

    pub(super) fn broker(&self, ok: bool) {
        note(&mut self.lock().broker_down, ok);
    }

    pub(super) fn peers(&self, peers: Vec<NodeBeat>) {
        self.lock().peers = peers;
    }

    pub(super) fn heard(&self, incarnation: String, database_ok: bool) {
        let mut state = self.lock();
        state.heard.retain(|_, (_, at)| at.elapsed() < PEER_WINDOW);
        state.heard.insert(incarnation, (database_ok, Instant::now()));
    }

    pub(super) fn readiness(&self, own: &str) -> Readiness {
        let state = self.lock();
        let mut degraded = Vec::new();
        let mut failing = Vec::new();
        if state.draining {
            failing.push("draining");
        }
        if !state.started {
            failing.push("starting");
        }
        let mut judge = |name, down: Option<Instant>, well: usize, peers: usize| match down {
            Some(since) if since.elapsed() >= PATIENCE && well * 2 > peers => failing.push(name),
            Some(_) => degraded.push(name),
            None => {}
        };
        let others = state.heard.iter().filter(|(name, (_, at))| *name != own && at.elapsed() < PEER_WINDOW);
        let others: Vec<bool> = others.map(|(_, (ok, _))| *ok).collect();
        judge("database", state.database_down, others.iter().filter(|ok| **ok).count(), others.len());
        let well = state.peers.iter().filter(|peer| peer.broker_ok).count();
        judge("broker", state.broker_down, well, state.peers.len());
        Readiness { ready: failing.is_empty(), degraded, failing }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(down: &mut Option<Instant>, ok: bool) {
    if ok {
        *down = None;
    } else {
        down.get_or_insert_with(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, broker_ok: bool) -> NodeBeat {
        NodeBeat { incarnation: name.into(), name: name.into(), version: String::new(), broker_ok, draining: false }
    }

    fn down_for_long() -> Option<Instant> {
        Instant::now().checked_sub(PATIENCE * 2)
    }

    #[test]
    fn what_fails_here_alone_makes_unready() {
        let health = Health::default();
        health.started();
        health.peers(vec![peer("b", true), peer("c", true)]);
        health.lock().broker_down = down_for_long();
        assert_eq!(health.readiness("a").failing, ["broker"]);
        health.peers(vec![peer("b", false), peer("c", true)]);
        let readiness = health.readiness("a");
        assert!(readiness.ready);
        assert_eq!(readiness.degraded, ["broker"]);
    }

    #[test]
    fn a_single_node_is_degraded_but_ready() {
        let health = Health::default();
        assert_eq!(health.readiness("a").failing, ["starting"]);
        health.started();
        health.lock().database_down = down_for_long();
        assert_eq!(health.readiness("a"), Readiness { ready: true, degraded: vec!["database"], failing: vec![] });
        health.heard("b".into(), true);
        assert_eq!(health.readiness("a").failing, ["database"]);
        health.drain();
        assert_eq!(health.readiness("a").failing, ["draining", "database"]);
    }
}
