//! How long things took, recorded by many tasks at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// Tasks that record at the same time seldom meet in one of so many.
const SHARDS: usize = 16;
/// Longer is recorded as this.
const MICROS_MAX: u64 = 120_000_000;

/// Latencies of what was sent inside the measured time, in microseconds.
#[derive(Debug)]
pub struct Latencies {
    shards: Vec<Mutex<Histogram<u64>>>,
    /// What was sent before, or from then on, is not counted.
    since: AtomicU64,
    until: AtomicU64,
}

/// Three digits are kept, up to two minutes.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("the bounds are constants that fit")
}

impl Latencies {
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(histogram())).collect(),
            since: AtomicU64::new(u64::MAX),
            until: AtomicU64::new(u64::MAX),
        }
    }

    pub fn begin(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
    }

    pub fn end(&self, now: u64) {
        self.until.store(now, Ordering::Relaxed);
    }

    /// `lane` spreads the recorders.
    pub fn record(&self, lane: usize, sent: u64, now: u64) {
        if sent >= self.since.load(Ordering::Relaxed) && sent < self.until.load(Ordering::Relaxed) {
            let mut shard = self.shards[lane % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
            shard.saturating_record(now.saturating_sub(sent));
        }
    }

    pub fn merged(&self) -> Histogram<u64> {
        let mut whole = histogram();
        for shard in &self.shards {
            whole.add(&*shard.lock().unwrap_or_else(PoisonError::into_inner)).expect("alike in their bounds");
        }
        whole
    }
}
