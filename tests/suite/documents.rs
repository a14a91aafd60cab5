//! The machine-readable descriptions: valid by their own standards, complete, and true.

mod client;
pub mod seen;
mod strangers;
mod typescript;

use std::path::{Path, PathBuf};
use std::process::Command;

use salon::engine::http::Http;
use salon::http::documents::{asyncapi, openapi};
use serde_json::{Value, json};

use crate::support::node::{Folder, Single};

/// Where tests/run puts what it installs.
fn tool(path: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(path);
    assert!(tool.exists(), "{} is missing: tests/run installs it", tool.display());
    tool
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{out}\n{err}");
    out.into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anybody_may_read_them() {
    let single = Single::shared().await;
    for (path, document) in [("/api/openapi.json", openapi()), ("/api/asyncapi.json", asyncapi())] {
        for slash in ["", "/"] {
            let answer = Http::new(&single.url()).get(&format!("{path}{slash}")).await.expect("an answer");
            assert_eq!((answer.status, answer.content_type()), (200, "application/json"), "{path}");
            assert_eq!(answer.json(), *document);
        }
    }
}

#[test]
fn openapi_is_valid() {
    let folder = Folder::new("openapi");
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, openapi().to_string()).expect("a file");
    run(Command::new(tool("bin/openapi-spec-validator")).arg("--schema").arg("3.1").arg(&file));
}

#[test]
fn asyncapi_is_valid() {
    const CHECK: &str = "
        const {Parser} = require('@asyncapi/parser');
        new Parser().parse(require('fs').readFileSync(process.argv[2], 'utf8')).then(({document, diagnostics}) => {
          const wrong = diagnostics.filter(({severity}) => severity === 0);
          for (const {path, message} of wrong) console.error(path.join('.'), message);
          if (!document || wrong.length) process.exit(1);
          console.log(document.allMessages().length);
        });";
    let folder = Folder::new("asyncapi");
    let (file, script) = (folder.path().join("asyncapi.json"), folder.path().join("check.cjs"));
    std::fs::write(&file, asyncapi().to_string()).expect("a file");
    std::fs::write(&script, CHECK).expect("a script");
    let modules = tool("node_modules");
    let messages = run(Command::new("node").env("NODE_PATH", modules).arg(&script).arg(&file));
    assert!(messages.trim().parse::<usize>().expect("a number") >= 20, "{messages}");
}

#[test]
fn they_describe_what_the_program_takes_and_says() {
    let kinds = |side: &str| -> Vec<String> {
        let messages = asyncapi()["components"]["messages"].as_object().expect("messages");
        messages.keys().filter_map(|key| key.strip_prefix(side)).map(str::to_owned).collect()
    };
    for (side, mut known) in [("Client-", crate::docs::client_types()), ("Server-", crate::docs::server_types())] {
        let mut described = kinds(side);
        known.sort_unstable();
        described.sort_unstable();
        assert_eq!(described, known, "{side}");
    }
    let mut codes = openapi()["components"]["schemas"]["ErrorCode"]["enum"].as_array().expect("codes").clone();
    let mut known: Vec<Value> = crate::docs::error_codes().into_iter().map(Value::from).collect();
    codes.sort_by_key(Value::to_string);
    known.sort_by_key(Value::to_string);
    assert_eq!(codes, known);
    let channels = asyncapi()["channels"].as_object().expect("channels");
    let addresses: Vec<&str> = channels.values().filter_map(|channel| channel["address"].as_str()).collect();
    assert_eq!(addresses, ["/ws/chat/{room}", "/ws"]);
}

/// A handler that is routed without `routes!` is served and not described.
#[test]
fn every_route_is_described() {
    let plain = crate::docs::plain_routes();
    // A page, files and what only operators reach are no API; sockets stand in the other document.
    let not_described =
        ["GET /", "GET /r/{slug}", "GET /metrics", "GET /livez", "GET /readyz", "GET /ws", "GET /ws/chat/{room}"];
    for route in plain {
        assert!(
            not_described.contains(&route.as_str()),
            "{route} is not in /api/openapi.json: give its handler a #[utoipa::path] and route it by routes!() in api()"
        );
    }
}

/// The page's examples, by the schemas.
#[test]
fn the_protocol_page_shows_what_is_described() {
    let mut checked = 0;
    for example in crate::docs::examples() {
        let Some(kind) = example["type"].as_str() else { continue };
        let (said, heard) = (seen::is_said(&example), seen::is_heard(&example));
        if kind == "about:blank" {
            continue;
        }
        assert!(said.is_ok() || heard.is_ok(), "{example}:\nas a client's: {said:?}\nas the server's: {heard:?}");
        checked += 1;
    }
    assert!(checked >= 29, "{checked}");
}

/// The check itself sees what is wrong.
#[test]
fn what_is_not_described_is_seen() {
    let welcome = json!({"type": "welcome", "protocol": 1, "node": "n", "user": {"id": 1, "username": "a", "role": "user"},
        "heartbeat_s": 25, "limits": {"messages_per_s": 1, "message_burst": 1, "rooms_per_socket": 1, "content_chars": 1,
        "frame_bytes": 1}});
    assert_eq!(seen::is_heard(&welcome), Ok(()));
    for (path, value) in [("/protocol", json!("1")), ("/user/role", json!("king")), ("/user/id", Value::Null)] {
        let mut wrong = welcome.clone();
        *wrong.pointer_mut(path).expect("a place") = value;
        assert!(seen::is_heard(&wrong).expect_err("wrong").contains(path), "{path}");
    }
    for place in ["", "/user", "/limits"] {
        let mut more = welcome.clone();
        more.pointer_mut(place).expect("a place")["unheard_of"] = json!(1);
        assert!(seen::is_heard(&more).is_err(), "{place}");
        let mut less = welcome.clone();
        let first = less.pointer(place).and_then(|v| v.as_object()?.keys().next().cloned()).expect("a field");
        less.pointer_mut(place).and_then(Value::as_object_mut).expect("an object").remove(&first);
        assert!(seen::is_heard(&less).is_err(), "{place} without {first}");
    }
    assert!(seen::is_heard(&json!({"type": "unheard_of"})).is_err());
    let seen = |status, content_type, body: &str| {
        seen::is_answer("GET", "/api/rooms/general/users/?x=1", status, content_type, body.as_bytes())
    };
    let problem = r#"{"type":"about:blank","title":"x","status":404,"code":"not_found","detail":"x"}"#;
    assert_eq!(seen(200, "application/json", r#"{"user_count":1,"users":["a"]}"#), Ok(()));
    assert_eq!(seen(404, "application/problem+json", problem), Ok(()));
    assert!(seen(200, "application/json", r#"{"user_count":"1","users":["a"]}"#).is_err(), "a wrong type");
    assert!(seen(200, "text/plain", r#"{"user_count":1,"users":["a"]}"#).is_err(), "another content type");
    assert!(seen(409, "application/problem+json", &problem.replace("404", "409")).is_err(), "another status");
    assert!(seen(404, "application/problem+json", &problem.replace("not_found", "gone")).is_err(), "an unknown code");
}
