//! What programs read about salon: OpenAPI of what is asked over HTTP, AsyncAPI of what sockets say. Both are made from
//! the handlers and the types of frames themselves, so that they say what the program does.

mod asyncapi;
mod openapi;

use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// The description of the HTTP API: OpenAPI 3.1.
pub fn openapi() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| with_plain_numbers(openapi::document(&super::described().into_openapi())))
}

/// The description of the WebSocket: AsyncAPI 3.
pub fn asyncapi() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| with_plain_numbers(asyncapi::document()))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "documents", security(()),
    responses((status = 200, body = serde_json::Value)))]
pub async fn openapi_json() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    json(TEXT.get_or_init(|| openapi().to_string()))
}

/// The same for sockets.
#[utoipa::path(get, path = "/asyncapi.json", tag = "documents", security(()),
    responses((status = 200, body = serde_json::Value)))]
pub async fn asyncapi_json() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    json(TEXT.get_or_init(|| asyncapi().to_string()))
}

/// A number that has a name in our code (`Seq`, `MessageId`) is described under the name of what it is (`u64`), which says
/// nothing to anybody: the number itself is put in its place.
fn with_plain_numbers(mut document: Value) -> Value {
    const NUMBER: &str = "u64";
    let schema = document["components"]["schemas"].as_object_mut().and_then(|schemas| schemas.remove(NUMBER));
    if let Some(schema) = schema {
        replace(&mut document, &format!("#/components/schemas/{NUMBER}"), &schema);
    }
    document
}

fn replace(value: &mut Value, reference: &str, schema: &Value) {
    match value {
        Value::Object(fields) if fields.get("$ref").is_some_and(|of| of == reference) => {
            fields.remove("$ref");
            for (key, value) in schema.as_object().into_iter().flatten() {
                fields.entry(key).or_insert_with(|| value.clone());
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, reference, schema)),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, reference, schema)),
        _ => {}
    }
}

fn json(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
