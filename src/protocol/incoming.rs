//! What a socket may say: one JSON object a frame, parsed by hand from its fields so that a wrong one is named.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Epoch, MessageId, RoomId, RoomRef, Seq, Slug};

/// Longest `ref` that is given back, in characters.
pub const REF_CHARS_MAX: usize = 64;
/// Latest messages a `joined` may be asked for, and how many it gives when it is not asked.
pub const JOIN_LIMIT_MAX: u32 = 200;
pub const JOIN_LIMIT_DEFAULT: u32 = 50;

/// A frame, and what its answer must carry back, which is known even when the frame itself is refused.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub echo: Echo,
    pub frame: Result<ClientFrame>,
}

/// `ref`, `room` and `nonce` as they stood in the frame.
#[derive(Debug, Clone, Default)]
pub struct Echo {
    pub reference: Option<Value>,
    pub room: Option<Value>,
    pub nonce: Option<Value>,
}

#[derive(Debug, Clone)]
pub enum ClientFrame {
    Join(Vec<JoinRequest>),
    Leave { room: RoomRef },
    Send { room: RoomRef, content: String, nonce: Option<String>, reply_to: Option<MessageId> },
    Edit { room: RoomRef, id: MessageId, content: String },
    Delete { room: RoomRef, id: MessageId },
    Typing { room: RoomRef },
    Read { room: RoomRef, seq: Seq },
    Auth { token: String },
    Ping,
}

/// One room of a `join`. A room that was not understood is answered by itself, beside the others.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    pub echo: Echo,
    pub wish: Result<JoinWish>,
}

#[derive(Debug, Clone)]
pub struct JoinWish {
    pub room: RoomRef,
    pub after: Option<Seq>,
    pub epoch: Option<Epoch>,
    pub limit: u32,
}

#[derive(Deserialize, Default)]
struct Fields {
    r#type: Option<Value>,
    r#ref: Option<Value>,
    room: Option<Value>,
    rooms: Option<Value>,
    after: Option<Value>,
    epoch: Option<Value>,
    limit: Option<Value>,
    content: Option<Value>,
    message: Option<Value>,
    nonce: Option<Value>,
    reply_to: Option<Value>,
    id: Option<Value>,
    seq: Option<Value>,
    token: Option<Value>,
}

/// Reads one text frame. `Err` when it is not a JSON object at all; what is wrong inside an object is in
/// [`Incoming::frame`]. With `implicit` (a socket of `/ws/chat/{room}/`) `room` may be left out, and a frame with
/// content but no `type` is a send.
pub fn parse(text: &str, implicit: Option<RoomId>, rooms_max: usize) -> Result<Incoming> {
    // A map is not asked for first: serde reports a non-object, and duplicate or unknown keys do no harm.
    if !text.trim_start().starts_with('{') {
        return Err(Error::Malformed("a frame must be a JSON object".into()));
    }
    let fields: Fields =
        serde_json::from_str(text).map_err(|error| Error::Malformed(format!("not a JSON object: {error}")))?;
    let echo = Echo {
        reference: fields.r#ref.clone().filter(is_reference),
        room: fields.room.clone().filter(|room| room.is_string() || room.is_i64() || room.is_u64()),
        nonce: fields.nonce.clone().filter(Value::is_string),
    };
    let frame = match &fields.r#ref {
        Some(reference) if !reference.is_null() && !is_reference(reference) => {
            Err(Error::invalid("ref", format!("must be an integer or a string of at most {REF_CHARS_MAX} characters")))
        }
        _ => frame(fields, &echo, implicit, rooms_max),
    };
    Ok(Incoming { echo, frame })
}

fn frame(fields: Fields, echo: &Echo, implicit: Option<RoomId>, rooms_max: usize) -> Result<ClientFrame> {
    let kind = match fields.r#type {
        Some(Value::String(ref kind)) => kind.as_str(),
        None if implicit.is_some() && (fields.content.is_some() || fields.message.is_some()) => "send",
        None => return Err(Error::invalid("type", "is missing")),
        Some(_) => return Err(Error::invalid("type", "must be a string")),
    };
    let room = |room: &Option<Value>| match (room, implicit) {
        (None, Some(id)) => Ok(RoomRef::Id(id)),
        (room, _) => room_ref(room.as_ref()),
    };
    Ok(match kind {
        "join" => ClientFrame::Join(joins(fields, echo, implicit, rooms_max)?),
        "leave" => ClientFrame::Leave { room: room(&fields.room)? },
        "send" => ClientFrame::Send {
            room: room(&fields.room)?,
            nonce: optional_string("nonce", fields.nonce)?,
            reply_to: optional_seq("reply_to", fields.reply_to.as_ref())?,
            content: content(fields.content, fields.message.filter(|_| implicit.is_some()))?,
        },
        "edit" => ClientFrame::Edit {
            room: room(&fields.room)?,
            id: seq("id", fields.id.as_ref())?,
            content: content(fields.content, None)?,
        },
        "delete" => ClientFrame::Delete { room: room(&fields.room)?, id: seq("id", fields.id.as_ref())? },
        "typing" => ClientFrame::Typing { room: room(&fields.room)? },
        "read" => ClientFrame::Read { room: room(&fields.room)?, seq: seq("seq", fields.seq.as_ref())? },
        "auth" => ClientFrame::Auth {
            token: optional_string("token", fields.token)?.ok_or_else(|| Error::invalid("token", "is missing"))?,
        },
        "ping" => ClientFrame::Ping,
        _ => return Err(Error::invalid("type", "is not known")),
    })
}

fn joins(fields: Fields, echo: &Echo, implicit: Option<RoomId>, rooms_max: usize) -> Result<Vec<JoinRequest>> {
    let one = |fields: Fields| {
        let mut echo = echo.clone();
        echo.room = fields.room.clone().filter(|room| room.is_string() || room.is_i64() || room.is_u64());
        let wish = join_wish(&fields, implicit);
        JoinRequest { echo, wish }
    };
    match fields.rooms {
        None => Ok(vec![one(fields)]),
        Some(Value::Array(list)) if list.len() > rooms_max => {
            Err(Error::TooLarge(format!("rooms: at most {rooms_max} rooms in one frame")))
        }
        Some(Value::Array(list)) => Ok(list
            .into_iter()
            .map(|item| match item {
                Value::Object(_) => one(serde_json::from_value(item).unwrap_or_default()),
                _ => JoinRequest {
                    echo: echo.clone(),
                    wish: Err(Error::invalid("rooms", "must be an array of objects with `room`")),
                },
            })
            .collect()),
        Some(_) => Err(Error::invalid("rooms", "must be an array of objects with `room`")),
    }
}

fn join_wish(fields: &Fields, implicit: Option<RoomId>) -> Result<JoinWish> {
    let room = match (&fields.room, implicit) {
        (None, Some(id)) => RoomRef::Id(id),
        (room, _) => room_ref(room.as_ref())?,
    };
    let limit = match fields.limit.as_ref().filter(|limit| !limit.is_null()) {
        None => JOIN_LIMIT_DEFAULT,
        Some(limit) => {
            let limit = limit.as_u64().ok_or_else(|| Error::invalid("limit", "must be an integer, 0 or more"))?;
            u32::try_from(limit).unwrap_or(JOIN_LIMIT_MAX).min(JOIN_LIMIT_MAX)
        }
    };
    Ok(JoinWish {
        room,
        after: optional_seq("after", fields.after.as_ref())?,
        epoch: optional_string("epoch", fields.epoch.clone())?.map(Epoch),
        limit,
    })
}

fn room_ref(room: Option<&Value>) -> Result<RoomRef> {
    match room {
        None | Some(Value::Null) => Err(Error::invalid("room", "is missing")),
        Some(Value::String(slug)) => Slug::parse(slug).map(RoomRef::Slug).map_err(|_| Error::room_not_found()),
        Some(Value::Number(id)) => match id.as_i64() {
            Some(id) => Ok(RoomRef::Id(RoomId(id))),
            None => Err(Error::invalid("room", "must be a slug or an integer id")),
        },
        Some(_) => Err(Error::invalid("room", "must be a slug or an integer id")),
    }
}

fn content(content: Option<Value>, alias: Option<Value>) -> Result<String> {
    optional_string("content", content)?
        .or(optional_string("message", alias)?)
        .ok_or_else(|| Error::invalid("content", "is missing"))
}

fn optional_string(field: &str, value: Option<Value>) -> Result<Option<String>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(field, "must be a string")),
    }
}

fn optional_seq(field: &str, value: Option<&Value>) -> Result<Option<Seq>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        some => seq(field, some).map(Some),
    }
}

/// A clock value as a store can hold it: 0 to 2^63 − 1.
fn seq(field: &str, value: Option<&Value>) -> Result<Seq> {
    match value {
        None => Err(Error::invalid(field, "is missing")),
        Some(value) => value
            .as_u64()
            .filter(|seq| i64::try_from(*seq).is_ok())
            .ok_or_else(|| Error::invalid(field, "must be an integer, 0 or more")),
    }
}

fn is_reference(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().count() <= REF_CHARS_MAX,
        Value::Number(number) => number.is_i64() || number.is_u64(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Error {
        parse(text, None, 200).unwrap().frame.unwrap_err()
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for text in ["", "[]", "1", "null", "{", "{\"a\":", "nonsense"] {
            assert_eq!(parse(text, None, 200).unwrap_err().code(), "malformed", "{text}");
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (text, field) in [
            (r#"{"room":"a"}"#, "type"),
            (r#"{"type":1}"#, "type"),
            (r#"{"type":"nope"}"#, "type"),
            (r#"{"type":"send","content":"x"}"#, "room"),
            (r#"{"type":"send","room":true,"content":"x"}"#, "room"),
            (r#"{"type":"send","room":"a"}"#, "content"),
            (r#"{"type":"send","room":"a","content":5}"#, "content"),
            (r#"{"type":"send","room":"a","content":"x","nonce":5}"#, "nonce"),
            (r#"{"type":"join","room":"a","after":-1}"#, "after"),
            (r#"{"type":"edit","room":"a","id":"7","content":"x"}"#, "id"),
            (r#"{"type":"read","room":"a"}"#, "seq"),
            (r#"{"type":"read","room":"a","seq":-1}"#, "seq"),
            (r#"{"type":"ping","ref":{}}"#, "ref"),
        ] {
            let error = match parse(text, None, 200).unwrap().frame {
                Ok(ClientFrame::Join(mut rooms)) => rooms.remove(0).wish.unwrap_err(),
                other => other.unwrap_err(),
            };
            assert!(matches!(&error, Error::Invalid { field: named, .. } if named == field), "{text}: {error:?}");
        }
        assert_eq!(refused(r#"{"type":"leave","room":"No Slug"}"#).code(), "not_found");
    }

    #[test]
    fn the_answer_carries_ref_room_and_nonce_also_of_a_refused_frame() {
        let incoming = parse(r#"{"type":"send","room":"a","nonce":"n","ref":7,"content":[]}"#, None, 200).unwrap();
        assert_eq!(incoming.echo.reference, Some(7.into()));
        assert_eq!(incoming.echo.room, Some("a".into()));
        assert_eq!(incoming.echo.nonce, Some("n".into()));
        assert!(incoming.frame.is_err());
    }

    #[test]
    fn a_socket_of_one_room_needs_neither_room_nor_type() {
        let frame = parse(r#"{"message":"hi"}"#, Some(RoomId(3)), 200).unwrap().frame.unwrap();
        assert!(matches!(frame, ClientFrame::Send { room: RoomRef::Id(RoomId(3)), content, .. } if content == "hi"));
        assert!(parse(r#"{"message":"hi"}"#, None, 200).unwrap().frame.is_err());
    }

    #[test]
    fn many_rooms_in_one_join_stand_beside_each_other() {
        let text = r#"{"type":"join","ref":1,"rooms":[{"room":"a","after":4},{"room":true},5]}"#;
        let ClientFrame::Join(rooms) = parse(text, None, 3).unwrap().frame.unwrap() else { panic!("no join") };
        assert_eq!(rooms.len(), 3);
        assert_eq!(rooms[0].wish.as_ref().unwrap().after, Some(4));
        assert!(rooms[1].wish.is_err() && rooms[2].wish.is_err());
        assert_eq!(parse(text, None, 2).unwrap().frame.unwrap_err().code(), "too_large");
    }
}
