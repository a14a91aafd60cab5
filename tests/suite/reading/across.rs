//! The same across three nodes: what one node was told acts on the sockets of the others.

use std::time::{Duration, Instant};

use salon::engine::http::escape;
use serde_json::{Value, json};

use super::{SOON, counts, enter, hear, say, socket_at};
use crate::support::cluster::Cluster;
use crate::support::node::unique;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reactions_of_all_nodes_come_to_one_state_everywhere() {
    let cluster = Cluster::start(3).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("reactions"), "public").await.expect("a room").slug;
    let mut sockets = Vec::new();
    for node in 0..3 {
        let mut socket = socket_at(&cluster.url(node), &alice).await;
        socket.join(&room).await.expect("joined");
        sockets.push(socket);
    }
    say(&alice, &room, "one").await;
    let mut reacting = Vec::new();
    for number in 0..9 {
        let user = cluster.user(number % 3, "fan").await;
        let path = format!("/api/rooms/{room}/messages/1/reactions/{}", escape(["👍", "🎉", "❤️"][number / 3]));
        reacting.push(tokio::spawn(async move {
            assert_eq!(user.http.call("PUT", &path).send().await.expect("an answer").status, 200);
        }));
    }
    for task in reacting {
        task.await.expect("it reacts");
    }
    let last = |frame: &Value| frame["type"] == "message_reacted" && frame["seq"] == 10;
    let mut states = Vec::new();
    for (node, socket) in sockets.iter_mut().enumerate() {
        let told = hear(socket, "the last reaction", last).await;
        states.push(json!({"reactions": told["reactions"], "id": told["id"]}));
        let page = alice.http.at(&cluster.url(node)).get(&format!("/api/rooms/{room}/messages")).await;
        assert_eq!(page.expect("an answer").json()[0]["reactions"], told["reactions"], "node {node}");
    }
    assert!(states.iter().all(|state| *state == states[0]), "{states:?}");
    for emoji in ["👍", "🎉", "❤️"] {
        assert_eq!(states[0]["reactions"][emoji]["count"], 3, "{states:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_reaches_the_users_sockets_on_every_node() {
    let cluster = Cluster::start(3).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(0, "bob").await);
    let room = alice.http.create_room(&unique("marks"), "public").await.expect("a room").slug;
    enter(&bob, &room).await;
    for number in 0..4 {
        say(&alice, &room, &format!("{number}")).await;
    }
    let mut saying = socket_at(&cluster.url(0), &bob).await;
    saying.join(&room).await.expect("joined");
    let mut others = Vec::new();
    for node in 0..3 {
        others.push(socket_at(&cluster.url(node), &bob).await);
    }
    let mut hers = socket_at(&cluster.url(1), &alice).await;
    let started = Instant::now();
    saying.send(json!({"type": "read", "room": room, "seq": 3})).await.expect("alive");
    for socket in &mut others {
        let told = hear(socket, "read", |frame| frame["type"] == "read").await;
        assert_eq!(told, json!({"type": "read", "room": room, "seq": 3}));
    }
    eprintln!("read marks told on three nodes after {:?} (bound {SOON:?})", started.elapsed());
    for node in 0..3 {
        let http = bob.http.at(&cluster.url(node));
        assert_eq!(http.room(&room).await.expect("a room").last_read, 3, "node {node}");
    }
    // Written by another node, and at once for who waits for it.
    let there = bob.http.at(&cluster.url(2));
    let put = there.put(&format!("/api/rooms/{room}/read"), json!({"seq": 4})).await.expect("an answer");
    assert_eq!(put.status, 204);
    assert_eq!(counts(&bob, &room).await, (4, 0, 0));
    hear(&mut saying, "read", |frame| frame["type"] == "read" && frame["seq"] == 4).await;
    assert!(hers.drained().await.expect("alive").iter().all(|frame| frame["type"] != "read"), "they are nobody else's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_messages_are_told_on_every_node_also_without_redis() {
    let cluster = Cluster::of(3).own_redis().start().await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(0, "bob").await);
    let secret = alice.http.create_room(&unique("unread"), "private").await.expect("a room").slug;
    let place = format!("/api/rooms/{secret}/members/{}", bob.user.username);
    assert_eq!(alice.http.put(&place, json!({})).await.expect("an answer").status, 204);
    let mut sockets = Vec::new();
    for node in 0..3 {
        sockets.push(socket_at(&cluster.url(node), &bob).await);
    }
    let mut told_after = Duration::ZERO;
    for count in 1..=3_u64 {
        if count == 3 {
            cluster.redis().stop_hard();
        }
        let started = Instant::now();
        say(&alice, &secret, &format!("@{} {count}", bob.user.username)).await;
        for socket in &mut sockets {
            let told = hear(socket, "unread", |frame| frame["type"] == "unread").await;
            assert_eq!(told, json!({"type": "unread", "room": secret, "unread": count, "mentions": count}));
        }
        told_after = told_after.max(started.elapsed());
    }
    eprintln!("unread told on three nodes after {told_after:?} (bound {SOON:?})");
    // Removed, he hears nothing more of it; the public room tells that the looks went on.
    assert_eq!(alice.http.delete(&place).await.expect("an answer").status, 204);
    say(&alice, &secret, "without him").await;
    let open = alice.http.create_room(&unique("open"), "public").await.expect("a room").slug;
    enter(&bob, &open).await;
    say(&alice, &open, "with him").await;
    let until = |frame: &Value| frame["type"] == "unread" && frame["room"] == open.as_str();
    let first = &mut sockets[0];
    hear(first, "the public room", until).await;
    let rest = first.drained().await.expect("alive");
    first.passed.extend(rest);
    let told: Vec<&Value> = first.passed.iter().filter(|frame| frame["room"] == secret.as_str()).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_stored_is_found_on_the_others() {
    let cluster = Cluster::start(2).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("search"), "public").await.expect("a room").slug;
    say(&alice, &room, "needle in a haystack").await;
    let there = alice.http.at(&cluster.url(1));
    let deadline = Instant::now() + SOON;
    let found = loop {
        let found = there.get("/api/search?q=needle").await.expect("an answer").json();
        if found.as_array().is_some_and(|found| !found.is_empty()) {
            break found;
        }
        assert!(Instant::now() < deadline, "never found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(found[0]["highlight"][0], json!({"text": "needle", "match": true}));
    assert_eq!(alice.http.delete(&format!("/api/rooms/{room}/messages/1")).await.expect("an answer").status, 200);
    assert_eq!(
        there.get("/api/search?q=needle").await.expect("an answer").json(),
        json!([]),
        "gone at once everywhere"
    );
}
