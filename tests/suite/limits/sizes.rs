//! What one frame, one body and one message may hold.

use std::time::Duration;

use salon::engine::http::{Account, Answer};
use serde_json::json;

use crate::http::{assert_invalid, assert_problem};
use crate::support::node::Single;
use crate::websocket::{assert_error, room, socket};

const BYTES_MAX: usize = 65_536;
const CHARS_MAX: usize = 4_000;

/// A JSON object with these fields, filled up to so many bytes.
fn filled(fields: &str, bytes: usize) -> String {
    let empty = format!("{{{fields},\"padding\":\"\"}}");
    format!("{{{fields},\"padding\":\"{}\"}}", "x".repeat(bytes - empty.len()))
}

async fn post(account: &Account, room: &str, body: String) -> Answer {
    let call = account.http.call("POST", &format!("/api/rooms/{room}/messages"));
    call.header("content-type", "application/json").body(body).send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_64_kib_is_taken_and_one_byte_more_ends_the_socket() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let mut socket = socket(single, &alice).await;
    socket.send_text(&filled("\"type\":\"ping\"", BYTES_MAX)).await.expect("alive");
    socket.expect("pong").await.expect("64 KiB fit");
    // The server may close before it has taken all of it.
    let _ = socket.send_text(&filled("\"type\":\"ping\"", BYTES_MAX + 1)).await;
    assert_eq!(socket.closed(Duration::from_secs(5)).await.expect("closed"), Some(1009));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_64_kib_is_taken_and_one_byte_more_is_too_large() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    assert_eq!(post(&alice, &room, filled("\"content\":\"fits\"", BYTES_MAX)).await.status, 201);
    let over = post(&alice, &room, filled("\"content\":\"does not\"", BYTES_MAX + 1)).await;
    assert_problem(&over, 413, "too_large");
    assert_eq!(alice.http.history(&room).await.expect("history").head, 1, "what was refused is not stored");
}

/// Counted are characters, however they are written: 4,000 of four bytes, or of twelve escaped ones, fit a frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_characters_fit_however_they_are_written_and_one_more_does_not() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = socket(single, &alice).await;
    let mut stored = 0;
    for letter in ["x", "\u{1f980}", "\\ud83e\\udd80", "\\u00e9", "\\\""] {
        let (fits, over) = (letter.repeat(CHARS_MAX), letter.repeat(CHARS_MAX + 1));
        let frame = |content: &str| format!("{{\"type\":\"send\",\"room\":\"{room}\",\"content\":\"{content}\"}}");
        socket.send_text(&frame(&fits)).await.expect("alive");
        let ack = socket.expect("ack").await.expect(letter);
        socket.send_text(&frame(&over)).await.expect("alive");
        assert_error(&socket.expect("error").await.expect(letter), "invalid");
        let posted = post(&alice, &room, format!("{{\"content\":\"{fits}\"}}")).await;
        assert_eq!(posted.status, 201, "{letter}: {:?}", posted.json()["detail"]);
        let chars = posted.json()["content"].as_str().map(|content| content.chars().count());
        assert_eq!(chars, Some(CHARS_MAX), "{letter}");
        assert_invalid(&post(&alice, &room, format!("{{\"content\":\"{over}\"}}")).await, "content");
        stored += 2;
        assert!(ack["id"].as_u64().is_some_and(|id| id < stored), "{ack}");
    }
    assert_eq!(alice.http.history(&room).await.expect("history").head, stored);
}

/// A parser that recurses as deep as it is told runs out of stack, and takes the process with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_json_is_malformed_and_harms_nobody() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = socket(single, &alice).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 60_000 / (open.len() + close.len());
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        socket
            .send_text(&format!("{{\"type\":\"send\",\"room\":\"{room}\",\"content\":{deep}}}"))
            .await
            .expect("alive");
        assert_error(&socket.expect("error").await.expect("an error"), "malformed");
        assert_problem(&post(&alice, &room, format!("{{\"content\":{deep}}}")).await, 400, "malformed");
        // Never closed: the parser meets no end.
        socket.send_text(&open.repeat(depth)).await.expect("alive");
        assert_error(&socket.expect("error").await.expect("an error"), "malformed");
        assert_problem(&post(&alice, &room, open.repeat(depth)).await, 400, "malformed");
    }
    let ignored = format!("{{\"type\":\"ping\",\"unknown\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000));
    socket.send_text(&ignored).await.expect("alive");
    socket.expect("pong").await.expect("a field that nobody asks for is passed over, however deep");
    let flat = json!({"type": "ping", "wide": vec![0; 20_000]});
    socket.ask(flat).await.expect("what is wide is not deep");
}
