//! Mentions, reactions, read marks, unread counts and search, as clients meet them.

mod across;
mod listing;
mod marks;
mod messages;
mod searching;

use std::time::Duration;

use salon::engine::http::Account;
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};

/// What is told by looks comes within this: a look, a count, and the air of a busy machine.
const SOON: Duration = Duration::from_secs(9);

async fn socket_at(url: &str, account: &Account) -> Socket {
    Opening::new(url).cookies(&account.http).welcomed().await.expect("a socket")
}

/// The first frame that is wanted, also of those that were passed over.
pub async fn hear(socket: &mut Socket, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    if let Some(place) = socket.passed.iter().position(&wanted) {
        return socket.passed.remove(place);
    }
    socket.expect_where(what, SOON, wanted).await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Sends over HTTP and gives the message.
async fn say(account: &Account, room: &str, content: &str) -> Value {
    let path = format!("/api/rooms/{room}/messages");
    let answer = account.http.post(&path, json!({"content": content})).await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()
}

async fn enter(account: &Account, room: &str) {
    let path = format!("/api/rooms/{room}/members/me");
    assert_eq!(account.http.put(&path, json!({})).await.expect("an answer").status, 204);
}

/// `last_read`, `unread` and `mentions` of a room as this user sees it.
async fn counts(account: &Account, room: &str) -> (u64, u64, u64) {
    let seen = account.http.room(room).await.expect("a room");
    (seen.last_read, seen.unread, seen.mentions)
}
