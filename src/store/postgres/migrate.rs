//! Bringing the schema up to date, one node at a time.

use std::time::Duration;

use tokio_postgres::Client;

use super::super::transfer::UNFINISHED;
use super::super::{Result, StoreError};
use super::pool::{Pool, sort, with_sources};

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// Any number that no other program on this database uses for an advisory lock.
const LOCK: i64 = 0x5341_4c4f_4e00_0001;

/// Long enough for an index on a large table, and for the node before us to make it.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// [`StoreError::Unavailable`] also while the database is not all there yet, for an import was cut off.
pub async fn migrate(pool: &Pool) -> Result<()> {
    tokio::time::timeout(TIMEOUT, locked(pool))
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the migration took too long".into())))
}

/// Refinery takes no lock of its own, and two nodes that start at once would both create the tables. The lock belongs
/// to this one connection, so it is free again however we end.
async fn locked(pool: &Pool) -> Result<()> {
    let mut client = pool.connect().await?;
    prepare(&client).await?;
    client.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")).await.map_err(|error| sort(&error).0)?;
    run(&mut client).await?;
    let sql = "SELECT FROM imports WHERE NOT finished";
    match client.query_opt(sql, &[]).await.map_err(|error| sort(&error).0)? {
        None => Ok(()),
        Some(_) => Err(StoreError::Unavailable(UNFINISHED.into())),
    }
}

/// Takes the same lock for as long as the connection lives, without waiting for it; `false`: somebody has it.
pub async fn try_lock(client: &Client) -> Result<bool> {
    prepare(client).await?;
    let row = client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await.map_err(|error| sort(&error).0)?;
    super::rows::get(&row, 0)
}

/// To be called by who holds the lock.
pub async fn run(client: &mut Client) -> Result<()> {
    // A database that is ahead of us was migrated by a newer node: while nodes are replaced one by one both run.
    let runner = embedded::migrations::runner().set_abort_missing(false);
    match runner.run_async(client).await {
        Ok(_) => Ok(()),
        Err(error) if client.is_closed() => Err(StoreError::Unavailable(with_sources(&error))),
        Err(error) => Err(StoreError::Internal(with_sources(&error))),
    }
}

async fn prepare(client: &Client) -> Result<()> {
    let timeouts = format!(
        "SET statement_timeout = {0}; SET lock_timeout = {0}; SET idle_in_transaction_session_timeout = 0;
         SET enable_seqscan = on",
        TIMEOUT.as_millis()
    );
    client.batch_execute(&timeouts).await.map_err(|error| sort(&error).0)
}
