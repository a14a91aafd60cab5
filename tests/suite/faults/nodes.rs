//! Nodes that die, come back under their name, or have a clock that is wrong.

use std::time::{Duration, Instant, SystemTime};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use salon::engine::http::Account;
use salon::engine::socket::{Incoming, Opening};
use salon::engine::workload::{Mix, Pace, Plan, Stop};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;

use super::database::{PROGRESS, QUIET, cluster_on, joined, urls, well};
use crate::support::cluster::{Cluster, assert_green};
use crate::support::measure::{SLACK, measured};
use crate::support::node::unique;
use crate::support::postgres::Postgres;

/// The others go on at once; this is what the load itself needs for so many acks.
const GOES_ON: Duration = Duration::from_secs(5);

/// Presence is right again by then after a node's end.
const PRESENCE: Duration = Duration::from_secs(15);

/// How far two machines' clocks may be apart without anybody being wrong.
const CLOCKS: Duration = Duration::from_secs(60);

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

/// Debian's `faketime`, for the wall clock alone: waits are by the other one, which nobody sets.
fn faketime() -> String {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|file| file.exists());
    found.expect("the package faketime is installed").display().to_string()
}

fn timestamp(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_node_is_an_hour_off() {
    let library = faketime();
    let off =
        |by: &'static str| [("LD_PRELOAD", library.as_str()), ("FAKETIME", by), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let (ahead, behind) = (off("+1h"), off("-1h"));
    let database = Postgres::shared().fresh_database().await;
    let nodes = cluster_on(&database, &[&[], &ahead, &behind]).await;
    let plan = Plan {
        nodes: urls(&nodes),
        prefix: unique("clocks"),
        clients: 9,
        stop: Stop::After(60),
        pace: Pace::InFlight(2),
        // Everybody stays where they logged in.
        mix: Mix { cut: 0.0, ..Plan::default().mix },
        ..Plan::default()
    };
    let began = OffsetDateTime::from(SystemTime::now());
    let finished = plan.run(QUIET).await.expect("the workload ends");
    let ended = OffsetDateTime::from(SystemTime::now());
    assert_green("clocks an hour off", &finished, &nodes.iter().collect::<Vec<_>>());
    for history in &finished.histories {
        let times: Vec<_> = history.messages.iter().map(|message| timestamp(&message.created_at)).collect();
        assert!(times.is_sorted(), "times are not in the order of the messages");
        let real = times.iter().all(|at| (began - CLOCKS..=ended + CLOCKS).contains(at));
        assert!(real, "a node's clock became a message's time: {times:?}");
    }
    for node in &nodes {
        well(node).await;
    }

    // Logging in and chatting on the node itself, by whatever way one shows who one is.
    for (number, node) in nodes.iter().enumerate() {
        let person = Account::register(&node.url(), &unique("clock")).await.expect("registration");
        let token = person.token().await.expect("a log-in");
        let room = person.http.create_room(&unique("clock"), "public").await.expect("a room").slug;
        let by_token = Opening::new(&node.url()).bearer(&token).welcomed().await.expect("a socket by token");
        for mut socket in [by_token, joined(&node.url(), &person, &room).await] {
            let ack = socket.ask(json!({"type": "send", "room": room, "content": "hi"})).await.expect("an answer");
            assert_eq!(ack["type"], "ack", "{ack}");
        }
        let refreshed = person.http.post("/api/account/refresh", json!({})).await.expect("an answer");
        assert_eq!(refreshed.status, 204, "{}", refreshed.json());
        for (other, elsewhere) in nodes.iter().enumerate() {
            let mover = Account::register(&node.url(), &unique("mover")).await.expect("registration");
            let http = mover.http.at(&elsewhere.url());
            let mut status = http.get("/api/account").await.expect("an answer").status;
            println!("fault: clocks an hour off: a token of node {number} is answered {status} by node {other}");
            assert!(number != other || status == 200, "{status}");
            // A token from the future would outlive what is remembered of those who were put out.
            assert!(number != 1 || other == 1 || status == 401, "{status}");
            // At most they take it for expired: then what every client does on a 401 must heal it there.
            if status == 401 {
                let refreshed = http.post("/api/account/refresh", json!({})).await.expect("an answer");
                assert_eq!(refreshed.status, 204, "{}", refreshed.json());
                status = http.get("/api/account").await.expect("an answer").status;
            }
            assert_eq!(status, 200, "node {other} does not take who logged in on node {number}");
        }
    }
}
