//! The bounded way from a broker to the node. It never waits, and never forgets that something did not fit.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use metrics::counter;
use tokio::sync::{Notify, mpsc};

use super::{Channel, Disturbance, Event};
use crate::telemetry::metric;

pub(super) struct Outlet {
    queue: mpsc::Sender<Event>,
    /// Something was dropped since the node was last told of it.
    overflowed: AtomicBool,
    owed: Notify,
}

impl Outlet {
    pub fn new(queue: mpsc::Sender<Event>) -> Self {
        Self { queue, overflowed: AtomicBool::new(false), owed: Notify::new() }
    }

    pub fn deliver(&self, channel: Channel, payload: Bytes) {
        self.put(Event::Heard { channel, payload });
    }

    pub fn disturb(&self, cause: Disturbance) {
        count(cause);
        self.put(Event::Disturbed(cause));
    }

    /// Tells the node of overflows as soon as there is room again. Runs as long as the broker does.
    pub async fn settle(&self) {
        loop {
            self.owed.notified().await;
            let Ok(room) = self.queue.reserve().await else { return };
            // In this order: what is dropped from here on raises the flag anew and is told of again.
            self.overflowed.store(false, Ordering::SeqCst);
            count(Disturbance::Overflow);
            room.send(Event::Disturbed(Disturbance::Overflow));
        }
    }

    fn put(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(event)
            && !self.overflowed.swap(true, Ordering::SeqCst)
        {
            self.owed.notify_one();
        }
    }
}

fn count(cause: Disturbance) {
    counter!(metric::BROKER_DISTURBANCES, "cause" => cause.as_str()).increment(1);
}
