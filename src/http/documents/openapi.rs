//! Completes what the handlers say of themselves: how one is known, and the refusals that follow from what a call takes.
//! A handler names only what is its own.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;
use utoipa::{PartialSchema, ToSchema};

use super::super::problem::Problem;

/// What stands between braces in paths, wherever it does, with an example.
const PATH_PARAMETERS: &[(&str, &str, &str)] = &[
    ("room", "a room's slug or id: all digits are an id", "general"),
    ("username", "a username; `me` stands for oneself", "me"),
    ("id", "the thing's id", "1"),
    ("emoji", "an emoji", "👍"),
    ("code", "an invitation's code", "n4bQgYhMfWWaL-qgxVrQFQ"),
];

/// Refusals by their status.
const REFUSALS: &[(&str, &str)] = &[
    ("400", "not JSON, or no object"),
    ("401", "nobody is logged in, or the proof of it is not accepted"),
    ("403", "not allowed"),
    ("404", "it does not exist, or not for who is asking"),
    ("409", "it clashes with what is there"),
    ("413", "over a bound in bytes"),
    ("415", "the body is not declared as JSON"),
    ("422", "a value is wrong; `errors` names its field"),
    ("429", "too often; not done"),
    ("503", "not now; trying again is safe"),
];

pub fn document(made: &OpenApi) -> Value {
    let mut document = serde_json::to_value(made).unwrap_or_default();
    document["openapi"] = json!("3.1.0");
    document["info"] = json!({
        "title": "salon",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Accounts, rooms and history. Live chat goes over WebSockets (/api/asyncapi.json) or, one room \
            at a time, over Server-Sent Events. Every path works with and without a slash at its end.",
        "license": {"name": "MIT", "identifier": "MIT"},
    });
    document["servers"] = json!([{"url": "/"}]);
    document["security"] = json!([{"bearer": []}, {"cookie": []}]);
    document["components"]["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "of POST /api/account/token, or of an issuer that the operator trusts"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "salon_access",
            "description": "set by POST /api/account/login; over https it is called __Host-salon_access"},
    });
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    for (name, schema) in schemas {
        document["components"]["schemas"][name] = serde_json::to_value(schema).unwrap_or_default();
    }
    let paths = document["paths"].as_object_mut();
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if let Some(operation) = operation.as_object_mut() {
                complete(path, method, operation);
            }
        }
    }
    document
}

fn complete(path: &str, method: &str, operation: &mut Map<String, Value>) {
    // A name of a function is its own in its module only, which is what the tag says.
    let of = |key: &str| operation.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let tag = operation.get("tags").and_then(|tags| tags[0].as_str()).unwrap_or_default().to_owned();
    operation.insert("operationId".to_owned(), json!(format!("{tag}_{}", of("operationId"))));
    add_path_parameters(path, operation);

    let has = |operation: &Map<String, Value>, place: &str| {
        let parameters = operation.get("parameters").and_then(Value::as_array);
        parameters.into_iter().flatten().any(|parameter| parameter["in"] == place)
    };
    let is_public = operation.get("security").is_some();
    let mut refusals = Vec::new();
    if !is_public {
        refusals.push("401");
    }
    if !is_public || tag == "accounts" {
        refusals.extend(["429", "503"]);
    }
    if method != "get" || path.contains("{room}") || tag == "administration" {
        refusals.push("403");
    }
    if has(operation, "path") {
        refusals.push("404");
    }
    if has(operation, "query") || has(operation, "header") {
        refusals.push("422");
    }
    if operation.contains_key("requestBody") {
        refusals.extend(["400", "413", "415", "422"]);
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    for status in refusals {
        if responses.get(status).is_none() {
            responses[status] = json!({});
        }
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        let refusal = REFUSALS.iter().find(|(known, _)| known == status);
        if response.get("description").is_none() {
            response["description"] = json!(refusal.map_or("done", |(_, why)| why));
        }
        if refusal.is_some() && response.get("content").is_none() {
            let schema = json!({"$ref": format!("#/components/schemas/{}", Problem::name())});
            response["content"] = json!({"application/problem+json": {"schema": schema}});
        }
    }
}

fn add_path_parameters(path: &str, operation: &mut Map<String, Value>) {
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(parameters) = parameters.as_array_mut() else { return };
    for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        let known = PATH_PARAMETERS.iter().find(|(known, ..)| *known == name);
        let (about, example) = known.map_or(("", ""), |(_, about, example)| (about, example));
        if !parameters.iter().any(|parameter| parameter["name"] == name) {
            parameters.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "description": about,
                "schema": {"type": "string", "minLength": 1},
                "example": example,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::openapi;
    use super::*;

    fn operations() -> Vec<(String, &'static Value)> {
        let paths = openapi()["paths"].as_object().unwrap();
        let of = |(path, item): (&'static String, &'static Value)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation)).collect::<Vec<_>>()
        };
        paths.into_iter().flat_map(of).collect()
    }

    #[test]
    fn every_call_has_a_name_of_its_own_and_says_what_it_does() {
        let mut seen = HashSet::new();
        for (call, operation) in operations() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(seen.insert(id) && !id.starts_with('_'), "{call}: {id}: give its #[utoipa::path] a tag");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{call} has no doc comment");
            for parameter in operation["parameters"].as_array().unwrap() {
                let about = parameter["description"].as_str().unwrap_or_default();
                assert!(!about.is_empty(), "{call}: {} is not explained", parameter["name"]);
            }
            let good = operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2'));
            assert!(good, "{call} never succeeds");
        }
    }

    #[test]
    fn refusals_follow_from_what_a_call_takes() {
        let statuses = |call: &str| {
            let (_, operation) = operations().into_iter().find(|(known, _)| known == call).unwrap();
            operation["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(statuses("get /livez"), "200");
        assert_eq!(statuses("get /api/account"), "200 401 429 503");
        assert_eq!(statuses("get /api/rooms"), "200 401 422 429 503");
        assert_eq!(statuses("post /api/account/login"), "200 400 401 403 413 415 422 429 503");
        assert_eq!(statuses("patch /api/rooms/{room}/messages/{id}"), "200 400 401 403 404 409 413 415 422 429 503");
    }
}
