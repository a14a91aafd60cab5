//! What a live frame says, without parsing it: a receiver of millions of frames must cost less than the server.
//!
//! Looking for `"seq":` in the text is exact: inside a string a quote is written `\"`, so the needle cannot begin
//! and end there; and changes have no nested object that holds these names.

/// A frame as far as a measurement needs it.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    Change { seq: u64, from: Option<u64>, nonce: &'a str },
    Ack { seq: u64, nonce: &'a str },
    Error { code: &'a str, nonce: &'a str },
    Other(&'a str),
}

/// `None`: not a frame of the protocol.
pub fn scan(text: &str) -> Option<Seen<'_>> {
    let nonce = || string(text, r#""nonce":""#).unwrap_or("");
    Some(match string(text, r#""type":""#)? {
        "chat_message" => {
            Seen::Change { seq: number(text, r#""seq":"#)?, from: number(text, r#""from":"#), nonce: nonce() }
        }
        "ack" => Seen::Ack { seq: number(text, r#""seq":"#)?, nonce: nonce() },
        "error" => Seen::Error { code: string(text, r#""code":""#)?, nonce: nonce() },
        other => Seen::Other(other),
    })
}

fn number(text: &str, needle: &str) -> Option<u64> {
    let rest = &text[text.find(needle)? + needle.len()..];
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Up to the next quote: good for words and nonces of our own, which hold none.
fn string<'a>(text: &'a str, needle: &str) -> Option<&'a str> {
    let rest = &text[text.find(needle)? + needle.len()..];
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_not_mistaken_for_fields() {
        let text = r#"{"type":"chat_message","room":"a","id":7,"seq":9,"author":"b","content":"\"seq\":1,\"from\":2","nonce":"1.2.3","from":8}"#;
        assert_eq!(scan(text), Some(Seen::Change { seq: 9, from: Some(8), nonce: "1.2.3" }));
        let text = r#"{"type":"ack","room":"a","nonce":"1.2.3","id":7,"seq":7,"duplicate":false}"#;
        assert_eq!(scan(text), Some(Seen::Ack { seq: 7, nonce: "1.2.3" }));
        let text = r#"{"type":"error","nonce":"1.2.3","code":"unavailable","detail":"d"}"#;
        assert_eq!(scan(text), Some(Seen::Error { code: "unavailable", nonce: "1.2.3" }));
        assert_eq!(scan(r#"{"type":"pong"}"#), Some(Seen::Other("pong")));
        assert_eq!(scan("[]"), None);
    }
}
