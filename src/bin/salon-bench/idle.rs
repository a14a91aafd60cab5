//! What an idle, joined socket costs: resident memory of the server before and after many of them came, and its CPU
//! for their staying.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;
use salon::engine::Result;
use tokio::time::{sleep, timeout};

use crate::connect::{Wave, joiners, quiet};
use crate::lane::Traffic;
use crate::lanes::Lanes;
use crate::preflight;
use crate::report::Report;
use crate::site::Target;
use crate::traffic::Sending;
use crate::ui::Ui;

/// The answers to one frame that joins many rooms take no longer.
const JOINING: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Idle {
    #[arg(long, default_value = "5000", value_name = "N")]
    sockets: NonZeroUsize,
    /// The sockets are spread over so many rooms.
    #[arg(long, default_value = "100", value_name = "N")]
    rooms: NonZeroUsize,
    /// Rooms that each socket joins; the server takes limits.rooms_per_socket (200).
    #[arg(long, default_value = "1", value_name = "N")]
    rooms_per_socket: NonZeroUsize,
    /// Seconds that they stay before the memory is read.
    #[arg(long, default_value = "30", value_name = "S")]
    seconds: u64,
}

impl Idle {
    pub fn check(&self, target: &Target) -> Result<()> {
        if target.pids.is_empty() {
            return Err("--pid of the node is missing: its memory is what is measured".to_owned());
        }
        match self.rooms_per_socket > self.rooms {
            true => Err(format!("there are no {} rooms to join: raise --rooms", self.rooms_per_socket)),
            false => Ok(()),
        }
    }

    pub async fn run(&self, target: &Target, ui: &Arc<Ui>) -> Result<Report> {
        let (sockets, rooms) = (self.sockets.get(), self.rooms.get());
        preflight::descriptors(sockets, target, ui)?;
        let site = target.site(sockets, ui).await?;
        preflight::limits(&site, 0, Sending::Closed { in_flight: 0 }, 1, ui).await?;
        let traffic = joiners(&site, sockets, rooms, ui).await?;
        let before = site.watch.look();
        let mut lanes = Lanes::new();
        ui.phase(&format!("opening {sockets} sockets"));
        let wave = Wave::come(&mut lanes, &site, &traffic, (0..sockets).map(|n| (n, n)), ui).await?;
        let joins = sockets * self.rooms_per_socket.get();
        if joins > sockets {
            ui.phase(&format!("joining {joins} times"));
            lanes.unbroken(self.join_all(&traffic, ui)).await??;
        }
        lanes.unbroken(quiet(&traffic)).await?;
        let settled = site.watch.look();
        ui.phase(&format!("staying for {} s", self.seconds));
        lanes.unbroken(sleep(Duration::from_secs(self.seconds))).await?;
        let after = site.watch.look();
        lanes.cut().await;

        let mut report = Report::new("idle", format!("idle: {sockets} sockets, joined {joins} times in {rooms} rooms"));
        report.figure("sockets", "joined sockets", sockets as f64, "");
        report.figure("rooms", "rooms", rooms as f64, "");
        report.figure("joins", "rooms joined, over all sockets", joins as f64, "");
        report.figure("rss_before_kib", "resident before", before.resident_kib() as f64, "KiB");
        report.figure("rss_after_kib", "resident after", after.resident_kib() as f64, "KiB");
        let each = |after: u64, before: u64| (after as f64 - before as f64) / sockets as f64;
        let all = each(after.resident_kib(), before.resident_kib());
        report.figure("rss_kib_per_socket", "resident a joined socket", all, "KiB");
        for ((name, now), (_, then)) in after.watched.iter().zip(&before.watched).filter(|_| after.watched.len() > 1) {
            let (key, label) = (format!("rss_kib_per_socket_{name}"), format!("  of it {name}"));
            report.figure(key, label, each(now.resident_kib, then.resident_kib), "KiB");
        }
        wave.figures(&mut report, sockets);
        report.figure("announcements", "announcements until the last came", wave.announcements as f64, "frames");
        let coming = settled.since(&before).cpu().as_secs_f64() * 1e6 / sockets as f64;
        report.figure("cpu_us_per_socket", "CPU for each to come, all announcing included", coming, "µs");
        report.latency("open", "connect to joined", wave.joins.whole());
        if self.seconds > 0 {
            let seconds = sockets as u64 * self.seconds;
            let per = [("idle_socket_second", "socket's second", seconds)];
            report.costs(after.since(&settled), self.seconds as f64, &per);
        }
        report.seconds = wave.seconds;
        Ok(report)
    }
    /// After the first room of each: as many more as each is to join, not two of them the same while there are enough.
    async fn join_all(&self, traffic: &Traffic, ui: &Ui) -> Result<()> {
        let (sockets, rooms, more) = (self.sockets.get(), self.rooms.get(), self.rooms_per_socket.get() - 1);
        let answered = || traffic.joins.load(Relaxed);
        for n in 0..sockets {
            traffic.join_also(n, (0..more).map(|k| (sockets + n * more + k) % rooms))?;
            // One socket's at a time: what is measured is what stays.
            let wanted = (sockets + (n + 1) * more) as u64;
            let all = async {
                while answered() < wanted {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(JOINING, all).await.map_err(|_| format!("socket {n}: no answer to its joins in {JOINING:?}"))?;
            ui.progress((n + 1) as f64 / sockets as f64, "sockets in all their rooms");
        }
        Ok(())
    }
}
