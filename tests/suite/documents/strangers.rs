//! Requests that nobody of ours thought of, made from the description by schemathesis.

use std::process::Command;
use std::time::{Duration, Instant};

use salon::engine::http::Http;
use salon::http::documents::openapi;
use serde_json::{Value, json};

use super::tool;
use crate::http::assert_problem;
use crate::support::node::{Folder, Single, unique};
use crate::websocket::lifetimes::{ISSUER, claims, sign};

/// What one run may take on a busy machine; it is given half of it.
const PATIENCE: Duration = Duration::from_secs(85);
const BUDGET_S: &str = "35";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,ignored_auth";

/// Events never end, and so would the run.
const ENDLESS: &str = "/events$";

async fn tried(url: &str, token: Option<String>) {
    let folder = Folder::new("schemathesis");
    let mut command = Command::new(tool("bin/st"));
    command.arg("run").arg(format!("{url}/api/openapi.json"));
    command.args(["--checks", CHECKS, "--exclude-path-regex", ENDLESS, "--phases", "examples,coverage,fuzzing"]);
    command.args(["--max-time", BUDGET_S, "--max-examples", "30", "--seed", "7", "--no-color"]);
    command.args(["--request-timeout", "20", "--suppress-health-check", "all", "--no-shrink"]);
    command.current_dir(folder.path()).env("HOME", folder.path());
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let began = Instant::now();
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("schemathesis runs")).await.expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("schemathesis took {:?}:\n{told}", began.elapsed());
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

/// By a token of an operator's issuer: it has no login session that one of the calls could end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_are_logged_in_get_nothing_but_what_is_described() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let token = sign(&claims(&unique("stranger"), 3_600));
    let http = Http::bearer(&single.url(), &token);
    // What the description's examples name is there, and is somebody else's: they would delete it.
    let owner = single.user("owner").await;
    owner.http.create_room("general", "public").await.expect("a room");
    let sent = http.post("/api/rooms/general/messages", json!({"content": "hi"})).await.expect("an answer");
    assert_eq!((sent.status, &sent.json()["id"]), (201, &json!(1)), "{}", sent.json());
    tried(&single.url(), Some(token)).await;
    assert_eq!(single.node.metric("salon_sockets").await as u64, 0, "it opened something that stayed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_are_not_get_nothing_but_what_is_described() {
    let single = Single::start().await;
    tried(&single.url(), None).await;
}

/// Whatever is asked and however: nobody is told more than that they must log in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_described_call_needs_a_login_unless_it_says_otherwise() {
    let single = Single::shared().await;
    let (nobody, liar) = (Http::new(&single.url()), Http::bearer(&single.url(), "e30.e30.e30"));
    let mut asked = 0;
    for (path, item) in openapi()["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            if operation["security"] == json!([{}]) {
                continue;
            }
            let path = path.replace("{room}", "general").replace("{id}", "1").replace(['{', '}'], "");
            for http in [&nobody, &liar] {
                for body in [json!({}), json!({"content": "x", "name": "x", "role": "owner"}), Value::Null] {
                    let answer = http.call(&method.to_uppercase(), &path).json(&body).send().await.expect("an answer");
                    assert_problem(&answer, 401, "unauthenticated");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked >= 6 * 19, "{asked}");
}
