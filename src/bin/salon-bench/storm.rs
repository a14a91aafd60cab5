//! All sockets are cut at the same moment and come back at once, while others go on sending: how long until the last
//! has all it missed.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Args;
use rand::Rng;
use salon::engine::Result;
use tokio::time::{sleep, timeout};

use crate::lane::{Plan, Traffic};
use crate::lanes::{Lanes, join, micros};
use crate::latency::Latencies;
use crate::preflight;
use crate::process::Usage;
use crate::report::Report;
use crate::scan;
use crate::seconds::{Counter, Until};
use crate::site::{Site, Target, refusal};
use crate::traffic::{Sending, Time, meter, offered, settle, stored, told};
use crate::ui::Ui;

/// Who is not back by then makes the run fail.
const PATIENCE: Duration = Duration::from_secs(120);
/// After a refusal a socket tries again within this time.
const PAUSE_MAX_MS: u64 = 500;
/// Largest page of history a server gives.
const PAGE: u64 = 200;

#[derive(Debug, Args)]
pub struct Storm {
    /// Sockets that are cut.
    #[arg(long, default_value = "5000", value_name = "N")]
    sockets: NonZeroUsize,
    /// The sockets are spread over so many rooms, one room each.
    #[arg(long, default_value = "100", value_name = "N")]
    rooms: NonZeroUsize,
    /// Rooms in which somebody goes on sending, on a socket that is not cut.
    #[arg(long, default_value = "20", value_name = "N")]
    senders: NonZeroUsize,
    /// Messages a second over all senders.
    #[arg(long, default_value = "200", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    #[command(flatten)]
    time: Time,
}

/// How the return goes.
struct Return {
    cut: Instant,
    took: Latencies,
    back: Arc<AtomicU64>,
    /// Refusals before a socket was in again, and answers that were not a resumption.
    tries: AtomicU64,
    resets: AtomicU64,
}

impl Storm {
    pub fn check(&self) -> Result<()> {
        match self.senders > self.rooms {
            true => Err(format!("--senders {} is more than --rooms {}", self.senders, self.rooms)),
            false => Ok(()),
        }
    }

    pub async fn run(&self, target: &Target, ui: &Arc<Ui>) -> Result<Report> {
        let (sockets, senders) = (self.sockets.get(), self.senders.get());
        let sending = Sending::Open { rate: self.rate.into() };
        preflight::descriptors(sockets + senders, target, ui)?;
        let site = Arc::new(target.site(sockets + senders, ui).await?);
        preflight::limits(&site, senders, sending, self.time.chars.get(), ui).await?;
        let traffic = self.traffic(&site, ui).await?;
        let (mut listening, mut steady, unmeasured) = (Lanes::new(), Lanes::new(), Latencies::new());
        ui.phase(&format!("opening {sockets} sockets, and {senders} that send"));
        let number = |n| (n, n);
        let (cut, kept): (Vec<_>, Vec<_>) = (0..sockets + senders).map(number).partition(|(n, _)| *n < sockets);
        listening.open(&site, &traffic, &cut, ui, [&unmeasured, &unmeasured]).await?;
        steady.open(&site, &traffic, &kept, ui, [&unmeasured, &unmeasured]).await?;
        let started = sending.start(&traffic)?;
        ui.phase(&format!("sending for {} s before the cut", self.time.warmup.max(1)));
        let back = Arc::new(AtomicU64::new(0));
        traffic.acks.begin(traffic.micros());
        traffic.receipts.begin(traffic.micros());
        let mut meter = meter(&traffic, &site, Until::Seconds(self.time.warmup + self.time.seconds));
        let count = Arc::clone(&back);
        meter.counters.push(Counter { key: "back", label: "back", count: Box::new(move || count.load(Relaxed)) });
        let meter = meter.start(ui);
        let (began, acked) = (Instant::now(), traffic.acked());
        listening.unbroken(sleep(Duration::from_secs(self.time.warmup.max(1)))).await?;
        ui.phase(&format!("cutting {sockets} sockets"));
        let (way, usage, caught_up) = self.storm(&mut listening, &site, &traffic, back).await?;
        ui.phase(&format!("all are back after {caught_up:.2} s; sending for {} s more", self.time.seconds));
        let rest = sleep(Duration::from_secs(self.time.seconds));
        steady.unbroken(listening.unbroken(rest)).await??;
        let (elapsed, acked) = (began.elapsed().as_secs_f64(), traffic.acked() - acked);
        let late = started.stop(&traffic)?;
        let seconds = meter.stop().await;
        let settled = listening.unbroken(settle(&mut steady, &traffic)).await??;
        listening.cut().await;
        steady.cut().await;

        let title = format!(
            "storm: {sockets} sockets in {} rooms cut and back at once, {} messages a second in {senders} of the rooms",
            self.rooms, self.rate
        );
        let mut report = Report::new("storm", title);
        report.figure("sockets", "sockets cut", sockets as f64, "");
        report.figure("caught_up_s", "the last had all it missed after", caught_up, "s");
        report.figure("back_per_s", "back and caught up", sockets as f64 / caught_up.max(1e-6), "sockets/s");
        report.figure("tries_refused", "tries refused on the way", way.tries.load(Relaxed) as f64, "");
        report.figure("resets", "had to read history (reset)", way.resets.load(Relaxed) as f64, "sockets");
        report.figure("acked_per_s", "acknowledged, all the time", acked as f64 / elapsed, "messages/s");
        report.latency("back", "cut to caught up", way.took.whole());
        report.latency("ack", "send to ack", traffic.acks.whole());
        report.latency("receipt", "send to receipt, live", traffic.receipts.whole());
        report.costs(usage, caught_up, &[("socket", "socket back", sockets as u64)]);
        report.seconds = seconds;
        offered(&mut report, sending, late);
        report.violations.extend(settled);
        told(&mut report, &traffic);
        stored(&mut report, &traffic, &site).await?;
        Ok(report)
    }

    async fn traffic(&self, site: &Site, ui: &Ui) -> Result<Arc<Traffic>> {
        let (sockets, rooms) = (self.sockets.get(), self.rooms.get());
        let listeners = (0..sockets).map(|n| Plan { room: n % rooms, joins: true, sends: false });
        let senders = (0..self.senders.get()).map(|n| Plan { room: n, joins: false, sends: true });
        let plans: Vec<Plan> = listeners.chain(senders).collect();
        Ok(Arc::new(Traffic::new(site.new_rooms(rooms, ui).await?, &plans, self.time.chars.get())))
    }

    /// Cuts, and waits until all are back; what the servers used for it, and how long it took in seconds.
    async fn storm(
        &self,
        lanes: &mut Lanes,
        site: &Arc<Site>,
        traffic: &Arc<Traffic>,
        back: Arc<AtomicU64>,
    ) -> Result<(Arc<Return>, Usage, f64)> {
        let sockets = self.sockets.get();
        let before = site.watch.look();
        let way = Return { cut: Instant::now(), took: Latencies::always(), back, tries: 0.into(), resets: 0.into() };
        let way = Arc::new(way);
        lanes.cut().await;
        for n in 0..sockets {
            let (site, traffic, way) = (Arc::clone(site), Arc::clone(traffic), Arc::clone(&way));
            lanes.spawn(async move { come_back(&site, &traffic, n, &way).await });
        }
        let all = async {
            while way.back.load(Relaxed) < sockets as u64 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if lanes.unbroken(timeout(PATIENCE, all)).await?.is_err() {
            return Err(format!("{} of {sockets} sockets were back within {PATIENCE:?}", way.back.load(Relaxed)));
        }
        Ok((Arc::clone(&way), site.watch.look().since(&before), way.cut.elapsed().as_secs_f64()))
    }
}

/// Opens a new socket, resumes, reads what it missed, and goes on.
async fn come_back(site: &Site, traffic: &Traffic, n: usize, way: &Return) -> Result<()> {
    let (mut socket, from) = loop {
        let failed = match site.open(n).await {
            Ok(mut socket) => match join(traffic, n, &mut socket).await {
                Ok(seq) => break (socket, seq),
                Err(why) => why,
            },
            Err(refused) => refusal(site.url(n), &refused),
        };
        if way.cut.elapsed() > PATIENCE {
            return Err(failed);
        }
        way.tries.fetch_add(1, Relaxed);
        let pause = rand::rng().random_range(1..=PAUSE_MAX_MS);
        sleep(Duration::from_millis(pause)).await;
    };
    let lane = &traffic.lanes[n];
    // What one answer does not hold follows as live frames.
    let due = traffic.heads[lane.plan.room].load(Relaxed).max(from);
    while lane.last.load(Relaxed) < due {
        socket.read(|frames| traffic.take(n, frames)).await.map_err(|why| format!("socket {n}: {why}"))?;
    }
    if fetch_hole(site, traffic, n).await? {
        way.resets.fetch_add(1, Relaxed);
    }
    way.took.recorder(n).record(0, micros(way.cut.elapsed()));
    way.back.fetch_add(1, Relaxed);
    traffic.run(n, socket).await
}

/// Reads what a `reset` left out, as a client would; whether there was anything.
async fn fetch_hole(site: &Site, traffic: &Traffic, n: usize) -> Result<bool> {
    let lane = &traffic.lanes[n];
    let hole = || lane.state().heard.as_ref().and_then(|heard| heard.hole());
    let Some((first, last)) = hole() else { return Ok(false) };
    let (http, slug) = (site.http(n), &traffic.rooms[lane.plan.room].slug);
    let mut after = first - 1;
    while after < last {
        let answer = http.get(&format!("/api/rooms/{slug}/messages?after={after}&limit={PAGE}")).await?;
        let page = scan::page(&answer.body)?;
        let Some(end) = page.last().map(|message| message.id).filter(|id| *id > after) else { break };
        after = end;
        if let Some(heard) = &mut lane.state().heard {
            page.into_iter().for_each(|message| heard.fetch(message));
        }
    }
    Ok(true)
}
