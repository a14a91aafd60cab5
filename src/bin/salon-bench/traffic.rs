//! A run of lanes that send: opens them, measures for a while, waits until all is quiet, and judges.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use salon::engine::Result;
use tokio::time::{sleep, timeout};

use crate::lane::{Plan, Traffic};
use crate::lanes::Lanes;
use crate::latency::Latencies;
use crate::pacer::Pacer;
use crate::preflight;
use crate::process::Usage;
use crate::report::Report;
use crate::seconds::{Counter, Meter, Second, Until};
use crate::site::{Site, Target};
use crate::ui::Ui;

/// After the last send everything must be acknowledged and told within this time.
const SETTLE: Duration = Duration::from_secs(30);
/// Unacknowledged sends of each sender in a closed loop.
const IN_FLIGHT: usize = 8;
/// Sends that leave so late are no longer those that were offered.
const LATE_MAX_MS: f64 = 5.0;

#[derive(Debug, Args)]
pub struct Pace {
    /// Closed loop: so many unacknowledged sends of each sender (8).
    #[arg(long, value_name = "N")]
    in_flight: Option<NonZeroUsize>,
    /// Open loop instead: so many messages a second over all senders, whatever the server does; latency counts from
    /// when a send was due.
    #[arg(long, value_name = "N", conflicts_with = "in_flight", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    #[command(flatten)]
    pub time: Time,
}

#[derive(Debug, Args)]
pub struct Time {
    /// Length of each message in characters.
    #[arg(long, default_value = "100", value_name = "N")]
    pub chars: NonZeroUsize,
    /// Seconds that are measured.
    #[arg(long, default_value = "20", value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// Seconds before that, which are not.
    #[arg(long, default_value = "3", value_name = "S")]
    pub warmup: u64,
}

/// How the senders go on.
#[derive(Debug, Clone, Copy)]
pub enum Sending {
    Closed { in_flight: usize },
    Open { rate: f64 },
}

/// Senders that are going on.
pub struct Started {
    pacer: Option<Pacer>,
}

/// What was counted in the measured time.
struct Measured {
    elapsed: Duration,
    sent: u64,
    acked: u64,
    heard: u64,
    usage: Usage,
    seconds: Vec<Second>,
}

impl Pace {
    pub fn sending(&self) -> Sending {
        match self.rate {
            Some(rate) => Sending::Open { rate: rate.into() },
            None => Sending::Closed { in_flight: self.in_flight.map_or(IN_FLIGHT, NonZeroUsize::get) },
        }
    }
}

/// One lane for each plan; plans name rooms by their places below `rooms`.
pub async fn run(
    scenario: &'static str,
    (target, ui): (&Target, &Arc<Ui>),
    rooms: usize,
    plans: Vec<Plan>,
    pace: &Pace,
) -> Result<Report> {
    preflight::descriptors(plans.len(), target, ui)?;
    let site = target.site(plans.len(), ui).await?;
    let sending = pace.sending();
    let senders = plans.iter().filter(|plan| plan.sends).count();
    preflight::limits(&site, senders, sending, pace.time.chars.get(), ui).await?;
    let rooms = site.new_rooms(rooms, ui).await?;
    let traffic = Arc::new(Traffic::new(rooms, &plans, pace.time.chars.get()));
    let mut lanes = Lanes::new();
    ui.phase(&format!("opening {} sockets", plans.len()));
    let every: Vec<(usize, usize)> = (0..plans.len()).map(|n| (n, n)).collect();
    let unmeasured = Latencies::new();
    lanes.open(&site, &traffic, &every, ui, [&unmeasured, &unmeasured]).await?;
    let started = sending.start(&traffic)?;
    let measured = lanes.unbroken(measure(&traffic, &site, &pace.time, ui)).await?;
    let late = started.stop(&traffic)?;
    ui.phase("waiting until everybody was told everything");
    let settled = settle(&mut lanes, &traffic).await?;
    lanes.cut().await;
    let mut report = measured.report(scenario, title(scenario, &plans, &traffic, sending), &traffic);
    offered(&mut report, sending, late);
    report.violations.extend(settled);
    told(&mut report, &traffic);
    stored(&mut report, &traffic, &site).await?;
    Ok(report)
}

impl Sending {
    pub fn start(self, traffic: &Arc<Traffic>) -> Result<Started> {
        match self {
            Self::Open { rate } => Ok(Started { pacer: Some(Pacer::start(traffic, rate)?) }),
            Self::Closed { in_flight } => {
                traffic.sending.store(true, Relaxed);
                for n in (0..traffic.lanes.len()).filter(|n| traffic.lanes[*n].plan.sends) {
                    for _ in 0..in_flight {
                        traffic.feed(n, traffic.micros())?;
                    }
                    traffic.push(n)?;
                }
                Ok(Started { pacer: None })
            }
        }
    }
}

impl Started {
    /// No send leaves after that; of an offered rate, how late each one did.
    pub fn stop(self, traffic: &Traffic) -> Result<Option<Histogram<u64>>> {
        traffic.sending.store(false, Relaxed);
        self.pacer.map(Pacer::stop).transpose()
    }
}

async fn measure(traffic: &Arc<Traffic>, site: &Site, time: &Time, ui: &Arc<Ui>) -> Measured {
    ui.phase(&format!("warming up for {} s, then measuring for {} s", time.warmup, time.seconds));
    sleep(Duration::from_secs(time.warmup)).await;
    let (began, now) = (Instant::now(), traffic.micros());
    traffic.acks.begin(now);
    traffic.receipts.begin(now);
    let (usage, sent, acked, heard) = (site.watch.look(), traffic.sent(), traffic.acked(), traffic.heard());
    let meter = meter(traffic, site, Until::Seconds(time.seconds)).start(ui);
    sleep(Duration::from_secs(time.seconds).saturating_sub(began.elapsed())).await;
    let (sent, acked, heard) = (traffic.sent() - sent, traffic.acked() - acked, traffic.heard() - heard);
    let (elapsed, usage) = (began.elapsed(), site.watch.look().since(&usage));
    traffic.acks.end(traffic.micros());
    traffic.receipts.end(traffic.micros());
    Measured { elapsed, sent, acked, heard, usage, seconds: meter.stop().await }
}

/// Messages and deliveries; the latency is that of receipts where anybody listens.
pub fn meter(traffic: &Arc<Traffic>, site: &Site, until: Until) -> Meter {
    let listens = traffic.lanes.iter().any(|lane| lane.plan.joins);
    let (of_acks, of_heard) = (Arc::clone(traffic), Arc::clone(traffic));
    let mut counters = vec![Counter { key: "acked", label: "messages", count: Box::new(move || of_acks.acked()) }];
    if listens {
        let count = Box::new(move || of_heard.heard());
        counters.push(Counter { key: "deliveries", label: "deliveries", count });
    }
    let latencies = Arc::clone(if listens { &traffic.receipts } else { &traffic.acks });
    Meter { counters, latencies, watch: site.watch.clone(), until }
}

/// What was not acknowledged and told in time.
pub async fn settle(lanes: &mut Lanes, traffic: &Traffic) -> Result<Option<String>> {
    let quiet = async {
        while !traffic.is_quiet() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let settled = lanes.unbroken(timeout(SETTLE, quiet)).await?.is_ok();
    let what = || format!("not everything was acknowledged and told within {SETTLE:?} after the last send");
    Ok((!settled).then(what))
}

fn title(scenario: &str, plans: &[Plan], traffic: &Traffic, sending: Sending) -> String {
    let rooms = traffic.rooms.len();
    let senders = plans.iter().filter(|plan| plan.sends).count();
    let how = match sending {
        Sending::Closed { in_flight } => format!("each with {in_flight} in flight"),
        Sending::Open { rate } => format!("{rate} messages a second offered"),
    };
    format!("{scenario}: {} sockets, {rooms} rooms, {senders} senders, {how}", plans.len())
}

impl Measured {
    fn report(self, scenario: &'static str, title: String, traffic: &Traffic) -> Report {
        let mut report = Report::new(scenario, title);
        let seconds = self.elapsed.as_secs_f64();
        report.figure("sockets", "sockets", traffic.lanes.len() as f64, "");
        report.figure("rooms", "rooms", traffic.rooms.len() as f64, "");
        report.figure("elapsed_s", "measured for", seconds, "s");
        report.figure("sent_per_s", "sent", self.sent as f64 / seconds, "messages/s");
        report.figure("acked", "acknowledged", self.acked as f64, "messages");
        report.figure("acked_per_s", "acknowledged", self.acked as f64 / seconds, "messages/s");
        report.latency("ack", "send to ack", traffic.acks.whole());
        let mut per = vec![("message", "message", self.acked)];
        if self.heard > 0 {
            report.figure("deliveries", "delivered", self.heard as f64, "deliveries");
            report.figure("deliveries_per_s", "delivered", self.heard as f64 / seconds, "deliveries/s");
            report.latency("receipt", "send to receipt", traffic.receipts.whole());
            per.insert(0, ("delivery", "delivery", self.heard));
        }
        report.costs(self.usage, seconds, &per);
        report.seconds = self.seconds;
        report
    }
}

/// Whether what was offered was sent, on time, and came through.
pub fn offered(report: &mut Report, sending: Sending, late: Option<Histogram<u64>>) {
    let (Sending::Open { rate }, Some(late)) = (sending, late) else { return };
    let millis = |share| late.value_at_quantile(share) as f64 / 1000.0;
    report.figure("offered_per_s", "offered", rate, "messages/s");
    report.figure("late_p99_ms", "left late by, p99", millis(0.99), "ms");
    report.figure("late_max_ms", "left late by, at most", millis(1.0), "ms");
    if millis(0.99) > LATE_MAX_MS {
        let what =
            format!("salon-bench itself sent late (p99 {:.1} ms, in the latencies): give it more CPU", millis(0.99));
        report.warnings.push(what);
    }
    let acked = report.figures.iter().find(|figure| figure.key == "acked_per_s").map_or(rate, |figure| figure.value);
    if acked < 0.97 * rate {
        report.warnings.push(format!("only {acked:.0} of the {rate} messages a second offered were acknowledged"));
    }
}

/// Whether each socket was told every acknowledged message of its room once, in order.
pub fn told(report: &mut Report, traffic: &Traffic) {
    let (mut lost, mut reordered, mut duplicated) = (0, 0, 0);
    for (n, lane) in traffic.lanes.iter().enumerate().filter(|(_, lane)| lane.plan.joins) {
        let state = lane.state();
        let Some(heard) = &state.heard else { continue };
        let (head, sum) = (&traffic.heads[lane.plan.room], &traffic.sums[lane.plan.room]);
        let here = heard.lost(head.load(Relaxed));
        if here + heard.reordered + heard.duplicated > 0 {
            let what = format!("{here} lost, {} reordered, {} duplicated", heard.reordered, heard.duplicated);
            report.violations.push(format!("socket {n}: {what}; {}", heard.seen.join("; ")));
        } else if !heard.is_right(sum.load(Relaxed)) {
            let what = "was told every seq, but not the messages that were acknowledged there";
            report.violations.push(format!("socket {n} {what}"));
        }
        lost += here;
        reordered += heard.reordered;
        duplicated += heard.duplicated;
    }
    if traffic.lanes.iter().any(|lane| lane.plan.joins) {
        report.figure("lost", "lost", lost as f64, "");
        report.figure("reordered", "reordered", reordered as f64, "");
        report.figure("duplicated", "duplicated", duplicated as f64, "");
    }
}

/// Whether each room's clock went on by exactly what was acknowledged there.
pub async fn stored(report: &mut Report, traffic: &Traffic, site: &Site) -> Result<()> {
    let mut acked = vec![0; traffic.rooms.len()];
    for lane in &traffic.lanes {
        acked[lane.plan.room] += lane.acked.load(Relaxed);
    }
    for ((before, after), acked) in traffic.rooms.iter().zip(site.again(&traffic.rooms).await?).zip(acked) {
        let stored = after.seq.saturating_sub(before.seq);
        if stored != acked {
            let what = format!("{acked} messages were acknowledged, its clock went on by {stored}");
            report.violations.push(format!("room {}: {what}", before.slug));
        }
    }
    Ok(())
}
