//! Whether this node hears itself. A probe goes the way of every hint, through the publisher's queue and Redis back
//! to the link; the state of TCP connections says nothing, they look well for minutes while nothing passes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{gauge, histogram};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::link::{Ear, Echo};
use super::publisher::Publisher;
use crate::broker::outlet::Outlet;
use crate::broker::{Disturbance, Health};
use crate::redis::Topic;
use crate::telemetry::metric;

/// Probes of which the slowest is the lag.
const LAG_PROBES: usize = 10;

/// Misses in a row after which the link is taken for deaf.
const MISSES: u32 = 2;

/// What the tasks of one broker tell each other about its state.
pub(super) struct Vitals {
    health: watch::Sender<Health>,
    /// Something changed for the better: do not wait for the next probe's time.
    wake: Notify,
    /// Probes go unheard though the link looks alive.
    suspect: watch::Sender<bool>,
    /// Slots of the Cluster went to other nodes.
    moved: Notify,
    /// Links that took over so far; the node was told of each.
    switches: AtomicU64,
}

pub(super) struct Prober {
    publisher: Publisher,
    ear: Arc<Ear>,
    outlet: Arc<Outlet>,
    vitals: Arc<Vitals>,
    interval: Duration,
    /// How long a probe may be under way.
    patience: Duration,
}

/// What a prober remembers from one probe to the next.
struct Record {
    /// Probes in a row without an echo, during which nothing else was heard either.
    misses: u32,
    /// Those of them that were surely sent by way of the present link's Redis: they are held against the link.
    unheard: u32,
    lags: VecDeque<Duration>,
    last_echo: Instant,
    /// [`Vitals::switches`] when the last probe was heard.
    switches: u64,
}

enum Outcome {
    Heard(Duration),
    Missed {
        sent: bool,
    },
    /// Something changed meanwhile: this probe says nothing.
    Void,
}

impl Vitals {
    pub fn new() -> Self {
        gauge!(metric::BROKER_UP).set(0.0);
        Self {
            health: watch::Sender::new(Health { hearing: false, lag: Duration::ZERO }),
            wake: Notify::new(),
            suspect: watch::Sender::new(false),
            moved: Notify::new(),
            switches: AtomicU64::new(0),
        }
    }

    pub fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub fn probe_now(&self) {
        self.wake.notify_one();
    }

    /// Another link took over.
    pub fn switched(&self) {
        self.switches.fetch_add(1, Ordering::SeqCst);
        // It was about the link before.
        self.suspect.send_replace(false);
        self.probe_now();
    }

    /// Nothing is heard any more, as far as is known.
    pub fn deaf(&self) {
        self.update(|health| health.hearing = false);
    }

    /// Returns when probes go unheard though the connection looks alive.
    pub async fn suspected(&self) {
        // An error would mean that the sender, which is ours, is gone.
        let _ = self.suspect.subscribe().wait_for(|suspect| *suspect).await;
        self.suspect.send_replace(false);
    }

    /// The publisher was sent elsewhere, so the link's channels may have gone there, too.
    pub fn slots_moved(&self) {
        self.moved.notify_one();
    }

    /// Returns when the publisher was sent elsewhere.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Returns when probes are heard.
    pub async fn hearing(&self) {
        // An error would mean that the sender, which is ours, is gone.
        let _ = self.health.subscribe().wait_for(|health| health.hearing).await;
    }

    fn update(&self, change: impl FnOnce(&mut Health)) {
        self.health.send_if_modified(|health| {
            let before = *health;
            change(health);
            if health.hearing != before.hearing {
                gauge!(metric::BROKER_UP).set(if health.hearing { 1.0 } else { 0.0 });
            }
            *health != before
        });
    }
}

impl Prober {
    pub fn new(
        publisher: Publisher,
        ear: Arc<Ear>,
        outlet: Arc<Outlet>,
        vitals: Arc<Vitals>,
        interval: Duration,
    ) -> Self {
        // With the default of 1.5 s an outage is known after at most 1.5 + 1 + 1 = 3.5 s.
        Self { publisher, ear, outlet, vitals, interval, patience: interval * 2 / 3 }
    }

    pub async fn run(self) {
        let mut record =
            Record { misses: 0, unheard: 0, lags: VecDeque::new(), last_echo: Instant::now(), switches: 0 };
        loop {
            if record.misses == 0 && self.vitals.health.borrow().hearing {
                // Shorter by chance, never longer: nodes started together drift apart, the bound above stays.
                let pause = self.interval.mul_f64(rand::random_range(0.8..1.0));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.vitals.wake.notified() => {}
                }
            }
            let heard_before = self.ear.heard();
            match self.probe().await {
                Outcome::Heard(lag) => self.heard(&mut record, lag),
                Outcome::Missed { sent } => self.missed(&mut record, sent, self.ear.heard() != heard_before),
                Outcome::Void => record.unheard = 0,
            }
            self.judge(&record);
        }
    }

    async fn probe(&self) -> Outcome {
        let mut echoes = self.ear.echoes();
        let now = Instant::now();
        // An earlier one that comes late is good enough to go on. To begin again it must be this one: the late ones
        // that a Redis pours out when it comes back were sent by a publisher that is gone.
        let earliest = if self.vitals.health.borrow().hearing { None } else { Some(now) };
        // One that could not be queued is waited for like any other: it sets the pace, and is a miss.
        let sent = self.publisher.publish(Topic::Probe, self.ear.probe(now));
        tokio::select! {
            lag = heard_since(&mut echoes, earliest) => Outcome::Heard(lag),
            () = self.vitals.wake.notified() => Outcome::Void,
            () = tokio::time::sleep(self.patience) => Outcome::Missed { sent },
        }
    }

    fn heard(&self, record: &mut Record, lag: Duration) {
        histogram!(metric::BROKER_LAG_SECONDS).record(lag);
        if record.lags.len() == LAG_PROBES {
            record.lags.pop_front();
        }
        record.lags.push_back(lag);
        (record.misses, record.unheard) = (0, 0);
        record.last_echo = Instant::now();
        let lag = record.lags.iter().max().copied().unwrap_or_default();
        let was_hearing = self.vitals.health.borrow().hearing;
        self.vitals.update(|health| *health = Health { hearing: true, lag });
        let switches = self.vitals.switches.load(Ordering::SeqCst);
        if !was_hearing {
            info!("hearing hints through Redis");
            if switches == record.switches {
                // The same link as before the silence: nobody told the node yet that it may have missed something.
                self.outlet.disturb(Disturbance::Reconnected);
            }
        }
        record.switches = switches;
    }

    fn missed(&self, record: &mut Record, sent: bool, heard_others: bool) {
        if heard_others {
            // The way is open, only long.
            (record.misses, record.unheard) = (0, 0);
            return;
        }
        record.misses += 1;
        record.unheard = if sent { record.unheard + 1 } else { 0 };
        if record.unheard >= MISSES {
            self.vitals.suspect.send_replace(true);
        }
    }

    fn judge(&self, record: &Record) {
        // Overdue: others are heard, but this node's own hints take so long that they are as good as lost.
        let overdue = record.last_echo.elapsed() >= self.interval * 2 + self.patience;
        if record.misses >= MISSES || overdue {
            if self.vitals.health.borrow().hearing {
                warn!("not hearing hints through Redis");
            }
            self.vitals.deaf();
        }
    }
}

/// How long it was under way: the next probe heard that was sent then or later.
async fn heard_since(echoes: &mut watch::Receiver<Echo>, earliest: Option<Instant>) -> Duration {
    loop {
        if echoes.changed().await.is_err() {
            // The ear is gone, nothing will be heard.
            return std::future::pending().await;
        }
        let echo = *echoes.borrow_and_update();
        if earliest.is_none_or(|earliest| echo.sent >= earliest) {
            return echo.lag;
        }
    }
}
