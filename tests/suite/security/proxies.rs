//! What proxies say about a request counts when we know the proxy, behind a real nginx too.

use std::process::Command;
use std::time::Instant;

use salon::engine::http::{Account, Http, authority};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};

use super::{PATIENCE, raw_from};
use crate::support::guardian::Guardian;
use crate::support::node::{Folder, Single, free_port, unique};

/// Where strangers come from: as much this machine as the proxy, and another address.
const STRANGER: [u8; 4] = [127, 0, 0, 7];
const PROXY: [u8; 4] = [127, 0, 0, 1];

const PASSWORD: &str = "correct horse battery";

struct Nginx {
    url: String,
    _guardian: Guardian,
    _folder: Folder,
}

impl Nginx {
    /// Before this node, as its manual says: what the client wrote is kept, its address added.
    async fn start(node: &str) -> Nginx {
        let folder = Folder::new("nginx");
        let port = free_port();
        let at = folder.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen 127.0.0.1:{port};\n\
             location / {{ proxy_pass {node}; proxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             proxy_set_header X-Forwarded-Host $http_host; }} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).expect("its configuration");
        let running = folder.path().join("running");
        std::fs::create_dir(&running).expect("a folder");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-e").arg(folder.path().join("error")).arg("-c").arg(&file);
        let guardian = Guardian::spawn(&command, &running, "KILL");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "nginx did not come up:\n{}", guardian.log());
            sleep(Duration::from_millis(20)).await;
        }
        Nginx { url: format!("http://127.0.0.1:{port}"), _guardian: guardian, _folder: folder }
    }
}

/// One request from an address, with these headers; its status and its body.
async fn ask(from: [u8; 4], url: &str, call: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut head = format!("{call} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {}\r\n", authority(url)));
    }
    if !body.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let told = raw_from(from, url, format!("{head}\r\n{body}").as_bytes()).await;
    let status = told.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    // The chunked form of nginx has its lengths around the object.
    let json = told.find("\r\n\r\n").map_or("", |at| &told[at..]);
    let object = json.find('{').zip(json.rfind('}')).map_or("", |(start, end)| &json[start..=end]);
    (status, serde_json::from_str(object).unwrap_or_default())
}

/// The address that a new login session of this user is shown with.
async fn shown(account: &Account, from: [u8; 4], url: &str, headers: &[(&str, &str)]) -> String {
    let body = json!({"username": account.user.username, "password": account.password});
    let (status, told) = ask(from, url, "POST /api/account/token", headers, &body).await;
    assert_eq!(status, 200, "{told}");
    let token = told["access_token"].as_str().expect("a token");
    let http = Http::new(account.http.authority());
    http.set_bearer(Some(token));
    let sessions = http.get("/api/account/sessions").await.expect("an answer").json();
    let own = sessions.as_array().expect("a list").iter().find(|session| session["current"] == true).expect("its own");
    own["address"].as_str().expect("an address").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_the_last_one_that_a_known_proxy_saw() {
    let single = Single::start_with(&[("SALON_SERVER__TRUSTED_PROXIES", "[\"127.0.0.1/32\", \"10.0.0.0/8\"]")]).await;
    let nginx = Nginx::start(&single.url()).await;
    let alice = single.user("alice").await;
    let claimed = [("X-Forwarded-For", "6.6.6.6")];
    assert_eq!(shown(&alice, STRANGER, &nginx.url, &[]).await, "127.0.0.7");
    assert_eq!(
        shown(&alice, STRANGER, &nginx.url, &claimed).await,
        "127.0.0.7",
        "what a client wrote stands further left"
    );
    assert_eq!(shown(&alice, STRANGER, &single.url(), &claimed).await, "127.0.0.7", "a stranger is no proxy");
    // Another known proxy before nginx, which stands at the known address.
    let chain = [("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 10.1.2.3")];
    assert_eq!(shown(&alice, PROXY, &nginx.url, &chain).await, "203.0.113.9");
    for (written, address) in [
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("nonsense", "127.0.0.1"),
        ("6.6.6.6, ' OR 1=1 --", "127.0.0.1"),
    ] {
        assert_eq!(shown(&alice, PROXY, &single.url(), &[("X-Forwarded-For", written)]).await, address, "{written}");
    }
    // Names of other proxies' headers are nobody's word.
    for name in ["X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"] {
        let claimed = [(name, "6.6.6.6")];
        assert_eq!(shown(&alice, PROXY, &single.url(), &claimed).await, "127.0.0.1", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tries_are_counted_for_the_address_that_a_known_proxy_saw() {
    let settings =
        [("SALON_SERVER__TRUSTED_PROXIES", "[\"127.0.0.1/32\"]"), ("SALON_LIMITS__LOGINS_PER_MINUTE_ADDRESS", "3")];
    let single = Single::start_with(&settings).await;
    let nginx = Nginx::start(&single.url()).await;
    let body = || json!({"username": unique("nobody"), "password": PASSWORD});
    let attempt = async |from, url: &str, claimed: &str| {
        let headers = [("X-Forwarded-For", claimed)];
        ask(from, url, "POST /api/account/login", &headers, &body()).await.0
    };
    // Another name for oneself each time does not help, neither here nor there.
    for number in 0..3 {
        assert_eq!(attempt(STRANGER, &nginx.url, &format!("203.0.113.{number}")).await, 401);
    }
    assert_eq!(attempt(STRANGER, &nginx.url, "203.0.113.77").await, 429);
    assert_eq!(attempt(STRANGER, &single.url(), "203.0.113.78").await, 429, "the same stranger, past the proxy");
    assert_eq!(attempt([127, 0, 0, 8], &nginx.url, "127.0.0.7").await, 401, "and cannot use up another's");
    // Whoever has a /64 has all of it.
    for number in 0..3 {
        assert_eq!(attempt(PROXY, &single.url(), &format!("2001:db8:0:1::{number}")).await, 401);
    }
    assert_eq!(attempt(PROXY, &single.url(), "2001:db8:0:1:ffff::77").await, 429);
    assert_eq!(attempt(PROXY, &single.url(), "2001:db8:0:2::1").await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_host_counts_from_a_known_proxy_only() {
    let single = Single::start_with(&[("SALON_SERVER__TRUSTED_PROXIES", "[\"127.0.0.1/32\"]")]).await;
    let nginx = Nginx::start(&single.url()).await;
    let alice = single.user("alice").await;
    let cookies = alice.http.cookie_header("/api/rooms").expect("cookies");
    let posts = async |from, url: &str, extra: &[(&str, &str)]| {
        let headers = [&[("Cookie", cookies.as_str()), ("Origin", "http://chat.lan")], extra].concat();
        ask(from, url, "POST /api/rooms", &headers, &json!({"name": unique("room")})).await.0
    };
    assert_eq!(posts(STRANGER, &nginx.url, &[("Host", "chat.lan")]).await, 201, "the page nginx was asked for");
    assert_eq!(posts(STRANGER, &nginx.url, &[("Host", "other.lan")]).await, 403);
    let claimed = [("Host", "other.lan"), ("X-Forwarded-Host", "chat.lan")];
    assert_eq!(posts(STRANGER, &nginx.url, &claimed).await, 403, "nginx writes its own");
    assert_eq!(posts(STRANGER, &single.url(), &claimed).await, 403, "a stranger is no proxy");
    assert_eq!(posts(PROXY, &single.url(), &claimed).await, 201);
    // The same rule at the socket's door.
    let opens = async |host: &str| {
        let headers = [
            ("Cookie", cookies.as_str()),
            ("Origin", "http://chat.lan"),
            ("Host", host),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "7"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        ask(STRANGER, &nginx.url, "GET /ws", &headers, &Value::Null).await.0
    };
    // Of a version that nobody speaks, so that the answer ends: past the origin it is only not understood.
    assert_eq!(opens("chat.lan").await, 400);
    assert_eq!(opens("other.lan").await, 403);
}
