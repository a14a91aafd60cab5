//! What sockets are told. A change is encoded once, as the exact text every socket gets; everything else is small and
//! encoded where it is said.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::incoming::Echo;
use super::said::{ErrorCode, Reference, RoomKey};
use crate::error::Error;
use crate::model::{
    ChangeKind, Epoch, Message, MessageId, ReactionCount, Reactions, RoomId, RoomInfo, Seq, Slug, Timestamp, User,
    UserId, Username,
};

/// The limits a client should know, as `welcome` tells them.
#[derive(utoipa::ToSchema, Debug, Clone, Serialize)]
pub struct WelcomeLimits {
    pub messages_per_s: u32,
    pub message_burst: u32,
    pub rooms_per_socket: usize,
    pub content_chars: usize,
    pub frame_bytes: usize,
}

/// Why a socket has left a room without asking for it.
#[derive(utoipa::ToSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    Kicked,
    Banned,
    RoomDeleted,
    Left,
}

#[derive(utoipa::ToSchema, Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    Welcome {
        protocol: u32,
        node: &'a str,
        user: &'a User,
        heartbeat_s: u64,
        limits: &'a WelcomeLimits,
    },
    Left {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Reference>, nullable = false)]
        reference: Option<&'a Value>,
        room: &'a Slug,
    },
    Ack {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Reference>, nullable = false)]
        reference: Option<&'a Value>,
        room: &'a Slug,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        nonce: Option<&'a str>,
        id: MessageId,
        seq: Seq,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        created_at: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        duplicate: Option<bool>,
    },
    UserJoin {
        room: &'a Slug,
        user: &'a Username,
        user_count: usize,
    },
    UserLeave {
        room: &'a Slug,
        user: &'a Username,
        user_count: usize,
    },
    UserList {
        room: &'a Slug,
        users: &'a [Username],
        user_count: usize,
    },
    UserCount {
        room: &'a Slug,
        user_count: usize,
    },
    Typing {
        room: &'a Slug,
        user: &'a Username,
    },
    Read {
        room: &'a Slug,
        seq: Seq,
    },
    Unread {
        room: &'a Slug,
        unread: u32,
        mentions: u32,
    },
    RoomUpdated {
        room: &'a Slug,
        info: &'a RoomInfo,
    },
    /// A room became the user's.
    RoomAdded {
        info: &'a RoomInfo,
    },
    Removed {
        room: &'a Slug,
        reason: Removal,
    },
    Authenticated {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Reference>, nullable = false)]
        reference: Option<&'a Value>,
        expires_at: Timestamp,
    },
    Pong {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Reference>, nullable = false)]
        reference: Option<&'a Value>,
    },
    Error {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Reference>, nullable = false)]
        reference: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<RoomKey>, nullable = false)]
        room: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, nullable = false)]
        nonce: Option<&'a Value>,
        #[schema(value_type = ErrorCode)]
        code: &'a str,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        retry_after_ms: Option<u64>,
    },
    Reconnect {
        within_ms: u64,
        reason: &'a str,
    },
}

/// The type of `joined`.
#[derive(utoipa::ToSchema, Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum JoinedType {
    Joined,
}

/// The answer to a `join`: how the room stands.
#[derive(utoipa::ToSchema, Debug, Clone, Serialize)]
pub struct Joined<'a> {
    r#type: JoinedType,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Reference>, nullable = false)]
    pub reference: Option<&'a Value>,
    pub room: &'a Slug,
    pub info: &'a RoomInfo,
    pub epoch: &'a Epoch,
    pub seq: Seq,
    pub more: bool,
    pub reset: bool,
    pub users: &'a [Username],
    pub user_count: usize,
}

/// A message as the wire shows it everywhere: live frames, `joined.messages`, HTTP pages, event streams.
#[derive(utoipa::ToSchema)]
#[schema(as = Message)]
#[derive(Serialize)]
pub struct ChangeText<'a> {
    r#type: ChangeKind,
    /// The first position this one speaks for, where it speaks for several; in live frames only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    from: Option<Seq>,
    room: &'a Slug,
    room_id: RoomId,
    id: MessageId,
    seq: Seq,
    author: &'a Username,
    author_id: UserId,
    content: &'a str,
    created_at: Timestamp,
    #[schema(required)]
    edited_at: Option<Timestamp>,
    deleted: bool,
    #[schema(required)]
    reply_to: Option<MessageId>,
    #[schema(required)]
    nonce: Option<&'a str>,
    /// Members whom the text names.
    #[serde(skip_serializing_if = "<[Username]>::is_empty")]
    mentions: &'a [Username],
    /// By emoji.
    #[serde(skip_serializing_if = "Reactions::is_empty")]
    #[schema(value_type = BTreeMap<String, ReactionCount>)]
    reactions: &'a Reactions,
}

impl ServerFrame<'_> {
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("a frame holds nothing that JSON cannot say")
    }

    /// The frame that refuses another one.
    pub fn refusal(echo: &Echo, error: &Error) -> String {
        let retry_after_ms = match error {
            Error::RateLimited { retry_after, .. } => Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX)),
            _ => None,
        };
        ServerFrame::Error {
            reference: echo.reference.as_ref(),
            room: echo.room.as_ref(),
            nonce: echo.nonce.as_ref(),
            code: error.code(),
            detail: error.detail(),
            retry_after_ms,
        }
        .encode()
    }
}

impl<'a> Joined<'a> {
    #[expect(clippy::too_many_arguments, reason = "one argument a field; a builder would only hide a missing one")]
    pub fn new(
        reference: Option<&'a Value>,
        info: &'a RoomInfo,
        epoch: &'a Epoch,
        seq: Seq,
        more: bool,
        reset: bool,
        users: &'a [Username],
        user_count: usize,
    ) -> Self {
        Self {
            r#type: JoinedType::Joined,
            reference,
            room: &info.slug,
            info,
            epoch,
            seq,
            more,
            reset,
            users,
            user_count,
        }
    }

    /// Puts the messages in as the bytes they already are.
    pub fn encode<T: AsRef<str>>(&self, messages: impl Iterator<Item = T>) -> String {
        let mut text = serde_json::to_string(self).expect("a frame holds nothing that JSON cannot say");
        text.pop();
        text.push_str(r#","messages":["#);
        for (place, message) in messages.enumerate() {
            if place > 0 {
                text.push(',');
            }
            text.push_str(message.as_ref());
        }
        text.push_str("]}");
        text
    }
}

/// The one encoding of a change. Never says `from`: that depends on who is told, see [`with_from`].
pub fn encode_change(message: &Message, slug: &Slug) -> String {
    serde_json::to_string(&ChangeText {
        r#type: message.kind,
        from: None,
        room: slug,
        room_id: message.room,
        id: message.id,
        seq: message.seq,
        author: &message.author,
        author_id: message.author_id,
        content: &message.content,
        created_at: message.created_at,
        edited_at: message.edited_at,
        deleted: message.deleted,
        reply_to: message.reply_to,
        nonce: message.nonce.as_deref(),
        mentions: &message.mentions,
        reactions: &message.reactions,
    })
    .expect("a message holds nothing that JSON cannot say")
}

/// The same change told to somebody who was not told of the `seq`s from `from` on.
pub fn with_from(text: &str, from: Seq) -> String {
    let mut told = String::with_capacity(text.len() + 28);
    let _ = write!(told, r#"{{"from":{from},"#);
    told.push_str(&text[1..]);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_is_put_in_front_and_nothing_else_changes() {
        let told = with_from(r#"{"type":"chat_message","seq":9}"#, 7);
        assert_eq!(told, r#"{"from":7,"type":"chat_message","seq":9}"#);
    }
}
