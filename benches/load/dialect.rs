//! How each server is spoken to. What differs is here; what is done is the same.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::Result;
use super::swarm::Seat;

/// A token outlives every run.
const TOKEN_S: u64 = 86_400;

#[derive(Clone)]
pub enum Dialect {
    /// The room is the path, and what is sent is what everybody gets: as long as a frame of salon's.
    Bare,
    /// Socket.IO 4 over engine.io's WebSocket transport.
    SocketIo,
    /// The JSON of `compare/channels_app`.
    Channels,
    Salon(Salon),
}

#[derive(Clone)]
pub struct Salon {
    /// Of the server's HS256 issuer.
    pub key: String,
    /// Rooms are opened by their address, which makes those that are not there.
    pub makes_rooms: bool,
}

/// What comes next while a socket is not seated.
pub enum Greeting {
    Wait,
    Say(String),
    Seated,
    Refused,
}

impl Dialect {
    /// The request to upgrade.
    pub fn upgrade(&self, host: &str, seat: &Seat) -> Result<String> {
        let room = seat.room;
        let (path, more) = match self {
            Self::Bare => (format!("/{room}"), String::new()),
            Self::SocketIo => ("/socket.io/?EIO=4&transport=websocket".to_owned(), String::new()),
            Self::Channels => ("/ws".to_owned(), String::new()),
            Self::Salon(salon) => {
                let path = if salon.makes_rooms { format!("/ws/chat/room-{room}/?limit=0") } else { "/ws".to_owned() };
                (path, format!("Authorization: Bearer {}\r\n", salon.token(seat.user)?))
            }
        };
        Ok(format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        ))
    }

    /// Once upgraded, before the server has said anything.
    pub fn upgraded(&self, seat: &Seat) -> Greeting {
        match self {
            Self::Bare => Greeting::Seated,
            Self::Channels if seat.joins => Greeting::Say(format!(r#"{{"type":"join","room":"room-{}"}}"#, seat.room)),
            Self::Channels => Greeting::Seated,
            Self::SocketIo | Self::Salon(_) => Greeting::Wait,
        }
    }

    /// The server's answer to what was said last.
    pub fn greeted(&self, seat: &Seat, text: &[u8]) -> Greeting {
        let room = seat.room;
        match self {
            Self::Bare => Greeting::Wait,
            Self::Channels if text.starts_with(br#"{"type": "joined""#) => Greeting::Seated,
            Self::Channels => Greeting::Wait,
            Self::SocketIo => match text {
                [b'0', ..] => Greeting::Say("40".to_owned()),
                [b'4', b'0', ..] if seat.joins => Greeting::Say(format!(r#"420["join","room-{room}"]"#)),
                [b'4', b'0', ..] | [b'4', b'3', b'0', ..] => Greeting::Seated,
                [b'4', b'4', ..] => Greeting::Refused,
                _ => Greeting::Wait,
            },
            Self::Salon(salon) => match kind(text) {
                b"welcome" if salon.makes_rooms => Greeting::Wait,
                b"welcome" if seat.joins => {
                    Greeting::Say(format!(r#"{{"type":"join","room":"room-{room}","limit":0}}"#))
                }
                b"welcome" | b"joined" => Greeting::Seated,
                b"error" | b"reconnect" => Greeting::Refused,
                _ => Greeting::Wait,
            },
        }
    }

    /// The frame that sends `content`, which begins with its tag.
    pub fn message(&self, room: usize, tag: &str, content: &str) -> String {
        match self {
            Self::Bare => format!(
                r#"{{"type":"chat_message","room":"room-{room}","room_id":{room},"id":100000,"seq":100000,"author":"bench-100000","author_id":1000,"content":"{content}","created_at":"2026-11-21T08:30:00.123Z","edited_at":null,"deleted":false,"reply_to":null,"nonce":"{}"}}"#,
                &tag[1..tag.len() - 1]
            ),
            Self::SocketIo => format!(r#"42["send","room-{room}","{content}"]"#),
            Self::Channels => format!(r#"{{"type":"send","room":"room-{room}","content":"{content}"}}"#),
            Self::Salon(_) => format!(
                r#"{{"type":"send","room":"room-{room}","nonce":"{}","content":"{content}"}}"#,
                &tag[1..tag.len() - 1]
            ),
        }
    }

    /// What has to be answered for the socket to live, beside WebSocket's own pings.
    pub fn heartbeat(&self, text: &[u8]) -> Option<&'static [u8]> {
        (matches!(self, Self::SocketIo) && text == b"2").then_some(b"3")
    }

    pub fn is_refusal(&self, text: &[u8]) -> bool {
        matches!(self, Self::Salon(_)) && matches!(kind(text), b"error" | b"reconnect" | b"removed")
    }

    /// An acknowledgement; only salon gives them.
    pub fn is_ack(&self, text: &[u8]) -> bool {
        matches!(self, Self::Salon(_)) && kind(text) == b"ack"
    }

    /// Somebody's coming told to those who are there.
    pub fn is_announcement(&self, text: &[u8]) -> bool {
        matches!(self, Self::Salon(_)) && kind(text) == b"user_join"
    }
}

impl Salon {
    fn token(&self, user: usize) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims =
            json!({"sub": format!("bench-{user}"), "name": format!("bench-{user}"), "iat": now, "exp": now + TOKEN_S});
        let key = EncodingKey::from_secret(self.key.as_bytes());
        encode(&Header::default(), &claims, &key).map_err(|error| error.to_string())
    }
}

/// The type of a frame of salon's, which comes first in it.
fn kind(text: &[u8]) -> &[u8] {
    let rest = text.strip_prefix(br#"{"type":""#).unwrap_or_default();
    &rest[..memchr::memchr(b'"', rest).unwrap_or(0)]
}
