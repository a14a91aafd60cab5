//! Connections: their options, their bounds in time, and what a driver's error means to a caller.

use std::error::Error as _;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, PoolConfig, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

use super::super::{Result, StoreError};
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
    inner: deadpool_postgres::Pool,
    connect: tokio_postgres::Config,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

impl Pool {
    pub fn new(config: &config::Database) -> crate::error::Result<Self> {
        let connect = connection(config, config.statement_timeout_ms, config.lock_timeout_ms)?;
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let manager =
            Manager::from_config(connect.clone(), NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let timeouts = Timeouts {
            wait: Some(Duration::from_millis(config.wait_timeout_ms)),
            create: Some(connect_timeout),
            recycle: Some(connect_timeout),
        };
        let inner =
            deadpool_postgres::Pool::builder(manager)
                .config(PoolConfig { timeouts, ..PoolConfig::new(config.pool_size) })
                .pre_recycle(Hook::sync_fn(|_, metrics| {
                    if metrics.age() < AGE_MAX { Ok(()) } else { Err(HookError::message("old")) }
                }))
                .runtime(Runtime::Tokio1)
                .build()
                .map_err(|error| Error::Internal(format!("the pool of connections: {error}")))?;
        let answer_timeout = Duration::from_millis(config.statement_timeout_ms) + ANSWER_GRACE;
        Ok(Self { inner, connect, connect_timeout, answer_timeout })
    }

    /// One statement, prepared once a connection, in one round trip and in its own transaction.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let mut lease = self.lease().await?;
        let work = async {
            let statement = lease.object().prepare_cached(sql).await?;
            lease.object().query(&statement, params).await
        };
        match tokio::time::timeout(self.answer_timeout, work).await {
            Ok(Ok(rows)) => {
                lease.reusable();
                Ok(rows)
            }
            Ok(Err(error)) => {
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

    /// How to make a connection that stays out of the pool, and how long that may take.
    pub fn connect_options(&self) -> (&tokio_postgres::Config, Duration) {
        (&self.connect, self.connect_timeout)
    }

    async fn lease(&self) -> Result<Lease> {
        match self.inner.get().await {
            Ok(object) => Ok(Lease { object: Some(object), reusable: false }),
            Err(error) => Err(StoreError::Unavailable(with_sources(&error))),
        }
    }
}

/// A connection while a call uses it. Unless the call ended in a known state the connection is closed, also when the
/// caller went away in the middle: the next one must not wait behind a stranger's statement.
struct Lease {
    object: Option<Object>,
    reusable: bool,
}

impl Lease {
    fn object(&self) -> &Object {
        self.object.as_ref().expect("a lease holds its connection until it is dropped")
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

/// The configured URL with every bound set. Timeouts are in milliseconds, 0 is none.
pub fn connection(
    config: &config::Database,
    statement_ms: u64,
    lock_ms: u64,
) -> crate::error::Result<tokio_postgres::Config> {
    let mut connect: tokio_postgres::Config = config
        .url
        .parse()
        .map_err(|error: tokio_postgres::Error| Error::invalid("database.url", with_sources(&error)))?;
    if connect.get_ssl_mode() == SslMode::Require {
        return Err(Error::invalid("database.url", "asks for TLS, which this build has none of for Postgres"));
    }
    if connect.get_application_name().is_none() {
        connect.application_name("salon");
    }
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
        .tcp_user_timeout(Duration::from_millis(config.statement_timeout_ms) + ANSWER_GRACE)
        // The truth is on the primary only; with several hosts in the URL this finds it again after a failover.
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    Ok(connect)
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
