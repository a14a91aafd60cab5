//! What is measured: the addresses, the tokens that open them, the rooms of a run.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use salon::engine::Result;
use salon::engine::http::{Http, authority};
use serde_json::json;

use crate::process::Pids;

/// Sockets from one source address, safely below the ephemeral ports of Linux (28,232 by default).
const SOCKETS_PER_SOURCE: usize = 20_000;
/// Rooms made at the same time.
const ROOMS_AT_ONCE: usize = 16;
/// A token outlives every run.
const TOKEN_S: u64 = 86_400;

#[derive(Debug, Args)]
pub struct Target {
    /// A node, as http://host:port; several times for a cluster: sockets take turns.
    #[arg(long, global = true, default_value = "http://127.0.0.1:8000")]
    pub url: Vec<String>,
    /// The HS256 key of an issuer the server has in `[[auth.issuers]]`: the users of a run are that issuer's.
    #[arg(long, global = true, default_value = "")]
    issuer_key: String,
    /// `iss` of the tokens, where the server wants one.
    #[arg(long, global = true)]
    issuer: Option<String>,
    /// `aud` of the tokens, where the server wants one.
    #[arg(long, global = true)]
    audience: Option<String>,
    /// Processes of the server on this machine (nodes, database, Redis) whose CPU time is told; several times, or
    /// with commas.
    #[arg(long = "pid", global = true, value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Sockets being opened at the same time.
    #[arg(long, global = true, default_value_t = 64)]
    pub opening: usize,
}

/// A room made for this run, so without any history.
#[derive(Debug, Clone)]
pub struct Place {
    pub id: i64,
    pub seq: u64,
}

/// Where a socket comes from and goes to, and who it is.
#[derive(Debug, Clone)]
pub struct Door {
    pub authority: String,
    pub address: SocketAddr,
    /// Bound before connecting; `None`: the system chooses.
    pub source: Option<IpAddr>,
    pub token: String,
}

impl Target {
    pub fn pids(&self) -> Result<Pids> {
        Pids::new(&self.pids)
    }

    /// A token of the run's `n`th user. The same number is the same user in every run, so that runs do not fill the
    /// server with users.
    pub fn token(&self, n: usize) -> Result<String> {
        if self.issuer_key.is_empty() {
            return Err("--issuer-key is missing: the key of an HS256 issuer the server has in [[auth.issuers]]".into());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
        let name = format!("bench-{n}");
        let mut claims = json!({"sub": name, "name": name, "iat": now, "exp": now + TOKEN_S});
        if let Some(issuer) = &self.issuer {
            claims["iss"] = json!(issuer);
        }
        if let Some(audience) = &self.audience {
            claims["aud"] = json!(audience);
        }
        encode(&Header::default(), &claims, &EncodingKey::from_secret(self.issuer_key.as_bytes()))
            .map_err(|error| format!("a token: {error}"))
    }

    /// The way in of the run's `n`th socket, of the user with the same number.
    pub async fn door(&self, n: usize) -> Result<Door> {
        let authority = authority(&self.url[n % self.url.len()]).to_owned();
        let address = tokio::net::lookup_host(&authority)
            .await
            .map_err(|error| format!("{authority}: {error}"))?
            .next()
            .ok_or_else(|| format!("{authority} has no address"))?;
        Ok(Door { source: source(address, n), address, authority, token: self.token(n)? })
    }

    /// New public rooms.
    pub async fn rooms(&self, count: usize) -> Result<Vec<Place>> {
        let run = format!("{:08x}", rand::random::<u32>());
        let token = self.token(0)?;
        let rooms = futures_util::stream::iter(0..count).map(|n| {
            let (name, http) = (format!("bench-{run}-{n}"), Http::bearer(&self.url[n % self.url.len()], &token));
            async move {
                let room = http.create_room(&name, "public").await?;
                Ok(Place { id: room.id, seq: room.seq })
            }
        });
        rooms.buffered(ROOMS_AT_ONCE).try_collect().await
    }
}

/// On loopback one source address has too few ports for tens of thousands of sockets; there are 16 million of them.
fn source(address: SocketAddr, n: usize) -> Option<IpAddr> {
    let turn = u8::try_from(n / SOCKETS_PER_SOURCE).ok().filter(|turn| *turn > 0 && *turn < 254)?;
    matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback())
        .then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 0, turn + 1)))
}
