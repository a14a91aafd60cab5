//! Reading what a request says (its JSON body, its query, its path), so that a wrong value is named in the answer.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::{RoomRef, Seq, Timestamp};
use crate::node::Node;

/// A body that must be there: one JSON object of at most `limits.frame_bytes`. A field that is `null` counts as
/// absent, one that nobody asks for is passed over.
#[derive(Debug, Default)]
pub struct Fields(Map<String, Value>);

/// A body that may be left out.
#[derive(Debug, Default)]
pub struct OptionalFields(pub Fields);

/// The query, decoded; of a name given twice the first counts.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

/// The variable parts of the path, decoded. What cannot be decoded is a path where nothing is.
#[derive(Debug)]
pub struct Segments<T>(pub T);

/// The `{room}` of a path that has no other variable part.
#[derive(Debug)]
pub struct RoomPath(pub RoomRef);

impl Fields {
    pub fn string(&self, name: &str) -> Result<&str> {
        self.optional_string(name)?.ok_or_else(|| Error::invalid(name, "is missing"))
    }

    pub fn optional_string(&self, name: &str) -> Result<Option<&str>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::invalid(name, "must be a string")),
        }
    }

    /// A value of a room's clock as a store can hold it: 0 to 2^63 − 1.
    pub fn optional_seq(&self, name: &str) -> Result<Option<Seq>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(seq) if i64::try_from(seq).is_ok() => Ok(Some(seq)),
                _ => Err(Error::invalid(name, "must be an integer, 0 or more")),
            },
        }
    }

    pub fn optional_bool(&self, name: &str) -> Result<Option<bool>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(Error::invalid(name, "must be true or false")),
        }
    }

    /// A number of things: 1 to `max`.
    pub fn optional_count(&self, name: &str, max: u32) -> Result<Option<u32>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|count| u32::try_from(count).ok()) {
                Some(count) if (1..=max).contains(&count) => Ok(Some(count)),
                _ => Err(Error::invalid(name, format!("must be an integer from 1 to {max}"))),
            },
        }
    }

    /// A time in RFC 3339.
    pub fn optional_time(&self, name: &str) -> Result<Option<Timestamp>> {
        let Some(text) = self.optional_string(name)? else { return Ok(None) };
        Timestamp::parse(text).map(Some).ok_or_else(|| Error::invalid(name, "must be a time in RFC 3339"))
    }

    /// A word of a fixed list, which `read` knows.
    pub fn optional_word<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        words: &'static str,
    ) -> Result<Option<T>> {
        let Some(word) = self.optional_string(name)? else { return Ok(None) };
        read(word).map(Some).ok_or_else(|| Error::invalid(name, format!("must be one of {words}")))
    }
}

impl Query {
    pub fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The size of a page, 1 or more; over `max` it is `max`.
    pub fn limit(&self, default: u32, max: u32) -> Result<u32> {
        match self.limit_from_zero(default, max)? {
            0 => Err(Error::invalid("limit", "must be an integer, 1 or more")),
            limit => Ok(limit),
        }
    }

    /// The same where an empty page makes sense, as on joining a room.
    pub fn limit_from_zero(&self, default: u32, max: u32) -> Result<u32> {
        let Some(text) = self.get("limit") else { return Ok(default) };
        match text.parse::<u64>() {
            Ok(limit) => Ok(u32::try_from(limit).unwrap_or(max).min(max)),
            // More digits than a u64 has are more than the maximum all the same.
            Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => Ok(max),
            Err(_) => Err(Error::invalid("limit", "must be an integer, 0 or more")),
        }
    }

    pub fn seq(&self, name: &str) -> Result<Option<Seq>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<Seq>() {
            Ok(seq) if i64::try_from(seq).is_ok() => Ok(Some(seq)),
            _ => Err(Error::invalid(name, "must be an integer, 0 or more")),
        }
    }
}

impl FromRequest<Arc<Node>> for Fields {
    type Rejection = Error;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(Error::UnsupportedMediaType("the body must be application/json".to_owned()));
        }
        parse(&read(body, node.config.limits.frame_bytes).await?)
    }
}

impl FromRequest<Arc<Node>> for OptionalFields {
    type Rejection = Error;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let bytes = read(body, node.config.limits.frame_bytes).await?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if !is_json(&parts.headers) {
            return Err(Error::UnsupportedMediaType("the body must be application/json".to_owned()));
        }
        parse(&bytes).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(_) => Err(Error::NotFound("there is nothing at this address".to_owned())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RoomPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Segments(room) = Segments::<String>::from_request_parts(parts, state).await?;
        RoomRef::parse_path(&room).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn read(body: axum::body::Body, bytes_max: usize) -> Result<bytes::Bytes> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::TooLarge(format!("the body may have at most {bytes_max} bytes")))
        }
        Err(_) => Err(Error::Malformed("the body could not be read to its end".to_owned())),
    }
}

fn parse(bytes: &[u8]) -> Result<Fields> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(Fields(fields)),
        Ok(_) => Err(Error::Malformed("the body must be a JSON object".to_owned())),
        Err(error) => Err(Error::Malformed(format!("the body is not JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(error: &Error, wanted: &str) -> bool {
        matches!(error, Error::Invalid { field, .. } if field == wanted)
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        let fields = parse(br#"{"name":5,"topic":null,"reply_to":-1,"kind":"odd","far":9223372036854775808}"#).unwrap();
        assert!(names(&fields.string("name").unwrap_err(), "name"));
        assert!(names(&fields.string("topic").unwrap_err(), "topic"));
        assert!(names(&fields.optional_seq("reply_to").unwrap_err(), "reply_to"));
        assert!(names(&fields.optional_seq("far").unwrap_err(), "far"));
        for (name, max) in [("name", 4), ("reply_to", 9), ("far", 9), ("kind", 9)] {
            assert!(names(&fields.optional_count(name, max).unwrap_err(), name), "{name}");
        }
        assert_eq!(fields.optional_count("name", 5).unwrap(), Some(5));
        assert!(names(&fields.optional_time("kind").unwrap_err(), "kind"));
        assert!(names(&fields.optional_bool("name").unwrap_err(), "name"));
        assert_eq!(fields.optional_bool("topic").unwrap(), None);
        assert!(names(&fields.optional_word("kind", |_| None::<()>, "a").unwrap_err(), "kind"));
        assert_eq!(fields.optional_string("topic").unwrap(), None);
        assert_eq!(fields.optional_seq("absent").unwrap(), None);
    }

    #[test]
    fn what_is_no_json_object_is_malformed() {
        for body in [&b""[..], b"[]", b"5", b"{", b"{\"a\":\"\xff\"}", b"{\"a\":\"\\ud800\"}"] {
            assert_eq!(parse(body).unwrap_err().code(), "malformed", "{body:?}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_bound_is_too_large() {
        assert_eq!(read(vec![b' '; 11].into(), 10).await.unwrap_err().code(), "too_large");
        assert_eq!(read(vec![b' '; 10].into(), 10).await.unwrap().len(), 10);
    }

    #[test]
    fn only_json_is_taken() {
        let of = |kind: &str| is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]));
        assert!(of("application/json") && of("Application/JSON; charset=utf-8") && of("application/merge-patch+json"));
        assert!(!of("text/plain") && !of("application/x-www-form-urlencoded") && !of(""));
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn pages_have_bounds() {
        let limit = |query| Query::parse(query).limit(50, 200);
        assert_eq!(limit("").unwrap(), 50);
        assert_eq!(limit("limit=7").unwrap(), 7);
        assert_eq!(limit("limit=201").unwrap(), 200);
        assert_eq!(limit("limit=99999999999999999999999").unwrap(), 200);
        for wrong in ["limit=0", "limit=-1", "limit=x", "limit="] {
            assert!(names(&limit(wrong).unwrap_err(), "limit"), "{wrong}");
        }
        assert_eq!(Query::parse("limit=0").limit_from_zero(50, 200).unwrap(), 0);
        assert_eq!(Query::parse("before=9").seq("before").unwrap(), Some(9));
        assert!(names(&Query::parse("before=9223372036854775808").seq("before").unwrap_err(), "before"));
        assert_eq!(Query::parse("cursor=a%2Bb").get("cursor"), Some("a+b"));
    }
}
