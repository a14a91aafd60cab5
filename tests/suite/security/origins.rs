//! Pages of other sites, which come with the user's cookies.

use salon::engine::http::{Account, Http};
use serde_json::json;

use super::{Filling, routes, upgrade};
use crate::support::node::{Single, unique};

/// Origins that are nobody's of ours when the page was asked for at `good.example` or `good.example:8000`.
const FOREIGN: &[&str] = &[
    "http://evil.example",
    "null",
    "",
    "http://good.example.evil.example",
    "http://goodexample",
    "http://notgood.example",
    "http://good.example:8001",
    "http://good.example.",
    "http://good.example@evil.example",
    "http://alice@good.example",
    "http://evil.example/good.example",
    "http://evil.example#good.example",
    "ws://good.example",
    "file://good.example",
    "good.example",
    "http://app.example",
    "https://app.example:444",
    "http://chat.example",
    "https://chat.example.evil.example",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pages_of_ours_open_sockets() {
    let single = Single::start_with(&[
        ("SALON_SERVER__PUBLIC_URL", "https://chat.example"),
        ("SALON_SERVER__ALLOWED_ORIGINS", "[\"https://app.example\"]"),
    ])
    .await;
    let alice = single.user("alice").await;
    let opens = async |host: &str, origin: &str| {
        let mut statuses = Vec::new();
        for path in ["/ws", "/ws/chat/a-room/"] {
            let http = alice.http.at(&single.url());
            statuses.push(upgrade(&http, path, &[("host", host), ("origin", origin)]).await.status);
        }
        statuses
    };
    for origin in FOREIGN {
        for host in ["good.example", "good.example:8000"] {
            assert_eq!(opens(host, origin).await, [403, 403], "{origin} at {host}");
        }
    }
    for (host, origin) in [
        ("good.example", "http://good.example"),
        ("good.example", "https://good.example"),
        ("good.example:8000", "http://good.example:8000"),
        ("other.example", "https://chat.example"),
        ("other.example", "https://app.example"),
    ] {
        assert_eq!(opens(host, origin).await, [101, 101], "{origin} at {host}");
    }
    // Of no use: another scheme than the port says, or a host that only the page names.
    assert_eq!(opens("good.example:8000", "http://good.example").await, [403, 403]);
    let http = alice.http.at(&single.url());
    let claimed = [("host", "good.example"), ("x-forwarded-host", "evil.example"), ("origin", "http://evil.example")];
    let told = upgrade(&http, "/ws", &claimed);
    assert_eq!(told.await.status, 403, "a forwarded host counts from trusted proxies only");
}

/// What another site's page can make a browser send.
const CROSS_SITE: &[&[(&str, &str)]] = &[
    &[("origin", "https://evil.example")],
    &[("origin", "null")],
    &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
    &[("origin", "https://evil.example"), ("content-type", "text/plain")],
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "cross-site"), ("content-type", "text/plain")],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_change_nothing_for_pages_of_others() {
    let single = Single::start().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    // Whose cookies could do the most.
    promote(&single, &alice);
    let room = alice.http.create_room(&unique("forged"), "public").await.expect("a room").slug;
    alice.http.post(&format!("/api/rooms/{room}/messages"), json!({"content": "hers"})).await.expect("sent");
    let filling = Filling { room: &room, username: &bob.user.username, id: "1" };
    let changing: Vec<_> = routes(filling).into_iter().filter(super::Route::changes_state).collect();
    assert!(changing.len() >= 15);
    for route in &changing {
        for headers in CROSS_SITE {
            let answer = route.ask_with(&alice.http, headers).await;
            let told = (answer.status, answer.json()["code"].clone());
            assert_eq!(told, (403, json!("forbidden")), "{} {} {headers:?}", route.method, route.path);
            assert!(answer.header("set-cookie").is_none());
        }
        // A form can send this without saying where it stands, in a browser that tells neither.
        if !route.body.is_null() {
            let answer = route.ask_with(&alice.http, &[("content-type", "text/plain")]).await;
            assert_eq!(answer.status, 415, "{} {}", route.method, route.path);
        }
    }
    let history = alice.http.history(&room).await.expect("still hers, and still there");
    assert_eq!(history.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [1], "nothing was changed");
    let members = alice.http.get(&format!("/api/rooms/{room}/members")).await.expect("an answer");
    assert_eq!(members.json().as_array().map(Vec::len), Some(1), "nobody was added");

    // The same from our own page is not forbidden: what was refused above was refused for where it came from.
    for route in &changing {
        let carol = Account::register(&single.url(), &unique("carol")).await.expect("registration");
        promote(&single, &carol);
        let own = carol.http.create_room(&unique("own"), "public").await.expect("a room").slug;
        let (method, path) = (route.method.as_str(), route.path.replace(&room, &own));
        let mut call = carol.http.call(method, &path).origin(&single.url());
        if !route.body.is_null() {
            call = call.json(&route.body);
        }
        let answer = call.send().await.expect("an answer");
        assert_ne!(answer.status, 403, "{method} {path}: {}", answer.json());
    }
}

fn promote(single: &Single, account: &Account) {
    let name = &account.user.username;
    crate::http::login_sessions::sql(single, &format!("UPDATE users SET role = 'admin' WHERE username = '{name}'"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_somebody_in_from_another_site_does_not_work() {
    let single = Single::shared().await;
    let mallory = single.user("mallory").await;
    let body = json!({"username": mallory.user.username, "password": mallory.password}).to_string();
    // What a form can send without being asked first: no JSON.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let http = Http::new(&single.url());
        let call = http.call("POST", "/api/account/login").header("content-type", kind).body(body.clone());
        assert_eq!(call.origin("https://evil.example").send().await.expect("an answer").status, 415, "{kind}");
        assert_eq!(http.cookie("salon_access"), None);
    }
    // And what has to be asked for first is not granted.
    let http = Http::new(&single.url());
    let asked = http.call("OPTIONS", "/api/account/login").origin("https://evil.example");
    let asked = asked.header("access-control-request-method", "POST").send().await.expect("an answer");
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (405, None));
}
