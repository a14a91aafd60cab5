//! The servers that `database.url` names, and a connection to the one of them that takes writes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use percent_encoding::percent_decode_str;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::config::{ChannelBinding, Config, Host, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pool::with_sources;
use crate::config;
use crate::error::{Error, Result};
use crate::tls::{self, Check};

/// How long the server that served last is asked alone. One that is down without a word then costs this only, and a
/// standby is left in peace as long as its primary answers.
const HEAD_START: Duration = Duration::from_millis(250);

/// One Postgres: a primary, and standbys that may take its place.
pub struct Servers {
    servers: Vec<Server>,
    tls: MakeRustlsConnect,
    timeout: Duration,
    /// Which of them took writes last.
    last: AtomicUsize,
}

struct Server {
    /// `host:port`, for people.
    name: String,
    config: Config,
}

/// Why no server could be used, each with its reason; never holds a password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

/// What the URL says and the driver does not understand.
struct Wishes {
    /// `sslmode`; absent: [`Wishes::check`] decides.
    mode: Option<String>,
    /// `sslrootcert`.
    ca_file: Option<PathBuf>,
}

impl Servers {
    /// Reads the URL and the files that it names. `bounded` puts bounds on what is made of it.
    pub fn new(database: &config::Database, bounded: impl Fn(&mut Config)) -> Result<Self> {
        let refused = |why: String| Error::invalid("database.url", why);
        let (url, wishes) = Wishes::take(&database.url).map_err(refused)?;
        let common: Config = url.parse().map_err(|error: tokio_postgres::Error| refused(with_sources(&error)))?;
        let (mode, check) = wishes.check().map_err(refused)?;
        let mut tls = tls::client(check, wishes.ca_file.as_deref()).map_err(refused)?;
        if common.get_ssl_negotiation() == SslNegotiation::Direct {
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        let mut servers = split(&common, mode).map_err(refused)?;
        for server in &mut servers {
            bounded(&mut server.config);
        }
        let timeout = Duration::from_millis(database.connect_timeout_ms);
        Ok(Self { servers, tls: MakeRustlsConnect::new(tls), timeout, last: AtomicUsize::new(0) })
    }

    /// A connection to the server that takes writes; its task ends with the client. Takes at most
    /// `database.connect_timeout_ms`, and a moment for each further server.
    pub async fn connect(&self) -> std::result::Result<(Client, JoinHandle<()>), ConnectError> {
        let last = self.last.load(Ordering::Relaxed);
        let count = self.servers.len();
        let mut tries: FuturesUnordered<_> =
            (0..count).map(|nth| self.try_one((last + nth) % count, HEAD_START * nth as u32)).collect();
        let mut reasons = Vec::new();
        while let Some((index, tried)) = tries.next().await {
            match tried {
                Ok(connected) => {
                    self.last.store(index, Ordering::Relaxed);
                    return Ok(connected);
                }
                Err(why) => reasons.push(format!("{}: {why}", self.servers[index].name)),
            }
        }
        reasons.sort();
        Err(ConnectError(reasons.join("; ")))
    }

    async fn try_one(
        &self,
        index: usize,
        after: Duration,
    ) -> (usize, std::result::Result<(Client, JoinHandle<()>), String>) {
        tokio::time::sleep(after).await;
        let connecting = self.servers[index].config.connect(self.tls.clone());
        let tried = match tokio::time::timeout(self.timeout, connecting).await {
            // What a connection ends with reaches the client's calls too.
            Ok(Ok((client, connection))) => Ok((client, tokio::spawn(async move { drop(connection.await) }))),
            Ok(Err(error)) => Err(with_sources(&error)),
            Err(_) => Err("no connection in time".to_owned()),
        };
        (index, tried)
    }
}

impl Wishes {
    /// The URL without what the driver would not understand, and that.
    fn take(url: &str) -> std::result::Result<(String, Self), String> {
        let mut wishes = Self { mode: None, ca_file: None };
        // As the driver reads it: the query is behind the name and the password.
        let head = url.find('@').map_or(0, |at| at + 1);
        let Some(query) = url[head..].find('?').map(|mark| head + mark) else { return Ok((url.to_owned(), wishes)) };
        let mut kept = Vec::new();
        for part in url[query + 1..].split('&') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "sslmode" => wishes.mode = Some(value()),
                "sslrootcert" => wishes.ca_file = Some(value().into()),
                "target_session_attrs" if value() != "read-write" => {
                    return Err("target_session_attrs can only be read-write: there is one primary".to_owned());
                }
                "target_session_attrs" | "load_balance_hosts" => {}
                _ => kept.push(part),
            }
        }
        let mark = if kept.is_empty() { "" } else { "?" };
        Ok((format!("{}{mark}{}", &url[..query], kept.join("&")), wishes))
    }

    /// What to demand of the servers. Unlike libpq's, our `require` is no half thing: what must be encrypted is not
    /// given to somebody who only says that they are the server.
    fn check(&self) -> std::result::Result<(SslMode, Check), String> {
        let mode = self.mode.as_deref().unwrap_or(if self.ca_file.is_some() { "verify-full" } else { "prefer" });
        match mode {
            "disable" | "prefer" if self.ca_file.is_some() => {
                Err(format!("sslmode={mode} would not look at sslrootcert; write sslmode=verify-full"))
            }
            "disable" => Ok((SslMode::Disable, Check::Nothing)),
            "prefer" => Ok((SslMode::Prefer, Check::Nothing)),
            "verify-ca" => Ok((SslMode::Require, Check::Authority)),
            "require" | "verify-full" => Ok((SslMode::Require, Check::AuthorityAndName)),
            _ => Err("sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned()),
        }
    }
}

/// One configuration for each host: the driver would try them one after the other, each with all the time there is.
fn split(common: &Config, mode: SslMode) -> std::result::Result<Vec<Server>, String> {
    let (hosts, addresses, ports) = (common.get_hosts(), common.get_hostaddrs(), common.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = |length: usize| length <= 1 || length == count;
    if count == 0 {
        return Err("names no host".to_owned());
    }
    if !fits(ports.len()) || (!hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len()) {
        return Err("names as many hosts as addresses and ports, or one port for all".to_owned());
    }
    let server = |index: usize| {
        let mut config = common_of(common);
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let address = addresses.get(index);
        let host = match (hosts.get(index), address) {
            (Some(Host::Unix(path)), _) => {
                // Nobody listens between two processes of one machine, and Postgres has no TLS there.
                config.host_path(path).ssl_mode(SslMode::Disable);
                path.display().to_string()
            }
            (Some(Host::Tcp(host)), _) => host.clone(),
            (None, address) => address.map(ToString::to_string).unwrap_or_default(),
        };
        if host.contains('@') {
            return Err("has an @ in the name or the password; write it as %40".to_owned());
        }
        if config.get_hosts().is_empty() {
            config.host(&host).ssl_mode(mode);
        }
        if let Some(address) = address {
            config.hostaddr(*address);
        }
        config.port(port);
        Ok(Server { name: format!("{host}:{port}"), config })
    };
    (0..count).map(server).collect()
}

/// What all hosts have in common, of what the URL can say; times and keepalives have keys of their own.
fn common_of(url: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = url.get_user() {
        config.user(user);
    }
    if let Some(password) = url.get_password() {
        config.password(password);
    }
    if let Some(name) = url.get_dbname() {
        config.dbname(name);
    }
    if let Some(options) = url.get_options() {
        config.options(options);
    }
    config.application_name(url.get_application_name().unwrap_or("salon"));
    config.ssl_negotiation(url.get_ssl_negotiation());
    let binding: ChannelBinding = url.get_channel_binding();
    // The truth is on the primary only.
    config.channel_binding(binding).target_session_attrs(TargetSessionAttrs::ReadWrite);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Result<Servers> {
        Servers::new(&config::Database { url: url.to_owned(), ..config::Database::default() }, |_| ())
    }

    fn names(url: &str) -> Vec<String> {
        servers(url).unwrap().servers.into_iter().map(|server| server.name).collect()
    }

    #[test]
    fn every_host_has_a_configuration_of_its_own() {
        let url = "postgres://u:p%40w@h1:1,h2,[::1]:3/name?options=-c%20a%3Db&sslmode=disable&application_name=x";
        let servers = servers(url).unwrap().servers;
        let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["h1:1", "h2:5432", "::1:3"]);
        for server in servers {
            let config = server.config;
            assert_eq!((config.get_user(), config.get_password()), (Some("u"), Some(b"p@w".as_slice())));
            assert_eq!((config.get_dbname(), config.get_options()), (Some("name"), Some("-c a=b")));
            assert_eq!((config.get_hosts().len(), config.get_ports().len()), (1, 1));
            assert_eq!(config.get_application_name(), Some("x"));
            assert_eq!(config.get_ssl_mode(), SslMode::Disable);
            assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        }
    }

    #[test]
    fn hosts_come_in_every_form_that_postgres_knows() {
        assert_eq!(names("postgres://u@/name?host=/run/postgresql"), ["/run/postgresql:5432"]);
        assert_eq!(names("postgres://u@/name?hostaddr=10.0.0.1&port=6"), ["10.0.0.1:6"]);
        assert_eq!(names("postgres://u@h1/name?hostaddr=10.0.0.1"), ["h1:5432"]);
        let socket = &servers("postgres://u@/name?host=/run/postgresql").unwrap().servers[0].config;
        assert_eq!(socket.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_the_password() {
        for (url, why) in [
            ("postgres:///name", "names no host"),
            ("postgres://u:QQQ@QQQ@host/name", "write it as %40"),
            ("postgres://u:QQQ@host/name?sslmode=off", "sslmode must be"),
            ("postgres://u:QQQ@host/name?sslmode=disable&sslrootcert=/x", "would not look at sslrootcert"),
            ("postgres://u:QQQ@host/name?target_session_attrs=standby", "target_session_attrs"),
            ("postgres://u:QQQ@host/name?sslkey=x", "sslkey"),
        ] {
            let told = servers(url).err().unwrap_or_else(|| panic!("{url} is taken")).to_string();
            assert!(told.starts_with("database.url") && told.contains(why) && !told.contains("QQQ"), "{url}: {told}");
        }
    }
}
