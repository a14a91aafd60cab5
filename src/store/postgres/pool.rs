//! Connections: their options, their bounds in time, and what a driver's error means to a caller.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, PoolConfig, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts,
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::super::{Result, StoreError};
use super::servers::{ConnectError, Servers};
use crate::config;
use crate::error::Error;

pub type Param<'a> = &'a (dyn ToSql + Sync);

/// How much longer than the server's own `statement_timeout` an answer is waited for. A server that hangs (or whose
/// host does) breaks off nothing, and the kernel keeps acknowledging for it.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// A connection older than this is replaced: with it go plans that were made while a table was small, and after a
/// failover or a change of address the pool finds its way back.
const AGE_MAX: Duration = Duration::from_secs(10 * 60);

/// Options of every connection. All our statements look up few rows by index: a plan made once for each statement is
/// the right one, and statistics that are stale (an empty table that grew) must not turn it into scans.
const PLANNING: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off";

/// A moderation or append function looks again after its lock; that needs a snapshot for each statement, whatever the
/// server's default is.
const ISOLATION: &str = "-c default_transaction_isolation=read\\ committed";

/// What unique constraints are called to a caller.
const UNIQUE: &[(&str, &str)] = &[
    ("users_username", "username"),
    ("users_issuer", "issuer"),
    ("rooms_slug", "slug"),
    ("rooms_direct_pair", "direct room"),
    ("login_sessions_pkey", "login session"),
];

pub struct Pool {
    inner: deadpool::managed::Pool<Maker>,
    answer_timeout: Duration,
}

/// Makes connections, and says which can be used again.
struct Maker {
    servers: Servers,
    /// Connections of an earlier generation are not used again: their server had turned read-only.
    generation: AtomicU64,
}

struct Connection {
    client: ClientWrapper,
    generation: u64,
}

impl Pool {
    pub fn new(config: &config::Database) -> crate::error::Result<Self> {
        let servers = Servers::new(config, |connect| bound(connect, config))?;
        // Making is bounded by the servers themselves, who then say what went wrong, and looking again takes no time.
        let timeouts = Timeouts { wait: Some(Duration::from_millis(config.wait_timeout_ms)), ..Timeouts::default() };
        let inner = deadpool::managed::Pool::builder(Maker { servers, generation: AtomicU64::new(0) })
            // The one that was used last is warm: its plans are made, and its server process is in the processor's caches.
            .config(PoolConfig { timeouts, queue_mode: QueueMode::Lifo, ..PoolConfig::new(config.pool_size) })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Internal(format!("the pool of connections: {error}")))?;
        let answer_timeout = Duration::from_millis(config.statement_timeout_ms) + ANSWER_GRACE;
        Ok(Self { inner, answer_timeout })
    }

    /// One statement, prepared once a connection, in one round trip and in its own transaction.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let mut lease = self.lease().await?;
        let work = async {
            let statement = lease.connection().client.prepare_cached(sql).await?;
            lease.connection().client.query(&statement, params).await
        };
        match tokio::time::timeout(self.answer_timeout, work).await {
            Ok(Ok(rows)) => {
                lease.reusable();
                Ok(rows)
            }
            Ok(Err(error)) => {
                if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
                    self.leave(lease.generation());
                }
                let (outcome, reusable) = sort(&error);
                if reusable {
                    lease.reusable();
                }
                Err(outcome)
            }
            Err(_) => Err(StoreError::Unavailable("no answer in time".into())),
        }
    }

    /// [`Pool::query`] where at most the first row matters.
    pub async fn first(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// A connection that stays out of the pool.
    pub async fn connect(&self) -> Result<Client> {
        match self.inner.manager().servers.connect().await {
            Ok((client, _)) => Ok(client),
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }

    /// No connection there is now is used again: the server at their other end takes no writes any more, and what it
    /// answers may be behind the truth. New ones are made to a server that does.
    pub fn leave_server(&self) {
        self.leave(self.inner.manager().generation.load(Ordering::Relaxed));
    }

    fn leave(&self, generation: u64) {
        let current = &self.inner.manager().generation;
        // Of many calls that were refused at once, the first moves on; connections made since are good.
        if current.compare_exchange(generation, generation + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!("the database server turned read-only; looking for the one that takes writes");
            self.inner.retain(|connection, _| connection.generation > generation);
        }
    }

    async fn lease(&self) -> Result<Lease> {
        match self.inner.get().await {
            Ok(object) => Ok(Lease { object: Some(object), reusable: false }),
            Err(PoolError::Backend(error)) => Err(StoreError::Unavailable(error.to_string())),
            Err(PoolError::Timeout(_)) => Err(StoreError::Unavailable("no connection was free in time".into())),
            Err(error) => Err(StoreError::Unavailable(with_sources(&error))),
        }
    }
}

impl Manager for Maker {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> std::result::Result<Connection, ConnectError> {
        // Before the server is asked whether it takes writes.
        let generation = self.generation.load(Ordering::Relaxed);
        let (client, task) = self.servers.connect().await?;
        Ok(Connection { client: ClientWrapper::new(client, task), generation })
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<ConnectError> {
        let usable = !connection.client.is_closed()
            && connection.generation == self.generation.load(Ordering::Relaxed)
            && metrics.age() < AGE_MAX;
        if usable { Ok(()) } else { Err(RecycleError::message("not to be used again")) }
    }
}

/// A connection while a call uses it. Unless the call ended in a known state the connection is closed, also when the
/// caller went away in the middle: the next one must not wait behind a stranger's statement.
struct Lease {
    object: Option<Object<Maker>>,
    reusable: bool,
}

impl Lease {
    fn connection(&self) -> &Connection {
        self.object.as_ref().expect("a lease holds its connection until it is dropped")
    }

    fn generation(&self) -> u64 {
        self.connection().generation
    }

    fn reusable(&mut self) {
        self.reusable = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && !self.reusable
        {
            drop(Object::take(object));
        }
    }
}

/// Puts every bound on what the URL says; it cannot take them away, its own options aside.
fn bound(connect: &mut tokio_postgres::Config, config: &config::Database) {
    let (statement_ms, lock_ms) = (config.statement_timeout_ms, config.lock_timeout_ms);
    let idle_ms = statement_ms.max(1_000) * 2;
    let own = format!(
        "{PLANNING} {ISOLATION} -c statement_timeout={statement_ms} -c lock_timeout={lock_ms} \
         -c idle_in_transaction_session_timeout={idle_ms}"
    );
    // What the operator wrote into the URL comes last and so wins.
    let options = match connect.get_options() {
        Some(theirs) => format!("{own} {theirs}"),
        None => own,
    };
    connect
        .options(options)
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(5))
        .keepalives_interval(Duration::from_secs(2))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_millis(statement_ms) + ANSWER_GRACE);
}

/// What an error means to a caller, and whether its connection can serve the next one.
pub fn sort(error: &tokio_postgres::Error) -> (StoreError, bool) {
    let Some(code) = error.code() else {
        let cut_off = error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>());
        let why = with_sources(error);
        return if cut_off { (StoreError::Unavailable(why), false) } else { (StoreError::Internal(why), false) };
    };
    if *code == SqlState::UNIQUE_VIOLATION {
        let constraint = error.as_db_error().and_then(|db| db.constraint()).unwrap_or_default();
        if let Some((_, what)) = UNIQUE.iter().find(|(name, _)| *name == constraint) {
            return (StoreError::Taken(what), true);
        }
    }
    let why = || format!("{} ({})", with_sources(error), code.code());
    match code.code() {
        // Timed out, or lost against another transaction: rolled back, and the connection is well.
        "57014" | "55P03" | "40001" | "40P01" => (StoreError::Unavailable(why()), true),
        // A standby, or a statement prepared before a migration or behind somebody else's pooler: a new connection
        // will be better.
        "25006" | "0A000" | "26000" => (StoreError::Unavailable(why()), false),
        other if ["08", "53", "57", "58"].contains(&&other[..2]) => (StoreError::Unavailable(why()), false),
        _ => (StoreError::Internal(why()), true),
    }
}

/// The driver says "db error" and keeps what happened in the source.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    text
}
