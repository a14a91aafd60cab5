//! Messages over HTTP: pages of history, and sending, editing, deleting and reacting.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::auth::Caller;
use super::fields::{Fields, Query, RoomPath, Segments};
use super::rooms::encode;
use crate::error::{Error, Result};
use crate::model::{Message, MessageId, RoomRef, Slug};
use crate::node::{Draft, Node, Told};
use crate::protocol::frames::{ChangeText, encode_change};
use crate::protocol::said::{NewContent, NewMessage};
use crate::store::{Around, History};

const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 200;

/// A message's place: the room and the id.
pub(super) struct Place {
    pub room: RoomRef,
    pub id: MessageId,
}

/// Which messages.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its schema is used")]
struct Where {
    /// Older ones than this.
    before: Option<MessageId>,
    /// Newer ones than this; not together with `before`.
    after: Option<MessageId>,
    /// How many at most; over the maximum it is the maximum.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A page of history, oldest first; by default the latest.
#[utoipa::path(get, path = "/rooms/{room}/messages", tag = "messages", params(Where),
    responses((status = 200, body = [ChangeText], headers(("Link" = String, description = "older and newer pages")))))]
pub async fn list(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    query: Query,
) -> Result<Response> {
    let limit = query.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let around = match (query.seq("before")?, query.seq("after")?) {
        (Some(_), Some(_)) => return Err(Error::invalid("after", "cannot be given together with before")),
        (Some(id), None) => Around::Before(id),
        (None, Some(id)) => Around::After(id),
        (None, None) => Around::Latest,
    };
    let (slug, page) = node.history(&caller.user, &room, around, limit).await?;
    let mut headers = HeaderMap::new();
    if let Some(link) = links(&slug, &page, limit) {
        headers.insert(header::LINK, link);
    }
    Ok((headers, json(join(&page.messages, &slug))).into_response())
}

/// Says something.
#[utoipa::path(post, path = "/rooms/{room}/messages", tag = "messages", request_body = NewMessage,
    responses((status = 201, body = ChangeText), (status = 200, body = ChangeText, description = "it was said before"),
        (status = 409, description = "the nonce was used for something else")))]
pub async fn send(
    State(node): State<Arc<Node>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    fields: Fields,
) -> Result<Response> {
    let draft = Draft {
        content: fields.string("content")?.to_owned(),
        nonce: fields.optional_string("nonce")?.map(str::to_owned),
        reply_to: fields.optional_seq("reply_to")?,
    };
    let told = node.send(&caller.user, &room, &draft).await?;
    let status = if told.unchanged { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, tell(&told)).into_response())
}

/// Says it otherwise.
#[utoipa::path(patch, path = "/rooms/{room}/messages/{id}", tag = "messages", request_body = NewContent,
    responses((status = 200, body = ChangeText), (status = 409, description = "it is deleted")))]
pub async fn edit(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments(path): Segments<(String, String)>,
    fields: Fields,
) -> Result<Response> {
    let Place { room, id } = Place::parse(&path)?;
    Ok(tell(&node.edit(&caller.user, &room, id, fields.string("content")?).await?))
}

/// Takes it back; its place stays.
#[utoipa::path(delete, path = "/rooms/{room}/messages/{id}", tag = "messages",
    responses((status = 200, body = ChangeText)))]
pub async fn delete(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments(path): Segments<(String, String)>,
) -> Result<Response> {
    let Place { room, id } = Place::parse(&path)?;
    Ok(tell(&node.delete(&caller.user, &room, id).await?))
}

/// Gives a reaction; one of each emoji a user.
#[utoipa::path(put, path = "/rooms/{room}/messages/{id}/reactions/{emoji}", tag = "messages",
    responses((status = 200, body = ChangeText), (status = 409, description = "the message is deleted, or has too many kinds of reactions"),
        (status = 422, description = "it is no emoji")))]
pub async fn react(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments((room, id, emoji)): Segments<(String, String, String)>,
) -> Result<Response> {
    let Place { room, id } = Place::parse(&(room, id))?;
    Ok(tell(&node.react(&caller.user, &room, id, &emoji, true).await?))
}

/// Takes one's own reaction back.
#[utoipa::path(delete, path = "/rooms/{room}/messages/{id}/reactions/{emoji}", tag = "messages",
    responses((status = 200, body = ChangeText), (status = 409, description = "the message is deleted"),
        (status = 422, description = "it is no emoji")))]
pub async fn take_back(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Segments((room, id, emoji)): Segments<(String, String, String)>,
) -> Result<Response> {
    let Place { room, id } = Place::parse(&(room, id))?;
    Ok(tell(&node.react(&caller.user, &room, id, &emoji, false).await?))
}

impl Place {
    /// What cannot be an id is a message that does not exist.
    pub fn parse((room, id): &(String, String)) -> Result<Self> {
        let room = RoomRef::parse_path(room)?;
        match id.parse::<MessageId>() {
            Ok(id) if i64::try_from(id).is_ok() => Ok(Self { room, id }),
            _ => Err(Error::NotFound("there is no such message".to_owned())),
        }
    }
}

/// `prev` leads to older messages, `next` to newer ones; each only where there are any.
fn links(slug: &Slug, page: &History, limit: u32) -> Option<HeaderValue> {
    let path = format!("/api/rooms/{}/messages", encode(slug.as_str()));
    let mut links = String::new();
    if let Some(first) = page.messages.first().filter(|_| page.older) {
        let _ = write!(links, "<{path}?before={}&limit={limit}>; rel=\"prev\"", first.id);
    }
    if let Some(last) = page.messages.last().filter(|_| page.newer) {
        let comma = if links.is_empty() { "" } else { ", " };
        let _ = write!(links, "{comma}<{path}?after={}&limit={limit}>; rel=\"next\"", last.id);
    }
    HeaderValue::try_from(links).ok().filter(|links| !links.is_empty())
}

fn join(messages: &[Message], slug: &Slug) -> String {
    let texts: Vec<String> = messages.iter().map(|message| encode_change(message, slug)).collect();
    format!("[{}]", texts.join(","))
}

pub(super) fn tell(told: &Told) -> Response {
    json(encode_change(&told.message, &told.slug))
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChangeKind, Reactions, RoomId, Timestamp, UserId, Username};

    fn message(id: MessageId) -> Message {
        Message {
            room: RoomId(3),
            id,
            seq: id,
            kind: ChangeKind::Created,
            author: Username::from_stored("alice".into()),
            author_id: UserId(7),
            content: "hi".into(),
            created_at: Timestamp(0),
            edited_at: None,
            deleted: false,
            reply_to: None,
            nonce: None,
            mentions: Vec::new(),
            reactions: Reactions::default(),
        }
    }

    #[test]
    fn pages_link_to_their_neighbours_only_where_there_are_any() {
        let slug = Slug::parse("привет").unwrap();
        let page = |older, newer| History { messages: vec![message(4), message(9)], older, newer };
        let path = "/api/rooms/%D0%BF%D1%80%D0%B8%D0%B2%D0%B5%D1%82/messages";
        assert_eq!(links(&slug, &page(false, false), 50), None);
        assert_eq!(
            links(&slug, &page(true, true), 50).unwrap(),
            format!("<{path}?before=4&limit=50>; rel=\"prev\", <{path}?after=9&limit=50>; rel=\"next\"")
        );
        assert_eq!(links(&slug, &page(false, true), 2).unwrap(), format!("<{path}?after=9&limit=2>; rel=\"next\""));
        assert_eq!(links(&slug, &History { messages: vec![], older: true, newer: true }, 2), None);
    }

    #[test]
    fn a_page_is_an_array_of_the_one_shape() {
        let slug = Slug::parse("a").unwrap();
        let page: serde_json::Value = serde_json::from_str(&join(&[message(4), message(9)], &slug)).unwrap();
        assert_eq!((page[0]["id"].as_u64(), page[1]["type"].as_str()), (Some(4), Some("chat_message")));
        assert_eq!(join(&[], &slug), "[]");
    }

    #[test]
    fn what_is_no_id_is_no_message() {
        for id in ["x", "-1", "9223372036854775808", ""] {
            let error = Place::parse(&("general".to_owned(), id.to_owned())).err().unwrap();
            assert_eq!(error.code(), "not_found", "{id}");
        }
        assert!(Place::parse(&("general".to_owned(), "9".to_owned())).is_ok());
    }
}
