//! What happened in each second of the measured time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::latency::Latencies;
use crate::process::{Usage, Watch};
use crate::report::grouped;
use crate::ui::Ui;

/// A number that only rises, and what it counts.
pub struct Counter {
    /// In JSON.
    pub key: &'static str,
    pub label: &'static str,
    pub count: Box<dyn Fn() -> u64 + Send>,
}

/// What is looked at every second.
pub struct Meter {
    pub counters: Vec<Counter>,
    /// The latency of which the second's percentiles are told.
    pub latencies: Arc<Latencies>,
    pub watch: Watch,
    /// How long it is expected to go on, for the bar: seconds; or how many of the first counter.
    pub until: Until,
}

#[derive(Debug, Clone, Copy)]
pub enum Until {
    Seconds(u64),
    Count(u64),
}

#[derive(Debug, Clone, Default)]
pub struct Second {
    /// Since the beginning of the measured time, at its end.
    pub at_s: f64,
    /// Of each counter: its key, its label, how many a second.
    pub rates: Vec<(&'static str, &'static str, f64)>,
    /// p50, p99 and maximum in milliseconds; `None` when nothing was recorded.
    pub latency: Option<[f64; 3]>,
    /// Cores that each watched process used, and this one.
    pub cores: Vec<(String, f64)>,
}

pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Vec<Second>>,
}

impl Meter {
    pub fn start(self, ui: &Arc<Ui>) -> Running {
        let (stop, ui) = (CancellationToken::new(), Arc::clone(ui));
        let task = tokio::spawn(self.run(ui, stop.clone()));
        Running { stop, task }
    }

    async fn run(self, ui: Arc<Ui>, stop: CancellationToken) -> Vec<Second> {
        let began = Instant::now();
        let mut before = (began, self.counts(), self.watch.look());
        let mut seconds = Vec::new();
        self.latencies.look();
        loop {
            let next = began + Duration::from_secs(seconds.len() as u64 + 1);
            let stopped = tokio::select! {
                biased;
                () = sleep_until(next.into()) => false,
                () = stop.cancelled() => true,
            };
            let now = (Instant::now(), self.counts(), self.watch.look());
            // The last one may be a shorter one; too short a one would only be noise.
            if !stopped || now.0 - before.0 >= Duration::from_millis(200) || seconds.is_empty() {
                let second = self.second(began, &before, &now);
                ui.object(&second.json());
                ui.progress(self.done(&now, began), &second.line());
                seconds.push(second);
                before = now;
            }
            if stopped {
                return seconds;
            }
        }
    }

    fn counts(&self) -> Vec<u64> {
        self.counters.iter().map(|counter| (counter.count)()).collect()
    }

    fn done(&self, now: &(Instant, Vec<u64>, Usage), began: Instant) -> f64 {
        match self.until {
            Until::Seconds(seconds) => (now.0 - began).as_secs_f64() / seconds.max(1) as f64,
            Until::Count(count) => now.1.first().copied().unwrap_or(0) as f64 / count.max(1) as f64,
        }
    }

    fn second(&self, began: Instant, before: &(Instant, Vec<u64>, Usage), now: &(Instant, Vec<u64>, Usage)) -> Second {
        let took = (now.0 - before.0).as_secs_f64().max(1e-6);
        let rate = |n: usize| now.1[n].saturating_sub(before.1[n]) as f64 / took;
        let latencies = self.latencies.look();
        let millis = |share| latencies.value_at_quantile(share) as f64 / 1000.0;
        let usage = now.2.since(&before.2);
        let watched = usage.watched.iter().map(|(name, used)| (name.clone(), used.cpu));
        let all = watched.chain([("salon-bench".to_owned(), usage.own.cpu)]);
        Second {
            at_s: (now.0 - began).as_secs_f64(),
            rates: self.counters.iter().enumerate().map(|(n, told)| (told.key, told.label, rate(n))).collect(),
            latency: (!latencies.is_empty()).then(|| [millis(0.5), millis(0.99), millis(1.0)]),
            cores: all.map(|(name, cpu)| (name, cpu.as_secs_f64() / took)).collect(),
        }
    }
}

impl Running {
    pub async fn stop(self) -> Vec<Second> {
        self.stop.cancel();
        self.task.await.unwrap_or_default()
    }
}

impl Second {
    fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("type".into(), json!("second"));
        object.insert("at_s".into(), json!(self.at_s));
        object.extend(self.rates.iter().map(|(key, _, rate)| (format!("{key}_per_s"), json!(rate))));
        if let Some(latency) = self.latency {
            let names = ["p50_ms", "p99_ms", "max_ms"].map(str::to_owned);
            object.extend(names.into_iter().zip(latency.map(|millis| json!(millis))));
        }
        let cores = self.cores.iter().map(|(name, cores)| (name.clone(), json!(cores)));
        object.insert("cores".into(), Value::Object(cores.collect()));
        Value::Object(object)
    }

    fn line(&self) -> String {
        let mut parts: Vec<String> =
            self.rates.iter().map(|(_, label, rate)| format!("{} {label}/s", grouped(*rate))).collect();
        if let Some([_, p99, _]) = self.latency {
            parts.push(format!("p99 {p99:.2} ms"));
        }
        parts.join(", ")
    }
}
