//! Server-Sent Events: one room for whoever cannot have a WebSocket, made for the browser's own `EventSource`.
//!
//! A stream is a session like a socket's: it enters the room, has the same bounded queue, and catches up in the same
//! way. What a client of sockets does by itself this side does for one that only reads: it is led away from a node that
//! goes, told how long to wait before it comes back, and never given an answer that would end it for good while it can
//! be served a moment later.

mod text;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rand::Rng;
use tokio::sync::mpsc;

use super::auth::authenticate;
use super::fields::{Query, RoomPath};
use super::held::{Held, going};
use super::origin::{self, Peer, client_address};
use super::server::Connection;
use crate::error::{Error, Result};
use crate::model::{Epoch, RoomRef, Seq};
use crate::node::Node;
use crate::protocol::incoming::{Echo, JOIN_LIMIT_DEFAULT, JOIN_LIMIT_MAX, JoinWish};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// How long a client waits before it comes back; each stream is told another time, so that those of a node that died do
/// not come all at once.
const RETRY_MS: std::ops::RangeInclusive<u64> = 500..=2_500;

/// What a request for a stream says, besides which room.
struct Asked {
    method: Method,
    query: Query,
    headers: HeaderMap,
    extensions: Extensions,
}

/// Where a stream begins.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its schema is used")]
struct Start {
    /// The last position that is known; absent: from the latest messages.
    after: Option<Seq>,
    /// The life of the room's clock that the position is of.
    epoch: Option<String>,
    /// How many of the latest messages.
    limit: Option<u32>,
}

/// The room's live frames as Server-Sent Events, `joined` first.
///
/// `event:` is a frame's type, `data:` the frame, `id:` the position of those that have one.
#[utoipa::path(get, path = "/rooms/{room}/events", tag = "rooms",
    params(Start, ("Last-Event-ID" = Option<u64>, Header, description = "the last event seen; goes before `after`")),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub async fn open(
    State(node): State<Arc<Node>>,
    room: Result<RoomPath>,
    method: Method,
    query: Query,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let asked = Asked { method, query, headers, extensions };
    let error = match stream(&node, room, &asked).await {
        Ok(response) => return response,
        Err(error) => error,
    };
    if !asked.comes_back() {
        return error.into_response();
    }
    // To an `EventSource` any answer but 200 is the last one, and this refusal is over soon.
    match error {
        Error::Unavailable(_) if node.refuses_sockets() => no_answer(&asked.extensions).await,
        Error::Unavailable(_) => later(retry()),
        Error::RateLimited { retry_after, .. } => later(retry() + retry_after),
        error => error.into_response(),
    }
}

async fn stream(node: &Arc<Node>, room: Result<RoomPath>, asked: &Asked) -> Result<Response> {
    let Asked { method, headers, extensions, .. } = asked;
    let (server, peer) = (&node.config.server, Peer::of(extensions));
    origin::check(server, headers, peer)?;
    // It is a GET, but it enters the room: no page of somebody else's may have a visitor's browser do that.
    origin::check_cookies(server, &Method::POST, headers, peer)?;
    let caller = authenticate(node, headers).await?;
    let RoomPath(room) = room?;
    let wish = asked.wish(room)?;
    if *method == Method::HEAD {
        node.find(&caller.user, &wish.room).await?;
        return Ok(answer(Body::empty()));
    }
    if node.refuses_sockets() {
        return Err(going());
    }
    let from = client_address(server, headers, peer);
    let held = Held::take_up(node.clone(), caller, from, None)?;
    node.join(&held.session, &wish, &Echo::default()).await?;
    let (out, mut chunks) = mpsc::channel(1);
    tokio::spawn(writer::run(held, out, extensions.get::<Connection>().cloned()));
    let chunks = futures_util::stream::poll_fn(move |context| {
        chunks.poll_recv(context).map(|chunk| chunk.map(Ok::<_, std::convert::Infallible>))
    });
    Ok(answer(Body::from_stream(chunks)))
}

impl Asked {
    /// Where the client stands: where its last event left it, else where its address says.
    fn wish(&self, room: RoomRef) -> Result<JoinWish> {
        let after = match self.last_event_id()? {
            Some(seq) => Some(seq),
            None => self.query.seq("after")?,
        };
        let epoch = self.query.get("epoch").map(|epoch| Epoch(epoch.to_owned()));
        let limit = self.query.limit_from_zero(JOIN_LIMIT_DEFAULT, JOIN_LIMIT_MAX)?;
        Ok(JoinWish { room, after, epoch, limit })
    }

    fn last_event_id(&self) -> Result<Option<Seq>> {
        let Some(id) = self.headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else { return Ok(None) };
        let seq = id.to_str().ok().and_then(|id| id.trim().parse::<Seq>().ok());
        seq.filter(|seq| i64::try_from(*seq).is_ok())
            .map(Some)
            .ok_or_else(|| Error::invalid("Last-Event-ID", "must be an integer, 0 or more"))
    }

    /// Whether this is an `EventSource` whose stream broke and that comes back by itself.
    fn comes_back(&self) -> bool {
        let takes_events = self.headers.get(header::ACCEPT).is_some_and(|accept| *accept == EVENT_STREAM);
        takes_events && self.headers.contains_key(LAST_EVENT_ID)
    }
}

fn answer(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // What nginx gathers before it passes it on is not live.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        // A stream's connection ends with it, so that it can be cut without hurting another request.
        (header::CONNECTION, HeaderValue::from_static("close")),
    ];
    (StatusCode::OK, headers, body).into_response()
}

/// A stream of nothing that says when to ask again.
fn later(after: Duration) -> Response {
    answer(Body::from(text::retry(after)))
}

/// A connection that ends unanswered is one more failure of the network: a load balancer asks another node, and an
/// `EventSource` without one comes back.
async fn no_answer(extensions: &Extensions) -> Response {
    if let Some(connection) = extensions.get::<Connection>() {
        connection.cut();
        std::future::pending::<()>().await;
    }
    going().into_response()
}

fn retry() -> Duration {
    Duration::from_millis(rand::rng().random_range(RETRY_MS))
}
