//! What an idle, joined socket costs: resident memory of the server's process before and after many of them came,
//! and its CPU for their coming and staying.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use hdrhistogram::Histogram;
use salon::engine::Result;
use salon::engine::wire::Room;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::latency::histogram;
use crate::process::{Watch, resident_kib};
use crate::report::Report;
use crate::target::Target;

/// No frame for this long: everybody was told of all who came (counts are told once a second).
const QUIET: Duration = Duration::from_secs(2);
/// Rooms in which somebody always comes or goes would be waited for without end.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Idle {
    #[arg(long, default_value = "5000")]
    sockets: NonZeroUsize,
    /// The sockets are spread over so many rooms, one room each.
    #[arg(long, default_value = "100")]
    rooms: NonZeroUsize,
    /// Seconds that they stay before the memory is read.
    #[arg(long, default_value = "30")]
    seconds: u64,
}

/// Sockets that are open; a task that ends gives the reason.
struct Opened {
    readers: JoinSet<String>,
    /// From the connect to the `joined` of each, in microseconds.
    took: Histogram<u64>,
    frames: Arc<AtomicU64>,
}

impl Idle {
    pub async fn run(&self, target: &Target) -> Result<Report> {
        let node = *target.pids.first().ok_or("--pid of the node is missing: its memory is what is measured")?;
        let watch = Watch::new(&target.pids)?;
        let rooms = target.new_rooms(self.rooms.get()).await?;
        let (before, began, cpu) = (resident_kib(node)?, Instant::now(), watch.cpu());
        let mut opened = self.open(target, &rooms).await?;
        let opening = began.elapsed();
        quiet(&opened.frames).await;
        let (coming, settled) = (watch.cpu().since(&cpu), watch.cpu());
        eprintln!("staying for {} s", self.seconds);
        sleep(Duration::from_secs(self.seconds)).await;
        let (after, staying) = (resident_kib(node)?, watch.cpu().since(&settled));

        let mut report = Report::new("idle");
        let sockets = self.sockets.get();
        let each = (after as f64 - before as f64) / sockets as f64;
        report.figure("sockets", "joined sockets", sockets as f64, "");
        report.figure("rooms", "rooms", self.rooms.get() as f64, "");
        report.figure("rss_before_kib", "resident before", before as f64, "KiB");
        report.figure("rss_after_kib", "resident after", after as f64, "KiB");
        report.figure("rss_kib_per_socket", "resident a joined socket", each, "KiB");
        let rate = sockets as f64 / opening.as_secs_f64();
        report.figure("opened_per_s", "opened and joined a second", rate, "sockets/s");
        report.latency("open", "connect to joined", &opened.took);
        report.cpu_per("socket", "socket that comes", &coming, sockets as u64);
        if self.seconds > 0 {
            report.cpu_per("idle_socket_second", "second of an idle socket", &staying, sockets as u64 * self.seconds);
        }
        while let Some(ended) = opened.readers.try_join_next() {
            report.violations.push(ended.unwrap_or_else(|error| error.to_string()));
        }
        Ok(report)
    }

    async fn open(&self, target: &Target, rooms: &[Room]) -> Result<Opened> {
        eprintln!("opening {} sockets in {} rooms", self.sockets, rooms.len());
        let mut opened = Opened { readers: JoinSet::new(), took: histogram(), frames: Arc::default() };
        let opening = (0..self.sockets.get()).map(|n| async move {
            let began = Instant::now();
            let mut socket = target.open(n).await?;
            let joined = socket.ask(json!({"type": "join", "room": rooms[n % rooms.len()].id, "limit": 0})).await?;
            match joined["type"].as_str() {
                Some("joined") => Ok((n, socket, began.elapsed())),
                _ => Err(format!("socket {n}: {joined}")),
            }
        });
        let mut coming = pin!(futures_util::stream::iter(opening).buffer_unordered(target.opening.get()));
        while let Some((n, mut socket, took)) = coming.try_next().await? {
            opened.took.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            let frames = Arc::clone(&opened.frames);
            opened.readers.spawn(async move {
                loop {
                    match socket.next_text().await {
                        Ok(_) => frames.fetch_add(1, Relaxed),
                        Err(closed) => return format!("socket {n}: {closed:?}"),
                    };
                }
            });
        }
        Ok(opened)
    }
}

async fn quiet(frames: &AtomicU64) {
    let until = Instant::now() + QUIET_WAIT_MAX;
    let (mut seen, mut since) = (frames.load(Relaxed), Instant::now());
    while since.elapsed() < QUIET && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
        let now = frames.load(Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}
