//! The presence of many nodes: Redis sets, one per room and incarnation, and one sorted set of leases.
//!
//! Only Redis' own clock decides which lease lives. The connection is made when it is needed and dropped at the first
//! failure; it is not the publisher's, so that the pages of a sweep do not delay hints.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::{KeysInterface, LuaInterface, SetsInterface, SortedSetsInterface};
use fred::types::Value;
use tokio::sync::Mutex;

use super::{Incarnation, LEASE, Lease, Online, Presence, PresenceError, Result, SET_LIFE};
use crate::config;
use crate::model::{RoomId, Username};
use crate::redis::{Connection, Names, Settings, SetupError, timed_out};

/// Commands in one pipeline, and with that what one timeout covers.
const PIPELINE: usize = 1_000;

/// Renews the lease ARGV[1] in KEYS[1] for ARGV[2] ms: whether it was alive, then all that are.
///
/// Sent whole each time: it is short, Redis keeps it compiled, and no flush or restart can lose it.
const RENEW: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local alive = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return {alive and 1 or 0, redis.call('ZRANGE', KEYS[1], 0, -1)}
";

/// The incarnations in KEYS[1] whose lease lives.
const LIVE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
";

type Answer<T> = std::result::Result<T, Error>;

struct RedisPresence {
    settings: Settings,
    names: Names,
    incarnation: Incarnation,
    connection: Mutex<Option<Arc<Connection>>>,
    /// There was a lease, as far as is known.
    renewed: AtomicBool,
    /// A renewal failed: whether it reached Redis, and found the lease gone, is open.
    in_doubt: AtomicBool,
}

/// One command of a pipeline.
enum Command {
    Add(String, Vec<String>),
    Expire(String),
    Remove(String, Vec<String>),
    Members(String),
    Delete(String),
}

/// Presence for one incarnation of a node. Does not wait for Redis, nor fail without it: the calls do.
///
/// # Errors
/// Only for a malformed `redis.url` or `redis.prefix`.
pub fn open(redis: &config::Redis, incarnation: Incarnation) -> Result<Arc<dyn Presence>> {
    Ok(Arc::new(RedisPresence {
        settings: Settings::new(redis)?,
        names: Names::new(redis, &incarnation.0)?,
        incarnation,
        connection: Mutex::new(None),
        renewed: AtomicBool::new(false),
        in_doubt: AtomicBool::new(false),
    }))
}

impl RedisPresence {
    /// The connection there is, or a new one.
    async fn connection(&self) -> Answer<Arc<Connection>> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.settings.connect().await?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Drops the connection after a failure, unless another call has made a new one already.
    async fn forget(&self, failed: &Arc<Connection>) {
        let mut slot = self.connection.lock().await;
        if slot.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, failed)) {
            *slot = None;
        }
    }

    /// Runs `work` on a connection, which is dropped if it fails. Bounded by `redis.command_timeout_ms`, connecting
    /// included.
    async fn ask<T, F>(&self, work: impl FnOnce(Arc<Connection>) -> F + Send) -> Answer<T>
    where
        F: Future<Output = Answer<T>> + Send,
    {
        let mut used = None;
        let answer = tokio::time::timeout(self.settings.timeout(), async {
            let connection = self.connection().await?;
            work(Arc::clone(used.insert(connection))).await
        })
        .await
        .unwrap_or_else(|_| Err(timed_out()));
        if let (Err(_), Some(used)) = (&answer, &used) {
            self.forget(used).await;
        }
        answer
    }

    /// All answers in order. Each pipeline is bounded in time by itself, so that a call fails soon when Redis does
    /// not answer, and still may have any number of entries.
    async fn pipelined(&self, commands: Vec<Command>) -> Answer<Vec<Value>> {
        let mut answers = Vec::with_capacity(commands.len());
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let chunk: Vec<Command> = commands.by_ref().take(PIPELINE).collect();
            let part = self.ask(|connection| async move {
                let pipeline = connection.client().pipeline();
                for command in chunk {
                    command.put(&pipeline).await?;
                }
                pipeline.all::<Vec<Value>>().await
            });
            answers.extend(part.await?);
        }
        Ok(answers)
    }

    /// The incarnations whose lease lives now.
    async fn live(&self) -> Answer<Vec<String>> {
        let leases = self.names.leases();
        self.ask(|connection| async move { connection.client().eval(LIVE, leases, Value::Array(Vec::new())).await })
            .await
    }

    /// This incarnation's sets, and what to put into or take out of each.
    fn by_set(&self, entries: &[(RoomId, Username)]) -> HashMap<String, Vec<String>> {
        let mut sets: HashMap<RoomId, Vec<String>> = HashMap::new();
        for (room, user) in entries {
            sets.entry(*room).or_default().push(user.as_str().to_owned());
        }
        sets.into_iter().map(|(room, users)| (self.names.online(room, &self.incarnation.0), users)).collect()
    }
}

impl Command {
    /// Returns at once: it goes into the pipeline.
    async fn put(self, pipeline: &Pipeline<Client>) -> Answer<()> {
        let _: Value = match self {
            Self::Add(key, members) => pipeline.sadd(key, members).await?,
            Self::Expire(key) => {
                pipeline.expire(key, i64::try_from(SET_LIFE.as_secs()).unwrap_or(i64::MAX), None).await?
            }
            Self::Remove(key, members) => pipeline.srem(key, members).await?,
            Self::Members(key) => pipeline.smembers(key).await?,
            Self::Delete(key) => pipeline.unlink(key).await?,
        };
        Ok(())
    }
}

#[async_trait]
impl Presence for RedisPresence {
    fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    async fn enter(&self, entries: &[(RoomId, Username)]) -> Result<()> {
        let commands = self.by_set(entries).into_iter();
        let commands = commands.flat_map(|(key, users)| [Command::Add(key.clone(), users), Command::Expire(key)]);
        self.pipelined(commands.collect()).await?;
        Ok(())
    }

    async fn leave(&self, entries: &[(RoomId, Username)]) -> Result<()> {
        let commands = self.by_set(entries).into_iter();
        self.pipelined(commands.map(|(key, users)| Command::Remove(key, users)).collect()).await?;
        Ok(())
    }

    async fn renew(&self) -> Result<Lease> {
        let (leases, own) = (self.names.leases(), self.incarnation.0.clone());
        let lease_ms = LEASE.as_millis().to_string();
        let answer: Answer<(i64, Vec<String>)> = self
            .ask(|connection| async move { connection.client().eval(RENEW, leases, vec![own, lease_ms]).await })
            .await;
        let (alive, live) = answer.inspect_err(|_| self.in_doubt.store(true, Ordering::SeqCst))?;
        let in_doubt = self.in_doubt.swap(false, Ordering::SeqCst);
        let renewed = self.renewed.swap(true, Ordering::SeqCst);
        Ok(Lease { live: live.into_iter().map(Incarnation).collect(), lost: renewed && (in_doubt || alive == 0) })
    }

    async fn online(&self, rooms: &[RoomId]) -> Result<Vec<Online>> {
        let live = self.live().await?;
        let mut commands = Vec::with_capacity(rooms.len() * live.len());
        for room in rooms {
            commands.extend(live.iter().map(|incarnation| Command::Members(self.names.online(*room, incarnation))));
        }
        let mut answers = self.pipelined(commands).await?.into_iter();
        let mut online = Vec::with_capacity(rooms.len());
        for _ in rooms {
            let mut room = Online::new();
            for (incarnation, users) in live.iter().zip(answers.by_ref().take(live.len())) {
                let users: Vec<String> = users.convert()?;
                if !users.is_empty() {
                    let users = users.into_iter().map(Username::from_stored).collect();
                    room.insert(Incarnation(incarnation.clone()), users);
                }
            }
            online.push(room);
        }
        Ok(online)
    }

    async fn resign(&self, rooms: &[RoomId]) -> Result<()> {
        let (leases, own) = (self.names.leases(), self.incarnation.0.clone());
        // The lease first: without it the sets count no more, even if the rest fails.
        self.ask(|connection| async move { connection.client().zrem::<Value, _, _>(leases, own).await }).await?;
        self.renewed.store(false, Ordering::SeqCst);
        let sets = rooms.iter().map(|room| Command::Delete(self.names.online(*room, &self.incarnation.0)));
        self.pipelined(sets.collect()).await?;
        Ok(())
    }
}

impl From<SetupError> for PresenceError {
    fn from(error: SetupError) -> Self {
        Self(error.to_string())
    }
}

impl From<Error> for PresenceError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}
