//! Secrets stay out of logs, at every level, and out of what the command line prints.

use jsonwebtoken::{EncodingKey, Header, encode};
use salon::engine::http::{Account, Http};
use salon::engine::socket::Opening;
use serde_json::json;

use super::socket_at;
use crate::cli::{err, out, salon};
use crate::support::node::{Node, Settings, Single, unique};
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;

/// Everything here that nobody may read holds this.
const MARK: &str = "QQQ";
const SECRET: &str = "QQQsecretQQQ of a node, which is long enough";
const ISSUER_KEY: &str = "QQQissuerQQQ key, which is long enough as well";
const DATABASE_PASSWORD: &str = "QQQdatabaseQQQ";
const REDIS_PASSWORD: &str = "QQQredisQQQ";

fn issuer() -> String {
    format!("[[auth.issuers]]\nname = \"own\"\nalgorithm = \"HS256\"\nkey = \"{ISSUER_KEY}\"\n")
}

/// Every name a level goes by, so that what is hushed by default is not.
fn loudest() -> String {
    let crates = ["salon", "tokio_postgres", "fred", "tungstenite", "tungstenite::protocol", "hyper", "refinery_core"];
    let named = crates.map(|name| format!("{name}=trace")).join(",");
    format!("trace,{named}")
}

/// Uses all that secrets go through, and gives those that were made on the way.
async fn use_everything(url: &str) -> Vec<String> {
    let name = unique("alice");
    let (password, new) = ("QQQpasswordQQQ", "QQQnew-passwordQQQ");
    let http = Http::new(url);
    let body = json!({"username": name, "password": password});
    let user = http.post("/api/account/register", body.clone()).await.expect("an answer").json()["user"].clone();
    let user = serde_json::from_value(user).expect("a user");
    let mut secrets: Vec<String> =
        ["salon_access", "salon_refresh"].iter().map(|cookie| http.cookie(cookie).expect("a cookie")).collect();
    let alice = Account { http, user, password: password.to_owned() };
    let tokens = Http::new(url).post("/api/account/token", body).await.expect("an answer").json();
    let refreshed = json!({"refresh_token": tokens["refresh_token"]});
    let refreshed = Http::new(url).post("/api/account/refresh", refreshed).await.expect("an answer").json();
    for tokens in [&tokens, &refreshed] {
        secrets.push(tokens["access_token"].as_str().expect("a token").to_owned());
        secrets.push(tokens["refresh_token"].as_str().expect("a token").to_owned());
    }
    let wrong = json!({"username": name, "password": "QQQwrongQQQ"});
    alice.http.post("/api/account/login", wrong).await.expect("an answer");
    let changed = json!({"current": password, "new": new});
    assert_eq!(alice.http.post("/api/account/password", changed).await.expect("an answer").status, 204);
    let claims = json!({"sub": "u1", "name": "Eve", "exp": 4_000_000_000_u64});
    let external = encode(&Header::default(), &claims, &EncodingKey::from_secret(ISSUER_KEY.as_bytes())).expect("one");
    assert_eq!(Http::bearer(url, &external).get("/api/account").await.expect("an answer").status, 200);

    let room = alice.http.create_room(&unique("room"), "public").await.expect("a room").slug;
    let made = alice.http.post(&format!("/api/rooms/{room}/invites"), json!({})).await.expect("an answer").json();
    let code = made["code"].as_str().expect("a code").to_owned();
    let redeemed = alice.http.call("POST", &format!("/api/invites/{code}")).send().await.expect("an answer");
    assert_eq!(redeemed.status, 200);
    secrets.push(code);
    let path = format!("/api/rooms/{room}/messages");
    assert_eq!(alice.http.post(&path, json!({"content": "QQQposted"})).await.expect("an answer").status, 201);
    let edited = json!({"content": "QQQedited"});
    assert_eq!(alice.http.patch(&format!("{path}/1"), edited).await.expect("an answer").status, 200);
    let mut socket = socket_at(url, &alice).await;
    assert_eq!(socket.join(&room).await.expect("an answer")["messages"][0]["content"], "QQQedited");
    for content in ["QQQsent", "QQQsent again"] {
        let ack = socket.ask(json!({"type": "send", "room": room, "content": content})).await.expect("an answer");
        assert_eq!(ack["type"], "ack");
    }
    socket.ask(json!({"type": "edit", "room": room, "id": 2, "content": "QQQchanged"})).await.expect("an answer");
    let by_token = Opening::new(url).bearer_subprotocol(&external).welcomed().await;
    let mut by_token = by_token.expect("a socket");
    by_token.ask(json!({"type": "auth", "token": external})).await.expect("an answer");
    by_token.ask(json!({"type": "auth", "token": "QQQ.no.token"})).await.expect("an answer");
    // Refused, in all the ways that a reason is made.
    for body in ["{\"password\":\"QQQ", "{\"username\":\"a\",\"password\":[\"QQQ\"]}", "{\"content\":\"QQQ\\u0000\"}"] {
        for path in ["/api/account/login", path.as_str()] {
            let call = alice.http.call("POST", path).header("content-type", "application/json").body(body);
            call.send().await.expect("an answer");
        }
    }
    socket.send_text("QQQ no JSON").await.expect("alive");
    socket.drained().await.expect("alive");
    alice.http.call("POST", "/api/account/logout").send().await.expect("an answer");
    secrets.push(external);
    secrets.push("$argon2".to_owned());
    secrets
}

#[track_caller]
fn assert_secret(log: &str, secrets: &[String]) {
    assert!(log.contains("DEBUG"), "the log was to be loud:\n{log}");
    let in_hex: String = MARK.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [MARK.to_owned(), in_hex, format!("{:?}", MARK.as_bytes()).trim_matches(['[', ']']).to_owned()];
    for secret in secrets.iter().chain(&forms) {
        if let Some(line) = log.lines().find(|line| line.contains(secret.as_str())) {
            panic!("{secret} is in the log:\n{line}");
        }
        // The signature alone would be told apart from the rest of a token.
        let tail = secret.rsplit('.').next().filter(|tail| tail.len() > 20);
        assert!(tail.is_none_or(|tail| !log.contains(tail)), "the end of {secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_a_log_of_one_node() {
    let level = loudest();
    let env = [("SALON_LOG__LEVEL", level.as_str()), ("SALON_AUTH__SECRET", SECRET)];
    let single = Single::start_configured(Some(&issuer()), &env).await;
    let secrets = use_everything(&single.url()).await;
    assert_secret(&single.node.log(), &secrets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_a_log_of_a_cluster() {
    let database = Postgres::shared().fresh_database().await;
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "requirepass", REDIS_PASSWORD]);
    let env = [
        ("SALON_LOG__LEVEL", loudest()),
        ("SALON_LOG__FORMAT", "json".to_owned()),
        ("SALON_AUTH__SECRET", SECRET.to_owned()),
        ("SALON_DATABASE__URL", database.replace("postgres@", &format!("postgres:{DATABASE_PASSWORD}@"))),
        ("SALON_DATABASE__POOL_SIZE", "4".to_owned()),
        ("SALON_REDIS__URL", redis.url().replace("://", &format!("://:{REDIS_PASSWORD}@"))),
    ];
    let env = env.map(|(key, value)| (key.to_owned(), value)).into();
    let node = Node::start("loud", Settings { env, file: Some(issuer()), ..Settings::default() }).await;
    let mut secrets = use_everything(&node.url()).await;
    // Neither when it is lost.
    redis.stop_hard();
    secrets.extend(use_everything(&node.url()).await);
    assert_secret(&node.log(), &secrets);
}

#[test]
fn no_command_prints_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("salon.toml"), issuer()).expect("a file");
    let unreachable = format!("postgres://u:{DATABASE_PASSWORD}@127.0.0.1:1/name");
    let redis = format!("redis-sentinel://:{REDIS_PASSWORD}@127.0.0.1:1/main?sentinelPassword={REDIS_PASSWORD}");
    let environment = [
        ("SALON_AUTH__SECRET", SECRET),
        ("SALON_AUTH__PREVIOUS_SECRET", "QQQpreviousQQQ, which is long enough too"),
        ("SALON_DATABASE__URL", &unreachable),
        ("SALON_REDIS__URL", &redis),
        ("SALON_LOG__LEVEL", "trace"),
        ("SALON_DATABASE__WAIT_TIMEOUT_MS", "500"),
        ("SALON_DATABASE__CONNECT_TIMEOUT_MS", "500"),
    ];
    for (arguments, code) in [
        (vec!["--config", "salon.toml", "config"], 0),
        (vec!["--config", "salon.toml", "migrate"], 1),
        (vec!["--config", "salon.toml", "user", "disable", "alice"], 1),
    ] {
        let output = salon(folder.path(), &arguments, &environment, "");
        let told = out(&output) + &err(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(!told.contains(MARK), "{arguments:?}: {told}");
        assert!(code != 0 || told.contains("(hidden)"), "{told}");
    }
    // Nor when it is what is wrong.
    for (command, key, value) in [
        ("config", "SALON_AUTH__SECRET", "QQQshort"),
        ("config", "SALON_AUTH__PREVIOUS_SECRET", "QQQshort"),
        ("config", "SALON_DATABASE__URL", "postgre://u:QQQ@host/name"),
        ("migrate", "SALON_DATABASE__URL", "postgres://u:QQQ@host:port/name"),
        ("migrate", "SALON_DATABASE__URL", "postgres://u:QQQ@QQQ@host/name"),
        ("migrate", "SALON_DATABASE__URL", "postgres://host/name?user=u&password=QQQ&sslmode=wrong"),
        ("config", "SALON_REDIS__URL", "redi://:QQQ@host"),
        ("serve", "SALON_REDIS__URL", "redis://:QQQ@host:port"),
        ("config", "SALON_SERVER__PUBLIC_URL", "http://u:QQQ@host"),
    ] {
        let mut environment = environment.to_vec();
        environment.retain(|(other, _)| *other != key);
        environment.extend([(key, value), ("SALON_SERVER__LISTEN", "127.0.0.1:0"), ("SALON_ADMIN__LISTEN", "[::1]:0")]);
        let output = salon(folder.path(), &[command], &environment, "");
        let told = out(&output) + &err(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{key}={value}: {told}");
        assert!(!told.contains(MARK), "{key}={value}: {told}");
    }
    for text in ["[auth]\nsecret = \"QQQ\n", "[auth]\nsecret = QQQ\n", "[auth]\nsecret = [\"QQQ\"]\n"] {
        std::fs::write(folder.path().join("broken.toml"), text).expect("a file");
        let output = salon(folder.path(), &["--config", "broken.toml", "config"], &[], "");
        let told = out(&output) + &err(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(!told.contains(MARK), "{text}: {told}");
    }
}
