//! What is measured: its addresses, the users that knock there, the rooms of a run.

use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use salon::engine::Result;
use salon::engine::http::Http;
use salon::engine::socket::{Opening, Socket};
use salon::engine::wire::Room;
use serde_json::json;

/// Rooms asked for at the same time.
const ROOMS_AT_ONCE: usize = 16;
/// A token outlives every run.
const TOKEN_S: u64 = 86_400;

#[derive(Debug, Args)]
pub struct Target {
    /// A node, as http://host:port; several times for a cluster: sockets take turns.
    #[arg(long = "url", global = true, default_value = "http://127.0.0.1:8000")]
    urls: Vec<String>,
    /// The key of the server's HS256 issuer; `salon-bench --help` says below how the server gets it.
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    secret: String,
    /// Sockets of each user; over 20 the server refuses, unless its limits.sockets_per_user was raised.
    #[arg(long, global = true, default_value = "1")]
    sockets_per_user: NonZeroUsize,
    /// Sockets being opened at the same time.
    #[arg(long, global = true, default_value = "64")]
    pub opening: NonZeroUsize,
    /// Processes of the server on this machine, the node first, then perhaps the database and Redis: their CPU time
    /// is told, that of their children included, and the memory of the first. Several times, or with commas.
    #[arg(long = "pid", global = true, value_delimiter = ',')]
    pub pids: Vec<u32>,
}

impl Target {
    /// The run's `n`th socket, welcomed.
    pub async fn open(&self, n: usize) -> Result<Socket> {
        Opening::new(self.url(n)).bearer(&self.token(n / self.sockets_per_user)?).welcomed().await
    }

    /// New public rooms.
    pub async fn new_rooms(&self, count: usize) -> Result<Vec<Room>> {
        let run = format!("{:08x}", rand::random::<u32>());
        let made = (0..count).map(|n| {
            let name = format!("bench-{run}-{n}");
            async move { self.http(n)?.create_room(&name, "public").await }
        });
        futures_util::stream::iter(made).buffered(ROOMS_AT_ONCE).try_collect().await
    }

    /// The same rooms as they are now.
    pub async fn again(&self, rooms: &[Room]) -> Result<Vec<Room>> {
        let asked = rooms.iter().enumerate().map(|(n, room)| async move { self.http(n)?.room(&room.slug).await });
        futures_util::stream::iter(asked).buffered(ROOMS_AT_ONCE).try_collect().await
    }

    fn http(&self, n: usize) -> Result<Http> {
        Ok(Http::bearer(self.url(n), &self.token(0)?))
    }

    fn url(&self, n: usize) -> &str {
        &self.urls[n % self.urls.len()]
    }

    /// The same number is the same user in every run, so that runs do not fill the server with users.
    fn token(&self, user: usize) -> Result<String> {
        if self.secret.is_empty() {
            return Err("--secret is missing; --help says how the server is prepared".into());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
        let name = format!("bench-{user}");
        let claims = json!({"sub": name, "name": name, "iat": now, "exp": now + TOKEN_S});
        encode(&Header::default(), &claims, &EncodingKey::from_secret(self.secret.as_bytes()))
            .map_err(|error| format!("a token: {error}"))
    }
}
