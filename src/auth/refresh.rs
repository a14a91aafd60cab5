//! Refresh tokens and the names of login sessions. A token names its login session and is random otherwise; the store
//! keeps its hash only. What takes a spent token's place is computed from it, so that every node gives the same.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// How long a login session lives without being refreshed.
pub const LOGIN_SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a spent token still gets the same successor: tabs race, and answers get lost.
pub const REFRESH_GRACE: Duration = Duration::from_secs(30);

const ID_CHARS: usize = 32;
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 43;
/// Nothing else is ever made with a key derived under this name.
const DOMAIN: &[u8] = b"salon: successors of refresh tokens, 1";

/// What is handed out: `<login session>.<secret>`. It has no `Debug`: it must not come into a log.
pub struct RefreshToken(String);

/// Makes successors of spent tokens. Who has the spent one and not the key learns nothing of its successor.
pub struct Successors {
    /// Of the current secret, then of the previous one.
    keys: Vec<Hmac<Sha256>>,
}

impl RefreshToken {
    /// The first one of a login session: 256 random bits beside its name.
    pub fn random(session: &str) -> Self {
        Self::of(session, rand::random())
    }

    /// `None`: this never was one of ours, the store need not be asked.
    pub fn parse(text: &str) -> Option<Self> {
        let (session, secret) = text.split_once('.')?;
        let known = is_login_session_id(session)
            && secret.len() == SECRET_CHARS
            && URL_SAFE_NO_PAD.decode(secret).is_ok_and(|bytes| bytes.len() == SECRET_BYTES);
        known.then(|| Self(text.to_owned()))
    }

    /// The login session it is of, if it is genuine.
    pub fn session(&self) -> &str {
        &self.0[..ID_CHARS]
    }

    /// What the store keeps: SHA-256 of the text. A slow hash would add nothing, nobody guesses 256 bits; and since
    /// only hashes are ever compared, how long that takes tells nothing of a token.
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0.as_bytes()).to_vec()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }

    fn of(session: &str, secret: [u8; SECRET_BYTES]) -> Self {
        Self(format!("{session}.{}", URL_SAFE_NO_PAD.encode(secret)))
    }
}

impl Successors {
    pub fn new(secret: &[u8], previous: Option<&[u8]>) -> Self {
        Self { keys: std::iter::once(secret).chain(previous).map(|secret| keyed(&derived(secret))).collect() }
    }

    /// What takes the token's place.
    pub fn next(&self, spent: &RefreshToken) -> RefreshToken {
        successor(&self.keys[0], spent)
    }

    /// What took the token's place, known by its hash; `None`: it was made with a secret that is not known here.
    pub fn made(&self, spent: &RefreshToken, hash: &[u8]) -> Option<RefreshToken> {
        self.keys.iter().map(|key| successor(key, spent)).find(|successor| successor.hash() == hash)
    }
}

/// 128 random bits in hex.
pub fn new_login_session_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Whether a text has the form of one.
pub fn is_login_session_id(text: &str) -> bool {
    text.len() == ID_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Access tokens are signed with the secret itself, so this must be another key.
fn derived(secret: &[u8]) -> [u8; SECRET_BYTES] {
    keyed(secret).chain_update(DOMAIN).finalize().into_bytes().into()
}

fn successor(key: &Hmac<Sha256>, spent: &RefreshToken) -> RefreshToken {
    let secret = key.clone().chain_update(spent.0.as_bytes()).finalize().into_bytes().into();
    RefreshToken::of(spent.session(), secret)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> RefreshToken {
        RefreshToken::random(&new_login_session_id())
    }

    #[test]
    fn a_token_is_read_back_as_what_was_handed_out() {
        let id = new_login_session_id();
        let token = RefreshToken::random(&id);
        let again = RefreshToken::parse(token.as_str()).unwrap();
        assert_eq!((again.hash(), again.session()), (token.hash(), id.as_str()));
        assert_eq!(token.hash().len(), 32);
        assert_ne!(token.hash(), RefreshToken::random(&id).hash());
    }

    #[test]
    fn what_was_never_ours_is_known_by_its_form() {
        let text = token().into_string();
        let (id, secret) = text.split_once('.').unwrap();
        for wrong in [
            String::new(),
            ".".into(),
            secret.into(),
            format!("{text}="),
            format!("{text}.x"),
            text[1..].to_owned(),
            text.to_uppercase(),
            format!("{id}.{}", "!".repeat(43)),
            format!("{id}.{}é", "a".repeat(41)),
            format!("{}.{secret}", "é".repeat(16)),
        ] {
            assert!(RefreshToken::parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn login_sessions_have_names_of_their_own() {
        let id = new_login_session_id();
        assert!(is_login_session_id(&id));
        assert_ne!(id, new_login_session_id());
    }

    #[test]
    fn every_node_makes_the_same_successor_of_the_same_login_session() {
        let (one, other) = (Successors::new(b"secret", None), Successors::new(b"secret", None));
        let spent = token();
        let next = one.next(&spent);
        assert_eq!(next.as_str(), other.next(&spent).as_str());
        assert_eq!(RefreshToken::parse(next.as_str()).unwrap().session(), spent.session());
        assert_ne!(next.as_str(), spent.as_str());
        assert_ne!(one.next(&next).as_str(), next.as_str());
        assert_ne!(one.next(&token()).as_str(), next.as_str());
    }

    #[test]
    fn a_successor_of_before_the_secret_was_rotated_is_found_again() {
        let (old, new) = (Successors::new(b"old", None), Successors::new(b"new", Some(b"old")));
        let spent = token();
        let made = old.next(&spent);
        assert_eq!(new.made(&spent, &made.hash()).unwrap().as_str(), made.as_str());
        assert_ne!(new.next(&spent).as_str(), made.as_str());
        assert!(Successors::new(b"new", None).made(&spent, &made.hash()).is_none());
    }
}
