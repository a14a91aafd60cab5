//! Sends at an offered rate, whatever the server does with it: each message has its time, and its latency counts from
//! there, so that a stall of the server is seen in all that should have been sent meanwhile.
//!
//! On a thread of its own: the runtime's timers know milliseconds only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use salon::engine::Result;

use crate::lane::Traffic;
use crate::lanes::micros;
use crate::latency::histogram;

/// A thread that oversleeps by less than this is on time (the kernel's own default is 50 µs).
const SLACK_FILE: &str = "/proc/thread-self/timerslack_ns";

pub struct Pacer {
    going: Arc<AtomicBool>,
    thread: JoinHandle<Result<Histogram<u64>>>,
}

impl Pacer {
    /// The senders take turns, `rate` sends a second over all of them.
    pub fn start(traffic: &Arc<Traffic>, rate: f64) -> Result<Self> {
        let going = Arc::new(AtomicBool::new(true));
        let (traffic, still) = (Arc::clone(traffic), Arc::clone(&going));
        let thread = std::thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || pace(&traffic, rate, &still))
            .map_err(|error| format!("a thread: {error}"))?;
        Ok(Self { going, thread })
    }

    /// Ends it; how late each send left, in microseconds.
    pub fn stop(self) -> Result<Histogram<u64>> {
        self.going.store(false, Relaxed);
        self.thread.join().map_err(|_| "the sending thread failed".to_owned())?
    }
}

fn pace(traffic: &Traffic, rate: f64, going: &AtomicBool) -> Result<Histogram<u64>> {
    // Best effort: the latencies would else hold this machine's habit of waking late.
    let _ = std::fs::write(SLACK_FILE, "1");
    let senders: Vec<usize> = (0..traffic.lanes.len()).filter(|n| traffic.lanes[*n].plan.sends).collect();
    let (began, mut late) = (Instant::now(), histogram());
    for (count, n) in senders.iter().cycle().enumerate() {
        let due = began + Duration::from_secs_f64(count as f64 / rate);
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            sleep(wait);
        }
        if !going.load(Relaxed) {
            break;
        }
        traffic.feed(*n, traffic.micros_at(due))?;
        traffic.push(*n)?;
        late.saturating_record(micros(due.elapsed()));
    }
    Ok(late)
}
