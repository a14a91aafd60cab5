//! The use cases: what a user can do, over the three seams (store, broker, presence). Knows neither HTTP nor
//! WebSocket nor any driver.

mod access;
mod administration;
mod appender;
mod beacon;
mod catch_up;
mod close;
mod counts;
mod directs;
mod drain;
mod events;
mod gather;
mod health;
mod hub;
pub mod invites;
mod join;
mod login_sessions;
mod marks;
mod members;
mod messages;
mod metrics;
mod online;
mod people;
mod recent;
mod retention;
mod revoked;
mod room;
pub mod rooms;
mod search;
mod session;
#[cfg(test)]
mod simulation;
mod unread;
mod view;
mod wished_name;

pub mod accounts;
// Pure parts, open to measurements too (benches/).
pub mod gate;
pub mod limits;
pub mod queue;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

pub use administration::NodeState;
pub use close::Close;
pub use health::Readiness;
pub use hub::Hub;
pub use messages::{Draft, Told};
pub use search::Piece;
pub use session::{Proof, Session, Work};

use accounts::Accounts;
use appender::Appender;
use drain::Going;
use gather::Gather;
use health::Health;
use limits::{Buckets, Requester};
use marks::Marks;
use messages::Delivering;
use metrics::Metrics;
use online::Comings;
use revoked::Revocations;
use search::Words;
use unread::Watch;

use crate::broker::{Broker, Event};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::{RoomInfo, RoomRef, UserId};
use crate::presence::{Incarnation, Presence};
use crate::store::{Refusal, Store, StoreError};
use crate::telemetry::Complaint;

/// Users whose send rate is remembered at once.
const RATED_USERS_MAX: usize = 100_000;
/// Between two tries to bring a database up to date that cannot be reached.
const MIGRATE_RETRY: Duration = Duration::from_secs(1);

/// One gateway.
pub struct Node {
    pub config: Arc<Config>,
    pub name: String,
    pub incarnation: Incarnation,
    pub store: Arc<dyn Store>,
    pub accounts: Accounts,
    pub hub: Hub,
    broker: Arc<dyn Broker>,
    presence: Arc<dyn Presence>,
    appender: Arc<Appender>,
    /// Who enters which room.
    enters: Arc<Gather<(UserId, RoomRef), Result<RoomInfo, Refusal>>>,
    comings: Comings,
    revocations: Revocations,
    marks: Marks,
    watch: Watch,
    words: Words,
    health: Health,
    message_rate: Buckets<UserId>,
    request_rate: Buckets<Requester>,
    metrics: Arc<Metrics>,
    beacon_now: Notify,
    begun: watch::Sender<bool>,
    going: Going,
}

/// What a node stands on.
pub struct Parts {
    pub config: Arc<Config>,
    pub name: String,
    pub store: Arc<dyn Store>,
    pub broker: Arc<dyn Broker>,
    pub events: mpsc::Receiver<Event>,
    pub presence: Arc<dyn Presence>,
    pub accounts: Accounts,
}

impl Node {
    /// Builds the node and starts what runs beside the sockets. It is `starting` until the database was reached.
    pub fn start(parts: Parts) -> Arc<Self> {
        let Parts { config, name, store, broker, events, presence, accounts } = parts;
        let metrics = Arc::new(Metrics::new());
        let limits = &config.limits;
        let node = Arc::new(Self {
            name,
            incarnation: presence.incarnation().clone(),
            accounts,
            hub: Hub::new(&config),
            appender: Arc::new(Appender::new(store.clone(), &config.node, metrics.clone())),
            enters: {
                let store = store.clone();
                Gather::new(move |pairs| {
                    let store = store.clone();
                    async move { store.enter(&pairs).await }
                })
            },
            comings: Comings::default(),
            revocations: Revocations::default(),
            marks: Marks::default(),
            watch: Watch::default(),
            words: Words::default(),
            health: Health::default(),
            message_rate: Buckets::new(f64::from(limits.messages_per_s), limits.message_burst, RATED_USERS_MAX),
            request_rate: Buckets::new(
                f64::from(limits.requests_per_s),
                limits.request_burst,
                config.node.limiter_entries,
            ),
            metrics,
            beacon_now: Notify::new(),
            begun: watch::Sender::new(false),
            going: Going::default(),
            store,
            broker,
            presence,
            config,
        });
        node.appender.start(node.config.node.append_workers, &Arc::new(Delivering(node.clone())));
        tokio::spawn(node.clone().dispatch(events));
        node.run_beside(node.clone().begin());
        node
    }

    pub fn readiness(&self) -> Readiness {
        self.health.readiness()
    }

    /// Counts one HTTP request; [`Error::RateLimited`] when there were too many.
    pub fn count_request(&self, who: Requester) -> Result<()> {
        self.request_rate.take(who).map_err(|retry_after| Error::RateLimited {
            what: format!("at most {} requests a second", self.config.limits.requests_per_s),
            retry_after,
        })
    }

    /// Returns once the node serves.
    pub async fn started(&self) {
        self.begun.subscribe().wait_for(|begun| *begun).await.ok();
    }

    /// Brings the database up to date, however long it takes to be reached, and starts serving.
    async fn begin(self: Arc<Self>) {
        let mut complaint = Complaint::default();
        loop {
            let ready = async {
                if self.config.database.migrate {
                    self.store.migrate().await?;
                }
                self.store.ping().await
            };
            match ready.await {
                Ok(()) => break,
                Err(StoreError::Unavailable(why)) if complaint.is_news(&why) => {
                    tracing::warn!(why, "the database cannot be used; trying again");
                }
                Err(StoreError::Unavailable(_)) => {}
                Err(error) if complaint.is_news(&error) => {
                    tracing::error!(%error, "the database could not be brought up to date; trying again");
                }
                Err(_) => {}
            }
            tokio::time::sleep(MIGRATE_RETRY).await;
        }
        self.warn_of_risks().await;
        self.start_presence();
        self.run_beside(self.clone().beacon());
        self.run_beside(self.clone().gather_marks());
        self.run_beside(self.clone().watch_unread());
        self.run_beside(self.clone().gather_words());
        self.run_beside(self.clone().follow_people());
        self.run_beside(self.clone().keep_to_retention());
        self.health.started();
        self.begun.send_replace(true);
        tracing::info!(node = self.name, incarnation = self.incarnation.0, "the node serves");
    }

    async fn warn_of_risks(&self) {
        let risks = self.store.durability_risks().await.unwrap_or_default();
        ::metrics::gauge!(crate::telemetry::metric::DATABASE_NOT_DURABLE).set(risks.len() as f64);
        for risk in risks {
            tracing::warn!(%risk, "ACKNOWLEDGED MESSAGES CAN BE LOST: the database does not make commits durable");
        }
    }
}
