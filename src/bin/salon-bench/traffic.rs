//! A run of lanes: opens them, lets them send, measures a while, and waits until all is quiet.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use salon::engine::Result;
use tokio::task::JoinSet;

use crate::lane::{Lane, Plan, Traffic};
use crate::latency::Latencies;
use crate::light::Light;
use crate::process::{Cpu, Pids};
use crate::progress;
use crate::report::{Report, grouped};
use crate::target::{Place, Target};

/// Read at once by a socket that is told much.
const BUFFER_BYTES: usize = 16 << 10;
/// After the last send everything must be acknowledged and heard within this time.
const SETTLE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Pace {
    /// Unacknowledged sends of each sending lane.
    pub in_flight: usize,
    pub content_bytes: usize,
    pub warmup: Duration,
    pub measured: Duration,
}

/// What a run gave over the measured time.
pub struct Measured {
    pub elapsed: Duration,
    pub acked: u64,
    pub heard: u64,
    pub retries: u64,
    pub cpu: Cpu,
    pub acks: Latencies,
    pub receipts: Latencies,
    pub violations: Vec<String>,
}

/// Opens every lane, lets them send, and gives what was measured once all is quiet again.
pub async fn run(target: &Target, places: Vec<Place>, plans: Vec<Plan>, pace: &Pace) -> Result<Measured> {
    let pids = target.pids()?;
    let traffic = Arc::new(Traffic::new(places, &plans, pace.in_flight, pace.content_bytes));
    let mut tasks = open(target, plans, &traffic).await?;
    traffic.go.cancel();
    tokio::time::sleep(pace.warmup).await;
    traffic.acks.begin(traffic.clock.micros());
    traffic.receipts.begin(traffic.clock.micros());
    let (began, cpu) = (Instant::now(), pids.cpu());
    let (acked, heard) = (traffic.acked(), traffic.heard());
    watch(&traffic, &pids, pace.measured).await;
    let (elapsed, cpu) = (began.elapsed(), pids.cpu().since(&cpu));
    let (acked, heard) = (traffic.acked() - acked, traffic.heard() - heard);
    traffic.acks.end(traffic.clock.micros());
    traffic.receipts.end(traffic.clock.micros());
    traffic.sending.store(false, Ordering::Relaxed);
    let settled = settled(&traffic).await;
    traffic.stop.cancel();
    let mut violations = Vec::new();
    while let Some(lane) = tasks.join_next().await {
        violations.extend(lane.map_err(|error| error.to_string())?);
    }
    if !settled {
        violations.push(format!("not everything was acknowledged and heard within {SETTLE:?} after the last send"));
    }
    violations.extend(traffic.compared());
    progress::done();
    let traffic = Arc::into_inner(traffic).ok_or("a lane outlived the run")?;
    let retries = traffic.retries.into_inner();
    let (acks, receipts) = (traffic.acks, traffic.receipts);
    Ok(Measured { elapsed, acked, heard, retries, cpu, acks, receipts, violations })
}

/// Opens the sockets, some at a time; each is read from then on.
async fn open(target: &Target, plans: Vec<Plan>, traffic: &Arc<Traffic>) -> Result<JoinSet<Option<String>>> {
    let total = plans.len();
    let opening = plans.into_iter().enumerate().map(|(n, plan)| async move {
        let mut socket = Light::open(&target.door(n).await?, BUFFER_BYTES).await?;
        if let Some(room) = plan.listens_in {
            let seq = socket.join(&traffic.places[room]).await?;
            traffic.lanes[n].last.store(seq, Ordering::Relaxed);
        }
        Ok::<_, String>(Lane::new(n, socket, plan, Arc::clone(traffic)))
    });
    let mut opened = pin!(futures_util::stream::iter(opening).buffer_unordered(target.opening));
    let mut tasks = JoinSet::new();
    while let Some(lane) = opened.try_next().await? {
        tasks.spawn(lane.run());
        if tasks.len().is_multiple_of(500) {
            progress::show(&format!("{} of {total} sockets", tasks.len()));
        }
    }
    Ok(tasks)
}

async fn watch(traffic: &Traffic, pids: &Pids, measured: Duration) {
    let began = Instant::now();
    let (mut acked, mut heard, mut cpu) = (traffic.acked(), traffic.heard(), pids.cpu());
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + Duration::from_secs(1), Duration::from_secs(1));
    while began.elapsed() < measured && !traffic.broken.load(Ordering::Relaxed) {
        tick.tick().await;
        let (now_acked, now_heard, now_cpu) = (traffic.acked(), traffic.heard(), pids.cpu());
        let busy = now_cpu.since(&cpu);
        let watched: f64 = busy.watched.iter().map(|(_, time)| time.as_secs_f64()).sum();
        progress::show(&format!(
            "{:>3} s  {:>7} acknowledged/s  {:>9} deliveries/s  CPU {watched:.2} watched, {:.2} own",
            began.elapsed().as_secs(),
            grouped(now_acked - acked),
            grouped(now_heard - heard),
            busy.own.as_secs_f64(),
        ));
        (acked, heard, cpu) = (now_acked, now_heard, now_cpu);
    }
}

/// Whether all was acknowledged and heard in time.
async fn settled(traffic: &Traffic) -> bool {
    let until = Instant::now() + SETTLE;
    while !traffic.is_quiet() {
        if Instant::now() > until || traffic.broken.load(Ordering::Relaxed) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

impl Measured {
    /// The rows every run of traffic has.
    pub fn report(self, scenario: &'static str) -> Report {
        let mut report = Report::new(scenario);
        let per_s = |count: u64| count as f64 / self.elapsed.as_secs_f64();
        report.count("acknowledged", "acknowledged messages", self.acked);
        report.number("acknowledged_per_s", "acknowledged", per_s(self.acked), "messages/s");
        report.latency("ack", "send to ack", &self.acks.merged());
        let (done, thing) = if self.heard > 0 { (self.heard, "delivery") } else { (self.acked, "message") };
        if self.heard > 0 {
            report.count("deliveries", "deliveries", self.heard);
            report.number("deliveries_per_s", "delivered", per_s(self.heard), "deliveries/s");
            report.latency("receipt", "send to receipt", &self.receipts.merged());
        }
        report.count("retries", "sends tried again", self.retries);
        report.number("elapsed_s", "measured for", self.elapsed.as_secs_f64(), "s");
        report.cpu(&self.cpu, self.elapsed, done, thing);
        report.violations = self.violations;
        report
    }
}
