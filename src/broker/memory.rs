//! The broker of a single process. Handles on one bus hear each other, as nodes on one Redis do.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{counter, gauge};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::outlet::Outlet;
use super::{Broker, Channel, Event, Health, Result};
use crate::telemetry::metric;

/// What the handles of one process share.
#[derive(Clone, Default)]
pub struct Bus {
    ports: Arc<Mutex<HashMap<u64, Port>>>,
}

struct Port {
    channels: HashSet<Channel>,
    outlet: Arc<Outlet>,
}

struct Handle {
    bus: Bus,
    port: u64,
    health: watch::Sender<Health>,
    _settling: AbortOnDropHandle<()>,
}

impl Bus {
    pub fn new() -> Self {
        Self::default()
    }

    /// Another handle, with room for `event_queue` events.
    pub fn open(&self, event_queue: usize) -> (Arc<dyn Broker>, mpsc::Receiver<Event>) {
        let (queue, events) = mpsc::channel(event_queue.max(1));
        let outlet = Arc::new(Outlet::new(queue));
        let settling = tokio::spawn({
            let outlet = Arc::clone(&outlet);
            async move { outlet.settle().await }
        });
        let port = rand::random();
        self.ports().insert(port, Port { channels: HashSet::from([Channel::Cluster]), outlet });
        gauge!(metric::BROKER_UP).set(1.0);
        let handle = Handle {
            bus: self.clone(),
            port,
            health: watch::Sender::new(Health { hearing: true, lag: Duration::ZERO }),
            _settling: AbortOnDropHandle::new(settling),
        };
        (Arc::new(handle), events)
    }

    fn ports(&self) -> MutexGuard<'_, HashMap<u64, Port>> {
        // The map is whole at every point where a panic could leave it.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    fn close_port(&self) {
        self.bus.ports().remove(&self.port);
    }
}

#[async_trait]
impl Broker for Handle {
    async fn subscribe(&self, channels: &[Channel]) -> Result<()> {
        match self.bus.ports().get_mut(&self.port) {
            Some(port) => port.channels.extend(channels),
            None => return Err(super::BrokerError("it is closed".to_owned())),
        }
        Ok(())
    }

    fn unsubscribe(&self, channels: &[Channel]) {
        if let Some(port) = self.bus.ports().get_mut(&self.port) {
            for channel in channels.iter().filter(|channel| **channel != Channel::Cluster) {
                port.channels.remove(channel);
            }
        }
    }

    fn publish(&self, channel: Channel, payload: Bytes) -> bool {
        // Delivered under the lock: that is what keeps one sender's payloads in order.
        let ports = self.bus.ports();
        if !ports.contains_key(&self.port) {
            counter!(metric::BROKER_PUBLISH_DROPPED).increment(1);
            return false;
        }
        for port in ports.values().filter(|port| port.channels.contains(&channel)) {
            port.outlet.deliver(channel, payload.clone());
        }
        true
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    async fn close(&self, _within: Duration) {
        self.close_port();
        self.health.send_modify(|health| health.hearing = false);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close_port();
    }
}
