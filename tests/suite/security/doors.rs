//! Every door is closed to who is no member: before, right after, on every node, and while Redis is down.

use std::time::{Duration, Instant};

use salon::engine::http::Account;
use salon::engine::socket::{Incoming, Socket};
use serde_json::{Value, json};

use super::{Filling, frames_for, routes, socket_at};
use crate::support::cluster::Cluster;
use crate::support::node::unique;

/// Actions on members reach sockets of other nodes within this while Redis is down.
const WITHOUT_REDIS: Duration = Duration::from_secs(5);

/// A frame that is answered goes a slow way on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

async fn private_room(alice: &Account, members: &[&Account]) -> String {
    let room = alice.http.create_room(&unique("private"), "private").await.expect("a room").slug;
    for member in members {
        let path = format!("/api/rooms/{room}/members/{}", member.user.username);
        assert_eq!(alice.http.put(&path, json!({})).await.expect("an answer").status, 204);
    }
    room
}

async fn remove(alice: &Account, room: &str, member: &Account) {
    let path = format!("/api/rooms/{room}/members/{}", member.user.username);
    assert_eq!(alice.http.delete(&path).await.expect("an answer").status, 204);
}

async fn say(account: &Account, room: &str, content: &str) -> u64 {
    let path = format!("/api/rooms/{room}/messages");
    let answer = account.http.post(&path, json!({"content": content})).await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()["id"].as_u64().expect("an id")
}

/// The frames that were not answered with `not_found`.
async fn open_frames(socket: &mut Socket, room: &Value) -> Vec<String> {
    let mut open = Vec::new();
    for frame in frames_for(room) {
        let answer = socket.ask(frame.clone()).await.unwrap_or_else(|error| json!({"type": "nothing", "why": error}));
        if answer["code"] != "not_found" {
            open.push(format!("{frame}: {answer}"));
        }
    }
    open
}

async fn assert_closed(cluster: &Cluster, who: &Account, room: &str, id: i64, sockets: &mut [Socket]) {
    for (node, socket) in sockets.iter_mut().enumerate() {
        for named in [json!(room), json!(id)] {
            assert_eq!(open_frames(socket, &named).await, [""; 0], "node {node}");
        }
        let http = who.http.at(&cluster.url(node));
        let filling = Filling { room, username: "me", id: "1" };
        for route in routes(filling).into_iter().filter(|route| route.path.starts_with("/api/rooms/")) {
            let answer = route.ask(&http).await;
            assert_eq!(answer.status, 404, "node {node}: {} {}", route.method, route.path);
        }
        let opened = super::upgrade(&who.http.at(&cluster.url(node)), &format!("/ws/chat/{room}/"), &[]).await;
        assert_eq!(opened.status, 404, "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_never_in_a_private_room_finds_every_door_closed() {
    let cluster = Cluster::start(2).await;
    let (alice, mallory) = (cluster.user(0, "alice").await, cluster.user(1, "mallory").await);
    let room = private_room(&alice, &[]).await;
    say(&alice, &room, "only for members").await;
    let id = alice.http.room(&room).await.expect("a room").id;
    let mut hers = socket_at(&cluster.url(0), &alice).await;
    hers.join(&room).await.expect("joined");
    let mut sockets = [socket_at(&cluster.url(0), &mallory).await, socket_at(&cluster.url(1), &mallory).await];
    assert_closed(&cluster, &mallory, &room, id, &mut sockets).await;
    say(&alice, &room, "still only for members").await;
    for socket in &mut sockets {
        assert_eq!(socket.drained().await.expect("alive"), [Value::Null; 0], "nothing of it is heard");
    }
    assert_eq!(alice.http.history(&room).await.expect("history").head, 2);
}

/// Sends without waiting for answers until the socket has been told that it is out, and a while longer.
async fn shout(mut socket: Socket, room: String, name: &'static str) -> (Socket, Vec<Value>) {
    let (mut answers, mut after_removal) = (Vec::new(), 0);
    for number in 0..20_000 {
        let content = format!("{name} {number}");
        let frame = json!({"type": "send", "ref": number, "room": room, "content": content, "nonce": content});
        socket.send(frame).await.expect("alive");
        while let Ok(Incoming::Frame(frame)) = socket.next_within(Duration::from_millis(1)).await {
            answers.push(frame);
        }
        after_removal += usize::from(answers.iter().any(|frame| frame["code"] == "not_found"));
        if after_removal > 20 {
            break;
        }
    }
    if !answers.iter().any(|frame| frame["type"] == "removed") {
        // The store refuses at once; the word of it comes by its own way.
        answers.push(socket.expect("removed").await.expect("told that he is out"));
    }
    answers.extend(socket.drained().await.expect("alive"));
    (socket, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_removed_member_is_stored_after_the_removal_was_answered() {
    let cluster = Cluster::start(2).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(0, "bob").await);
    let room = private_room(&alice, &[&bob]).await;
    let id = alice.http.room(&room).await.expect("a room").id;
    let mut shouting = Vec::new();
    for (node, name) in [(0, "here"), (1, "there")] {
        let mut socket = socket_at(&cluster.url(node), &bob).await;
        assert_eq!(socket.join(&room).await.expect("an answer")["type"], "joined");
        shouting.push(tokio::spawn(shout(socket, room.clone(), name)));
    }
    // He is well under way.
    let deadline = Instant::now() + super::PATIENCE;
    while alice.http.room(&room).await.expect("a room").seq < 50 {
        assert!(Instant::now() < deadline, "nothing is sent");
    }
    remove(&alice, &room, &bob).await;
    let mark = say(&alice, &room, "he is out").await;

    let mut sockets = Vec::new();
    for shouting in shouting {
        let (socket, answers) = shouting.await.expect("he ends");
        let removed = answers.iter().filter(|frame| frame["type"] == "removed").collect::<Vec<_>>();
        assert_eq!(removed.len(), 1, "told once: {removed:?}");
        assert_eq!((&removed[0]["room"], &removed[0]["reason"]), (&json!(room), &json!("kicked")));
        let late = answers.iter().filter(|frame| frame["type"] == "ack" && frame["id"].as_u64() > Some(mark)).count();
        assert_eq!(late, 0, "acknowledged after the removal");
        sockets.push(socket);
    }
    assert_closed(&cluster, &bob, &room, id, &mut sockets).await;
    let history = alice.http.history(&room).await.expect("history");
    let last = history.messages.iter().rfind(|message| message.author == bob.user.username).expect("some of his");
    assert!(last.id < mark, "{} was appended after the removal was answered ({mark})", last.id);
    assert_eq!(history.head, mark, "nothing at all came after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_reaches_other_nodes_while_redis_is_down() {
    let cluster = Cluster::of(2).own_redis().start().await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(0, "bob").await);
    let room = private_room(&alice, &[&bob]).await;
    let id = alice.http.room(&room).await.expect("a room").id;
    let mut sockets = [socket_at(&cluster.url(0), &bob).await, socket_at(&cluster.url(1), &bob).await];
    for socket in &mut sockets {
        assert_eq!(socket.join(&room).await.expect("an answer")["type"], "joined");
    }
    cluster.redis().stop_hard();
    let removed_at = Instant::now();
    remove(&alice, &room, &bob).await;
    say(&alice, &room, "he is out").await;
    for socket in &mut sockets {
        // What the store checks is refused at once, whatever a node has heard yet.
        let refused = socket.ask(json!({"type": "send", "room": room, "content": "me too"})).await.expect("an answer");
        assert_eq!(refused["code"], "not_found", "{refused}");
    }
    for (node, socket) in sockets.iter_mut().enumerate() {
        let told = socket.passed.iter().any(|frame| frame["type"] == "removed");
        if !told {
            let left = (WITHOUT_REDIS + SLACK).saturating_sub(removed_at.elapsed());
            let told = socket.expect_where("removed", left, |frame| frame["type"] == "removed").await;
            told.unwrap_or_else(|error| panic!("node {node}: {error}"));
        }
    }
    // The other node learned of both at the same time, from the store: of who may stay first.
    let heard = sockets[1].passed.iter().filter(|frame| frame["content"] == "he is out").count();
    assert_eq!(heard, 0, "he was told what was said after he was out");
    say(&alice, &room, "he is out on all nodes").await;
    for socket in &mut sockets {
        let told = socket.drained().await.expect("alive");
        assert!(told.iter().all(|frame| frame["type"] != "chat_message"), "{told:?}");
    }
    assert_closed(&cluster, &bob, &room, id, &mut sockets).await;
}

/// A public room is seen still; all that is in it is closed, on every node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_banned_from_a_public_room_finds_all_in_it_closed() {
    let cluster = Cluster::start(2).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let room = alice.http.create_room(&unique("open"), "public").await.expect("a room").slug;
    let mut live = socket_at(&cluster.url(1), &bob).await;
    assert_eq!(live.join(&room).await.expect("an answer")["type"], "joined");
    say(&bob, &room, "his own").await;
    let ban = format!("/api/rooms/{room}/bans/{}", bob.user.username);
    assert_eq!(alice.http.put(&ban, json!({})).await.expect("an answer").status, 204);
    live.expect("removed").await.expect("told");
    for node in 0..2 {
        let http = bob.http.at(&cluster.url(node));
        let filling = Filling { room: &room, username: "me", id: "1" };
        for route in routes(filling).into_iter().filter(|route| route.path.starts_with("/api/rooms/")) {
            let wanted = if (route.method.as_str(), route.path.matches('/').count()) == ("GET", 3) { 200 } else { 403 };
            let answer = route.ask(&http).await;
            assert_eq!(answer.status, wanted, "node {node}: {} {}", route.method, route.path);
        }
        let mut socket = socket_at(&cluster.url(node), &bob).await;
        for frame in frames_for(&json!(room)) {
            let answer = socket.ask(frame.clone()).await.expect("an answer");
            // To leave is for everybody, and types nobody who has not joined.
            let wanted = match frame["type"].as_str() {
                Some("leave") => Value::Null,
                Some("typing") => json!("not_found"),
                _ => json!("forbidden"),
            };
            assert_eq!(answer["code"], wanted, "node {node}: {frame}: {answer}");
        }
    }
    say(&alice, &room, "without him").await;
    let told = live.drained().await.expect("alive");
    assert!(told.iter().all(|frame| frame["type"] != "chat_message"), "{told:?}");
}
