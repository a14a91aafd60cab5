//! What is done to the cluster, and when: a pure function of the seed, so that a schedule can be had again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

pub const NODES: usize = 3;

/// Never ended, so that there is one process over whose whole life growth can be judged.
pub const WITNESS: usize = 0;

/// How likely a second blow falls together with the first.
const DOUBLED: f64 = 0.25;

/// Quiet before a strike.
const PAUSE_MS: std::ops::Range<u64> = 500..3_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9`, and started again under its name.
    NodeKilled,
    /// SIGTERM, and started again when it has ended.
    NodeTerminated,
    /// SIGSTOP.
    NodePaused,
    /// `kill -9`, and started empty.
    RedisKilled,
    /// SIGSTOP: its connections stay open.
    RedisPaused,
    RedisSubscribersKilled,
    RedisFlushed,
    /// `pg_ctl stop -m immediate`.
    PostgresStopped,
    /// SIGSTOP of all its processes.
    PostgresPaused,
    /// `pg_terminate_backend` of about half of the nodes' connections.
    BackendsTerminated,
    /// The connections between a node and Redis are cut; new ones pass.
    WireCut,
    /// The same, and new ones are refused.
    WireRefused,
    /// What Redis says to a node is lost, its connections stay open.
    WireDeafNode,
    /// What a node says to Redis is lost, its connections stay open.
    WireDeafRedis,
}

pub const FAULTS: [Fault; 14] = [
    Fault::NodeKilled,
    Fault::NodeTerminated,
    Fault::NodePaused,
    Fault::RedisKilled,
    Fault::RedisPaused,
    Fault::RedisSubscribersKilled,
    Fault::RedisFlushed,
    Fault::PostgresStopped,
    Fault::PostgresPaused,
    Fault::BackendsTerminated,
    Fault::WireCut,
    Fault::WireRefused,
    Fault::WireDeafNode,
    Fault::WireDeafRedis,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blow {
    pub fault: Fault,
    /// Which one, where it is about a node.
    pub node: usize,
    pub lasts: Duration,
}

/// One blow, or two at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    pub after: Duration,
    pub blows: Vec<Blow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Node(usize),
    Wire(usize),
    Redis,
    Postgres,
}

/// Deals the faults like cards: none comes again before all others came.
pub struct Schedule {
    random: StdRng,
    deck: Vec<Fault>,
}

impl Schedule {
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), deck: Vec::new() }
    }

    fn blow(&mut self, fault: Fault) -> Blow {
        let ends = matches!(fault, Fault::NodeKilled | Fault::NodeTerminated);
        let node = self.random.random_range(if ends { WITNESS + 1..NODES } else { 0..NODES });
        let milliseconds = match fault {
            Fault::NodeKilled | Fault::NodeTerminated | Fault::PostgresStopped => 200..5_000,
            Fault::PostgresPaused => 1_000..8_000,
            Fault::NodePaused | Fault::RedisKilled | Fault::RedisPaused => 2_000..15_000,
            Fault::WireRefused | Fault::WireDeafNode | Fault::WireDeafRedis => 2_000..15_000,
            // Over as soon as they are done; in a row they are a burst.
            Fault::RedisSubscribersKilled | Fault::RedisFlushed | Fault::BackendsTerminated | Fault::WireCut => {
                200..2_000
            }
        };
        Blow { fault, node, lasts: Duration::from_millis(self.random.random_range(milliseconds)) }
    }
}

impl Iterator for Schedule {
    type Item = Strike;

    fn next(&mut self) -> Option<Strike> {
        if self.deck.is_empty() {
            self.deck = FAULTS.to_vec();
            self.deck.shuffle(&mut self.random);
        }
        let fault = self.deck.pop()?;
        let mut blows = vec![self.blow(fault)];
        if self.random.random_bool(DOUBLED) {
            let other = FAULTS[self.random.random_range(0..FAULTS.len())];
            let other = self.blow(other);
            // What is down already cannot be told anything.
            if other.target() != blows[0].target() {
                blows.push(other);
            }
        }
        Some(Strike { after: Duration::from_millis(self.random.random_range(PAUSE_MS)), blows })
    }
}

impl Blow {
    fn target(&self) -> Target {
        match self.fault {
            Fault::NodeKilled | Fault::NodeTerminated | Fault::NodePaused => Target::Node(self.node),
            Fault::WireCut | Fault::WireRefused | Fault::WireDeafNode | Fault::WireDeafRedis => Target::Wire(self.node),
            Fault::RedisKilled | Fault::RedisPaused | Fault::RedisSubscribersKilled | Fault::RedisFlushed => {
                Target::Redis
            }
            Fault::PostgresStopped | Fault::PostgresPaused | Fault::BackendsTerminated => Target::Postgres,
        }
    }
}

impl std::fmt::Display for Blow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.target() {
            Target::Node(node) | Target::Wire(node) => write!(f, "{:?} {node} for {:.1?}", self.fault, self.lasts),
            Target::Redis | Target::Postgres => write!(f, "{:?} for {:.1?}", self.fault, self.lasts),
        }
    }
}

#[test]
fn the_seed_alone_decides_what_happens() {
    let of = |seed| Schedule::new(seed).take(300).collect::<Vec<_>>();
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

#[test]
fn every_fault_comes_before_one_comes_again_and_the_witness_lives() {
    for seed in 0..50 {
        let strikes: Vec<Strike> = Schedule::new(seed).take(10 * FAULTS.len()).collect();
        for round in strikes.chunks(FAULTS.len()) {
            let mut faults: Vec<Fault> = round.iter().map(|strike| strike.blows[0].fault).collect();
            faults.sort_unstable();
            assert_eq!(faults, FAULTS, "seed {seed}");
        }
        let doubled = strikes.iter().filter(|strike| strike.blows.len() == 2).count();
        assert!(doubled > 5, "seed {seed}: {doubled}");
        for strike in &strikes {
            let ends = |blow: &Blow| matches!(blow.fault, Fault::NodeKilled | Fault::NodeTerminated);
            assert!(strike.blows.iter().all(|blow| blow.node < NODES && !(ends(blow) && blow.node == WITNESS)));
            assert!(strike.blows.len() < 2 || strike.blows[0].target() != strike.blows[1].target(), "{strike:?}");
        }
    }
}
