//! salon: a horizontally scalable chat cluster. [`run`] is the only place that names backends and transports together.
#![forbid(unsafe_code)]

pub mod auth;
pub mod broker;
pub mod config;
pub mod engine;
pub mod error;
pub mod failpoints;
pub mod http;
pub mod model;
pub mod node;
pub mod presence;
pub mod protocol;
pub mod redis;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod transfer;
pub mod ws;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use auth::{Passwords, Tokens};
use config::Config;
use error::{Error, Result};
use http::server::Ending;
use node::accounts::Accounts;
use node::{Node, Parts};
use presence::Incarnation;

/// Kept of `drain.timeout_s` for leaving the cluster, or a tenth of it where that is less.
const LEAVE: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends at once.
///
/// Fails before anything is served when an address is taken, the configuration cannot be used, or another process has
/// the SQLite file. A database or Redis that cannot be reached is no failure: the node waits for it, unready.
pub async fn run(config: Config) -> Result<()> {
    // Heard from here on, so that a node that is told to go while it starts does.
    let mut signals = Signals::listen()?;
    let config = Arc::new(config);
    telemetry::init_metrics().map_err(Error::Internal)?;
    let public = bind("server.listen", &config.server.listen).await?;
    let admin = bind("admin.listen", &config.admin.listen).await?;
    let node = Node::start(parts(&config)?);

    let ending = Ending::default();
    let serve = |listener, app| {
        let (config, ending) = (config.clone(), ending.clone());
        tokio::spawn(
            async move { http::server::serve(listener, app, &config.server, silence(&config.node), ending).await },
        )
    };
    let servers =
        [serve(public, http::router(node.clone(), ws::router())), serve(admin, http::admin_router(node.clone()))];
    tokio::spawn(telemetry::run_upkeep());
    tokio::spawn(announce(node.clone(), config.clone()));

    let by_terminal = signals.next().await == SignalKind::interrupt();
    // Somebody at a terminal has no load balancer that must notice first, and a node that is starting was sent nobody.
    let delay = Duration::from_secs(if by_terminal || !node.has_started() { 0 } else { config.drain.delay_s });
    let timeout = Duration::from_secs(config.drain.timeout_s);
    tracing::info!(delay_s = delay.as_secs(), timeout_s = timeout.as_secs(), "draining");
    let drained = tokio::time::timeout(timeout, drain(&node, delay, timeout, &ending, servers));
    tokio::select! {
        drained = drained => match drained {
            Ok(()) => tracing::info!("drained"),
            Err(_) => tracing::warn!("not drained in time: not waiting any longer"),
        },
        _ = signals.next() => tracing::warn!("told again: not waiting any longer"),
    }
    Ok(())
}

/// After this long without a sign of life a connection is dead, whoever is on it: a little more than a reader may stall.
fn silence(config: &config::Node) -> Duration {
    Duration::from_secs(config.stall_timeout_s + config.heartbeat_s)
}

/// Goes without losing anything, in the order in which others notice.
async fn drain(node: &Arc<Node>, delay: Duration, timeout: Duration, ending: &Ending, servers: [JoinHandle<()>; 2]) {
    let began = Instant::now();
    node.begin_drain();
    ending.near.cancel();
    tokio::time::sleep(delay).await;
    node.move_sockets(timeout.saturating_sub(delay)).await;
    ending.here.cancel();
    // Requests under way are finished while the leaves of the last sockets wait out their grace.
    let left = timeout.saturating_sub(began.elapsed() + LEAVE.min(timeout / 10));
    let last = futures_util::future::join(futures_util::future::join_all(servers), node.leaves_told());
    if tokio::time::timeout(left, last).await.is_err() {
        tracing::warn!("requests or leaves are still under way; not waiting for them");
    }
    node.leave_cluster().await;
}

/// Store, broker and presence as the configuration says, and what stands on them.
fn parts(config: &Arc<Config>) -> Result<Parts> {
    let refused = |error: config::ConfigError| Error::invalid("configuration", error.to_string());
    let secret = auth::secret::resolve(config).map_err(refused)?;
    let tokens = Tokens::new(&config.auth, &secret).map_err(refused)?;
    let store = store::open(&config.database)?;
    let passwords = Passwords::new(config.limits.password_threads, config.limits.password_queue)
        .map_err(|error| Error::Internal(format!("threads for passwords: {error}")))?;
    let accounts = Accounts::new(store.clone(), passwords, tokens, &config.limits, &config.node);
    let incarnation = Incarnation(format!("{:032x}", rand::random::<u128>()));
    let (broker, events, presence) = match &config.redis.url {
        None => {
            let (broker, events) = broker::memory::Bus::new().open(config.redis.event_queue);
            (broker, events, presence::memory::Registry::new().open(incarnation))
        }
        Some(_) => {
            let (broker, events) = broker::redis::open(&config.redis, &incarnation.0)
                .map_err(|error| Error::invalid("configuration", error.to_string()))?;
            let presence = presence::redis::open(&config.redis, incarnation)
                .map_err(|error| Error::invalid("configuration", error.to_string()))?;
            (broker, events, presence)
        }
    };
    let name = config.node.name.clone().unwrap_or_else(host_name);
    Ok(Parts { config: config.clone(), name, store, broker, events, presence, accounts })
}

async fn bind(key: &str, address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| Error::Unavailable(format!("{key}: {address}: {error}")))
}

/// Says where to go, once there is something there.
async fn announce(node: Arc<Node>, config: Arc<Config>) {
    node.started().await;
    let address = match config.server.public_url.as_str() {
        url if url == config::Server::default().public_url => format!("http://{}", config.server.listen),
        url => url.to_owned(),
    };
    println!("salon is ready: open {address}");
}

/// The signals that ask a process to go.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let heard = |kind| signal(kind).map_err(|error| Error::Internal(format!("signals cannot be heard: {error}")));
        Ok(Self { terminate: heard(SignalKind::terminate())?, interrupt: heard(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "salon".to_owned() } else { name.trim().to_owned() }
}
