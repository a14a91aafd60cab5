//! The socket's protocol, frame by frame, on one node.

mod frames;
mod joins;
pub mod lifetimes;
mod people;
mod upgrade;

use salon::engine::http::Account;
use salon::engine::socket::{Opening, Socket};
use salon::engine::wire::text;
use serde_json::{Value, json};

use crate::support::node::{Single, unique};

/// A socket of this user, after its `welcome`.
pub async fn socket(single: &Single, account: &Account) -> Socket {
    Opening::new(&single.url()).cookies(&account.http).welcomed().await.expect("a socket")
}

/// A socket that has joined the room.
pub async fn joined(single: &Single, account: &Account, room: &str) -> Socket {
    let mut socket = socket(single, account).await;
    let answer = socket.join(room).await.expect("an answer");
    assert_eq!(answer["type"], "joined", "{answer}");
    socket
}

/// A public room of this user.
pub async fn room(account: &Account) -> String {
    account.http.create_room(&unique("socket"), "public").await.expect("a room").slug
}

/// Sends and gives the message's id.
pub async fn say(socket: &mut Socket, room: &str, content: &str) -> u64 {
    let answer = socket.ask(json!({"type": "send", "room": room, "content": content})).await.expect("an answer");
    assert_eq!(answer["type"], "ack", "{answer}");
    answer["id"].as_u64().expect("an id")
}

/// An error frame with this code and a sentence for a person.
#[track_caller]
pub fn assert_error(frame: &Value, code: &str) {
    assert_eq!((text(frame, "type"), text(frame, "code")), ("error", code), "{frame}");
    assert!(!text(frame, "detail").is_empty(), "{frame}");
}

/// `invalid`, and the sentence names the field.
#[track_caller]
pub fn assert_invalid(frame: &Value, field: &str) {
    assert_error(frame, "invalid");
    assert!(text(frame, "detail").contains(field), "not about {field}: {frame}");
}
