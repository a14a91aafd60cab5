//! What a proxy is said to have said counts only from a proxy that is trusted.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use salon::config::Server;
use salon::http::origin::{Peer, check, client_address};

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fuzz_target!(|bytes: &[u8]| {
    let server = Server {
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")],
        ..Server::default()
    };
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        headers.append("x-forwarded-for", value.clone());
        headers.append("x-forwarded-host", value.clone());
        headers.insert(header::HOST, value.clone());
        headers.insert(header::ORIGIN, value);
    }
    assert_eq!(client_address(&server, &headers, Peer(STRANGER)).0, STRANGER);
    let told = client_address(&server, &headers, Peer(PROXY)).0;
    assert_eq!(told, told.to_canonical());
    // Who is not trusted is asked no further: what stands left of them changes nothing.
    let last = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    let last = last.and_then(|value| value.rsplit(',').next()).and_then(|hop| hop.trim().parse::<IpAddr>().ok());
    if let Some(hop) = last.map(|hop| hop.to_canonical())
        && !server.trusted_proxies.iter().any(|network| network.contains(&hop))
    {
        assert_eq!(told, hop);
    }
    drop(check(&server, &headers, Peer(STRANGER)));
    drop(check(&server, &headers, Peer(PROXY)));
});
