//! The broker of many nodes: Redis pub/sub, over one connection to publish and one to listen.
//!
//! Three tasks, none of which waits for the node: [`publisher`] sends what is queued, [`subscriber`] keeps one
//! listening connection that is subscribed to everything wanted, [`probe`] finds out whether anything is heard.

mod link;
mod probe;
mod publisher;
mod subscriber;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::outlet::Outlet;
use super::{Broker, BrokerError, Channel, Event, Health, Result};
use crate::config;
use crate::redis::{Names, Settings, SetupError, Topic};
use link::Ear;
use probe::{Prober, Vitals};
use publisher::Publisher;
use subscriber::Subscriber;

struct RedisBroker {
    publisher: Publisher,
    subscriber: Subscriber,
    vitals: Arc<Vitals>,
    /// Ends every task.
    end: CancellationToken,
    _end_on_drop: DropGuard,
}

/// Starts a broker for one incarnation of a node. Does not wait for Redis, nor fail without it: health says `hearing`
/// once it does.
///
/// # Errors
/// Only for a malformed `redis.url` or `redis.prefix`.
pub fn open(redis: &config::Redis, incarnation: &str) -> Result<(Arc<dyn Broker>, mpsc::Receiver<Event>)> {
    let settings = Settings::new(redis)?;
    let names = Arc::new(Names::new(redis, incarnation)?);
    let (queue, events) = mpsc::channel(redis.event_queue.max(1));
    let outlet = Arc::new(Outlet::new(queue));
    let ear = Arc::new(Ear::new(Arc::clone(&names), Arc::clone(&outlet)));
    let vitals = Arc::new(Vitals::new());
    let end = CancellationToken::new();

    let (publisher, sending) =
        publisher::new(settings.clone(), Arc::clone(&names), Arc::clone(&vitals), redis.publish_queue);
    let (subscriber, listening) =
        subscriber::new(settings, names, Arc::clone(&ear), Arc::clone(&outlet), Arc::clone(&vitals));
    let interval = Duration::from_millis(redis.probe_interval_ms.max(1));
    let prober = Prober::new(publisher.clone(), ear, Arc::clone(&outlet), Arc::clone(&vitals), interval);

    spawn(&end, async move { outlet.settle().await });
    spawn(&end, sending.run());
    spawn(&end, listening.run());
    spawn(&end, prober.run());
    let _end_on_drop = end.clone().drop_guard();
    Ok((Arc::new(RedisBroker { publisher, subscriber, vitals, end, _end_on_drop }), events))
}

fn spawn(end: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let end = end.clone();
    tokio::spawn(async move { end.run_until_cancelled(work).await });
}

#[async_trait]
impl Broker for RedisBroker {
    async fn subscribe(&self, channels: &[Channel]) -> Result<()> {
        match self.end.run_until_cancelled(self.subscriber.subscribe(channels)).await {
            Some(subscribed) => subscribed,
            None => Err(BrokerError("it is closed".to_owned())),
        }
    }

    fn unsubscribe(&self, channels: &[Channel]) {
        self.subscriber.unsubscribe(channels);
    }

    fn publish(&self, channel: Channel, payload: Bytes) -> bool {
        self.publisher.publish(topic(channel), payload)
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.vitals.watch()
    }

    async fn close(&self, within: Duration) {
        // Past that time what is still queued is lost, as any hint may be.
        let _ = tokio::time::timeout(within, self.publisher.flush()).await;
        self.publisher.close();
        self.vitals.deaf();
        self.end.cancel();
    }
}

fn topic(channel: Channel) -> Topic {
    match channel {
        Channel::Room(room) => Topic::Room(room),
        Channel::User(user) => Topic::User(user),
        Channel::Cluster => Topic::Cluster,
    }
}

fn channel(topic: Topic) -> Option<Channel> {
    match topic {
        Topic::Room(room) => Some(Channel::Room(room)),
        Topic::User(user) => Some(Channel::User(user)),
        Topic::Cluster => Some(Channel::Cluster),
        Topic::Probe => None,
    }
}

impl From<SetupError> for BrokerError {
    fn from(error: SetupError) -> Self {
        Self(error.to_string())
    }
}

impl From<fred::error::Error> for BrokerError {
    fn from(error: fred::error::Error) -> Self {
        Self(error.to_string())
    }
}
