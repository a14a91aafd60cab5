//! One stream of Server-Sent Events, read as browsers read it; and [`watcher`], which comes back as they do.

pub mod watcher;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Result;
use super::http::{Answer, Http, authority};
use super::observe::{Seen, saw};

/// How long an answer or an event is waited for unless the caller says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How a stream is asked for.
#[derive(Debug, Clone, Default)]
pub struct Asking {
    /// `host:port`, or `http://host:port`.
    pub base: String,
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

/// An open stream.
#[derive(Debug)]
pub struct Events {
    pub headers: HeaderMap,
    body: Incoming,
    unread: Vec<u8>,
    /// The id of the last event that had one, as the next request would tell it.
    pub last_id: String,
    /// How long to wait before coming back, as the stream said last.
    pub retry: Option<Duration>,
    /// Lines that say nothing and keep the connection alive.
    pub comments: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: String,
    /// As this event itself said it.
    pub id: Option<String>,
    pub data: String,
}

/// No stream.
#[derive(Debug)]
pub enum NoStream {
    /// The network failed: whoever wants it asks again.
    Failed(String),
    /// Answered with something else; a browser gives up.
    Answered(Box<Answer>),
}

impl Asking {
    pub fn new(base: &str, room: &str) -> Self {
        let accept = ("accept".to_owned(), "text/event-stream".to_owned());
        Self { base: base.to_owned(), path: format!("/api/rooms/{room}/events"), headers: vec![accept] }
    }

    /// What follows the path, `?` and all.
    pub fn query(mut self, query: &str) -> Self {
        self.path.push_str(query);
        self
    }

    /// Replaces a header of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn cookies(self, http: &Http) -> Self {
        match http.cookie_header("/api/rooms") {
            Some(cookies) => self.header("cookie", &cookies),
            None => self,
        }
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub async fn open(&self) -> Result<Events, NoStream> {
        let answer = timeout(PATIENCE, self.ask()).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("{}: no answer within {PATIENCE:?}", self.base)));
        let (head, body) = answer.map_err(NoStream::Failed)?.into_parts();
        let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if head.status == 200 && kind.split(';').next() == Some("text/event-stream") {
            return Ok(Events {
                headers: head.headers,
                body,
                unread: Vec::new(),
                last_id: String::new(),
                retry: None,
                comments: 0,
            });
        }
        let body = timeout(PATIENCE, body.collect()).await.ok().and_then(Result::ok);
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body };
        let (path, content_type) = (&self.path, answer.content_type());
        saw(&Seen::Answer { method: "GET", path, status: answer.status, content_type, body: &answer.body });
        Err(NoStream::Answered(Box::new(answer)))
    }

    /// The answer that is no stream.
    pub async fn refused(&self) -> Result<Answer> {
        match self.open().await {
            Err(NoStream::Answered(answer)) => Ok(*answer),
            Err(NoStream::Failed(why)) => Err(why),
            Ok(_) => Err("a stream was opened".to_owned()),
        }
    }

    async fn ask(&self) -> Result<Response<Incoming>> {
        let authority = authority(&self.base);
        let failed = |error: &dyn std::fmt::Display| format!("{authority}{}: {error}", self.path);
        let mut request = Request::get(&self.path).header(HOST, authority);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
        debug_assert!(request.headers().contains_key(ACCEPT));
        let tcp = TcpStream::connect(authority).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.map_err(|error| failed(&error))?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| failed(&error))
    }
}

impl Events {
    /// The next event, for as long as it takes; the reason when the stream ended.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(block) = self.block() {
                if let Some(event) = self.dispatched(&block) {
                    if let Ok(frame) = event.frame() {
                        saw(&Seen::Frame(&frame));
                    }
                    return Ok(event);
                }
                continue;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.unread.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the stream ended".to_owned()),
            }
        }
    }

    pub async fn next_within(&mut self, within: Duration) -> Result<Event> {
        timeout(within, self.next()).await.map_err(|_| format!("nothing within {within:?}"))?
    }

    /// The frame of the next event of this kind; others are passed over.
    pub async fn expect(&mut self, kind: &str) -> Result<Value> {
        self.expect_where(kind, |event, _| event.kind == kind).await.map(|(_, frame)| frame)
    }

    pub async fn expect_where(
        &mut self,
        what: &str,
        wanted: impl Fn(&Event, &Value) -> bool,
    ) -> Result<(Event, Value)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let next = timeout_at(deadline, self.next()).await;
            let event = next.map_err(|_| format!("no {what} within {PATIENCE:?}"))?;
            let event = event.map_err(|error| format!("waited for {what}: {error}"))?;
            let frame = event.frame()?;
            if wanted(&event, &frame) {
                return Ok((event, frame));
            }
        }
    }

    /// Everything up to the stream's end.
    pub async fn rest(&mut self, within: Duration) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let ended = async {
            while let Ok(event) = self.next().await {
                events.push(event);
            }
        };
        let ended = timeout(within, ended).await;
        ended.map_err(|_| format!("it did not end within {within:?}; {events:?}"))?;
        Ok(events)
    }

    /// Lines up to an empty one.
    fn block(&mut self) -> Option<String> {
        let end = self.unread.windows(2).position(|pair| pair == b"\n\n")?;
        let block = self.unread.drain(..end + 2).collect();
        // What is no UTF-8 shows as what is no JSON.
        Some(String::from_utf8(block).unwrap_or_default())
    }

    fn dispatched(&mut self, block: &str) -> Option<Event> {
        let (mut kind, mut id, mut data) = (String::new(), None, Vec::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() => {}
                "" => self.comments += 1,
                "event" => value.clone_into(&mut kind),
                "id" => id = Some(value.to_owned()),
                "data" => data.push(value),
                "retry" => self.retry = value.parse().ok().map(Duration::from_millis),
                _ => {}
            }
        }
        if let Some(id) = &id {
            self.last_id.clone_from(id);
        }
        (!data.is_empty()).then(|| Event { kind, id, data: data.join("\n") })
    }
}

impl Event {
    pub fn frame(&self) -> Result<Value> {
        serde_json::from_str(&self.data).map_err(|error| format!("{error} in {:?}", self.data))
    }
}
