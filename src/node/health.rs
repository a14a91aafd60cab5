//! Whether a load balancer should send people here: what fails for this node alone makes it unready, what fails for
//! everybody only degrades it, or all nodes would leave at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::beacon::{BEAT_INTERVAL, PEER_WINDOW};
use crate::store::NodeBeat;

/// How long something must fail for this node alone before it makes the node unready.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the database told of peers is worth nothing after this time: when it is gone as well, nobody knows how they
/// are. Below [`PATIENCE`], or losing database and broker together would make every node unready.
const PEERS_KEPT: Duration = BEAT_INTERVAL.saturating_mul(3);

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
    peers_at: Option<Instant>,
    /// … and by what they said over the broker, for judging our database.
    heard: HashMap<String, (bool, Instant)>,
}

/// How one of the things that a node needs fares.
#[derive(Default)]
struct Trouble {
    down: bool,
    /// Since when it has been down here while most peers have it. When it was down for everybody this begins with
    /// their return: all come back in their own time.
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
        self.update(|state, _| state.database.down = !ok);
    }

    pub(super) fn broker(&self, ok: bool) {
        self.update(|state, _| state.broker.down = !ok);
    }

    /// The other nodes, as just read.
    pub(super) fn peers(&self, peers: Vec<NodeBeat>) {
        self.update(|state, now| (state.peers, state.peers_at) = (peers, Some(now)));
    }

    /// Another node said how its database fares.
    pub(super) fn heard(&self, incarnation: String, database_ok: bool) {
        self.update(|state, now| {
            state.heard.insert(incarnation, (database_ok, now));
        });
    }

    pub(super) fn readiness(&self) -> Readiness {
        let mut state = self.lock();
        state.review(Instant::now());
        state.readiness(Instant::now())
    }

    fn update(&self, change: impl FnOnce(&mut State, Instant)) {
        let (mut state, now) = (self.lock(), Instant::now());
        change(&mut state, now);
        state.review(now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what is too old, and judges by the rest.
    fn review(&mut self, now: Instant) {
        self.heard.retain(|_, (_, at)| now.saturating_duration_since(*at) < PEER_WINDOW);
        if self.peers_at.is_some_and(|at| now.saturating_duration_since(at) >= PEERS_KEPT) {
            self.peers.clear();
        }
        let well = self.heard.values().filter(|(ok, _)| *ok).count();
        self.database.review(well, self.heard.len(), now);
        let well = self.peers.iter().filter(|peer| peer.broker_ok).count();
        self.broker.review(well, self.peers.len(), now);
    }

    fn readiness(&self, now: Instant) -> Readiness {
        let mut degraded = Vec::new();
        let mut failing = Vec::new();
        if self.draining {
            failing.push("draining");
        }
        if !self.started {
            failing.push("starting");
        }
        for (name, trouble) in [("database", &self.database), ("broker", &self.broker)] {
            match trouble.alone_since {
                Some(since) if now.saturating_duration_since(since) >= PATIENCE => failing.push(name),
                _ if trouble.down => degraded.push(name),
                _ => {}
            }
        }
        Readiness { ready: failing.is_empty(), degraded, failing }
    }
}

impl Trouble {
    fn review(&mut self, well: usize, peers: usize, now: Instant) {
        if self.down && well * 2 > peers {
            self.alone_since.get_or_insert(now);
        } else {
            self.alone_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, broker_ok: bool) -> NodeBeat {
        NodeBeat {
            incarnation: name.into(),
            name: name.into(),
            version: String::new(),
            broker_ok,
            draining: false,
            sockets: None,
        }
    }

    /// A started node's state, driven second by second.
    struct Clock {
        state: State,
        origin: Instant,
    }

    impl Clock {
        fn start() -> Self {
            Self { state: State { started: true, ..State::default() }, origin: Instant::now() }
        }

        fn at(&mut self, second: u64, change: impl FnOnce(&mut State, Instant)) -> Readiness {
            let now = self.origin + Duration::from_secs(second);
            change(&mut self.state, now);
            self.state.review(now);
            self.state.readiness(now)
        }

        fn peers(&mut self, second: u64, well: [bool; 2]) -> Readiness {
            self.at(second, |state, now| {
                (state.peers, state.peers_at) = (vec![peer("b", well[0]), peer("c", well[1])], Some(now));
            })
        }
    }

    fn degraded(name: &'static str) -> Readiness {
        Readiness { ready: true, degraded: vec![name], failing: vec![] }
    }

    #[test]
    fn what_fails_here_alone_makes_unready_after_a_while() {
        let mut clock = Clock::start();
        clock.at(0, |state, _| state.broker.down = true);
        for second in [0, 3, 6, 9] {
            assert_eq!(clock.peers(second, [true, true]), degraded("broker"), "{second}");
        }
        assert_eq!(clock.peers(10, [true, true]).failing, ["broker"]);
        assert_eq!(clock.peers(12, [false, true]), degraded("broker"), "half of the peers have it no better");
        assert!(clock.at(13, |state, _| state.broker.down = false).degraded.is_empty());
    }

    #[test]
    fn the_last_to_come_back_is_given_its_time() {
        let mut clock = Clock::start();
        clock.at(0, |state, _| state.broker.down = true);
        for second in (0..60).step_by(3) {
            assert_eq!(clock.peers(second, [false, false]), degraded("broker"), "{second}");
        }
        for second in [60, 63, 66, 69] {
            assert_eq!(clock.peers(second, [true, true]), degraded("broker"), "{second}");
        }
        assert_eq!(clock.peers(70, [true, true]).failing, ["broker"]);
    }

    #[test]
    fn without_news_of_peers_nobody_is_alone() {
        let mut clock = Clock::start();
        clock.peers(0, [true, true]);
        clock.at(0, |state, now| {
            state.heard.insert("b".into(), (true, now));
            (state.broker.down, state.database.down) = (true, true);
        });
        // The database is gone too, so the last that was read of the peers is of no more use.
        for second in 1..30 {
            let readiness = clock.at(second, |_, _| {});
            assert!(!readiness.failing.contains(&"broker"), "{second}: {readiness:?}");
        }
        assert!(clock.at(30, |_, _| {}).ready, "nothing was heard of the other's database for long");
    }

    #[test]
    fn a_single_node_is_degraded_but_ready() {
        let health = Health::default();
        assert_eq!(health.readiness().failing, ["starting"]);
        health.started();
        let mut clock = Clock::start();
        assert_eq!(clock.at(0, |state, _| state.database.down = true), degraded("database"));
        assert_eq!(clock.at(60, |_, _| {}), degraded("database"));
        health.drain();
        assert_eq!(health.readiness().failing, ["draining"]);
    }
}
