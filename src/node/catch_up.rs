//! From a cursor to live: what a joiner is told of the past, and how who is behind gets what is missing. Free of I/O:
//! what was read of the store comes in, what goes out goes into the session's queue.

use bytes::Bytes;

use super::gate::{Frame, Gate};
use super::room::{Inner, Room};
use super::session::Session;
use crate::model::{Message, Seq, Slug};
use crate::protocol::frames::encode_change;
use crate::store::Changes;

/// What `joined` tells of a room's past, and the seq up to which it tells it.
#[derive(Debug)]
pub(super) struct Start {
    pub seq: Seq,
    pub frames: Vec<Frame>,
    pub more: bool,
    pub reset: bool,
}

/// Changes after a cursor, and the head (of the gate or the store) as it was at the same moment.
#[derive(Debug)]
pub(super) struct Page {
    pub after: Seq,
    pub head: Seq,
    pub frames: Vec<Frame>,
    /// These are only the first part.
    pub more: bool,
}

/// What came of bringing a session to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// It is live, or not in the room any more.
    Met,
    /// Its queue has no room for more before some of it was written.
    Full,
    /// Memory does not reach back to its cursor: the store must be read.
    OutOfReach,
}

impl Page {
    pub fn read(after: Seq, changes: Changes, slug: &Slug) -> Self {
        Self { after, head: changes.head.seq, frames: frames(changes.changes, slug), more: changes.more }
    }

    /// At most `max` changes from memory; `None`: it does not reach back that far.
    pub fn remembered(gate: &Gate, after: Seq, max: u32) -> Option<Self> {
        let mut changes = gate.memory().after(after)?;
        let frames = changes.by_ref().take(max as usize).cloned().collect();
        Some(Self { after, head: gate.position(), frames, more: changes.next().is_some() })
    }
}

impl Start {
    /// Goes on after what the joiner holds, with all that changed since; what `bytes_max` does not hold of it follows
    /// as frames of a room that is catching up.
    pub fn resumed(changed: Page, bytes_max: usize) -> Self {
        let Page { after, head, mut frames, .. } = changed;
        let fit = fitting(frames.iter(), bytes_max);
        let mut seq = head;
        if fit < frames.len() {
            frames.truncate(fit);
            seq = frames.last().map_or(seq, |frame| frame.seq);
        }
        Self { seq, frames, more: after > 0, reset: false }
    }

    /// The latest messages up to `seq`, of which `bytes_max` may hold only the newest; the older ones are a history
    /// page away.
    pub fn latest(seq: Seq, mut frames: Vec<Frame>, more: bool, reset: bool, bytes_max: usize) -> Self {
        let cut = frames.len() - fitting(frames.iter().rev(), bytes_max);
        frames.drain(..cut);
        Self { seq, frames, more: more || cut > 0, reset }
    }

    /// The same from memory; `None`: it does not reach back that far.
    pub fn remembered(gate: &Gate, limit: u32, reset: bool, bytes_max: usize) -> Option<Self> {
        let (frames, more) = gate.memory().latest(limit as usize)?;
        Some(Self::latest(gate.position(), frames, more, reset, bytes_max))
    }
}

/// Gives the session what the gate's memory holds after its cursor and makes it live, if that reaches and fits.
pub(super) fn meet(inner: &Inner, session: &Session) -> Meeting {
    let room = inner.id;
    let Some((cursor, false)) = session.standing(room) else { return Meeting::Met };
    // A cursor beyond the gate's position has read the store ahead of the hints: what it knows is ignored.
    let Some(frames) = inner.gate.memory().after(cursor) else { return Meeting::OutOfReach };
    if !session.page(room, cursor, frames) {
        return Meeting::Full;
    }
    session.skip_to(room, inner.gate.position());
    if session.go_live(room) {
        inner.tell_list_to(session);
    }
    Meeting::Met
}

/// Gives a session that is behind what the store held after its cursor, and makes it live if that brings it to the
/// gate.
pub(super) fn take_page(room: &Room, session: &Session, page: &Page) {
    if session.page(room.id, page.after, page.frames.iter()) && !page.more {
        session.skip_to(room.id, page.head);
        meet(&room.lock(), session);
    }
}

/// Messages as frames.
pub(super) fn frames(messages: Vec<Message>, slug: &Slug) -> Vec<Frame> {
    messages.iter().map(|message| frame(message, slug)).collect()
}

pub(super) fn frame(message: &Message, slug: &Slug) -> Frame {
    Frame { seq: message.seq, id: message.id, text: Bytes::from(encode_change(message, slug)) }
}

/// How many of the first frames fit into `bytes_max`, one at least.
fn fitting<'a>(frames: impl Iterator<Item = &'a Frame>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let mut fit = 0;
    for frame in frames {
        bytes += frame.text.len();
        if fit > 0 && bytes > bytes_max {
            break;
        }
        fit += 1;
    }
    fit
}
