//! What is for administrators of the site: each call, for them and for everybody else.

use std::time::Duration;

use salon::engine::http::{Account, Answer, Http, escape};
use salon::engine::socket::Opening;
use salon::http::documents::openapi;
use serde_json::{Value, json};

use super::login_sessions::sql;
use super::{assert_invalid, assert_problem, keys};
use crate::support::node::{Single, unique};
use crate::websocket::lifetimes::{ISSUER, claims, sign};

/// Far within what a hint takes.
const AT_ONCE: Duration = Duration::from_secs(3);

const CALLS: [&str; 6] = [
    "GET /api/admin/users",
    "PATCH /api/admin/users/{username}",
    "GET /api/admin/rooms",
    "DELETE /api/admin/rooms/{room}",
    "DELETE /api/admin/rooms/{room}/messages/{id}",
    "GET /api/admin/nodes",
];

async fn administrator(single: &Single) -> Account {
    let root = single.user("root").await;
    sql(single, &format!("UPDATE users SET role = 'admin' WHERE username = '{}'", root.user.username));
    root
}

async fn get(http: &Http, path: &str) -> Answer {
    http.get(path).await.expect("an answer")
}

async fn delete(http: &Http, path: &str) -> Answer {
    http.delete(path).await.expect("an answer")
}

async fn change(by: &Http, name: &str, body: Value) -> Answer {
    by.patch(&format!("/api/admin/users/{}", escape(name)), body).await.expect("an answer")
}

/// One user as administrators see them.
async fn seen(by: &Http, name: &str) -> Value {
    let listed: Vec<Value> = get(by, &format!("/api/admin/users?q={}", escape(name))).await.expect(200).expect("users");
    listed.into_iter().find(|user| user["username"] == name).unwrap_or_else(|| panic!("{name} is not listed"))
}

/// A call with everything filled in; `Null` where it takes no body.
fn filled(call: &str, name: &str, room: &str) -> (String, String, Value) {
    let (method, path) = call.split_once(' ').expect("a method and a path");
    let path = path.replace("{username}", &escape(name)).replace("{room}", room).replace("{id}", "1");
    let body = if method == "PATCH" { json!({"disabled": true, "role": "admin"}) } else { Value::Null };
    (method.to_owned(), path, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_everybody_elses_403() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let (alice, mallory) = (single.user("alice").await, single.user("mallory").await);
    let room = alice.http.create_room(&unique("room"), "public").await.expect("a room").slug;
    let said = alice.http.post(&format!("/api/rooms/{room}/messages"), json!({"content": "hi"})).await.expect("one");
    assert_eq!((said.status, &said.json()["id"]), (201, &json!(1)));
    // An owner of the room and a user of an issuer's are no administrators either, and nor is one who is disabled.
    let foreign = Http::bearer(&single.url(), &sign(&claims(&unique("eve"), 600)));
    let disabled = administrator(&single).await;
    sql(&single, &format!("UPDATE users SET disabled = 1 WHERE username = '{}'", disabled.user.username));
    let (nobody, liar) = (Http::new(&single.url()), Http::bearer(&single.url(), "e30.e30.e30"));

    let mut described: Vec<String> = Vec::new();
    for (path, item) in openapi()["paths"].as_object().expect("paths") {
        let methods = item.as_object().expect("operations").keys();
        described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    described.retain(|call| call.contains(" /api/admin"));
    let mut known = CALLS.map(str::to_owned);
    described.sort();
    known.sort();
    assert_eq!(described, known);

    for call in CALLS {
        let (method, path, body) = filled(call, &alice.user.username, &room);
        for slash in ["", "/"] {
            for (http, status, code) in [
                (&nobody, 401, "unauthenticated"),
                (&liar, 401, "unauthenticated"),
                (&mallory.http, 403, "forbidden"),
                (&alice.http, 403, "forbidden"),
                (&foreign, 403, "forbidden"),
                (&disabled.http, 403, "forbidden"),
            ] {
                for body in [&body, &json!("no object"), &Value::Null] {
                    let mut request = http.call(&method, &format!("{path}{slash}"));
                    if !body.is_null() {
                        request = request.json(body);
                    }
                    assert_problem(&request.send().await.expect("an answer"), status, code);
                }
            }
        }
        // What is not there is not told from what is.
        let (method, path, body) = filled(call, "nobody-at-all", "no-such-room");
        let answer = mallory.http.call(&method, &path).json(&body).send().await.expect("an answer");
        assert_problem(&answer, 403, "forbidden");
    }
    assert_eq!(alice.http.room(&room).await.expect("it is there still").seq, 1, "and nothing was done");
    assert_eq!(get(&alice.http, "/api/account").await.json()["user"]["role"], "user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_listed_and_searched_in_pages() {
    let single = Single::shared().await;
    let root = administrator(single).await;
    let group = unique("Group");
    let mut names = Vec::new();
    for number in 1..=3 {
        let account = Account::register(&single.url(), &format!("{group}-{number}")).await.expect("registration");
        names.push(account.user.username);
    }
    let q = escape(&group.to_uppercase());
    let whole = get(&root.http, &format!("/api/admin/users/?q={q}")).await;
    let listed: Vec<Value> = whole.expect(200).expect("users");
    let told: Vec<&str> = listed.iter().filter_map(|user| user["username"].as_str()).collect();
    names.reverse();
    assert_eq!((told, whole.link("next")), (names.iter().map(String::as_str).collect(), None), "newest first");
    assert_eq!(keys(&listed[0]), ["created_at", "disabled", "id", "last_seen_at", "role", "username"]);
    assert_eq!((&listed[0]["role"], &listed[0]["disabled"]), (&json!("user"), &json!(false)));
    assert!(listed[0]["last_seen_at"].as_str() >= listed[0]["created_at"].as_str(), "{}", listed[0]);

    let mut path = format!("/api/admin/users?q={q}&limit=2");
    let mut paged = Vec::new();
    for expected in [2, 1] {
        let page = get(&root.http, &path).await;
        let users: Vec<Value> = page.expect(200).expect("users");
        assert_eq!(users.len(), expected);
        paged.extend(users);
        path = page.link("next").unwrap_or_default();
    }
    assert_eq!((paged, path), (listed, String::new()));
    let all: Vec<Value> = get(&root.http, "/api/admin/users").await.expect(200).expect("users");
    assert!((3..=100).contains(&all.len()), "{}", all.len());
    assert_eq!(get(&root.http, "/api/admin/users?q=%25%27%00").await.status, 422);
    assert_eq!(get(&root.http, "/api/admin/users?q=%25%27").await.json(), json!([]), "nothing in it is a pattern");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_values_name_the_field() {
    let single = Single::shared().await;
    let (root, alice) = (administrator(single).await, single.user("alice").await);
    for list in ["users", "rooms"] {
        let path = format!("/api/admin/{list}");
        assert_invalid(&get(&root.http, &format!("{path}?limit=0")).await, "limit");
        assert_invalid(&get(&root.http, &format!("{path}?q={}", "x".repeat(101))).await, "q");
        assert_eq!(get(&root.http, &format!("{path}?q={}&limit=9999", "x".repeat(100))).await.status, 200);
        assert_eq!(get(&root.http, &format!("{path}?cursor=nonsense")).await.status, 200);
    }
    let name = &alice.user.username;
    assert_invalid(&change(&root.http, name, json!({"disabled": "yes"})).await, "disabled");
    assert_invalid(&change(&root.http, name, json!({"role": "owner"})).await, "role");
    assert_problem(&change(&root.http, name, json!("x")).await, 400, "malformed");
    assert_problem(&change(&root.http, &unique("nobody"), json!({"disabled": true})).await, 404, "not_found");
    assert_problem(&change(&root.http, "no name", json!({"disabled": true})).await, 404, "not_found");
    let unchanged = change(&root.http, name, json!({})).await;
    assert_eq!((unchanged.status, &unchanged.json()["disabled"]), (200, &json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_disabled_is_logged_out_until_they_are_enabled() {
    let single = Single::shared().await;
    let (root, alice) = (administrator(single).await, single.user("alice").await);
    let (name, password) = (&alice.user.username, &alice.password);
    let by_token = alice.token().await.expect("another login session");
    let mut sockets = [
        Opening::new(&single.url()).cookies(&alice.http).welcomed().await.expect("a socket"),
        Opening::new(&single.url()).bearer(&by_token).welcomed().await.expect("a socket"),
    ];
    let answer = change(&root.http, &name.to_uppercase(), json!({"disabled": true})).await;
    assert_eq!((answer.status, &answer.json()["disabled"]), (200, &json!(true)), "{}", answer.json());
    for socket in &mut sockets {
        assert_eq!(socket.closed(AT_ONCE).await.expect("closed"), Some(4503));
    }
    // On the node that was asked it is so when it is answered.
    assert_problem(&get(&alice.http, "/api/account").await, 401, "unauthenticated");
    assert_problem(&get(&Http::bearer(&single.url(), &by_token), "/api/account").await, 401, "unauthenticated");
    let http = Http::new(&single.url());
    let credentials = json!({"username": name, "password": password});
    let refused = http.post("/api/account/login", credentials.clone()).await.expect("an answer");
    assert_problem(&refused, 401, "unauthenticated");
    let spent = alice.http.call("POST", "/api/account/refresh").send().await.expect("an answer");
    assert_problem(&spent, 401, "unauthenticated");
    assert_eq!(seen(&root.http, name).await["last_seen_at"], Value::Null, "no login session is left");
    assert_eq!(change(&root.http, name, json!({"disabled": true})).await.status, 200, "it is so already");

    assert_eq!(change(&root.http, name, json!({"disabled": false})).await.json()["disabled"], false);
    assert_eq!(http.post("/api/account/login", credentials).await.expect("an answer").status, 200);
    let mut socket = Opening::new(&single.url()).cookies(&http).welcomed().await.expect("a socket");
    socket.drained().await.expect("it stays");
    assert_problem(&get(&alice.http, "/api/account").await, 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_an_issuers_is_disabled_too() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let root = administrator(&single).await;
    let name = unique("eve");
    let eve = Http::bearer(&single.url(), &sign(&claims(&name, 600)));
    assert_eq!(get(&eve, "/api/account").await.status, 200);
    let mut socket = Opening::new(&single.url()).bearer(&sign(&claims(&name, 600))).welcomed().await.expect("a socket");
    let user = seen(&root.http, &name).await;
    assert_eq!((&user["issuer"], &user["last_seen_at"]), (&json!("tests"), &Value::Null));
    assert_eq!(change(&root.http, &name, json!({"disabled": true})).await.status, 200);
    assert_eq!(socket.closed(AT_ONCE).await.expect("closed"), Some(4503));
    assert_problem(&get(&eve, "/api/account").await, 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_disables_or_demotes_themselves() {
    let single = Single::shared().await;
    let root = administrator(single).await;
    for name in [root.user.username.as_str(), "me"] {
        for body in [json!({"disabled": true}), json!({"role": "user"}), json!({"role": "user", "disabled": false})] {
            assert_problem(&change(&root.http, name, body).await, 409, "conflict");
        }
        let same = change(&root.http, name, json!({"role": "admin", "disabled": false})).await;
        assert_eq!((same.status, &same.json()["role"]), (200, &json!("admin")));
    }
    let user = seen(&root.http, &root.user.username).await;
    assert_eq!((&user["role"], &user["disabled"]), (&json!("admin"), &json!(false)));
}

/// Whatever their tokens say, who were made when the role was another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_given_or_taken_away_counts_at_once() {
    let single = Single::shared().await;
    let (root, alice, bob) = (administrator(single).await, single.user("alice").await, single.user("bob").await);
    let (name, room) = (&alice.user.username, bob.http.create_room(&unique("bobs"), "public").await.expect("one").slug);
    let rename = json!({"name": "Alice was here"});
    let path = format!("/api/rooms/{room}");
    assert_problem(&alice.http.patch(&path, rename.clone()).await.expect("an answer"), 403, "forbidden");
    assert_eq!(change(&root.http, name, json!({"role": "admin"})).await.json()["role"], "admin");
    assert_eq!(get(&alice.http, "/api/admin/users").await.status, 200);
    assert_eq!(alice.http.patch(&path, rename.clone()).await.expect("an answer").status, 200);

    let token = Http::bearer(&single.url(), &alice.token().await.expect("a token that says so"));
    assert_eq!(get(&token, "/api/account").await.json()["user"]["role"], "admin");
    assert_eq!(change(&root.http, name, json!({"role": "user"})).await.json()["role"], "user");
    for http in [&token, &alice.http] {
        assert_problem(&get(http, "/api/admin/users").await, 403, "forbidden");
        assert_problem(&http.patch(&path, rename.clone()).await.expect("an answer"), 403, "forbidden");
        let ban = format!("{path}/bans/{}", bob.user.username);
        assert_problem(&http.put(&ban, json!({})).await.expect("an answer"), 403, "forbidden");
        assert_problem(&change(http, name, json!({"role": "admin"})).await, 403, "forbidden");
    }
    assert_eq!(get(&token, "/api/account").await.status, 200, "they stay logged in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_room_is_seen_and_deleted_but_a_direct_one() {
    const SECRET: &str = "what nobody else may read";
    let single = Single::shared().await;
    let (root, alice, bob) = (administrator(single).await, single.user("alice").await, single.user("bob").await);
    let name = unique("Hidden");
    let private = alice.http.create_room(&name, "private").await.expect("a room");
    let direct = json!({"kind": "direct", "username": bob.user.username});
    let direct = alice.http.post("/api/rooms", direct).await.expect("an answer").json();
    let direct = direct["slug"].as_str().expect("a slug");
    for room in [private.slug.as_str(), direct] {
        let said = alice.http.post(&format!("/api/rooms/{room}/messages"), json!({"content": SECRET})).await;
        assert_eq!(said.expect("an answer").status, 201);
        assert_problem(&get(&root.http, &format!("/api/rooms/{room}")).await, 404, "not_found");
    }
    let listed = get(&root.http, &format!("/api/admin/rooms?q={}", escape(&name.to_uppercase()))).await;
    let rooms: Vec<Value> = listed.expect(200).expect("rooms");
    let told = &rooms[0];
    let known = ["changed_at", "created_at", "id", "kind", "members", "name", "seq", "slug", "topic"];
    assert_eq!((rooms.len(), keys(told)), (1, known.to_vec()));
    assert_eq!((&told["slug"], &told["kind"]), (&json!(private.slug), &json!("private")));
    assert_eq!((&told["seq"], &told["members"]), (&json!(1), &json!(1)));
    let all = get(&root.http, "/api/admin/rooms/?limit=1000").await;
    let rooms: Vec<Value> = all.expect(200).expect("rooms");
    let of_two = rooms.iter().find(|room| room["slug"] == direct).expect("the direct room is listed");
    assert_eq!(of_two["between"], json!([alice.user.username, bob.user.username]));
    assert!(!String::from_utf8_lossy(&all.body).contains(SECRET));

    assert_problem(&delete(&root.http, &format!("/api/admin/rooms/{direct}")).await, 403, "forbidden");
    assert_eq!(get(&bob.http, &format!("/api/rooms/{direct}")).await.status, 200);
    let mut socket = Opening::new(&single.url()).cookies(&alice.http).welcomed().await.expect("a socket");
    assert_eq!(socket.join(&private.slug).await.expect("an answer")["type"], "joined");
    let path = format!("/api/admin/rooms/{}", private.id);
    let gone = delete(&root.http, &path).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0), "{}", gone.json());
    let removed = socket.expect("removed").await.expect("told");
    assert_eq!((&removed["room"], &removed["reason"]), (&json!(private.slug), &json!("room_deleted")));
    assert_problem(&get(&alice.http, &format!("/api/rooms/{}", private.slug)).await, 404, "not_found");
    assert_problem(&delete(&root.http, &path).await, 404, "not_found");
    assert_problem(&delete(&root.http, &format!("/api/admin/rooms/{}", private.slug)).await, 404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_message_is_deleted_by_room_and_id() {
    let single = Single::shared().await;
    let (root, alice, bob) = (administrator(single).await, single.user("alice").await, single.user("bob").await);
    let private = alice.http.create_room(&unique("Hidden"), "private").await.expect("a room").slug;
    let direct = json!({"kind": "direct", "username": bob.user.username});
    let direct = alice.http.post("/api/rooms", direct).await.expect("an answer").json();
    for room in [private.as_str(), direct["slug"].as_str().expect("a slug")] {
        let body = json!({"content": "to be deleted"});
        let said = alice.http.post(&format!("/api/rooms/{room}/messages"), body).await.expect("an answer").json();
        let mut socket = Opening::new(&single.url()).cookies(&alice.http).welcomed().await.expect("a socket");
        assert_eq!(socket.join(room).await.expect("an answer")["type"], "joined");
        let path = format!("/api/admin/rooms/{room}/messages/{}", said["id"]);
        let deleted = delete(&root.http, &path).await;
        let told = deleted.json();
        assert_eq!((deleted.status, &told["type"], &told["content"]), (200, &json!("message_deleted"), &json!("")));
        assert_eq!((&told["author"], &told["id"]), (&json!(alice.user.username), &said["id"]));
        assert_eq!(socket.expect("message_deleted").await.expect("told live"), told);
        assert_eq!(delete(&root.http, &path).await.json(), told, "it is so already");
        assert_problem(&get(&root.http, &format!("/api/rooms/{room}/messages")).await, 404, "not_found");
        for id in ["99", "0", "x", "9223372036854775808"] {
            let path = format!("/api/admin/rooms/{room}/messages/{id}");
            assert_problem(&delete(&root.http, &path).await, 404, "not_found");
        }
    }
    assert_problem(&delete(&root.http, "/api/admin/rooms/no-such-room/messages/1").await, 404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_shown_with_its_sockets() {
    let single = Single::start().await;
    let root = administrator(&single).await;
    let _socket = Opening::new(&single.url()).cookies(&root.http).welcomed().await.expect("a socket");
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    let node = loop {
        let nodes: Vec<Value> = get(&root.http, "/api/admin/nodes").await.expect(200).expect("nodes");
        assert_eq!(nodes.len(), 1);
        if nodes[0]["sockets"] == 1 {
            break nodes[0].clone();
        }
        assert!(std::time::Instant::now() < deadline, "{nodes:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let known = ["broker_up", "incarnation", "lag_ms", "name", "seen_at", "sockets", "started_at", "state", "version"];
    assert_eq!(keys(&node), known);
    assert_eq!((&node["name"], &node["state"], &node["broker_up"]), (&json!("single"), &json!("up"), &json!(true)));
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    assert!(node["lag_ms"].as_u64().is_some_and(|lag| lag < 15_000), "{node}");
}

/// Neither who was looked for nor what was deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_name_no_user_and_no_room() {
    let single = Single::start().await;
    let (root, alice) = (administrator(&single).await, single.user("alice").await);
    let room = alice.http.create_room(&unique("room"), "private").await.expect("a room").slug;
    for call in CALLS {
        let (method, path, _) = filled(call, &alice.user.username, &room);
        let body = json!({"disabled": true});
        let answer = root.http.call(&method, &path).json(&body).send().await.expect("an answer");
        assert!(answer.status < 500, "{call}: {}", answer.json());
    }
    let metrics = single.node.metrics().await;
    for call in CALLS {
        let (method, route) = call.split_once(' ').expect("a method and a path");
        let line = metrics.lines().find(|line| line.contains(&format!("route=\"{route}\"")) && line.contains(method));
        assert!(line.is_some(), "{call} is not counted");
    }
    assert!(!metrics.contains(&room) && !metrics.contains(&alice.user.username), "{metrics}");
}
