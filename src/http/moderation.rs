//! Bans and mutes over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::fields::{Fields, OptionalFields, Query, RoomPath, Segments};
use super::rooms::{Page, encode, next_link};
use crate::error::Result;
use crate::model::{Reason, RoomRef, Timestamp, UserId, Username};
use crate::node::Node;
use crate::node::rooms::Who;
use crate::protocol::said::Terms;
use crate::store::{Act, Sanction, SanctionKind, Sanctioned};

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;

/// The room and the username of a path.
type Place = Segments<(String, String)>;

/// A ban or a mute in force.
#[derive(Serialize, ToSchema)]
#[schema(as = Sanctioned)]
struct SanctionedShape<'a> {
    username: &'a Username,
    user_id: UserId,
    reason: &'a Reason,
    #[schema(required)]
    until: Option<Timestamp>,
    /// `null` where nobody knows any more.
    #[schema(required)]
    by: Option<&'a Username>,
    created_at: Timestamp,
}

/// Who is banned.
#[utoipa::path(get, path = "/rooms/{room}/bans", tag = "moderation", params(Page),
    responses((status = 200, body = [SanctionedShape], headers(("Link" = String, description = "the next page")))))]
pub async fn bans(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    query: Query,
) -> Result<Response> {
    list(&node, &caller, &room, &query, SanctionKind::Ban).await
}

/// Who is muted.
#[utoipa::path(get, path = "/rooms/{room}/mutes", tag = "moderation", params(Page),
    responses((status = 200, body = [SanctionedShape], headers(("Link" = String, description = "the next page")))))]
pub async fn mutes(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    query: Query,
) -> Result<Response> {
    list(&node, &caller, &room, &query, SanctionKind::Mute).await
}

/// Bans somebody, member or not, or sets the terms anew.
#[utoipa::path(put, path = "/rooms/{room}/bans/{username}", tag = "moderation", request_body = Option<Terms>,
    responses((status = 204), (status = 409, description = "they are the last owner")))]
pub async fn ban(
    State(node): State<Arc<Node>>,
    caller: Caller,
    place: Place,
    OptionalFields(fields): OptionalFields,
) -> Result<StatusCode> {
    act(&node, &caller, place, Act::Ban(terms(&fields)?)).await
}

/// Lifts a ban.
#[utoipa::path(delete, path = "/rooms/{room}/bans/{username}", tag = "moderation", responses((status = 204)))]
pub async fn unban(State(node): State<Arc<Node>>, caller: Caller, place: Place) -> Result<StatusCode> {
    act(&node, &caller, place, Act::Unban).await
}

/// Mutes somebody, or sets the terms anew.
#[utoipa::path(put, path = "/rooms/{room}/mutes/{username}", tag = "moderation", request_body = Option<Terms>,
    responses((status = 204)))]
pub async fn mute(
    State(node): State<Arc<Node>>,
    caller: Caller,
    place: Place,
    OptionalFields(fields): OptionalFields,
) -> Result<StatusCode> {
    act(&node, &caller, place, Act::Mute(terms(&fields)?)).await
}

/// Lifts a mute.
#[utoipa::path(delete, path = "/rooms/{room}/mutes/{username}", tag = "moderation", responses((status = 204)))]
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
    let items: Vec<_> = page.items.iter().map(shape).collect();
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

fn shape(one: &Sanctioned) -> SanctionedShape<'_> {
    SanctionedShape {
        username: &one.username,
        user_id: one.user,
        reason: &one.reason,
        until: one.until,
        by: one.by.as_ref(),
        created_at: one.created_at,
    }
}
