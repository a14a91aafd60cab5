//! What an idle, joined socket costs: resident memory of the server's process before and after many of them came.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use salon::engine::Result;
use tokio::task::JoinSet;

use crate::light::Light;
use crate::process::{Memory, memory};
use crate::progress;
use crate::report::Report;
use crate::target::Target;

/// No frame for this long: all who came were told of.
const QUIET: Duration = Duration::from_secs(5);
/// Rooms in which somebody always comes or goes would be waited for without end.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(120);
/// Idle sockets read little.
const BUFFER_BYTES: usize = 2 << 10;

#[derive(Debug, Args)]
pub struct Idle {
    #[arg(long, default_value_t = 5_000)]
    sockets: usize,
    /// The sockets are spread over so many rooms, one room each.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Users have this many sockets each; over it the server refuses (`limits.sockets_per_user`).
    #[arg(long, default_value_t = 1)]
    sockets_per_user: usize,
    /// How long they are then watched, for the CPU that idle sockets take (pings: `node.heartbeat_s`).
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

impl Idle {
    /// The memory is that of the first `--pid`.
    pub async fn run(&self, target: &Target) -> Result<Report> {
        let pid = *target.pids.first().ok_or("--pid of the node is missing: its memory is what is measured")?;
        if self.sockets == 0 || self.rooms == 0 || self.sockets_per_user == 0 {
            return Err("at least one socket, one room and one socket a user are needed".into());
        }
        let (pids, before) = (target.pids()?, memory(pid)?);
        let frames = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let mut sockets = self.open(target, &frames).await?;
        let opened = began.elapsed();
        quiet(&frames).await;
        let (after, cpu, watched) = (memory(pid)?, pids.cpu(), Instant::now());
        progress::show(&format!("watching for {} s", self.seconds));
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let (cpu, watched, later) = (pids.cpu().since(&cpu), watched.elapsed(), memory(pid)?);
        progress::done();
        let mut report = Report::new("idle");
        report.count("sockets", "joined sockets", self.sockets as u64);
        report.number("opened_per_s", "opened and joined", self.sockets as f64 / opened.as_secs_f64(), "sockets/s");
        self.tell(&mut report, "", before, after);
        if self.seconds > 0 {
            self.tell(&mut report, "_later", before, later);
            report.cpu(&cpu, watched, 0, "socket");
        }
        while let Some(Ok(failure)) = sockets.try_join_next() {
            report.violations.push(failure);
        }
        Ok(report)
    }

    fn tell(&self, report: &mut Report, when: &str, before: Memory, now: Memory) {
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        let each = |now: u64, before: u64| (now as f64 - before as f64) / 1024.0 / self.sockets as f64;
        let told = if when.is_empty() { "" } else { ", after watching" };
        if when.is_empty() {
            report.number("resident_before_mib", "resident before", mebibytes(before.resident), "MiB");
        }
        report.number(&format!("resident{when}_mib"), &format!("resident{told}"), mebibytes(now.resident), "MiB");
        let resident = each(now.resident, before.resident);
        report.number(&format!("resident{when}_kib_per_socket"), &format!("resident a socket{told}"), resident, "KiB");
        let anonymous = each(now.anonymous, before.anonymous);
        report.number(&format!("heap{when}_kib_per_socket"), &format!("anonymous a socket{told}"), anonymous, "KiB");
    }

    /// Each is read from then on; a task that ends gives the reason.
    async fn open(&self, target: &Target, frames: &Arc<AtomicU64>) -> Result<JoinSet<String>> {
        let places = &target.rooms(self.rooms).await?;
        let opening = (0..self.sockets).map(|n| async move {
            let mut door = target.door(n).await?;
            door.token = target.token(n / self.sockets_per_user)?;
            let mut socket = Light::open(&door, BUFFER_BYTES).await?;
            socket.join(&places[n % places.len()]).await?;
            Ok::<_, String>((n, socket))
        });
        let mut opened = pin!(futures_util::stream::iter(opening).buffer_unordered(target.opening));
        let mut tasks = JoinSet::new();
        while let Some((n, mut socket)) = opened.try_next().await? {
            let frames = Arc::clone(frames);
            tasks.spawn(async move {
                loop {
                    match socket.next().await {
                        Ok(_) => frames.fetch_add(1, Ordering::Relaxed),
                        Err(why) => return format!("socket {n}: {why}"),
                    };
                }
            });
            if tasks.len().is_multiple_of(500) {
                progress::show(&format!("{} of {} sockets", tasks.len(), self.sockets));
            }
        }
        Ok(tasks)
    }
}

async fn quiet(frames: &AtomicU64) {
    let until = Instant::now() + QUIET_WAIT_MAX;
    let (mut seen, mut since) = (frames.load(Ordering::Relaxed), Instant::now());
    while since.elapsed() < QUIET && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = frames.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}
