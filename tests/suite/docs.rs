//! The documents keep up with the program: what it says, takes and serves is named in them, and their examples hold.
//!
//! Names are read from the program's own tables in its source, so that a new one turns this red by itself.

use salon::http::documents;
use salon::model::RoomId;
use salon::protocol::incoming::{ClientFrame, parse};
use salon::telemetry::METRICS;
use serde_json::{Deserializer, Value};

const PROTOCOL: &str = include_str!("../../docs/protocol.md");
const README: &str = include_str!("../../README.md");
const EXAMPLE_CONFIG: &str = include_str!("../../config/salon.toml");

const INCOMING: &str = include_str!("../../src/protocol/incoming.rs");
const FRAMES: &str = include_str!("../../src/protocol/frames.rs");
const MODEL: &str = include_str!("../../src/model.rs");
const ERROR: &str = include_str!("../../src/error.rs");
const PROBLEM: &str = include_str!("../../src/http/problem.rs");
const CLOSE: &str = include_str!("../../src/node/close.rs");
const HTTP: &str = include_str!("../../src/http/mod.rs");
const WS: &str = include_str!("../../src/ws/upgrade.rs");

const ROOMS_MAX: usize = 200;

/// A call as the page writes it: the method, a blank, the path.
type Call = String;

#[test]
fn every_frame_is_described() {
    let incoming = client_types();
    assert!(incoming.contains(&"join".to_owned()) && incoming.len() >= 8, "{incoming:?}");
    let outgoing = server_types();
    assert!(outgoing.contains(&"user_join".to_owned()) && outgoing.len() >= 15, "{outgoing:?}");
    let examples = examples();
    for kind in incoming.iter().chain(&outgoing) {
        let shown = examples.iter().any(|example| example["type"] == kind.as_str());
        // A change of a message is shown once for all its kinds.
        let is_change = kind == "chat_message" || kind.starts_with("message_");
        let named = PROTOCOL.contains(&format!("`{kind}`"));
        assert!(shown || (is_change && named), "docs/protocol.md has no example of {kind}");
    }
}

#[test]
fn every_error_code_stands_with_its_status() {
    let codes: Vec<(&str, &str)> = arms(ERROR, "pub fn code", "Self::").collect();
    let statuses: Vec<(&str, &str)> = arms(PROBLEM, "pub fn status", "Error::").collect();
    assert!(codes.len() >= 13, "{codes:?}");
    for (variant, word) in codes {
        let word = word.trim_matches('"');
        let (_, status) = statuses.iter().find(|(known, _)| *known == variant).expect("a status for every error");
        let status = number_of(status);
        let row = format!("| `{word}` | {status} |");
        assert!(PROTOCOL.contains(&row), "docs/protocol.md lacks the row {row}");
    }
}

#[test]
fn every_close_code_is_described() {
    let body = between(CLOSE, "pub enum Close {", "\n}");
    let codes: Vec<&str> = body.lines().filter_map(|line| line.split_once(" = ")?.1.strip_suffix(',')).collect();
    assert!(codes.len() >= 10, "{codes:?}");
    let table = between(PROTOCOL, "### Close codes", "\n### ");
    for code in codes {
        let named = table.lines().filter_map(|line| line.split('|').nth(1)).any(|cell| cell.contains(code));
        assert!(named, "docs/protocol.md lacks the close code {code}");
    }
}

#[test]
fn every_route_is_described() {
    let routes = routes();
    assert!(routes.len() >= 24, "{routes:?}");
    let described = calls(PROTOCOL);
    for route in &routes {
        assert!(described.contains(route), "docs/protocol.md lacks {route}");
    }
}

#[test]
fn every_metric_is_named() {
    for metric in METRICS {
        assert!(PROTOCOL.contains(&format!("`{}`", metric.name)), "docs/protocol.md lacks {}", metric.name);
    }
}

#[test]
fn what_is_described_is_there() {
    let (routes, named) = (routes(), calls(PROTOCOL));
    assert!(named.len() >= routes.len(), "{named:?}");
    for call in named {
        let is_this = |route: &&Call| {
            let (asked, known): (Vec<&str>, Vec<&str>) = (call.split('/').collect(), route.split('/').collect());
            let fits = |(asked, known): (&&str, &&str)| asked == known || known.starts_with('{');
            asked.len() == known.len() && asked.iter().zip(&known).all(fits)
        };
        assert!(routes.iter().any(|route| is_this(&route)), "docs/protocol.md names {call}, which is not there");
    }
}

#[test]
fn every_example_is_what_the_program_takes() {
    let (types, mut taken) = (client_types(), 0);
    for example in examples() {
        let is_client = match example.get("type") {
            Some(kind) => types.iter().any(|known| *kind == known.as_str()),
            None => example.get("content").or(example.get("message")).is_some(),
        };
        if !is_client {
            continue;
        }
        taken += 1;
        let implicit = example.get("room").is_none().then_some(RoomId(3));
        let incoming = parse(&example.to_string(), implicit, ROOMS_MAX).expect("an object");
        match incoming.frame {
            Ok(ClientFrame::Join(rooms)) => {
                for room in rooms {
                    assert!(room.wish.is_ok(), "{example}: {:?}", room.wish);
                }
            }
            Ok(_) => {}
            Err(error) => panic!("{example}: {error}"),
        }
    }
    assert!(taken >= client_types().len(), "only {taken} examples are client frames");
}

#[test]
fn every_configuration_key_stands_in_the_readme_with_its_default() {
    let keys = config_keys();
    assert!(keys.len() > 60 && keys.iter().any(|(key, _)| key == "auth.issuers.audience"), "{keys:?}");
    let missing: Vec<String> = keys
        .iter()
        .map(|(key, default)| match default {
            Some(default) => format!("| `{key}` | `{default}` |"),
            None => format!("| `{key}` |"),
        })
        .filter(|row| !README.lines().any(|line| line.starts_with(row.as_str())))
        .collect();
    assert!(missing.is_empty(), "the README's table lacks:\n{}", missing.join("\n"));
}

/// The words of all errors.
pub fn error_codes() -> Vec<String> {
    arms(ERROR, "pub fn code", "Self::").map(|(_, word)| word.trim_matches('"').to_owned()).collect()
}

/// What a client may say: the arms of the parser.
pub fn client_types() -> Vec<String> {
    let body = between(INCOMING, "Ok(match kind {", "\n    })");
    body.lines().filter_map(|line| Some(line.strip_prefix("        \"")?.split_once("\" =>")?.0.to_owned())).collect()
}

/// What the server says: the variants of its frames, `joined`, and the kinds of changes.
pub fn server_types() -> Vec<String> {
    let variants = between(FRAMES, "pub enum ServerFrame<'a> {", "\n}");
    let variants = variants.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" {"));
    let mut types: Vec<String> = variants.filter(|name| !name.starts_with(' ')).map(snake_case).collect();
    let kinds = between(MODEL, "words!(ChangeKind {", "});");
    types.extend(kinds.split('"').skip(1).step_by(2).map(str::to_owned));
    assert!(FRAMES.contains("r#type: JoinedType::Joined"), "how `joined` is called has changed");
    types.push("joined".to_owned());
    types
}

/// Every call of both listeners.
pub fn routes() -> Vec<Call> {
    let mut routes = plain_routes();
    for (path, item) in documents::openapi()["paths"].as_object().expect("paths") {
        let methods = item.as_object().expect("operations").keys();
        routes.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    routes
}

/// The calls that are routed by hand, from the lines that do it.
pub fn plain_routes() -> Vec<Call> {
    let api = between(HTTP, "fn api()", "\n}");
    let rest = HTTP.replace(api, "");
    let mut routes = Vec::new();
    for (source, prefix) in [(rest.as_str(), ""), (api, "/api"), (WS, "")] {
        // However the lines are broken.
        let flat = source.split_whitespace().collect::<Vec<_>>().join(" ").replace(".route( ", ".route(");
        for route in flat.split(".route(\"").skip(1) {
            let (path, methods) = route.split_once("\",").expect("a path and its methods");
            let methods = methods.split(" }").next().unwrap_or_default();
            for method in ["get", "post", "put", "patch", "delete"] {
                let is_there = methods
                    .match_indices(&format!("{method}("))
                    .any(|(at, _)| at.checked_sub(1).is_none_or(|before| b" .:".contains(&methods.as_bytes()[before])));
                if is_there {
                    routes.push(format!("{} {prefix}{path}", method.to_uppercase()));
                }
            }
        }
    }
    routes
}

/// Every call that a text names in backticks.
fn calls(text: &str) -> Vec<Call> {
    let is_call = |code: &&str| {
        code.split_once(' ').is_some_and(|(method, path)| {
            method.bytes().all(|byte| byte.is_ascii_uppercase()) && path.starts_with('/') && !path.contains(' ')
        })
    };
    text.split('`').filter(is_call).map(|code| code.split('?').next().unwrap_or(code).to_owned()).collect()
}

/// The values in the page's blocks of JSON; a block may hold several.
pub fn examples() -> Vec<Value> {
    let blocks = PROTOCOL.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let values: Vec<Value> = blocks
        .flat_map(|block| {
            Deserializer::from_str(block)
                .into_iter::<Value>()
                .map(move |value| value.unwrap_or_else(|error| panic!("{error} in\n{block}")))
        })
        .collect();
    assert!(values.len() >= 30, "only {} examples were found", values.len());
    values
}

/// Every key of the example file with its default; `None` for the optional ones, which stand behind a `#`. That the
/// file names every key is tested where keys are read.
fn config_keys() -> Vec<(String, Option<String>)> {
    let (mut section, mut keys) = (String::new(), Vec::new());
    for line in EXAMPLE_CONFIG.lines() {
        let (text, optional) = line.strip_prefix("# ").map_or((line, false), |text| (text, true));
        if let Some(name) = text.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, value)) = text.split_once(" = ")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            keys.push((format!("{section}.{key}"), (!optional).then(|| value.to_owned())));
        }
    }
    keys
}

/// The arms of a `match` in a function: variant and outcome.
fn arms<'a>(source: &'a str, function: &str, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let arms = between(source, function, "\n    }\n").lines().filter_map(|line| line.trim().split_once(" => "));
    arms.flat_map(move |(patterns, outcome)| {
        patterns.split(" | ").filter_map(move |pattern| {
            let variant = pattern.strip_prefix(prefix)?.split([' ', '(']).next()?;
            Some((variant, outcome.trim_end_matches(',')))
        })
    })
}

fn number_of(status: &str) -> u16 {
    match status.rsplit("::").next().unwrap_or_default() {
        "BAD_REQUEST" => 400,
        "UNAUTHORIZED" => 401,
        "FORBIDDEN" => 403,
        "NOT_FOUND" => 404,
        "METHOD_NOT_ALLOWED" => 405,
        "CONFLICT" => 409,
        "PAYLOAD_TOO_LARGE" => 413,
        "UNSUPPORTED_MEDIA_TYPE" => 415,
        "UNPROCESSABLE_ENTITY" => 422,
        "TOO_MANY_REQUESTS" => 429,
        "INTERNAL_SERVER_ERROR" => 500,
        "SERVICE_UNAVAILABLE" => 503,
        other => panic!("{other} has no number here"),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn between<'a>(source: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = source.split_once(start).unwrap_or_else(|| panic!("{start:?} is not there any more"));
    rest.split(end).next().unwrap_or(rest)
}
