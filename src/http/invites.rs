//! Invitations over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::auth::Caller;
use super::fields::{OptionalFields, RoomPath, Segments};
use crate::error::Result;
use crate::model::{RoomInfo, RoomRef};
use crate::node::Node;
use crate::node::invites::{INVITE_LIFETIME_MAX, INVITE_USES_MAX};
use crate::store::Invite;

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
    let told = json!({
        "id": made.id.to_string(),
        "code": made.code,
        // Behind the `#`, which browsers keep to themselves: the code is in nobody's log.
        "url": format!("{}/#invite={}", node.config.server.public_url, made.code),
        "uses_left": made.uses,
        "expires_at": made.expires_at,
    });
    Ok((StatusCode::CREATED, Json(told)).into_response())
}

pub async fn list(State(node): State<Arc<Node>>, caller: Caller, RoomPath(room): RoomPath) -> Result<Json<Vec<Value>>> {
    let invites = node.list_invites(&caller.user, &room).await?;
    Ok(Json(invites.iter().map(shape).collect()))
}

pub async fn withdraw(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments((room, id)): Segments<(String, String)>,
) -> Result<StatusCode> {
    node.withdraw_invite(&caller.user, &RoomRef::parse_path(&room)?, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn redeem(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments(code): Segments<String>,
) -> Result<Json<RoomInfo>> {
    node.redeem_invite(&caller.user, &code).await.map(Json)
}

fn shape(invite: &Invite) -> Value {
    json!({
        "id": invite.id.to_string(),
        "by": invite.by,
        "uses_left": invite.uses_left,
        "created_at": invite.created_at,
        "expires_at": invite.expires_at,
    })
}
