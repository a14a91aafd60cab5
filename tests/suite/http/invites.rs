//! Invitations into private rooms, and direct rooms.

use salon::engine::http::{Account, Answer};
use salon::engine::socket::Opening;
use serde_json::{Value, json};

use super::{assert_invalid, assert_problem, keys};
use crate::support::node::{Single, unique};

async fn invite(by: &Account, room: &str, terms: Value) -> Value {
    let answer = by.http.post(&format!("/api/rooms/{room}/invites"), terms).await.expect("an answer");
    answer.expect(201).expect("an invitation")
}

async fn redeem(who: &Account, code: &Value) -> Answer {
    let path = format!("/api/invites/{}", code.as_str().expect("a code"));
    who.http.call("POST", &path).send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_lets_into_a_private_room() {
    let single = Single::shared().await;
    let (alice, bob, carol) = (single.user("alice").await, single.user("bob").await, single.user("carol").await);
    let room = alice.http.create_room(&unique("secret"), "private").await.expect("a room");
    let made = alice.http.call("POST", &format!("/api/rooms/{}/invites/", room.slug)).send().await.expect("an answer");
    assert_eq!(made.status, 201, "no body is needed: {}", made.json());
    let made = invite(&alice, &room.slug, json!({"uses": 1, "expires_in": 60})).await;
    assert_eq!(keys(&made), ["code", "expires_at", "id", "url", "uses_left"]);
    let code = made["code"].as_str().expect("a code");
    // 128 bits in base64.
    assert_eq!((code.len(), &made["uses_left"]), (22, &json!(1)));
    assert_eq!(made["url"], format!("{}/#invite={code}", single.url()));

    let entered = redeem(&bob, &made["code"]).await;
    let told = entered.json();
    assert_eq!((entered.status, &told["slug"], &told["role"]), (200, &json!(room.slug), &json!("member")), "{told}");
    assert_eq!(redeem(&bob, &made["code"]).await.status, 200, "who is in is let in again");
    assert_problem(&redeem(&carol, &made["code"]).await, 404, "not_found");
    let open = invite(&alice, &room.slug, json!({})).await;
    for who in [&alice, &bob, &carol] {
        assert_eq!(redeem(who, &open["code"]).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_with_a_code_is_told_alike() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = alice.http.create_room(&unique("secret"), "private").await.expect("a room").slug;
    let mut answers = Vec::new();
    for code in ["AAAAAAAAAAAAAAAAAAAAAA", "x", "me", "%F0%9F%98%80"] {
        answers.push(redeem(&bob, &json!(code)).await);
    }
    let banned = invite(&alice, &room, json!({})).await;
    let ban = format!("/api/rooms/{room}/bans/{}", bob.user.username);
    assert_eq!(alice.http.put(&ban, json!({})).await.expect("an answer").status, 204);
    answers.push(redeem(&bob, &banned["code"]).await);
    assert_eq!(alice.http.delete(&ban).await.expect("an answer").status, 204);
    let withdrawn = invite(&alice, &room, json!({})).await;
    let path = format!("/api/rooms/{room}/invites/{}", withdrawn["id"].as_str().expect("an id"));
    assert_eq!(alice.http.delete(&path).await.expect("an answer").status, 204);
    assert_problem(&alice.http.delete(&path).await.expect("an answer"), 404, "not_found");
    answers.push(redeem(&bob, &withdrawn["code"]).await);
    assert_eq!(alice.http.delete(&format!("/api/rooms/{room}")).await.expect("an answer").status, 204);
    answers.push(redeem(&bob, &banned["code"]).await);
    for answer in &answers {
        assert_problem(answer, 404, "not_found");
        assert_eq!(answer.body, answers[0].body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_and_moderators_invite_and_nobody_else() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = alice.http.create_room(&unique("secret"), "private").await.expect("a room").slug;
    let path = format!("/api/rooms/{room}/invites");
    let member = format!("/api/rooms/{room}/members/{}", bob.user.username);
    assert_problem(&bob.http.post(&path, json!({})).await.expect("an answer"), 404, "not_found");
    alice.http.put(&member, json!({})).await.expect("an answer");
    assert_problem(&bob.http.post(&path, json!({})).await.expect("an answer"), 403, "forbidden");
    assert_problem(&bob.http.get(&path).await.expect("an answer"), 403, "forbidden");
    alice.http.put(&member, json!({"role": "moderator"})).await.expect("an answer");
    let made = invite(&bob, &room, json!({"uses": 5})).await;

    let listed: Vec<Value> = alice.http.get(&path).await.expect("an answer").expect(200).expect("a list");
    assert_eq!(keys(&listed[0]), ["by", "created_at", "expires_at", "id", "uses_left"]);
    assert_eq!((&listed[0]["id"], &listed[0]["by"]), (&made["id"], &json!(bob.user.username)));
    assert!(!listed[0].to_string().contains(made["code"].as_str().expect("a code")), "the code is told once");
    // Who may invite no more leaves no door open.
    alice.http.put(&member, json!({"role": "member"})).await.expect("an answer");
    assert_problem(&redeem(&single.user("carol").await, &made["code"]).await, 404, "not_found");

    for terms in [json!({"uses": 0}), json!({"uses": 10_001}), json!({"uses": "1"}), json!({"uses": 1.5})] {
        assert_invalid(&alice.http.post(&path, terms).await.expect("an answer"), "uses");
    }
    for terms in [json!({"expires_in": 0}), json!({"expires_in": 2_592_001}), json!({"expires_in": -1})] {
        assert_invalid(&alice.http.post(&path, terms).await.expect("an answer"), "expires_in");
    }
    for _ in 0..100 {
        invite(&alice, &room, json!({})).await;
    }
    assert_problem(&alice.http.post(&path, json!({})).await.expect("an answer"), 409, "conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_have_one_direct_room() {
    let single = Single::shared().await;
    let (alice, bob, carol) = (single.user("alice").await, single.user("bob").await, single.user("carol").await);
    let with = |name: &str| json!({"kind": "direct", "username": name});
    let ask = async |who: &Account, body: Value| who.http.post("/api/rooms", body).await.expect("an answer");
    let made = ask(&alice, with(&bob.user.username)).await;
    let room = made.json();
    assert_eq!(
        (made.status, &room["kind"], &room["name"]),
        (201, &json!("direct"), &json!(bob.user.username)),
        "{room}"
    );
    assert_eq!((&room["role"], &room["seq"]), (&json!("member"), &json!(0)));
    let slug = room["slug"].as_str().expect("a slug");
    assert!(![&alice, &bob].iter().any(|who| slug.contains(&who.user.username)), "{slug} tells who is in it");
    for (who, other) in [(&bob, &alice), (&alice, &bob)] {
        let again = ask(who, with(&other.user.username.to_uppercase())).await;
        let told = again.json();
        assert_eq!((again.status, &told["id"], &told["name"]), (200, &room["id"], &json!(other.user.username)));
        assert_eq!(who.http.room(slug).await.expect("theirs").name, other.user.username);
    }
    assert_invalid(&ask(&alice, with(&alice.user.username)).await, "username");
    assert_invalid(&ask(&alice, json!({"kind": "direct"})).await, "username");
    for nobody in [unique("nobody"), "no name!".to_owned()] {
        assert_problem(&ask(&alice, with(&nobody)).await, 404, "not_found");
    }
    let disabled = single.user("disabled").await;
    assert!(single.command(&["user", "disable", &disabled.user.username]).status.success());
    assert_problem(&ask(&alice, with(&disabled.user.username)).await, 404, "not_found");

    // It stays as it is.
    let path = format!("/api/rooms/{slug}");
    let other = format!("members/{}", bob.user.username);
    let third = format!("members/{}", carol.user.username);
    let ban = format!("bans/{}", bob.user.username);
    let mute = format!("mutes/{}", bob.user.username);
    for (method, part) in [
        ("PATCH", ""),
        ("DELETE", ""),
        ("DELETE", "members/me"),
        ("DELETE", &other),
        ("PUT", &other),
        ("PUT", &third),
        ("PUT", &ban),
        ("DELETE", &ban),
        ("GET", "bans"),
        ("PUT", &mute),
        ("DELETE", &mute),
        ("GET", "mutes"),
        ("POST", "invites"),
        ("GET", "invites"),
        ("DELETE", "invites/0123456789abcdef"),
    ] {
        let call = alice.http.call(method, format!("{path}/{part}").trim_end_matches('/'));
        let call = if method == "PATCH" { call.json(&json!({"name": "x"})) } else { call };
        assert_problem(&call.send().await.expect("an answer"), 403, "forbidden");
        assert_eq!(
            carol.http.call(method, &format!("{path}/{part}")).json(&json!({})).send().await.expect("one").status,
            404
        );
    }
    let mut socket = Opening::new(&single.url()).cookies(&alice.http).welcomed().await.expect("a socket");
    let joined = socket.join(slug).await.expect("an answer");
    assert_eq!(joined["info"]["name"], bob.user.username);
    let answer = socket.ask(json!({"type": "leave", "room": slug})).await.expect("an answer");
    assert_eq!(answer["type"], "left", "the socket may go");
}
