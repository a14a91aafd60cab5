//! What one client of a workload does, step by step, at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Pace, Plan, Stop};
use crate::engine::Result;
use crate::engine::client::{Client, fresh_nonce};
use crate::engine::log::{Act, Outcome};

/// Operations of one client under way at an offered rate; over it the client waits, and the rate is not reached.
const IN_FLIGHT_MAX: usize = 256;

/// How long one client may take to enter a room, or to leave it.
pub(super) const ROOM_PATIENCE: Duration = Duration::from_secs(60);

/// One client's hand.
pub(super) struct Driver {
    pub(super) client: Arc<Client>,
    pub(super) rooms: Vec<String>,
    pub(super) rng: SmallRng,
    pub(super) plan: Plan,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) waiting: Vec<oneshot::Receiver<Outcome>>,
    pub(super) steps: usize,
    /// A room it has left, and the step at which it comes back.
    pub(super) away: Option<(String, usize)>,
}

impl Driver {
    pub(super) async fn run(mut self) -> Result<()> {
        let started = Instant::now();
        let in_flight = match self.plan.pace {
            Pace::InFlight(count) => count.max(1),
            Pace::PerSecond(_) => IN_FLIGHT_MAX,
        };
        let mut tick = match self.plan.pace {
            Pace::PerSecond(rate) => {
                let mut tick = interval(Duration::from_secs_f64(self.plan.clients as f64 / rate.max(0.001)));
                tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
                Some(tick)
            }
            Pace::InFlight(_) => None,
        };
        while !self.is_over(started) && self.client.ended().is_none() {
            if let Some(tick) = &mut tick {
                tick.tick().await;
            }
            self.step().await?;
            self.steps += 1;
            self.waiting.retain_mut(|outcome| outcome.try_recv() == Err(oneshot::error::TryRecvError::Empty));
            while self.waiting.len() >= in_flight {
                // How it ended is in the log.
                let _ = self.waiting.remove(0).await;
            }
        }
        if let Some((room, _)) = self.away.take() {
            self.client.join(&room, ROOM_PATIENCE).await?;
        }
        for outcome in self.waiting.drain(..) {
            let _ = outcome.await;
        }
        match self.client.ended() {
            Some(why) => Err(format!("a client ended: {why}")),
            None => Ok(()),
        }
    }

    fn is_over(&self, started: Instant) -> bool {
        let planned = match self.plan.stop {
            Stop::After(steps) => self.steps >= steps,
            Stop::For(time) => started.elapsed() >= time,
            Stop::Told => false,
        };
        planned || self.stop.load(Ordering::Relaxed)
    }

    async fn step(&mut self) -> Result<()> {
        if let Some((room, back)) = self.away.take() {
            if self.steps >= back {
                self.client.join(&room, ROOM_PATIENCE).await?;
            } else {
                self.away = Some((room, back));
            }
        }
        let room = self.rooms[self.rng.random_range(0..self.rooms.len())].clone();
        let mix = self.plan.mix;
        let mut dice = self.rng.random::<f64>();
        let mut falls = |part: f64| {
            dice -= part;
            dice < 0.0
        };
        if falls(mix.cut) {
            self.client.cut().await;
            return Ok(());
        }
        if falls(mix.leave) && self.away.is_none() {
            let forget = self.rng.random::<bool>();
            self.client.leave(&room, forget, ROOM_PATIENCE).await?;
            self.away = Some((room, self.steps + self.rng.random_range(1..5)));
            return Ok(());
        }
        let own = self.client.view(&room).own;
        let chosen = (!own.is_empty()).then(|| own[self.rng.random_range(0..own.len())]);
        let act = match chosen {
            Some(id) if falls(mix.edit) => Act::Edit { id, content: self.content("edit") },
            Some(id) if falls(mix.delete) => Act::Delete { id },
            _ => Act::Send { nonce: fresh_nonce(), content: self.content("send") },
        };
        self.waiting.push(self.client.act(&room, act).await);
        Ok(())
    }

    /// Different every time, so that the checker can tell one from the other.
    fn content(&mut self, word: &str) -> String {
        let mut content = format!("{word} {} of {:08x}", self.steps, self.rng.random::<u32>());
        while content.chars().count() < self.plan.content_chars {
            content.push('é');
        }
        content
    }
}
