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
pub mod ws;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use auth::{Passwords, Tokens};
use config::Config;
use error::{Error, Result};
use node::accounts::Accounts;
use node::{Node, Parts};
use presence::Incarnation;

/// What requests still under way after the drain are given to finish.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends at once.
///
/// Fails before anything is served when an address is taken, the configuration cannot be used, or another process has
/// the SQLite file. A database or Redis that cannot be reached is no failure: the node waits for it, unready.
pub async fn run(config: Config) -> Result<()> {
    let config = Arc::new(config);
    telemetry::init_metrics().map_err(Error::Internal)?;
    let public = bind("server.listen", &config.server.listen).await?;
    let admin = bind("admin.listen", &config.admin.listen).await?;
    let node = Node::start(parts(&config)?);

    let stop = CancellationToken::new();
    let serve = |listener, app| {
        let (config, stop) = (config.clone(), stop.clone());
        tokio::spawn(async move { http::server::serve(listener, app, &config.server, stop).await })
    };
    let servers =
        [serve(public, http::router(node.clone(), ws::router())), serve(admin, http::admin_router(node.clone()))];
    tokio::spawn(telemetry::run_upkeep());
    tokio::select! {
        () = announce(&node, &config) => until_told(&node, &config).await,
        () = until_told(&node, &config) => {}
    }
    stop.cancel();
    tokio::time::timeout(LAST_REQUESTS, futures_util::future::join_all(servers)).await.ok();
    node.leave_cluster().await;
    Ok(())
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
                .map_err(|error| Error::invalid("redis.url", error.to_string()))?;
            let presence = presence::redis::open(&config.redis, incarnation)
                .map_err(|error| Error::invalid("redis.url", error.to_string()))?;
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
async fn announce(node: &Node, config: &Config) {
    node.started().await;
    let address = match config.server.public_url.as_str() {
        url if url == config::Server::default().public_url => format!("http://{}", config.server.listen),
        url => url.to_owned(),
    };
    println!("salon is ready: open {address}");
}

/// Waits for the first signal and drains; gives up the wait, whatever is left, at the second one or when
/// `drain.timeout_s` is over.
async fn until_told(node: &Node, config: &Config) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; ending");
        return;
    };
    let by_terminal = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => true,
    };
    // Somebody at a terminal has no load balancer that must notice first.
    let delay = Duration::from_secs(if by_terminal { 0 } else { config.drain.delay_s });
    let timeout = Duration::from_secs(config.drain.timeout_s).max(delay);
    tracing::info!(delay_s = delay.as_secs(), timeout_s = timeout.as_secs(), "draining");
    let drained = async {
        node.begin_drain();
        tokio::time::sleep(delay).await;
        node.drain(timeout - delay).await;
    };
    tokio::select! {
        _ = tokio::time::timeout(timeout, drained) => tracing::info!("drained"),
        () = again(&mut terminate, &mut interrupt) => tracing::warn!("told again: not waiting any longer"),
    }
}

async fn again(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "salon".to_owned() } else { name.trim().to_owned() }
}
