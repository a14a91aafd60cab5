//! Frames as the text of an event stream.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use crate::model::ChangeKind;

/// What keeps a silent stream's connection alive, and says nothing.
pub const HEARTBEAT: &str = ":\n\n";

/// What of a frame decides how it is told.
#[derive(Debug, Deserialize)]
pub struct Head<'a> {
    #[serde(borrow)]
    pub r#type: Cow<'a, str>,
    seq: Option<u64>,
    /// Of `reconnect`.
    pub within_ms: Option<u64>,
}

impl<'a> Head<'a> {
    pub fn of(frame: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(frame)
    }

    /// The position that a client stands at once it has this frame. Other frames have a `seq` too that is none: a read
    /// mark may be ahead of what this stream told, and who resumed after it would miss what lies between.
    fn position(&self) -> Option<u64> {
        let moves = self.r#type == "joined" || ChangeKind::from_word(&self.r#type).is_some();
        self.seq.filter(|_| moves)
    }
}

/// Adds one frame. A frame is one line: JSON of ours has no line break outside of strings, and none inside.
pub fn push_event(text: &mut Vec<u8>, head: &Head<'_>, frame: &[u8]) {
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(head.r#type.as_bytes());
    if let Some(seq) = head.position() {
        text.extend_from_slice(format!("\nid: {seq}").as_bytes());
    }
    text.extend_from_slice(b"\ndata: ");
    text.extend_from_slice(frame);
    text.extend_from_slice(b"\n\n");
}

/// How long to wait before coming back, from now on.
pub fn retry(after: Duration) -> String {
    format!("retry: {}\n\n", after.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(frame: &str) -> String {
        let mut text = Vec::new();
        push_event(&mut text, &Head::of(frame.as_bytes()).unwrap(), frame.as_bytes());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_frame_is_its_type_its_place_and_itself() {
        let change = r#"{"from":7,"type":"message_edited","seq":9,"content":"a\nb"}"#;
        assert_eq!(event(change), format!("event: message_edited\nid: 9\ndata: {change}\n\n"));
        let joined = r#"{"type":"joined","info":{"seq":3},"seq":4,"messages":[{"type":"chat_message","seq":2}]}"#;
        assert_eq!(event(joined), format!("event: joined\nid: 4\ndata: {joined}\n\n"));
    }

    #[test]
    fn only_what_moves_the_reader_has_an_id() {
        for frame in [r#"{"type":"read","room":"a","seq":99}"#, r#"{"type":"user_join","room":"a","user_count":4}"#] {
            let kind = Head::of(frame.as_bytes()).unwrap().r#type.into_owned();
            assert_eq!(event(frame), format!("event: {kind}\ndata: {frame}\n\n"));
        }
    }
}
