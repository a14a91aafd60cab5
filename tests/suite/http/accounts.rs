//! Register, log in, tokens, log out.

use salon::engine::http::{Account, Http};
use salon::engine::socket::Opening;
use serde_json::json;

use super::{assert_invalid, assert_problem, keys};
use crate::support::node::{Single, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registering_logs_in_by_cookies() {
    let single = Single::shared().await;
    for slash in ["", "/"] {
        let http = Http::new(&single.url());
        let name = unique("alice");
        let body = json!({"username": name, "password": "correct horse battery"});
        let answer = http.post(&format!("/api/account/register{slash}"), body.clone()).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.json());
        let user = &answer.json()["user"];
        assert_eq!(keys(user), ["id", "role", "username"]);
        assert_eq!((&user["username"], &user["role"]), (&json!(name), &json!("user")));
        let cookies: Vec<&str> =
            answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()).collect();
        for (cookie, path) in [("salon_access=", "Path=/;"), ("salon_refresh=", "Path=/api/account")] {
            let set = cookies.iter().find(|set| set.starts_with(cookie)).unwrap_or_else(|| panic!("{cookies:?}"));
            let parts: Vec<String> = set.split(';').map(|part| part.trim().to_lowercase()).collect();
            assert!(parts.contains(&"httponly".into()) && parts.contains(&"samesite=strict".into()), "{set}");
            assert!(!parts.contains(&"secure".into()), "plain http must not say Secure: {set}");
            assert!(parts.contains(&path.trim_end_matches(';').to_lowercase()), "{set}");
        }
        let me = http.get(&format!("/api/account{slash}")).await.expect("an answer");
        assert_eq!((me.status, &me.json()["user"]), (200, user));
        let again = Http::new(&single.url()).post("/api/account/register", body).await.expect("an answer");
        assert_problem(&again, 409, "conflict");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_unique_without_regard_to_case_and_form() {
    let single = Single::shared().await;
    let name = unique("casey");
    Account::register(&single.url(), &name).await.expect("the first");
    let http = Http::new(&single.url());
    for same in [name.to_uppercase(), name.replace('c', "ｃ")] {
        let body = json!({"username": same, "password": "correct horse battery"});
        assert_problem(&http.post("/api/account/register", body).await.expect("an answer"), 409, "conflict");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_looks_like_another_cannot_be_had_and_does_not_stand_for_it() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let name = &alice.user.username;
    let room = alice.http.create_room(&unique("look"), "private").await.expect("a room").slug;
    let http = Http::new(&single.url());
    for twin in [name.replace('a', "\u{430}"), name.replace(['i', 'l'], "I"), name.replace('o', "\u{3bf}")] {
        if twin == *name {
            continue;
        }
        let body = json!({"username": twin, "password": "correct horse battery"});
        assert_problem(&http.post("/api/account/register", body).await.expect("an answer"), 409, "conflict");
        let body = json!({"username": twin, "password": alice.password});
        assert_problem(&http.post("/api/account/login", body).await.expect("an answer"), 401, "invalid_credentials");
        let path = format!("/api/rooms/{room}/members/{}", salon::engine::http::escape(&twin));
        assert_problem(&alice.http.put(&path, json!({})).await.expect("an answer"), 404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_registrations_name_the_field() {
    let single = Single::shared().await;
    let http = Http::new(&single.url());
    let register = async |body| http.post("/api/account/register", body).await.expect("an answer");
    let long = "a".repeat(33);
    for name in ["", "a b", "a\u{0}b", &long, "admin", "System", "\u{430}dmin", "r00t"] {
        assert_invalid(&register(json!({"username": name, "password": "correct horse battery"})).await, "username");
    }
    let endless = "p".repeat(257);
    for password in ["short", "password", "12345678", &endless] {
        assert_invalid(&register(json!({"username": unique("bob"), "password": password})).await, "password");
    }
    assert_invalid(&register(json!({"username": 7, "password": "correct horse battery"})).await, "username");
    assert_invalid(&register(json!({"username": unique("bob")})).await, "password");
    let broken = http.call("POST", "/api/account/register").header("content-type", "application/json").body("{");
    assert_problem(&broken.send().await.expect("an answer"), 400, "malformed");
    let text = http.call("POST", "/api/account/register").header("content-type", "text/plain").body("{}");
    assert_problem(&text.send().await.expect("an answer"), 415, "unsupported_media_type");
    let large = json!({"username": "bob", "password": "x".repeat(70_000)});
    assert_problem(&register(large).await, 413, "too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_name_and_wrong_password_answer_alike() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    for path in ["/api/account/login", "/api/account/token"] {
        let http = Http::new(&single.url());
        let wrong = json!({"username": alice.user.username, "password": "not her password"});
        let nobody = json!({"username": unique("nobody"), "password": "not her password"});
        let wrong = http.post(path, wrong).await.expect("an answer");
        let nobody = http.post(path, nobody).await.expect("an answer");
        assert_problem(&wrong, 401, "invalid_credentials");
        assert_eq!(wrong.json(), nobody.json());
        assert_eq!(http.cookie("salon_access"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_in_and_out() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    for slash in ["", "/"] {
        let http = Http::new(&single.url());
        let body = json!({"username": alice.user.username, "password": alice.password});
        let answer = http.post(&format!("/api/account/login{slash}"), body).await.expect("an answer");
        assert_eq!((answer.status, &answer.json()["user"]["id"]), (200, &json!(alice.user.id)));
        let token = http.cookie("salon_access").expect("a cookie");
        assert_eq!(http.get("/api/account").await.expect("an answer").status, 200);
        let out = http.call("POST", &format!("/api/account/logout{slash}")).send().await.expect("an answer");
        assert_eq!(out.status, 204);
        assert_eq!(http.cookie("salon_access"), None, "the cookies are taken back");
        // The token itself is dead too.
        let stolen = Http::new(&single.url());
        stolen.set_cookie("salon_access", &token, "/");
        assert_problem(&stolen.get("/api/account").await.expect("an answer"), 401, "unauthenticated");
    }
    assert_eq!(alice.http.get("/api/account").await.expect("an answer").status, 200, "other login sessions stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_for_programs() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    for slash in ["", "/"] {
        let http = Http::new(&single.url());
        let body = json!({"username": alice.user.username, "password": alice.password});
        let answer = http.post(&format!("/api/account/token{slash}"), body).await.expect("an answer");
        let told = answer.json();
        assert_eq!(answer.status, 200, "{told}");
        assert_eq!(keys(&told), ["access_token", "expires_in", "refresh_token", "token_type", "user"]);
        assert_eq!((&told["token_type"], &told["user"]["id"]), (&json!("Bearer"), &json!(alice.user.id)));
        assert!(told["expires_in"].as_u64().is_some_and(|seconds| (800..=900).contains(&seconds)), "{told}");
        assert!(answer.header("set-cookie").is_none(), "no cookies for programs");
        let bearer = Http::bearer(&single.url(), told["access_token"].as_str().expect("a token"));
        assert_eq!(bearer.get("/api/account").await.expect("an answer").json()["user"], told["user"]);
    }
    let forged = Http::bearer(&single.url(), "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.");
    assert_problem(&forged.get("/api/account").await.expect("an answer"), 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_log_in_nothing_answers_but_the_doors() {
    let single = Single::shared().await;
    let http = Http::new(&single.url());
    for path in ["/api/account", "/api/rooms", "/api/rooms/general", "/api/rooms/general/messages"] {
        assert_problem(&http.get(path).await.expect("an answer"), 401, "unauthenticated");
    }
    let answer = http.post("/api/rooms", json!({"name": "x"})).await.expect("an answer");
    assert_problem(&answer, 401, "unauthenticated");
    assert_eq!(Opening::new(&single.url()).open().await.expect_err("refused").status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_pages_cannot_act_for_a_user() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = json!({"name": unique("forged")});
    let post = || alice.http.call("POST", "/api/rooms").json(&room);
    for origin in ["https://evil.example", "null", &format!("{}.evil.example", single.url())] {
        assert_problem(&post().origin(origin).send().await.expect("an answer"), 403, "forbidden");
    }
    let silent = post().header("sec-fetch-site", "cross-site").send().await.expect("an answer");
    assert_problem(&silent, 403, "forbidden");
    let own = post().origin(&single.url()).send().await.expect("an answer");
    assert_eq!(own.status, 201, "{}", own.json());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_paths_and_methods_are_problems_too() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    assert_problem(&alice.http.get("/api/nothing").await.expect("an answer"), 404, "not_found");
    assert_problem(&alice.http.delete("/api/account/register").await.expect("an answer"), 405, "method_not_allowed");
}
