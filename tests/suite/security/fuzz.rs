//! Nothing that is sent makes a task panic or an answer 5xx. The seed is told, so that a failure can be had again.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use salon::engine::http::{Account, Http};
use salon::engine::socket::{Incoming, Socket};
use serde_json::{Value, json};
use tokio::time::Duration;

use super::outage::assert_nothing_inside;
use super::{Filling, PATIENCE, frames_for, raw_from, routes, socket_at};
use crate::support::node::{Single, unique};

const FRAMES: usize = 3_000;
const CALLS: usize = 1_500;
const HEADS: usize = 300;

/// Values at the edges of what fits.
fn odd_value(random: &mut StdRng) -> Value {
    let numbers = [0_i64, 1, -1, 2, 41, i64::MAX, i64::MIN, 1 << 53];
    match random.random_range(0..10) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(numbers.choose(random).expect("some")),
        3 => json!(u64::MAX - random.random_range(0..2)),
        4 => json!(random.random::<f64>() * 1e300),
        5 => json!(""),
        6 => json!("\u{0}\u{202e}\u{feff}\\\"'%_"),
        7 => json!("x".repeat(random.random_range(0..5_000))),
        8 => json!([odd_leaf(random), odd_leaf(random)]),
        _ => json!({"room": odd_leaf(random), "after": odd_leaf(random)}),
    }
}

fn odd_leaf(random: &mut StdRng) -> Value {
    [json!(1), json!("a"), json!(-1), Value::Null, json!([]), json!({}), json!(1.5)]
        .choose(random)
        .expect("some")
        .clone()
}

/// Exchanges, adds and takes away members of an object.
fn twist(value: &Value, random: &mut StdRng) -> Value {
    const NAMES: &[&str] = &[
        "type",
        "ref",
        "room",
        "rooms",
        "after",
        "epoch",
        "limit",
        "content",
        "message",
        "nonce",
        "reply_to",
        "id",
        "token",
        "username",
        "password",
        "name",
        "topic",
        "kind",
        "role",
        "current",
        "new",
        "refresh_token",
    ];
    let mut fields = value.as_object().cloned().unwrap_or_default();
    for _ in 0..random.random_range(0..3) {
        let name = (*NAMES.choose(random).expect("some")).to_owned();
        if random.random_bool(0.2) {
            fields.remove(&name);
        } else {
            fields.insert(name, odd_value(random));
        }
    }
    Value::Object(fields)
}

/// Changes bytes anywhere; the result may be no JSON, but is a string.
fn garble(text: &str, random: &mut StdRng) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=chars.len());
        match random.random_range(0..3) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 => chars.insert(at, random.random()),
            _ => chars.insert(at, *['{', '}', '[', '"', '\\', ',', ':', '0'].choose(random).expect("some")),
        }
    }
    chars.into_iter().collect()
}

fn seeded(what: &str) -> StdRng {
    let seed = std::env::var("SALON_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("{what}: SALON_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

async fn assert_unharmed(single: &Single, alice: &Account) {
    assert!(single.node.is_running(), "{}", single.node.log_tail());
    let log = single.node.log();
    assert!(!log.contains("panicked"), "{log}");
    let defects: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(defects.is_empty(), "{defects:#?}");
    let room = alice.http.create_room(&unique("after"), "public").await.expect("a room").slug;
    let mut socket = socket_at(&single.url(), alice).await;
    assert_eq!(socket.join(&room).await.expect("an answer")["type"], "joined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_makes_a_task_panic() {
    let mut random = seeded("frames");
    let single = Single::start_with(&[("SALON_LIMITS__ROOMS_PER_SOCKET", "5")]).await;
    let (alice, mallory) = (single.user("alice").await, single.user("mallory").await);
    let room = alice.http.create_room(&unique("fuzzed"), "public").await.expect("a room");
    let mut frames: Vec<Value> = [json!(room.slug), json!(room.id)].iter().flat_map(frames_for).collect();
    frames.extend([
        json!({"type": "ping"}),
        json!({"type": "auth", "token": mallory.token().await.expect("a token")}),
        json!({"type": "join", "rooms": [{"room": room.slug, "after": 0}, {"room": room.id}]}),
    ]);
    let mut socket = socket_at(&single.url(), &mallory).await;
    let mut codes = std::collections::BTreeMap::new();
    for _ in 0..FRAMES {
        let frame = twist(frames.choose(&mut random).expect("some"), &mut random).to_string();
        let frame = if random.random_bool(0.2) { garble(&frame, &mut random) } else { frame };
        let sent = match random.random_range(0..200) {
            0 => socket.send_binary(frame.as_bytes()).await,
            1 => socket.send_text(&"x".repeat(70_000)).await,
            _ => socket.send_text(&frame).await,
        };
        let open = sent.is_ok() && still_open(&mut socket, &mut codes).await;
        if !open {
            socket = socket_at(&single.url(), &mallory).await;
        }
    }
    assert!(!codes.contains_key("internal"), "{codes:?}");
    assert!(codes.len() >= 3, "the frames are not odd enough: {codes:?}");
    assert_unharmed(&single, &alice).await;
}

/// Takes what is there; whether the socket lives.
async fn still_open(socket: &mut Socket, codes: &mut std::collections::BTreeMap<String, usize>) -> bool {
    while let Ok(incoming) = socket.next_within(Duration::from_millis(1)).await {
        match incoming {
            Incoming::Frame(frame) if frame["type"] == "error" => {
                assert_nothing_inside("a frame", frame["detail"].as_str().unwrap_or_default());
                *codes.entry(frame["code"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            Incoming::Frame(_) => {}
            Incoming::Closed { code, .. } => {
                assert_ne!(code, Some(1011));
                return false;
            }
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_makes_a_task_panic() {
    let mut random = seeded("requests");
    // Hashing is dear and no part of this: few are let through.
    let single = Single::start_with(&[("SALON_LIMITS__LOGINS_PER_MINUTE_ADDRESS", "5")]).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    // Not her own, or she would soon have deleted it.
    let room = bob.http.create_room(&unique("fuzzed"), "public").await.expect("a room").slug;
    let parts = ["me", "-1", "0", "%00", "%ff", "..", "%2e%2e%2f", "9223372036854775808", "a%20b", "%F0%9F%91%8D", "*"];
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..CALLS {
        let mut part = || *parts.choose(&mut random).expect("some");
        let (username, id) = (part(), part());
        let query = format!("?limit={}&cursor={}&before={}&after={}", part(), part(), part(), part());
        let room = if random.random_bool(0.5) { room.as_str() } else { parts.choose(&mut random).expect("some") };
        let all = routes(Filling { room, username, id });
        let route = all.choose(&mut random).expect("some");
        // Logging out would make the rest of it dull, and so would a password that nobody knows.
        if route.is_socket() || route.path.ends_with("/logout") {
            continue;
        }
        // Left as it is one time in two, or a wrong limit would hide what is behind it.
        let query = if random.random_bool(0.5) { query } else { "?limit=5&after=0".to_owned() };
        let query = garble(&query, &mut random);
        let query: String = query.chars().filter(char::is_ascii_graphic).filter(|c| *c != '#').collect();
        let body = twist(&route.body, &mut random).to_string();
        let body = if random.random_bool(0.3) { garble(&body, &mut random) } else { body };
        let call = alice.http.call(&route.method, &format!("{}{query}", route.path)).timeout(PATIENCE);
        let Ok(answer) = call.header("content-type", "application/json").body(body.clone()).send().await else {
            // What the engine itself cannot write is no request.
            continue;
        };
        *statuses.entry(answer.status).or_insert(0) += 1;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status < 500, "{} {}{query} {body}: {text}", route.method, route.path);
        if answer.status >= 400 {
            assert_nothing_inside(
                &format!("{} {}{query} {body}", route.method, route.path),
                &answer.json()["detail"].to_string(),
            );
        }
    }
    assert!(statuses.len() >= 5, "the requests are not odd enough: {statuses:?}");
    assert_unharmed(&single, &alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_make_a_task_panic() {
    let mut random = seeded("bytes");
    let single = Single::start_with(&[("SALON_SERVER__HEADER_TIMEOUT_S", "1")]).await;
    let alice = single.user("alice").await;
    let heads = [
        "GET /api/account HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer a.b.c\r\n\r\n",
        "POST /api/account/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: 30\r\n\r\n{\"username\":\"a\",\"password\":\"b\"}",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: salon.v1, bearer.x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: salon_access=x; =; ;;\r\nX-Forwarded-For: ,,1\r\n\
         Origin: http://a\r\nIf-None-Match: W/\"\r\n\r\n",
        "POST /api/rooms HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    let sent = (0..HEADS).map(|_| {
        let mut bytes = heads.choose(&mut random).expect("some").as_bytes().to_vec();
        for _ in 0..random.random_range(0..5) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes
    });
    let sent: Vec<Vec<u8>> = sent.collect();
    for some in sent.chunks(50) {
        let url = single.url();
        let told = futures_util::future::join_all(some.iter().map(|bytes| raw_from([127, 0, 0, 1], &url, bytes))).await;
        for (told, bytes) in told.iter().zip(some) {
            assert!(!told.starts_with("HTTP/1.1 5"), "{}: {told}", String::from_utf8_lossy(bytes));
        }
    }
    assert_unharmed(&single, &alice).await;
    assert_eq!(Http::new(&single.url()).get("/livez").await.expect("an answer").status, 200);
}
