//! What a client reads: the protocol's shapes, written from the protocol and not from the server's code.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What the last change of a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Kind {
    #[serde(rename = "chat_message")]
    Created,
    #[serde(rename = "message_edited")]
    Edited,
    #[serde(rename = "message_deleted")]
    Deleted,
    #[serde(rename = "message_reacted")]
    Reacted,
}

/// A message in its present state, stamped with the `seq` of its last change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Change {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub room: String,
    pub room_id: i64,
    pub id: u64,
    pub seq: u64,
    /// First `seq` of the hole before this change; live frames only.
    #[serde(default)]
    pub from: Option<u64>,
    pub author: String,
    pub author_id: i64,
    pub content: String,
    pub created_at: String,
    pub edited_at: Option<String>,
    pub deleted: bool,
    pub reply_to: Option<u64>,
    pub nonce: Option<String>,
    #[serde(default)]
    pub mentions: Vec<String>,
    #[serde(default)]
    pub reactions: BTreeMap<String, Reaction>,
}

/// What a message shows of one kind of reaction.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Reaction {
    pub count: u64,
    pub users: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    pub id: i64,
    pub username: String,
    pub role: String,
}

/// A room as the asking user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Room {
    pub id: i64,
    pub slug: String,
    pub name: String,
    pub topic: String,
    pub kind: String,
    pub epoch: String,
    pub seq: u64,
    pub role: Option<String>,
    pub last_read: u64,
    pub unread: u64,
    pub mentions: u64,
    pub online: u64,
}

/// The answer to a `join`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Joined {
    pub room: String,
    pub info: Room,
    pub epoch: String,
    pub seq: u64,
    pub messages: Vec<Change>,
    pub more: bool,
    pub reset: bool,
    pub users: Vec<String>,
    pub user_count: u64,
}

/// The answer to a `send`, an `edit` or a `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ack {
    pub room: String,
    pub id: u64,
    pub seq: u64,
    #[serde(default)]
    pub duplicate: bool,
}

impl Kind {
    pub fn is_change(word: &str) -> bool {
        matches!(word, "chat_message" | "message_edited" | "message_deleted" | "message_reacted")
    }
}

impl Change {
    /// The first `seq` this frame speaks for.
    pub fn first(&self) -> u64 {
        self.from.unwrap_or(self.seq)
    }

    /// The same state, without how this socket was told of it.
    pub fn stripped(&self) -> Self {
        Self { from: None, ..self.clone() }
    }
}

/// The string at `key`, or `""`.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}
