//! A run of lanes: opens them, lets them send, measures for a while, waits until all is quiet, and judges.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use salon::engine::Result;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::heard::Heard;
use crate::lane::{Lane, Plan, Traffic};
use crate::process::{Cpu, Watch};
use crate::report::Report;
use crate::target::Target;

/// After the last send everything must be acknowledged and told within this time.
const SETTLE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct Pace {
    /// Unacknowledged sends of each sender.
    #[arg(long, default_value = "8")]
    in_flight: NonZeroUsize,
    /// Length of each message in characters.
    #[arg(long, default_value = "100")]
    chars: NonZeroUsize,
    /// Seconds that are measured.
    #[arg(long, default_value = "20")]
    seconds: u64,
    /// Seconds before that, which are not.
    #[arg(long, default_value = "3")]
    warmup: u64,
}

type Lanes = JoinSet<Result<(usize, Heard)>>;

/// What was counted in the measured time.
struct Measured {
    elapsed: Duration,
    acked: u64,
    heard: u64,
    cpu: Cpu,
}

/// One lane for each plan; plans name rooms by their places below `rooms`.
pub async fn run(
    scenario: &'static str,
    target: &Target,
    rooms: usize,
    plans: Vec<Plan>,
    pace: &Pace,
) -> Result<Report> {
    let watch = Watch::new(&target.pids)?;
    let rooms = target.new_rooms(rooms).await?;
    let traffic = Arc::new(Traffic::new(rooms, &plans, pace.in_flight.get(), pace.chars.get()));
    let mut lanes = open(target, &traffic).await?;
    traffic.start.cancel();
    let measured = unbroken(&mut lanes, measure(&traffic, &watch, pace)).await?;
    traffic.sending.store(false, Relaxed);
    let settled = unbroken(&mut lanes, timeout(SETTLE, quiet(&traffic))).await?.is_ok();
    traffic.stop.cancel();
    let mut report = measured.report(scenario, &traffic);
    if !settled {
        let what = format!("not everything was acknowledged and told within {SETTLE:?} after the last send");
        report.violations.push(what);
    }
    told(&mut report, &traffic, lanes).await?;
    stored(&mut report, &traffic, target).await?;
    Ok(report)
}

/// Opens the sockets, some at a time; each is read from then on.
async fn open(target: &Target, traffic: &Arc<Traffic>) -> Result<Lanes> {
    let total = traffic.tallies.len();
    eprintln!("opening {total} sockets in {} rooms", traffic.rooms.len());
    let opening = (0..total).map(|n| async move { Lane::begin(n, target.open(n).await?, Arc::clone(traffic)).await });
    let mut opened = pin!(futures_util::stream::iter(opening).buffer_unordered(target.opening.get()));
    let mut lanes = JoinSet::new();
    while let Some(lane) = opened.try_next().await? {
        lanes.spawn(lane.run());
    }
    Ok(lanes)
}

/// Waits, unless a lane ends before its time.
async fn unbroken<T>(lanes: &mut Lanes, wait: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        Some(ended) = lanes.join_next() => match ended.map_err(|error| error.to_string())? {
            Ok((n, _)) => Err(format!("socket {n} ended before the run")),
            Err(why) => Err(why),
        },
        done = wait => Ok(done),
    }
}

async fn measure(traffic: &Traffic, watch: &Watch, pace: &Pace) -> Measured {
    eprintln!("warming up for {} s, then measuring for {} s", pace.warmup, pace.seconds);
    sleep(Duration::from_secs(pace.warmup)).await;
    traffic.acks.begin(traffic.micros());
    traffic.receipts.begin(traffic.micros());
    let (began, cpu, acked, heard) = (Instant::now(), watch.cpu(), traffic.acked(), traffic.heard());
    sleep(Duration::from_secs(pace.seconds)).await;
    let (acked, heard) = (traffic.acked() - acked, traffic.heard() - heard);
    let (elapsed, cpu) = (began.elapsed(), watch.cpu().since(&cpu));
    traffic.acks.end(traffic.micros());
    traffic.receipts.end(traffic.micros());
    Measured { elapsed, acked, heard, cpu }
}

async fn quiet(traffic: &Traffic) {
    while !traffic.is_quiet() {
        sleep(Duration::from_millis(20)).await;
    }
}

impl Measured {
    fn report(&self, scenario: &'static str, traffic: &Traffic) -> Report {
        let mut report = Report::new(scenario);
        let seconds = self.elapsed.as_secs_f64();
        report.figure("sockets", "sockets", traffic.tallies.len() as f64, "");
        report.figure("rooms", "rooms", traffic.rooms.len() as f64, "");
        report.figure("elapsed_s", "measured for", seconds, "s");
        report.figure("acked", "acknowledged", self.acked as f64, "messages");
        report.figure("acked_per_s", "acknowledged a second", self.acked as f64 / seconds, "messages/s");
        report.latency("ack", "send to ack", &traffic.acks.merged());
        if self.heard > 0 {
            report.figure("deliveries", "delivered", self.heard as f64, "deliveries");
            report.figure("deliveries_per_s", "delivered a second", self.heard as f64 / seconds, "deliveries/s");
            report.latency("receipt", "send to receipt", &traffic.receipts.merged());
            report.cpu_per("delivery", "delivery", &self.cpu, self.heard);
        }
        report.cpu_per("message", "message", &self.cpu, self.acked);
        report
    }
}

/// Whether each socket was told every acknowledged message of its room once, in order.
async fn told(report: &mut Report, traffic: &Traffic, mut lanes: Lanes) -> Result<()> {
    let (mut lost, mut reordered, mut duplicated) = (0, 0, 0);
    while let Some(lane) = lanes.join_next().await {
        let (n, heard) = lane.map_err(|error| error.to_string())??;
        let plan = traffic.tallies[n].plan;
        let here = if plan.joins { heard.lost(traffic.heads[plan.room].load(Relaxed)) } else { 0 };
        if here + heard.reordered + heard.duplicated > 0 {
            let what = format!("{here} lost, {} reordered, {} duplicated", heard.reordered, heard.duplicated);
            report.violations.push(format!("socket {n}: {what}"));
        }
        lost += here;
        reordered += heard.reordered;
        duplicated += heard.duplicated;
    }
    if traffic.tallies.iter().any(|tally| tally.plan.joins) {
        report.figure("lost", "lost", lost as f64, "");
        report.figure("reordered", "reordered", reordered as f64, "");
        report.figure("duplicated", "duplicated", duplicated as f64, "");
    }
    Ok(())
}

/// Whether each room's clock went on by exactly what was acknowledged there.
async fn stored(report: &mut Report, traffic: &Traffic, target: &Target) -> Result<()> {
    let mut acked = vec![0; traffic.rooms.len()];
    for tally in &traffic.tallies {
        acked[tally.plan.room] += tally.acked.load(Relaxed);
    }
    for ((before, after), acked) in traffic.rooms.iter().zip(target.again(&traffic.rooms).await?).zip(acked) {
        let stored = after.seq.saturating_sub(before.seq);
        if stored != acked {
            let what = format!("{acked} messages were acknowledged, its clock went on by {stored}");
            report.violations.push(format!("room {}: {what}", before.slug));
        }
    }
    Ok(())
}
