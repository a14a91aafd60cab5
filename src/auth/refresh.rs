//! Refresh tokens and the names of login sessions: random, and of no meaning to anybody but the store, which keeps a
//! token's hash only.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// How long a login session lives without being refreshed.
pub const LOGIN_SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const TOKEN_BYTES: usize = 32;
const TOKEN_CHARS: usize = 43;

/// What is handed out. It has no `Debug`: it must not come into a log.
pub struct RefreshToken(String);

impl RefreshToken {
    /// 256 random bits, base64url.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>()))
    }

    /// `None`: this never was one of ours, the store need not be asked.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TOKEN_CHARS {
            return None;
        }
        URL_SAFE_NO_PAD.decode(text).ok().map(|_| Self(text.to_owned()))
    }

    /// What the store keeps: SHA-256 of the text. A slow hash would add nothing, nobody guesses 256 bits.
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0.as_bytes()).to_vec()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// 128 random bits in hex.
pub fn new_login_session_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_as_what_was_handed_out() {
        let token = RefreshToken::random();
        let again = RefreshToken::parse(token.as_str()).unwrap();
        assert_eq!(token.hash(), again.hash());
        assert_eq!(token.hash().len(), 32);
        assert_ne!(token.hash(), RefreshToken::random().hash());
    }

    #[test]
    fn what_was_never_ours_is_known_by_its_form() {
        let text = RefreshToken::random().into_string();
        for wrong in [String::new(), format!("{text}="), text[1..].to_owned(), "!".repeat(43), "é".repeat(43)] {
            assert!(RefreshToken::parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn login_sessions_have_names_of_their_own() {
        let id = new_login_session_id();
        assert_eq!(id.len(), 32);
        assert_ne!(id, new_login_session_id());
    }
}
