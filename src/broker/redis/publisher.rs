//! The publishing half: a bounded queue, sent in order as pipelines. A PUBLISH sent by itself costs Redis ten times
//! what one of many sent together does, so whatever gathered while the last pipeline was under way goes as the next.
//!
//! Hints do not outlive trouble: when Redis fails, what is queued is lost and counted, and until it is back
//! everything offered is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::PubsubInterface;
use fred::types::Value;
use metrics::counter;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use super::probe::Vitals;
use crate::redis::{Backoff, Connection, Names, Settings, Topic, timed_out};
use crate::telemetry::{Complaint, metric};

/// Hints in one pipeline.
const PIPELINE: usize = 256;

#[derive(Clone)]
pub(super) struct Publisher {
    queue: mpsc::Sender<Item>,
    /// Whether there is a connection to send by.
    up: Arc<watch::Sender<bool>>,
}

/// The task behind a [`Publisher`].
pub(super) struct Sending {
    settings: Settings,
    names: Arc<Names>,
    vitals: Arc<Vitals>,
    queue: mpsc::Receiver<Item>,
    up: Arc<watch::Sender<bool>>,
}

enum Item {
    Hint(Topic, Bytes),
    /// Answered when everything before it was sent.
    Flush(oneshot::Sender<()>),
}

pub(super) fn new(
    settings: Settings,
    names: Arc<Names>,
    vitals: Arc<Vitals>,
    queue_len: usize,
) -> (Publisher, Sending) {
    let (queue, items) = mpsc::channel(queue_len.max(1));
    let up = Arc::new(watch::Sender::new(false));
    (Publisher { queue, up: Arc::clone(&up) }, Sending { settings, names, vitals, queue: items, up })
}

impl Publisher {
    pub fn publish(&self, topic: Topic, payload: Bytes) -> bool {
        let queued = *self.up.borrow() && self.queue.try_send(Item::Hint(topic, payload)).is_ok();
        if !queued {
            lost(topic);
        }
        queued
    }

    /// Returns when everything queued before was sent or lost.
    pub async fn flush(&self) {
        let (done, sent) = oneshot::channel();
        if *self.up.borrow() && self.queue.send(Item::Flush(done)).await.is_ok() {
            // An error means that the connection was lost, and the queue with it.
            let _ = sent.await;
        }
    }

    /// From now on everything is refused.
    pub fn close(&self) {
        self.up.send_replace(false);
    }
}

impl Sending {
    pub async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut complaint = Complaint::default();
        loop {
            match self.settings.connect().await {
                Ok(connection) => {
                    self.lose_queue();
                    self.up.send_replace(true);
                    self.vitals.probe_now();
                    let mut worked = false;
                    let ended = self.pump(connection, &mut worked).await;
                    self.up.send_replace(false);
                    self.lose_queue();
                    if worked {
                        backoff = Backoff::new();
                        complaint.ends();
                    }
                    if let Err(error) = ended
                        && complaint.is_news(&error)
                    {
                        warn!(%error, "publishing to Redis failed; hints are lost until it is back");
                    }
                }
                Err(error) if complaint.is_news(&error) => {
                    warn!(%error, "no connection to Redis to publish by; trying on");
                }
                Err(_) => {}
            }
            backoff.wait().await;
        }
    }

    /// Sends until the connection ends or fails; `worked` tells whether anything was sent by it.
    async fn pump(&mut self, mut connection: Connection, worked: &mut bool) -> Result<(), Error> {
        let mut items = Vec::with_capacity(PIPELINE);
        let mut moves = connection.moves();
        loop {
            tokio::select! {
                biased;
                got = self.queue.recv_many(&mut items, PIPELINE) => if got == 0 { return Ok(()) },
                () = connection.closed() => return Err(Error::new(fred::error::ErrorKind::IO, "connection closed")),
            }
            self.send(&connection, &mut items, self.settings.timeout()).await?;
            *worked = true;
            // Redis tells a listener of a lost slot by a message that the driver keeps to itself; a publisher is
            // refused and told where to go.
            if !moves.is_empty() {
                moves = connection.moves();
                self.vitals.slots_moved();
            }
        }
    }

    async fn send(&self, connection: &Connection, items: &mut Vec<Item>, within: Duration) -> Result<(), Error> {
        let pipeline = connection.client().pipeline();
        let mut flushes = Vec::new();
        let mut topics = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            match item {
                Item::Hint(topic, payload) => {
                    let channel = self.names.channel(topic);
                    // Returns at once: it goes into the pipeline.
                    let _: Value = match self.settings.is_cluster() {
                        true => pipeline.spublish(channel, payload).await?,
                        false => pipeline.publish(channel, payload).await?,
                    };
                    topics.push(topic);
                }
                Item::Flush(done) => flushes.push(done),
            }
        }
        let sent = match tokio::time::timeout(within, pipeline.all::<Value>()).await {
            Ok(sent) => sent.map(drop),
            Err(_) => Err(timed_out()),
        };
        if sent.is_err() {
            topics.into_iter().for_each(lost);
        }
        for done in flushes {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
        sent
    }

    fn lose_queue(&mut self) {
        while let Ok(item) = self.queue.try_recv() {
            if let Item::Hint(topic, _) = item {
                lost(topic);
            }
        }
    }
}

fn lost(topic: Topic) {
    if topic != Topic::Probe {
        counter!(metric::BROKER_PUBLISH_DROPPED).increment(1);
    }
}
