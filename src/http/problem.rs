//! The one table from an [`Error`] to an HTTP answer: its status, its headers and its `application/problem+json` body
//! (RFC 9457).

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;
use crate::protocol::said::ErrorCode;

/// Said with `unavailable`, where nobody knows how long it takes.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why something was refused.
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// A sentence for a person.
    detail: String,
    /// Which field is wrong, and why; for `invalid` only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<&'a str, &'a str>,
}

impl IntoResponse for Error {
    /// Also the edge where a defect of ours is logged, once; the text of it goes no further.
    fn into_response(self) -> Response {
        if let Self::Internal(why) = &self {
            tracing::error!(why, "a request failed");
        }
        let status = status(&self);
        let mut response = (status, body(&self, status)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = retry_after(&self) {
            // Whole seconds, rounded up: who comes back a moment too early is refused again.
            let seconds = after.as_millis().div_ceil(1_000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
        }
        response
    }
}

/// What a panic in a handler is answered with.
pub fn from_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let why = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("of no text");
    Error::Internal(format!("a handler panicked: {why}")).into_response()
}

pub fn status(error: &Error) -> StatusCode {
    match error {
        Error::Malformed(_) => StatusCode::BAD_REQUEST,
        Error::Unauthenticated(_) | Error::InvalidCredentials => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::RateLimited { retry_after, .. } => Some(*retry_after),
        Error::Unavailable(_) => Some(UNAVAILABLE_RETRY_AFTER),
        _ => None,
    }
}

fn body(error: &Error, status: StatusCode) -> String {
    let errors = match error {
        Error::Invalid { field, why } => BTreeMap::from([(field.as_str(), why.as_str())]),
        _ => BTreeMap::new(),
    };
    serde_json::to_string(&Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        code: error.code(),
        detail: error.detail(),
        errors,
    })
    .expect("a problem holds nothing that JSON cannot say")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn told(error: Error) -> (Response, Value) {
        let (parts, body) = error.into_response().into_parts();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        let value = serde_json::from_slice(&bytes).unwrap();
        (Response::from_parts(parts, axum::body::Body::empty()), value)
    }

    #[tokio::test]
    async fn a_wrong_value_names_its_field() {
        let (response, body) = told(Error::invalid("name", "must not be blank")).await;
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(
            body,
            json!({"type": "about:blank", "title": "Unprocessable Entity", "status": 422, "code": "invalid",
                "detail": "name: must not be blank", "errors": {"name": "must not be blank"}})
        );
    }

    #[tokio::test]
    async fn nothing_internal_is_shown() {
        let (response, body) = told(Error::Internal("password of the database".into())).await;
        assert_eq!((response.status().as_u16(), body["code"].as_str()), (500, Some("internal")));
        assert!(!body.to_string().contains("database"));
        let response = from_panic(Box::new("the secret is 42"));
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8(bytes.to_vec()).unwrap().contains("42"));
    }

    #[tokio::test]
    async fn who_may_come_back_is_told_when_and_who_must_log_in_how() {
        let limited = Error::RateLimited { what: "tries".into(), retry_after: Duration::from_millis(1_001) };
        assert_eq!(told(limited).await.0.headers()["retry-after"], "2");
        let limited = Error::RateLimited { what: "tries".into(), retry_after: Duration::ZERO };
        assert_eq!(told(limited).await.0.headers()["retry-after"], "1");
        assert_eq!(told(Error::unavailable("later")).await.0.headers()["retry-after"], "1");
        assert_eq!(told(Error::Unauthenticated("no".into())).await.0.headers()["www-authenticate"], "Bearer");
        assert_eq!(told(Error::Forbidden("no".into())).await.0.headers().get("retry-after"), None);
    }
}
