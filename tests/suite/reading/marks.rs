//! Read marks and unread messages on one node.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SOON, counts, enter, say, socket_at};
use crate::http::{assert_invalid, assert_problem};
use crate::support::node::{Single, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_moves_forwards_and_the_other_sockets_are_told() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = alice.http.create_room(&unique("marks"), "public").await.expect("a room").slug;
    enter(&bob, &room).await;
    let (mut first, mut second) = (socket_at(&single.url(), &bob).await, socket_at(&single.url(), &bob).await);
    first.join(&room).await.expect("joined");
    for number in 0..5 {
        say(&alice, &room, &format!("@{} {number}", bob.user.username)).await;
    }
    assert_eq!(counts(&bob, &room).await, (0, 5, 5));
    first.send(json!({"type": "read", "room": room, "seq": 3})).await.expect("alive");
    let told = second.expect_where("read", SOON, |frame| frame["type"] == "read").await.expect("told");
    assert_eq!(told, json!({"type": "read", "room": room, "seq": 3}));
    assert_eq!(counts(&bob, &room).await, (3, 2, 2));
    let path = format!("/api/rooms/{room}/read");
    for (seq, wanted) in [(4, 4), (2, 4), (99, 5), (5, 5)] {
        let answer = bob.http.put(&path, json!({"seq": seq})).await.expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert_eq!(counts(&bob, &room).await.0, wanted, "read at once by who asks: {seq}");
    }
    assert_eq!(counts(&bob, &room).await, (5, 0, 0));
    for socket in [&mut first, &mut second] {
        for seq in [4, 5] {
            let wanted = |frame: &Value| frame["type"] == "read" && frame["seq"] == seq;
            if !socket.passed.iter().any(wanted) {
                socket.expect_where("read", SOON, wanted).await.expect("told");
            }
        }
        let rest = socket.drained().await.expect("alive");
        socket.passed.extend(rest);
    }
    let told: Vec<&Value> = first.passed.iter().filter(|frame| frame["type"] == "read" && frame["seq"] == 3).collect();
    assert!(told.is_empty(), "the one that said so is not told: {told:?}");
    // Joined again, the room's object says the same.
    assert_eq!(second.join(&room).await.expect("an answer")["info"]["last_read"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_members_have_a_mark() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = alice.http.create_room(&unique("marks"), "public").await.expect("a room").slug;
    let secret = alice.http.create_room(&unique("secret"), "private").await.expect("a room").slug;
    let put = async |room: &str, body: Value| {
        bob.http.put(&format!("/api/rooms/{room}/read"), body).await.expect("an answer")
    };
    assert_problem(&put(&room, json!({"seq": 1})).await, 403, "forbidden");
    assert_problem(&put(&secret, json!({"seq": 1})).await, 404, "not_found");
    for body in [json!({}), json!({"seq": "1"}), json!({"seq": -1}), json!({"seq": 1.5})] {
        assert_invalid(&put(&room, body).await, "seq");
    }
    let mut his = socket_at(&single.url(), &bob).await;
    let refused = his.ask(json!({"type": "read", "room": secret, "seq": 1})).await.expect("an answer");
    assert_eq!(refused["code"], "not_found", "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_not_joined_is_told_of_unread_messages_seldom() {
    let single =
        Single::start_with(&[("SALON_LIMITS__MESSAGES_PER_S", "1000"), ("SALON_LIMITS__MESSAGE_BURST", "1000")]).await;
    let (alice, bob, eve) = (single.user("alice").await, single.user("bob").await, single.user("eve").await);
    let room = alice.http.create_room(&unique("unread"), "public").await.expect("a room").slug;
    enter(&bob, &room).await;
    let (mut away, mut inside) = (socket_at(&single.url(), &bob).await, socket_at(&single.url(), &bob).await);
    let mut stranger = socket_at(&single.url(), &eve).await;
    inside.join(&room).await.expect("joined");
    let mention = format!("@{}", bob.user.username);
    say(&alice, &room, &mention).await;
    let told = away.expect_where("unread", SOON, |frame| frame["type"] == "unread").await.expect("told");
    assert_eq!(told, json!({"type": "unread", "room": room, "unread": 1, "mentions": 1}));
    // A burst of three seconds: few frames, the last of which is right.
    let started = Instant::now();
    let mut sent = 1;
    while started.elapsed() < Duration::from_secs(3) && sent < 60 {
        say(&alice, &room, "more").await;
        sent += 1;
    }
    let last = |frame: &Value| frame["type"] == "unread" && frame["unread"] == sent;
    away.expect_where("the last count", SOON, last).await.expect("told");
    let passed = away.passed.iter().filter(|frame| frame["type"] == "unread").count();
    assert!(passed as u64 <= 1 + started.elapsed().as_secs(), "told {passed} times in {:?}", started.elapsed());
    // One's own messages are not unread, and what is deleted is not either.
    say(&bob, &room, "own").await;
    assert_eq!(alice.http.delete(&format!("/api/rooms/{room}/messages/1")).await.expect("an answer").status, 200);
    let fewer = |frame: &Value| frame["type"] == "unread" && frame["unread"] == sent - 1 && frame["mentions"] == 0;
    away.expect_where("one less", SOON, fewer).await.expect("told");
    for socket in [&mut inside, &mut stranger] {
        let rest = socket.drained().await.expect("alive");
        socket.passed.extend(rest);
        let told: Vec<&Value> = socket.passed.iter().filter(|frame| frame["type"] == "unread").collect();
        assert!(told.is_empty(), "{told:?}");
    }
    // Joined, it hears the messages themselves; left, counts again.
    away.join(&room).await.expect("joined");
    let left = away.ask(json!({"type": "leave", "room": room})).await.expect("an answer");
    assert_eq!(left["type"], "left");
    say(&alice, &room, "again").await;
    away.expect_where("unread", SOON, |frame| frame["type"] == "unread" && frame["unread"] == sent)
        .await
        .expect("told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_survive_a_drain() {
    let single = Single::start_with(&[("SALON_DRAIN__DELAY_S", "0"), ("SALON_DRAIN__TIMEOUT_S", "10")]).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = alice.http.create_room(&unique("drain"), "public").await.expect("a room").slug;
    enter(&bob, &room).await;
    for number in 0..3 {
        say(&alice, &room, &format!("{number}")).await;
    }
    // Nobody is in a room, so that the drain is over before marks are written by themselves.
    let mut his = socket_at(&single.url(), &bob).await;
    his.send(json!({"type": "read", "room": room, "seq": 2})).await.expect("alive");
    // Taken up, as frames are taken up in order.
    his.ask(json!({"type": "ping"})).await.expect("a pong");
    his.close().await;
    single.node.terminate().await;
    single.node.restart().await;
    assert_eq!(counts(&bob, &room).await, (2, 1, 0));
}
