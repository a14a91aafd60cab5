//! One WebSocket, frame by frame: send this, expect that within a deadline.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::Result;
use super::http::{Http, authority};
use super::observe::{Seen, saw};
use super::wire::text;

/// How long a frame, an upgrade or a close is waited for unless the caller says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Largest frame a server may send: a `joined` with 500 changes of the largest size.
const FRAME_BYTES_MAX: usize = 32 << 20;

/// How a socket is opened.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// `host:port`, or `http://host:port`.
    pub base: String,
    /// `/ws`, or `/ws/chat/general/?after=3`.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    /// Frames that `expect` passed over, oldest first.
    pub passed: Vec<Value>,
    /// Something was fed or is owed (a pong) that has not left yet; it does before this socket is waited for.
    unflushed: bool,
}

/// Refused before the upgrade; `status` 0 when there was no answer at all.
#[derive(Debug, Clone)]
pub struct Refused {
    pub status: u16,
    pub body: String,
}

/// What a socket gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    Frame(Value),
    /// `code` is `None` when the connection ended without a close frame.
    Closed {
        code: Option<u16>,
        reason: String,
    },
}

/// How a socket ended, as in [`Incoming::Closed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub code: Option<u16>,
    pub reason: String,
}

impl Opening {
    /// A socket at `/ws` that shows nothing yet.
    pub fn new(base: &str) -> Self {
        Self { base: base.to_owned(), path: "/ws".to_owned(), headers: Vec::new() }
    }

    pub fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// For programs that can set no header.
    pub fn bearer_subprotocol(self, token: &str) -> Self {
        self.header("sec-websocket-protocol", &format!("salon.v1, bearer.{token}"))
    }

    pub fn cookies(self, http: &Http) -> Self {
        match http.cookie_header("/ws") {
            Some(cookies) => self.header("cookie", &cookies),
            None => self,
        }
    }

    pub fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    pub async fn open(&self) -> Result<Socket, Refused> {
        let refused = |status: u16, body: String| Refused { status, body };
        timeout(PATIENCE, self.upgrade())
            .await
            .unwrap_or_else(|_| Err(refused(0, format!("{}: no upgrade within {PATIENCE:?}", self.base))))
    }

    /// Opens it and takes the `welcome`.
    pub async fn welcomed(&self) -> Result<Socket> {
        let mut socket = self.open().await.map_err(|refused| format!("{refused:?}"))?;
        let first = socket.frame().await?;
        if text(&first, "type") != "welcome" {
            return Err(format!("the first frame is {first}"));
        }
        Ok(socket)
    }

    async fn upgrade(&self) -> Result<Socket, Refused> {
        let failed = |error: String| Refused { status: 0, body: error };
        let authority = authority(&self.base);
        let mut request = format!("ws://{authority}{}", self.path)
            .into_client_request()
            .map_err(|error| failed(format!("{}: {error}", self.path)))?;
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| failed(error.to_string()))?;
            let value = value.parse().map_err(|_| failed(format!("header value {value:?}")))?;
            request.headers_mut().append(name, value);
        }
        let tcp = TcpStream::connect(authority).await.map_err(|error| failed(format!("{authority}: {error}")))?;
        // Best effort: only latency depends on it.
        let _ = tcp.set_nodelay(true);
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(4 << 10)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        match client_async_with_config(request, tcp, Some(config)).await {
            Ok((stream, answer)) => {
                let chosen = answer.headers().get("sec-websocket-protocol");
                let subprotocol = chosen.and_then(|value| value.to_str().ok()).map(str::to_owned);
                Ok(Socket { stream, subprotocol, passed: Vec::new(), unflushed: false })
            }
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().map(|body| String::from_utf8_lossy(body).into_owned());
                Err(Refused { status: answer.status().as_u16(), body: body.unwrap_or_default() })
            }
            Err(error) => Err(failed(format!("{authority}: {error}"))),
        }
    }
}

impl Socket {
    pub async fn send(&mut self, frame: Value) -> Result<()> {
        self.send_text(&frame.to_string()).await
    }

    /// Any text, JSON or not.
    pub async fn send_text(&mut self, text: &str) -> Result<()> {
        self.put(Message::Text(text.into())).await
    }

    pub async fn send_binary(&mut self, bytes: &[u8]) -> Result<()> {
        self.put(Message::Binary(bytes.to_vec().into())).await
    }

    /// Writes with whatever else is fed before the next frame is waited for: one system call for many frames.
    pub async fn feed_text(&mut self, text: String) -> Result<()> {
        self.unflushed = true;
        let fed = timeout(PATIENCE, self.stream.feed(Message::Text(text.into()))).await;
        fed.map_err(|_| format!("the socket took nothing for {PATIENCE:?}"))?.map_err(|error| error.to_string())
    }

    /// The WebSocket's own ping, written as in [`Socket::feed_text`].
    pub async fn feed_ping(&mut self) -> Result<()> {
        self.unflushed = true;
        let fed = timeout(PATIENCE, self.stream.feed(Message::Ping(Default::default()))).await;
        fed.map_err(|_| format!("the socket took nothing for {PATIENCE:?}"))?.map_err(|error| error.to_string())
    }

    /// Whatever comes next, for as long as it takes; pings are answered on the way.
    pub async fn next(&mut self) -> Incoming {
        match self.next_text().await {
            Ok(text) => {
                let frame = parse(&text);
                saw(&Seen::Frame(&frame));
                Incoming::Frame(frame)
            }
            Err(Closed { code, reason }) => Incoming::Closed { code, reason },
        }
    }

    /// As [`Socket::next`], unread: for who gets too many frames to take each apart. Safe to drop while it waits.
    pub async fn next_text(&mut self) -> Result<Utf8Bytes, Closed> {
        loop {
            let next = match self.stream.next().now_or_never() {
                Some(next) => next,
                None => {
                    self.flush().await;
                    self.stream.next().await
                }
            };
            match next {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => {
                    // Lets the server see our half of the close; not waited for, it may be gone already.
                    let _ = self.stream.flush().now_or_never();
                    let code = frame.as_ref().map(|frame| frame.code.into());
                    let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    return Err(Closed { code, reason });
                }
                // The answer is queued by the library and leaves with the next flush.
                Some(Ok(Message::Ping(_))) => self.unflushed = true,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Closed { code: None, reason: error.to_string() }),
                None => return Err(Closed { code: None, reason: "the stream ended".to_owned() }),
            }
        }
    }

    /// Whatever comes next within `within`; an error is silence.
    pub async fn next_within(&mut self, within: Duration) -> Result<Incoming> {
        timeout(within, self.next()).await.map_err(|_| format!("nothing within {within:?}"))
    }

    /// The next frame, whatever it is.
    pub async fn frame(&mut self) -> Result<Value> {
        match self.next_within(PATIENCE).await? {
            Incoming::Frame(frame) => Ok(frame),
            Incoming::Closed { code, reason } => Err(format!("closed with {code:?} {reason}")),
        }
    }

    /// The next frame of this type; others on the way are put into `passed`.
    pub async fn expect(&mut self, kind: &str) -> Result<Value> {
        self.expect_where(kind, PATIENCE, |frame| text(frame, "type") == kind).await
    }

    /// The next frame that `wanted` says yes to; `what` is for the error.
    pub async fn expect_where(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            match timeout_at(deadline, self.next()).await {
                Ok(Incoming::Frame(frame)) if wanted(&frame) => return Ok(frame),
                Ok(Incoming::Frame(frame)) => self.passed.push(frame),
                Ok(Incoming::Closed { code, reason }) => {
                    return Err(format!("waited for {what}, closed with {code:?} {reason}; passed {:?}", self.passed));
                }
                Err(_) => return Err(format!("no {what} within {within:?}; passed {:?}", self.passed)),
            }
        }
    }

    /// The close code, frames on the way put into `passed`.
    pub async fn closed(&mut self, within: Duration) -> Result<Option<u16>> {
        let deadline = Instant::now() + within;
        loop {
            match timeout_at(deadline, self.next()).await {
                Ok(Incoming::Closed { code, .. }) => return Ok(code),
                Ok(Incoming::Frame(frame)) => self.passed.push(frame),
                Err(_) => return Err(format!("not closed within {within:?}; passed {:?}", self.passed)),
            }
        }
    }

    /// Everything the server had to say before it answered a ping: proof that nothing more was on its way, without
    /// waiting for time to pass.
    pub async fn drained(&mut self) -> Result<Vec<Value>> {
        let mark = self.passed.len();
        self.send(json!({"type": "ping"})).await?;
        self.expect("pong").await?;
        Ok(self.passed.split_off(mark))
    }

    /// Joins and gives the `joined` frame (or the error frame).
    pub async fn join(&mut self, room: &str) -> Result<Value> {
        self.ask(json!({"type": "join", "room": room})).await
    }

    /// Sends a frame with a `ref` of its own and gives the frame that carries it.
    pub async fn ask(&mut self, mut frame: Value) -> Result<Value> {
        let mark = json!(format!("ask-{:016x}", rand::random::<u64>()));
        frame["ref"] = mark.clone();
        self.send(frame.clone()).await?;
        let answer = self.expect_where(&format!("an answer to {frame}"), PATIENCE, |frame| frame["ref"] == mark).await;
        answer.map(|mut answer| {
            answer.as_object_mut().map(|fields| fields.remove("ref"));
            answer
        })
    }

    /// A proper close; what the server still says is not waited for.
    pub async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.stream.close(None)).await;
    }

    /// What fails here is told by the next read.
    async fn flush(&mut self) {
        if self.unflushed {
            let _ = timeout(PATIENCE, self.stream.flush()).await;
            self.unflushed = false;
        }
    }

    async fn put(&mut self, message: Message) -> Result<()> {
        timeout(PATIENCE, self.stream.send(message))
            .await
            .map_err(|_| format!("the socket took nothing for {PATIENCE:?}"))?
            .map_err(|error| error.to_string())
    }
}

/// A frame that is no JSON becomes a string, so that a test sees what came.
fn parse(text: &Utf8Bytes) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_string()))
}
