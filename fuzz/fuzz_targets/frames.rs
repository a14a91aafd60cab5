//! Whatever a socket says is a frame within its bounds, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use salon::model::RoomId;
use salon::protocol::incoming::{ClientFrame, JOIN_LIMIT_MAX, REF_CHARS_MAX, parse};

const ROOMS_MAX: usize = 20;
const SEQ_MAX: u64 = i64::MAX as u64;

fuzz_target!(|text: &str| {
    for implicit in [None, Some(RoomId(3))] {
        let Ok(incoming) = parse(text, implicit, ROOMS_MAX) else { continue };
        if let Some(text) = incoming.echo.reference.as_ref().and_then(|reference| reference.as_str()) {
            assert!(text.chars().count() <= REF_CHARS_MAX);
        }
        match incoming.frame {
            Ok(ClientFrame::Join(rooms)) => {
                assert!(rooms.len() <= ROOMS_MAX);
                for wish in rooms.into_iter().filter_map(|room| room.wish.ok()) {
                    assert!(wish.limit <= JOIN_LIMIT_MAX && wish.after.unwrap_or(0) <= SEQ_MAX);
                }
            }
            Ok(ClientFrame::Edit { id, .. } | ClientFrame::Delete { id, .. }) => assert!(id <= SEQ_MAX),
            Ok(_) => {}
            // What the client is told of it can be said at all.
            Err(error) => drop((error.code(), error.to_string())),
        }
    }
});
