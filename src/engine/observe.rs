//! What a test may look at besides its own business: every answer and every frame that comes in, and what clients say.

use std::sync::OnceLock;

use serde_json::Value;

#[derive(Debug)]
pub enum Seen<'a> {
    /// A frame of a socket or an event stream.
    Frame(&'a Value),
    /// What the whole client said, which knows the protocol; tests say whatever they like.
    Said(&'a Value),
    Answer {
        method: &'a str,
        path: &'a str,
        status: u16,
        content_type: &'a str,
        body: &'a [u8],
    },
}

static WATCHER: OnceLock<fn(&Seen<'_>)> = OnceLock::new();

/// From now on, for the whole process; the first one counts.
pub fn watch_with(watcher: fn(&Seen<'_>)) {
    let _ = WATCHER.set(watcher);
}

pub(super) fn saw(seen: &Seen<'_>) {
    if let Some(watcher) = WATCHER.get() {
        watcher(seen);
    }
}
