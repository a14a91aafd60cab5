//! What comes by the broker is skipped, or means the same when it is passed on.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use salon::protocol::envelope::Envelope;

fuzz_target!(|bytes: &[u8]| {
    let Some(envelope) = Envelope::decode(Bytes::copy_from_slice(bytes)) else { return };
    if let Envelope::Change { text, .. } = &envelope {
        assert!(text.starts_with(b"{") && std::str::from_utf8(text).is_ok());
    }
    assert_eq!(Envelope::decode(envelope.encode()), Some(envelope));
});
