//! Nodes that renew, hang, are killed, and a backend that loses everything, stepped by a clock of the test's own: who
//! renews in time is never taken for gone, and who is gone is found gone in time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::LEASE_INTERVAL;
use super::{LOST_HOLDOFF, Leases};
use crate::presence::{Incarnation, LEASE, Lease};

const NODES: usize = 3;
/// A step of the clock.
const STEP: Duration = Duration::from_millis(500);
/// Failed renewals in a row that are borne.
const BORNE: u32 = 2;

#[derive(Debug, Clone)]
enum Op {
    Pass(u8),
    /// Renewals of a node fail from now on, or work again.
    CutOff {
        node: usize,
        cut: bool,
    },
    Kill(usize),
    /// The backend comes back empty.
    Lose,
}

struct Node {
    leases: Leases,
    next: Duration,
    cut: bool,
    killed: bool,
    renewed: Option<Duration>,
    /// When it was last told that its lease was lost.
    lost: Option<Duration>,
}

struct World {
    start: Instant,
    now: Duration,
    nodes: Vec<Node>,
    /// Of the backend: until when.
    held: BTreeMap<usize, Duration>,
}

impl World {
    fn new() -> Self {
        let node = |number: usize| Node {
            leases: Leases::default(),
            next: STEP * u32::try_from(number).expect("few"),
            cut: false,
            killed: false,
            renewed: None,
            lost: None,
        };
        let nodes = (0..NODES).map(node).collect();
        let mut world = Self { start: Instant::now(), now: Duration::ZERO, nodes, held: BTreeMap::new() };
        // Each has renewed once: a node that starts has no rooms, so it takes nobody out of them.
        (0..NODES).for_each(|_| world.pass());
        world
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Pass(steps) => (0..steps).for_each(|_| self.pass()),
            Op::CutOff { node, cut } => self.nodes[node].cut = cut,
            Op::Kill(node) => self.nodes[node].killed = true,
            Op::Lose => self.held.clear(),
        }
    }

    fn pass(&mut self) {
        self.now += STEP;
        for number in 0..NODES {
            let node = &mut self.nodes[number];
            if !node.killed && self.now >= node.next {
                node.next = self.now + LEASE_INTERVAL;
                if !node.cut {
                    self.renew(number);
                }
            }
        }
    }

    fn renew(&mut self, number: usize) {
        let now = self.now;
        self.held.retain(|_, until| *until > now);
        let before = self.nodes[number].renewed;
        let lost = self.held.insert(number, now + LEASE).is_none() && before.is_some();
        let live = self.held.keys().map(|node| incarnation(*node)).collect();
        let node = &mut self.nodes[number];
        node.renewed = Some(now);
        node.lost = if lost { Some(now) } else { node.lost };
        let Some(keep) = node.leases.renewed(Lease { live, lost }, &incarnation(number), self.start + now) else {
            assert!(node.lost.is_some_and(|at| now < at + LOST_HOLDOFF), "nobody is taken for gone at {now:?}");
            return;
        };
        for (other, node) in self.nodes.iter().enumerate() {
            let (Some(before), Some(renewed)) = (before, node.renewed) else { continue };
            let kept = keep.contains(&incarnation(other));
            let in_time = now <= renewed + LEASE_INTERVAL * (BORNE + 1);
            assert!(kept || !in_time, "{other} renewed at {renewed:?} and is taken for gone at {now:?}");
            let over = before >= renewed + LEASE;
            assert!(!kept || !over, "{other} renewed at {renewed:?} and is kept at {now:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_living_are_kept_and_the_dead_go(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in ops.iter().chain([&Op::Pass(100)]) {
            world.step(op);
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..20_u8).prop_map(Op::Pass),
        2 => (0..NODES, any::<bool>()).prop_map(|(node, cut)| Op::CutOff { node, cut }),
        1 => (0..NODES).prop_map(Op::Kill),
        1 => Just(Op::Lose),
    ]
}

fn incarnation(node: usize) -> Incarnation {
    Incarnation(format!("node-{node}"))
}
