//! Postgres away, its connections cut, its locks held.

use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use salon::engine::log::{Answer, Event};
use salon::engine::socket::{Opening, Socket};
use salon::engine::workload::{Finished, Mix, Pace, Plan, Stop, percentile};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::trial::Watch;
use crate::support::cluster::{Cluster, SECRET, assert_green};
use crate::support::measure::{SLACK, measured};
use crate::support::node::{Node, Settings, unique};
use crate::support::postgres::{self, Postgres};
use crate::support::redis::Redis;

pub const QUIET: Duration = Duration::from_secs(60);
pub const PROGRESS: Duration = Duration::from_secs(45);

/// A send is answered `unavailable` by then while Postgres is away, and is stored again by then after its return.
const ANSWERED: Duration = Duration::from_secs(5);
const NORMAL_AGAIN: Duration = Duration::from_secs(5);

/// What a send may take in a room that nothing is wrong with.
const UNAFFECTED: Duration = Duration::from_millis(500);

/// Longer than a node waits before it takes what fails for itself alone for a reason to leave the balancer.
const OUTAGE: Duration = Duration::from_secs(12);

/// Nodes on a database of the test's own and the shared Redis, each with further settings.
pub async fn cluster_on(database: &str, each: &[&[(&str, &str)]]) -> Vec<Node> {
    let prefix = Redis::prefix();
    let redis = Redis::shared().url();
    let starts = each.iter().enumerate().map(|(number, more)| {
        let own = [
            ("SALON_DATABASE__URL", database),
            ("SALON_DATABASE__POOL_SIZE", "8"),
            ("SALON_REDIS__URL", &redis),
            ("SALON_REDIS__PREFIX", &prefix),
            ("SALON_AUTH__SECRET", SECRET),
        ];
        let env = own.iter().chain(*more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        async move { Node::start(&format!("node-{number}"), Settings { env, ..Settings::default() }).await }
    });
    futures_util::future::join_all(starts).await
}

pub fn urls(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(Node::url).collect()
}

/// What `/readyz` calls degraded; it must be ready.
pub async fn degraded(node: &Node) -> Value {
    let answer = Http::new(&node.url()).get("/readyz").await.expect("an answer");
    assert_eq!(answer.status, 200, "unready: {}", answer.json());
    answer.json()["degraded"].clone()
}

/// Waits until it is ready and nothing is degraded.
pub async fn well(node: &Node) {
    let deadline = Instant::now() + SLACK * NORMAL_AGAIN;
    loop {
        let told = degraded(node).await;
        if told == json!([]) {
            return;
        }
        assert!(Instant::now() < deadline, "still degraded: {told}");
        sleep(Duration::from_millis(50)).await;
    }
}

pub async fn joined(url: &str, account: &Account, room: &str) -> Socket {
    let mut socket = Opening::new(url).cookies(&account.http).welcomed().await.expect("a socket");
    let answer = socket.join(room).await.expect("an answer");
    assert_eq!(answer["type"], "joined", "{answer}");
    socket
}

fn send(room: &str, nonce: &str) -> Value {
    json!({"type": "send", "room": room, "content": format!("content of {nonce}"), "nonce": nonce})
}

/// Asks until it is acknowledged; whatever else it is told must be `unavailable`.
pub async fn until_acked(socket: &mut Socket, frame: &Value, within: Duration) -> Value {
    let asking = async {
        loop {
            let answer = socket.ask(frame.clone()).await.expect("an answer");
            if answer["type"] == "ack" {
                return answer;
            }
            assert_eq!(answer["code"], "unavailable", "{answer}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(within, asking).await.unwrap_or_else(|_| panic!("not acknowledged within {within:?}: {frame}"))
}

/// Nobody was told that something is certainly not stored when only the database was in trouble.
pub fn assert_nothing_refused(finished: &Finished) {
    for log in &finished.logs {
        for entry in &log.entries {
            if let Event::Answer { op, answer: Answer::Refused { code }, .. } = &entry.event {
                // A retry of what is done already may find it so.
                let settled = matches!(code.as_str(), "conflict" | "not_found");
                assert!(settled, "{}: {:?} was refused as {code}", log.user, log.ops[*op]);
            }
        }
    }
}

/// Nobody lost a socket, whatever else went wrong.
pub fn assert_sockets_stayed(finished: &Finished) {
    for log in &finished.logs {
        for entry in &log.entries {
            if let Event::Disconnected { why, .. } = &entry.event {
                panic!("{} lost its socket: {why}", log.user);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_stopped_immediate_and_started_under_load() {
    const CLIENTS: usize = 9;
    const IN_FLIGHT: usize = 3;
    let mut server = Postgres::start();
    let nodes = cluster_on(&server.fresh_database().await, &[&[], &[], &[]]).await;
    let plan = Plan {
        nodes: urls(&nodes),
        prefix: unique("outage"),
        clients: CLIENTS,
        pace: Pace::InFlight(IN_FLIGHT),
        stop: Stop::Told,
        mix: Mix { cut: 0.0, leave: 0.0, ..Plan::default().mix },
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    running.progress(100, PROGRESS).await.expect("it works before");
    let alice = Account::register(&nodes[0].url(), &unique("alice")).await.expect("registration");
    let room = alice.http.create_room(&unique("outage"), "public").await.expect("a room").slug;
    let mut sockets = Vec::new();
    for node in &nodes {
        sockets.push(joined(&node.url(), &alice, &room).await);
    }

    server.stop_immediate();
    let stopped = Instant::now();
    let (mut slowest, mut waiting) = (Duration::ZERO, 0.0_f64);
    while stopped.elapsed() < OUTAGE {
        for (number, socket) in sockets.iter_mut().enumerate() {
            let asked = Instant::now();
            let answer = socket.ask(send(&room, &unique("during"))).await.expect("an answer");
            slowest = slowest.max(asked.elapsed());
            assert_eq!(answer["code"], "unavailable", "{answer}");
            waiting = waiting.max(nodes[number].metric("salon_append_queue").await);
        }
    }
    measured("Postgres stopped immediate", "a send is answered `unavailable`", slowest, ANSWERED);
    // Each client holds back what it has no answer for.
    let most = (CLIENTS * IN_FLIGHT + 1) as f64;
    println!("fault: Postgres stopped immediate: sends waiting on a node; measured {waiting}; bound {most}");
    assert!(waiting <= most, "{waiting} sends pile up");
    for node in &nodes {
        assert_eq!(degraded(node).await, json!(["database"]), "down for everybody: nobody leaves the balancer");
    }

    server.start_again();
    let returned = Instant::now();
    for socket in &mut sockets {
        until_acked(socket, &send(&room, &unique("after")), SLACK * NORMAL_AGAIN).await;
    }
    running.progress(1, SLACK * NORMAL_AGAIN).await.expect("the workload goes on");
    measured("Postgres started again", "sends are stored on every node", returned.elapsed(), NORMAL_AGAIN);
    for node in &nodes {
        // The last one to notice the return hears for a moment that all others are well, and takes itself for alone.
        node.ready(SLACK * NORMAL_AGAIN).await.expect("ready again");
        well(node).await;
    }
    running.progress(200, PROGRESS).await.expect("it goes on");
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("Postgres stopped and started", &finished, &nodes.iter().collect::<Vec<_>>());
    assert_nothing_refused(&finished);
    assert_sockets_stayed(&finished);
    for (socket, node) in sockets.iter_mut().zip(&nodes) {
        socket.drained().await.expect("the socket stayed");
        assert_eq!(node.metric("salon_append_queue").await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_terminated_at_random() {
    const FOR: Duration = Duration::from_secs(8);
    const EVERY: Duration = Duration::from_millis(100);
    let cluster = Cluster::start(3).await;
    let plan = Plan {
        nodes: cluster.urls(),
        prefix: unique("terminated"),
        pace: Pace::InFlight(3),
        stop: Stop::Told,
        mix: Mix { cut: 0.0, leave: 0.0, ..Plan::default().mix },
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    running.progress(100, PROGRESS).await.expect("it works before");
    let client = postgres::connect(&cluster.database).await;
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'salon' AND pid <> pg_backend_pid()
        ORDER BY state = 'active' DESC, random() LIMIT 1";
    let watch = Watch::start(cluster.urls());
    let (began, before, mut terminated) = (Instant::now(), running.acked(), 0);
    let mut ticks = tokio::time::interval(EVERY);
    while began.elapsed() < FOR {
        ticks.tick().await;
        terminated += client.query(terminate, &[]).await.expect("it may").len();
    }
    let ended = Instant::now();
    let during = running.acked() - before;
    println!("fault: {terminated} backends terminated in {FOR:?}; {during} acks meanwhile");
    assert!(terminated > 20, "only {terminated} were terminated, so little was tested");
    assert!(during > 20, "hardly anything was stored meanwhile: {during}");
    running.progress(50, SLACK * NORMAL_AGAIN).await.expect("it goes on");
    measured("backends terminated at random", "50 acks after the last", ended.elapsed(), NORMAL_AGAIN);
    for node in &cluster.nodes {
        well(node).await;
    }
    watch.always_ready(&[0, 1, 2]);
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("backends terminated at random", &finished, &cluster.nodes.iter().collect::<Vec<_>>());
    assert_nothing_refused(&finished);
    assert_sockets_stayed(&finished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_clock_stops_its_room_alone() {
    const HELD: Duration = Duration::from_secs(20);
    let cluster = Cluster::start(2).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("held"), "public").await.expect("a room");
    let mut sockets = Vec::new();
    for node in 0..2 {
        sockets.push(joined(&cluster.url(node), &alice, &room.slug).await);
    }
    let first = until_acked(&mut sockets[0], &send(&room.slug, "before"), PROGRESS).await;
    let plan = Plan {
        nodes: cluster.urls(),
        prefix: unique("beside"),
        clients: 8,
        pace: Pace::PerSecond(40.0),
        stop: Stop::Told,
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    running.progress(50, PROGRESS).await.expect("it works before");

    let holder = postgres::connect(&cluster.database).await;
    let hold = format!("BEGIN; SELECT seq FROM room_clocks WHERE room_id = {} FOR UPDATE", room.id);
    holder.batch_execute(&hold).await.expect("the clock is held");
    let watch = Watch::start(cluster.urls());
    let (began, before) = (Instant::now(), running.acked());
    let (mut slowest, mut round) = (Duration::ZERO, 0);
    while began.elapsed() < HELD {
        round += 1;
        // Sends and a change, on both nodes at once.
        let asks = sockets.iter_mut().enumerate().map(async |(node, socket)| {
            let edit =
                json!({"type": "edit", "room": room.slug, "id": first["id"], "content": format!("edit {round}")});
            socket.send(edit).await.expect("alive");
            let asked = Instant::now();
            let answer = socket.ask(send(&room.slug, &format!("during-{round}-{node}"))).await.expect("an answer");
            assert_eq!(answer["code"], "unavailable", "{answer}");
            asked.elapsed()
        });
        let took = futures_util::future::join_all(asks).await;
        slowest = took.into_iter().fold(slowest, Duration::max);
        let newcomer = cluster.user(round % 2, "newcomer").await;
        let asked = Instant::now();
        joined(&cluster.url(round % 2), &newcomer, &running.rooms[0]).await;
        measured("one room's clock held", "somebody new enters another room", asked.elapsed(), UNAFFECTED);
    }
    measured("one room's clock held", "a send there is answered `unavailable`", slowest, ANSWERED);
    let beside = running.acked() - before;
    println!("fault: one room's clock held {HELD:?}; {beside} acks in other rooms");
    assert!(beside >= 40 * HELD.as_secs() / 4, "other rooms hardly moved: {beside}");
    // One room is no outage.
    watch.always_well(&[0, 1]);
    holder.batch_execute("COMMIT").await.expect("the clock is free");
    let freed = Instant::now();
    for (node, socket) in sockets.iter_mut().enumerate() {
        let ack = until_acked(socket, &send(&room.slug, &format!("during-1-{node}")), SLACK * NORMAL_AGAIN).await;
        println!("fault: one room's clock held: the retry is a duplicate: {}", ack["duplicate"]);
    }
    measured("one room's clock held", "sends there after it was freed", freed.elapsed(), NORMAL_AGAIN);

    let history = alice.http.history(&room.slug).await.expect("history");
    let mut nonces: Vec<_> = history.messages.iter().map(|message| message.nonce.clone()).collect();
    let stored = nonces.len();
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), stored, "one nonce, one message");
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("one room's clock held", &finished, &cluster.nodes.iter().collect::<Vec<_>>());
    let p99 = percentile(&finished.timings().ack, 0.99);
    measured("one room's clock held", "p99 of acks in other rooms", p99, UNAFFECTED);
}
