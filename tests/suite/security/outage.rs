//! What answers say when something of ours fails: that it failed, and nothing of what is inside.

use salon::engine::http::Http;
use salon::engine::socket::Opening;
use serde_json::json;

use super::headers::assert_protected;
use super::{Filling, PATIENCE, frames_for, routes, socket_at};
use crate::support::node::{Node, Settings, unique};
use crate::support::postgres::Postgres;

/// Words of drivers, of SQL, of the program's inside; lower case.
pub const INSIDE: &[&str] = &[
    "postgres",
    "sqlite",
    "sql",
    "select ",
    "insert ",
    "relation",
    "column \"",
    "constraint",
    "deadpool",
    "pool",
    "tokio",
    "hyper",
    "tungstenite",
    "serde",
    "fred",
    "redis",
    "os error",
    "connection refused",
    "panicked",
    "unwrap",
    ".rs",
    "src/",
    "127.0.0.1",
    "stack backtrace",
];

#[track_caller]
pub fn assert_nothing_inside(what: &str, text: &str) {
    let lower = text.to_lowercase();
    for word in INSIDE {
        assert!(!lower.contains(word), "{what} says {word:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_not_talked_about() {
    let mut postgres = Postgres::start();
    let env = [
        ("SALON_DATABASE__URL", postgres.fresh_database().await),
        ("SALON_AUTH__SECRET", "a secret of this test that is long enough".to_owned()),
    ];
    let env = env.map(|(key, value)| (key.to_owned(), value)).into();
    let node = Node::start("outage", Settings { env, ..Settings::default() }).await;
    let alice = salon::engine::http::Account::register(&node.url(), &unique("alice")).await.expect("registration");
    let room = alice.http.create_room(&unique("room"), "private").await.expect("a room").slug;
    let mut socket = socket_at(&node.url(), &alice).await;
    assert_eq!(socket.join(&room).await.expect("an answer")["type"], "joined");
    postgres.stop_immediate();

    let filling = Filling { room: &room, username: "somebody", id: "1" };
    let routes: Vec<_> = routes(filling).into_iter().filter(|route| !route.is_socket()).collect();
    let asked = routes.iter().map(|route| async {
        let answer = route.ask(&alice.http.at(&node.url())).await;
        (format!("{} {}", route.method, route.path), answer)
    });
    let mut failed = 0;
    for (what, answer) in futures_util::future::join_all(asked).await {
        if answer.status == 200 && answer.content_type().starts_with("text/html") {
            continue;
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if !what.ends_with("/readyz") {
            assert_nothing_inside(&what, &text);
        }
        assert_ne!(answer.status, 500, "{what}: an outage is no defect: {text}");
        assert_protected("answer", &answer);
        if answer.status == 503 && !what.ends_with("/readyz") {
            failed += 1;
            assert_eq!(answer.json()["code"], "unavailable", "{what}");
            assert!(answer.header("retry-after").is_some(), "{what}");
        }
    }
    assert!(failed >= 10, "only {failed} noticed that the database is gone");
    for frame in frames_for(&json!(room)).into_iter().chain(frames_for(&json!("another-room"))) {
        if frame["type"] == "typing" {
            // Not answered where all is well, and that of a joined room needs no database.
            continue;
        }
        let answer = socket.ask(frame.clone()).await.expect("an answer");
        assert!(answer["code"] != "internal", "{frame}: {answer}");
        if answer["type"] == "error" {
            assert_nothing_inside(&frame.to_string(), &answer.to_string());
        }
    }
    let refused = Opening::new(&node.url()).cookies(&alice.http).path("/ws/chat/some-room/").open().await;
    let refused = refused.expect_err("no room can be found");
    assert_eq!(refused.status, 503);
    assert_nothing_inside("an upgrade", &refused.body);

    // The operator is told where they look for it, without the password.
    postgres.start_again();
    node.ready(PATIENCE).await.expect("ready again");
    assert!(!node.log().contains("panicked"), "{}", node.log_tail());
    let _ = Http::new(&node.url()).get("/livez").await.expect("alive");
}
