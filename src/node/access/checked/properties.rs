//! Whatever overtakes what: once the beacon found nothing to do, nobody is in the room who may not be.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Check, Checked};

const USERS: u8 = 4;

#[derive(Debug, Clone)]
enum Op {
    /// The store changes its mind about somebody.
    Put {
        out: bool,
        who: u8,
    },
    /// Somebody asks to enter, and is let in later, if at all.
    Ask(u8),
    Enter(usize),
    Leave(u8),
    /// A check begins, reads of the store, and ends, with anything in between.
    Begin,
    Read(usize),
    End {
        which: usize,
        failed: bool,
    },
    /// The database was restored: the count goes back, and who was put out since is back, and the other way round.
    Restore {
        out: BTreeSet<u8>,
        version: u64,
    },
}

/// The store's truth, and one node's room.
#[derive(Default)]
struct World {
    version: u64,
    out: BTreeSet<u8>,
    checked: Checked,
    inside: BTreeSet<u8>,
    /// Who, in which life of the room's clock, and at which version.
    asked: Vec<(u8, u64, u64)>,
    checks: Vec<UnderWay>,
    life: u64,
}

struct UnderWay {
    check: Check,
    present: BTreeSet<u8>,
    read: Option<(u64, BTreeSet<u8>)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { version: 1, ..Self::default() };
        world.checked.open(1, true);
        world
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Put { out, who } => {
                if out {
                    self.out.insert(who)
                } else {
                    self.out.remove(&who)
                };
                self.version += 1;
            }
            Op::Ask(who) if !self.out.contains(&who) => self.asked.push((who, self.life, self.version)),
            Op::Enter(which) if !self.asked.is_empty() => {
                let (who, life, version) = self.asked.swap_remove(which % self.asked.len());
                self.checked.enter(if life == self.life { version } else { 0 });
                self.inside.insert(who);
            }
            Op::Leave(who) => drop(self.inside.remove(&who)),
            Op::Begin => self.begin(),
            Op::Read(which) if !self.checks.is_empty() => {
                let which = which % self.checks.len();
                self.checks[which].read = Some((self.version, self.out.clone()));
            }
            Op::End { which, failed } if !self.checks.is_empty() => {
                let under_way = self.checks.swap_remove(which % self.checks.len());
                self.end(under_way, failed);
            }
            Op::Restore { out, version } => {
                (self.out, self.version, self.life) = (out, version, self.life + 1);
                self.checked.open(version, self.inside.is_empty());
            }
            Op::Ask(_) | Op::Enter(_) | Op::Read(_) | Op::End { .. } => {}
        }
    }

    fn begin(&mut self) {
        self.checks.push(UnderWay { check: self.checked.begin(), present: self.inside.clone(), read: None });
    }

    fn end(&mut self, under_way: UnderWay, failed: bool) {
        let read = under_way.read.filter(|_| !failed);
        if let Some((_, out)) = &read {
            for gone in under_way.present.intersection(out) {
                self.inside.remove(gone);
            }
        }
        self.checked.end(under_way.check, read.map(|(version, _)| version));
    }

    /// What is under way ends, well or not; then the beacon looks.
    fn come_to_rest(&mut self, failed: bool) {
        while let Some(under_way) = self.checks.pop() {
            self.end(under_way, failed);
        }
        let mut looks = 0;
        while self.checked.version() != self.version && !self.inside.is_empty() {
            looks += 1;
            assert!(looks < 3, "the beacon checks for ever: {:?}, the store is at {}", self.checked, self.version);
            self.begin();
            let mut under_way = self.checks.pop().expect("it began");
            under_way.read = Some((self.version, self.out.clone()));
            self.end(under_way, false);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nobody_stays_who_may_not(ops in prop::collection::vec(op(), 1..80), failed: bool) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.come_to_rest(failed);
        let unwanted: BTreeSet<_> = world.inside.intersection(&world.out).collect();
        prop_assert!(unwanted.is_empty(), "{unwanted:?} are in still, {:?}", world.checked);
    }
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 0..USERS;
    prop_oneof![
        3 => (any::<bool>(), who()).prop_map(|(out, who)| Op::Put { out, who }),
        4 => who().prop_map(Op::Ask),
        4 => any::<usize>().prop_map(Op::Enter),
        1 => who().prop_map(Op::Leave),
        2 => Just(Op::Begin),
        3 => any::<usize>().prop_map(Op::Read),
        2 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, failed)| Op::End { which, failed }),
        1 => (prop::collection::btree_set(who(), 0..3), 1..10_u64)
            .prop_map(|(out, version)| Op::Restore { out, version }),
    ]
}

/// As it was found: asked, put out, the room looked through, and only then let in.
#[test]
fn who_asked_before_and_came_in_after_is_looked_at_again() {
    let mut world = World::new();
    let overtaken = [
        Op::Ask(1),
        Op::Enter(0),
        Op::Ask(0),
        Op::Put { out: true, who: 0 },
        Op::Begin,
        Op::Read(0),
        Op::End { which: 0, failed: false },
        Op::Enter(0),
    ];
    overtaken.into_iter().for_each(|op| world.step(op));
    assert_eq!((world.version, world.checked.version()), (2, 1));
    world.come_to_rest(false);
    assert_eq!(world.inside, BTreeSet::from([1]));
}
