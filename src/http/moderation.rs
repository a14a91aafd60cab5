//! Bans and mutes over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::auth::Caller;
use super::fields::{Fields, OptionalFields, Query, RoomPath, Segments};
use super::rooms::{encode, next_link};
use crate::error::Result;
use crate::model::{Reason, RoomRef};
use crate::node::Node;
use crate::node::rooms::Who;
use crate::store::{Act, Sanction, SanctionKind, Sanctioned};

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;

/// The room and the username of a path.
type Place = Segments<(String, String)>;

pub async fn bans(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    query: Query,
) -> Result<Response> {
    list(&node, &caller, &room, &query, SanctionKind::Ban).await
}

pub async fn mutes(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    query: Query,
) -> Result<Response> {
    list(&node, &caller, &room, &query, SanctionKind::Mute).await
}

pub async fn ban(
    State(node): State<Arc<Node>>,
    caller: Caller,
    place: Place,
    OptionalFields(fields): OptionalFields,
) -> Result<StatusCode> {
    act(&node, &caller, place, Act::Ban(terms(&fields)?)).await
}

pub async fn unban(State(node): State<Arc<Node>>, caller: Caller, place: Place) -> Result<StatusCode> {
    act(&node, &caller, place, Act::Unban).await
}

pub async fn mute(
    State(node): State<Arc<Node>>,
    caller: Caller,
    place: Place,
    OptionalFields(fields): OptionalFields,
) -> Result<StatusCode> {
    act(&node, &caller, place, Act::Mute(terms(&fields)?)).await
}

pub async fn unmute(State(node): State<Arc<Node>>, caller: Caller, place: Place) -> Result<StatusCode> {
    act(&node, &caller, place, Act::Unmute).await
}

async fn list(
    node: &Arc<Node>,
    caller: &Caller,
    room: &RoomRef,
    query: &Query,
    kind: SanctionKind,
) -> Result<Response> {
    let limit = query.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let (slug, page) = node.list_sanctioned(&caller.user, room, kind, limit, query.get("cursor")).await?;
    let word = match kind {
        SanctionKind::Ban => "bans",
        SanctionKind::Mute => "mutes",
    };
    let path = format!("/api/rooms/{}/{word}", encode(slug.as_str()));
    let items: Vec<Value> = page.items.iter().map(shape).collect();
    Ok((next_link(&path, page.next.as_deref(), limit), Json(items)).into_response())
}

async fn act(node: &Arc<Node>, caller: &Caller, Segments((room, who)): Place, act: Act) -> Result<StatusCode> {
    let room = RoomRef::parse_path(&room)?;
    node.sanction(&caller.user, &room, &Who::parse(&caller.user, &who)?, act).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn terms(fields: &Fields) -> Result<Sanction> {
    let reason = Reason::parse(fields.optional_string("reason")?.unwrap_or_default())?;
    Ok(Sanction { reason, until: fields.optional_time("until")? })
}

fn shape(one: &Sanctioned) -> Value {
    json!({
        "username": one.username,
        "user_id": one.user,
        "reason": one.reason,
        "until": one.until,
        "by": one.by,
        "created_at": one.created_at,
    })
}
