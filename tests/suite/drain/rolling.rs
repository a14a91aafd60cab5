//! Several nodes, one going after the other: clients move, and the others hardly notice.

use std::time::{Duration, Instant};

use salon::engine::log::{Act, Event, Outcome};
use salon::engine::workload::{Mix, Pace, Plan, Stop};
use serde_json::Value;
use tokio::time::sleep;

use super::{comings, joined};
use crate::support::cluster::{Cluster, assert_green};
use crate::support::nginx::Nginx;
use crate::support::node::{Node, PATIENCE, unique};

/// Everybody is back and has read everything by then.
const QUIET: Duration = Duration::from_secs(60);

/// The cluster must show that it works by then.
const PROGRESS: Duration = Duration::from_secs(45);

/// Three looks at the leases: by then everything that a node's end makes others do is done.
const LEASES_SEEN: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_behind_nginx_are_restarted_one_after_the_other() {
    let timeout = Duration::from_secs(25);
    let cluster = Cluster::of(3).env("SALON_DRAIN__DELAY_S", "1").env("SALON_DRAIN__TIMEOUT_S", "25").start().await;
    let nginx = Nginx::start(&cluster.urls());
    let plan = Plan {
        nodes: vec![nginx.url()],
        prefix: unique("rolling"),
        clients: 9,
        stop: Stop::Told,
        pace: Pace::InFlight(2),
        // Whoever loses a connection lost it to a restart.
        mix: Mix { cut: 0.0, ..Plan::default().mix },
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    running.progress(100, PROGRESS).await.expect("it works before");
    for node in 0..3 {
        let began = Instant::now();
        cluster.terminate(node).await;
        let gone = began.elapsed();
        assert!(gone < timeout, "{gone:?}");
        for client in &running.clients {
            client.connected(PROGRESS).await.expect("it is on another node");
        }
        running.progress(60, PROGRESS).await.expect("it works on two nodes");
        cluster.restart(node).await;
        eprintln!("node {node} was gone after {gone:?} and ready again after {:?}", began.elapsed());
        running.progress(60, PROGRESS).await.expect("it works on three nodes again");
    }
    let finished = running.finish(QUIET).await;
    let finished = finished.unwrap_or_else(|error| panic!("the workload did not end well: {error}\n{}", nginx.log()));
    assert_green("a rolling restart", &finished, &cluster.nodes.iter().collect::<Vec<&Node>>());
    let (mut moved, mut closed) = (0, 0);
    for log in &finished.logs {
        for (op, outcome) in log.ops.iter().zip(log.outcomes()) {
            let sent = matches!(op.act, Act::Send { .. });
            assert!(!sent || matches!(outcome, Outcome::Acked { .. }), "{}: {op:?} ended as {outcome:?}", log.user);
        }
        for entry in &log.entries {
            let Event::Disconnected { why, .. } = &entry.event else { continue };
            match why.as_str() {
                "moved to another node" => moved += 1,
                why if why.starts_with("Some(1012)") => closed += 1,
                why => panic!("{} was lost: {why}", log.user),
            }
        }
    }
    eprintln!("{moved} connections moved when asked, {closed} were closed as the last ones");
    assert!(moved >= 9 && closed * 4 <= moved, "{moved} moved, {closed} had to be closed");
}

/// Those who move when asked, one who is closed and comes back at once, and one who does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_does_not_come_back_is_seen_to_leave() {
    let cluster = Cluster::of(2).env("SALON_DRAIN__TIMEOUT_S", "25").start().await;
    let watcher = cluster.user(1, "watcher").await;
    let room = watcher.http.create_room(&unique("moving"), "public").await.expect("a room").slug;
    let mut watching = joined(&cluster.url(1), &watcher, &room).await;
    let (late, goner) = (cluster.user(0, "late").await, cluster.user(0, "goner").await);
    let mut people = vec![late.user.username.clone(), goner.user.username.clone()];
    let mut lates = joined(&cluster.url(0), &late, &room).await;
    let mut goners = joined(&cluster.url(0), &goner, &room).await;
    let mut movers = Vec::new();
    for number in 0..3 {
        let mover = cluster.user(0, &format!("mover-{number}")).await;
        people.push(mover.user.username.clone());
        let socket = joined(&cluster.url(0), &mover, &room).await;
        movers.push((mover, socket));
    }
    for person in &people {
        let came = |frame: &Value| frame["type"] == "user_join" && frame["user"] == person.as_str();
        if !watching.passed.iter().any(came) {
            watching.expect_where("that all are there", PATIENCE, came).await.expect("told");
        }
    }
    watching.drained().await.expect("alive");
    watching.passed.clear();

    cluster.nodes[0].signal("TERM");
    let moving = movers.into_iter().map(async |(mover, mut old)| {
        let told = old.expect("reconnect").await.expect("told");
        sleep(Duration::from_millis(rand::random_range(0..told["within_ms"].as_u64().expect("a number")))).await;
        let new = joined(&cluster.url(1), &mover, &room).await;
        old.close().await;
        new
    });
    let coming_back = async {
        assert_eq!(lates.closed(PATIENCE).await.expect("closed"), Some(1012));
        sleep(Duration::from_millis(500)).await;
        joined(&cluster.url(1), &late, &room).await
    };
    let going = async {
        assert_eq!(goners.closed(PATIENCE).await.expect("closed"), Some(1012));
        Instant::now()
    };
    let seeing = async {
        let left = |frame: &Value| frame["type"] == "user_leave" && frame["user"] == goner.user.username.as_str();
        let frame = watching.expect_where("the leave", 2 * PATIENCE, left).await.expect("told");
        assert_eq!(frame["user_count"], 5, "{frame}");
        Instant::now()
    };
    let (moved, back, gone, seen) = tokio::join!(futures_util::future::join_all(moving), coming_back, going, seeing);
    let took = seen.duration_since(gone);
    eprintln!("a leave was told {took:?} after its close (promised: 5 s)");
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(cluster.nodes[0].ended(PATIENCE).await, 0);

    let mut frames = std::mem::take(&mut watching.passed);
    let until = Instant::now() + LEASES_SEEN;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if let Ok(salon::engine::socket::Incoming::Frame(frame)) = watching.next_within(left).await {
            frames.push(frame);
        }
    }
    assert_eq!(comings(&frames), [], "somebody was seen to come or go who was there all the time");
    let online: Value = watcher.http.get(&format!("/api/rooms/{room}/users")).await.expect("an answer").json();
    assert_eq!(online["user_count"], 5, "{online}");
    drop((moved, back));
}
