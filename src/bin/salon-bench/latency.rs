//! How long things took, in microseconds, from many tasks at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Tasks that record at the same time seldom meet in one of so many.
const SHARDS: usize = 16;
/// Longer is recorded as this.
const MICROS_MAX: u64 = 120_000_000;

/// One clock for all that is sent and received: microseconds since the run began.
#[derive(Debug)]
pub struct Clock(Instant);

/// Latencies of what was sent inside the measured time.
#[derive(Debug)]
pub struct Latencies {
    shards: Vec<Mutex<Histogram<u64>>>,
    /// What was sent before, or from then on, is not counted.
    since: AtomicU64,
    until: AtomicU64,
}

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn micros(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Latencies {
    pub fn new() -> Self {
        let shard = || Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("the bounds are constants that fit");
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
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
        if sent < self.since.load(Ordering::Relaxed) || sent >= self.until.load(Ordering::Relaxed) {
            return;
        }
        let mut shard = self.shards[lane % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        shard.saturating_record(now.saturating_sub(sent).max(1));
    }

    pub fn merged(&self) -> Histogram<u64> {
        let mut whole: Option<Histogram<u64>> = None;
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut whole {
                // Alike in their bounds, so one always takes the other's values.
                Some(whole) => drop(whole.add(&*shard)),
                None => whole = Some(shard.clone()),
            }
        }
        whole.expect("there is at least one shard")
    }
}

/// The latency that this share (0 to 1) of all stays within.
pub fn quantile(histogram: &Histogram<u64>, share: f64) -> Duration {
    Duration::from_micros(histogram.value_at_quantile(share))
}
