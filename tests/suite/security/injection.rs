//! Text that would do harm where it is pasted into SQL, a pattern, a channel's name or a path: it comes back as it
//! went in, or is refused as what it is, in every place that takes text. On both databases, and through Redis.

use salon::engine::http::{Account, Answer, Http, escape};
use salon::engine::socket::Socket;
use serde_json::{Value, json};

use super::socket_at;
use crate::support::cluster::Cluster;
use crate::support::node::{Single, unique};

const HOSTILE: &[&str] = &[
    "'",
    "\"",
    "' OR '1'='1",
    "'; DROP TABLE messages; --",
    "\\'; SELECT pg_sleep(5); --",
    "$1",
    "%s%n",
    "%",
    "_%_",
    "a\\",
    "\\x00\\u0000",
    "nul\0nul",
    "*",
    "[a-z]?*",
    "line\nbreak\r\nX-Injected: 1",
    "room:{1}",
    "{salon}:room:1",
    "salon:*\r\nFLUSHALL\r\n",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
    "{{7*7}}${7*7}",
    "\u{202e}drowssap\u{202c}",
    "zero\u{200b}width\u{feff}",
    "e\u{301}\u{1f469}\u{200d}\u{1f4bb}\u{fdd0}\u{10ffff}",
    "\u{1}\u{7f}\u{85}\u{2028}",
    "null",
    "-1",
    "9223372036854775808",
    "true",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_only_text_on_one_node() {
    let single = Single::start().await;
    attack(&single.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_only_text_in_a_cluster() {
    let cluster = Cluster::start(1).await;
    attack(&cluster.url(0)).await;
}

async fn attack(url: &str) {
    let alice = Account::register(url, &unique("alice")).await.expect("registration");
    let room = alice.http.create_room(&unique("target"), "public").await.expect("a room").slug;
    let mut socket = socket_at(url, &alice).await;
    socket.join(&room).await.expect("joined");
    for text in HOSTILE {
        as_names(url, text).await;
        as_rooms(&alice, text).await;
        as_messages(&alice, &room, text).await;
        as_frames(&mut socket, &room, text).await;
        as_paths(&alice, &room, text).await;
    }
    // All is still there, and still hers.
    let after = alice.http.history(&room).await.expect("history");
    assert!(after.messages.iter().all(|message| message.author == alice.user.username && message.room == room));
    // Of each but the one with a NUL: sent, edited, deleted, and sent by the socket.
    assert_eq!(after.head, 4 * (HOSTILE.len() as u64 - 1), "nothing more, nothing less");
    socket.drained().await.expect("the socket lives");
}

/// Not a defect of ours, whatever was said; and as it came, nothing of it in a header.
#[track_caller]
fn taken_or_refused(what: &str, text: &str, answer: &Answer) -> bool {
    assert!(answer.status < 500, "{what} {text:?}: {} {}", answer.status, answer.json());
    assert!(answer.header("x-injected").is_none(), "{what} {text:?}");
    (200..300).contains(&answer.status)
}

async fn as_names(url: &str, text: &str) {
    let http = Http::new(url);
    let body = json!({"username": text, "password": "correct horse battery"});
    for call in ["register", "login", "token"] {
        let answer = http.post(&format!("/api/account/{call}"), body.clone()).await.expect("an answer");
        if taken_or_refused(call, text, &answer) {
            assert_eq!(answer.json()["user"]["username"], *text);
        }
    }
    let body = json!({"username": "nobody-at-all", "password": text, "refresh_token": text});
    for call in ["login", "refresh"] {
        let answer = http.post(&format!("/api/account/{call}"), body.clone()).await.expect("an answer");
        assert!(!taken_or_refused(call, text, &answer));
    }
}

async fn as_rooms(alice: &Account, text: &str) {
    let name = format!("a {text} b");
    let body = json!({"name": name, "topic": name, "kind": "private"});
    let made = alice.http.post("/api/rooms", body).await.expect("an answer");
    assert_eq!(taken_or_refused("room", text, &made), !text.contains('\0'), "{text:?}: {}", made.json());
    if made.status == 201 {
        let path = format!("/api/rooms/{}", escape(made.json()["slug"].as_str().expect("a slug")));
        let changed = alice.http.patch(&path, json!({"topic": format!("c {text} d")})).await.expect("an answer");
        assert!(taken_or_refused("topic", text, &changed));
        let seen = alice.http.get(&path).await.expect("an answer").json();
        assert_eq!((&seen["name"], &seen["topic"]), (&json!(name), &json!(format!("c {text} d"))));
    }
    let kind = alice.http.post("/api/rooms", json!({"name": "plain", "kind": text})).await.expect("an answer");
    assert!(!taken_or_refused("kind", text, &kind));
}

async fn as_messages(alice: &Account, room: &str, text: &str) {
    let path = format!("/api/rooms/{room}/messages");
    let nonce = text.to_owned();
    let body = json!({"content": text, "nonce": nonce});
    let sent = alice.http.post(&path, body.clone()).await.expect("an answer");
    let blank = text.trim().is_empty() || text.contains('\0');
    assert_eq!(taken_or_refused("content", text, &sent), !blank, "{text:?}");
    if sent.status == 201 {
        let id = sent.json()["id"].clone();
        let again = alice.http.post(&path, body).await.expect("an answer");
        assert_eq!((again.status, &again.json()["id"]), (200, &id), "the nonce {text:?} is known again");
        let edited = json!({"content": format!("{text}{text}")});
        let edited = alice.http.patch(&format!("{path}/{id}"), edited).await.expect("an answer");
        assert_eq!(edited.json()["content"], format!("{text}{text}"));
        let seen = alice.http.get(&format!("{path}?limit=1")).await.expect("an answer").json();
        assert_eq!((&seen[0]["content"], &seen[0]["nonce"]), (&json!(format!("{text}{text}")), &json!(text)));
        // Back to one change a message, so that the test can count.
        let gone = alice.http.delete(&format!("{path}/{id}")).await.expect("an answer");
        assert!(taken_or_refused("delete", text, &gone));
        let told = alice.http.get(&format!("{path}?limit=1")).await.expect("an answer").json();
        assert_eq!((&told[0]["content"], &told[0]["deleted"]), (&json!(""), &json!(true)));
    }
    for body in [json!({"content": "x", "reply_to": text}), json!({"content": {"a": text}}), json!([text])] {
        assert!(!taken_or_refused("a wrong type", text, &alice.http.post(&path, body).await.expect("an answer")));
    }
}

async fn as_frames(socket: &mut Socket, room: &str, text: &str) {
    let frames = [
        json!({"type": "send", "room": room, "content": text, "nonce": format!("ws{text}")}),
        json!({"type": "send", "room": text, "content": text}),
        json!({"type": "join", "room": text}),
        json!({"type": "join", "room": room, "epoch": text, "after": 0}),
        json!({"type": "join", "room": room, "after": text}),
        json!({"type": "join", "rooms": [{"room": text, "limit": text}]}),
        json!({"type": "leave", "room": text}),
        json!({"type": "typing", "room": text}),
        json!({"type": "edit", "room": room, "id": text, "content": text}),
        json!({"type": "delete", "room": room, "id": text}),
        json!({"type": "auth", "token": text}),
        json!({"type": text}),
    ];
    for frame in frames {
        let answer = socket.ask(frame.clone()).await.expect("an answer");
        assert!(!matches!(answer["code"].as_str(), Some("internal" | "unavailable")), "{frame}: {answer}");
        if answer["type"] == "ack" {
            let nonce = format!("ws{text}");
            assert_eq!(answer["nonce"], nonce);
            let told = socket.passed.iter().rfind(|frame| frame["nonce"] == nonce.as_str()).cloned();
            let told = match told {
                Some(told) => told,
                None => socket
                    .expect_where("one's own message", super::PATIENCE, |frame| {
                        frame["type"] == "chat_message" && frame["nonce"] == nonce.as_str()
                    })
                    .await
                    .expect("told"),
            };
            assert_eq!(told["content"], *text, "as it went in");
        }
    }
    // `ref` comes back as it is, or is refused.
    socket.send(json!({"type": "ping", "ref": text})).await.expect("alive");
    let answer = socket.expect("pong").await.expect("an answer");
    assert_eq!(answer["ref"], *text);
    socket.passed.clear();
}

async fn as_paths(alice: &Account, room: &str, text: &str) {
    let part = escape(text);
    let calls: [(&str, String, Value); 20] = [
        ("GET", format!("/api/rooms?cursor={part}"), Value::Null),
        ("GET", format!("/api/rooms?limit={part}"), Value::Null),
        ("GET", format!("/api/rooms/{part}"), Value::Null),
        ("GET", format!("/api/rooms/{room}/members?cursor={part}&limit={part}"), Value::Null),
        ("GET", format!("/api/rooms/{room}/members?cursor={part}"), Value::Null),
        ("PUT", format!("/api/rooms/{room}/members/{part}"), json!({"role": text})),
        ("PUT", format!("/api/rooms/{room}/members/{part}"), json!({"role": "member"})),
        ("DELETE", format!("/api/rooms/{room}/members/{part}"), Value::Null),
        ("GET", format!("/api/rooms/{room}/bans?cursor={part}"), Value::Null),
        ("PUT", format!("/api/rooms/{room}/bans/{part}"), json!({"reason": text, "until": text})),
        ("DELETE", format!("/api/rooms/{room}/mutes/{part}"), Value::Null),
        ("DELETE", format!("/api/rooms/{room}/invites/{part}"), Value::Null),
        ("POST", format!("/api/invites/{part}"), Value::Null),
        ("POST", "/api/rooms".to_owned(), json!({"kind": "direct", "username": text})),
        ("GET", format!("/api/rooms/{room}/messages?before={part}"), Value::Null),
        ("GET", format!("/api/rooms/{room}/messages?after={part}"), Value::Null),
        ("DELETE", format!("/api/rooms/{room}/messages/{part}"), Value::Null),
        ("DELETE", format!("/api/account/sessions/{part}"), Value::Null),
        ("GET", format!("/r/{part}"), Value::Null),
        ("GET", format!("/{part}"), Value::Null),
    ];
    for (method, path, body) in calls {
        let mut call = alice.http.call(method, &path).header("user-agent", "agent ' \\ % \" ; --");
        if !body.is_null() {
            call = call.json(&body);
        }
        let answer = call.send().await.expect("an answer");
        let good = taken_or_refused(&path, text, &answer);
        // Some of it may be a username.
        assert!(
            !good || method == "GET" || path.contains("/members/") || path == "/api/rooms",
            "{method} {path}: {}",
            answer.status
        );
    }
    let typed = format!("/ws/chat/{part}/");
    let status = super::upgrade(&alice.http.at(alice.http.authority()), &typed, &[]).await.status;
    assert!(matches!(status, 101 | 404 | 422), "{typed}: {status}");
}
