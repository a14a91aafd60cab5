//! Sends, edits, deletions and everything a frame can have wrong.

use std::time::Duration;

use serde_json::{Value, json};

use super::{assert_error, assert_invalid, joined, room, say, socket};
use crate::support::node::Single;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_carries_the_ref() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = socket(single, &alice).await;
    let frames = [
        (json!({"type": "join", "room": room}), "joined"),
        (json!({"type": "send", "room": room, "content": "hi"}), "ack"),
        (json!({"type": "edit", "room": room, "id": 1, "content": "ho"}), "ack"),
        (json!({"type": "delete", "room": room, "id": 1}), "ack"),
        (json!({"type": "leave", "room": room}), "left"),
        (json!({"type": "ping"}), "pong"),
        (json!({"type": "send", "room": "no-such-room", "content": "hi"}), "error"),
        (json!({"type": "nonsense"}), "error"),
    ];
    for (mut frame, kind) in frames {
        for mark in [json!("a string"), json!(42)] {
            frame["ref"] = mark.clone();
            socket.send(frame.clone()).await.expect("alive");
            let answer = socket.expect(kind).await.unwrap_or_else(|error| panic!("{frame}: {error}"));
            assert_eq!(answer["ref"], mark, "{frame}: {answer}");
        }
    }
    socket.send(json!({"type": "ping"})).await.expect("alive");
    assert_eq!(socket.expect("pong").await.expect("pong").get("ref"), None, "none where none was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_is_acknowledged_and_told_to_everybody() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(single, &alice, &room).await;
    let mut his = joined(single, &bob, &room).await;
    hers.send(json!({"type": "send", "ref": 1, "room": room, "content": "hi", "nonce": "n1"})).await.expect("alive");
    let ack = hers.expect("ack").await.expect("an ack");
    let at = ack["created_at"].clone();
    assert!(at.is_string(), "{ack}");
    let wanted = json!({
        "type": "ack", "ref": 1, "room": room, "nonce": "n1", "id": 1, "seq": 1, "created_at": at, "duplicate": false,
    });
    assert_eq!(ack, wanted);
    let told = his.expect("chat_message").await.expect("told");
    assert_eq!((&told["content"], &told["nonce"], &told["seq"]), (&json!("hi"), &json!("n1"), &json!(1)));
    assert_eq!((&told["author"], &told["created_at"]), (&json!(alice.user.username), &at));
    let own = hers.passed.iter().find(|frame| frame["type"] == "chat_message").cloned();
    let own = match own {
        Some(own) => own,
        None => hers.expect("chat_message").await.expect("the sender is told too"),
    };
    assert_eq!(own, told, "one shape for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_of_one_socket_keep_their_order() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = joined(single, &alice, &room).await;
    for number in 0..100 {
        let frame = json!({"type": "send", "ref": number, "room": room, "content": format!("{number}")});
        socket.send(frame).await.expect("alive");
    }
    for number in 0..100 {
        let told = socket.expect("chat_message").await.expect("told");
        assert_eq!((&told["content"], &told["seq"]), (&json!(number.to_string()), &json!(number + 1)));
        assert_eq!(told.get("from"), None, "there is no hole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_makes_a_retry_safe() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = joined(single, &alice, &room).await;
    let send = json!({"type": "send", "room": room, "content": "once", "nonce": "n1"});
    let first = socket.ask(send.clone()).await.expect("an answer");
    let again = socket.ask(send).await.expect("an answer");
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!((&first["id"], &first["created_at"]), (&again["id"], &again["created_at"]));
    let other = json!({"type": "send", "room": room, "content": "twice", "nonce": "n1"});
    let conflict = socket.ask(other).await.expect("an answer");
    assert_error(&conflict, "conflict");
    assert_eq!((&conflict["room"], &conflict["nonce"]), (&json!(room), &json!("n1")), "{conflict}");
    let mut told = socket.drained().await.expect("alive");
    told.append(&mut socket.passed);
    assert_eq!(told.iter().filter(|frame| frame["type"] == "chat_message").count(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_and_deletions_take_their_turn() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(single, &alice, &room).await;
    let mut his = joined(single, &bob, &room).await;
    assert_eq!(say(&mut hers, &room, "frist").await, 1);
    let edit = json!({"type": "edit", "room": room, "id": 1, "content": "first"});
    for _ in 0..2 {
        let ack = hers.ask(edit.clone()).await.expect("an answer");
        assert_eq!((&ack["type"], &ack["id"], &ack["seq"]), (&json!("ack"), &json!(1), &json!(2)), "{ack}");
    }
    let told = his.expect("message_edited").await.expect("told");
    assert_eq!((&told["id"], &told["seq"], &told["content"]), (&json!(1), &json!(2), &json!("first")));
    assert!(told["edited_at"].is_string(), "{told}");
    assert_error(&his.ask(edit.clone()).await.expect("an answer"), "forbidden");
    assert_error(&his.ask(json!({"type": "delete", "room": room, "id": 1})).await.expect("an answer"), "forbidden");
    for _ in 0..2 {
        let ack = hers.ask(json!({"type": "delete", "room": room, "id": 1})).await.expect("an answer");
        assert_eq!((&ack["type"], &ack["seq"]), (&json!("ack"), &json!(3)), "{ack}");
    }
    let told = his.expect("message_deleted").await.expect("told");
    assert_eq!((&told["deleted"], &told["content"], &told["seq"]), (&json!(true), &json!(""), &json!(3)));
    assert_error(&hers.ask(edit).await.expect("an answer"), "conflict");
    assert_error(&hers.ask(json!({"type": "delete", "room": room, "id": 9})).await.expect("an answer"), "not_found");
    let frames = his.drained().await.expect("alive");
    assert_eq!(frames, Vec::<Value>::new(), "what already is is not told again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = joined(single, &alice, &room).await;
    let long = "é".repeat(4_001);
    let cases = [
        (json!({"type": "nonsense"}), "type"),
        (json!({"type": 5}), "type"),
        (json!({}), "type"),
        (json!({"type": "send", "content": "x"}), "room"),
        (json!({"type": "send", "room": true, "content": "x"}), "room"),
        (json!({"type": "send", "room": room}), "content"),
        (json!({"type": "send", "room": room, "content": 5}), "content"),
        (json!({"type": "send", "room": room, "content": " "}), "content"),
        (json!({"type": "send", "room": room, "content": "a\u{0}b"}), "content"),
        (json!({"type": "send", "room": room, "content": long}), "content"),
        (json!({"type": "send", "room": room, "content": "x", "nonce": ""}), "nonce"),
        (json!({"type": "send", "room": room, "content": "x", "nonce": "n".repeat(65)}), "nonce"),
        (json!({"type": "send", "room": room, "content": "x", "reply_to": 99}), "reply_to"),
        (json!({"type": "edit", "room": room, "id": "one", "content": "x"}), "id"),
        (json!({"type": "edit", "room": room, "id": -1, "content": "x"}), "id"),
        (json!({"type": "delete", "room": room}), "id"),
        (json!({"type": "join", "room": room, "limit": -1}), "limit"),
        (json!({"type": "join", "rooms": "all"}), "rooms"),
        (json!({"type": "auth"}), "token"),
    ];
    for (frame, field) in cases {
        let answer = socket.ask(frame.clone()).await.unwrap_or_else(|error| panic!("{frame}: {error}"));
        assert_eq!(answer["type"], "error", "{frame}: {answer}");
        assert_invalid(&answer, field);
    }
    assert_error(
        &socket.ask(json!({"type": "send", "room": "no-such", "content": "x"})).await.expect("one"),
        "not_found",
    );
    assert_error(&socket.ask(json!({"type": "join", "room": "No Slug!"})).await.expect("one"), "not_found");
    assert_eq!(alice.http.room(&room).await.expect("a room").seq, 0, "nothing of it was stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fifth_frame_that_is_no_object_ends_the_socket() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let mut socket = socket(single, &alice).await;
    for broken in ["{", "[1]", "\"hello\"", ""] {
        socket.send_text(broken).await.expect("alive");
        assert_error(&socket.expect("error").await.expect("an error"), "malformed");
    }
    assert_eq!(socket.drained().await.expect("still open"), Vec::<Value>::new());
    socket.send_text("5").await.expect("alive");
    assert_eq!(socket.closed(Duration::from_secs(5)).await.expect("closed"), Some(4500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_protocol_ends_the_socket() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let mut binary = socket(single, &alice).await;
    binary.send_binary(b"{\"type\":\"ping\"}").await.expect("alive");
    assert_eq!(binary.closed(Duration::from_secs(5)).await.expect("closed"), Some(4500));
    let mut large = socket(single, &alice).await;
    let frame = json!({"type": "ping", "padding": "x".repeat(65_536)});
    // The server may close before it has taken all of it.
    let _ = large.send(frame).await;
    assert_eq!(large.closed(Duration::from_secs(5)).await.expect("closed"), Some(1009));
    let mut full = socket(single, &alice).await;
    full.send(json!({"type": "ping", "padding": "x".repeat(65_000)})).await.expect("alive");
    full.expect("pong").await.expect("64 KiB fit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_message_makes_a_member() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut his = socket(single, &bob).await;
    assert_eq!(bob.http.room(&room).await.expect("a room").role, None);
    assert_eq!(say(&mut his, &room, "without joining").await, 1);
    assert_eq!(bob.http.room(&room).await.expect("a room").role.as_deref(), Some("member"));
    let told = his.drained().await.expect("alive");
    assert!(told.iter().all(|frame| frame["type"] != "chat_message"), "he has not joined: {told:?}");
}
