//! Nothing that a stranger writes into a cookie, a token or a refresh token is taken for somebody's.
#![no_main]

use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use salon::auth::Tokens;
use salon::auth::refresh::RefreshToken;
use salon::config::{Auth, Server};
use salon::http::cookies;
use salon::model::{SiteRole, User, UserId, Username};

const SECRET: &[u8] = b"a secret that no fuzzer will ever come upon, we hope";

fn tokens() -> &'static (Tokens, String) {
    static TOKENS: OnceLock<(Tokens, String)> = OnceLock::new();
    TOKENS.get_or_init(|| {
        let tokens = Tokens::new(&Auth::default(), SECRET).expect("a secret is enough");
        let user = User { id: UserId(7), username: Username::from_stored("alice".into()), role: SiteRole::User };
        let (genuine, _) = tokens.mint(&user, "session").expect("a token");
        (tokens, genuine)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let (tokens, genuine) = tokens();
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::COOKIE, value);
        }
    }
    let server = Server::default();
    for name in [cookies::access_name(&server), cookies::refresh_name(&server)] {
        let Some(value) = cookies::find(&headers, name) else { continue };
        assert!(!value.is_empty() && !value.contains(';'));
        assert!(tokens.verify(value).is_err());
        if let Some(token) = RefreshToken::parse(value) {
            assert!(value.starts_with(token.session()) && token.as_str() == value);
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(tokens.verify(text).is_err());
    drop(RefreshToken::parse(text).map(|token| (token.session().len(), token.hash())));
    // A genuine one with a piece exchanged: the first byte says where.
    let (Some(at), piece) = (bytes.first(), text.get(1..).unwrap_or_default()) else { return };
    let at = usize::from(*at) * genuine.len() / 256;
    let end = (at + piece.len()).min(genuine.len());
    let forged = format!("{}{piece}{}", &genuine[..at], &genuine[end..]);
    assert!(forged == *genuine || tokens.verify(&forged).is_err(), "{forged} is taken for {genuine}");
});
