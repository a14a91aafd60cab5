//! Everything that is decided before a socket stands: origin, identity, room, limits. A refusal is an HTTP answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;
use axum::routing::get;

use super::apart::Apart;
use super::{reader, writer};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::http::auth::{Caller, SUBPROTOCOL, authenticate};
use crate::http::fields::{Query, Segments};
use crate::http::held::{Held, going};
use crate::http::origin::{self, ClientAddress, Peer, client_address};
use crate::model::{Epoch, RoomRef, User};
use crate::node::Node;
use crate::protocol::PROTOCOL_VERSION;
use crate::protocol::frames::{ServerFrame, WelcomeLimits};
use crate::protocol::incoming::{JOIN_LIMIT_DEFAULT, JOIN_LIMIT_MAX, JoinWish};

/// tungstenite's default of 128 KiB a socket would make idle sockets cost gigabytes.
const READ_BUFFER_BYTES: usize = 2 * 1024;
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// The WebSocket's routes; a trailing slash is taken off before they are looked at.
pub fn router() -> Router<Arc<Node>> {
    Router::new().route("/ws", get(any_rooms)).route("/ws/chat/{room}", get(one_room))
}

/// What every socket is held to; also those that the protocol's own conformance suite is run against.
pub fn set_up(upgrade: WebSocketUpgrade, frame_bytes: usize) -> WebSocketUpgrade {
    upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(frame_bytes)
        .max_frame_size(frame_bytes)
}

async fn any_rooms(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    extensions: Extensions,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let (upgrade, caller) = admit(&node, &headers, &extensions, upgrade).await?;
    let from = client_address(&node.config.server, &headers, Peer::of(&extensions));
    stand(node, upgrade, (caller, from), None)
}

async fn one_room(
    State(node): State<Arc<Node>>,
    Segments(room): Segments<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    extensions: Extensions,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let (upgrade, caller) = admit(&node, &headers, &extensions, upgrade).await?;
    let query = Query::parse(query.as_deref().unwrap_or_default());
    let after = query.seq("after")?;
    let limit = query.limit_from_zero(JOIN_LIMIT_DEFAULT, JOIN_LIMIT_MAX)?;
    let epoch = query.get("epoch").map(|epoch| Epoch(epoch.to_owned()));
    let room = room_for(&node, &caller.user, &room).await?;
    let from = client_address(&node.config.server, &headers, Peer::of(&extensions));
    stand(node, upgrade, (caller, from), Some(JoinWish { room, after, epoch, limit }))
}

/// The checks that come before any room: a page of a foreign origin is refused before anybody asks who it is.
async fn admit(
    node: &Arc<Node>,
    headers: &HeaderMap,
    extensions: &Extensions,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<(WebSocketUpgrade, Caller)> {
    origin::check(&node.config.server, headers, Peer::of(extensions))?;
    let caller = authenticate(node, headers).await?;
    if node.refuses_sockets() {
        return Err(going());
    }
    let upgrade = upgrade.map_err(|rejection| Error::Malformed(format!("not a WebSocket request: {rejection}")))?;
    Ok((upgrade, caller))
}

/// The room of `/ws/chat/{room}/`: digits are an id, all else is what a person typed.
async fn room_for(node: &Arc<Node>, who: &User, typed: &str) -> Result<RoomRef> {
    let info = if !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_digit()) {
        node.see_room(who, &RoomRef::parse_path(typed)?).await?
    } else {
        node.see_or_create_room(who, typed).await?
    };
    Ok(RoomRef::Id(info.id))
}

fn stand(
    node: Arc<Node>,
    upgrade: WebSocketUpgrade,
    (caller, from): (Caller, ClientAddress),
    opening: Option<JoinWish>,
) -> Result<Response> {
    let limits = welcome_limits(&node.config.limits);
    let user_told = caller.user.clone();
    let welcome = ServerFrame::Welcome {
        protocol: PROTOCOL_VERSION,
        node: &node.name,
        user: &user_told,
        heartbeat_s: node.config.node.heartbeat_s,
        limits: &limits,
    };
    let held = Held::take_up(node.clone(), caller, from, Some(&welcome))?;
    let frame_bytes = held.node.config.limits.frame_bytes;
    Ok(set_up(upgrade, frame_bytes).on_upgrade(move |socket| run(held, socket, opening)))
}

/// One task a socket: reader and writer side by side, whichever ends first ends the other.
async fn run(held: Held, socket: WebSocket, opening: Option<JoinWish>) {
    let Held { node, session } = &held;
    let (sink, mut stream) = futures_util::StreamExt::split(socket);
    let heard = std::sync::atomic::AtomicBool::new(false);
    // Boxed, so that an idle socket's task holds two pointers' worth instead of both whole state machines twice.
    let read = Apart::new(Box::pin(reader::read(node, session, &mut stream, opening, &heard)));
    let write = Apart::new(Box::pin(writer::write(node, session, sink, &heard)));
    let (code, said) = tokio::select! {
        code = read => (code, false),
        code = write => (code, code != writer::BROKEN),
    };
    metrics::counter!(crate::telemetry::metric::CLOSES, "code" => code.to_string()).increment(1);
    if said {
        reader::linger(&mut stream).await;
    }
}

fn welcome_limits(limits: &Limits) -> WelcomeLimits {
    WelcomeLimits {
        messages_per_s: limits.messages_per_s,
        message_burst: limits.message_burst,
        rooms_per_socket: limits.rooms_per_socket,
        content_chars: limits.content_chars,
        frame_bytes: limits.frame_bytes,
    }
}
