//! Where a request comes from: which page ([`check`], the protocol's rule for `Origin`) and which address
//! ([`client_address`]). What a proxy says counts only when the peer is one of `server.trusted_proxies`.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use crate::config::Server;
use crate::error::{Error, Result};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The other end of the TCP connection, an IPv4 address also where it came in over IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Who is asking, as far as a trusted proxy knows; what limits per address count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Refuses (`forbidden`) a request of a page that may not use this site. A request without `Origin` passes: programs
/// send none, and browsers always do where it matters.
pub fn check(server: &Server, headers: &HeaderMap, peer: Peer) -> Result<()> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => Ok(()),
        (Some(origin), None) if is_allowed(server, headers, peer, origin) => Ok(()),
        _ => Err(Error::Forbidden("pages of this origin may not use this site".to_owned())),
    }
}

/// Refuses (`forbidden`) a state-changing request that carries cookies but was not made by a page of ours: a cookie
/// goes along by itself, so it does not prove that its owner wanted this.
pub fn check_cookies(server: &Server, method: &Method, headers: &HeaderMap, peer: Peer) -> Result<()> {
    if method.is_safe() || !headers.contains_key(header::COOKIE) {
        return Ok(());
    }
    check(server, headers, peer)?;
    if !headers.contains_key(header::ORIGIN) && headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site") {
        return Err(Error::Forbidden("pages of other sites may not do this".to_owned()));
    }
    Ok(())
}

/// The request's `Origin` when it is one of `server.allowed_origins`: those get CORS answers, nobody else does.
pub fn cors_origin<'a>(server: &Server, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
    headers.get(header::ORIGIN).filter(|origin| origin.to_str().is_ok_and(|origin| is_listed(server, origin)))
}

/// The right-most hop of `X-Forwarded-For` that is no trusted proxy: further left stands what the client wrote.
/// Without a trusted proxy in front, the peer itself.
pub fn client_address(server: &Server, headers: &HeaderMap, peer: Peer) -> ClientAddress {
    let hops: Vec<&str> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .collect();
    let mut address = peer.0;
    for hop in hops.iter().rev() {
        if !is_trusted(server, address) {
            break;
        }
        // What cannot be read was not written by a proxy we know: the last one we do know stands for it.
        let Some(next) = parse_hop(hop) else { break };
        address = next;
    }
    ClientAddress(address)
}

fn is_trusted(server: &Server, address: IpAddr) -> bool {
    server.trusted_proxies.iter().any(|network| network.contains(&address))
}

fn is_allowed(server: &Server, headers: &HeaderMap, peer: Peer, origin: &HeaderValue) -> bool {
    let Ok(text) = origin.to_str() else { return false };
    if is_listed(server, text) {
        return true;
    }
    let Some(origin) = parse_origin(text) else { return false };
    let public = Url::parse(&server.public_url).ok().filter(is_http);
    public.is_some_and(|public| public.origin() == origin.origin())
        || asked_host(server, headers, peer).is_some_and(|host| is_host_of(&origin, host))
}

fn is_listed(server: &Server, origin: &str) -> bool {
    // Word for word first: an application's own scheme (`app://…`) has no origin that a URL parser would compare.
    server.allowed_origins.iter().any(|allowed| {
        (allowed == origin && origin != "null")
            || matches!((parse_origin(allowed), parse_origin(origin)), (Some(a), Some(b)) if a.origin() == b.origin())
    })
}

/// The host the browser asked for.
fn asked_host<'a>(server: &Server, headers: &'a HeaderMap, peer: Peer) -> Option<&'a str> {
    if is_trusted(server, peer.0)
        && let Some(forwarded) = headers.get_all(X_FORWARDED_HOST).iter().next_back()
    {
        // Of a list the last one is what the proxy next to us wrote.
        return forwarded.to_str().ok()?.rsplit(',').next().map(str::trim);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// A host without a port means the default port of the origin's scheme: which one the browser used is not known here,
/// as TLS may have ended in front of us.
fn is_host_of(origin: &Url, host: &str) -> bool {
    parse_origin(&format!("{}://{host}", origin.scheme())).is_some_and(|asked| asked.origin() == origin.origin())
}

/// Scheme, host and port and nothing else, parsed as browsers do, so that no trick with suffixes, user names or paths
/// makes one host look like another. `None` for anything else, `null` too.
fn parse_origin(text: &str) -> Option<Url> {
    // The parser forgives these; no browser sends them in an origin.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '\\' | '@' | '?' | '#')) {
        return None;
    }
    Url::parse(text).ok().filter(|url| is_http(url) && url.path() == "/")
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    hop.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| hop.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()
        .map(|address| address.to_canonical())
}

impl Peer {
    /// From what the accept loop put beside the request; without one (a request that came over no socket) nobody.
    pub fn of(parts: &axum::http::Extensions) -> Self {
        let peer = parts.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
        Self(peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Peer = Peer(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)));
    const PROXY: Peer = Peer(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));

    fn server() -> Server {
        Server {
            public_url: "https://chat.example".into(),
            allowed_origins: vec!["https://app.example:8443/".into(), "app://desk".into(), "null".into()],
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            ..Server::default()
        }
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn allows(host: &str, origin: &str) -> bool {
        check(&server(), &headers(&[("host", host), ("origin", origin)]), STRANGER).is_ok()
    }

    #[test]
    fn a_page_of_the_asked_host_is_at_home() {
        for (host, origin) in [
            ("localhost:8000", "http://localhost:8000"),
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("[::1]:8000", "http://[::1]:8000"),
            ("LocalHost:8000", "http://localhost:8000"),
            ("chat.lan", "http://chat.lan"),
            ("chat.lan:80", "http://chat.lan"),
            ("chat.lan", "https://chat.lan"),
            ("chat.lan:443", "https://chat.lan"),
        ] {
            assert!(allows(host, origin), "{host} {origin}");
        }
    }

    #[test]
    fn another_page_is_not_however_it_is_written() {
        for (host, origin) in [
            ("localhost:8000", "null"),
            ("localhost:8000", ""),
            ("localhost:8000", "http://localhost"),
            ("localhost:8000", "http://localhost:80001"),
            ("localhost:8000", "http://127.0.0.1:8000"),
            ("localhost:8000", "http://localhost:8000.evil.example"),
            ("localhost:8000", "http://localhost:8000@evil.example"),
            ("localhost:8000", "http://evil.example/localhost:8000"),
            ("localhost:8000", "http://evil.example#localhost:8000"),
            ("localhost:8000", "http://evil.example\\@localhost:8000"),
            ("localhost:8000", "localhost:8000"),
            ("localhost:8000", "ws://localhost:8000"),
            ("localhost:8000", "http://localhost:8000, http://evil.example"),
            ("chat.lan", "https://chat.lan:8443"),
            ("chat.lan", "http://notchat.lan"),
            ("chat.lan", "http://chat.lan.evil.example"),
            ("chat.lan/x", "http://chat.lan"),
            ("evil@chat.lan", "http://chat.lan"),
            ("node-3", "http://chat.example"),
            ("node-3", "https://chat.example.evil.example"),
        ] {
            assert!(!allows(host, origin), "{host} {origin}");
        }
        let twice = headers(&[("host", "a"), ("origin", "http://a"), ("origin", "http://b")]);
        assert!(check(&server(), &twice, STRANGER).is_err());
        let two_hosts = headers(&[("host", "a"), ("host", "b"), ("origin", "http://b")]);
        assert!(check(&server(), &two_hosts, STRANGER).is_err());
    }

    #[test]
    fn the_public_address_and_listed_origins_are_let_in_everywhere() {
        for origin in ["https://chat.example", "https://chat.example:443", "https://app.example:8443", "app://desk"] {
            assert!(allows("node-3:8000", origin), "{origin}");
        }
        assert!(check(&server(), &headers(&[("host", "x")]), STRANGER).is_ok());
    }

    #[test]
    fn a_forwarded_host_counts_from_a_trusted_proxy_only() {
        let asked = headers(&[("host", "node-3"), ("x-forwarded-host", "chat.lan"), ("origin", "http://chat.lan")]);
        assert!(check(&server(), &asked, PROXY).is_ok());
        assert!(check(&server(), &asked, STRANGER).is_err());
    }

    #[test]
    fn only_listed_origins_get_cors() {
        let of = |origin| cors_origin(&server(), &headers(&[("origin", origin)])).is_some();
        assert!(of("https://app.example:8443"));
        assert!(!of("https://chat.example"));
        assert!(!of("https://app.example"));
        assert!(!of("null"));
    }

    #[test]
    fn cookies_change_nothing_from_elsewhere() {
        let try_it =
            |method, list: &[(&'static str, &str)]| check_cookies(&server(), &method, &headers(list), STRANGER).is_ok();
        let (cookie, host, evil) = (("cookie", "a=b"), ("host", "a:1"), ("origin", "http://evil.example"));
        assert!(!try_it(Method::POST, &[cookie, host, evil]));
        assert!(!try_it(Method::DELETE, &[cookie, host, ("origin", "null")]));
        assert!(!try_it(Method::POST, &[cookie, host, ("sec-fetch-site", "cross-site")]));
        assert!(try_it(Method::POST, &[cookie, host, ("sec-fetch-site", "same-origin")]));
        assert!(try_it(Method::POST, &[cookie, host, ("origin", "http://a:1")]));
        assert!(try_it(Method::POST, &[cookie, host]));
        assert!(try_it(Method::POST, &[host, evil]));
        assert!(try_it(Method::GET, &[cookie, host, evil]));
    }

    #[test]
    fn the_address_is_the_last_hop_nobody_trusted_could_forge() {
        let of = |peer, list: &[(&'static str, &str)]| client_address(&server(), &headers(list), peer).0.to_string();
        let forwarded = "x-forwarded-for";
        assert_eq!(of(STRANGER, &[(forwarded, "1.1.1.1")]), "203.0.113.9");
        assert_eq!(of(PROXY, &[]), "10.0.0.1");
        assert_eq!(of(PROXY, &[(forwarded, "1.1.1.1, 2.2.2.2")]), "2.2.2.2");
        assert_eq!(of(PROXY, &[(forwarded, "1.1.1.1, 2.2.2.2, 10.9.9.9")]), "2.2.2.2");
        assert_eq!(of(PROXY, &[(forwarded, "1.1.1.1"), (forwarded, "2.2.2.2")]), "2.2.2.2");
        assert_eq!(of(PROXY, &[(forwarded, "10.1.1.1, 10.2.2.2")]), "10.1.1.1");
        assert_eq!(of(PROXY, &[(forwarded, "1.1.1.1, unknown")]), "10.0.0.1");
        assert_eq!(of(PROXY, &[(forwarded, "[2001:db8::1]:99")]), "2001:db8::1");
        assert_eq!(of(PROXY, &[(forwarded, "2.2.2.2:99")]), "2.2.2.2");
        assert_eq!(of(Peer("fd00::1".parse().unwrap()), &[(forwarded, "::ffff:2.2.2.2")]), "2.2.2.2");
    }
}
