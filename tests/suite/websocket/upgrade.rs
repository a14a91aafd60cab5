//! Who may open a socket, and the rooms of `/ws/chat/{room}/`.

use salon::engine::http::{Http, escape};
use salon::engine::socket::Opening;
use serde_json::{Value, json};

use super::{assert_error, room, say, socket};
use crate::support::node::{Single, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn welcome_is_the_first_frame() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let mut socket = Opening::new(&single.url()).cookies(&alice.http).open().await.expect("a socket");
    let first = socket.frame().await.expect("a frame");
    assert_eq!((&first["type"], &first["protocol"], &first["node"]), (&"welcome".into(), &1.into(), &"shared".into()));
    assert_eq!(first["user"], json!({"id": alice.user.id, "username": alice.user.username, "role": "user"}));
    assert_eq!(first["heartbeat_s"], 25);
    assert!(first["limits"].is_object(), "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_in_a_header_or_a_subprotocol_and_never_in_the_url() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let token = alice.token().await.expect("a token");
    let opening = || Opening::new(&single.url());
    let header = opening().bearer(&token).open().await.expect("a socket");
    assert_eq!(header.subprotocol, None);
    let subprotocol = opening().bearer_subprotocol(&token).open().await.expect("a socket");
    assert_eq!(subprotocol.subprotocol.as_deref(), Some("salon.v1"));
    for path in [format!("/ws?token={token}"), format!("/ws?access_token={token}"), format!("/ws?bearer={token}")] {
        assert_eq!(opening().path(&path).open().await.expect_err("refused").status, 401);
    }
    for bad in [opening().bearer("nonsense"), opening().bearer_subprotocol("nonsense"), opening()] {
        let refused = bad.open().await.expect_err("refused");
        let body: Value = serde_json::from_str(&refused.body).unwrap_or_default();
        assert_eq!((refused.status, &body["code"]), (401, &json!("unauthenticated")), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_pages_cannot_open_a_socket() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let own = single.url();
    let port = own.rsplit(':').next().expect("a port");
    let foreign = [
        "https://evil.example".to_owned(),
        "null".to_owned(),
        format!("{own}.evil.example"),
        format!("{own}0"),
        format!("http://evil.example:{port}"),
        format!("http://127.0.0.1.evil.example:{port}"),
        "http://127.0.0.1".to_owned(),
        format!("http://alice@127.0.0.1:{port}@evil.example"),
        String::new(),
    ];
    for origin in &foreign {
        let refused = Opening::new(&own).cookies(&alice.http).origin(origin).open().await;
        assert_eq!(refused.expect_err(origin).status, 403, "{origin}");
    }
    for origin in [own.clone(), own.replace("127.0.0.1", "localhost")] {
        let opening = Opening::new(&own.replace("127.0.0.1", "localhost")).cookies(&alice.http).origin(&origin);
        opening.welcomed().await.expect("the host's own page, or the public URL's");
    }
    Opening::new(&own).cookies(&alice.http).welcomed().await.expect("programs send none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_a_user_are_bounded() {
    let single = Single::start_with(&[("SALON_LIMITS__SOCKETS_PER_USER", "2")]).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let (first, _second) = (socket(&single, &alice).await, socket(&single, &alice).await);
    let refused = Opening::new(&single.url()).cookies(&alice.http).open().await.expect_err("refused");
    assert_eq!(refused.status, 429, "{refused:?}");
    socket(&single, &bob).await;
    first.close().await;
    // The place is free as soon as the server has seen the close.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while Opening::new(&single.url()).cookies(&alice.http).open().await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the place was never given back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rooms_own_address_joins_by_itself() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let id = alice.http.room(&room).await.expect("a room").id;
    for (named, content) in [(room.clone(), "by slug"), (id.to_string(), "by id")] {
        let opening = Opening::new(&single.url()).cookies(&alice.http).path(&format!("/ws/chat/{named}/"));
        let mut socket = opening.welcomed().await.expect("a socket");
        let joined = socket.frame().await.expect("a frame");
        assert_eq!((&joined["type"], &joined["room"]), (&json!("joined"), &json!(room)), "{joined}");
        for (field, kind) in [("content", ""), ("message", ""), ("content", "send")] {
            let mut frame = json!({"ref": 7});
            frame[field] = json!(format!("{content} {field} {kind}"));
            if !kind.is_empty() {
                frame["type"] = json!(kind);
            }
            socket.send(frame.clone()).await.expect("alive");
            let ack = socket.expect("ack").await.expect("an ack");
            assert_eq!((&ack["room"], &ack["ref"]), (&json!(room), &json!(7)), "{frame}: {ack}");
        }
    }
    let history = alice.http.history(&room).await.expect("history");
    assert_eq!(history.head, 6, "the alias `message` is a send too");
    let resumed = Opening::new(&single.url()).cookies(&alice.http).path(&format!("/ws/chat/{room}/?after=4"));
    let joined = resumed.welcomed().await.expect("a socket").frame().await.expect("a frame");
    let seqs: Vec<u64> =
        joined["messages"].as_array().expect("an array").iter().filter_map(|m| m["seq"].as_u64()).collect();
    assert_eq!(seqs, [5, 6], "{joined}");
    let page = Opening::new(&single.url()).cookies(&alice.http).path(&format!("/ws/chat/{room}/?limit=1"));
    let joined = page.welcomed().await.expect("a socket").frame().await.expect("a frame");
    assert_eq!((joined["messages"].as_array().map(Vec::len), &joined["more"]), (Some(1), &json!(true)), "{joined}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rooms_own_address_makes_the_room() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let typed = format!("Grüne {}", unique("Wiese"));
    let path = format!("/ws/chat/{}/", escape(&typed));
    let mut socket = Opening::new(&single.url()).cookies(&alice.http).path(&path).welcomed().await.expect("a socket");
    let info = socket.frame().await.expect("joined")["info"].take();
    assert_eq!((&info["name"], &info["kind"], &info["role"]), (&json!(typed), &json!("public"), &json!("owner")));
    assert_eq!(info["slug"], typed.to_lowercase().replace(' ', "-"));
    // The same words lead the next one to the same room.
    let mut other = Opening::new(&single.url()).cookies(&bob.http).path(&path).welcomed().await.expect("a socket");
    let theirs = other.frame().await.expect("joined")["info"].take();
    assert_eq!((&theirs["id"], &theirs["role"]), (&info["id"], &json!("member")));
    for nameless in ["/ws/chat/999999999/", "/ws/chat/---/", "/ws/chat/%ff/"] {
        let refused = Opening::new(&single.url()).cookies(&bob.http).path(nameless).open().await.expect_err("refused");
        assert_eq!(refused.status, 404, "{nameless}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_not_made_where_the_operator_says_so() {
    let single = Single::start_with(&[("SALON_ROOMS__AUTO_CREATE", "false")]).await;
    let alice = single.user("alice").await;
    let path = format!("/ws/chat/{}/", unique("absent"));
    let refused = Opening::new(&single.url()).cookies(&alice.http).path(&path).open().await.expect_err("refused");
    assert_eq!(refused.status, 404, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_socket_needs_a_room_in_its_frames() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = socket(single, &alice).await;
    socket.send(json!({"content": "to whom?"})).await.expect("alive");
    assert_error(&socket.expect("error").await.expect("an error"), "invalid");
    assert_eq!(say(&mut socket, &room, "to them").await, 1);
    let page = Http::new(&single.url()).get("/").await.expect("an answer");
    assert_eq!(page.status, 200, "the page itself needs no log-in");
}
