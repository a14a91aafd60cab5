//! Holds every answer and frame that any test sees against the descriptions, which are read strictly here: what they do
//! not name must not be there.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, Once, PoisonError};

use jsonschema::Validator;
use salon::engine::observe::{self, Seen};
use salon::http::documents::{asyncapi, openapi};
use serde_json::{Value, json};

/// Of each kind so many are checked, and from then on one in so many: a load of frames of one kind is not slowed down.
const ALL_OF_THE_FIRST: u64 = 300;
const ONE_IN: u64 = 40;

/// Said where no call is: of the main listener's calls, by the operators' one.
const ELSEWHERE: &[u8] = b"there is nothing at this address";

/// From now on all that the engine sees is checked; what is wrong panics where it is seen.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| observe::watch_with(check));
}

fn check(seen: &Seen<'_>) {
    let checked = match seen {
        Seen::Frame(frame) => match frame["type"].as_str() {
            Some(kind) if !is_due(kind) => Ok(()),
            _ => is_heard(frame),
        },
        Seen::Said(frame) => match frame["type"].as_str() {
            Some(kind) if !is_due(&format!("said {kind}")) => Ok(()),
            _ => is_said(frame),
        },
        Seen::Answer { method, path, status, content_type, body } => {
            match is_due(&format!("{method} {} {status}", path.len())) {
                true => is_answer(method, path, *status, content_type, body),
                false => Ok(()),
            }
        }
    };
    if let Err(why) = checked {
        panic!("not as described: {why}");
    }
}

/// A frame of the server's, by the schema of its type.
pub fn is_heard(frame: &Value) -> Result<(), String> {
    static ONES: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| frames("Server-"));
    by_type(&ONES, frame)
}

/// A frame of a client's.
pub fn is_said(frame: &Value) -> Result<(), String> {
    static ONES: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| frames("Client-"));
    by_type(&ONES, frame)
}

/// An answer of a call that is described; what is not described at all is a page or a file, or a path where nothing is.
pub fn is_answer(method: &str, path: &str, status: u16, content_type: &str, body: &[u8]) -> Result<(), String> {
    static ONES: LazyLock<Calls> = LazyLock::new(calls);
    let path = path.split('?').next().unwrap_or(path).trim_end_matches('/');
    let method = if method == "HEAD" { "GET" } else { method };
    let status = status.to_string();
    let essence = content_type.split(';').next().unwrap_or_default();
    // A load balancer's own words, which are a page.
    if status.starts_with("50") && essence == "text/html" {
        return Ok(());
    }
    let Some(call) = ONES.find(method, path) else { return Ok(()) };
    let told = || format!("{method} {path}: {status} {content_type} {}", String::from_utf8_lossy(body));
    if status == "404" && body.windows(ELSEWHERE.len()).any(|part| part == ELSEWHERE) {
        return Ok(());
    }
    let Some(answer) = call.answers.get(&status) else {
        return Err(format!("this status is not described: {}", told()));
    };
    match answer {
        _ if body.is_empty() => Ok(()),
        Some((described, _)) if described != essence => Err(format!("{described} is described: {}", told())),
        Some((_, schema)) if essence.ends_with("json") => {
            let value: Value = serde_json::from_slice(body).map_err(|error| format!("{error}: {}", told()))?;
            judge(schema, &value, &format!("{method} {} {status}", call.path))
        }
        Some(_) => Ok(()),
        None => Err(format!("no body is described: {}", told())),
    }
}

struct Calls(Vec<Call>);

struct Call {
    method: String,
    path: String,
    /// By status: content type and schema, where there is a body.
    answers: HashMap<String, Option<(String, Validator)>>,
}

impl Calls {
    /// Words go before parts that may be anything.
    fn find(&self, method: &str, path: &str) -> Option<&Call> {
        let fits = |call: &&Call| {
            let (asked, known): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), call.path.split('/').collect());
            call.method == method
                && asked.len() == known.len()
                && asked.iter().zip(&known).all(|(asked, known)| known.starts_with('{') || asked == known)
        };
        self.0.iter().filter(fits).min_by_key(|call| call.path.matches('{').count())
    }
}

fn calls() -> Calls {
    let mut calls = Vec::new();
    for (path, item) in openapi()["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let responses = operation["responses"].as_object().expect("responses").iter();
            let answers = responses.map(|(status, response)| {
                let content = response["content"].as_object().and_then(|content| content.iter().next());
                let body = content.map(|(kind, media)| (kind.clone(), validator(openapi(), &media["schema"])));
                (status.clone(), body)
            });
            calls.push(Call { method: method.to_uppercase(), path: path.clone(), answers: answers.collect() });
        }
    }
    Calls(calls)
}

fn frames(side: &str) -> HashMap<String, Validator> {
    let messages = asyncapi()["components"]["messages"].as_object().expect("messages");
    let of_side = messages.iter().filter_map(|(key, message)| Some((key.strip_prefix(side)?, message)));
    of_side.map(|(kind, message)| (kind.to_owned(), validator(asyncapi(), &message["payload"]))).collect()
}

fn by_type(schemas: &HashMap<String, Validator>, frame: &Value) -> Result<(), String> {
    let kind = frame["type"].as_str().unwrap_or_default();
    let schema = schemas.get(kind).ok_or_else(|| format!("no frame of the type {kind:?} is described: {frame}"))?;
    judge(schema, frame, kind)
}

fn judge(schema: &Validator, value: &Value, name: &str) -> Result<(), String> {
    let wrong: Vec<String> =
        schema.iter_errors(value).map(|error| format!("at {:?}: {error}", error.instance_path().to_string())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{name}: {}\nin {value}", wrong.join("; "))) }
}

/// A schema with all that it refers to; objects hold nothing but what is named.
fn validator(document: &Value, schema: &Value) -> Validator {
    let mut whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": {"schemas": document["components"]["schemas"]},
        "allOf": [schema],
    });
    close(&mut whole);
    jsonschema::validator_for(&whole).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

fn close(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_closed = fields.get("type").is_some_and(|kind| kind == "object")
                && fields.contains_key("properties")
                && !fields.contains_key("additionalProperties");
            if is_closed {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn is_due(kind: &str) -> bool {
    static COUNTS: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = match counts.get_mut(kind) {
        Some(count) => count,
        None => counts.entry(kind.to_owned()).or_default(),
    };
    *count += 1;
    *count <= ALL_OF_THE_FIRST || count.is_multiple_of(ONE_IN)
}
