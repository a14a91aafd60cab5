//! Who is there, and who is typing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{joined, room, socket};
use crate::support::node::Single;

const PATIENCE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_is_told_once_a_person() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(single, &alice, &room).await;
    let first = joined(single, &bob, &room).await;
    let came = hers.expect("user_join").await.expect("told");
    assert_eq!(came, json!({"type": "user_join", "room": room, "user": bob.user.username, "user_count": 2}));
    let mut second = joined(single, &bob, &room).await;
    first.close().await;
    let left = Instant::now();
    second.send(json!({"type": "leave", "room": room})).await.expect("alive");
    let went = hers.expect_where("user_leave", PATIENCE, |frame| frame["type"] == "user_leave").await.expect("told");
    assert_eq!(went, json!({"type": "user_leave", "room": room, "user": bob.user.username, "user_count": 1}));
    let took = left.elapsed();
    assert!(took >= Duration::from_secs(2), "the grace of 3 s was not kept: {took:?}");
    let told: Vec<&Value> = hers.passed.iter().filter(|frame| frame["user"] == bob.user.username.as_str()).collect();
    assert!(told.is_empty(), "the second socket is not a second person: {told:?}");
    let own = [&hers.passed, &second.passed].into_iter().flatten();
    assert_eq!(own.filter(|frame| frame["type"] == "user_join").count(), 0, "nobody is told of himself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_silent() {
    let single = Single::shared().await;
    let (alice, bob, dan) = (single.user("alice").await, single.user("bob").await, single.user("dan").await);
    let room = room(&alice).await;
    let mut hers = joined(single, &alice, &room).await;
    let (bobs, dans) = (joined(single, &bob, &room).await, joined(single, &dan, &room).await);
    for _ in 0..2 {
        hers.expect("user_join").await.expect("told");
    }
    hers.passed.clear();
    bobs.close().await;
    dans.close().await;
    let _reloaded = joined(single, &bob, &room).await;
    // Dan's leave proves that the time in which Bob's would have come is over.
    let gone = dan.user.username.as_str();
    let wanted = |frame: &Value| frame["type"] == "user_leave" && frame["user"] == gone;
    let went = hers.expect_where("Dan's leave", PATIENCE, wanted).await.expect("told");
    assert_eq!(went["user_count"], 2, "{went}");
    hers.drained().await.expect("alive");
    let about_bob: Vec<&Value> =
        hers.passed.iter().filter(|frame| frame["user"] == bob.user.username.as_str()).collect();
    assert!(about_bob.is_empty(), "{about_bob:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_is_told_to_others_at_most_once_in_three_seconds() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(single, &alice, &room).await;
    let mut his = joined(single, &bob, &room).await;
    let started = Instant::now();
    for _ in 0..5 {
        his.send(json!({"type": "typing", "room": room})).await.expect("alive");
    }
    let told = hers.expect("typing").await.expect("told");
    assert_eq!(told, json!({"type": "typing", "room": room, "user": bob.user.username}));
    // He types until she is told again.
    let again = loop {
        his.send(json!({"type": "typing", "room": room})).await.expect("alive");
        let wait = Duration::from_millis(250);
        if hers.expect_where("typing", wait, |frame| frame["type"] == "typing").await.is_ok() {
            break started.elapsed();
        }
        assert!(started.elapsed() < PATIENCE, "she is never told again");
    };
    assert!(again >= Duration::from_millis(2_800), "told again after {again:?}");
    let his_own = his.drained().await.expect("alive");
    assert!(his_own.iter().all(|frame| frame["type"] != "typing"), "nobody is told of himself: {his_own:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_is_told_and_out() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let private =
        alice.http.create_room(&crate::support::node::unique("private"), "private").await.expect("a room").slug;
    let mut his = socket(single, &bob).await;
    let place = format!("/api/rooms/{private}/members/{}", bob.user.username);
    assert_eq!(alice.http.put(&place, json!({})).await.expect("an answer").status, 204);
    his.join(&private).await.expect("an answer");
    assert_eq!(alice.http.delete(&place).await.expect("an answer").status, 204);
    let removed = his.expect("removed").await.expect("told");
    assert_eq!((&removed["room"], &removed["reason"]), (&json!(private), &json!("kicked")), "{removed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_room_lets_everybody_go() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut his = joined(single, &bob, &room).await;
    assert_eq!(
        alice.http.patch(&format!("/api/rooms/{room}"), json!({"topic": "new"})).await.expect("one").status,
        200
    );
    let updated = his.expect("room_updated").await.expect("told");
    assert_eq!((&updated["room"], &updated["info"]["topic"]), (&json!(room), &json!("new")), "{updated}");
    assert_eq!(alice.http.delete(&format!("/api/rooms/{room}")).await.expect("an answer").status, 204);
    let removed = his.expect("removed").await.expect("told");
    assert_eq!((&removed["room"], &removed["reason"]), (&json!(room), &json!("room_deleted")), "{removed}");
    assert_eq!(his.join(&room).await.expect("an answer")["code"], "not_found");
}
