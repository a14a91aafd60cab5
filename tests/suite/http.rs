//! Every HTTP row of the contract: status, body, headers, and how it fails.

mod accounts;
mod administration;
mod invites;
pub mod login_sessions;
mod messages;
mod moderation;
mod rooms;

use salon::engine::http::Answer;
use serde_json::Value;

/// An error's one shape, with this status and code.
#[track_caller]
pub fn assert_problem(answer: &Answer, status: u16, code: &str) -> Value {
    let body = answer.json();
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{body}");
    assert!(answer.content_type().starts_with("application/problem+json"), "{}", answer.content_type());
    assert_eq!((&body["type"], &body["status"]), (&"about:blank".into(), &status.into()), "{body}");
    for field in ["title", "detail"] {
        assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field} is missing: {body}");
    }
    let known = ["type", "title", "status", "code", "detail", "errors"];
    let unknown = body.as_object().and_then(|fields| fields.keys().find(|field| !known.contains(&field.as_str())));
    assert_eq!(unknown, None, "{body}");
    body
}

/// `invalid`, and which field.
#[track_caller]
pub fn assert_invalid(answer: &Answer, field: &str) {
    let body = assert_problem(answer, 422, "invalid");
    assert!(body["errors"][field].as_str().is_some_and(|why| !why.is_empty()), "not about {field}: {body}");
}

/// The keys of an object, sorted.
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().map(|o| o.keys().map(String::as_str).collect()).unwrap_or_default();
    keys.sort_unstable();
    keys
}
