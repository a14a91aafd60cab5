//! How long a socket lives, and what it is told at its end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use salon::engine::http::{Http, authority};
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{joined, room, socket};
use crate::support::node::{Single, unique};

const KEY: &str = "the key of an issuer that tests make themselves";

pub const ISSUER: &str = r#"
[[auth.issuers]]
name = "tests"
algorithm = "HS256"
key = "the key of an issuer that tests make themselves"
issuer = "https://issuer.example"
audience = "salon"
"#;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Claims that are taken, for so many seconds.
pub fn claims(subject: &str, seconds: i64) -> Value {
    let exp = i64::try_from(now_s()).expect("a time") + seconds;
    json!({"sub": subject, "name": subject, "iss": "https://issuer.example", "aud": "salon", "exp": exp})
}

pub fn sign(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(KEY.as_bytes())).expect("a token")
}

async fn by_token(single: &Single, token: &str) -> Socket {
    Opening::new(&single.url()).bearer(token).welcomed().await.expect("a socket")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_ends_the_sockets_of_that_login_session() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let mut ending = socket(single, &alice).await;
    let token = alice.token().await.expect("another login session");
    let mut staying = by_token(single, &token).await;
    let out = alice.http.call("POST", "/api/account/logout").send().await.expect("an answer");
    assert_eq!(out.status, 204);
    assert_eq!(ending.closed(Duration::from_secs(3)).await.expect("closed"), Some(4501));
    staying.drained().await.expect("the other one stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_account_is_out_everywhere() {
    let single = Single::start().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let mut ending = socket(&single, &alice).await;
    let mut staying = socket(&single, &bob).await;
    let done = single.command(&["user", "disable", &alice.user.username]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(ending.closed(Duration::from_secs(8)).await.expect("closed"), Some(4503));
    assert_eq!(alice.http.get("/api/account").await.expect("an answer").status, 401);
    let refused = Opening::new(&single.url()).cookies(&alice.http).open().await.expect_err("refused");
    assert!(matches!(refused.status, 401 | 403), "{refused:?}");
    staying.drained().await.expect("others stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_socket_lives_until_the_token_expires_unless_extended() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let name = unique("eve");
    let short = sign(&claims(&name, 3));
    let mut ending = by_token(&single, &short).await;
    let mut extended = by_token(&single, &short).await;
    let foreign = extended.ask(json!({"type": "auth", "token": sign(&claims(&unique("mallory"), 600))})).await;
    assert_eq!(foreign.expect("an answer")["type"], "error", "the same user only");
    let broken = extended.ask(json!({"type": "auth", "token": "nonsense"})).await.expect("an answer");
    assert_eq!(broken["code"], "unauthenticated", "{broken}");
    let told = extended.ask(json!({"type": "auth", "token": sign(&claims(&name, 600))})).await.expect("an answer");
    assert_eq!(told["type"], "authenticated", "{told}");
    assert!(told["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{told}");
    assert_eq!(ending.closed(Duration::from_secs(15)).await.expect("closed"), Some(4010));
    extended.drained().await.expect("the extended one stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_an_issuer_are_checked_in_full() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let name = unique("eve");
    let account = async |token: &str| {
        let answer = Http::bearer(&single.url(), token).get("/api/account").await.expect("an answer");
        (answer.status, answer.json())
    };
    let (status, told) = account(&sign(&claims(&name, 600))).await;
    assert_eq!((status, &told["user"]["username"]), (200, &json!(name)), "{told}");
    let (_, again) = account(&sign(&claims(&name, 700))).await;
    assert_eq!(again["user"]["id"], told["user"]["id"], "issuer and subject name the user");
    let local = single.user("eve").await;
    let mut same_name = claims("another subject", 600);
    same_name["name"] = json!(local.user.username);
    let (_, other) = account(&sign(&same_name)).await;
    assert_ne!(other["user"]["id"], json!(local.user.id), "never confused with a local account");
    assert_ne!(other["user"]["username"], json!(local.user.username), "a taken name gets a tail");

    let changed = |key: &str, value: Value| {
        let mut claims = claims(&name, 600);
        match value {
            Value::Null => drop(claims.as_object_mut().and_then(|fields| fields.remove(key))),
            value => claims[key] = value,
        }
        claims
    };
    let bad = [
        changed("exp", Value::Null),
        changed("exp", json!(now_s() - 60)),
        changed("nbf", json!(now_s() + 600)),
        changed("iss", json!("https://another.example")),
        changed("iss", Value::Null),
        changed("aud", json!("somebody else")),
        changed("aud", Value::Null),
        changed("sub", Value::Null),
    ];
    for claims in bad {
        assert_eq!(account(&sign(&claims)).await.0, 401, "{claims}");
    }
    let header = Header::new(jsonwebtoken::Algorithm::HS512);
    let key = EncodingKey::from_secret(KEY.as_bytes());
    let other = encode(&header, &claims(&name, 600), &key).expect("a token");
    assert_eq!(account(&other).await.0, 401, "one algorithm a key");
    let forged = encode(&Header::default(), &claims(&name, 600), &EncodingKey::from_secret(b"another key"));
    assert_eq!(account(&forged.expect("a token")).await.0, 401, "another key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_the_heartbeat_is_closed() {
    let settings = [("SALON_NODE__HEARTBEAT_S", "1"), ("SALON_NODE__PONG_TIMEOUT_S", "1")];
    let single = Single::start_with(&settings).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(&single, &alice, &room).await;
    // Nobody reads this socket, so nobody answers its pings.
    let mut silent = joined(&single, &bob, &room).await;
    let gone = bob.user.username.as_str();
    let wanted = |frame: &Value| frame["type"] == "user_leave" && frame["user"] == gone;
    hers.expect_where("his leave", Duration::from_secs(15), wanted).await.expect("she answers hers and is told");
    assert_eq!(silent.closed(Duration::from_secs(5)).await.expect("closed"), Some(4009));
    hers.drained().await.expect("she stays");
}

/// What is unread when a socket is closed must not turn the close into a reset, which on some systems takes what came
/// before it along, the code too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_closed_while_talking_is_not_cut_off() {
    const CLOSE_4501: [u8; 2] = 4501_u16.to_be_bytes();
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let cookies = alice.http.cookie_header("/ws").expect("cookies");
    let address = authority(&single.url()).to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nCookie: {cookies}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let (mut from, mut to) = stream.into_split();
    // Pongs of nobody's asking, masked by zeros: cheap to say, and not answered.
    let pong = [[0x8a, 0x80 | 100, 0, 0, 0, 0].as_slice(), &[b'x'; 100]].concat();
    let pongs = pong.repeat(1_000);
    let talking = async { while to.write_all(&pongs).await.is_ok() {} };
    let mut heard = Vec::new();
    let told = async {
        let out = alice.http.call("POST", "/api/account/logout").send().await.expect("an answer");
        assert_eq!(out.status, 204);
        while !heard.ends_with(b"login session ended") {
            assert_ne!(from.read_buf(&mut heard).await.expect("not cut off"), 0, "it ended without a close");
        }
    };
    tokio::select! {
        told = timeout(Duration::from_secs(15), told) => told.expect("closed"),
        () = talking => panic!("cut off while talking"),
    }
    assert!(heard.windows(2).any(|pair| pair == CLOSE_4501), "the close has its code");
    to.shutdown().await.expect("not cut off");
    let rest = timeout(Duration::from_secs(15), from.read_to_end(&mut heard)).await.expect("an end");
    assert!(rest.is_ok(), "{rest:?}");
}
