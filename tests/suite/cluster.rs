//! Three real nodes on Postgres and Redis keep the promises while things break.

use std::time::{Duration, Instant};

use salon::engine::http::Account;
use salon::engine::socket::{Incoming, Opening, Socket};
use salon::engine::workload::{Pace, Plan, Stop};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::cluster::{Cluster, assert_green};
use crate::support::node::{Node, unique};
use crate::support::postgres;

/// Everybody is back and has read everything by then.
const QUIET: Duration = Duration::from_secs(60);

/// The cluster must show that it works by then, whatever was broken.
const PROGRESS: Duration = Duration::from_secs(45);

fn plan(cluster: &Cluster, name: &str) -> Plan {
    Plan { nodes: cluster.urls(), prefix: unique(name), ..Plan::default() }
}

fn nodes(cluster: &Cluster) -> Vec<&Node> {
    cluster.nodes.iter().collect()
}

/// A socket of this user on a node.
async fn socket(cluster: &Cluster, node: usize, account: &Account) -> Socket {
    Opening::new(&cluster.url(node)).cookies(&account.http).welcomed().await.expect("a socket")
}

async fn joined(cluster: &Cluster, node: usize, account: &Account, room: &str) -> Socket {
    let mut socket = socket(cluster, node, account).await;
    let answer = socket.join(room).await.expect("an answer");
    assert_eq!(answer["type"], "joined", "{answer}");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_ends_with_the_same_messages() {
    let cluster = Cluster::start(3).await;
    let plan = Plan { rooms: 4, stop: Stop::After(60), ..plan(&cluster, "same") };
    let finished = plan.run(QUIET).await.expect("the workload ends");
    assert_green("three nodes", &finished, &nodes(&cluster));
    let counts = &finished.report.counts;
    assert!(counts.sends_acked > 300 && counts.changes_acked > 30, "{counts:?}");
    for node in 0..3 {
        let went_back = cluster.nodes[node].metric("salon_clock_went_back_total").await;
        assert_eq!(went_back, 0.0, "node {node} believes that a clock went back:\n{}", cluster.metrics(node).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_nonce_on_two_nodes_at_once_is_one_message() {
    const ROUNDS: usize = 50;
    let cluster = Cluster::start(2).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("nonce"), "public").await.expect("a room").slug;
    let mut first = socket(&cluster, 0, &alice).await;
    let mut second = socket(&cluster, 1, &alice).await;
    for round in 0..ROUNDS {
        let nonce = unique("nonce");
        let send = json!({"type": "send", "room": room, "content": format!("round {round}"), "nonce": nonce});
        let (one, two) = tokio::join!(first.ask(send.clone()), second.ask(send));
        let (one, two) = (one.expect("an ack"), two.expect("an ack"));
        assert_eq!((&one["type"], &two["type"]), (&json!("ack"), &json!("ack")), "{one} {two}");
        assert_eq!(one["id"], two["id"], "{one} {two}");
        assert_ne!(one["duplicate"], two["duplicate"], "one of them is the retry: {one} {two}");
    }
    let history = alice.http.history(&room).await.expect("history");
    let ids: Vec<u64> = history.messages.iter().map(|message| message.id).collect();
    assert_eq!(ids, (1..=ROUNDS as u64).collect::<Vec<_>>(), "one message a round, no hole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_node_under_load_loses_nothing() {
    let cluster = Cluster::start(3).await;
    let plan = Plan { stop: Stop::Told, pace: Pace::InFlight(3), ..plan(&cluster, "kill") };
    let running = plan.start().await.expect("the workload starts");
    running.progress(150, PROGRESS).await.expect("it works before");
    cluster.kill9(1);
    running.progress(200, PROGRESS).await.expect("it works on two nodes");
    cluster.restart(1).await;
    running.progress(100, PROGRESS).await.expect("it works on three nodes again");
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("kill -9 of a node", &finished, &nodes(&cluster));
    assert!(finished.report.counts.resumes >= 4, "its clients resumed: {:?}", finished.report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_right_after_a_kill() {
    let cluster = Cluster::start(3).await;
    let people = [cluster.user(0, "ann").await, cluster.user(1, "ben").await, cluster.user(2, "cid").await];
    let room = people[0].http.create_room(&unique("presence"), "public").await.expect("a room").slug;
    let mut sockets = Vec::new();
    for (node, person) in people.iter().enumerate() {
        sockets.push(joined(&cluster, node, person, &room).await);
    }
    let count = Duration::from_secs(15);
    for (node, person) in people.iter().enumerate() {
        await_online(&cluster, node, person, &room, 3, count).await;
    }
    cluster.kill9(2);
    let killed = Instant::now();
    let gone = &people[2].user.username;
    for (node, socket) in sockets.iter_mut().take(2).enumerate() {
        await_online(&cluster, node, &people[node], &room, 2, 3 * count).await;
        // One by one or the whole list at once, as the server likes.
        let told = |frame: &Value| match frame["type"].as_str() {
            Some("user_leave") => frame["user"] == gone.as_str(),
            Some("user_list") => frame["user_count"] == 2 && !frame["users"].to_string().contains(gone),
            _ => false,
        };
        let left = socket.expect_where("that the killed is gone", 3 * count, told).await.expect("it is told");
        assert_eq!(left["user_count"], 2, "{left}");
        eprintln!("presence after kill -9: node {node} was right after {:?} (promised: 15 s)", killed.elapsed());
    }
}

/// Waits until `GET …/users` on that node tells this many, and checks the names' number with it.
async fn await_online(cluster: &Cluster, node: usize, who: &Account, room: &str, wanted: u64, within: Duration) {
    let http = who.http.at(&cluster.url(node));
    let deadline = Instant::now() + within;
    loop {
        let told: Value = http.get(&format!("/api/rooms/{room}/users")).await.expect("an answer").json();
        if told["user_count"] == wanted {
            assert_eq!(told["users"].as_array().map(Vec::len), usize::try_from(wanted).ok(), "{told}");
            return;
        }
        assert!(Instant::now() < deadline, "node {node} tells {told} after {within:?}, it should be {wanted}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// As after a backup was put back: what a client holds of before is worth nothing, and it is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_went_back_starts_the_room_anew() {
    let cluster = Cluster::start(2).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let room = alice.http.create_room(&unique("restored"), "public").await.expect("a room");
    let mut sockets = [joined(&cluster, 0, &alice, &room.slug).await, joined(&cluster, 1, &bob, &room.slug).await];
    for content in ["one", "two", "three", "four"] {
        sockets[0].ask(json!({"type": "send", "room": room.slug, "content": content})).await.expect("an ack");
    }
    sockets[1].expect_where("all four", QUIET, |frame| frame["content"] == "four").await.expect("told");
    let id = room.id;
    let forget = format!(
        "BEGIN; DELETE FROM messages WHERE room_id = {id} AND seq > 2;
         UPDATE room_clocks SET seq = 2 WHERE room_id = {id}; COMMIT"
    );
    postgres::execute(&cluster.database, &forget).await;
    let began = Instant::now();
    let mut epochs = Vec::new();
    for socket in &mut sockets {
        let within = Duration::from_secs(9);
        let told = socket.expect_where("an unasked joined", within, |frame| frame["type"] == "joined").await;
        let told = told.expect("told to start anew");
        assert_eq!((&told["reset"], &told["seq"], &told["ref"]), (&json!(true), &json!(2), &Value::Null), "{told}");
        let contents: Vec<&Value> =
            told["messages"].as_array().expect("messages").iter().map(|m| &m["content"]).collect();
        assert_eq!(contents, ["one", "two"]);
        assert_ne!(told["epoch"], room.epoch, "another life of the clock");
        epochs.push(told["epoch"].clone());
    }
    eprintln!("told of a clock that went back after {:?}", began.elapsed());
    assert_eq!(epochs[0], epochs[1], "one new life, whoever noticed");
    let ack = sockets[1].ask(json!({"type": "send", "room": room.slug, "content": "five"})).await.expect("an ack");
    assert_eq!(ack["seq"], 3, "{ack}");
    let told = sockets[0].expect_where("what is said then", QUIET, |frame| frame["content"] == "five").await;
    assert_eq!(told.expect("told")["seq"], 3);
    // Who was away holds what is worth nothing, by its epoch and by its number.
    for wish in [json!({"after": 2, "epoch": room.epoch}), json!({"after": 4, "epoch": epochs[0]})] {
        let mut late = socket(&cluster, 0, &bob).await;
        let mut frame = json!({"type": "join", "room": room.slug});
        frame.as_object_mut().expect("an object").extend(wish.as_object().expect("an object").clone());
        let answer = late.ask(frame).await.expect("an answer");
        assert_eq!((&answer["reset"], &answer["seq"]), (&json!(true), &json!(3)), "{answer}");
    }
    let mut noticed = 0.0;
    for node in &cluster.nodes {
        noticed += node.metric("salon_clock_went_back_total").await;
    }
    assert!(noticed >= 1.0, "an operator can see it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_nothing_of_a_private_room() {
    let cluster = Cluster::start(2).await;
    let (alice, mallory) = (cluster.user(0, "alice").await, cluster.user(1, "mallory").await);
    let room = alice.http.create_room(&unique("secret"), "private").await.expect("a room");
    let mut inside = joined(&cluster, 0, &alice, &room.slug).await;
    inside.ask(json!({"type": "send", "room": room.slug, "content": "hush"})).await.expect("an ack");
    let mut outside = socket(&cluster, 1, &mallory).await;
    for name in [json!(room.slug), json!(room.id), json!(room.id.to_string())] {
        every_door_is_shut(&cluster, &mut outside, &mallory, &name).await;
    }
    let told = inside.drained().await.expect("alive");
    assert!(told.iter().all(|frame| frame["user"] != mallory.user.username.as_str()), "{told:?}");

    // Let in, she reads; removed, she reads nothing more, on the other node's live socket too.
    let place = format!("/api/rooms/{}/members/{}", room.slug, mallory.user.username);
    assert_eq!(alice.http.put(&place, json!({})).await.expect("an answer").status, 204);
    let answer = outside.join(&room.slug).await.expect("an answer");
    assert_eq!(answer["type"], "joined", "{answer}");
    assert_eq!(answer["messages"][0]["content"], "hush");
    assert_eq!(alice.http.delete(&place).await.expect("an answer").status, 204);
    let removed = outside.expect("removed").await.expect("she is told");
    assert_eq!((&removed["room"], &removed["reason"]), (&json!(room.slug), &json!("kicked")), "{removed}");
    for number in 0..5 {
        let content = format!("without her {number}");
        inside.send(json!({"type": "send", "room": room.slug, "content": content})).await.expect("alive");
    }
    let last = |frame: &Value| frame["content"] == "without her 4";
    if !inside.passed.iter().any(last) {
        inside.expect_where("the last one", QUIET, last).await.expect("told");
    }
    // Longer than a lost hint takes to be healed: nothing may come that way either.
    let until = Instant::now() + Duration::from_secs(4);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if let Ok(Incoming::Frame(frame)) = outside.next_within(left).await {
            assert!(!frame.to_string().contains(&room.slug), "she was told {frame}");
        }
    }
    every_door_is_shut(&cluster, &mut outside, &mallory, &json!(room.slug)).await;
}

async fn every_door_is_shut(cluster: &Cluster, socket: &mut Socket, who: &Account, room: &Value) {
    let frames = [
        json!({"type": "join", "room": room}),
        json!({"type": "join", "room": room, "after": 0}),
        json!({"type": "send", "room": room, "content": "let me in"}),
        json!({"type": "edit", "room": room, "id": 1, "content": "mine"}),
        json!({"type": "delete", "room": room, "id": 1}),
        json!({"type": "read", "room": room, "seq": 1}),
    ];
    for frame in frames {
        let answer = socket.ask(frame.clone()).await.expect("an answer");
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_found")), "{frame}: {answer}");
    }
    socket.send(json!({"type": "typing", "room": room})).await.expect("alive");
    let name = room.as_str().map_or_else(|| room.to_string(), str::to_owned);
    let calls = [
        ("GET", String::new(), None),
        ("PATCH", String::new(), Some(json!({"name": "mine"}))),
        ("DELETE", String::new(), None),
        ("GET", "/messages".into(), None),
        ("POST", "/messages".into(), Some(json!({"content": "let me in"}))),
        ("PATCH", "/messages/1".into(), Some(json!({"content": "mine"}))),
        ("DELETE", "/messages/1".into(), None),
        ("PUT", "/messages/1/reactions/%F0%9F%91%8D".into(), None),
        ("DELETE", "/messages/1/reactions/%F0%9F%91%8D".into(), None),
        ("PUT", "/read".into(), Some(json!({"seq": 1}))),
        ("GET", "/users".into(), None),
        ("GET", "/members".into(), None),
        ("PUT", "/members/me".into(), Some(json!({}))),
        ("DELETE", format!("/members/{}", who.user.username), None),
    ];
    for (method, path, body) in calls {
        let path = format!("/api/rooms/{name}{path}");
        let call = who.http.call(method, &path);
        let call = if let Some(body) = &body { call.json(body) } else { call };
        let answer = call.send().await.expect("an answer");
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.json());
    }
    let found = who.http.get(&format!("/api/search?q=hush&room={name}")).await.expect("an answer");
    assert_eq!(found.status, 404, "{}", found.json());
    let found = who.http.get("/api/search?q=hush%20or%20without").await.expect("an answer").json();
    assert_eq!(found, json!([]), "it is found");
    let rooms = who.http.get("/api/rooms?limit=1000").await.expect("an answer").json();
    let listed = rooms.as_array().expect("an array").iter().any(|other| other["slug"] == *room || other["id"] == *room);
    assert!(!listed, "it is listed: {rooms}");
    let opening = Opening::new(&cluster.url(1)).cookies(&who.http).path(&format!("/ws/chat/{name}/"));
    assert_eq!(opening.open().await.expect_err("refused").status, 404, "/ws/chat/{name}/");
}
