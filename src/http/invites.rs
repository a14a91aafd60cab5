//! Invitations over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::fields::{OptionalFields, RoomPath, Segments};
use crate::error::Result;
use crate::model::{RoomInfo, RoomRef, Timestamp, Username};
use crate::node::Node;
use crate::node::invites::{INVITE_LIFETIME_MAX, INVITE_USES_MAX};
use crate::protocol::said::NewInvite;
use crate::store::Invite;

/// An invitation as who made it gets it, once. It has no `Debug`: its code must not come into a log.
#[derive(Serialize, ToSchema)]
#[schema(as = FreshInvite)]
struct FreshShape {
    id: String,
    code: String,
    url: String,
    /// `null`: as many as come.
    #[schema(required)]
    uses_left: Option<u32>,
    expires_at: Timestamp,
}

/// An open invitation.
#[derive(Serialize, ToSchema)]
#[schema(as = Invite)]
struct InviteShape<'a> {
    id: String,
    by: &'a Username,
    /// `null`: as many as come.
    #[schema(required)]
    uses_left: Option<u32>,
    created_at: Timestamp,
    expires_at: Timestamp,
}

/// Invites whoever is given the code.
#[utoipa::path(post, path = "/rooms/{room}/invites", tag = "invites", request_body = Option<NewInvite>,
    responses((status = 201, body = FreshShape), (status = 409, description = "too many are open")))]
pub async fn create(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    OptionalFields(fields): OptionalFields,
) -> Result<Response> {
    let uses = fields.optional_count("uses", INVITE_USES_MAX)?;
    let seconds_max = u32::try_from(INVITE_LIFETIME_MAX.as_secs()).unwrap_or(u32::MAX);
    let lifetime = fields.optional_count("expires_in", seconds_max)?.map(|seconds| Duration::from_secs(seconds.into()));
    let made = node.create_invite(&caller.user, &room, uses, lifetime).await?;
    let told = FreshShape {
        id: made.id.to_string(),
        // Behind the `#`, which browsers keep to themselves: the code is in nobody's log.
        url: format!("{}/#invite={}", node.config.server.public_url, made.code),
        code: made.code,
        uses_left: made.uses,
        expires_at: made.expires_at,
    };
    Ok((StatusCode::CREATED, Json(told)).into_response())
}

/// The open invitations.
#[utoipa::path(get, path = "/rooms/{room}/invites", tag = "invites", responses((status = 200, body = [InviteShape])))]
pub async fn list(State(node): State<Arc<Node>>, caller: Caller, RoomPath(room): RoomPath) -> Result<Response> {
    let invites = node.list_invites(&caller.user, &room).await?;
    Ok(Json(invites.iter().map(shape).collect::<Vec<_>>()).into_response())
}

/// Withdraws an invitation; who came by it stays.
#[utoipa::path(delete, path = "/rooms/{room}/invites/{id}", tag = "invites", responses((status = 204)))]
pub async fn withdraw(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments((room, id)): Segments<(String, String)>,
) -> Result<StatusCode> {
    node.withdraw_invite(&caller.user, &RoomRef::parse_path(&room)?, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enters a room by an invitation.
#[utoipa::path(post, path = "/invites/{code}", tag = "invites", responses((status = 200, body = RoomInfo)))]
pub async fn redeem(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments(code): Segments<String>,
) -> Result<Json<RoomInfo>> {
    node.redeem_invite(&caller.user, &code).await.map(Json)
}

fn shape(invite: &Invite) -> InviteShape<'_> {
    InviteShape {
        id: invite.id.to_string(),
        by: &invite.by,
        uses_left: invite.uses_left,
        created_at: invite.created_at,
        expires_at: invite.expires_at,
    }
}
