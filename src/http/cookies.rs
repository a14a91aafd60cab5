//! The two cookies of a login: the access token goes with every request, the refresh token only where it is spent.
//! Over https their names carry the prefixes that keep other hosts and plain http from writing them.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::config::Server;
use crate::error::{Error, Result};

pub const REFRESH_PATH: &str = "/api/account";

/// How a cookie is called here.
pub fn access_name(server: &Server) -> &'static str {
    if is_secure(server) { "__Host-salon_access" } else { "salon_access" }
}

pub fn refresh_name(server: &Server) -> &'static str {
    if is_secure(server) { "__Secure-salon_refresh" } else { "salon_refresh" }
}

/// The `Set-Cookie` of an access token that lives for `age`.
pub fn access(server: &Server, token: &str, age: Duration) -> Result<HeaderValue> {
    cookie(server, access_name(server), token, "/", age)
}

/// The `Set-Cookie` of a refresh token that lives for `age`.
pub fn refresh(server: &Server, token: &str, age: Duration) -> Result<HeaderValue> {
    cookie(server, refresh_name(server), token, REFRESH_PATH, age)
}

/// Both, emptied.
pub fn cleared(server: &Server) -> Result<[HeaderValue; 2]> {
    Ok([access(server, "", Duration::ZERO)?, refresh(server, "", Duration::ZERO)?])
}

/// The value of a cookie the request carries. Of two with the same name the first counts: browsers send the one of
/// the longer path first.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| *key == name && !value.is_empty())
        .map(|(_, value)| value)
}

/// What people type decides, not what this hop speaks: TLS mostly ends in front of us.
fn is_secure(server: &Server) -> bool {
    server.public_url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

fn cookie(server: &Server, name: &str, value: &str, path: &str, age: Duration) -> Result<HeaderValue> {
    let secure = if is_secure(server) { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; Max-Age={}; HttpOnly; SameSite=Strict{secure}", age.as_secs());
    let mut header = HeaderValue::try_from(text).map_err(|_| Error::Internal("a token is no cookie value".into()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_flags_follow_the_public_address() {
        let plain = Server { public_url: "http://127.0.0.1:8000".into(), ..Server::default() };
        let https = Server { public_url: "HTTPS://chat.example".into(), ..Server::default() };
        assert_eq!(
            access(&plain, "t", Duration::from_secs(900)).unwrap(),
            "salon_access=t; Path=/; Max-Age=900; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            access(&https, "t", Duration::from_secs(900)).unwrap(),
            "__Host-salon_access=t; Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            refresh(&https, "t", Duration::from_secs(60)).unwrap(),
            "__Secure-salon_refresh=t; Path=/api/account; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        for cookie in cleared(&plain).unwrap() {
            assert!(cookie.to_str().unwrap().contains("Max-Age=0"));
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "xsalon_access=a; salon_accessx=b;salon_access=c".parse().unwrap());
        headers.append(header::COOKIE, "salon_access=d; other=e=f".parse().unwrap());
        assert_eq!(find(&headers, "salon_access"), Some("c"));
        assert_eq!(find(&headers, "other"), Some("e=f"));
        assert_eq!(find(&headers, "absent"), None);
    }
}
