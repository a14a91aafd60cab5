//! What nodes tell each other through the broker: a version byte, a kind byte, then the kind's own fields.
//!
//! A change carries the exact text that sockets get behind a fixed binary head, so that a receiver reads numbers and
//! passes shared bytes on. Everything rarer is JSON. What a node does not know (another version, a kind of a later
//! release) it skips and counts: a lost hint is healed from the store anyhow.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::frames::Removal;
use crate::model::{MessageId, RoomId, Seq, UserId};

const VERSION: u8 = 1;
const CHANGE: u8 = 1;
const NOTICE: u8 = 2;
/// Version, kind, seq, id.
const CHANGE_HEAD_BYTES: usize = 2 + 8 + 8;

#[derive(Debug, Clone, PartialEq)]
pub enum Envelope {
    /// A committed change of the channel's room: its text as sockets get it (without `from`).
    Change {
        seq: Seq,
        id: MessageId,
        text: Bytes,
    },
    Notice(Notice),
}

/// Everything but changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum Notice {
    /// Users came online in the channel's room on that incarnation (first socket there), and went (last socket there).
    Presence {
        incarnation: String,
        entered: Vec<String>,
        left: Vec<String>,
    },
    Typing {
        incarnation: String,
        user: String,
    },
    /// The room's access version rose: look again who may stay; whom it threw out and why, when it did.
    Access {
        removed: Option<(UserId, Removal)>,
    },
    /// Name or topic changed.
    Updated,
    /// A room became the channel's user's; by its number it is told once, however often it is heard.
    RoomAdded {
        room: RoomId,
        addition: i64,
    },
    /// A login session ended.
    SessionEnded {
        session: String,
    },
    /// More was revoked than a login session: read what.
    Revoked,
    /// Read marks that moved, told to those users' sockets; on the cluster's channel.
    Read {
        incarnation: String,
        marks: Vec<ReadMark>,
    },
    /// How a node fares, said every few seconds on the cluster's channel.
    Node {
        incarnation: String,
        database_ok: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadMark {
    pub user: UserId,
    /// Its slug.
    pub room: String,
    pub seq: Seq,
}

impl Envelope {
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Change { seq, id, text } => {
                let mut bytes = BytesMut::with_capacity(CHANGE_HEAD_BYTES + text.len());
                bytes.put_u8(VERSION);
                bytes.put_u8(CHANGE);
                bytes.put_u64(*seq);
                bytes.put_u64(*id);
                bytes.put_slice(text);
                bytes.freeze()
            }
            Self::Notice(notice) => {
                let mut bytes = vec![VERSION, NOTICE];
                serde_json::to_writer(&mut bytes, notice).expect("a notice holds nothing that JSON cannot say");
                bytes.into()
            }
        }
    }

    /// `None`: not of this version, or a kind this release does not know, or broken.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 2 || bytes.get_u8() != VERSION {
            return None;
        }
        match bytes.get_u8() {
            CHANGE if bytes.len() > CHANGE_HEAD_BYTES - 2 => {
                let (seq, id) = (bytes.get_u64(), bytes.get_u64());
                // The text is spliced into frames as UTF-8 JSON later; a broken one must not get that far.
                (bytes.first() == Some(&b'{') && std::str::from_utf8(&bytes).is_ok()).then_some(Self::Change {
                    seq,
                    id,
                    text: bytes,
                })
            }
            NOTICE => serde_json::from_slice(&bytes).ok().map(Self::Notice),
            _ => None,
        }
    }
}

impl From<Notice> for Envelope {
    fn from(notice: Notice) -> Self {
        Self::Notice(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        for envelope in [
            Envelope::Change { seq: 9, id: 7, text: Bytes::from_static(b"{\"a\":1}") },
            Notice::Presence { incarnation: "i".into(), entered: vec!["alice".into()], left: vec![] }.into(),
            Notice::Access { removed: Some((UserId(7), Removal::Kicked)) }.into(),
            Notice::Updated.into(),
            Notice::Read {
                incarnation: "i".into(),
                marks: vec![ReadMark { user: UserId(7), room: "general".into(), seq: 9 }],
            }
            .into(),
            Notice::RoomAdded { room: RoomId(3), addition: 9 }.into(),
            Notice::Revoked.into(),
        ] {
            assert_eq!(Envelope::decode(envelope.encode()), Some(envelope));
        }
    }

    #[test]
    fn the_unknown_is_skipped() {
        for bytes in [&b""[..], b"\x01", b"\x02\x01", b"\x01\x09x", b"\x01\x01short", b"\x01\x02{\"k\":\"later\"}"] {
            assert_eq!(Envelope::decode(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
    }
}
