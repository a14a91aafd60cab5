//! A database in which login sessions end and users are disabled, and a node that looks at it, is cut off from it and
//! starts anew, stepped by a clock of the test's own: once a look could see that something was withdrawn, no token from
//! before is taken for as long as it lives; nobody else is ever put out; and nothing is remembered for ever.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{ISSUER_AHEAD_S, KEPT, OVERLAP, Reach, Withdrawn};
use crate::model::{Timestamp, UserId};
use crate::store::{Revocation, Revoked};

/// Between two looks; coarser than a node's, so that a schedule is soon over.
const LOOK: Duration = Duration::from_secs(20);
/// How long a token lives, with all that clocks may be apart.
const TOKEN: Duration = Duration::from_secs(15 * 60 + 55);
const USERS: i64 = 3;
/// By the database's clock, when a schedule begins.
const BEGIN_MS: i64 = 1_800_000_000_000;

#[derive(Debug, Clone)]
enum Op {
    Pass {
        seconds: u64,
    },
    /// A login session begins.
    Begin {
        user: i64,
    },
    /// One of those that live ends; others see it so much later, since commits take their time.
    End {
        which: usize,
        late_s: u64,
    },
    /// An account is disabled, with all of its login sessions, and enabled again at once.
    Disable {
        user: i64,
        late_s: u64,
    },
    CutOff(bool),
    Restart,
}

/// A login session, and when the last token of it that was ever signed was signed.
struct LoginSession {
    name: String,
    user: i64,
    ended: Option<Ended>,
}

#[derive(Clone, Copy)]
struct Ended {
    at: Duration,
    visible: Duration,
}

struct World {
    start: Instant,
    now: Duration,
    rows: Vec<(Duration, Revocation)>,
    sessions: Vec<LoginSession>,
    /// Of issuers' users.
    disabled: Vec<(UserId, Ended)>,
    withdrawn: Withdrawn,
    reach: Reach,
    cut_off: bool,
    looked: Option<Duration>,
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            now: Duration::ZERO,
            rows: Vec::new(),
            sessions: Vec::new(),
            disabled: Vec::new(),
            withdrawn: Withdrawn::default(),
            reach: Reach::start(start),
            cut_off: false,
            looked: None,
        }
    }

    fn step(&mut self, op: &Op) {
        // No two things at the same moment, or nobody could say which came first.
        self.now += Duration::from_secs(1);
        match *op {
            Op::Pass { seconds } => {
                let until = self.now + Duration::from_secs(seconds);
                while self.now + LOOK <= until {
                    self.now += LOOK;
                    self.look();
                }
                self.now = until;
            }
            Op::Begin { user } => {
                let name = format!("s{}", self.sessions.len());
                self.sessions.push(LoginSession { name, user, ended: None });
            }
            Op::End { which, late_s } => {
                let living: Vec<usize> =
                    (0..self.sessions.len()).filter(|&number| self.sessions[number].ended.is_none()).collect();
                if let Some(place) = which.checked_rem(living.len()) {
                    self.end(living[place], late_s);
                }
            }
            Op::Disable { user, late_s } => {
                self.row(Revoked::User(UserId(user)), late_s);
                let ended = self.ended(late_s);
                self.disabled.push((UserId(user), ended));
                for number in 0..self.sessions.len() {
                    if self.sessions[number].user == user && self.sessions[number].ended.is_none() {
                        self.end(number, late_s);
                    }
                }
            }
            Op::CutOff(cut_off) => self.cut_off = cut_off,
            Op::Restart => {
                (self.withdrawn, self.reach) = (Withdrawn::default(), Reach::start(self.start + self.now));
                self.looked = None;
                // It serves once it has reached the database.
                self.cut_off = false;
                self.look();
            }
        }
    }

    fn end(&mut self, number: usize, late_s: u64) {
        self.sessions[number].ended = Some(self.ended(late_s));
        self.row(Revoked::LoginSession(self.sessions[number].name.clone()), late_s);
    }

    fn ended(&self, late_s: u64) -> Ended {
        Ended { at: self.now, visible: self.now + Duration::from_secs(late_s) }
    }

    fn row(&mut self, what: Revoked, late_s: u64) {
        let id = i64::try_from(self.rows.len()).expect("few");
        let visible = self.now + Duration::from_secs(late_s);
        self.rows.push((visible, Revocation { id, at: stamp(self.now), what }));
    }

    fn look(&mut self) {
        if self.cut_off {
            return;
        }
        let now = self.start + self.now;
        let from = stamp(self.now).0 - i64::try_from(self.reach.window(now).as_millis()).expect("short");
        let read = self.rows.iter().filter(|(visible, row)| *visible <= self.now && row.at.0 >= from);
        let read = read.map(|(_, row)| row.clone()).collect();
        self.withdrawn.take_in(read, now);
        self.reach.looked(now);
        self.looked = Some(self.now);
    }

    /// Whether a look could see it, and something from before could still be shown.
    fn counts(&self, ended: Ended) -> bool {
        self.looked.is_some_and(|looked| looked >= ended.visible) && self.now <= ended.at + TOKEN
    }

    fn check(&self, skew_s: i64) -> Result<(), TestCaseError> {
        for session in &self.sessions {
            // Whatever the clock of the node that signed its tokens says.
            let issued_at = Some(stamp(self.now).seconds() + skew_s);
            let held = self.withdrawn.holds(UserId(session.user), Some(&session.name), issued_at);
            match session.ended {
                Some(ended) if self.counts(ended) => prop_assert!(held, "{} is let in", session.name),
                None => prop_assert!(!held, "{} is put out", session.name),
                Some(_) => {}
            }
        }
        for (user, ended) in self.disabled.iter().filter(|(_, ended)| self.counts(*ended)) {
            let before = stamp(ended.at).seconds();
            prop_assert!(self.withdrawn.holds(*user, None, None), "{user:?} is let in");
            prop_assert!(self.withdrawn.holds(*user, None, Some(before)), "{user:?} is let in");
        }
        let after = stamp(self.now).seconds() + ISSUER_AHEAD_S + 1;
        for user in 0..USERS {
            prop_assert!(!self.withdrawn.holds(UserId(user), None, Some(after)), "{user} is put out for ever");
        }
        Ok(())
    }
}

fn stamp(now: Duration) -> Timestamp {
    Timestamp(BEGIN_MS).plus(now)
}

fn op() -> impl Strategy<Value = Op> {
    let late_s = 0..OVERLAP.as_secs() - LOOK.as_secs();
    prop_oneof![
        5 => (1_u64..600).prop_map(|seconds| Op::Pass { seconds }),
        4 => (0..USERS).prop_map(|user| Op::Begin { user }),
        4 => (any::<usize>(), late_s.clone()).prop_map(|(which, late_s)| Op::End { which, late_s }),
        2 => (0..USERS, late_s).prop_map(|(user, late_s)| Op::Disable { user, late_s }),
        2 => any::<bool>().prop_map(Op::CutOff),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_withdrawn_stays_so_and_nothing_else_is(
        ops in prop::collection::vec(op(), 1..60),
        skew_s in -3_600_i64..3_600,
    ) {
        let mut world = World::new();
        for op in &ops {
            world.step(op);
            world.check(skew_s)?;
        }
        world.cut_off = false;
        for seconds in [LOOK.as_secs(), OVERLAP.as_secs(), 2 * KEPT.as_secs()] {
            world.step(&Op::Pass { seconds });
            world.check(skew_s)?;
        }
        let Withdrawn { seen, sessions, users } = &world.withdrawn;
        prop_assert!(seen.is_empty() && sessions.is_empty() && users.is_empty(), "something is kept for ever");
    }
}
