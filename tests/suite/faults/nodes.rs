//! Nodes that die, or come back under their name.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use salon::engine::http::Account;
use salon::engine::socket::Incoming;
use salon::engine::workload::{Pace, Plan, Stop};
use serde_json::Value;
use tokio::time::sleep;

use super::database::{PROGRESS, QUIET, joined, well};
use super::trial::Watch;
use crate::support::cluster::{Cluster, assert_green};
use crate::support::measure::{SLACK, measured};
use crate::support::node::unique;

/// The others go on at once; this is what the load itself needs for so many acks.
const GOES_ON: Duration = Duration::from_secs(5);

/// Presence is right again by then after a node's end.
const PRESENCE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_node_is_killed_every_few_seconds() {
    const SEED: u64 = 20_260;
    const FOR: Duration = Duration::from_secs(20);
    let mut rng = SmallRng::seed_from_u64(SEED);
    let cluster = Cluster::start(3).await;
    let plan = Plan {
        nodes: cluster.urls(),
        prefix: unique("killed"),
        pace: Pace::InFlight(2),
        stop: Stop::Told,
        seed: SEED,
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    running.progress(100, PROGRESS).await.expect("it works before");
    let (began, mut slowest, mut kills) = (Instant::now(), Duration::ZERO, 0);
    while began.elapsed() < FOR {
        sleep(Duration::from_millis(rng.random_range(500..2_500))).await;
        let node = rng.random_range(0..3);
        cluster.kill9(node);
        kills += 1;
        let killed = Instant::now();
        running.progress(20, SLACK * GOES_ON).await.expect("it works on two nodes");
        slowest = slowest.max(killed.elapsed());
        cluster.restart(node).await;
    }
    println!("fault: kill -9 of a random node, {kills} times, seed {SEED}");
    measured("kill -9 of a random node", "20 acks after it", slowest, GOES_ON);
    for node in &cluster.nodes {
        well(node).await;
    }
    running.progress(100, PROGRESS).await.expect("it works on three nodes again");
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("kill -9 of a random node", &finished, &cluster.nodes.iter().collect::<Vec<_>>());
}

/// One person comes back to the node that has the dead one's name, the other one does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_restarted_under_its_name_leaves_no_ghost_and_wipes_nobody() {
    let cluster = Cluster::start(2).await;
    let (ann, ben, cid) = (cluster.user(0, "ann").await, cluster.user(1, "ben").await, cluster.user(1, "cid").await);
    let room = ann.http.create_room(&unique("name"), "public").await.expect("a room").slug;
    let mut watching = joined(&cluster.url(0), &ann, &room).await;
    let _ben = joined(&cluster.url(1), &ben, &room).await;
    let _cid = joined(&cluster.url(1), &cid, &room).await;
    for node in 0..2 {
        online(&cluster, node, &ann, &room, 3, PRESENCE).await;
    }
    watching.drained().await.expect("alive");
    watching.passed.clear();

    let watch = Watch::start(vec![cluster.url(0)]);
    cluster.kill9(1);
    let killed = Instant::now();
    sleep(Duration::from_secs(2)).await;
    cluster.restart(1).await;
    let back = joined(&cluster.url(1), &ben, &room).await;
    println!("fault: a node restarted under its name; ben is back after {:.2?}", killed.elapsed());
    for node in 0..2 {
        online(&cluster, node, &ann, &room, 2, SLACK * PRESENCE).await;
    }
    measured("a node restarted under its name", "no ghost", killed.elapsed(), PRESENCE);
    // The dead one's lease has ended everywhere once its longest time is over, and twice that is watched.
    let until = killed + 2 * PRESENCE;
    let mut told = std::mem::take(&mut watching.passed);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if let Ok(Incoming::Frame(frame)) = watching.next_within(left).await {
            told.push(frame);
        }
    }
    let wiped = |frame: &&Value| {
        let list = frame["type"] == "user_list" && !frame["users"].to_string().contains(&ben.user.username);
        list || (frame["type"] == "user_leave" && frame["user"] == ben.user.username.as_str())
    };
    assert_eq!(told.iter().find(wiped), None, "ben was seen to leave: {told:?}");
    for node in 0..2 {
        online(&cluster, node, &ann, &room, 2, Duration::ZERO).await;
        well(&cluster.nodes[node]).await;
    }
    watch.always_well(&[0]);
    drop(back);
}

async fn online(cluster: &Cluster, node: usize, who: &Account, room: &str, wanted: u64, within: Duration) {
    let http = who.http.at(&cluster.url(node));
    let deadline = Instant::now() + within;
    loop {
        let told: Value = http.get(&format!("/api/rooms/{room}/users")).await.expect("an answer").json();
        if told["user_count"] == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "node {node} tells {told}, it should be {wanted}");
        sleep(Duration::from_millis(50)).await;
    }
}
