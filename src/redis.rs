//! Connections to Redis, and the name of every key and channel.
//!
//! A connection made here never mends itself: whoever uses it drops it at the first failure and makes another. There
//! is one way back from every kind of trouble then (make, subscribe, confirm, switch), no command is silently sent a
//! second time, and nothing waits in a queue that nobody sees.

use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig, TcpConfig, TlsConnector, UnresponsiveConfig};
use fred::types::{ClusterStateChange, RespVersion};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::config;
use crate::model::{RoomId, UserId};
use crate::tls::{self, Check};

/// Commands waiting inside the driver; the callers' own queues are the ones that count.
const DRIVER_QUEUE: usize = 4_096;

const SCHEMES: &[&str] = &["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

/// How to reach Redis, checked; nothing is connected yet.
#[derive(Clone)]
pub struct Settings {
    config: Config,
    receive_queue: usize,
    timeout: Duration,
}

/// A key of the configuration is wrong; the text names it and never holds the URL, which may have a password.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(String);

/// One connection (in Cluster: one to each primary). Dropping it closes it at once.
pub struct Connection {
    client: Client,
    task: JoinHandle<Result<(), Error>>,
}

/// What a pub/sub channel is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    Room(RoomId),
    User(UserId),
    Cluster,
    /// One broker talking to itself, to know that it hears.
    Probe,
}

/// The names of all keys and channels of one incarnation.
///
/// Every name starts with the prefix, because pub/sub ignores the database number. What belongs to one room shares
/// the hash tag `{r<ID>}`, so that it lives in one slot of a Cluster.
#[derive(Debug, Clone)]
pub struct Names {
    prefix: String,
    incarnation: String,
}

/// Waits between attempts: from 50 ms doubling to 1 s, each with jitter, for ever.
pub struct Backoff(Duration);

impl Settings {
    /// Fails on a malformed `redis.url` and on a `redis.ca_file` that cannot be used only.
    pub fn new(redis: &config::Redis) -> Result<Self, SetupError> {
        let url = redis.url.as_deref().unwrap_or_default();
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !SCHEMES.contains(&scheme) {
            return Err(SetupError(format!("redis.url must start with one of {}://", SCHEMES.join("://, "))));
        }
        // The driver sets up TLS itself for a TLS scheme, by other rules than ours.
        let (plain, tls) = match url.strip_prefix("rediss") {
            Some(rest) => (format!("redis{rest}"), true),
            None => (url.to_owned(), false),
        };
        let mut config =
            Config::from_url(&plain).map_err(|error| SetupError(format!("redis.url: {}", error.details())))?;
        if tls {
            let (key, file) = match &redis.ca_file {
                Some(file) => ("redis.ca_file", Some(file.as_path())),
                None => ("redis.url", None),
            };
            let client = tls::client(Check::AuthorityAndName, file);
            let connector = TlsConnector::from(client.map_err(|why| SetupError(format!("{key}: {why}")))?);
            config.tls = Some(connector.into());
        }
        config.fail_fast = true;
        // Replies and published messages are told apart by their type then, not by what was asked before.
        config.version = RespVersion::RESP3;
        let timeout = Duration::from_millis(redis.command_timeout_ms.max(1));
        Ok(Self { config, receive_queue: redis.receive_queue.max(1), timeout })
    }

    /// How long a command, or making a connection, may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub fn is_cluster(&self) -> bool {
        self.config.server.is_clustered()
    }

    /// A connection for commands. Takes at most [`Settings::timeout`].
    pub async fn connect(&self) -> Result<Connection, Error> {
        self.open(32).await
    }

    /// A connection for listening, that keeps `redis.receive_queue` messages. Takes at most [`Settings::timeout`].
    pub async fn connect_listener(&self) -> Result<Connection, Error> {
        self.open(self.receive_queue).await
    }

    async fn open(&self, broadcast_channel_capacity: usize) -> Result<Connection, Error> {
        let performance = PerformanceConfig {
            default_command_timeout: self.timeout,
            broadcast_channel_capacity,
            ..PerformanceConfig::default()
        };
        let client = Client::new(self.config.clone(), Some(performance), Some(self.connection_config()), None);
        // In a task of its own: when our caller gives up half-way, it still ends and drops what it made. The driver's
        // task would otherwise keep the connection, and itself, for ever.
        let making = tokio::spawn(async move {
            let task = client.init().await?;
            Ok(Connection { client, task })
        });
        match tokio::time::timeout(self.timeout, making).await {
            Ok(Ok(made)) => made,
            Ok(Err(_)) | Err(_) => Err(timed_out()),
        }
        .map_err(|error| self.explained(error))
    }

    /// The driver's error, with a word on what an operator may have forgotten: a server that expects TLS hangs up on who
    /// speaks without, and one that does not expect it waits for the rest of what it takes for a command.
    fn explained(&self, error: Error) -> Error {
        let hung_up = ["ConnectionReset", "UnexpectedEof"].iter().any(|word| error.details().contains(word));
        let waits = *error.kind() == ErrorKind::Timeout;
        let hint = match self.config.uses_tls() {
            false if hung_up => "the server may expect TLS: rediss instead of redis in redis.url",
            true if waits => "the server may not speak TLS: redis instead of rediss in redis.url",
            _ => return error,
        };
        Error::new(error.kind().clone(), format!("{} ({hint})", error.details()))
    }

    fn connection_config(&self) -> ConnectionConfig {
        ConnectionConfig {
            connection_timeout: self.timeout,
            internal_command_timeout: self.timeout,
            max_command_buffer_len: DRIVER_QUEUE,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            // Every answer is awaited with a timeout and a connection that failed to give one is dropped, so the
            // driver's own check would only add a timer to every message read.
            unresponsive: UnresponsiveConfig { max_timeout: None, ..UnresponsiveConfig::default() },
            ..ConnectionConfig::default()
        }
    }
}

impl Connection {
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns once the connection is closed by the other side or broken.
    pub async fn closed(&mut self) {
        if !self.task.is_finished() {
            // Why it ended does not matter: it is not used again.
            let _ = (&mut self.task).await;
        }
    }

    /// Hears of slots that went to another node of the Cluster, as far as a command came upon them.
    pub fn moves(&self) -> broadcast::Receiver<Vec<ClusterStateChange>> {
        self.client.cluster_change_rx()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Names {
    /// Fails on a `redis.prefix` that would change the meaning of hash tags.
    pub fn new(redis: &config::Redis, incarnation: &str) -> Result<Self, SetupError> {
        let prefix = redis.prefix.clone();
        if prefix.is_empty() || prefix.contains(['{', '}']) || prefix.contains(char::is_whitespace) {
            return Err(SetupError("redis.prefix must not be empty, nor hold '{', '}' or blanks".to_owned()));
        }
        Ok(Self { prefix, incarnation: incarnation.to_owned() })
    }

    /// The pub/sub channel of a topic.
    pub fn channel(&self, topic: Topic) -> String {
        let prefix = &self.prefix;
        match topic {
            Topic::Room(room) => format!("{prefix}:room:{{r{}}}", room.0),
            Topic::User(user) => format!("{prefix}:user:{{u{}}}", user.0),
            Topic::Cluster => format!("{prefix}:cluster"),
            Topic::Probe => format!("{prefix}:probe:{}", self.incarnation),
        }
    }

    /// The other way round; `None` for a channel that is not ours.
    pub fn topic(&self, channel: &str) -> Option<Topic> {
        let rest = channel.strip_prefix(self.prefix.as_str())?.strip_prefix(':')?;
        if let Some(id) = rest.strip_prefix("room:{r") {
            return Some(Topic::Room(RoomId(id.strip_suffix('}')?.parse().ok()?)));
        }
        if let Some(id) = rest.strip_prefix("user:{u") {
            return Some(Topic::User(UserId(id.strip_suffix('}')?.parse().ok()?)));
        }
        if rest == "cluster" {
            return Some(Topic::Cluster);
        }
        (rest.strip_prefix("probe:")? == self.incarnation).then_some(Topic::Probe)
    }

    /// The set of usernames that one incarnation holds in a room.
    pub fn online(&self, room: RoomId, incarnation: &str) -> String {
        format!("{}:online:{{r{}}}:{incarnation}", self.prefix, room.0)
    }

    /// The sorted set of incarnations by when their lease ends, in milliseconds of Redis' own clock.
    pub fn leases(&self) -> String {
        format!("{}:leases", self.prefix)
    }
}

impl Backoff {
    pub const fn new() -> Self {
        Self(Duration::from_millis(50))
    }

    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0.mul_f64(rand::random_range(0.5..1.0))).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// What a caller of Redis gets when the answer did not come in time.
pub fn timed_out() -> Error {
    Error::new(ErrorKind::Timeout, "no answer in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(url: &str) -> config::Redis {
        config::Redis { url: Some(url.to_owned()), ..config::Redis::default() }
    }

    #[test]
    fn urls_of_every_kind_are_taken() {
        for url in [
            "redis://127.0.0.1:6379",
            "redis://:secret@redis.example/3",
            "redis-sentinel://a.example:26379/0?sentinelServiceName=main&node=b.example:26379",
            "redis-cluster://a.example:7000?node=b.example:7001",
        ] {
            let settings = Settings::new(&redis(url)).unwrap();
            assert_eq!(settings.is_cluster(), url.starts_with("redis-cluster"), "{url}");
        }
    }

    #[test]
    fn tls_is_never_left_out_silently() {
        for url in ["rediss://a", "rediss-sentinel://a:1?sentinelServiceName=m", "rediss-cluster://a:1?node=b:2"] {
            assert!(Settings::new(&redis(url)).unwrap().config.uses_tls(), "{url}");
        }
        assert!(!Settings::new(&redis("redis://redis.example")).unwrap().config.uses_tls());
    }

    #[test]
    fn a_password_may_hold_anything_when_escaped() {
        let settings = Settings::new(&redis("rediss://salon:a%2Fb%40c%3Ad@redis.example")).unwrap();
        assert_eq!(settings.config.username.as_deref(), Some("salon"));
        assert_eq!(settings.config.password.as_deref(), Some("a/b@c:d"));
    }

    #[test]
    fn a_wrong_url_is_named_and_not_shown() {
        for url in ["", "redis", "http://:secret@host", "redis://:secret@", "redis-sentinel://:secret@host:1"] {
            let error = Settings::new(&redis(url)).err().unwrap().to_string();
            assert!(error.starts_with("redis.url") && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn channels_are_read_back() {
        let names = Names::new(&redis("redis://x"), "me").unwrap();
        for topic in [Topic::Room(RoomId(42)), Topic::User(UserId(7)), Topic::Cluster, Topic::Probe] {
            assert_eq!(names.topic(&names.channel(topic)), Some(topic));
        }
        assert_eq!(names.channel(Topic::Room(RoomId(42))), "salon:room:{r42}");
        for other in ["salon:probe:you", "salom:cluster", "salon:room:{rx}", "salon:", "salon:room:{r1"] {
            assert_eq!(names.topic(other), None, "{other}");
        }
    }
}
