//! Replies, mentions and reactions.

use salon::engine::http::{Account, Answer, escape};
use serde_json::json;

use super::{counts, enter, hear, say, socket_at};
use crate::http::{assert_invalid, assert_problem};
use crate::support::node::{Single, unique};

async fn react(account: &Account, room: &str, id: u64, emoji: &str) -> Answer {
    let path = format!("/api/rooms/{room}/messages/{id}/reactions/{}", escape(emoji));
    account.http.call("PUT", &path).send().await.expect("an answer")
}

async fn take_back(account: &Account, room: &str, id: u64, emoji: &str) -> Answer {
    account
        .http
        .delete(&format!("/api/rooms/{room}/messages/{id}/reactions/{}", escape(emoji)))
        .await
        .expect("an answer")
}

async fn room_of(alice: &Account) -> String {
    alice.http.create_room(&unique("reading"), "public").await.expect("a room").slug
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_mentioned_and_count_them_apart() {
    let single = Single::shared().await;
    let (alice, bob, eve) = (single.user("alice").await, single.user("bob").await, single.user("eve").await);
    let room = room_of(&alice).await;
    enter(&bob, &room).await;
    let mut hers = socket_at(&single.url(), &alice).await;
    hers.join(&room).await.expect("joined");
    let name = &bob.user.username;
    let told = say(&alice, &room, &format!("hi @{}. And @{}?", name.to_uppercase(), eve.user.username)).await;
    assert_eq!(told["mentions"], json!([name]), "{told}");
    assert_eq!(hers.expect("chat_message").await.expect("told"), told, "the same live");
    let page = alice.http.get(&format!("/api/rooms/{room}/messages")).await.expect("an answer").json();
    assert_eq!(page, json!([told]));
    assert!(say(&alice, &room, "nobody").await.get("mentions").is_none(), "only where it says something");
    assert_eq!(counts(&bob, &room).await, (0, 2, 1));
    let path = format!("/api/rooms/{room}/messages/1");
    let edited = alice.http.patch(&path, json!({"content": "hi"})).await.expect("an answer").json();
    assert!(edited.get("mentions").is_none(), "{edited}");
    assert_eq!(counts(&bob, &room).await, (0, 2, 0));
    let ask = json!({"type": "send", "room": room, "content": format!("@{name}"), "nonce": "n"});
    assert_eq!(hers.ask(ask).await.expect("an answer")["type"], "ack");
    let live = hear(&mut hers, "the mention", |frame| frame["content"] == format!("@{name}")).await;
    assert_eq!(live["mentions"], json!([name]));
    assert_eq!(counts(&bob, &room).await, (0, 3, 1));
    assert_eq!(alice.http.delete(&format!("/api/rooms/{room}/messages/4")).await.expect("an answer").status, 200);
    assert_eq!(counts(&bob, &room).await, (0, 2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_name_a_message_of_the_room_everywhere() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room_of(&alice).await;
    let mut hers = socket_at(&single.url(), &alice).await;
    hers.join(&room).await.expect("joined");
    say(&alice, &room, "first").await;
    let ask = json!({"type": "send", "room": room, "content": "re", "reply_to": 1});
    assert_eq!(hers.ask(ask).await.expect("an answer")["id"], 2);
    let live = hear(&mut hers, "the reply", |frame| frame["id"] == 2 && frame["type"] == "chat_message").await;
    assert_eq!(live["reply_to"], 1);
    let wrong = json!({"type": "send", "room": room, "content": "re", "reply_to": 99});
    let refused = hers.ask(wrong).await.expect("an answer");
    assert_eq!(
        (&refused["code"], refused["detail"].as_str().map(|why| why.contains("reply_to"))),
        (&json!("invalid"), Some(true))
    );
    // The target may go; the reply keeps naming it.
    assert_eq!(alice.http.delete(&format!("/api/rooms/{room}/messages/1")).await.expect("an answer").status, 200);
    let page = alice.http.get(&format!("/api/rooms/{room}/messages")).await.expect("an answer").json();
    assert_eq!((&page[0]["deleted"], &page[1]["reply_to"]), (&json!(true), &json!(1)), "{page}");
    let late = socket_at(&single.url(), &alice).await.join(&room).await.expect("an answer");
    assert_eq!(late["messages"][1]["reply_to"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_is_a_change_of_the_message_in_every_shape_of_it() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room_of(&alice).await;
    let mut hers = socket_at(&single.url(), &alice).await;
    hers.join(&room).await.expect("joined");
    say(&alice, &room, "one").await;
    let told = react(&bob, &room, 1, "👍").await;
    assert_eq!(told.status, 200, "{}", told.json());
    let told = told.json();
    assert_eq!((&told["type"], &told["seq"], &told["content"]), (&json!("message_reacted"), &json!(2), &json!("one")));
    assert_eq!(told["reactions"], json!({"👍": {"count": 1, "users": [bob.user.username]}}));
    assert_eq!(hers.expect("message_reacted").await.expect("told"), told, "live");
    let again = react(&bob, &room, 1, "👍").await;
    assert_eq!((again.status, again.json()), (200, told.clone()), "what already is takes no seq");
    let told = react(&alice, &room, 1, "👍").await.json();
    let both = json!({"👍": {"count": 2, "users": [bob.user.username, alice.user.username]}});
    assert_eq!((&told["reactions"], &told["seq"]), (&both, &json!(3)));
    let page = bob.http.get(&format!("/api/rooms/{room}/messages")).await.expect("an answer").json();
    assert_eq!(page, json!([told]), "history");
    let late = socket_at(&single.url(), &bob).await.join(&room).await.expect("an answer");
    assert_eq!(late["messages"], json!([told]), "joined");
    let mut resumed = socket_at(&single.url(), &bob).await;
    let resumed = resumed.ask(json!({"type": "join", "room": room, "after": 1})).await.expect("an answer");
    assert_eq!((&resumed["messages"], &resumed["reset"]), (&json!([told]), &json!(false)), "what changed since");
    take_back(&bob, &room, 1, "👍").await;
    let last = take_back(&alice, &room, 1, "👍").await.json();
    assert_eq!((&last["type"], &last["seq"], last.get("reactions")), (&json!("message_reacted"), &json!(5), None));
    assert_eq!(take_back(&alice, &room, 1, "👍").await.json(), last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_reaction_is_refused() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room_of(&alice).await;
    say(&alice, &room, "one").await;
    for nonsense in ["a", ":+1:", "👍👍", "👍 ", "#", "<b>", "'", "\u{200d}", "x".repeat(1_000).as_str(), "%00"] {
        assert_invalid(&react(&alice, &room, 1, nonsense).await, "emoji");
        assert_invalid(&take_back(&alice, &room, 1, nonsense).await, "emoji");
    }
    for emoji in ["👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤"] {
        assert_eq!(react(&alice, &room, 1, emoji).await.status, 200, "{emoji}");
    }
    assert_problem(&react(&alice, &room, 99, "👍").await, 404, "not_found");
    assert_eq!(alice.http.delete(&format!("/api/rooms/{room}/messages/1")).await.expect("an answer").status, 200);
    assert_problem(&react(&alice, &room, 1, "👍").await, 409, "conflict");
    let secret = alice.http.create_room(&unique("secret"), "private").await.expect("a room").slug;
    say(&alice, &secret, "hush").await;
    assert_problem(&react(&bob, &secret, 1, "👍").await, 404, "not_found");
    assert_problem(&take_back(&bob, &secret, 1, "👍").await, 404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kinds_are_enough_and_the_rate_is_that_of_messages() {
    let single =
        Single::start_with(&[("SALON_LIMITS__MESSAGES_PER_S", "1"), ("SALON_LIMITS__MESSAGE_BURST", "23")]).await;
    let alice = single.user("alice").await;
    let room = room_of(&alice).await;
    say(&alice, &room, "one").await;
    for place in 0..20_u32 {
        let emoji = char::from_u32(0x1F600 + place).expect("a face").to_string();
        assert_eq!(react(&alice, &room, 1, &emoji).await.status, 200, "{emoji}");
    }
    let refused = assert_problem(&react(&alice, &room, 1, "👍").await, 409, "conflict");
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("20")), "{refused}");
    let mut limited = 0;
    for _ in 0..4 {
        let answer = react(&alice, &room, 1, "😀").await;
        limited += usize::from(answer.status == 429);
    }
    assert!(limited > 0, "never told that it is too often");
}
