//! Frames of RFC 6455 as they lie in memory: those of a server are found, those of a client are written.

use super::Result;

/// Largest frame a server may send: a `joined` with 500 changes of the largest size.
const FRAME_BYTES_MAX: u64 = 32 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub opcode: Opcode,
    pub payload: &'a [u8],
    /// How many it takes with its head.
    pub bytes: usize,
}

/// The first frame, if it is all there.
pub fn first(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let &[kind, length, ref rest @ ..] = bytes else { return Ok(None) };
    let opcode = match kind {
        0x81 => Opcode::Text,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8a => Opcode::Pong,
        _ => {
            return Err(format!(
                "a frame that starts with {kind:#04x}: fragments, extensions and binary are not known"
            ));
        }
    };
    let (head, length) = match (length, rest) {
        (0..=125, _) => (2, u64::from(length)),
        (126, &[a, b, ..]) => (4, u64::from(u16::from_be_bytes([a, b]))),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        (126 | 127, _) => return Ok(None),
        _ => return Err("a masked frame from the server".to_owned()),
    };
    if length > FRAME_BYTES_MAX {
        return Err(format!("a frame of {length} bytes"));
    }
    let end = usize::try_from(length).map_err(|error| error.to_string())? + head;
    Ok(bytes.get(head..end).map(|payload| Frame { opcode, payload, bytes: end }))
}

/// Appends a client's frame. The mask is zero, which the protocol allows and which leaves the payload as it is: masks
/// protect proxies from pages in browsers, and this is neither.
pub fn encode(opcode: Opcode, payload: &[u8], to: &mut Vec<u8>) {
    to.push(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..=125 => to.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            to.push(0x80 | 126);
            to.extend((length as u16).to_be_bytes());
        }
        length => {
            to.push(0x80 | 127);
            to.extend((length as u64).to_be_bytes());
        }
    }
    to.extend([0; 4]);
    to.extend_from_slice(payload);
}

/// What a close frame says, as a sentence.
pub fn closed(payload: &[u8]) -> String {
    match payload {
        [a, b, reason @ ..] => {
            format!("closed with {} {}", u16::from_be_bytes([*a, *b]), String::from_utf8_lossy(reason))
                .trim()
                .to_owned()
        }
        _ => "closed without a code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server would send it: no mask.
    fn from_server(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        encode(opcode, payload, &mut masked);
        let head = masked.len() - payload.len() - 4;
        let mut bytes = masked[..head].to_vec();
        bytes[1] &= 0x7f;
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_frame_is_found_once_it_is_whole() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let bytes = from_server(Opcode::Text, &payload);
            for part in [0, 1, 2, 3, 9, bytes.len() - 1] {
                assert_eq!(first(&bytes[..part.min(bytes.len() - 1)]).unwrap(), None, "{part} of {length}");
            }
            let whole = Frame { opcode: Opcode::Text, payload: &payload, bytes: bytes.len() };
            assert_eq!(first(&bytes).unwrap(), Some(whole));
            assert_eq!(first(&[&bytes[..], b"more"].concat()).unwrap().unwrap().bytes, bytes.len());
        }
    }

    #[test]
    fn what_it_does_not_speak_is_refused() {
        for bytes in [&[0x01, 0][..], &[0x80, 0], &[0x82, 0], &[0xc1, 0], &[0x81, 0x80, 0, 0, 0, 0]] {
            assert!(first(bytes).is_err(), "{bytes:?}");
        }
        assert!(first(&[0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0]).is_err());
        let close = from_server(Opcode::Close, &[&4029_u16.to_be_bytes()[..], b"flood"].concat());
        assert_eq!(closed(first(&close).unwrap().unwrap().payload), "closed with 4029 flood");
        assert_eq!(closed(b""), "closed without a code");
    }
}
