//! How long things took, recorded by many tasks at once and looked at every second.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

/// Tasks that record at the same time seldom meet in one of so many.
const SHARDS: usize = 4;
/// Longer is recorded as this.
const MICROS_MAX: u64 = 120_000_000;

/// Latencies of what began inside the measured time, in microseconds.
#[derive(Debug)]
pub struct Latencies {
    /// Since they were last looked at.
    shards: Vec<Mutex<Histogram<u64>>>,
    total: Mutex<Histogram<u64>>,
    /// What began before, or from then on, is not counted.
    since: AtomicU64,
    until: AtomicU64,
}

/// For one batch: whoever holds it keeps others of its shard out.
pub struct Recorder<'a> {
    shard: MutexGuard<'a, Histogram<u64>>,
    since: u64,
    until: u64,
}

/// Three digits are kept, up to two minutes.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("the bounds are constants that fit")
}

impl Latencies {
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(histogram())).collect(),
            total: Mutex::new(histogram()),
            since: AtomicU64::new(u64::MAX),
            until: AtomicU64::new(u64::MAX),
        }
    }

    /// Counts whatever is recorded, from the start.
    pub fn always() -> Self {
        let latencies = Self::new();
        latencies.begin(0);
        latencies
    }

    pub fn begin(&self, now: u64) {
        self.since.store(now, Relaxed);
    }

    pub fn end(&self, now: u64) {
        self.until.store(now, Relaxed);
    }

    /// `lane` spreads the recorders.
    pub fn recorder(&self, lane: usize) -> Recorder<'_> {
        let shard = lock(&self.shards[lane % SHARDS]);
        Recorder { shard, since: self.since.load(Relaxed), until: self.until.load(Relaxed) }
    }

    /// What was recorded since the last look.
    pub fn look(&self) -> Histogram<u64> {
        let mut fresh = histogram();
        for shard in &self.shards {
            let mut shard = lock(shard);
            fresh.add(&*shard).expect("alike in their bounds");
            shard.reset();
        }
        lock(&self.total).add(&fresh).expect("alike in their bounds");
        fresh
    }

    pub fn whole(&self) -> Histogram<u64> {
        self.look();
        lock(&self.total).clone()
    }
}

impl Recorder<'_> {
    pub fn record(&mut self, began: u64, now: u64) {
        if began >= self.since && began < self.until {
            self.shard.saturating_record(now.saturating_sub(began));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_began_inside_counts_and_a_look_takes_nothing_away() {
        let latencies = Latencies::new();
        latencies.recorder(0).record(5, 10);
        latencies.begin(100);
        latencies.recorder(0).record(99, 200);
        latencies.recorder(1).record(100, 130);
        assert_eq!(latencies.look().max(), 30);
        latencies.end(200);
        latencies.recorder(2).record(199, 250);
        latencies.recorder(2).record(200, 260);
        assert_eq!(latencies.look().len(), 1);
        assert_eq!(latencies.whole().len(), 2);
    }
}
