//! What is said to us, as the documents describe it. Nothing is read through these types: a request is taken apart field
//! by field, so that a wrong one is named. Tests hold the two together.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{MessageId, Role, RoomKind, Seq, SiteRole, Timestamp};

/// The client's own name for a frame, given back with its answer. At most 64 characters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Reference {
    Number(i64),
    Text(String),
}

/// A string is a slug, an integer an id.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RoomKey {
    Slug(String),
    Id(i64),
}

/// What programs branch on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    Malformed,
    Unauthenticated,
    InvalidCredentials,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    RateLimited,
    Unavailable,
    Internal,
}

/// A frame of a client's. Each may carry a `ref`, which its answer gives back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Enters a room, or several: then `rooms` stands in place of the other fields.
    Join {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        room: Option<RoomKey>,
        /// The last position that is known; absent: from the latest messages.
        after: Option<Seq>,
        /// The life of the clock that `after` is of.
        epoch: Option<String>,
        #[schema(default = 50)]
        limit: Option<u32>,
        rooms: Option<Vec<JoinOne>>,
    },
    Leave {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        room: RoomKey,
    },
    Send {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        room: RoomKey,
        content: String,
        /// 1 to 64 characters; the same nonce again is the same message.
        nonce: Option<String>,
        reply_to: Option<MessageId>,
    },
    Edit {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        room: RoomKey,
        id: MessageId,
        content: String,
    },
    Delete {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        room: RoomKey,
        id: MessageId,
    },
    /// Tells the others in the room; not answered.
    Typing {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        room: RoomKey,
    },
    /// How far the user has read; not answered.
    Read {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        room: RoomKey,
        seq: Seq,
    },
    /// Extends a socket that was opened by token.
    Auth {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
        token: String,
    },
    Ping {
        #[serde(rename = "ref")]
        reference: Option<Reference>,
    },
}

/// One of the rooms of a `join`.
#[derive(Debug, Serialize, ToSchema)]
pub struct JoinOne {
    pub room: RoomKey,
    pub after: Option<Seq>,
    pub epoch: Option<String>,
    #[schema(default = 50)]
    pub limit: Option<u32>,
}

/// What there is to log in with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Refresh {
    /// Absent: the refresh cookie counts.
    pub refresh_token: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NewPassword {
    pub current: String,
    /// 8 to 256 characters.
    pub new: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NewRoom {
    /// Of a public or private room, which needs one.
    pub name: Option<String>,
    /// Public where it is absent.
    pub kind: Option<RoomKind>,
    pub topic: Option<String>,
    /// Of a direct room: the other one of the two.
    pub username: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RoomChange {
    pub name: Option<String>,
    pub topic: Option<String>,
    /// Days after which the room's messages are removed; 0: as is set for all rooms. For owners.
    #[schema(minimum = 0, maximum = 36_500)]
    pub retention_days: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NewMember {
    pub role: Option<Role>,
}

/// What an administrator changes of an account; what is absent stays.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountChange {
    pub disabled: Option<bool>,
    pub role: Option<SiteRole>,
}

/// Of a ban or a mute.
#[derive(Debug, Serialize, ToSchema)]
pub struct Terms {
    /// At most 250 characters.
    pub reason: Option<String>,
    /// In the future; absent: until it is lifted.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NewInvite {
    /// How many it lets in; absent: as many as come.
    #[schema(minimum = 1, maximum = 10_000)]
    pub uses: Option<u32>,
    /// Seconds; absent: a week.
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub expires_in: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NewMark {
    pub seq: Seq,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NewMessage {
    pub content: String,
    /// 1 to 64 characters; the same nonce again is the same message.
    pub nonce: Option<String>,
    pub reply_to: Option<MessageId>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NewContent {
    pub content: String,
}
