//! Rooms, members and who is online, over HTTP.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::fields::{Fields, OptionalFields, Query, RoomPath, Segments};
use crate::error::{Error, Result};
use crate::model::{Role, RoomInfo, RoomKind, RoomRef, Timestamp, UserId, Username};
use crate::node::Node;
use crate::node::rooms::Who;
use crate::protocol::said::{NewMark, NewMember, NewRoom, RoomChange};
use crate::store::Member;

const ROOMS_DEFAULT: u32 = 100;
const ROOMS_MAX: u32 = 1_000;
const MEMBERS_DEFAULT: u32 = 1_000;
const MEMBERS_MAX: u32 = 1_000;
/// Names told of those who are online; the count is of all.
const ONLINE_MAX: usize = 500;

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Page {
    /// How many at most; over the maximum it is the maximum.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberShape<'a> {
    username: &'a Username,
    user_id: UserId,
    role: Role,
    since: Timestamp,
}

/// Who is online: all are counted, the first 500 named.
#[derive(Serialize, ToSchema)]
struct Online {
    user_count: usize,
    users: Vec<Username>,
}

/// The rooms the user may see, own ones first.
#[utoipa::path(get, path = "/rooms", tag = "rooms", params(Page),
    responses((status = 200, body = [RoomInfo], headers(("Link" = String, description = "the next page")))))]
pub async fn list(State(node): State<Arc<Node>>, caller: Caller, query: Query) -> Result<Response> {
    let limit = query.limit(ROOMS_DEFAULT, ROOMS_MAX)?;
    let page = node.list_rooms(&caller.user, limit, query.get("cursor")).await?;
    Ok((next_link("/api/rooms", page.next.as_deref(), limit), Json(page.items)).into_response())
}

/// Makes a room; its maker is its owner. A direct room is that of two users, made by whoever asks first.
#[utoipa::path(post, path = "/rooms", tag = "rooms", request_body = NewRoom,
    responses((status = 201, body = RoomInfo), (status = 200, body = RoomInfo, description = "the direct room is there"),
        (status = 404, description = "there is no such user"), (status = 409, description = "no address is free")))]
pub async fn create(State(node): State<Arc<Node>>, caller: Caller, fields: Fields) -> Result<Response> {
    let kind = fields.optional_word("kind", RoomKind::from_word, "public, private, direct")?;
    let kind = kind.unwrap_or(RoomKind::Public);
    if kind == RoomKind::Direct {
        let (info, made) = node.direct_room(&caller.user, fields.string("username")?).await?;
        let status = if made { StatusCode::CREATED } else { StatusCode::OK };
        return Ok((status, Json(info)).into_response());
    }
    let (name, topic) = (fields.string("name")?, fields.optional_string("topic")?.unwrap_or_default());
    let info = node.create_room(&caller.user, name, topic, kind).await?;
    Ok((StatusCode::CREATED, Json(info)).into_response())
}

/// A room as the user sees it.
#[utoipa::path(get, path = "/rooms/{room}", tag = "rooms", responses((status = 200, body = RoomInfo)))]
pub async fn get(State(node): State<Arc<Node>>, caller: Caller, RoomPath(room): RoomPath) -> Result<Json<RoomInfo>> {
    node.see_room(&caller.user, &room).await.map(Json)
}

/// Changes name or topic, or how long messages are kept.
#[utoipa::path(patch, path = "/rooms/{room}", tag = "rooms", request_body = RoomChange,
    responses((status = 200, body = RoomInfo)))]
pub async fn update(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    fields: Fields,
) -> Result<Json<RoomInfo>> {
    let (name, topic) = (fields.optional_string("name")?, fields.optional_string("topic")?);
    node.update_room(&caller.user, &room, name, topic, fields.optional_seq("retention_days")?).await.map(Json)
}

/// Deletes a room with all that is in it.
#[utoipa::path(delete, path = "/rooms/{room}", tag = "rooms", responses((status = 204)))]
pub async fn delete(State(node): State<Arc<Node>>, caller: Caller, RoomPath(room): RoomPath) -> Result<StatusCode> {
    node.delete_room(&caller.user, &room).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is online.
#[utoipa::path(get, path = "/rooms/{room}/users", tag = "rooms", responses((status = 200, body = Online)))]
pub async fn users(State(node): State<Arc<Node>>, caller: Caller, RoomPath(room): RoomPath) -> Result<Response> {
    let (users, user_count) = node.list_online(&caller.user, &room, ONLINE_MAX).await?;
    Ok(Json(Online { user_count, users }).into_response())
}

/// Who belongs to the room.
#[utoipa::path(get, path = "/rooms/{room}/members", tag = "members", params(Page),
    responses((status = 200, body = [MemberShape], headers(("Link" = String, description = "the next page")))))]
pub async fn members(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    query: Query,
) -> Result<Response> {
    let limit = query.limit(MEMBERS_DEFAULT, MEMBERS_MAX)?;
    let (slug, page) = node.list_members(&caller.user, &room, limit, query.get("cursor")).await?;
    let path = format!("/api/rooms/{}/members", encode(slug.as_str()));
    let members: Vec<_> = page.items.iter().map(shape).collect();
    Ok((next_link(&path, page.next.as_deref(), limit), Json(members)).into_response())
}

/// Adds somebody, or changes their role; `me` enters.
#[utoipa::path(put, path = "/rooms/{room}/members/{username}", tag = "members", request_body = Option<NewMember>,
    responses((status = 204), (status = 409, description = "they are banned, or the last owner")))]
pub async fn put_member(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments((room, who)): Segments<(String, String)>,
    OptionalFields(fields): OptionalFields,
) -> Result<StatusCode> {
    let room = RoomRef::parse_path(&room)?;
    let role = fields.optional_word("role", Role::from_word, "owner, moderator, member")?;
    node.put_member(&caller.user, &room, &Who::parse(&caller.user, &who)?, role).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes somebody; `me` leaves.
#[utoipa::path(delete, path = "/rooms/{room}/members/{username}", tag = "members",
    responses((status = 204), (status = 409, description = "they are the last owner")))]
pub async fn remove_member(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments((room, who)): Segments<(String, String)>,
) -> Result<StatusCode> {
    let room = RoomRef::parse_path(&room)?;
    node.remove_member(&caller.user, &room, &Who::parse(&caller.user, &who)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Moves the caller's read mark, forwards only.
#[utoipa::path(put, path = "/rooms/{room}/read", tag = "rooms", request_body = NewMark, responses((status = 204)))]
pub async fn read(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    fields: Fields,
) -> Result<StatusCode> {
    let seq = fields.optional_seq("seq")?.ok_or_else(|| Error::invalid("seq", "is missing"))?;
    node.mark_read(&caller.user, &room, seq).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Percent-encodes all but RFC 3986's unreserved characters, so that it fits into any part of an address.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn shape(member: &Member) -> MemberShape<'_> {
    MemberShape { username: &member.username, user_id: member.user, role: member.role, since: member.since }
}

/// `path` may have a query already.
pub(super) fn next_link(path: &str, cursor: Option<&str>, limit: u32) -> HeaderMap {
    let mark = if path.contains('?') { '&' } else { '?' };
    let link = cursor.map(|cursor| format!("<{path}{mark}cursor={}&limit={limit}>; rel=\"next\"", encode(cursor)));
    let link = link.and_then(|link| HeaderValue::try_from(link).ok());
    link.into_iter().map(|link| (header::LINK, link)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_linked_by_an_encoded_cursor() {
        assert_eq!(next_link("/api/rooms", None, 5).len(), 0);
        assert_eq!(
            next_link("/api/rooms", Some("p:7&x=ö"), 5)["link"],
            "</api/rooms?cursor=p%3A7%26x%3D%C3%B6&limit=5>; rel=\"next\""
        );
        assert_eq!(next_link("/a?q=%26", Some("7"), 5)["link"], "</a?q=%26&cursor=7&limit=5>; rel=\"next\"");
    }
}
