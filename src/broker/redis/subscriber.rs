//! The listening half: keeps one link that is subscribed to everything wanted, and makes another when it fails.
//!
//! What is wanted is a set, not a queue of commands: whoever subscribes or unsubscribes changes the set and marks what
//! changed, and the task brings the link into line, however many changes gathered, and confirms them together. So
//! nothing piles up while Redis is away, and a new link simply takes the whole set.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fred::error::Error;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::link::{Ear, Link};
use super::probe::Vitals;
use super::topic;
use crate::broker::outlet::Outlet;
use crate::broker::{BrokerError, Channel, Disturbance};
use crate::redis::{Backoff, Names, Settings, Topic};
use crate::telemetry::Complaint;

/// A link that looks alive is not replaced more often than this.
const REPLACEMENTS_APART: Duration = Duration::from_secs(30);

/// A link that ends sooner than this after it was made is not simply made again at once.
const LINK_LASTS: Duration = Duration::from_secs(1);

pub(super) struct Subscriber {
    desk: Arc<Desk>,
    timeout: Duration,
}

/// The task behind a [`Subscriber`].
pub(super) struct Listening {
    settings: Settings,
    names: Arc<Names>,
    ear: Arc<Ear>,
    outlet: Arc<Outlet>,
    vitals: Arc<Vitals>,
    desk: Arc<Desk>,
}

/// Where wishes are left.
struct Desk {
    wanted: Mutex<Wanted>,
    changed: Notify,
    /// All changes up to this one are confirmed.
    confirmed: watch::Sender<u64>,
}

struct Wanted {
    topics: HashSet<Topic>,
    /// Changed since the link was last brought into line.
    marked: HashSet<Topic>,
    /// There is a link, or one in the making that has read `topics` already. Without one nothing needs a mark, and
    /// marks would grow as long as Redis is away.
    linked: bool,
    /// Number of the latest change.
    change: u64,
    /// The latest change of which somebody was told that it failed: when it is confirmed after all, the node is to
    /// compare heads.
    failed: Option<u64>,
}

pub(super) fn new(
    settings: Settings,
    names: Arc<Names>,
    ear: Arc<Ear>,
    outlet: Arc<Outlet>,
    vitals: Arc<Vitals>,
) -> (Subscriber, Listening) {
    let topics = HashSet::from([Topic::Cluster, Topic::Probe]);
    let wanted = Wanted { topics, marked: HashSet::new(), linked: false, change: 0, failed: None };
    let desk = Arc::new(Desk { wanted: Mutex::new(wanted), changed: Notify::new(), confirmed: watch::Sender::new(0) });
    let timeout = settings.timeout();
    (Subscriber { desk: Arc::clone(&desk), timeout }, Listening { settings, names, ear, outlet, vitals, desk })
}

impl Subscriber {
    pub async fn subscribe(&self, channels: &[Channel]) -> Result<(), BrokerError> {
        let mut confirmed = self.desk.confirmed.subscribe();
        let ticket = {
            let mut wanted = self.desk.wanted();
            for channel in channels {
                wanted.topics.insert(topic(*channel));
                wanted.mark(topic(*channel));
            }
            wanted.change += 1;
            wanted.change
        };
        self.desk.changed.notify_one();
        if tokio::time::timeout(self.timeout, confirmed.wait_for(|change| *change >= ticket)).await.is_ok() {
            return Ok(());
        }
        // Under the lock, so that a confirmation is either seen here or sees that somebody was told of a failure.
        let mut wanted = self.desk.wanted();
        if *self.desk.confirmed.borrow() >= ticket {
            return Ok(());
        }
        wanted.failed = wanted.failed.max(Some(ticket));
        Err(BrokerError("subscribing was not confirmed in time".to_owned()))
    }

    pub fn unsubscribe(&self, channels: &[Channel]) {
        let mut wanted = self.desk.wanted();
        for channel in channels.iter().filter(|channel| **channel != Channel::Cluster) {
            if wanted.topics.remove(&topic(*channel)) {
                wanted.mark(topic(*channel));
            }
        }
        wanted.change += 1;
        drop(wanted);
        self.desk.changed.notify_one();
    }
}

impl Wanted {
    fn mark(&mut self, topic: Topic) {
        if self.linked {
            self.marked.insert(topic);
        }
    }
}

impl Desk {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        // Sets and numbers are whole at every point where a panic could leave them.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything wanted, for a new link, and the change it stands for. Marks stay, for the link that may be there
    /// still: if the new one comes to nothing they are needed, if not they are applied to it once more.
    fn everything(&self) -> (Vec<Topic>, u64) {
        let mut wanted = self.wanted();
        wanted.linked = true;
        (wanted.topics.iter().copied().collect(), wanted.change)
    }

    /// There is no link.
    fn unlink(&self) {
        let mut wanted = self.wanted();
        wanted.linked = false;
        wanted.marked = HashSet::new();
    }

    /// What changed since the last call: to add, to remove, and the change it stands for.
    fn take_marked(&self) -> (Vec<Topic>, Vec<Topic>, u64) {
        let mut wanted = self.wanted();
        let marked = std::mem::take(&mut wanted.marked);
        let (add, remove) = marked.into_iter().partition(|topic| wanted.topics.contains(topic));
        (add, remove, wanted.change)
    }

    /// Whether somebody had been told that one of these changes failed.
    fn confirm(&self, change: u64) -> bool {
        let mut wanted = self.wanted();
        self.confirmed.send_if_modified(|confirmed| std::mem::replace(confirmed, change.max(*confirmed)) < change);
        wanted.failed.take_if(|failed| *failed <= change).is_some()
    }
}

impl Listening {
    pub async fn run(self) {
        let mut backoff = Backoff::new();
        let mut link = self.rebuild(&mut backoff).await;
        let mut built = Instant::now();
        let mut replaced: Option<Instant> = None;
        loop {
            let lost = tokio::select! {
                () = link.closed() => true,
                () = self.vitals.moved() => true,
                () = self.desk.changed.notified() => self.catch_up(&link).await.is_err(),
                () = self.vitals.suspected() => {
                    if replaced.is_none_or(|at| at.elapsed() >= REPLACEMENTS_APART)
                        && let Some(other) = self.replacement().await
                    {
                        link = other;
                        replaced = Some(Instant::now());
                    }
                    false
                }
            };
            if lost {
                drop(link);
                self.vitals.deaf();
                if built.elapsed() < LINK_LASTS {
                    backoff.wait().await;
                } else {
                    backoff = Backoff::new();
                }
                link = self.rebuild(&mut backoff).await;
                built = Instant::now();
                self.outlet.disturb(Disturbance::Reconnected);
            }
        }
    }

    /// Brings the link into line with what changed.
    async fn catch_up(&self, link: &Link) -> Result<(), Error> {
        let (add, remove, change) = self.desk.take_marked();
        link.apply(&add, &remove).await.inspect_err(|error| warn!(%error, "subscribing failed; connecting anew"))?;
        self.confirm(change);
        Ok(())
    }

    /// A link in place of one that is gone, however long it takes.
    async fn rebuild(&self, backoff: &mut Backoff) -> Link {
        let mut complaint = Complaint::default();
        loop {
            self.desk.unlink();
            match self.build().await {
                Ok((link, change)) => {
                    self.switch_to(&link, change);
                    return link;
                }
                Err(error) if complaint.is_news(&error) => {
                    warn!(%error, "no connection to Redis to listen by; trying on");
                }
                Err(_) => {}
            }
            backoff.wait().await;
        }
    }

    /// A link beside one that is deaf though it looks alive. `None` when that failed, or the deaf one heard again.
    async fn replacement(&self) -> Option<Link> {
        let (link, change) = tokio::select! {
            built = self.build() => built.ok()?,
            () = self.vitals.hearing() => return None,
        };
        info!("probes went unheard; a new connection to Redis takes over");
        self.switch_to(&link, change);
        self.outlet.disturb(Disturbance::Replaced);
        Some(link)
    }

    async fn build(&self) -> Result<(Link, u64), Error> {
        let link = Link::open(&self.settings, &self.names, &self.ear).await?;
        let (topics, change) = self.desk.everything();
        link.apply(&topics, &[]).await?;
        Ok((link, change))
    }

    fn switch_to(&self, link: &Link, change: u64) {
        link.activate();
        self.confirm(change);
        self.vitals.switched();
        self.desk.changed.notify_one();
    }

    fn confirm(&self, change: u64) {
        if self.desk.confirm(change) {
            self.outlet.disturb(Disturbance::Resubscribed);
        }
    }
}
