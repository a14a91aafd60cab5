//! Requests over one kept connection: JSON, a bearer token or cookies, whatever header a test wants.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Result;
use super::checker::History;
use super::observe::{Seen, saw};
use super::wire::{Change, Room, User};

/// A whole request and its answer take at most this, unless the caller says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// Largest page of history a server gives.
const PAGE: usize = 200;

/// One caller: an address, who it is, a kept connection. Requests go one after the other.
#[derive(Debug)]
pub struct Http {
    authority: String,
    bearer: Mutex<Option<String>>,
    cookies: Mutex<BTreeMap<String, Cookie>>,
    connection: tokio::sync::Mutex<Option<SendRequest<Full<Bytes>>>>,
}

#[derive(Debug, Clone)]
struct Cookie {
    value: String,
    path: String,
}

/// A request being put together.
#[derive(Debug)]
pub struct Call<'a> {
    http: &'a Http,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
    timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A user made for a run, logged in by cookies.
#[derive(Debug)]
pub struct Account {
    pub http: Http,
    pub user: User,
    pub password: String,
}

impl Http {
    /// `base` is `http://host:port`.
    pub fn new(base: &str) -> Self {
        Self {
            authority: authority(base).to_owned(),
            bearer: Mutex::default(),
            cookies: Mutex::default(),
            connection: tokio::sync::Mutex::default(),
        }
    }

    /// Another caller at the same address who shows this token.
    pub fn bearer(base: &str, token: &str) -> Self {
        let http = Self::new(base);
        http.set_bearer(Some(token));
        http
    }

    /// The same user, by cookies, at another node.
    pub fn at(&self, base: &str) -> Self {
        let other = Self::new(base);
        *lock(&other.bearer) = lock(&self.bearer).clone();
        *lock(&other.cookies) = lock(&self.cookies).clone();
        other
    }

    pub fn set_bearer(&self, token: Option<&str>) {
        *lock(&self.bearer) = token.map(str::to_owned);
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        lock(&self.cookies).get(name).map(|cookie| cookie.value.clone())
    }

    pub fn set_cookie(&self, name: &str, value: &str, path: &str) {
        let cookie = Cookie { value: value.to_owned(), path: path.to_owned() };
        lock(&self.cookies).insert(name.to_owned(), cookie);
    }

    /// The `Cookie` header for a path, as a browser would send it; `None` without cookies.
    pub fn cookie_header(&self, path: &str) -> Option<String> {
        let cookies = lock(&self.cookies);
        let sent: Vec<String> = cookies
            .iter()
            .filter(|(_, cookie)| path.starts_with(&cookie.path))
            .map(|(name, cookie)| format!("{name}={}", cookie.value))
            .collect();
        (!sent.is_empty()).then(|| sent.join("; "))
    }

    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        Call {
            http: self,
            method: Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET),
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            timeout: TIMEOUT,
        }
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.call("GET", path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.call("POST", path).json(&body).send().await
    }

    pub async fn put(&self, path: &str, body: Value) -> Result<Answer> {
        self.call("PUT", path).json(&body).send().await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Result<Answer> {
        self.call("PATCH", path).json(&body).send().await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.call("DELETE", path).send().await
    }

    pub async fn room(&self, room: &str) -> Result<Room> {
        self.get(&format!("/api/rooms/{}", escape(room))).await?.expect(200)
    }

    pub async fn create_room(&self, name: &str, kind: &str) -> Result<Room> {
        self.post("/api/rooms", json!({"name": name, "kind": kind})).await?.expect(201)
    }

    /// The whole history of a room and its head; meant for a room at rest.
    pub async fn history(&self, room: &str) -> Result<History> {
        let info = self.room(room).await?;
        let mut messages: Vec<Change> = Vec::new();
        loop {
            let after = messages.last().map_or(0, |message| message.id);
            let path = format!("/api/rooms/{}/messages?after={after}&limit={PAGE}", escape(room));
            let page: Vec<Change> = self.get(&path).await?.expect(200)?;
            if page.first().is_some_and(|message| message.id <= after) {
                return Err(format!("the page after {after} starts with {}", page[0].id));
            }
            let last = page.len() < PAGE;
            messages.extend(page);
            if last {
                return Ok(History { room: info.slug, epoch: info.epoch, head: info.seq, messages, purged: 0 });
            }
        }
    }

    /// Proof for programs; leaves the cookies alone.
    pub async fn token(&self, username: &str, password: &str) -> Result<String> {
        let body = json!({"username": username, "password": password});
        let answer: Value = self.post("/api/account/token", body).await?.expect(200)?;
        answer["access_token"].as_str().map(str::to_owned).ok_or_else(|| format!("no access_token in {answer}"))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let mut kept = self.connection.lock().await;
        let mut sender = match kept.take() {
            Some(mut sender) => match sender.ready().await {
                Ok(()) => sender,
                Err(_) => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let answer = match sender.send_request(request.clone()).await {
            // The server had closed the kept connection just before: certainly not handled.
            Err(error) if error.is_canceled() => {
                sender = self.connect().await?;
                sender.send_request(request).await
            }
            other => other,
        };
        let (head, body) = answer.map_err(|error| format!("{}: {error}", self.authority))?.into_parts();
        let body = body.collect().await.map_err(|error| format!("{}: {error}", self.authority))?.to_bytes();
        *kept = Some(sender);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream =
            TcpStream::connect(&self.authority).await.map_err(|error| format!("{}: {error}", self.authority))?;
        // Best effort: only latency depends on it.
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| format!("{}: {error}", self.authority))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take_cookies(&self, headers: &HeaderMap) {
        let mut jar = lock(&self.cookies);
        for line in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let attributes: BTreeMap<String, &str> = parts
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(k, v)| (k.to_lowercase(), v))
                .collect();
            if value.is_empty() || attributes.get("max-age") == Some(&"0") {
                jar.remove(name);
            } else {
                let path = (*attributes.get("path").unwrap_or(&"/")).to_owned();
                jar.insert(name.to_owned(), Cookie { value: value.to_owned(), path });
            }
        }
    }
}

impl Call<'_> {
    pub fn json(mut self, body: &Value) -> Self {
        self.body = Some(Bytes::from(body.to_string()));
        self.header("content-type", "application/json")
    }

    /// A body as it stands, for what is not JSON.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Replaces a header of the same name, the ones this client sets itself included.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whatever the status is, it is an answer; an error means that there was none.
    pub async fn send(self) -> Result<Answer> {
        let mut request =
            Request::builder().method(self.method.clone()).uri(&self.path).header(HOST, &self.http.authority);
        if let Some(token) = lock(&self.http.bearer).as_ref() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let path = self.path.split('?').next().unwrap_or("/");
        if let Some(cookies) = self.http.cookie_header(path) {
            request = request.header(COOKIE, cookies);
        }
        let mut request = request
            .body(Full::new(self.body.unwrap_or_default()))
            .map_err(|error| format!("{} {}: {error}", self.method, self.path))?;
        for (name, value) in &self.headers {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            request.headers_mut().insert(name, value.parse().map_err(|_| format!("header value {value:?}"))?);
        }
        let answer = tokio::time::timeout(self.timeout, self.http.exchange(request))
            .await
            .map_err(|_| format!("{} {}: no answer within {:?}", self.method, self.path, self.timeout))??;
        self.http.take_cookies(&answer.headers);
        saw(&Seen::Answer {
            method: self.method.as_str(),
            path: &self.path,
            status: answer.status,
            content_type: answer.content_type(),
            body: &answer.body,
        });
        Ok(answer)
    }
}

impl Answer {
    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE.as_str()).unwrap_or("")
    }

    /// The target of a `Link` header with this `rel`.
    pub fn link(&self, rel: &str) -> Option<String> {
        let wanted = format!("rel=\"{rel}\"");
        let links = self.headers.get_all("link").iter().filter_map(|value| value.to_str().ok());
        let mut links = links.flat_map(|line| line.split(','));
        let link = links.find(|link| link.contains(&wanted))?;
        Some(link.split_once('<')?.1.split_once('>')?.0.to_owned())
    }

    /// The body, if the status is this one.
    pub fn expect<T: DeserializeOwned>(&self, status: u16) -> Result<T> {
        let told = || format!("{} {}", self.status, String::from_utf8_lossy(&self.body));
        if self.status != status {
            return Err(format!("expected {status}, got {}", told()));
        }
        serde_json::from_slice(&self.body).map_err(|error| format!("{error} in {}", told()))
    }
}

impl Account {
    /// Registers a new user, who is logged in by cookies then.
    pub async fn register(base: &str, username: &str) -> Result<Self> {
        let password = format!("correct horse {username}");
        let http = Http::new(base);
        let body = json!({"username": username, "password": password});
        let mut answer: Value = http.post("/api/account/register", body).await?.expect(201)?;
        let user = serde_json::from_value(answer["user"].take()).map_err(|error| error.to_string())?;
        Ok(Self { http, user, password })
    }

    pub async fn token(&self) -> Result<String> {
        Http::new(&self.http.authority).token(&self.user.username, &self.password).await
    }
}

/// A room's name as a part of a path.
pub fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `host:port` of an address with or without its scheme.
pub fn authority(base: &str) -> &str {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
