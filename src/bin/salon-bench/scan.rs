//! As much of a frame as a measurement needs, without taking it apart: millions come.
//!
//! A name in quotes with a colon behind it can only be a field: quotes inside a text are escaped. So fields are found
//! by looking for them. This holds for frames without nested objects; those of a `joined` are read properly.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;
use salon::engine::Result;
use serde::Deserialize;

use crate::name::{Name, number};

/// A message of this run, as a member is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub id: u64,
    pub seq: u64,
    pub name: Name,
}

#[derive(Debug, Deserialize)]
pub struct Joined<'a> {
    pub seq: u64,
    pub reset: bool,
    #[serde(borrow)]
    messages: Vec<Part<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct Part<'a> {
    id: u64,
    seq: u64,
    #[serde(borrow)]
    nonce: Cow<'a, str>,
}

static SEQ: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""seq":"#));
static ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""id":"#));
static NONCE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""nonce":""#));
static CODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""code":""#));

/// The frame's `type`.
pub fn kind(frame: &[u8]) -> Result<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    // Where servers put it; the order of fields is nothing to rely on, so else it is looked for properly.
    if let Some(rest) = frame.strip_prefix(br#"{"type":""#)
        && let Some(end) = memchr(b'"', rest)
        && let Ok(kind) = std::str::from_utf8(&rest[..end])
    {
        return Ok(Cow::Borrowed(kind));
    }
    serde_json::from_slice::<Typed>(frame).map(|typed| typed.kind).map_err(|error| wrong(&error.to_string(), frame))
}

/// Of a `chat_message` or an `ack`.
pub fn message(frame: &[u8]) -> Result<Message> {
    let all = || {
        let name = Name::parse(text(frame, &NONCE)?)?;
        Some(Message { id: digits(frame, &ID)?, seq: digits(frame, &SEQ)?, name })
    };
    all().ok_or_else(|| wrong("not a message of this run", frame))
}

pub fn joined(frame: &[u8]) -> Result<Joined<'_>> {
    serde_json::from_slice(frame).map_err(|error| wrong(&error.to_string(), frame))
}

/// Those of a page of history, oldest first.
pub fn page(body: &[u8]) -> Result<Vec<Message>> {
    let parts: Vec<Part> = serde_json::from_slice(body).map_err(|error| wrong(&error.to_string(), body))?;
    parts.iter().map(Part::message).collect()
}

/// The `code` of an `error`.
pub fn code(frame: &[u8]) -> &str {
    text(frame, &CODE).and_then(|code| std::str::from_utf8(code).ok()).unwrap_or_default()
}

/// A frame for people to read, after what is wrong with it.
pub fn wrong(what: &str, frame: &[u8]) -> String {
    const SHOWN: usize = 300;
    let shown = String::from_utf8_lossy(&frame[..frame.len().min(SHOWN)]);
    format!("{what}: {shown}{}", if frame.len() > SHOWN { "…" } else { "" })
}

impl Joined<'_> {
    pub fn messages(&self) -> Result<Vec<Message>> {
        self.messages.iter().map(Part::message).collect()
    }
}

impl Part<'_> {
    fn message(&self) -> Result<Message> {
        let name = Name::parse(self.nonce.as_bytes());
        let name =
            name.ok_or_else(|| format!("seq {} is not a message of this run: nonce {}", self.seq, self.nonce))?;
        Ok(Message { id: self.id, seq: self.seq, name })
    }
}

fn text<'a>(frame: &'a [u8], field: &Finder) -> Option<&'a [u8]> {
    let rest = &frame[field.find(frame)? + field.needle().len()..];
    Some(&rest[..memchr(b'"', rest)?])
}

fn digits(frame: &[u8], field: &Finder) -> Option<u64> {
    let rest = &frame[field.find(frame)? + field.needle().len()..];
    number(&rest[..rest.iter().position(|byte| !byte.is_ascii_digit())?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &[u8] = br#"{"type":"chat_message","room":"a-\"seq\":9","room_id":3,"id":42,"seq":43,"author":"bench-1","author_id":7,"content":"\"id\":1,\"nonce\":\"1.1.1\"","created_at":"2026-11-21T08:30:00.123Z","edited_at":null,"deleted":false,"reply_to":null,"nonce":"7.8.9","from":43}"#;

    #[test]
    fn fields_are_found_and_texts_are_not_taken_for_them() {
        assert_eq!(kind(TOLD).unwrap(), "chat_message");
        let name = Name { lane: 7, n: 8, micros: 9 };
        assert_eq!(message(TOLD).unwrap(), Message { id: 42, seq: 43, name });
        assert_eq!(kind(br#"{"room":"x","type":"left"}"#).unwrap(), "left");
        assert_eq!(code(br#"{"type":"error","code":"rate_limited","detail":"no"}"#), "rate_limited");
    }

    #[test]
    fn what_is_not_of_this_run_is_an_error() {
        for frame in [&br#"{"type":"ack","id":1,"seq":1}"#[..], br#"{"type":"ack","id":1,"seq":1,"nonce":"~1"}"#, b"{"]
        {
            assert!(message(frame).is_err());
        }
        assert!(kind(b"[]").is_err());
        assert!(page(br#"[{"id":1,"seq":1,"nonce":"somebody else's"}]"#).is_err());
    }

    #[test]
    fn a_page_is_read() {
        let told = page(br#"[{"id":1,"seq":1,"nonce":"0.0.5","content":"x"}]"#).unwrap();
        assert_eq!(told, [Message { id: 1, seq: 1, name: Name { lane: 0, n: 0, micros: 5 } }]);
        let joined = joined(br#"{"seq":1,"reset":false,"messages":[{"id":1,"seq":1,"nonce":"0.0.5"}]}"#).unwrap();
        assert_eq!(joined.messages().unwrap(), told);
    }
}
