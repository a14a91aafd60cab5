//! The replies of a Redis, told apart by their length alone.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Takes the complete replies out of `waiting`, without those to be left out.
pub(super) fn whole_replies(waiting: &mut Vec<u8>, swallow: Option<&[u8]>, swallowed: &AtomicUsize) -> Vec<u8> {
    let mut passed = Vec::new();
    let mut start = 0;
    while let Some(length) = reply_length(&waiting[start..]) {
        let reply = &waiting[start..start + length];
        if swallow.is_some_and(|pattern| is_published(reply) && contains(reply, pattern)) {
            swallowed.fetch_add(1, Ordering::SeqCst);
        } else {
            passed.extend_from_slice(reply);
        }
        start += length;
    }
    waiting.drain(..start);
    passed
}

/// Bytes of the first reply; `None`: it is not all there yet.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let count = || -> i64 { std::str::from_utf8(&bytes[1..line - 2]).ok().and_then(|n| n.parse().ok()).unwrap_or(-1) };
    let parts = match bytes[0] {
        // Texts of a told length, of both versions of the protocol.
        b'$' | b'=' | b'!' => {
            let end = usize::try_from(count()).map_or(line, |length| line + length + 2);
            return (bytes.len() >= end).then_some(end);
        }
        b'*' | b'~' | b'>' => count(),
        b'%' | b'|' => count() * 2,
        _ => 0,
    };
    let mut end = line;
    for _ in 0..parts.max(0) {
        end += reply_length(&bytes[end..])?;
    }
    // An attribute stands before the reply that it describes.
    if bytes[0] == b'|' {
        end += reply_length(&bytes[end..])?;
    }
    Some(end)
}

fn is_published(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'*' | b'>')) && contains(&reply[..reply.len().min(32)], b"message\r\n")
}

fn contains(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len().max(1)).any(|window| window == pattern)
}
