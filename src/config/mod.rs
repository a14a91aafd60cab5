//! Every key of the configuration: its name, unit and default. `load` puts default < file < `SALON_*` environment
//! together, `check` holds every bound, `show` prints what is in force.

mod check;
mod load;
mod show;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use check::SECRET_BYTES_MIN;
pub use load::{ConfigError, Problem};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub database: Database,
    pub redis: Redis,
    pub auth: Auth,
    pub rooms: Rooms,
    pub retention: Retention,
    pub limits: Limits,
    pub node: Node,
    pub drain: Drain,
    pub log: Log,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where browsers and programs come in.
    pub listen: String,
    /// The origin people type. Decides whether cookies are `Secure`; absent: plain http at `listen`.
    pub public_url: String,
    /// Further origins whose pages may open sockets and call the API.
    pub allowed_origins: Vec<String>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// A connection that has not sent its request head within this time is closed.
    pub header_timeout_s: u64,
    /// A request that is not answered within this time is answered `unavailable`.
    pub request_timeout_s: u64,
    /// Connections open at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Metrics and probes, for operators only.
    pub listen: String,
}

/// Where the truth is kept, as `database.url` names it.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    Postgres(String),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://user:password@host:port/name`; Postgres: several hosts with commas between.
    pub url: String,
    /// Whether a start brings the schema up to date.
    pub migrate: bool,
    /// Connections to Postgres.
    pub pool_size: usize,
    /// How long a call may wait for a free connection, a new one, and its answer.
    pub wait_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub statement_timeout_ms: u64,
    /// How long an append waits for a room's clock held by another node.
    pub lock_timeout_ms: u64,
    /// Postgres: the text search configuration by which messages are searched.
    pub search_configuration: String,
    /// SQLite: threads that read, beside the one that writes.
    pub readers: usize,
    /// SQLite: calls waiting for the writing thread, and for the reading ones.
    pub queue: usize,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// `redis://`, `rediss://`, `redis-sentinel://`, `redis-cluster://`; absent: one node, in-process broker.
    pub url: Option<String>,
    /// PEM: the authorities trusted over TLS, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// First part of every key and channel, so that several clusters can share one Redis.
    pub prefix: String,
    /// How long a command may take.
    pub command_timeout_ms: u64,
    /// Hints waiting to be published; further ones are dropped and counted.
    pub publish_queue: usize,
    /// Payloads read from Redis and not yet looked at; when full, the oldest are dropped and heads are compared.
    pub receive_queue: usize,
    /// Events waiting for the node; when full, further ones are dropped and heads are compared.
    pub event_queue: usize,
    /// How often the node probes that it hears itself.
    pub probe_interval_ms: u64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// At least 32 bytes; signs salon's own access tokens. The same on every node.
    pub secret: Option<String>,
    /// Holds the secret instead; a line break at its end is no part of it.
    pub secret_file: Option<PathBuf>,
    /// Still accepted while you rotate.
    pub previous_secret: Option<String>,
    pub issuers: Vec<Issuer>,
}

/// An issuer of the operator's own whose JWTs are accepted.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// For logs, and part of who its users are.
    pub name: String,
    /// `HS256`, `RS256`, `ES256` or `EdDSA`; no other is accepted with this key.
    pub algorithm: String,
    /// HS256: the UTF-8 bytes of the secret; else a public key in PEM.
    #[serde(default)]
    pub key: Option<String>,
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// When given, `iss` must be there and equal.
    #[serde(default)]
    pub issuer: Option<String>,
    /// When given, `aud` must be there and hold it.
    #[serde(default)]
    pub audience: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// Whether `/ws/chat/{room}/` makes an absent room.
    pub auto_create: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days after which messages are removed, in every room; 0: never, but in rooms whose owners want it so.
    pub messages_days: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub messages_per_s: u32,
    pub message_burst: u32,
    pub sockets_per_user: usize,
    /// Of one client address, an IPv6 one by its /64: whatever users they are of.
    pub sockets_per_address: usize,
    /// Over it new ones are refused, for another node to take; below `server.connections_max`, or nothing else gets in.
    pub sockets_per_node: usize,
    pub rooms_per_socket: usize,
    /// Frames a socket may say in one second, of whatever kind; a socket over it is closed with 4029.
    pub frames_per_s: u32,
    /// HTTP requests of one user, upgrades too; and refreshes from one address.
    pub requests_per_s: u32,
    pub request_burst: u32,
    pub content_chars: usize,
    /// A WebSocket frame and an HTTP body.
    pub frame_bytes: usize,
    /// Room frames waiting for one reader; over it the reader is caught up from the store instead.
    pub queue_bytes: usize,
    pub registrations_per_minute_address: u32,
    pub logins_per_minute_address: u32,
    pub logins_per_minute_account: u32,
    /// Passwords being hashed at once, and how many may wait for it; each hash takes 19 MiB.
    pub password_threads: usize,
    pub password_queue: usize,
}

/// Inner bounds of a node; the defaults suit almost everybody.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Shown in `welcome` and to operators; absent: the host's name.
    pub name: Option<String>,
    /// Recent changes of a room kept in memory, and over all rooms.
    pub memory_frames_per_room: usize,
    pub memory_bytes: usize,
    /// Hints held back in one room while an earlier one is missing.
    pub held_frames_per_room: usize,
    /// Waiting output over all sockets; over it the largest queues are shed.
    pub queues_bytes: usize,
    /// Sends of one socket under way; further frames wait in the socket.
    pub appends_per_socket: usize,
    /// Sends waiting on this node; further ones are `unavailable`.
    pub append_queue: usize,
    /// Sends that go to the store in one batch, and batches under way at once.
    pub append_batch: usize,
    pub append_workers: usize,
    /// A send that is not stored by then is answered `unavailable`.
    pub append_timeout_ms: u64,
    /// How often heads are compared with the store while the broker is well, and while it is not.
    pub beacon_interval_ms: u64,
    pub beacon_interval_unwell_ms: u64,
    /// Rooms, or revocations, asked for in one query of the beacon.
    pub beacon_chunk: usize,
    /// How often rows that nobody needs any more are removed, and how many in one go.
    pub purge_interval_s: u64,
    pub purge_rows: u32,
    /// A room without sockets is kept this long.
    pub room_linger_s: u64,
    pub heartbeat_s: u64,
    /// No pong within this time after a flushed ping: closed with 4009.
    pub pong_timeout_s: u64,
    /// A reader that takes nothing for this long is closed with 4008.
    pub stall_timeout_s: u64,
    /// Online users of a room above which only counts are told.
    pub presence_list_max: usize,
    /// Users, addresses and accounts whose use of a limit is remembered; the longest unused are forgotten first.
    pub limiter_entries: usize,
    /// Users of the operator's own issuers remembered for a minute, so that not every token asks the store.
    pub identity_entries: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// Unready but still accepting, so that the load balancer notices first.
    pub delay_s: u64,
    /// Gone by then, whatever is left.
    pub timeout_s: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a tracing filter.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    Human,
    Json,
}

impl Database {
    /// What `url` names; the reason when it is neither `sqlite:PATH` nor `postgres://…`.
    pub fn parsed_url(&self) -> Result<DatabaseUrl, String> {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(':') {
                return Err("names no file; write sqlite:PATH".to_owned());
            }
            return Ok(DatabaseUrl::Sqlite(PathBuf::from(path)));
        }
        let known = self.url.starts_with("postgres://") || self.url.starts_with("postgresql://");
        if !known {
            return Err("must be sqlite:PATH or postgres://user:password@host:port/name".to_owned());
        }
        for one in one_host_each(&self.url) {
            url::Url::parse(&one).map_err(|error| format!("is no URL ({error})"))?;
        }
        Ok(DatabaseUrl::Postgres(self.url.clone()))
    }
}

impl Retention {
    /// `None`: for ever.
    pub fn days(&self) -> Option<u32> {
        Some(self.messages_days).filter(|days| *days > 0)
    }
}

/// The URL once for each of its hosts: several with commas between are what Postgres's users know, and no URL.
fn one_host_each(url: &str) -> Vec<String> {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let start = url[start..].find('@').map_or(start, |at| start + at + 1);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |end| start + end);
    url[start..end].split(',').map(|host| format!("{}{host}{}", &url[..start], &url[end..])).collect()
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8000".into(),
            public_url: "http://127.0.0.1:8000".into(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            header_timeout_s: 10,
            request_timeout_s: 30,
            connections_max: 100_000,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9090".into() }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite:data/salon.db".into(),
            migrate: true,
            pool_size: 16,
            wait_timeout_ms: 2_000,
            connect_timeout_ms: 2_000,
            statement_timeout_ms: 4_000,
            lock_timeout_ms: 1_000,
            search_configuration: "simple".into(),
            readers: 2,
            queue: 4_096,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            prefix: "salon".into(),
            command_timeout_ms: 2_000,
            publish_queue: 65_536,
            receive_queue: 4_096,
            event_queue: 65_536,
            probe_interval_ms: 1_500,
        }
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self { auto_create: true }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_per_s: 10,
            message_burst: 20,
            sockets_per_user: 20,
            sockets_per_address: 10_000,
            sockets_per_node: 90_000,
            rooms_per_socket: 200,
            frames_per_s: 500,
            requests_per_s: 500,
            request_burst: 2_000,
            content_chars: 4_000,
            frame_bytes: 65_536,
            queue_bytes: 262_144,
            registrations_per_minute_address: 600,
            logins_per_minute_address: 20,
            logins_per_minute_account: 10,
            password_threads: 1,
            password_queue: 64,
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: None,
            memory_frames_per_room: 256,
            memory_bytes: 134_217_728,
            held_frames_per_room: 1_024,
            queues_bytes: 536_870_912,
            appends_per_socket: 64,
            append_queue: 16_384,
            append_batch: 256,
            append_workers: 4,
            append_timeout_ms: 4_500,
            beacon_interval_ms: 2_000,
            beacon_interval_unwell_ms: 300,
            beacon_chunk: 5_000,
            purge_interval_s: 30,
            purge_rows: 1_000,
            room_linger_s: 30,
            heartbeat_s: 25,
            pong_timeout_s: 20,
            stall_timeout_s: 60,
            presence_list_max: 200,
            limiter_entries: 100_000,
            identity_entries: 10_000,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay_s: 5, timeout_s: 25 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".into() }
    }
}

// Whatever holds a secret prints none, however it comes into a log.

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("url", &show::without_password(&self.url)).finish_non_exhaustive()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_deref().map(show::without_password);
        f.debug_struct("Redis").field("url", &url).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("issuers", &self.issuers).finish_non_exhaustive()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("name", &self.name).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
