//! Redis itself fails, for all nodes alike. None of them may leave the load balancer for that.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use super::trial::{HEALED, NOTICED, PRESENT, READER, THIRD, THROUGH_DATABASE, Trial};
use crate::support::cluster::Cluster;
use crate::support::measure::SLACK;
use crate::support::node::unique;

const ALL: [usize; 3] = [0, 1, 2];

/// `/readyz` tells of what fails for everybody only when it could have made a node unready.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stopped_for_20_s_and_started_empty() {
    let mut trial = Trial::start("Redis stopped 20 s and started empty", Cluster::of(3).own_redis()).await;
    let watch = trial.watch();
    let stopped = Instant::now();
    trial.cluster.redis().stop_hard();
    trial.across("unnoticed", "delivered across nodes before the outage is noticed", NOTICED + THROUGH_DATABASE).await;
    all_are_degraded(&mut trial, stopped).await;
    sleep_until((stopped + Duration::from_secs(20)).into()).await;
    trial.works().await;
    assert!(!trial.was_told_of_a_leave(), "the list is frozen, nobody left");
    trial.cluster.redis().start_again();
    let took = trial.until_both_online(THIRD, PRESENT * SLACK).await;
    trial.measured("presence is right after Redis came back empty", took, PRESENT);
    all_are_well_again(&trial).await;
    watch.always_ready(&ALL);
    assert!(!trial.was_told_of_a_leave(), "nobody left when it came back either");
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs_for_15_s_with_its_connections_open() {
    let mut trial = Trial::start("Redis SIGSTOP 15 s", Cluster::of(3).own_redis()).await;
    let watch = trial.watch();
    let stopped = Instant::now();
    trial.cluster.redis().pause();
    trial.across("unnoticed", "delivered across nodes before the outage is noticed", NOTICED + THROUGH_DATABASE).await;
    all_are_degraded(&mut trial, stopped).await;
    sleep_until((stopped + Duration::from_secs(15)).into()).await;
    trial.works().await;
    trial.cluster.redis().resume();
    all_are_well_again(&trial).await;
    trial.until_both_online(THIRD, PRESENT * SLACK).await;
    watch.always_ready(&ALL);
    assert!(!trial.was_told_of_a_leave(), "nobody left");
    trial.end().await;
}

/// Noticed in time by every node; then what is said goes through the database; and no node leaves the load balancer.
async fn all_are_degraded(trial: &mut Trial, began: Instant) {
    for node in ALL {
        trial.until_metric(node, "salon_broker_up", |up| up == 0.0, NOTICED * SLACK).await;
    }
    trial.measured("noticed by every node", began.elapsed(), NOTICED);
    for content in ["through the database 1", "through the database 2", "through the database 3"] {
        trial.across(content, "delivered across nodes by the database", THROUGH_DATABASE).await;
    }
    // Time enough for every node to have left, if it took what all suffer for its own.
    sleep_until((began + PATIENCE + Duration::from_secs(4)).into()).await;
    for node in ALL {
        trial.until_readiness(node, 200, &["broker"], Duration::from_secs(1)).await;
    }
}

async fn all_are_well_again(trial: &Trial) {
    let began = Instant::now();
    for node in ALL {
        trial.until_readiness(node, 200, &[], NOTICED * SLACK).await;
    }
    trial.measured("all nodes well again", began.elapsed(), NOTICED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_killed_in_a_burst() {
    let mut trial = Trial::start("CLIENT KILL TYPE pubsub in a burst", Cluster::of(3).own_redis()).await;
    let watch = trial.watch();
    let mut killed = 0;
    for round in 0..8 {
        let told = trial.cluster.redis().command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        killed += told.parse::<usize>().expect("how many");
        trial.across(&format!("burst {round}"), "delivered across nodes in the burst", HEALED).await;
    }
    assert!(killed >= 6, "only {killed} connections were there to be killed");
    watch.always_ready(&ALL);
    all_are_well_again(&trial).await;
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_killed_by_the_output_buffer_limit() {
    const LIMIT: &str = "pubsub 1mb 512kb 1";
    /// 20 MB at once to whoever listens, with nothing read meanwhile: a script runs alone.
    const FLOOD: &str = "for _ = 1, 200 do redis.call('PUBLISH', KEYS[1], string.rep('x', 100000)) end";
    let mut trial = Trial::start("Redis output-buffer limit kills", Cluster::of(3).own_redis()).await;
    let watch = trial.watch();
    let redis = trial.cluster.redis();
    redis.command(&["CONFIG", "SET", "client-output-buffer-limit", LIMIT]);
    let cluster_channel = redis.command(&["PUBSUB", "CHANNELS", "*:cluster"]);
    for round in 0..3 {
        trial.cluster.redis().command(&["EVAL", FLOOD, "1", &cluster_channel]);
        trial.across(&format!("flood {round}"), "delivered across nodes after the kill", HEALED).await;
        all_are_well_again(&trial).await;
    }
    let mut reconnected = 0.0;
    for node in ALL {
        reconnected += trial.cluster.nodes[node].metric("salon_broker_disturbances_total").await;
    }
    assert!(reconnected >= 6.0, "only {reconnected} connections were killed");
    watch.always_ready(&ALL);
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_flushed() {
    let mut trial = Trial::start("FLUSHALL", Cluster::of(3).own_redis()).await;
    let watch = trial.watch();
    let rooms = crowd(&mut trial).await;
    all_online(&trial, THIRD, &rooms).await;
    assert_ne!(trial.cluster.redis().command(&["DBSIZE"]), "0", "there is nothing to flush");
    trial.cluster.redis().command(&["FLUSHALL"]);
    let flushed = Instant::now();
    trial.across("flushed", "delivered across nodes", HEALED).await;
    all_online(&trial, THIRD, &rooms).await;
    trial.measured("presence is right again", flushed.elapsed(), PRESENT);
    // A view that was read in the empty moment would tell of leaves within the grace.
    sleep(Duration::from_secs(4)).await;
    trial.until_both_online(READER, Duration::from_secs(1)).await;
    watch.always_well(&ALL);
    assert!(!trial.was_told_of_a_leave(), "nobody left");
    trial.end().await;
}

/// Both people enter many further rooms, so that the sweep, which reads them one by one, comes too late to help.
async fn crowd(trial: &mut Trial) -> Vec<String> {
    let mut rooms = Vec::new();
    for _ in 0..60 {
        let made = trial.people[1].http.create_room(&unique("crowd"), "public").await;
        rooms.push(made.expect("a room").slug);
    }
    let wishes: Vec<Value> = rooms.iter().map(|room| json!({"room": room})).collect();
    for socket in [&mut trial.reader, &mut trial.writer] {
        socket.send(json!({"type": "join", "rooms": wishes})).await.expect("it is sent");
        for _ in &rooms {
            socket.expect("joined").await.expect("an answer for each");
        }
    }
    rooms
}

/// Waits until this node tells that both people are online in each of these rooms.
async fn all_online(trial: &Trial, node: usize, rooms: &[String]) {
    let http = trial.people[0].http.at(&trial.cluster.url(node));
    let deadline = Instant::now() + PRESENT * SLACK;
    loop {
        let told = http.get("/api/rooms?limit=1000").await.expect("an answer").json();
        let told = told.as_array().expect("an array");
        let right = told.iter().filter(|room| room["online"] == 2 && rooms.iter().any(|slug| room["slug"] == *slug));
        let right = right.count();
        if right == rooms.len() {
            return;
        }
        assert!(Instant::now() < deadline, "presence: node {node} is right about {right} of {} rooms", rooms.len());
        sleep(Duration::from_millis(50)).await;
    }
}
