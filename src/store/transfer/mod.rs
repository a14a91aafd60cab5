//! All that is kept, as records: read out of one database in one snapshot, written into another that is empty. Login
//! sessions, nodes and what is made of messages (words) stay behind, and so do deleted rooms.

mod records;
mod walk;

use std::collections::HashMap;

use async_trait::async_trait;

use super::{Result, StoreError, postgres, sqlite};
use crate::config::{self, DatabaseUrl};
use crate::error::Error;
use crate::model::{Seq, Slug};

pub use records::*;
pub(super) use walk::{After, PAGE_ROWS, Part, Walk};

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub records: u64,
    /// The highest ids that were ever given, so that none is given again.
    pub last_user: i64,
    pub last_room: i64,
}

/// How far an import came: records taken, and what their lines are known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub lines: u64,
    pub digest: Vec<u8>,
    pub finished: bool,
}

/// One snapshot of a database that may be in use, read in order and in bounded pages.
#[async_trait]
pub trait Dump: Send {
    fn extent(&self) -> Extent;
    /// The next records; none: that was all.
    async fn next(&mut self) -> Result<Vec<Record>, StoreError>;
}

/// A database that is filled, and that nobody else uses meanwhile.
#[async_trait]
pub trait Load: Send {
    /// What an import before has taken; `None`: the database is empty.
    async fn begun(&mut self) -> Result<Option<Taken>, LoadError>;
    /// Stores records, and how far that is, in one transaction.
    async fn put(&mut self, records: &[Record], taken: &Taken) -> Result<(), LoadError>;
    /// Moves the ids on beyond those that were ever given. To be called before the last [`Load::put`], and again after
    /// it was cut off.
    async fn move_ids(&mut self, extent: &Extent) -> Result<(), LoadError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Of one of the records.
    #[error("{0}")]
    Wrong(String),
    /// The database cannot take an import, and why.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens a snapshot: of everything, or of these rooms and the users who have to do with them. Beside nodes that run.
pub async fn dump(config: &config::Database, rooms: Option<&[Slug]>) -> crate::error::Result<Box<dyn Dump>> {
    match config.parsed_url() {
        Ok(DatabaseUrl::Postgres(_)) => postgres::dump(config, rooms).await,
        Ok(DatabaseUrl::Sqlite(path)) => sqlite::dump(&path, config, rooms),
        Err(why) => Err(Error::invalid("database.url", why)),
    }
}

/// Opens a database to fill it, brings its schema up to date (unless `database.migrate` is off) and keeps nodes off it
/// for as long as this value lives.
pub async fn load(config: &config::Database) -> Result<Box<dyn Load>, LoadError> {
    match config.parsed_url() {
        Ok(DatabaseUrl::Postgres(_)) => postgres::load(config).await,
        Ok(DatabaseUrl::Sqlite(path)) => sqlite::load(&path, config),
        Err(why) => Err(LoadError::Refused(format!("database.url: {why}"))),
    }
}

/// Why a node must not use a database yet.
pub(super) const UNFINISHED: &str = "an import into this database is not finished: run `salon import` again with the same file, or make the database anew";

pub(super) fn no_such_room(slug: &Slug) -> Error {
    Error::NotFound(format!("there is no room {slug}"))
}

pub(super) fn not_empty() -> LoadError {
    LoadError::Refused("the database is not empty: an import needs one without users and rooms".to_owned())
}

/// What records name and is not there, in words; `rooms` are those that are, with their clocks.
pub(super) fn missing<'a>(
    records: impl Iterator<Item = &'a Record>,
    users: &dyn Fn(i64) -> bool,
    rooms: &HashMap<i64, Seq>,
) -> Result<(), LoadError> {
    for record in records {
        if let Some(user) = record.users().into_iter().find(|user| !users(*user)) {
            return Err(LoadError::Wrong(format!("there is no user {user} before it")));
        }
        let Some((room, seq)) = record.room() else { continue };
        match rooms.get(&room) {
            None => return Err(LoadError::Wrong(format!("there is no room {room} before it"))),
            Some(head) if seq > *head => {
                return Err(LoadError::Wrong(format!("{seq} is beyond the clock of room {room}, which is at {head}")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
