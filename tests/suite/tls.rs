//! Encrypted and with passwords, against real servers whose certificates an authority of the tests' own signed.

use std::path::Path;
use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use salon::engine::socket::Opening;
use serde_json::json;

use crate::cli::{err, out, salon};
use crate::support::authority::Authority;
use crate::support::node::{Node, PATIENCE, Settings, unique};
use crate::support::postgres::{self, Postgres};
use crate::support::redis::Redis;

/// With what has to be escaped in a URL.
const PASSWORD: &str = "QQQ/p@ss:word?";
const ESCAPED: &str = "QQQ%2Fp%40ss%3Aword%3F";
const SECRET: &str = "a secret of the tests that is long enough to sign with";

struct Bed {
    authority: Authority,
    postgres: Postgres,
}

impl Bed {
    async fn start() -> Bed {
        let authority = Authority::new();
        let postgres = Postgres::start_secure(&authority.server());
        let bed = Bed { authority, postgres };
        bed.execute(&format!("CREATE ROLE salon LOGIN PASSWORD '{PASSWORD}'")).await;
        bed.execute("CREATE DATABASE salon OWNER salon").await;
        bed
    }

    async fn execute(&self, sql: &str) {
        postgres::execute(&self.postgres.socket_url("postgres"), sql).await;
    }

    /// The certificate is for `localhost`, not for 127.0.0.1.
    fn url(&self, host: &str, query: &str) -> String {
        format!("postgres://salon:{ESCAPED}@{host}:{}/salon{query}", self.postgres.port())
    }

    fn trusted(&self) -> String {
        self.url("localhost", &format!("?sslmode=verify-full&sslrootcert={}", self.authority.file().display()))
    }
}

fn settings(database: &str, redis: &[(&str, &str)]) -> Settings {
    let fixed = [("SALON_DATABASE__URL", database), ("SALON_AUTH__SECRET", SECRET)];
    let env = fixed.iter().chain(redis).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings { env, ..Settings::default() }
}

async fn status(url: &str, path: &str) -> (u16, String) {
    let answer = Http::new(url).get(path).await.expect("an answer");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// Exit code and words of `salon migrate` on this database.
fn migrate(folder: &Path, url: &str) -> (i32, String) {
    let output = salon(folder, &["migrate"], &[("SALON_DATABASE__URL", url), ("SALON_AUTH__SECRET", SECRET)], "");
    (output.status.code().unwrap_or(-1), format!("{}{}", out(&output), err(&output)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_chat_over_tls() {
    let bed = Bed::start().await;
    let redis = Redis::start_secure(&bed.authority, &bed.authority.server(), "QQQp@ss");
    let ca = bed.authority.file().display().to_string();
    // A user of the access list here, the default one, by password only, there.
    let redis_url = |who: &str| format!("rediss://{who}:QQQp%40ss@localhost:{}", redis.port());
    let node = |name: &'static str, who: &'static str| {
        let (database, url, ca) = (bed.trusted(), redis_url(who), ca.clone());
        async move {
            Node::start(name, settings(&database, &[("SALON_REDIS__URL", &url), ("SALON_REDIS__CA_FILE", &ca)])).await
        }
    };
    let (one, two) = tokio::join!(node("one", "salon"), node("two", ""));
    let alice = Account::register(&one.url(), &unique("alice")).await.expect("registration");
    let room = alice.http.create_room(&unique("tls"), "public").await.expect("a room").slug;
    let mut speaker = Opening::new(&one.url()).cookies(&alice.http).welcomed().await.expect("a socket");
    let mut hearer = Opening::new(&two.url()).cookies(&alice.http).welcomed().await.expect("a socket");
    hearer.join(&room).await.expect("joined");
    let ack = speaker.ask(json!({"type": "send", "room": room, "content": "hush"})).await.expect("an answer");
    assert_eq!(ack["type"], "ack", "{ack}");
    assert_eq!(hearer.expect("chat_message").await.expect("the message")["content"], "hush");
    for node in [&one, &two] {
        node.says(&["hearing hints through Redis"]).await;
        assert!(!node.log_tail().contains("QQQ"), "{}", node.log_tail());
    }
    let client = postgres::connect(&bed.postgres.socket_url("postgres")).await;
    let sql = "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE application_name = 'salon'";
    let row = client.query_one(sql, &[]).await.expect("a row");
    let (encrypted, all): (i64, i64) = (row.get(0), row.get(1));
    assert!(all > 0 && encrypted == all, "{encrypted} of {all} connections are encrypted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sslmode_means_what_is_documented() {
    let bed = Bed::start().await;
    let other = Authority::new();
    let folder = bed.authority.folder();
    let (ca, wrong) = (bed.authority.file().display().to_string(), other.file().display().to_string());
    let untrusted = "invalid peer certificate: UnknownIssuer";
    // Host, query, exit code, what is said.
    let cases = [
        ("localhost", format!("?sslmode=verify-full&sslrootcert={ca}"), 0, "up to date"),
        ("localhost", format!("?sslmode=require&sslrootcert={ca}"), 0, "up to date"),
        ("localhost", format!("?sslrootcert={ca}"), 0, "up to date"),
        ("localhost", format!("?sslmode=verify-full&sslrootcert={wrong}"), 1, untrusted),
        ("localhost", format!("?sslmode=verify-ca&sslrootcert={wrong}"), 1, untrusted),
        ("localhost", format!("?sslrootcert={wrong}"), 1, untrusted),
        ("127.0.0.1", format!("?sslmode=verify-full&sslrootcert={ca}"), 1, "not valid for name \"127.0.0.1\""),
        ("127.0.0.1", format!("?sslmode=require&sslrootcert={ca}"), 1, "not valid for name \"127.0.0.1\""),
        ("127.0.0.1", format!("?sslmode=verify-ca&sslrootcert={ca}"), 0, "up to date"),
        ("127.0.0.1", "?sslmode=prefer".to_owned(), 0, "up to date"),
        ("127.0.0.1", String::new(), 0, "up to date"),
        ("127.0.0.1", "?sslmode=disable".to_owned(), 1, "no encryption"),
        ("localhost", "?sslmode=allow".to_owned(), 2, "database.url: sslmode must be disable, prefer, require"),
        ("localhost", format!("?sslmode=prefer&sslrootcert={ca}"), 2, "sslmode=prefer would not look at sslrootcert"),
        ("localhost", "?sslrootcert=/nowhere/ca.pem".to_owned(), 2, "database.url: /nowhere/ca.pem cannot be read"),
        ("localhost", format!("?sslcert={ca}"), 2, "unknown option `sslcert`"),
        ("localhost", "?target_session_attrs=any".to_owned(), 2, "target_session_attrs can only be read-write"),
    ];
    for (host, query, code, said) in cases {
        let (got, words) = migrate(folder, &bed.url(host, &query));
        assert!(got == code && words.contains(said), "{host} {query}: {got}, {words}");
        assert!(!words.contains("QQQ"), "{words}");
    }
    // Where no authority is named the system's are asked, who do not know ours; a system may also have none.
    let (code, words) = migrate(folder, &bed.url("localhost", "?sslmode=require"));
    assert!(code == 1 && words.contains(untrusted) || code == 2 && words.contains("no certificates"), "{words}");
    let plain = Postgres::shared().url("postgres");
    let (code, words) = migrate(folder, &format!("{plain}?sslrootcert={ca}"));
    assert!(code == 1 && words.contains("server does not support TLS"), "{words}");

    let environment = [("SALON_DATABASE__URL", bed.trusted())];
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(key, value)| (*key, value.as_str())).chain([("SALON_AUTH__SECRET", SECRET)]).collect();
    let output = salon(folder, &["user", "add", "root", "--admin"], &environment, "correct horse battery\n");
    assert!(output.status.success(), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_password_is_told_and_waited_out() {
    let bed = Bed::start().await;
    bed.execute("ALTER ROLE salon PASSWORD 'another'").await;
    let node = Node::launched("refused", settings(&bed.trusted(), &[]));
    node.says(&["WARN", "localhost", "password authentication failed for user"]).await;
    assert_eq!(status(&node.url(), "/livez").await.0, 200);
    let (code, body) = status(&node.url(), "/readyz").await;
    assert!(code == 503 && body.contains("starting"), "{code} {body}");
    bed.execute(&format!("ALTER ROLE salon PASSWORD '{PASSWORD}'")).await;
    node.ready(PATIENCE).await.expect("it serves, without a restart");
    assert!(!node.log_tail().contains("QQQ"), "{}", node.log_tail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_trusted_is_told_and_not_used() {
    let bed = Bed::start().await;
    let wrong = Authority::new();
    let url = bed.url("localhost", &format!("?sslmode=verify-full&sslrootcert={}", wrong.file().display()));
    let node = Node::launched("untrusting", settings(&url, &[]));
    node.says(&["WARN", "localhost", "invalid peer certificate: UnknownIssuer"]).await;
    let (code, body) = status(&node.url(), "/readyz").await;
    assert!(code == 503 && body.contains("starting"), "{code} {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_redis_is_not_used_is_told() {
    let (authority, wrong) = (Authority::new(), Authority::new());
    let redis = Redis::start_secure(&authority, &authority.server(), "QQQright");
    let database = Postgres::shared().fresh_database().await;
    let (ca, wrong) = (authority.file().display().to_string(), wrong.file().display().to_string());
    let (port, plain) = (redis.port(), Redis::shared().port());
    // URL, authority, what is said.
    let cases = [
        (format!("rediss://:QQQright@localhost:{port}"), Some(&wrong), "UnknownIssuer"),
        (format!("rediss://:QQQright@127.0.0.1:{port}"), Some(&ca), "NotValidForName"),
        (format!("rediss://:QQQwrong@localhost:{port}"), Some(&ca), "WRONGPASS"),
        (format!("rediss://salon:QQQwrong@localhost:{port}"), Some(&ca), "WRONGPASS"),
        (format!("rediss://localhost:{port}"), Some(&ca), "NOAUTH"),
        (format!("redis://:QQQright@localhost:{port}"), None, "may expect TLS"),
        (format!("rediss://:QQQright@localhost:{plain}"), Some(&ca), "may not speak TLS"),
    ];
    for (url, ca, said) in cases {
        let mut env = vec![("SALON_REDIS__URL", url.as_str())];
        env.extend(ca.map(|ca| ("SALON_REDIS__CA_FILE", ca.as_str())));
        let node = Node::start("lonely", settings(&database, &env)).await;
        let line = node.says(&["WARN", "no connection to Redis to listen by", said]).await;
        eprintln!("{url}: {line}");
        // It is looked at every 3 seconds.
        let deadline = Instant::now() + PATIENCE;
        while status(&node.url(), "/readyz").await != (200, r#"{"degraded":["broker"],"status":"ready"}"#.to_owned()) {
            assert!(Instant::now() < deadline, "a node alone is degraded, not unready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!node.log_tail().contains("QQQ"), "{}", node.log_tail());
    }
    let file = ["SALON_REDIS__CA_FILE", "/nowhere/ca.pem"];
    let env = |url: &'static str| {
        [
            ("SALON_DATABASE__URL", database.as_str()),
            ("SALON_AUTH__SECRET", SECRET),
            ("SALON_REDIS__URL", url),
            (file[0], file[1]),
        ]
    };
    let output = salon(authority.folder(), &["serve"], &env("rediss://localhost"), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("redis.ca_file: /nowhere/ca.pem cannot be read"), "{}", err(&output));
    let output = salon(authority.folder(), &["config"], &env("redis://localhost"), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("redis.ca_file: is for TLS only"), "{}", err(&output));
}
