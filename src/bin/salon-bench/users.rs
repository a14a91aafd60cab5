//! Who knocks at the server: users of an issuer whose key we have, or accounts with a password. Either is got ready
//! before anything is measured.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use salon::engine::Result;
use salon::engine::http::Http;
use serde_json::{Map, Value, json};

use crate::ui::Ui;

/// A token outlives every run.
const TOKEN_S: u64 = 86_400;
/// The server hashes few passwords at a time, and lets few wait.
const LOGINS_AT_ONCE: usize = 8;

#[derive(Debug, Args)]
pub struct Who {
    /// The key of an HS256 issuer of the server (`[[auth.issuers]]`): users appear by themselves, and no password is
    /// hashed while it is measured.
    #[arg(long, global = true, env = "SALON_BENCH_ISSUER_KEY", hide_env_values = true, alias = "secret")]
    #[arg(value_name = "KEY", conflicts_with = "password")]
    issuer_key: Option<String>,
    /// `iss` of the tokens, where the server wants one.
    #[arg(long, global = true, value_name = "TEXT", requires = "issuer_key")]
    issuer: Option<String>,
    /// `aud` of the tokens, where the server wants one.
    #[arg(long, global = true, value_name = "TEXT", requires = "issuer_key")]
    audience: Option<String>,
    /// Instead: log in with this password as users bench-0, bench-1 …, who are registered where they are not there.
    #[arg(long, global = true, env = "SALON_BENCH_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

/// One user, ready to knock.
#[derive(Debug)]
pub struct User {
    pub http: Http,
    /// The header line of an upgrade that says who it is.
    pub proof: String,
}

impl Who {
    /// What is wrong with it, for whoever typed it.
    pub fn check(&self) -> Result<()> {
        match (&self.issuer_key, &self.password) {
            (None, None) => {
                Err("--issuer-key is missing (or --password): --help says how the server gets a key".into())
            }
            (Some(key), _) if key.len() < 32 => {
                Err("--issuer-key is shorter than the 32 bytes the server wants".into())
            }
            (_, Some(password)) if password.chars().count() < 8 => {
                Err("--password is shorter than the 8 characters the server wants".into())
            }
            _ => Ok(()),
        }
    }

    /// The same number is the same user in every run, so that runs do not fill the server with users.
    pub async fn users(&self, count: usize, nodes: &[String], ui: &Ui) -> Result<Vec<User>> {
        if let Some(key) = &self.issuer_key {
            return (0..count).map(|n| self.of_issuer(key, n, &nodes[0])).collect();
        }
        let password = self.password.as_deref().unwrap_or_default();
        ui.phase(&format!("logging users in ({count})"));
        let coming = (0..count).map(|n| log_in(&nodes[n % nodes.len()], n, password));
        let mut coming = futures_util::stream::iter(coming).buffered(LOGINS_AT_ONCE);
        let mut users = Vec::with_capacity(count);
        while let Some(user) = coming.try_next().await? {
            users.push(user);
            ui.progress(users.len() as f64 / count as f64, "logged in");
        }
        Ok(users)
    }

    fn of_issuer(&self, key: &str, n: usize, node: &str) -> Result<User> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
        let name = format!("bench-{n}");
        let mut claims = Map::new();
        claims.extend([("sub".into(), json!(name)), ("name".into(), json!(name))]);
        claims.extend([("iat".into(), json!(now)), ("exp".into(), json!(now + TOKEN_S))]);
        claims.extend(self.issuer.iter().map(|issuer| ("iss".into(), json!(issuer))));
        claims.extend(self.audience.iter().map(|audience| ("aud".into(), json!(audience))));
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(key.as_bytes()))
            .map_err(|error| format!("a token: {error}"))?;
        Ok(User { http: Http::bearer(node, &token), proof: format!("Authorization: Bearer {token}") })
    }
}

/// By cookies: a socket opened with an access token would end with it, a quarter of an hour later.
async fn log_in(node: &str, n: usize, password: &str) -> Result<User> {
    let http = Http::new(node);
    let body = json!({"username": format!("bench-{n}"), "password": password});
    let mut answer = http.post("/api/account/register", body.clone()).await?;
    if answer.status == 409 {
        answer = http.post("/api/account/login", body).await?;
    }
    if answer.status == 429 {
        return Err(format!(
            "user bench-{n} is refused, {}: raise limits.registrations_per_minute_address and \
             limits.logins_per_minute_address of the server, or give several sockets to each user (--sockets-per-user)",
            text(&answer.json())
        ));
    }
    if !matches!(answer.status, 200 | 201) {
        return Err(format!("user bench-{n} cannot log in: {} {}", answer.status, text(&answer.json())));
    }
    let cookies = http.cookie_header("/ws").ok_or("a log-in without a cookie")?;
    Ok(User { proof: format!("Cookie: {cookies}"), http })
}

/// What a refusal says.
pub fn text(problem: &Value) -> String {
    problem["detail"].as_str().map_or_else(|| problem.to_string(), str::to_owned)
}
