//! The order of the modules, as the architecture says it: imports go downwards only, a driver lives in one place.

use std::collections::BTreeSet;
use std::path::Path;

/// From the ground up. Modules of one layer do not know each other, those on the ground aside.
const LAYERS: &[&[&str]] = &[
    &["model", "protocol", "error", "config", "telemetry", "tls", "failpoints"],
    &["redis"],
    &["store", "broker", "presence", "auth"],
    &["node", "transfer"],
    &["http"],
    &["ws"],
    &["lib", "main", "bin"],
];

/// The client's view: knows nobody, and nobody knows it but programs.
const APART: &str = "engine";

/// Crates that may be named in these places only (files or folders under `src/`, without `.rs`).
const DRIVERS: &[(&str, &[&str])] = &[
    ("fail", &["failpoints"]),
    ("axum", &["http", "ws", "lib"]),
    ("tower_http", &["http", "ws", "lib"]),
    ("fred", &["redis", "broker/redis", "presence/redis"]),
    ("rusqlite", &["store/sqlite"]),
    ("tokio_postgres", &["store/postgres"]),
    ("tokio_postgres_rustls", &["store/postgres"]),
    ("deadpool", &["store/postgres"]),
    ("deadpool_postgres", &["store/postgres"]),
    ("rustls", &["tls"]),
    ("refinery", &["store/sqlite", "store/postgres"]),
    ("tokio_tungstenite", &["engine", "ws"]),
];

#[test]
fn imports_go_downwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 10, "too few files were found: {files:?}");
    let breaches: Vec<String> = files.iter().flat_map(|(path, text)| breaches(path, text)).collect();
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn a_breach_is_seen() {
    let bad = [
        ("node/hub.rs", "use crate::http::problem::Problem;"),
        ("node/hub.rs", "use crate::{error::Error, ws};"),
        ("node.rs", "use crate::{\n    model::{RoomId, UserId},\n    http::{self, problem},\n};"),
        ("node/hub.rs", "fn f() { crate::ws::session::close() }"),
        ("node/hub.rs", "use super::super::http::problem;"),
        ("broker/memory.rs", "use crate::node::Node;"),
        ("broker/redis.rs", "use crate::presence::Presence;"),
        ("auth/mod.rs", "use crate::store::Store;"),
        ("model.rs", "use crate::store::Store;"),
        ("http/mod.rs", "use crate::ws::upgrade;"),
        ("engine/http.rs", "use crate::model::RoomId;"),
        ("node/hub.rs", "use crate::engine::log::Log;"),
        ("node/hub.rs", "use axum::Router;"),
        ("node/hub.rs", "fn f() -> axum::Router { todo() }"),
        ("broker/memory.rs", "use fred::prelude::*;"),
        ("store/postgres/rooms.rs", "use rusqlite::Connection;"),
        ("store/mod.rs", "use tokio_postgres::Client;"),
        ("node/mod.rs", "extern crate fred;"),
        ("bin/salon-bench/lane.rs", "use salon::protocol::Frame;"),
        ("bin/salon-bench/lane.rs", "use salon::{engine::Result, model::RoomId};"),
        ("bin/salon-bench/lane.rs", "use tokio_tungstenite::connect_async;"),
    ];
    for (path, text) in bad {
        assert!(!breaches(path, text).is_empty(), "not seen in {path}: {text}");
    }
    let good = [
        ("lib.rs", "use crate::{http, ws, node, store}; use axum::Router;"),
        ("node/hub.rs", "use crate::store::Store; use super::gate::Gate; use crate::node::beacon;"),
        ("node/gate.rs", "mod tests { use super::super::hub; use crate::model::RoomId; }"),
        ("broker/redis/mod.rs", "use crate::redis::connect; use fred::prelude::*; use crate::config::Redis;"),
        ("model.rs", "use crate::error::Error;"),
        ("node/hub.rs", "// use crate::http::problem;\n/* crate::ws */ const A: &str = \"crate::http\";"),
        ("store/mod.rs", "/// As [`crate::node`] wants it."),
        ("store/postgres/pool.rs", "use deadpool_postgres::Pool;"),
        ("engine/http.rs", "use super::checker::History; use crate::engine::wire;"),
        ("bin/salon-bench/lane.rs", "use salon::engine::{Result, socket::Socket}; use crate::heard::Heard;"),
    ];
    for (path, text) in good {
        assert_eq!(breaches(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

/// What this file (its path under `src/`) may not do and does.
fn breaches(path: &str, text: &str) -> Vec<String> {
    let code = without_comments_and_texts(text);
    let place = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let own = place.split('/').next().unwrap_or(place);
    let mut breaches = Vec::new();
    for module in modules_used(place, &code) {
        if let Some(why) = forbidden(own, &module) {
            breaches.push(format!("src/{path}: {module}: {why}"));
        }
    }
    // What measures the server must not share its code, and with it its mistakes.
    for module in named_after("salon::", &code).into_iter().filter(|module| own == "bin" && module != APART) {
        breaches.push(format!("src/{path}: salon::{module}: it knows the engine only"));
    }
    for (driver, places) in DRIVERS {
        let allowed = places.iter().any(|allowed| place == *allowed || place.starts_with(&format!("{allowed}/")));
        if !allowed && names(&code, driver) {
            breaches.push(format!("src/{path}: {driver} belongs to {places:?}"));
        }
    }
    breaches
}

fn forbidden(own: &str, used: &str) -> Option<String> {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    if own == used {
        return None;
    }
    if own == APART {
        return Some("the engine knows nothing of the crate".to_owned());
    }
    // Lower-case names at the root that are no modules do not exist; types and macros there are lib's.
    let (mine, theirs) = (layer(own), layer(used));
    match (mine, theirs) {
        (None, _) => Some(format!("{own} stands in no layer")),
        (Some(top), _) if top == LAYERS.len() - 1 => None,
        (_, None) if used == APART => Some("the engine is for programs and tests".to_owned()),
        (_, None) => None,
        (Some(0), Some(0)) => None,
        (Some(mine), Some(theirs)) if theirs < mine => None,
        (Some(mine), Some(theirs)) if theirs == mine => Some("siblings do not meet".to_owned()),
        _ => Some(format!("{used} stands above {own}")),
    }
}

/// The top-level modules that are named, through `crate::…`, `crate::{…}` or a climb by `super`.
fn modules_used(place: &str, code: &str) -> BTreeSet<String> {
    let mut used = named_after("crate::", code);
    let depth = place.split('/').count();
    let known = |name: &String| LAYERS.iter().any(|layer| layer.contains(&name.as_str())) || name == APART;
    let mut rest = code;
    while let Some(at) = rest.find("super::") {
        let climbed = rest[at..].split("super::").take_while(|part| part.is_empty()).count();
        let after = &rest[at + climbed * "super::".len()..];
        // An inline module makes the way one longer, so a climb may only seem to reach the root.
        let inline = code.contains("mod tests {") && climbed == depth && climbed > 1;
        if climbed >= depth && !inline {
            used.extend(first_names(after).into_iter().filter(known));
        }
        rest = after;
    }
    used
}

/// What is named directly below such a root.
fn named_after(root: &str, code: &str) -> BTreeSet<String> {
    let fresh = |at: &usize| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    let places = code.match_indices(root).map(|(at, _)| at).filter(fresh);
    places.flat_map(|at| first_names(&code[at + root.len()..])).collect()
}

/// `a` of `a::b`, or `a` and `c` of `{a::b, c}`.
fn first_names(path: &str) -> Vec<String> {
    let name =
        |text: &str| -> String { text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Whether the crate is named: in a path, a `use` or an `extern crate`.
fn names(code: &str, driver: &str) -> bool {
    code.match_indices(driver).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        // Behind `::` it is a module of that name somewhere else.
        let fresh = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
        let after = code[at + driver.len()..].trim_start();
        let asked = code[..at].trim_end().ends_with("use") || code[..at].trim_end().ends_with("crate");
        let whole = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        fresh && whole && (after.starts_with("::") || asked)
    })
}

/// Comments and string literals blanked.
fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw = rest.strip_prefix("r#\"");
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(raw) = raw {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if c == '"' {
            text_length(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn text_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("within it").to_string_lossy().into_owned();
            files.push((name, std::fs::read_to_string(&path).expect("a source file")));
        }
    }
}
