//! Every answer carries its protecting headers, errors included; and each listener answers what is its own only.

use salon::engine::http::{Answer, Http};
use serde_json::json;

use super::{Filling, raw_from, routes, upgrade};
use crate::docs;
use crate::support::node::{Single, unique};

const LOCAL: [u8; 4] = [127, 0, 0, 1];

/// What any answer of ours must say, whatever it is.
#[track_caller]
pub fn assert_protected(what: &str, answer: &Answer) {
    let header = |name: &str| answer.header(name).unwrap_or_else(|| panic!("{what}: {} has no {name}", answer.status));
    let policy = header("content-security-policy");
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    for needed in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(directives.contains(&needed), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{what}: {policy}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(header("referrer-policy"), "no-referrer", "{what}");
    assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{what}");
    let cached = if what.starts_with("file") { "no-cache" } else { "no-store" };
    assert_eq!(header("cache-control"), cached, "{what}");
    assert!(answer.header("server").is_none() && answer.header("x-powered-by").is_none(), "{what}");
}

fn name_of(path: &str) -> &'static str {
    if matches!(path, "/" | "/admin") || path.starts_with("/r/") || path.ends_with(".js") { "file" } else { "answer" }
}

/// The page and its files are the same for everybody and are sent smaller to who takes that. What holds somebody's words
/// beside a secret is not: its length would tell of the secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_sent_compressed_and_answers_are_not() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let ask = async |path: &str| {
        let answer = alice.http.call("GET", path).header("accept-encoding", "gzip").send().await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        answer
    };
    for path in ["/", "/admin", "/app.js", "/salon.js", "/style.css"] {
        let (plain, small) = (alice.http.get(path).await.expect("an answer"), ask(path).await);
        assert_eq!(
            (plain.header("content-encoding"), small.header("content-encoding")),
            (None, Some("gzip")),
            "{path}"
        );
        assert!(small.body.starts_with(&[0x1f, 0x8b]), "{path}");
        assert!(small.body.len() < plain.body.len() / 2, "{path}: {} of {}", small.body.len(), plain.body.len());
        assert_eq!(small.header("vary"), Some("accept-encoding"), "{path}");
    }
    for path in ["/api/account", "/api/rooms", "/api/openapi.json", "/livez"] {
        assert_eq!(ask(path).await.header("content-encoding"), None, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_protects_every_answer() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let nobody = Http::new(&single.url());
    let room = bob.http.create_room(&unique("headers"), "public").await.expect("a room").slug;
    let filling = Filling { room: &room, username: "me", id: "7" };
    let mut seen = std::collections::BTreeSet::new();
    for route in routes(filling).into_iter().filter(|route| !route.is_socket()) {
        let kind = name_of(&route.path);
        let what = |how: &str| format!("{kind}: {} {} {how}", route.method, route.path);
        let mut check = |how: &str, answer: Answer| {
            seen.insert(answer.status);
            // A refusal of a file's address is no file.
            let what = if answer.status >= 400 { what(how).replace("file", "answer") } else { what(how) };
            assert_protected(&what, &answer);
        };
        check("by nobody", route.ask(&nobody).await);
        check("by somebody", route.ask(&alice.http.at(&single.url())).await);
        check("from elsewhere", route.ask_with(&alice.http, &[("origin", "https://evil.example")]).await);
        check("of another type", route.ask_with(&alice.http, &[("content-type", "text/plain")]).await);
        let broken = nobody.call(&route.method, &route.path).header("content-type", "application/json").body("{");
        check("broken", broken.send().await.expect("an answer"));
        check("another method", nobody.call("BREW", &route.path).send().await.expect("an answer"));
        let wrong = nobody.call("OPTIONS", &route.path).send().await.expect("an answer");
        check("a question", wrong);
    }
    let large = json!({"username": "x".repeat(70_000), "password": "y"});
    let rest = [
        ("not there", nobody.get("/nothing/here").await),
        ("not there in the API", nobody.get("/api/nothing").await),
        ("too large", nobody.post("/api/account/login", large).await),
        ("a wrong value", nobody.post("/api/account/login", json!({"username": 5})).await),
        ("a wrong password", nobody.post("/api/account/login", json!({"username": "x", "password": "y"})).await),
    ];
    for (what, answer) in rest {
        let answer = answer.expect("an answer");
        seen.insert(answer.status);
        assert_protected(what, &answer);
    }
    let page = nobody.get("/").await.expect("an answer");
    let known = page.header("etag").expect("an etag").to_owned();
    let again = nobody.call("GET", "/").header("if-none-match", &known).send().await.expect("an answer");
    assert_eq!(again.status, 304);
    assert_protected("file, known already", &again);
    for status in [200, 201, 204, 400, 401, 403, 404, 405, 413, 415, 422] {
        assert!(seen.contains(&status), "no {status} was met: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_upgrades_and_limits_are_protected_too() {
    let settings = [
        ("SALON_LIMITS__SOCKETS_PER_USER", "1"),
        ("SALON_LIMITS__LOGINS_PER_MINUTE_ADDRESS", "1"),
        ("SALON_ROOMS__AUTO_CREATE", "false"),
    ];
    let single = Single::start_with(&settings).await;
    let alice = single.user("alice").await;
    let own = || alice.http.at(&single.url());
    let _only = super::socket_at(&single.url(), &alice).await;
    for (status, http, path, headers) in [
        (401, Http::new(&single.url()), "/ws", vec![]),
        (403, own(), "/ws", vec![("origin", "https://evil.example")]),
        (404, own(), "/ws/chat/not-there/", vec![]),
        (429, own(), "/ws", vec![]),
        (400, own(), "/ws", vec![("sec-websocket-version", "7")]),
    ] {
        let answer = upgrade(&http, path, &headers).await;
        assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.json());
        assert_protected(&format!("{status} of {path}"), &answer);
    }
    let body = json!({"username": "x", "password": "y"});
    own().post("/api/account/login", body.clone()).await.expect("the one try");
    let limited = own().post("/api/account/login", body).await.expect("an answer");
    assert_eq!(limited.status, 429);
    assert_protected("a limit", &limited);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_below_the_routes_has_no_body_to_protect() {
    let single = Single::start_with(&[("SALON_SERVER__HEADER_TIMEOUT_S", "1")]).await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Many: 1\r\n".repeat(500));
    for (what, bytes) in [
        ("no HTTP", "hello\r\n\r\n".to_owned()),
        ("a broken head", "GET / HTTP/1.1\r\nHost a\r\n\r\n".to_owned()),
        ("a NUL in a header", "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n".to_owned()),
        ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx".to_owned()),
        ("a long header", long),
        ("many headers", many),
        ("a head that never ends", "GET / HTTP/1.1\r\nHost: a\r\n".to_owned()),
    ] {
        let told = raw_from(LOCAL, &single.url(), bytes.as_bytes()).await;
        let (head, body) = told.split_once("\r\n\r\n").unwrap_or((&told, ""));
        assert!(told.is_empty() || head.starts_with("HTTP/1.1 4"), "{what}: {told}");
        assert_eq!(body, "", "{what}");
        assert!(!head.to_lowercase().contains("content-type"), "{what}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_origins_may_read_answers() {
    let allowed = [("SALON_SERVER__ALLOWED_ORIGINS", "[\"https://app.example\"]")];
    let single = Single::start_with(&allowed).await;
    let http = Http::new(&single.url());
    let filling = Filling { room: "a-room", username: "me", id: "1" };
    for route in routes(filling) {
        let preflight = |origin: &str| {
            let call = http.call("OPTIONS", &route.path).origin(origin);
            call.header("access-control-request-method", &route.method)
                .header("access-control-request-headers", "authorization")
        };
        let granted = preflight("https://app.example").send().await.expect("an answer");
        assert_eq!((granted.status, granted.header("access-control-allow-origin")), (204, Some("https://app.example")));
        let methods = granted.header("access-control-allow-methods").expect("methods");
        assert!(methods.split(", ").any(|method| method == route.method), "{} in {methods}", route.method);
        assert_protected("a preflight", &granted);
        for foreign in ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example"] {
            let refused = preflight(foreign).send().await.expect("an answer");
            let told: Vec<_> =
                refused.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
            assert!(told.is_empty() && refused.status >= 400, "{foreign}: {told:?}");
            let answer = route.ask_with(&http, &[("origin", foreign)]).await;
            assert_eq!(answer.header("access-control-allow-origin"), None, "{foreign}");
            let mut vary = answer.headers.get_all("vary").iter();
            assert!(vary.any(|vary| vary == "origin"), "a cache must tell them apart");
        }
        let answer = route.ask_with(&http, &[("origin", "https://app.example")]).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"), "errors are read too");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_listener_has_what_is_its_own() {
    let single = Single::shared().await;
    let (public, admin) = (Http::new(&single.url()), Http::new(&single.node.admin_url()));
    for path in ["/metrics", "/metrics/", "//metrics", "/api/metrics", "/%6detrics", "/METRICS"] {
        let answer = public.get(path).await.expect("an answer");
        assert_eq!(answer.status, 404, "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("salon_"), "{path}");
    }
    let filling = Filling { room: "a-room", username: "me", id: "1" };
    for route in routes(filling) {
        let answer = route.ask(&admin).await;
        let wanted = if matches!(route.path.as_str(), "/livez" | "/readyz") { 200 } else { 404 };
        assert_eq!(answer.status, wanted, "{} {}", route.method, route.path);
        assert_protected("the admin listener", &answer);
    }
    assert!(docs::routes().contains(&"GET /metrics".to_owned()));
    let metrics = admin.get("/metrics").await.expect("an answer");
    assert_eq!(metrics.status, 200);
    assert_protected("metrics", &metrics);
}
