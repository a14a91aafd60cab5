//! Faults at one chosen moment between two steps of a node, held open there by a fail point.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::database::assert_sockets_stayed;
use super::trial::{HEALED, READER, THIRD, Trial, WRITER, joined};
use crate::support::cluster::Cluster;
use crate::support::measure::SLACK;
use crate::support::node::unique;
use crate::support::postgres;

/// How long something that must come about may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_between_commit_and_publish() {
    let holding = Cluster::of(3).node_env(WRITER, "FAILPOINTS", "after-commit=return(hold:the last words)");
    let mut trial = Trial::start("kill -9 between COMMIT and PUBLISH of the last message", holding).await;
    let watch = trial.watch();
    let nonce = unique("nonce");
    trial.writer.send(trial.frame("the last words", &nonce)).await.expect("it is sent");
    let stored = "SELECT count(*) FROM messages WHERE content = 'the last words'";
    let database = postgres::connect(&trial.cluster.database).await;
    let began = Instant::now();
    while database.query_one(stored, &[]).await.expect("a count").get::<_, i64>(0) == 0 {
        assert!(began.elapsed() < PATIENCE, "it is not stored");
        sleep(Duration::from_millis(5)).await;
    }
    let committed = Instant::now();
    trial.cluster.kill9(WRITER);
    trial.hears("the last words", HEALED * SLACK).await;
    trial.measured("delivered after the kill", committed.elapsed(), HEALED);
    trial.was_said("the last words");
    retried(&mut trial, "the last words", &nonce, true).await;
    watch.always_ready(&[READER, THIRD]);
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_before_commit() {
    let holding = Cluster::of(3).node_env(WRITER, "FAILPOINTS", "before-commit=return(hold:never stored)");
    let mut trial = Trial::start("kill -9 before COMMIT of the last message", holding).await;
    let watch = trial.watch();
    let nonce = unique("nonce");
    trial.writer.send(trial.frame("never stored", &nonce)).await.expect("it is sent");
    // The answer says that it has been at the point, for it is what `unavailable` comes of.
    let within = Duration::from_secs(5) * SLACK;
    let answer = trial.writer.expect_where("an answer", within, |frame| frame["nonce"] == nonce.as_str()).await;
    assert_eq!(answer.expect("an answer")["code"], "unavailable");
    trial.cluster.kill9(WRITER);
    retried(&mut trial, "never stored", &nonce, false).await;
    trial.was_said("never stored");
    trial.hears("never stored", HEALED * SLACK).await;
    watch.always_ready(&[READER, THIRD]);
    trial.end().await;
}

/// The writer comes back on another node and says it again: it is the same message.
async fn retried(trial: &mut Trial, content: &str, nonce: &str, stored: bool) {
    trial.writer = joined(&trial.cluster, THIRD, &trial.people[1], &trial.room).await;
    let ack = trial.writer.ask(trial.frame(content, nonce)).await.expect("an ack");
    assert_eq!((&ack["type"], &ack["duplicate"]), (&json!("ack"), &json!(stored)), "{ack}");
}

/// What is said after the subscription stands and before the head is read is told by the head, what is said after that
/// and before the room is open by the hints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_opens_while_people_talk_in_it() {
    let points = "before-head=return(1500:held-before);after-head=return(1500:held-after)";
    // Without the beacon, which would mend what this is about.
    let builder = Cluster::of(2).node_env(READER, "FAILPOINTS", points);
    let cluster = builder.env("SALON_NODE__BEACON_INTERVAL_MS", "60000").start().await;
    opens_while_people_talk(&cluster, "before-head", "held-before").await;
    opens_while_people_talk(&cluster, "after-head", "held-after").await;
}

/// The reader's node has told its log that it is held there.
async fn until_held(cluster: &Cluster, point: &str) {
    let began = Instant::now();
    while !cluster.nodes[READER].log().contains(point) {
        assert!(began.elapsed() < PATIENCE, "nothing was held {point}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn opens_while_people_talk(cluster: &Cluster, point: &str, held: &str) {
    let (reader, writer) = (cluster.user(READER, "reader").await, cluster.user(WRITER, "writer").await);
    let room = writer.http.create_room(&unique(held), "public").await.expect("a room").slug;
    let mut writing = joined(cluster, WRITER, &writer, &room).await;
    let reading = tokio::spawn({
        let url = cluster.url(READER);
        let room = room.clone();
        async move {
            let opening = salon::engine::socket::Opening::new(&url).cookies(&reader.http);
            let mut socket = opening.welcomed().await.expect("a socket");
            let answer = socket.join(&room).await.expect("an answer");
            (socket, answer)
        }
    });
    until_held(cluster, point).await;
    let mut said = Vec::new();
    // It ends before the room is let go on, so that nothing later can reveal a hole.
    for _ in 0..20 {
        said.push(format!("talk {}", said.len()));
        let frame = json!({"type": "send", "room": room, "content": said.last()});
        assert_eq!(writing.ask(frame).await.expect("an ack")["type"], "ack");
        sleep(Duration::from_millis(20)).await;
    }
    let (mut socket, answer) = reading.await.expect("it joined");
    let contents = |frame: &Value| frame["content"].as_str().map(str::to_owned);
    let messages = answer["messages"].as_array().expect("messages");
    let mut heard: Vec<String> = messages.iter().filter_map(contents).collect();
    while heard.last() != said.last() {
        let frame = socket.expect("chat_message").await.expect("the rest comes live");
        heard.extend(contents(&frame));
    }
    assert_eq!(heard, said);
}

/// Only that socket goes. What it said before is stored and told, and its end is told as any other is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sockets_task_panics() {
    /// A clean leave is told by then, with the grace that hides a reload.
    const LEFT: Duration = Duration::from_secs(5 + 3);
    const ROUNDS: usize = 3;
    /// The reader there, and a third of the load.
    const SOCKETS: f64 = 3.0;
    let panicking = Cluster::of(3).node_env(READER, "FAILPOINTS", "frame=return(panic:a frame that panics)");
    let mut trial = Trial::start("a panic in one socket's task", panicking).await;
    let watch = trial.watch();
    let tasks = trial.cluster.nodes[READER].metric("salon_tasks").await;
    let carol = trial.cluster.user(READER, "carol").await;
    let began = Instant::now();
    for round in 0..ROUNDS {
        let mut doomed = joined(&trial.cluster, READER, &carol, &trial.room).await;
        let content = format!("said before {round}");
        doomed.send(trial.frame(&content, &content)).await.expect("it is sent");
        doomed.send(json!({"type": "ping", "ref": "a frame that panics"})).await.expect("it is sent");
        doomed.closed(PATIENCE).await.expect("its socket goes");
        trial.was_said(&content);
        trial.hears(&content, HEALED * SLACK).await;
    }
    let panicked = Instant::now();
    assert_eq!(trial.cluster.nodes[READER].log().matches("panicked at").count(), ROUNDS, "it did not panic");
    let name = carol.user.username.as_str();
    let left = |frame: &Value| frame["type"] == "user_leave" && frame["user"] == name;
    trial.reader.expect_where("the leave", LEFT * SLACK, left).await.expect("told");
    trial.measured("its leave is told", panicked.elapsed(), LEFT);
    trial.works().await;
    // Nothing of them is left: no socket, no task.
    trial.until_metric(READER, "salon_sockets", |now| now <= SOCKETS, PATIENCE).await;
    trial.until_metric(READER, "salon_tasks", |now| now <= tasks + 3.0, PATIENCE).await;
    println!("fault: {ROUNDS} panics within {:?}", panicked - began);
    watch.always_well(&[READER, WRITER, THIRD]);
    assert_sockets_stayed(&trial.end().await);
}

/// Shorter than two missed probes: after those another link takes over, and this one's losses are never told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_subscriber_is_paused_under_load() {
    let builder = Cluster::of(3).node_env(READER, "FAILPOINTS", "hint=return(1200:a long pause)").node_env(
        READER,
        "SALON_REDIS__RECEIVE_QUEUE",
        "8",
    );
    paused(Trial::start("subscriber task paused under load (Lagged)", builder).await, "lagged").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_is_paused_under_load() {
    let builder = Cluster::of(3).node_env(READER, "FAILPOINTS", "hub=return(1200:a long pause)").node_env(
        READER,
        "SALON_REDIS__EVENT_QUEUE",
        "8",
    );
    paused(Trial::start("delivery to the hub paused under load (Overflow)", builder).await, "overflow").await;
}

/// From the needle on nothing is read for a while; what is lost meanwhile is healed as if it had been lost on the way.
async fn paused(mut trial: Trial, cause: &str) {
    let watch = trial.watch();
    trial.across("a long pause", "delivered while the node hears nothing", HEALED).await;
    for round in 0..3 {
        trial.across(&format!("in the pause {round}"), "delivered while the node hears nothing", HEALED).await;
    }
    trial.works().await;
    let began = Instant::now();
    let label = format!("cause=\"{cause}\"");
    loop {
        let metrics = trial.cluster.metrics(READER).await;
        if metrics.lines().any(|line| line.starts_with("salon_broker_disturbances_total") && line.contains(&label)) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "nothing was lost, so nothing was tested");
        sleep(Duration::from_millis(50)).await;
    }
    watch.always_ready(&[READER, WRITER, THIRD]);
    trial.end().await;
}
