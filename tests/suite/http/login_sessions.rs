//! Staying logged in by refresh tokens, a new password, and one's login sessions.

use std::time::Duration;

use futures_util::future::join_all;
use salon::engine::http::{Account, Answer, Http};
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};

use super::{assert_invalid, assert_problem, keys};
use crate::cli::salon;
use crate::support::node::{Single, unique};

const REFRESH: &str = "/api/account/refresh";
const NEW_PASSWORD: &str = "another long password";

/// Far within what a hint takes.
const AT_ONCE: Duration = Duration::from_secs(3);

async fn refresh(http: &Http) -> Answer {
    http.call("POST", REFRESH).send().await.expect("an answer")
}

async fn refresh_token(http: &Http, token: &str) -> Answer {
    http.post(REFRESH, json!({"refresh_token": token})).await.expect("an answer")
}

/// Another login session of the same user, by cookies.
async fn log_in(single: &Single, account: &Account) -> Http {
    let http = Http::new(&single.url());
    let body = json!({"username": account.user.username, "password": account.password});
    assert_eq!(http.post("/api/account/login", body).await.expect("an answer").status, 200);
    http
}

async fn tokens(single: &Single, account: &Account) -> Value {
    let body = json!({"username": account.user.username, "password": account.password});
    Http::new(&single.url()).post("/api/account/token", body).await.expect("an answer").expect(200).expect("tokens")
}

async fn socket(single: &Single, http: &Http) -> Socket {
    Opening::new(&single.url()).cookies(http).welcomed().await.expect("a socket")
}

async fn status(http: &Http) -> u16 {
    http.get("/api/account").await.expect("an answer").status
}

fn word<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// A token of the same login session that was never given out; it ends the session as one spent long ago does.
fn forged(token: &str) -> String {
    let (session, _) = token.split_once('.').expect("a token names its login session");
    format!("{session}.{}", "A".repeat(43))
}

/// Lets time pass in the database.
pub fn sql(single: &Single, sql: &str) {
    let db = rusqlite::Connection::open(single.database()).expect("the database");
    db.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    db.execute_batch(sql).expect(sql);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_by_cookie_renews_both_cookies() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    for (slash, body) in [("", None), ("/", Some(json!({}))), ("", Some(json!({"refresh_token": null})))] {
        let spent = alice.http.cookie("salon_refresh").expect("a cookie");
        alice.http.set_cookie("salon_access", "a.stale.one", "/");
        assert_eq!(status(&alice.http).await, 401);
        let request = alice.http.call("POST", &format!("{REFRESH}{slash}")).origin(&single.url());
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let answer = request.send().await.expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.json());
        let set: Vec<_> = answer.headers.get_all("set-cookie").iter().filter_map(|set| set.to_str().ok()).collect();
        assert_eq!(set.len(), 2, "{set:?}");
        assert!(set.iter().all(|set| set.contains("HttpOnly") && set.contains("SameSite=Strict")), "{set:?}");
        assert_ne!(alice.http.cookie("salon_refresh").expect("a cookie"), spent);
        assert_eq!(status(&alice.http).await, 200);
        // Without an access cookie, as a browser is once it has expired.
        alice.http.set_cookie("salon_access", "", "/nowhere");
        assert_eq!(refresh(&alice.http).await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_refresh_by_the_token_in_the_body() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let first = tokens(single, &alice).await;
    let http = Http::bearer(&single.url(), "an expired token");
    let answer = refresh_token(&http, word(&first, "refresh_token")).await;
    let next = answer.json();
    assert_eq!(answer.status, 200, "{next}");
    assert_eq!(keys(&next), ["access_token", "expires_in", "refresh_token", "token_type", "user"]);
    assert!(answer.header("set-cookie").is_none(), "no cookies for programs");
    assert_eq!((&next["user"], &next["token_type"]), (&first["user"], &json!("Bearer")));
    assert_ne!(next["refresh_token"], first["refresh_token"]);
    assert_eq!(status(&Http::bearer(&single.url(), word(&next, "access_token"))).await, 200);
    // What is in the body goes before the cookie.
    let wrong = refresh_token(&alice.http, &forged("0123456789abcdef0123456789abcdef.")).await;
    assert_problem(&wrong, 401, "unauthenticated");
    assert!(wrong.header("set-cookie").is_none());
    assert_eq!(status(&alice.http).await, 200);
    let answer = http.post(REFRESH, json!({"refresh_token": 7})).await.expect("an answer");
    assert_invalid(&answer, "refresh_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_race_get_the_same_successor() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let first = tokens(single, &alice).await;
    let tabs: Vec<Http> = (0..8).map(|_| Http::new(&single.url())).collect();
    let answers = join_all(tabs.iter().map(|tab| refresh_token(tab, word(&first, "refresh_token")))).await;
    let next = answers[0].json();
    for answer in &answers {
        assert_eq!((answer.status, &answer.json()["refresh_token"]), (200, &next["refresh_token"]));
    }
    // Its successor is in use, and who missed the answer still gets it.
    assert_eq!(refresh_token(&tabs[0], word(&next, "refresh_token")).await.status, 200);
    let late = refresh_token(&tabs[1], word(&first, "refresh_token")).await;
    assert_eq!((late.status, &late.json()["refresh_token"]), (200, &next["refresh_token"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_refreshed_takes_the_cookies_back() {
    let single = Single::shared().await;
    let nobody = Http::new(&single.url());
    assert_problem(&refresh(&nobody).await, 401, "unauthenticated");
    for wrong in ["nonsense".to_owned(), forged("0123456789abcdef0123456789abcdef.")] {
        let http = Http::new(&single.url());
        http.set_cookie("salon_access", "stale", "/");
        http.set_cookie("salon_refresh", &wrong, "/api/account");
        assert_problem(&refresh(&http).await, 401, "unauthenticated");
        assert_eq!((http.cookie("salon_access"), http.cookie("salon_refresh")), (None, None), "{wrong}");
        assert_problem(&refresh_token(&http, &wrong).await, 401, "unauthenticated");
    }
    let alice = single.user("alice").await;
    let spent = alice.http.cookie("salon_refresh").expect("a cookie");
    assert_eq!(alice.http.call("POST", "/api/account/logout").send().await.expect("an answer").status, 204);
    assert_problem(&refresh_token(&nobody, &spent).await, 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_pages_cannot_refresh() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let spent = alice.http.cookie("salon_refresh");
    let answer = alice.http.call("POST", REFRESH).origin("https://evil.example").send().await.expect("an answer");
    assert_problem(&answer, 403, "forbidden");
    let answer = alice.http.call("POST", REFRESH).header("sec-fetch-site", "cross-site").send().await;
    assert_problem(&answer.expect("an answer"), 403, "forbidden");
    assert_eq!(alice.http.cookie("salon_refresh"), spent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_used_again_after_the_grace_ends_the_login_session() {
    let single = Single::start().await;
    let alice = single.user("alice").await;
    let other = log_in(&single, &alice).await;
    let (mut ending, mut staying) = (socket(&single, &alice.http).await, socket(&single, &other).await);
    let stolen = alice.http.cookie("salon_refresh").expect("a cookie");
    assert_eq!(refresh(&alice.http).await.status, 204);
    ending.ask(json!({"type": "ping"})).await.expect("a refresh closes no socket");
    sql(&single, "UPDATE spent_refresh_tokens SET spent_at = spent_at - 30001");
    let thief = Http::new(&single.url());
    assert_problem(&refresh_token(&thief, &stolen).await, 401, "unauthenticated");
    assert_eq!(ending.closed(AT_ONCE).await.expect("closed"), Some(4501));
    assert_eq!(status(&alice.http).await, 401, "its access token is refused too");
    assert_problem(&refresh(&alice.http).await, 401, "unauthenticated");
    assert_eq!(alice.http.cookie("salon_refresh"), None);
    staying.drained().await.expect("other login sessions stay");
    assert_eq!(status(&other).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_end_with_a_login_session_that_expires() {
    let single = Single::start_with(&[("SALON_NODE__PURGE_INTERVAL_S", "1")]).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let (mut ending, mut staying) = (socket(&single, &alice.http).await, socket(&single, &bob.http).await);
    sql(&single, &format!("UPDATE login_sessions SET expires_at = seen_at WHERE user_id = {}", alice.user.id));
    assert_problem(&refresh(&alice.http).await, 401, "unauthenticated");
    assert_eq!(ending.closed(Duration::from_secs(10)).await.expect("closed"), Some(4501));
    staying.drained().await.expect("others stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_the_other_login_sessions() {
    let single = Single::shared().await;
    for slash in ["", "/"] {
        let alice = single.user("alice").await;
        let other = log_in(single, &alice).await;
        let program = tokens(single, &alice).await;
        let (mut staying, mut ending) = (socket(single, &alice.http).await, socket(single, &other).await);
        let body = json!({"current": alice.password, "new": NEW_PASSWORD});
        let answer = alice.http.post(&format!("/api/account/password{slash}"), body).await.expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.json());
        assert_eq!(ending.closed(AT_ONCE).await.expect("closed"), Some(4501));
        assert_eq!(status(&other).await, 401);
        assert_problem(&refresh(&other).await, 401, "unauthenticated");
        assert_eq!(status(&Http::bearer(&single.url(), word(&program, "access_token"))).await, 401);
        let answer = refresh_token(&Http::new(&single.url()), word(&program, "refresh_token")).await;
        assert_problem(&answer, 401, "unauthenticated");
        staying.drained().await.expect("the one that asked stays");
        assert_eq!((status(&alice.http).await, refresh(&alice.http).await.status), (200, 204));
        for (password, wanted) in [(alice.password.as_str(), 401), (NEW_PASSWORD, 200)] {
            let body = json!({"username": alice.user.username, "password": password});
            let answer = Http::new(&single.url()).post("/api/account/login", body).await.expect("an answer");
            assert_eq!(answer.status, wanted, "{password}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_may_not_be_or_is_wrong_changes_nothing() {
    let single = Single::start_with(&[("SALON_LIMITS__LOGINS_PER_MINUTE_ACCOUNT", "3")]).await;
    let alice = single.user("alice").await;
    let other = log_in(&single, &alice).await;
    let change = async |body: Value| alice.http.post("/api/account/password", body).await.expect("an answer");
    for new in ["short", "password", &alice.user.username, &"p".repeat(257)] {
        assert_invalid(&change(json!({"current": alice.password, "new": new})).await, "new");
    }
    assert_invalid(&change(json!({"current": alice.password})).await, "new");
    assert_invalid(&change(json!({"current": 7, "new": NEW_PASSWORD})).await, "current");
    for _ in 0..3 {
        let answer = change(json!({"current": "not her password", "new": NEW_PASSWORD})).await;
        assert_problem(&answer, 401, "invalid_credentials");
    }
    let answer = change(json!({"current": alice.password, "new": NEW_PASSWORD})).await;
    assert_problem(&answer, 429, "rate_limited");
    assert_eq!((status(&alice.http).await, status(&other).await), (200, 200), "nobody is logged out");
    let nobody = Http::new(&single.url());
    let body = json!({"current": alice.password, "new": NEW_PASSWORD});
    let answer = nobody.post("/api/account/password", body).await.expect("an answer");
    assert_problem(&answer, 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_sessions_are_listed_and_ended() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let other = log_in(single, &alice).await;
    let list = async |http: &Http| -> Vec<Value> {
        http.get("/api/account/sessions").await.expect("an answer").expect(200).expect("a list")
    };
    let listed = list(&alice.http).await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    for session in &listed {
        assert_eq!(keys(session), ["address", "agent", "created_at", "current", "id", "last_seen_at"]);
        assert_eq!(word(session, "address"), "127.0.0.1");
        assert!(word(session, "created_at").ends_with('Z') && word(session, "last_seen_at").ends_with('Z'));
    }
    let current = |listed: &[Value]| -> Vec<String> {
        let current = listed.iter().filter(|session| session["current"] == true);
        current.map(|session| word(session, "id").to_owned()).collect()
    };
    let hers = current(&listed);
    let others = current(&list(&other).await);
    assert_eq!((hers.len(), others.len()), (1, 1));
    assert_ne!(hers, others);

    let path = |id: &str| format!("/api/account/sessions/{id}");
    let strange = unique("session");
    for unknown in [strange.as_str(), "%00", "00000000000000000000000000000000"] {
        assert_problem(&alice.http.delete(&path(unknown)).await.expect("an answer"), 404, "not_found");
    }
    assert_problem(&bob.http.delete(&path(&others[0])).await.expect("an answer"), 404, "not_found");
    let mut ending = socket(single, &other).await;
    ending.ask(json!({"type": "ping"})).await.expect("somebody else cannot end it");
    assert_eq!(alice.http.delete(&path(&others[0])).await.expect("an answer").status, 204);
    assert_eq!(ending.closed(AT_ONCE).await.expect("closed"), Some(4501));
    assert_eq!(current(&list(&alice.http).await), hers);
    assert_eq!(list(&alice.http).await.len(), 1);
    assert_problem(&alice.http.delete(&path(&others[0])).await.expect("an answer"), 404, "not_found");
    // One's own is a log-out.
    assert_eq!(alice.http.delete(&format!("{}/", path(&hers[0]))).await.expect("an answer").status, 204);
    assert_eq!((alice.http.cookie("salon_access"), alice.http.cookie("salon_refresh")), (None, None));
    assert_eq!(bob.http.get("/api/account/sessions/").await.expect("an answer").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_set_by_the_operator_ends_every_login_session() {
    let single = Single::start().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let (mut ending, mut staying) = (socket(&single, &alice.http).await, socket(&single, &bob.http).await);
    let url = format!("sqlite:{}", single.database().display());
    let folder = single.database();
    let folder = folder.parent().expect("a folder");
    let name = alice.user.username.as_str();
    let done = salon(folder, &["user", "passwd", name], &[("SALON_DATABASE__URL", &url)], NEW_PASSWORD);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(ending.closed(Duration::from_secs(5)).await.expect("closed"), Some(4501));
    assert_eq!(status(&alice.http).await, 401);
    assert_problem(&refresh(&alice.http).await, 401, "unauthenticated");
    staying.drained().await.expect("others stay");
}
