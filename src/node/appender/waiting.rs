//! What waits to be stored, room by room, and which rooms are under way. Free of I/O.

#[cfg(test)]
mod properties;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Job, What};
use crate::model::RoomId;

/// The least between the beginnings of two batches while many come, since a batch of one costs the database almost what
/// one of ten costs.
const GATHER: Duration = Duration::from_millis(2);
/// Many: batches have been larger than this in the mean of about the last eight. Who sends alone waits for nobody.
const MANY: f32 = 1.25;

#[derive(Default)]
pub(super) struct State {
    rooms: HashMap<RoomId, Waiting>,
    /// Rooms with jobs and none under way.
    ready: VecDeque<RoomId>,
    pub(super) waiting: usize,
    under_way: usize,
    /// When the last batch began, and how large batches have been lately.
    last: Option<Instant>,
    size: f32,
    /// A worker waits for the next batch to gather.
    pub(super) gathering: bool,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    under_way: bool,
}

impl State {
    pub(super) fn push(&mut self, job: Job) {
        let room = job.room();
        let waiting = self.rooms.entry(room).or_default();
        if waiting.jobs.is_empty() && !waiting.under_way {
            self.ready.push_back(room);
        }
        waiting.jobs.push_back(job);
        self.waiting += 1;
    }

    /// How long the next batch is left to gather; none, when it is full or few come.
    pub(super) fn gather(&self, now: Instant, max: usize) -> Duration {
        match self.last {
            Some(last) if self.size > MANY && self.waiting < max => (last + GATHER).saturating_duration_since(now),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn begins(&mut self, now: Instant, size: usize) {
        self.last = Some(now);
        self.size += (size as f32 - self.size) / 8.0;
    }

    /// Whether a batch could be claimed.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.under_way == 0
    }

    /// Takes jobs of ready rooms: sends of many rooms together, an edit or deletion by itself.
    pub(super) fn claim(&mut self, max: usize) -> Vec<Job> {
        let mut batch: Vec<Job> = Vec::new();
        while batch.len() < max {
            let Some(room) = self.ready.pop_front() else { break };
            // A room can stand here twice when all its jobs expired and new ones came.
            let Some(waiting) = self.rooms.get_mut(&room).filter(|waiting| !waiting.under_way) else { continue };
            match waiting.jobs.front().map(|job| &job.what) {
                None => {
                    self.rooms.remove(&room);
                    continue;
                }
                Some(What::Change(_)) if !batch.is_empty() => {
                    self.ready.push_front(room);
                    break;
                }
                Some(What::Change(_)) => batch.extend(waiting.jobs.pop_front()),
                Some(What::Send(_)) => {
                    while batch.len() < max && matches!(waiting.jobs.front(), Some(Job { what: What::Send(_), .. })) {
                        batch.extend(waiting.jobs.pop_front());
                    }
                }
            }
            waiting.under_way = true;
            self.under_way += 1;
            if matches!(batch.last(), Some(Job { what: What::Change(_), .. })) {
                break;
            }
        }
        self.waiting -= batch.len();
        batch
    }

    /// Takes out what waited too long. A room keeps its order: behind a job with time left nobody is looked at.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Job> {
        let mut late = Vec::new();
        for waiting in self.rooms.values_mut() {
            while waiting.jobs.front().is_some_and(|job| job.deadline <= now) {
                late.extend(waiting.jobs.pop_front());
            }
        }
        self.waiting -= late.len();
        late
    }

    pub(super) fn release(&mut self, room: RoomId) {
        self.under_way -= 1;
        let Some(waiting) = self.rooms.get_mut(&room) else { return };
        waiting.under_way = false;
        if waiting.jobs.is_empty() {
            self.rooms.remove(&room);
        } else {
            self.ready.push_back(room);
        }
    }
}
