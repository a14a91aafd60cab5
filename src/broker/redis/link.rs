//! One listening connection: subscribes with confirmation, and passes on what it hears once it is the one to listen to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::{ClusterStateChange, Message, Value};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::Disturbance;
use crate::broker::outlet::Outlet;
use crate::failpoints::{self, Point};
use crate::redis::{Connection, Names, Settings, Topic, timed_out};

/// Channels in one SUBSCRIBE; a command of that many stays well below what a socket buffers.
const CHANNELS_PER_COMMAND: usize = 500;

/// Commands that one confirmation covers, and with that what one timeout covers.
const COMMANDS_PER_CONFIRMATION: usize = 20;

/// Where whatever is heard goes, whichever link hears it.
pub(super) struct Ear {
    names: Arc<Names>,
    outlet: Arc<Outlet>,
    /// Messages heard so far, of any kind.
    heard: AtomicU64,
    /// Zero of the times in probes.
    origin: Instant,
    echo: watch::Sender<Echo>,
}

/// The latest probe heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Echo {
    pub sent: Instant,
    /// How long it was under way.
    pub lag: Duration,
}

/// A connection that may be subscribed. Silent until [`Link::activate`], closed when dropped.
pub(super) struct Link {
    connection: Connection,
    moves: Receiver<Vec<ClusterStateChange>>,
    sharded: bool,
    timeout: Duration,
    names: Arc<Names>,
    active: Arc<AtomicBool>,
    _reader: AbortOnDropHandle<()>,
}

impl Ear {
    pub fn new(names: Arc<Names>, outlet: Arc<Outlet>) -> Self {
        let origin = Instant::now();
        let echo = watch::Sender::new(Echo { sent: origin, lag: Duration::ZERO });
        Self { names, outlet, heard: AtomicU64::new(0), origin, echo }
    }

    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Changes with every probe heard.
    pub fn echoes(&self) -> watch::Receiver<Echo> {
        self.echo.subscribe()
    }

    /// The payload of a probe sent at that time.
    pub fn probe(&self, sent: Instant) -> Bytes {
        let nanos = sent.saturating_duration_since(self.origin).as_nanos();
        Bytes::copy_from_slice(&u64::try_from(nanos).unwrap_or(u64::MAX).to_be_bytes())
    }

    fn hear(&self, message: Message) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        let payload = match message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.into_inner(),
            _ => return,
        };
        match self.names.topic(&message.channel) {
            Some(Topic::Probe) => self.hear_probe(&payload),
            // A copy: the payload is a slice of the connection's read buffer, all of which it would keep alive for
            // as long as the node remembers the hint.
            Some(topic) => {
                if let Some(channel) = super::channel(topic) {
                    self.outlet.deliver(channel, Bytes::copy_from_slice(&payload));
                }
            }
            None => {}
        }
    }

    fn hear_probe(&self, payload: &[u8]) {
        if let Ok(sent) = payload.try_into().map(u64::from_be_bytes) {
            let sent = self.origin + Duration::from_nanos(sent);
            self.echo.send_replace(Echo { sent, lag: sent.elapsed() });
        }
    }
}

impl Link {
    pub async fn open(settings: &Settings, names: &Arc<Names>, ear: &Arc<Ear>) -> Result<Self, Error> {
        let connection = settings.connect_listener().await?;
        let active = Arc::new(AtomicBool::new(false));
        // Taken before anything is subscribed, so that nothing comes too early for it.
        let messages = connection.client().message_rx();
        let reader = tokio::spawn(read(messages, Arc::clone(ear), Arc::clone(&active)));
        Ok(Self {
            moves: connection.moves(),
            connection,
            sharded: settings.is_cluster(),
            timeout: settings.timeout(),
            names: Arc::clone(names),
            active,
            _reader: AbortOnDropHandle::new(reader),
        })
    }

    /// From now on what this link hears is passed on.
    pub fn activate(&self) {
        self.active.store(true, Ordering::Release);
    }

    /// Returns once nothing more, or in a changed Cluster not everything, will be heard by this link.
    pub async fn closed(&mut self) {
        tokio::select! {
            () = self.connection.closed() => {}
            // Too many to be counted is a change as well.
            _ = self.moves.recv() => {}
        }
    }

    /// Subscribes and unsubscribes; `Ok` means that Redis has done it. After an error the link is of no more use.
    pub async fn apply(&self, add: &[Topic], remove: &[Topic]) -> Result<(), Error> {
        if self.sharded { self.apply_sharded(add, remove).await } else { self.apply_plain(add, remove).await }
    }

    async fn apply_plain(&self, add: &[Topic], remove: &[Topic]) -> Result<(), Error> {
        let client = self.connection.client();
        let commands = remove
            .chunks(CHANNELS_PER_COMMAND)
            .map(|topics| (false, topics))
            .chain(add.chunks(CHANNELS_PER_COMMAND).map(|topics| (true, topics)))
            .collect::<Vec<_>>();
        for group in commands.chunks(COMMANDS_PER_CONFIRMATION) {
            self.in_time(async {
                for (subscribe, topics) in group {
                    let channels = self.channels(topics);
                    match subscribe {
                        true => client.subscribe(channels).await?,
                        false => client.unsubscribe(channels).await?,
                    }
                }
                // The driver's calls above end when they are written, not when they are answered. Redis answers one
                // connection in order, so the answer to this is the answer to them all; and one that was refused
                // is taken by the driver for the answer to this, which then fails as it should.
                client.ping::<Value>(None).await.map(drop)
            })
            .await?;
        }
        Ok(())
    }

    /// In Cluster a command may hold channels of one slot only, and its answer is the confirmation, as long as the
    /// next is not sent before it.
    async fn apply_sharded(&self, add: &[Topic], remove: &[Topic]) -> Result<(), Error> {
        let client = self.connection.client();
        for topic in remove {
            self.in_time(client.sunsubscribe(self.names.channel(*topic))).await?;
        }
        for topic in add {
            self.in_time(client.ssubscribe(self.names.channel(*topic))).await?;
        }
        Ok(())
    }

    fn channels(&self, topics: &[Topic]) -> Vec<String> {
        topics.iter().map(|topic| self.names.channel(*topic)).collect()
    }

    async fn in_time(&self, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

async fn read(mut messages: Receiver<Message>, ear: Arc<Ear>, active: Arc<AtomicBool>) {
    loop {
        let message = messages.recv().await;
        if !active.load(Ordering::Acquire) {
            continue;
        }
        match message {
            Ok(message) => {
                failpoints::reach(Point::Hint, |text| {
                    message.value.as_bytes().is_some_and(|payload| failpoints::contains(payload, text))
                })
                .await;
                ear.hear(message);
            }
            // The oldest are gone; the next call goes on with what is left.
            Err(RecvError::Lagged(_)) => ear.outlet.disturb(Disturbance::Lagged),
            Err(RecvError::Closed) => return,
        }
    }
}
