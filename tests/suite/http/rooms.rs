//! Rooms and their members.

use salon::engine::http::escape;
use salon::engine::socket::Opening;
use salon::engine::wire::Room;
use serde_json::{Value, json};

use super::{assert_invalid, assert_problem, keys};
use crate::support::node::{Single, unique};

const ROOM_KEYS: [&str; 12] =
    ["epoch", "id", "kind", "last_read", "mentions", "name", "online", "role", "seq", "slug", "topic", "unread"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_made_read_changed_and_deleted() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    for slash in ["", "/"] {
        let name = format!("Tea & {}", unique("Talk"));
        let body = json!({"name": name, "topic": "leaves"});
        let made = alice.http.post(&format!("/api/rooms{slash}"), body.clone()).await.expect("an answer");
        let room = made.json();
        assert_eq!(made.status, 201, "{room}");
        assert_eq!(keys(&room), ROOM_KEYS);
        assert_eq!((&room["name"], &room["topic"], &room["kind"]), (&json!(name), &json!("leaves"), &json!("public")));
        assert_eq!((&room["seq"], &room["unread"], &room["role"]), (&json!(0), &json!(0), &json!("owner")));
        let slug = room["slug"].as_str().expect("a slug").to_owned();
        assert_eq!(slug, name.to_lowercase().replace(" & ", "-"));
        let other: Room = alice.http.post("/api/rooms", body).await.expect("an answer").expect(201).expect("a room");
        assert!(other.slug.starts_with(&format!("{slug}-")), "a taken slug gets a tail: {}", other.slug);

        let id = room["id"].to_string();
        for named in [slug.as_str(), &id] {
            let got = alice.http.get(&format!("/api/rooms/{named}{slash}")).await.expect("an answer");
            assert_eq!((got.status, &got.json()["id"]), (200, &room["id"]));
        }
        let change = json!({"name": "Coffee", "topic": ""});
        let changed = alice.http.patch(&format!("/api/rooms/{slug}{slash}"), change).await.expect("an answer");
        let told = changed.json();
        assert_eq!((changed.status, &told["name"], &told["slug"]), (200, &json!("Coffee"), &json!(slug)), "{told}");
        let gone = alice.http.delete(&format!("/api/rooms/{slug}{slash}")).await.expect("an answer");
        assert_eq!(gone.status, 204);
        assert_problem(&alice.http.get(&format!("/api/rooms/{slug}")).await.expect("an answer"), 404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slugs_hold_letters_of_any_script() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = alice.http.create_room(&unique("Привет"), "public").await.expect("a room");
    assert!(room.slug.starts_with("привет-"), "{}", room.slug);
    let got = alice.http.get(&format!("/api/rooms/{}", escape(&room.slug))).await.expect("an answer");
    assert_eq!(got.json()["id"], room.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rooms_name_the_field() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let make = async |body| alice.http.post("/api/rooms", body).await.expect("an answer");
    assert_invalid(&make(json!({"name": " "})).await, "name");
    assert_invalid(&make(json!({"name": "x".repeat(101)})).await, "name");
    assert_invalid(&make(json!({"name": 5})).await, "name");
    assert_invalid(&make(json!({})).await, "name");
    assert_invalid(&make(json!({"name": unique("x"), "topic": "t".repeat(251)})).await, "topic");
    assert_invalid(&make(json!({"name": unique("x"), "kind": "secret"})).await, "kind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_go_in_pages_own_rooms_first() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(alice.http.create_room(&unique("own"), "private").await.expect("a room").slug);
    }
    let foreign = bob.http.create_room(&unique("foreign"), "public").await.expect("a room").slug;
    let hidden = bob.http.create_room(&unique("hidden"), "private").await.expect("a room").slug;
    let mut listed = Vec::new();
    let mut path = Some("/api/rooms?limit=2".to_owned());
    while let Some(next) = path {
        let page = alice.http.get(&next).await.expect("an answer");
        assert_eq!(page.status, 200, "{}", page.json());
        let rooms = page.json();
        let rooms = rooms.as_array().expect("an array");
        assert!(rooms.len() <= 2);
        listed.extend(rooms.iter().map(|room| room["slug"].as_str().expect("a slug").to_owned()));
        // The target may be relative or absolute.
        path = page.link("next").map(|target| target[target.find("/api/").expect("a path")..].to_owned());
        assert!(listed.len() < 5_000, "the pages have no end");
    }
    assert_eq!(listed[..3], own, "own ones first");
    assert!(listed.contains(&foreign) && !listed.contains(&hidden));
    let distinct: std::collections::BTreeSet<&String> = listed.iter().collect();
    assert_eq!(distinct.len(), listed.len(), "no room twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    for (kind, slash) in [("public", ""), ("private", "/")] {
        let room = alice.http.create_room(&unique("members"), kind).await.expect("a room").slug;
        let place = format!("/api/rooms/{room}/members/{}{slash}", bob.user.username);
        assert_eq!(alice.http.put(&place, json!({})).await.expect("an answer").status, 204);
        let list = alice.http.get(&format!("/api/rooms/{room}/members{slash}")).await.expect("an answer");
        assert_eq!(list.status, 200);
        let told = list.json();
        let roles: Vec<(&str, &str)> = told
            .as_array()
            .expect("an array")
            .iter()
            .map(|member| (member["username"].as_str().unwrap_or(""), member["role"].as_str().unwrap_or("")))
            .collect();
        assert_eq!(roles.len(), 2, "{told}");
        assert!(roles.contains(&(alice.user.username.as_str(), "owner")), "{told}");
        assert!(roles.contains(&(bob.user.username.as_str(), "member")), "{told}");
        assert_eq!(alice.http.put(&place, json!({"role": "moderator"})).await.expect("an answer").status, 204);
        assert_eq!(bob.http.room(&room).await.expect("a room").role.as_deref(), Some("moderator"));
        assert_invalid(&alice.http.put(&place, json!({"role": "king"})).await.expect("an answer"), "role");
        assert_eq!(alice.http.delete(&place).await.expect("an answer").status, 204);
        let nobody = format!("/api/rooms/{room}/members/{}", unique("nobody"));
        assert_problem(&alice.http.put(&nobody, json!({})).await.expect("an answer"), 404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_enters_and_leaves_a_public_room_oneself() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = alice.http.create_room(&unique("open"), "public").await.expect("a room").slug;
    let me = format!("/api/rooms/{room}/members/me");
    assert_eq!(bob.http.room(&room).await.expect("it may be read").role, None);
    assert_eq!(bob.http.put(&me, json!({})).await.expect("an answer").status, 204);
    assert_eq!(bob.http.room(&room).await.expect("a room").role.as_deref(), Some("member"));
    assert_eq!(bob.http.delete(&me).await.expect("an answer").status, 204);
    assert_eq!(bob.http.room(&room).await.expect("a room").role, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_bound_what_one_may_do() {
    let single = Single::shared().await;
    let (alice, bob, cid) = (single.user("alice").await, single.user("bob").await, single.user("cid").await);
    let room = alice.http.create_room(&unique("roles"), "public").await.expect("a room").slug;
    let path = format!("/api/rooms/{room}");
    bob.http.put(&format!("{path}/members/me"), json!({})).await.expect("an answer");
    let rename = json!({"name": "Bob's"});
    assert_problem(&bob.http.patch(&path, rename.clone()).await.expect("an answer"), 403, "forbidden");
    assert_problem(&bob.http.delete(&path).await.expect("an answer"), 403, "forbidden");
    let himself = format!("{path}/members/{}", bob.user.username);
    let king = json!({"role": "owner"});
    assert_problem(&bob.http.put(&himself, king.clone()).await.expect("an answer"), 403, "forbidden");
    let owner = format!("{path}/members/{}", alice.user.username);
    assert_problem(&bob.http.delete(&owner).await.expect("an answer"), 403, "forbidden");
    let promoted = alice.http.put(&himself, json!({"role": "moderator"})).await.expect("an answer");
    assert_eq!(promoted.status, 204);
    assert_eq!(bob.http.patch(&path, rename).await.expect("an answer").status, 200, "a moderator may rename");
    assert_problem(&bob.http.delete(&path).await.expect("an answer"), 403, "forbidden");
    assert_problem(&bob.http.put(&himself, king).await.expect("an answer"), 403, "forbidden");
    assert_problem(&cid.http.patch(&path, json!({"name": "Cid's"})).await.expect("an answer"), 403, "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_online_list_counts_people_not_sockets() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = alice.http.create_room(&unique("online"), "public").await.expect("a room").slug;
    let mut sockets = Vec::new();
    for account in [&alice, &bob, &alice] {
        let mut socket = Opening::new(&single.url()).cookies(&account.http).welcomed().await.expect("a socket");
        socket.join(&room).await.expect("an answer");
        sockets.push(socket);
    }
    for slash in ["", "/"] {
        let told: Value = alice.http.get(&format!("/api/rooms/{room}/users{slash}")).await.expect("one").json();
        assert_eq!(keys(&told), ["user_count", "users"]);
        assert_eq!(told["user_count"], 2, "{told}");
        let mut users: Vec<&str> =
            told["users"].as_array().expect("an array").iter().filter_map(Value::as_str).collect();
        users.sort_unstable();
        assert_eq!(users, [alice.user.username.as_str(), bob.user.username.as_str()]);
    }
    assert_eq!(alice.http.room(&room).await.expect("a room").online, 2);
}
