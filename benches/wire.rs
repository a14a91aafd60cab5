//! RFC 6455 as far as a measurement needs it: whole frames, text, pings; no extensions, no fragments.

use std::ops::Range;

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame at the beginning of what was read: its kind, where its payload lies, and how long it is as a whole.
pub struct Frame {
    pub opcode: u8,
    pub payload: Range<usize>,
    pub whole: usize,
    mask: Option<[u8; 4]>,
}

/// `None`: not all of it is there yet.
pub fn first_frame(bytes: &[u8]) -> Option<Frame> {
    let (opcode, second) = (bytes.first()? & 0x0f, *bytes.get(1)?);
    let (mut at, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let mut mask = None;
    if second & 0x80 != 0 {
        mask = Some(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4;
    }
    (bytes.len() >= at + length).then_some(Frame { opcode, payload: at..at + length, whole: at + length, mask })
}

impl Frame {
    /// The payload as it was meant, taken from the bytes that the frame was found in.
    pub fn unmasked(&self, bytes: &[u8]) -> Vec<u8> {
        let mut payload = bytes[self.payload.clone()].to_vec();
        if let Some(mask) = self.mask {
            apply(mask, &mut payload);
        }
        payload
    }
}

/// Appends a frame. A program that opened the socket has to mask.
pub fn put_frame(out: &mut Vec<u8>, opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) {
    out.push(0x80 | opcode);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => out.push(masked | short),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(mask.iter().flatten());
    let begin = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply(mask, &mut out[begin..]);
    }
}

/// Where a head of HTTP ends, if all of it is there.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

fn apply(mask: [u8; 4], bytes: &mut [u8]) {
    bytes.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}
