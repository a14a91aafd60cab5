//! What is for administrators of the site only: accounts, all rooms, any message, the nodes.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::fields::{Fields, Query, RoomPath, Segments};
use super::messages::{Place, tell};
use super::rooms::{encode, next_link};
use crate::error::{Error, Result};
use crate::model::{RoomId, RoomKind, RoomName, Seq, SiteRole, Slug, Timestamp, Topic, User, UserId, Username};
use crate::node::rooms::Who;
use crate::node::{Node, NodeState};
use crate::protocol::frames::ChangeText;
use crate::protocol::said::AccountChange;
use crate::store::{AccountChanges, ListedNode, ListedRoom, ListedUser};

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;

/// An administrator of the site. Taking one as an argument, before any that reads the body, is what makes a call
/// everybody else's 403, whatever they say.
pub struct Administrator(User);

/// What is looked for, and which page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its schema is used")]
struct Asked {
    /// A part of the name, in any case; absent: all.
    #[param(max_length = 100)]
    q: Option<String>,
    /// How many at most; over the maximum it is the maximum.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
}

/// A user as administrators see them.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedUser)]
struct UserShape {
    id: UserId,
    username: Username,
    role: SiteRole,
    disabled: bool,
    created_at: Timestamp,
    /// When a login session of theirs began or was refreshed last; `null`: they have none.
    #[schema(required)]
    last_seen_at: Option<Timestamp>,
    /// The operator's issuer through which they log in; absent for who has a password here.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
}

/// A room as administrators see it; nothing that was said there.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedRoom)]
struct RoomShape {
    id: RoomId,
    slug: Slug,
    name: RoomName,
    topic: Topic,
    kind: RoomKind,
    seq: Seq,
    /// Counted up to 10,000.
    members: u32,
    created_at: Timestamp,
    /// When something was said or changed there last; `null`: never.
    #[schema(required)]
    changed_at: Option<Timestamp>,
    /// Whose direct room it is; absent for others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    between: Vec<Username>,
}

/// A node by what it wrote last.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedNode)]
struct NodeShape {
    name: String,
    /// Another one for each start.
    incarnation: String,
    version: String,
    state: NodeWord,
    /// Whether it hears itself through the broker.
    broker_up: bool,
    /// Event streams among them; `null`: it is of a release that does not say.
    #[schema(required)]
    sockets: Option<u32>,
    started_at: Timestamp,
    seen_at: Timestamp,
    /// How long ago that was, by the database's clock; a live node writes every 3 seconds.
    lag_ms: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum NodeWord {
    Up,
    Draining,
    /// Not heard of for 15 seconds.
    Gone,
}

/// Users, newest first.
#[utoipa::path(get, path = "/admin/users", tag = "administration", params(Asked),
    responses((status = 200, body = [UserShape], headers(("Link" = String, description = "the next page")))))]
pub async fn users(State(node): State<Arc<Node>>, _: Administrator, query: Query) -> Result<Response> {
    let (part, limit) = (query.get("q").unwrap_or_default(), query.limit(PAGE_DEFAULT, PAGE_MAX)?);
    let page = node.list_users(part, limit, query.get("cursor")).await?;
    let users: Vec<UserShape> = page.items.into_iter().map(UserShape::from).collect();
    Ok((next_link(&searched("/api/admin/users", part), page.next.as_deref(), limit), Json(users)).into_response())
}

/// Disables or enables an account, or changes its role on the site.
#[utoipa::path(patch, path = "/admin/users/{username}", tag = "administration", request_body = AccountChange,
    responses((status = 200, body = UserShape), (status = 409, description = "nobody does that to themselves")))]
pub async fn change_user(
    State(node): State<Arc<Node>>,
    Administrator(by): Administrator,
    Segments(who): Segments<String>,
    fields: Fields,
) -> Result<Response> {
    let disabled = fields.optional_bool("disabled")?;
    let role = fields.optional_word("role", SiteRole::from_word, "user, admin")?;
    let user = node.administer(&by, &Who::parse(&by, &who)?, AccountChanges { disabled, role }).await?;
    Ok(Json(UserShape::from(user)).into_response())
}

/// Rooms of all kinds, newest first.
#[utoipa::path(get, path = "/admin/rooms", tag = "administration", params(Asked),
    responses((status = 200, body = [RoomShape], headers(("Link" = String, description = "the next page")))))]
pub async fn rooms(State(node): State<Arc<Node>>, _: Administrator, query: Query) -> Result<Response> {
    let (part, limit) = (query.get("q").unwrap_or_default(), query.limit(PAGE_DEFAULT, PAGE_MAX)?);
    let page = node.list_all_rooms(part, limit, query.get("cursor")).await?;
    let rooms: Vec<RoomShape> = page.items.into_iter().map(RoomShape::from).collect();
    Ok((next_link(&searched("/api/admin/rooms", part), page.next.as_deref(), limit), Json(rooms)).into_response())
}

/// Deletes any room but a direct one, with all that is in it.
#[utoipa::path(delete, path = "/admin/rooms/{room}", tag = "administration", responses((status = 204)))]
pub async fn delete_room(
    State(node): State<Arc<Node>>,
    _: Administrator,
    RoomPath(room): RoomPath,
) -> Result<StatusCode> {
    node.delete_any_room(&room).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes any message of any room; its place stays.
#[utoipa::path(delete, path = "/admin/rooms/{room}/messages/{id}", tag = "administration",
    responses((status = 200, body = ChangeText)))]
pub async fn delete_message(
    State(node): State<Arc<Node>>,
    Administrator(by): Administrator,
    Segments(path): Segments<(String, String)>,
) -> Result<Response> {
    let Place { room, id } = Place::parse(&path)?;
    Ok(tell(&node.delete_any_message(&by, &room, id).await?))
}

/// The nodes that live, and those that went without a word within the last ten minutes.
#[utoipa::path(get, path = "/admin/nodes", tag = "administration", responses((status = 200, body = [NodeShape])))]
pub async fn nodes(State(node): State<Arc<Node>>, _: Administrator) -> Result<Response> {
    let nodes: Vec<NodeShape> = node.list_nodes().await?.into_iter().map(NodeShape::from).collect();
    Ok(Json(nodes).into_response())
}

/// The address whose next page is linked to.
fn searched(path: &str, part: &str) -> String {
    if part.is_empty() { path.to_owned() } else { format!("{path}?q={}", encode(part)) }
}

impl FromRequestParts<Arc<Node>> for Administrator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self> {
        let caller = Caller::from_request_parts(parts, node).await?;
        node.demand_administrator(&caller.user).await?;
        Ok(Self(caller.user))
    }
}

impl From<ListedUser> for UserShape {
    fn from(user: ListedUser) -> Self {
        let ListedUser { id, username, role, disabled, created_at, seen_at, issuer } = user;
        Self { id, username, role, disabled, created_at, last_seen_at: seen_at, issuer }
    }
}

impl From<ListedRoom> for RoomShape {
    fn from(room: ListedRoom) -> Self {
        let ListedRoom { id, slug, name, topic, kind, seq, members, between, created_at, changed_at } = room;
        Self { id, slug, name, topic, kind, seq, members, created_at, changed_at, between }
    }
}

impl From<(NodeState, ListedNode)> for NodeShape {
    fn from((state, node): (NodeState, ListedNode)) -> Self {
        let state = match state {
            NodeState::Up => NodeWord::Up,
            NodeState::Draining => NodeWord::Draining,
            NodeState::Gone => NodeWord::Gone,
        };
        Self {
            name: node.beat.name,
            incarnation: node.beat.incarnation,
            version: node.beat.version,
            state,
            broker_up: node.beat.broker_ok,
            sockets: node.beat.sockets,
            started_at: node.started_at,
            seen_at: node.seen_at,
            lag_ms: node.silent_ms,
        }
    }
}
