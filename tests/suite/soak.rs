//! Faults at random for as long as asked, by `tests/soak`: three nodes behind nginx under load. It goes in epochs, each
//! with users and rooms of its own: load and faults, then quiet, the judgement, and a look at what the nodes hold.

mod nemesis;
mod tally;
mod vitals;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use salon::engine::client::Client;
use salon::engine::workload::{Pace, Plan, Running, Stop};
use tokio::time::sleep;

use crate::support::node::unique;
use nemesis::{Fault, NODES, Schedule, Strike};
use tally::Tally;
use vitals::{Vitals, growth};
use world::World;

/// Load and faults of one epoch; the checker holds an epoch's logs in memory, and no more.
const EPOCH: Duration = Duration::from_secs(60);

/// From the end of a fault until every client is acknowledged again and every node is ready.
const RECOVERY: Duration = Duration::from_secs(45);

/// Everybody is back and has read everything by then.
const QUIET: Duration = Duration::from_secs(90);

/// By then nodes have let go of an epoch's sockets.
const EMPTY: Duration = Duration::from_secs(60);

const RATE_PER_S: f64 = 120.0;

struct Soak {
    world: Arc<World>,
    seed: u64,
    schedule: Schedule,
    tally: Tally,
    /// Of every process that lives, by its id.
    samples: BTreeMap<u32, Vec<Vitals>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "as long as asked: tests/soak runs it"]
async fn random_faults_lose_nothing() {
    let minutes: f64 = std::env::var("SALON_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let seed = std::env::var("SALON_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("soak: seed {seed}, {minutes} minutes");
    let world = Arc::new(World::start().await);
    let progress = tokio::spawn(world::tell_progress(world.clone()));
    let mut soak =
        Soak { world, seed, schedule: Schedule::new(seed), tally: Tally::default(), samples: BTreeMap::new() };
    let deadline = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut number = 0;
    // A red one is the last: its logs are still there.
    while Instant::now() < deadline && soak.tally.violations.is_empty() {
        if let Err(error) = soak.epoch(number, deadline).await {
            soak.tally.violations.push(format!("epoch {number}: {error}"));
        }
        number += 1;
    }
    soak.judge_growth();
    progress.abort();
    eprintln!("\n{}", soak.tally);
    for violation in &soak.tally.violations {
        eprintln!("VIOLATION: {violation}");
    }
    if !soak.tally.violations.is_empty() {
        soak.world.tell_logs();
    }
    assert!(soak.tally.violations.is_empty(), "violated; again with: tests/soak --minutes {minutes} --seed {seed}");
    eprintln!("soak: green, seed {seed}");
}

impl Soak {
    async fn epoch(&mut self, number: u64, deadline: Instant) -> Result<(), String> {
        self.world.ready(RECOVERY).await?;
        let plan = Plan {
            nodes: vec![self.world.url()],
            prefix: unique("soak"),
            seed: self.seed.wrapping_add(number),
            pace: Pace::PerSecond(RATE_PER_S),
            stop: Stop::Told,
            ..Plan::default()
        };
        let running = plan.start().await?;
        self.world.watch(&running.clients);
        running.progress(50, RECOVERY).await?;
        let end = deadline.min(Instant::now() + EPOCH);
        let mut faults = Vec::new();
        while Instant::now() < end && self.tally.violations.is_empty() {
            let Some(strike) = self.schedule.next() else { break };
            faults.extend(strike.blows.iter().map(|blow| blow.fault));
            self.strike(&strike, &running).await;
        }
        faults.sort_unstable();
        faults.dedup();
        self.judge(running, &faults).await?;
        self.look().await
    }

    /// Violations are noted, the strike goes to its end all the same.
    async fn strike(&mut self, strike: &Strike, running: &Running) {
        sleep(strike.after).await;
        let words: Vec<String> = strike.blows.iter().map(ToString::to_string).collect();
        self.world.tell(&words.join(" + "));
        let blows: Vec<_> = strike
            .blows
            .iter()
            .map(|blow| {
                let (world, blow) = (self.world.clone(), *blow);
                // A task of its own: what panics in there is a violation like any other.
                (blow, tokio::spawn(async move { world.suffer(blow).await }))
            })
            .collect();
        for (blow, task) in blows {
            let outcome = task.await.unwrap_or_else(|panic| Err(panic.to_string()));
            self.tally.violations.extend(outcome.err().map(|error| format!("{blow}: {error}")));
        }
        self.world.tell("recovery");
        let over = Instant::now();
        let recovered = match acknowledged(&running.clients, RECOVERY).await {
            Ok(()) => self.world.ready(RECOVERY.saturating_sub(over.elapsed())).await,
            Err(error) => Err(error),
        };
        for blow in &strike.blows {
            self.tally.struck(blow.fault, recovered.is_ok().then(|| over.elapsed()));
        }
        self.tally.violations.extend(recovered.err().map(|error| format!("after {}: {error}", words.join(" + "))));
        self.world.tell("");
    }

    async fn judge(&mut self, running: Running, faults: &[Fault]) -> Result<(), String> {
        self.world.tell("quiet");
        let finished = running.finish(QUIET).await;
        // Or the clients would live on.
        self.world.watch(&[]);
        self.tally.judged(&finished?.report, faults);
        self.tally.violations.extend(self.world.complaints());
        Ok(())
    }

    /// What each node holds when it has nobody.
    async fn look(&mut self) -> Result<(), String> {
        self.world.tell("empty");
        self.world.empty(EMPTY).await?;
        let mut alive = BTreeMap::new();
        for node in 0..NODES {
            let node = self.world.node(node);
            let mut samples = self.samples.remove(&node.pid()).unwrap_or_default();
            samples.push(Vitals::sample(node).await.ok_or("a node that was ready is gone")?);
            alive.insert(node.pid(), samples);
        }
        // One that was ended in between is judged no more: it did not live to show whether it shrinks again.
        self.samples = alive;
        Ok(())
    }

    fn judge_growth(&mut self) {
        for (pid, samples) in &self.samples {
            eprintln!("process {pid}, {} epochs: {:?} … {:?}", samples.len(), samples.first(), samples.last());
            self.tally.violations.extend(growth(samples).into_iter().map(|what| format!("process {pid}: {what}")));
        }
    }
}

/// Waits until each of them got another ack: proof that the cluster works for everybody, now.
async fn acknowledged(clients: &[Arc<Client>], within: Duration) -> Result<(), String> {
    let before: Vec<u64> = clients.iter().map(|client| client.acked()).collect();
    let deadline = Instant::now() + within;
    loop {
        let left = clients.iter().zip(&before).filter(|(client, before)| client.acked() <= **before).count();
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{left} of {} clients got no further ack within {within:?}", clients.len()));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
