//! What waits to be stored, against plain lists: each room in order, one batch of it at a time, nothing lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Job, What, rooms_of};
use super::{GATHER, State};
use crate::model::{Content, Nonce, RoomId, SiteRole, Slug, User, UserId, Username};
use crate::store::{Append, Change, ChangeWhat};

const ROOMS: i64 = 4;

#[derive(Debug, Clone)]
enum Op {
    Push { room: i64, change: bool, life_ms: u64 },
    Claim { max: usize },
    Release { which: usize },
    Expire { after_ms: u64 },
}

/// A job as the model knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    number: u64,
    change: bool,
    deadline: Instant,
}

#[derive(Default)]
struct Model {
    waiting: BTreeMap<i64, VecDeque<Known>>,
    under_way: BTreeSet<i64>,
}

#[test]
fn batches_gather_only_while_many_come() {
    let now = Instant::now();
    let mut state = State::default();
    let known = Known { number: 1, change: false, deadline: now + Duration::from_secs(1) };
    state.push(job(1, known));
    assert_eq!(state.gather(now, 2), Duration::ZERO, "who sends alone waits for nobody");
    (0..8).for_each(|_| state.begins(now, 1));
    assert_eq!(state.gather(now, 2), Duration::ZERO, "nor when they send often");
    (0..8).for_each(|_| state.begins(now, 2));
    assert_eq!(state.gather(now + GATHER / 2, 2), GATHER / 2);
    assert_eq!(state.gather(now + GATHER, 2), Duration::ZERO, "it has gathered long enough");
    state.push(job(2, known));
    assert_eq!(state.gather(now, 2), Duration::ZERO, "it is full");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_room_in_order_and_one_batch_at_a_time(ops in prop::collection::vec(op(), 1..120)) {
        let start = Instant::now();
        let (mut now, mut number) = (start, 0);
        let (mut state, mut model) = (State::default(), Model::default());
        for op in ops {
            match op {
                Op::Push { room, change, life_ms } => {
                    number += 1;
                    let known = Known { number, change, deadline: now + Duration::from_millis(life_ms) };
                    model.waiting.entry(room).or_default().push_back(known);
                    state.push(job(room, known));
                }
                Op::Claim { max } => model.claimed(&state.claim(max), max)?,
                Op::Release { which } => {
                    let Some(which) = which.checked_rem(model.under_way.len()) else { continue };
                    let room = *model.under_way.iter().nth(which).expect("it is within");
                    model.under_way.remove(&room);
                    state.release(RoomId(room));
                }
                Op::Expire { after_ms } => {
                    now += Duration::from_millis(after_ms);
                    let mut late: Vec<u64> = state.expire(now).iter().map(numbered).collect();
                    late.sort_unstable();
                    prop_assert_eq!(late, model.expired(now));
                }
            }
            model.agrees(&state)?;
        }
        // Whatever happened: when rooms are given free, everything is claimed in the end.
        while !model.under_way.is_empty() || model.count() > 0 {
            while let Some(room) = model.under_way.pop_first() {
                state.release(RoomId(room));
            }
            let batch = state.claim(3);
            prop_assert!(!batch.is_empty() || model.count() == 0, "what waits is never claimed");
            model.claimed(&batch, 3)?;
        }
        while let Some(room) = model.under_way.pop_first() {
            state.release(RoomId(room));
        }
        prop_assert!(state.claim(3).is_empty());
        prop_assert!(state.rooms.is_empty() && state.ready.is_empty(), "nothing is kept of rooms with nothing to do");
    }
}

impl Model {
    fn claimed(&mut self, batch: &[Job], max: usize) -> Result<(), TestCaseError> {
        prop_assert!(batch.len() <= max);
        let free = self.waiting.iter().any(|(room, jobs)| !jobs.is_empty() && !self.under_way.contains(room));
        prop_assert_eq!(!batch.is_empty(), free, "a room with nothing under way is served");
        for room in rooms_of(batch) {
            prop_assert!(self.under_way.insert(room.0), "of each room one batch is under way");
        }
        for job in batch {
            let next = self.waiting.get_mut(&job.room().0).and_then(VecDeque::pop_front);
            prop_assert_eq!(next.map(|known| known.number), Some(numbered(job)), "in order of arrival");
            prop_assert!(matches!(job.what, What::Send(_)) || batch.len() == 1, "a change is alone");
        }
        Ok(())
    }

    /// Those at the front whose time is over; who waits behind one with time left is told later.
    fn expired(&mut self, now: Instant) -> Vec<u64> {
        let mut late = Vec::new();
        for jobs in self.waiting.values_mut() {
            while let Some(known) = jobs.front().filter(|known| known.deadline <= now) {
                late.push(known.number);
                jobs.pop_front();
            }
        }
        late.sort_unstable();
        late
    }

    fn agrees(&self, state: &State) -> Result<(), TestCaseError> {
        prop_assert_eq!(state.waiting, self.count());
        prop_assert_eq!(state.under_way, self.under_way.len());
        for (room, waiting) in &state.rooms {
            prop_assert_eq!(waiting.under_way, self.under_way.contains(&room.0));
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..ROOMS, prop::bool::weighted(0.25), 1..100u64)
            .prop_map(|(room, change, life_ms)| Op::Push { room, change, life_ms }),
        3 => (1..6usize).prop_map(|max| Op::Claim { max }),
        3 => (0..64usize).prop_map(|which| Op::Release { which }),
        1 => (0..60u64).prop_map(|after_ms| Op::Expire { after_ms }),
    ]
}

fn job(room: i64, known: Known) -> Job {
    let content = Content::parse("hi", 10).expect("it is a content");
    let (room, actor) = (RoomId(room), UserId(known.number as i64));
    let what = if known.change {
        What::Change(Change { room, actor, id: 1, what: ChangeWhat::Edit(content) })
    } else {
        let nonce = Nonce::parse("nonce").expect("it is a nonce");
        What::Send(Append { room, author: actor, nonce, content, fingerprint: [0; 16], reply_to: None })
    };
    let by = User { id: actor, username: Username::from_stored("somebody".into()), role: SiteRole::User };
    Job { slug: Slug::from_stored("room".into()), by, what, deadline: known.deadline, done: None }
}

fn numbered(job: &Job) -> u64 {
    job.by.id.0 as u64
}
