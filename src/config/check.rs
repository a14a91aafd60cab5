//! Every bound and every rule between keys.

use std::net::SocketAddr;

use toml::{Table, Value};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Config, ConfigError, DatabaseUrl, Issuer};
use crate::model::RETENTION_DAYS_MAX;

/// What every secret needs at least: HMAC-SHA-256 is no stronger than its key.
pub const SECRET_BYTES_MIN: usize = 32;
/// A token may be tried with every key, so there are few.
const ISSUERS_MAX: usize = 16;
const ALGORITHMS: &[&str] = &["HS256", "RS256", "ES256", "EdDSA"];
const REDIS_SCHEMES: &[&str] =
    &["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];
/// A character may be written as two escapes of six bytes each; the rest of a frame needs room too.
const CHAR_BYTES_MAX: usize = 12;
const FRAME_OVERHEAD_BYTES: usize = 4_096;

/// The least and the greatest value of every number. Below the least a node could not work, above the greatest the
/// bound would be none.
const BOUNDS: &[(&str, i64, i64)] = &[
    ("server.header_timeout_s", 1, 300),
    ("server.request_timeout_s", 1, 600),
    ("server.connections_max", 1, 10_000_000),
    ("database.pool_size", 1, 1_000),
    ("database.wait_timeout_ms", 10, 60_000),
    ("database.connect_timeout_ms", 10, 60_000),
    ("database.statement_timeout_ms", 10, 60_000),
    ("database.lock_timeout_ms", 10, 60_000),
    ("database.readers", 1, 64),
    ("database.queue", 1, 1_000_000),
    ("redis.command_timeout_ms", 10, 60_000),
    ("redis.publish_queue", 1, 10_000_000),
    ("redis.event_queue", 1, 10_000_000),
    ("redis.receive_queue", 1, 10_000_000),
    ("redis.probe_interval_ms", 50, 60_000),
    ("retention.messages_days", 0, RETENTION_DAYS_MAX as i64),
    ("limits.messages_per_s", 1, 100_000),
    ("limits.message_burst", 1, 1_000_000),
    ("limits.sockets_per_user", 1, 1_000_000),
    ("limits.sockets_per_address", 1, 10_000_000),
    ("limits.sockets_per_node", 1, 10_000_000),
    ("limits.rooms_per_socket", 1, 100_000),
    ("limits.frames_per_s", 1, 10_000_000),
    ("limits.requests_per_s", 1, 1_000_000),
    ("limits.request_burst", 1, 10_000_000),
    ("limits.content_chars", 1, 1_000_000),
    ("limits.frame_bytes", 1_024, 16_777_216),
    ("limits.queue_bytes", 4_096, 1_073_741_824),
    ("limits.registrations_per_minute_address", 1, 1_000_000),
    ("limits.logins_per_minute_address", 1, 1_000_000),
    ("limits.logins_per_minute_account", 1, 1_000_000),
    ("limits.password_threads", 1, 64),
    ("limits.password_queue", 1, 10_000),
    ("node.memory_frames_per_room", 1, 100_000),
    ("node.memory_bytes", 1_048_576, 1_099_511_627_776),
    ("node.held_frames_per_room", 1, 1_000_000),
    ("node.queues_bytes", 1_048_576, 1_099_511_627_776),
    ("node.appends_per_socket", 1, 10_000),
    ("node.append_queue", 1, 10_000_000),
    ("node.append_batch", 1, 10_000),
    ("node.append_workers", 1, 256),
    ("node.append_timeout_ms", 100, 60_000),
    ("node.beacon_interval_ms", 50, 60_000),
    ("node.beacon_interval_unwell_ms", 50, 60_000),
    ("node.beacon_chunk", 1, 100_000),
    ("node.purge_interval_s", 1, 3_600),
    ("node.purge_rows", 1, 100_000),
    ("node.room_linger_s", 0, 86_400),
    ("node.heartbeat_s", 1, 3_600),
    ("node.pong_timeout_s", 1, 3_600),
    ("node.stall_timeout_s", 1, 3_600),
    ("node.presence_list_max", 1, 100_000),
    ("node.limiter_entries", 100, 100_000_000),
    ("node.identity_entries", 100, 100_000_000),
    ("drain.delay_s", 0, 3_600),
    ("drain.timeout_s", 1, 3_600),
];

/// Reports numbers out of bounds and takes them out, so that the rest can still be checked.
pub(super) fn bounds(given: &mut Table, wrong: &mut ConfigError) {
    for (path, least, greatest) in BOUNDS {
        let Some((section, key)) = path.split_once('.') else { continue };
        let Some(Value::Table(section)) = given.get_mut(section) else { continue };
        let Some(value) = section.get(key).and_then(Value::as_integer) else { continue };
        if !(*least..=*greatest).contains(&value) {
            wrong.add(*path, format!("must be from {least} to {greatest}, not {value}"));
            section.remove(key);
        }
    }
}

/// Checks what is no plain bound, and brings origins into the form browsers send.
pub(super) fn rules(config: &mut Config, wrong: &mut ConfigError) {
    listeners(config, wrong);
    origins(config, wrong);
    backends(config, wrong);
    secrets(config, wrong);
    issuers(config, wrong);
    between(config, wrong);
    words(config, wrong);
}

fn listeners(config: &Config, wrong: &mut ConfigError) {
    let listeners = [("server.listen", &config.server.listen), ("admin.listen", &config.admin.listen)];
    for (key, listen) in listeners {
        if !is_listen_address(listen) {
            wrong.add(key, "must be an address and a port, as 127.0.0.1:8000");
        }
    }
    let fixed_port = !config.server.listen.ends_with(":0");
    if fixed_port && config.server.listen == config.admin.listen {
        wrong.add("admin.listen", "must not be the address of server.listen");
    }
}

fn is_listen_address(text: &str) -> bool {
    let is_name = |host: &str| {
        host.starts_with(|c: char| c.is_ascii_alphabetic())
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    text.parse::<SocketAddr>().is_ok()
        || text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok())
}

fn origins(config: &mut Config, wrong: &mut ConfigError) {
    match origin(&config.server.public_url) {
        Some(origin) => config.server.public_url = origin,
        None => wrong.add("server.public_url", "must be http://host or https://host, without a path"),
    }
    for (index, allowed) in config.server.allowed_origins.iter_mut().enumerate() {
        match origin(allowed) {
            Some(origin) => *allowed = origin,
            None => wrong.add(
                format!("server.allowed_origins[{index}]"),
                "must be an origin, as https://chat.example or http://localhost:3000",
            ),
        }
    }
}

/// The origin in the form browsers send it: lower case, no default port, no slash at the end.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then(|| url.origin().ascii_serialization())
}

fn backends(config: &Config, wrong: &mut ConfigError) {
    let database = config.database.parsed_url();
    if let Err(why) = &database {
        wrong.add("database.url", why.clone());
    }
    if config.redis.ca_file.is_some() && !config.redis.url.as_ref().is_some_and(|url| url.starts_with("rediss")) {
        wrong.add("redis.ca_file", "is for TLS only: redis.url must start with rediss, as rediss://host:6379");
    }
    let Some(redis) = &config.redis.url else { return };
    if !redis.split_once("://").is_some_and(|(scheme, host)| REDIS_SCHEMES.contains(&scheme) && !host.is_empty()) {
        wrong.add("redis.url", "must start with redis://, rediss://, redis-sentinel:// or redis-cluster://");
    }
    if matches!(database, Ok(DatabaseUrl::Sqlite(_))) {
        wrong.add(
            "redis.url",
            "a cluster on SQLite cannot be: redis.url means several nodes, and they need one Postgres \
             (database.url); or leave redis.url out",
        );
    }
}

fn secrets(config: &Config, wrong: &mut ConfigError) {
    let auth = &config.auth;
    let given = [("auth.secret", &auth.secret), ("auth.previous_secret", &auth.previous_secret)];
    for (key, secret) in given {
        if secret.as_ref().is_some_and(|secret| secret.len() < SECRET_BYTES_MIN) {
            wrong.add(key, format!("must have at least {SECRET_BYTES_MIN} bytes"));
        }
    }
    if auth.secret.is_some() && auth.secret_file.is_some() {
        wrong.add("auth.secret_file", "must not be given together with auth.secret");
    }
    let none = auth.secret.is_none() && auth.secret_file.is_none();
    if none && matches!(config.database.parsed_url(), Ok(DatabaseUrl::Postgres(_))) {
        wrong.add("auth.secret", "is needed with Postgres (or auth.secret_file): all nodes must share one");
    }
}

fn issuers(config: &Config, wrong: &mut ConfigError) {
    let issuers = &config.auth.issuers;
    if issuers.len() > ISSUERS_MAX {
        wrong.add("auth.issuers", format!("must be at most {ISSUERS_MAX}"));
    }
    for (index, issuer) in issuers.iter().enumerate() {
        let key = |name: &str| format!("auth.issuers[{index}].{name}");
        if issuer.name.trim().is_empty() || issuer.name.chars().count() > 64 {
            wrong.add(key("name"), "must have 1 to 64 characters");
        }
        if issuers[..index].iter().any(|earlier| earlier.name == issuer.name) {
            wrong.add(key("name"), "is the name of another issuer too");
        }
        if !ALGORITHMS.contains(&issuer.algorithm.as_str()) {
            wrong.add(key("algorithm"), format!("must be one of {}", ALGORITHMS.join(", ")));
        }
        if issuer.key.is_some() == issuer.key_file.is_some() {
            wrong.add(key("key"), "exactly one of key and key_file must be given");
        }
        if issuers[..index].iter().any(|earlier| indistinct(earlier, issuer)) {
            wrong.add(key("key"), "is another issuer's too, and neither issuer nor audience tells them apart");
        }
        shared_key(config, issuer, &key("key"), wrong);
    }
}

/// With the same key and the same expectations nobody could say whose a token is.
fn indistinct(a: &Issuer, b: &Issuer) -> bool {
    (&a.key, &a.key_file, &a.issuer, &a.audience) == (&b.key, &b.key_file, &b.issuer, &b.audience)
}

/// Whoever holds an issuer's key must not be able to sign as salon itself.
fn shared_key(config: &Config, issuer: &Issuer, key: &str, wrong: &mut ConfigError) {
    let own = [&config.auth.secret, &config.auth.previous_secret];
    if issuer.key.is_some() && own.contains(&&issuer.key) {
        wrong.add(key, "must not be salon's own secret");
    }
}

fn between(config: &Config, wrong: &mut ConfigError) {
    let limits = &config.limits;
    let frame_bytes_min = limits.content_chars * CHAR_BYTES_MAX + FRAME_OVERHEAD_BYTES;
    if limits.frame_bytes < frame_bytes_min {
        let why = format!("must be at least {frame_bytes_min} for {} characters of content", limits.content_chars);
        wrong.add("limits.frame_bytes", why);
    }
    if limits.queue_bytes < limits.frame_bytes {
        wrong.add("limits.queue_bytes", "must be at least limits.frame_bytes");
    }
    if config.node.beacon_interval_unwell_ms > config.node.beacon_interval_ms {
        wrong.add("node.beacon_interval_unwell_ms", "must be at most node.beacon_interval_ms");
    }
    if config.database.lock_timeout_ms > config.database.statement_timeout_ms {
        wrong.add("database.lock_timeout_ms", "must be at most database.statement_timeout_ms");
    }
    if config.drain.delay_s >= config.drain.timeout_s {
        wrong.add("drain.timeout_s", "must be more than drain.delay_s");
    }
}

fn words(config: &Config, wrong: &mut ConfigError) {
    let prefix = &config.redis.prefix;
    // Braces would be hash tags of Redis Cluster.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    if prefix.is_empty() || prefix.len() > 64 || !prefix.chars().all(plain) {
        wrong.add("redis.prefix", "must have 1 to 64 letters, digits, '_', '-', '.' or ':'");
    }
    let searched_by = &config.database.search_configuration;
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    if searched_by.is_empty() || searched_by.len() > 128 || !searched_by.chars().all(word) {
        wrong.add(
            "database.search_configuration",
            "must be the name of a text search configuration, as simple or english",
        );
    }
    if config.node.name.as_ref().is_some_and(|name| name.trim().is_empty() || name.chars().count() > 64) {
        wrong.add("node.name", "must have 1 to 64 characters");
    }
    if let Err(error) = EnvFilter::try_new(&config.log.level) {
        wrong.add("log.level", format!("is no level and no filter ({error})"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{every_key, table_of};
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn told(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        let mut wrong = ConfigError::default();
        rules(&mut config, &mut wrong);
        wrong.problems.into_iter().map(|problem| problem.key).collect()
    }

    fn issuer(name: &str, key: &str) -> Issuer {
        Issuer {
            name: name.into(),
            algorithm: "HS256".into(),
            key: Some(key.into()),
            key_file: None,
            issuer: None,
            audience: None,
        }
    }

    #[test]
    fn every_number_has_bounds_that_hold_its_default() {
        let defaults = table_of(&Config::default());
        let mut numbers = 0;
        for (section, keys) in every_key() {
            for (key, value) in keys.as_table().unwrap() {
                if !value.is_integer() {
                    continue;
                }
                numbers += 1;
                let path = format!("{section}.{key}");
                let (_, least, greatest) =
                    BOUNDS.iter().find(|(name, ..)| *name == path).unwrap_or_else(|| panic!("{path} has no bounds"));
                let default = defaults[&section][key].as_integer().unwrap();
                assert!((*least..=*greatest).contains(&default), "{path}");
            }
        }
        assert_eq!(numbers, BOUNDS.len(), "a bound names no key");
    }

    #[test]
    fn numbers_out_of_bounds_are_named() {
        let mut given: Table = "[limits]\nmessages_per_s = -1\nmessage_burst = 5".parse().unwrap();
        let mut wrong = ConfigError::default();
        bounds(&mut given, &mut wrong);
        assert_eq!(wrong.problems.len(), 1);
        assert_eq!(wrong.problems[0].why, "must be from 1 to 100000, not -1");
        assert!(given["limits"].get("messages_per_s").is_none());
    }

    #[test]
    fn the_default_passes() {
        assert_eq!(told(|_| ()), [""; 0]);
    }

    #[test]
    fn a_cluster_on_sqlite_is_refused_by_name() {
        let mut config = Config::default();
        config.redis.url = Some("redis://localhost".into());
        let mut wrong = ConfigError::default();
        rules(&mut config, &mut wrong);
        assert!(wrong.to_string().contains("a cluster on SQLite"), "{wrong}");
    }

    #[test]
    fn postgres_needs_a_secret_and_sqlite_does_not() {
        let postgres = |config: &mut Config| config.database.url = "postgres://u:p@host:5432/name".into();
        assert_eq!(told(postgres), ["auth.secret"]);
        assert_eq!(told(|c| (postgres(c), c.auth.secret = Some(SECRET.into())).1), [""; 0]);
        assert_eq!(told(|c| (postgres(c), c.auth.secret_file = Some("x".into())).1), [""; 0]);
        assert_eq!(told(|c| c.auth.secret = Some(SECRET[1..].into())), ["auth.secret"]);
        assert_eq!(told(|c| c.auth.previous_secret = Some("short".into())), ["auth.previous_secret"]);
        let both = told(|c| (c.auth.secret = Some(SECRET.into()), c.auth.secret_file = Some("x".into())).1);
        assert_eq!(both, ["auth.secret_file"]);
    }

    #[test]
    fn addresses_and_origins_parse() {
        for listen in ["127.0.0.1", "8000", ":8000", "127.0.0.1:99999", "a b:1"] {
            assert_eq!(told(|c| c.server.listen = listen.into()), ["server.listen"], "{listen}");
        }
        for listen in ["0.0.0.0:0", "[::1]:8000", "localhost:8000"] {
            assert_eq!(told(|c| c.server.listen = listen.into()), [""; 0], "{listen}");
        }
        assert_eq!(told(|c| c.admin.listen = c.server.listen.clone()), ["admin.listen"]);
        for url in ["chat.example", "ftp://chat.example", "https://chat.example/path", "https://u:p@chat.example", ""] {
            assert_eq!(told(|c| c.server.public_url = url.into()), ["server.public_url"], "{url}");
        }
        let bad = told(|c| c.server.allowed_origins = vec!["https://ok.example".into(), "*".into(), "null".into()]);
        assert_eq!(bad, ["server.allowed_origins[1]", "server.allowed_origins[2]"]);
        assert_eq!(origin("HTTPS://Chat.Example:443").as_deref(), Some("https://chat.example"));
    }

    #[test]
    fn issuers_are_told_apart_and_keep_to_known_algorithms() {
        let key = "another-key-another-key-another-key";
        assert_eq!(told(|c| c.auth.issuers = vec![issuer("a", key), issuer("b", "b")]), [""; 0]);
        let same_name = told(|c| c.auth.issuers = vec![issuer("a", key), issuer("a", "b")]);
        assert_eq!(same_name, ["auth.issuers[1].name"]);
        let same_key = told(|c| c.auth.issuers = vec![issuer("a", key), issuer("b", key)]);
        assert_eq!(same_key, ["auth.issuers[1].key"]);
        for algorithm in ["none", "HS512", "hs256", ""] {
            let bad = told(|c| c.auth.issuers = vec![Issuer { algorithm: algorithm.into(), ..issuer("a", key) }]);
            assert_eq!(bad, ["auth.issuers[0].algorithm"]);
        }
        let both = told(|c| c.auth.issuers = vec![Issuer { key_file: Some("x".into()), ..issuer("a", key) }]);
        assert_eq!(both, ["auth.issuers[0].key"]);
        let neither = told(|c| c.auth.issuers = vec![Issuer { key: None, ..issuer("a", key) }]);
        assert_eq!(neither, ["auth.issuers[0].key"]);
        let own = told(|c| (c.auth.secret = Some(SECRET.into()), c.auth.issuers = vec![issuer("a", SECRET)]).1);
        assert_eq!(own, ["auth.issuers[0].key"]);
    }

    #[test]
    fn keys_that_contradict_each_other_are_named() {
        assert_eq!(told(|c| c.limits.content_chars = 8_000), ["limits.frame_bytes"]);
        assert_eq!(told(|c| c.limits.queue_bytes = 5_000), ["limits.queue_bytes"]);
        assert_eq!(told(|c| c.drain.delay_s = 25), ["drain.timeout_s"]);
        assert_eq!(told(|c| c.redis.prefix = "{x}".into()), ["redis.prefix"]);
        assert_eq!(told(|c| c.database.search_configuration = "a'b".into()), ["database.search_configuration"]);
        assert_eq!(told(|c| c.log.level = "salon=loud=x".into()), ["log.level"]);
        assert_eq!(told(|c| c.database.url = "mysql://x".into()), ["database.url"]);
        assert_eq!(told(|c| c.database.url = "sqlite:".into()), ["database.url"]);
        assert_eq!(told(|c| c.redis.ca_file = Some("ca.pem".into())), ["redis.ca_file"]);
    }

    #[test]
    fn a_postgres_url_may_have_several_hosts() {
        let told = |url: &str| told(|c| (c.auth.secret = Some(SECRET.into()), c.database.url = url.into()).1);
        for url in [
            "postgres://u:p%40w@h1:1,h2:2/name?target_session_attrs=read-write",
            "postgres://h1,[::1]:5433,h3",
            "postgresql://u@h1:1,h2?sslmode=require",
            "postgres:///name?host=/run/postgresql",
        ] {
            assert_eq!(told(url), [""; 0], "{url}");
        }
        for url in ["postgres://u:p@h1:1,h2:99999/name", "postgres://h1:x,h2", "postgres://u:p@[::1,h2/name"] {
            assert_eq!(told(url), ["database.url"], "{url}");
        }
    }
}
