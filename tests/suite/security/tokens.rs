//! Tokens that must not be accepted, at every door: HTTP by header and by cookie, the upgrade by header, by subprotocol
//! and by cookie, and the `auth` frame.

use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use salon::engine::http::Http;
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};

use crate::support::node::{Single, unique};

const SECRET: &str = "the secret of a node whose tokens are forged here";
const SHARED: &str = "the key of an issuer whose tokens are forged here";
const EVIL: &str = "a key that the attacker chose and brings along";

struct Rsa {
    signer: EncodingKey,
    public: String,
}

fn rsa() -> Rsa {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private = AsDer::<Pkcs8V1Der>::as_der(&pair).expect("its bytes");
    let private =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(private.as_ref()));
    let public = AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).expect("its bytes");
    let public =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(public.as_ref()));
    Rsa { signer: EncodingKey::from_rsa_pem(private.as_bytes()).expect("a signer"), public }
}

async fn node(public: &str) -> Single {
    let file = format!(
        "[[auth.issuers]]\nname = \"shared\"\nalgorithm = \"HS256\"\nkey = \"{SHARED}\"\n\
         issuer = \"https://issuer.example\"\naudience = \"salon\"\n\
         [[auth.issuers]]\nname = \"rsa\"\nalgorithm = \"RS256\"\nkey = \"\"\"\n{public}\"\"\"\n"
    );
    Single::start_configured(Some(&file), &[("SALON_AUTH__SECRET", SECRET)]).await
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("a time")
}

fn external() -> Value {
    json!({"sub": "u1", "name": "Eve", "iss": "https://issuer.example", "aud": "salon", "exp": now() + 600})
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("claims");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
}

fn signed(header: &Header, claims: &Value, key: &str) -> String {
    encode(header, claims, &EncodingKey::from_secret(key.as_bytes())).expect("a token")
}

fn hs256(claims: &Value, key: &str) -> String {
    signed(&Header::new(Algorithm::HS256), claims, key)
}

/// What each door answers to a token, the `auth` frame's as a status too.
async fn told_at_every_door(single: &Single, socket: &mut Socket, token: &str) -> Vec<(&'static str, u16)> {
    let by_header = Http::bearer(&single.url(), token).get("/api/account").await.expect("an answer").status;
    let http = Http::new(&single.url());
    http.set_cookie("salon_access", token, "/");
    let by_cookie = http.get("/api/account").await.expect("an answer").status;
    let mut told = vec![("header", by_header), ("cookie", by_cookie)];
    let opening = || Opening::new(&single.url());
    for (door, opening) in [
        ("socket by header", opening().bearer(token)),
        ("socket by subprotocol", opening().bearer_subprotocol(token)),
        ("socket by cookie", opening().header("cookie", &format!("salon_access={token}"))),
    ] {
        told.push((door, opening.open().await.map_or_else(|refused| refused.status, |_| 101)));
    }
    let answer = socket.ask(json!({"type": "auth", "token": token})).await.expect("an answer");
    let by_frame = match (answer["type"].as_str(), answer["code"].as_str()) {
        (Some("authenticated"), _) => 200,
        (_, Some("unauthenticated")) => 401,
        _ => panic!("{answer}"),
    };
    told.push(("auth frame", by_frame));
    told
}

async fn refused(single: &Single, socket: &mut Socket, what: &str, token: &str) {
    for (door, status) in told_at_every_door(single, socket, token).await {
        assert_eq!(status, 401, "{what} at the door: {door}");
    }
}

async fn accepted(single: &Single, socket: &mut Socket, what: &str, token: &str) {
    for (door, status) in told_at_every_door(single, socket, token).await {
        assert!(matches!(status, 200 | 101), "{what} at the door: {door}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_are_refused_at_every_door() {
    let rsa = rsa();
    let single = node(&rsa.public).await;
    let alice = single.user("alice").await;
    let real = alice.token().await.expect("a token");
    let own = claims_of(&real);
    let mut socket = Opening::new(&single.url()).bearer(&real).welcomed().await.expect("a socket");
    accepted(&single, &mut socket, "the real one", &real).await;

    for alg in ["none", "None", "NONE"] {
        let head = part(&json!({"alg": alg, "typ": "JWT"}));
        refused(&single, &mut socket, alg, &format!("{head}.{}.", part(&own))).await;
    }
    let (signed_part, signature) = real.rsplit_once('.').expect("a signature");
    let (head, _) = signed_part.split_once('.').expect("a head");
    let admin = part(&with(&own, "role", json!("admin")));
    for (what, token) in [
        ("signature stripped", format!("{signed_part}.")),
        ("signature and its dot stripped", signed_part.to_owned()),
        ("signature altered", format!("{signed_part}.{}", URL_SAFE_NO_PAD.encode([0; 32]))),
        ("claims altered", format!("{head}.{admin}.{signature}")),
        ("wrong key", hs256(&own, EVIL)),
        ("another strength", signed(&Header::new(Algorithm::HS512), &own, SECRET)),
        ("the public key as a secret", hs256(&external(), &rsa.public)),
        ("the public key as a secret, for our own", hs256(&own, &rsa.public)),
        ("an issuer speaking for us", hs256(&own, SHARED)),
        ("an issuer with keys speaking for us", encode_rs256(&without(&own, "sub"), &rsa.signer)),
    ] {
        refused(&single, &mut socket, what, &token).await;
    }
}

fn encode_rs256(claims: &Value, signer: &EncodingKey) -> String {
    encode(&Header::new(Algorithm::RS256), claims, signer).expect("a token")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_a_token_brings_along_are_neither_used_nor_fetched() {
    let single = node(&rsa().public).await;
    let alice = single.user("alice").await;
    let real = alice.token().await.expect("a token");
    let own = claims_of(&real);
    let mut socket = Opening::new(&single.url()).bearer(&real).welcomed().await.expect("a socket");
    let bait = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    bait.set_nonblocking(true).expect("an option");
    let url = format!("http://{}/keys", bait.local_addr().expect("its address"));
    let jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(EVIL), "alg": "HS256"});
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("kid", json!(url)),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("shared' UNION SELECT 'x' --")),
    ] {
        let mut header = json!({"alg": "HS256", "typ": "JWT"});
        header[name] = value;
        let header: Header = serde_json::from_value(header).expect("a header");
        for key in [EVIL, ""] {
            refused(&single, &mut socket, name, &signed(&header, &own, key)).await;
            refused(&single, &mut socket, name, &signed(&header, &external(), key)).await;
        }
        accepted(&single, &mut socket, "with the right key they say nothing", &signed(&header, &own, SECRET)).await;
    }
    assert!(bait.accept().is_err(), "the node asked an address that a token named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_another_kind_time_or_audience_are_refused_at_every_door() {
    let single = node(&rsa().public).await;
    let alice = single.user("alice").await;
    let body = json!({"username": alice.user.username, "password": alice.password});
    let tokens = Http::new(&single.url()).post("/api/account/token", body).await.expect("an answer").json();
    let (real, refresh) =
        (tokens["access_token"].as_str().expect("one"), tokens["refresh_token"].as_str().expect("one"));
    let own = claims_of(real);
    let mut hers = Opening::new(&single.url()).bearer(real).welcomed().await.expect("a socket");
    let good = external();
    let mut eves =
        Opening::new(&single.url()).bearer(&hs256(&good, SHARED)).welcomed().await.expect("the issuer's user");
    accepted(&single, &mut eves, "the issuer's", &hs256(&good, SHARED)).await;

    refused(&single, &mut hers, "a refresh token", refresh).await;
    for (name, value) in [("typ", json!("refresh")), ("typ", Value::Null), ("iss", json!("other")), ("sub", json!("x"))]
    {
        refused(&single, &mut hers, name, &hs256(&with(&own, name, value), SECRET)).await;
    }
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", json!("salon")),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("nbf", json!(now() + 600)),
        ("exp", json!("tomorrow")),
    ] {
        refused(&single, &mut eves, name, &hs256(&with(&good, name, value), SHARED)).await;
    }
    for name in ["exp", "iss", "aud", "sub"] {
        refused(&single, &mut eves, name, &hs256(&without(&good, name), SHARED)).await;
    }
    refused(&single, &mut hers, "without exp", &hs256(&without(&own, "exp"), SECRET)).await;

    // Five seconds of leeway: what expired two seconds ago still passes, what expired seven ago does not.
    for (socket, claims, key) in [(&mut hers, &own, SECRET), (&mut eves, &good, SHARED)] {
        refused(&single, socket, "beyond the leeway", &hs256(&with(claims, "exp", json!(now() - 7)), key)).await;
        let late = Http::bearer(&single.url(), &hs256(&with(claims, "exp", json!(now() - 2)), key));
        assert_eq!(late.get("/api/account").await.expect("an answer").status, 200, "within the leeway");
        let late = Opening::new(&single.url()).bearer(&hs256(&with(claims, "exp", json!(now() - 2)), key)).open().await;
        late.expect("within the leeway");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_taken_from_a_url() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let token = alice.token().await.expect("a token");
    let room = unique("url");
    for name in ["token", "access_token", "bearer", "authorization", "Authorization", "jwt", "auth", "salon_access"] {
        for path in ["/api/account", "/api/rooms", "/ws", &format!("/ws/chat/{room}/")] {
            let path = format!("{path}?{name}={token}");
            let http = Http::new(&single.url());
            assert_eq!(http.get(&path).await.expect("an answer").status, 401, "{name} at {path}");
            if path.starts_with("/ws") {
                assert_eq!(super::upgrade(&http, &path, &[]).await.status, 401, "{name} at {path}");
            }
        }
    }
    for path in [format!("/ws/{token}"), format!("/api/{token}/rooms"), format!("/api/account/{token}")] {
        assert_eq!(Http::new(&single.url()).get(&path).await.expect("an answer").status, 404, "{path}");
    }
}
