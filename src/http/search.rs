//! Search over HTTP.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::schema::{ArrayBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::auth::Caller;
use super::fields::Query;
use super::rooms::encode;
use crate::error::{Error, Result};
use crate::model::RoomRef;
use crate::node::{Node, Piece};
use crate::protocol::frames::{ChangeText, encode_change};
use crate::store::{Before, Found};

const PAGE_DEFAULT: u32 = 20;
const PAGE_MAX: u32 = 100;

/// What is searched for, and where.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its schema is used")]
struct Asked {
    /// Words, "phrases", `-words` that must not be there, and `or`.
    #[param(min_length = 1, max_length = 200)]
    q: String,
    /// Only in this room: its slug or id.
    room: Option<String>,
    /// From the `Link` of the page before; with `room` also the id of a message.
    before: Option<String>,
    /// How many at most; over the maximum it is the maximum.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A message in its one shape, and why it was found.
struct FoundShape;

/// Messages by their words, in the rooms that the user may read, newest first.
#[utoipa::path(get, path = "/search", tag = "messages", params(Asked),
    responses((status = 200, body = [FoundShape], headers(("Link" = String, description = "older ones"))),
        (status = 403, description = "banned from this room"), (status = 404, description = "there is no such room")))]
pub async fn search(State(node): State<Arc<Node>>, caller: Caller, query: Query) -> Result<Response> {
    let limit = query.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let asked = query.get("q").ok_or_else(|| Error::invalid("q", "is missing"))?;
    let room = query.get("room").map(RoomRef::parse_path).transpose()?;
    let before = before(&query, room.is_some())?;
    let page = node.search(&caller.user, asked, room.as_ref(), before, limit).await?;
    let mut headers = HeaderMap::new();
    if let Some(cursor) = page.next {
        let mut link = format!("</api/search?q={}", encode(asked));
        if let Some(room) = query.get("room") {
            let _ = write!(link, "&room={}", encode(room));
        }
        let _ = write!(link, "&before={}&limit={limit}>; rel=\"next\"", encode(&cursor));
        headers.extend(HeaderValue::try_from(link).ok().map(|link| (header::LINK, link)));
    }
    let found: Vec<String> = page.items.iter().map(|(found, pieces)| shown(found, pieces)).collect();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((headers, format!("[{}]", found.join(","))).into_response())
}

/// Digits are a message of the room that is searched; anything else is what a page linked to.
fn before(query: &Query, in_room: bool) -> Result<Option<Before>> {
    let Some(text) = query.get("before") else { return Ok(None) };
    if text.starts_with('c') {
        return Ok(Some(Before::Cursor(text.to_owned())));
    }
    match query.seq("before")? {
        Some(id) if in_room => Ok(Some(Before::Message(id))),
        _ => Err(Error::invalid("before", "names a message only together with room")),
    }
}

impl ToSchema for FoundShape {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Found")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ChangeText::schemas(schemas);
        schemas.push((Piece::name().into_owned(), Piece::schema()));
    }
}

/// As [`shown`] writes it.
impl PartialSchema for FoundShape {
    fn schema() -> RefOr<Schema> {
        let mut shape = ChangeText::schema();
        if let RefOr::T(Schema::Object(fields)) = &mut shape {
            let pieces = ArrayBuilder::new().items(Ref::from_schema_name(Piece::name()));
            fields.properties.insert("highlight".to_owned(), pieces.into());
            fields.required.push("highlight".to_owned());
        }
        shape
    }
}

/// The message in its one shape, and `highlight`.
fn shown(found: &Found, pieces: &[Piece]) -> String {
    let mut text = encode_change(&found.message, &found.slug);
    text.pop();
    let pieces = serde_json::to_string(pieces).expect("an excerpt holds nothing that JSON cannot say");
    let _ = write!(text, r#","highlight":{pieces}}}"#);
    text
}
