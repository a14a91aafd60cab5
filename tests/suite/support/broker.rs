//! A broker as a test holds it: with its events, and what was heard aside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use salon::broker::{Broker, Channel, Disturbance, Event};
use salon::config;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::redis::Redis;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Peer {
    pub broker: Arc<dyn Broker>,
    events: Receiver<Event>,
    /// Those met while waiting for payloads.
    pub disturbances: Vec<Disturbance>,
}

/// A configuration for one test: its own prefix, so that tests do not hear each other.
pub fn redis_config(redis: &Redis) -> config::Redis {
    config::Redis { url: Some(redis.url()), prefix: Redis::prefix(), ..config::Redis::default() }
}

impl From<(Arc<dyn Broker>, Receiver<Event>)> for Peer {
    fn from((broker, events): (Arc<dyn Broker>, Receiver<Event>)) -> Self {
        Self { broker, events, disturbances: Vec::new() }
    }
}

impl Peer {
    pub fn redis(config: &config::Redis) -> Self {
        let incarnation = format!("{:016x}", rand::random::<u64>());
        Self::from(salon::broker::redis::open(config, &incarnation).unwrap())
    }

    /// The next event of any kind.
    pub async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event comes").expect("the broker lives")
    }

    /// The next payload heard.
    pub async fn hears(&mut self) -> (Channel, Bytes) {
        loop {
            match self.next().await {
                Event::Heard { channel, payload } => return (channel, payload),
                Event::Disturbed(cause) => self.disturbances.push(cause),
            }
        }
    }

    /// Waits for a disturbance, which may have been met before. What was heard meanwhile is lost.
    pub async fn is_disturbed_by(&mut self, cause: Disturbance) {
        while !self.disturbances.contains(&cause) {
            if let Event::Disturbed(cause) = self.next().await {
                self.disturbances.push(cause);
            }
        }
    }

    /// The next disturbance. What was heard meanwhile is lost.
    pub async fn next_disturbance(&mut self) -> Disturbance {
        loop {
            if let Event::Disturbed(cause) = self.next().await {
                return cause;
            }
        }
    }

    /// How long it took.
    pub async fn until_hearing(&self, within: Duration) -> Duration {
        self.until(true, within).await
    }

    /// How long it took.
    pub async fn until_deaf(&self, within: Duration) -> Duration {
        self.until(false, within).await
    }

    async fn until(&self, hearing: bool, within: Duration) -> Duration {
        let start = Instant::now();
        let mut health = self.broker.health();
        let changed = timeout(within, health.wait_for(|health| health.hearing == hearing)).await;
        assert!(changed.is_ok(), "not hearing={hearing} within {within:?}");
        start.elapsed()
    }
}
