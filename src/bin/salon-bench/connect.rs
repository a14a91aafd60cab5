//! What it costs that sockets come: upgraded with a proof of who it is, and joined to a room.
//!
//! In two waves. In the first each user comes online, is made a member, and is announced to everybody in the room. In
//! the second, which is the one measured, each comes again with a further socket: nothing of that happens, and what is
//! left is the price of the socket.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Args;
use salon::engine::Result;
use tokio::time::sleep;

use crate::lane::{Plan, Traffic};
use crate::lanes::Lanes;
use crate::latency::Latencies;
use crate::preflight;
use crate::process::Usage;
use crate::report::Report;
use crate::seconds::{Counter, Meter, Second, Until};
use crate::site::{Site, Target};
use crate::traffic::Sending;
use crate::ui::Ui;

/// No announcement for this long: everybody was told of all who came (counts are told once a second).
const QUIET: Duration = Duration::from_secs(2);
/// Rooms in which somebody always comes or goes would be waited for without end.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Connect {
    #[arg(long, default_value = "5000", value_name = "N")]
    sockets: NonZeroUsize,
    /// The sockets are spread over so many rooms, one room each.
    #[arg(long, default_value = "100", value_name = "N")]
    rooms: NonZeroUsize,
}

/// Sockets that came.
pub struct Wave {
    pub elapsed: Duration,
    pub usage: Usage,
    /// Frames about who came, to all sockets.
    pub announcements: u64,
    pub upgrades: Latencies,
    pub joins: Arc<Latencies>,
    pub seconds: Vec<Second>,
}

impl Connect {
    pub async fn run(&self, target: &Target, ui: &Arc<Ui>) -> Result<Report> {
        let (sockets, rooms) = (self.sockets.get(), self.rooms.get());
        preflight::descriptors(2 * sockets, target, ui)?;
        let site = target.site(sockets, ui).await?;
        preflight::limits(&site, 0, Sending::Closed { in_flight: 0 }, 1, ui).await?;
        let traffic = joiners(&site, 2 * sockets, rooms, ui).await?;
        let mut lanes = Lanes::new();
        ui.phase(&format!("the {sockets} users come online"));
        let first = Wave::come(&mut lanes, &site, &traffic, (0..sockets).map(|n| (n, n)), ui).await?;
        let begun = first.announcements;
        lanes.unbroken(quiet(&traffic)).await?;
        let first_told = traffic.announcements.load(Relaxed);
        ui.phase(&format!("measuring {sockets} further sockets of theirs"));
        let again = site.users() * site.sockets_per_user();
        let second =
            Wave::come(&mut lanes, &site, &traffic, (0..sockets).map(|n| (sockets + n, again + n)), ui).await?;
        lanes.cut().await;

        let title = format!("connect: {sockets} sockets in {rooms} rooms, {} at a time", site.concurrency);
        let mut report = Report::new("connect", title);
        report.figure("sockets", "sockets", sockets as f64, "");
        second.figures(&mut report, sockets);
        report.figure("announcements", "announcements meanwhile", second.announcements as f64, "frames");
        let cpu = first.usage.cpu().as_secs_f64() * 1e6 / sockets as f64;
        report.figure("first_elapsed_s", "the wave before (users come online)", first.elapsed.as_secs_f64(), "s");
        if !site.watch.is_empty() {
            report.figure("first_cpu_us_per_socket", "  server CPU a socket, announcing included", cpu, "µs");
        }
        report.figure("first_announcements", "  announcements until its last came", begun as f64, "frames");
        report.figure("first_announcements_all", "  and until all was told", first_told as f64, "frames");
        report.latency("upgrade", "connect to upgraded", second.upgrades.whole());
        report.latency("open", "connect to joined", second.joins.whole());
        report.costs(second.usage, second.elapsed.as_secs_f64(), &[("socket", "socket", sockets as u64)]);
        report.seconds = second.seconds;
        Ok(report)
    }
}

impl Wave {
    /// Opens these lanes, each by the site's socket of the number that stands with it.
    pub async fn come(
        lanes: &mut Lanes,
        site: &Site,
        traffic: &Arc<Traffic>,
        which: impl Iterator<Item = (usize, usize)>,
        ui: &Arc<Ui>,
    ) -> Result<Self> {
        let which: Vec<(usize, usize)> = which.collect();
        let (upgrades, joins) = (Latencies::always(), Arc::new(Latencies::always()));
        let lane_numbers: Vec<usize> = which.iter().map(|(n, _)| *n).collect();
        let of_lanes = Arc::clone(traffic);
        let joined = move || lane_numbers.iter().filter(|n| of_lanes.lanes[**n].has_joined()).count() as u64;
        let meter = Meter {
            counters: vec![Counter { key: "opened", label: "sockets", count: Box::new(joined) }],
            latencies: Arc::clone(&joins),
            watch: site.watch.clone(),
            until: Until::Count(which.len() as u64),
        };
        let (began, before, told) = (Instant::now(), site.watch.look(), traffic.announcements.load(Relaxed));
        let meter = meter.start(ui);
        lanes.open(site, traffic, &which, ui, [&upgrades, &joins]).await?;
        let (elapsed, usage) = (began.elapsed(), site.watch.look().since(&before));
        let announcements = traffic.announcements.load(Relaxed) - told;
        Ok(Self { elapsed, usage, announcements, upgrades, joins, seconds: meter.stop().await })
    }

    pub fn figures(&self, report: &mut Report, sockets: usize) {
        report.figure("elapsed_s", "all open and joined after", self.elapsed.as_secs_f64(), "s");
        let rate = sockets as f64 / self.elapsed.as_secs_f64();
        report.figure("opened_per_s", "opened and joined", rate, "sockets/s");
    }
}

/// Lanes that join and never send, spread over new rooms.
pub async fn joiners(site: &Site, lanes: usize, rooms: usize, ui: &Ui) -> Result<Arc<Traffic>> {
    let plans: Vec<Plan> = (0..lanes).map(|n| Plan { room: n % rooms, joins: true, sends: false }).collect();
    Ok(Arc::new(Traffic::new(site.new_rooms(rooms, ui).await?, &plans, 1)))
}

/// Waits until nobody is told of anybody any more.
pub async fn quiet(traffic: &Traffic) {
    let until = Instant::now() + QUIET_WAIT_MAX;
    let count = || traffic.announcements.load(Relaxed);
    let (mut seen, mut since) = (count(), Instant::now());
    while since.elapsed() < QUIET && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
        if count() != seen {
            (seen, since) = (count(), Instant::now());
        }
    }
}
