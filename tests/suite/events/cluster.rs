//! Streams over several nodes, which may die under them.

use std::time::Duration;

use salon::engine::checker::check;
use salon::engine::events::watcher::Watcher;
use salon::engine::events::{Asking, NoStream};
use salon::engine::log::Event;
use salon::engine::workload::{Pace, Plan, Stop};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::cluster::{Cluster, assert_green};
use crate::support::nginx::Nginx;
use crate::support::node::{Node, unique};
use crate::support::postgres;
use crate::support::proxy::Way;
use crate::websocket::say;

const QUIET: Duration = Duration::from_secs(60);
const PROGRESS: Duration = Duration::from_secs(45);
/// Who is further behind is given the latest page instead, which a fast machine brings about.
const RESUME_MAX: u64 = 500;

fn nodes(cluster: &Cluster) -> Vec<&Node> {
    cluster.nodes.iter().collect()
}

/// The judge of sockets judges streams: nothing missing, nothing twice, nothing superseded, all at the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_miss_nothing_when_their_node_is_killed() {
    const WATCHERS: usize = 6;
    let cluster = Cluster::start(3).await;
    let plan = Plan {
        nodes: cluster.urls(),
        prefix: unique("watched"),
        clients: 6,
        rooms: 2,
        stop: Stop::Told,
        pace: Pace::InFlight(3),
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    let mut watchers = Vec::new();
    for number in 0..WATCHERS {
        let account = cluster.user(number % 3, "watcher").await;
        let cookies = account.http.cookie_header("/api/rooms").expect("logged in");
        let mut nodes = cluster.urls();
        nodes.rotate_left(number % 3);
        let room = running.rooms[number % 2].clone();
        let name = &account.user.username;
        watchers.push((room.clone(), Watcher::start(&nodes, &room, name, &cookies, running.clock)));
    }
    for (_, watcher) in &watchers {
        watcher.connected(1, PROGRESS).await.expect("a stream");
    }
    running.progress(150, PROGRESS).await.expect("it works before");
    cluster.kill9(1);
    running.progress(200, PROGRESS).await.expect("it works on two nodes");
    cluster.restart(1).await;
    // A node that goes in order leads its streams away.
    cluster.terminate(0).await;
    running.progress(100, PROGRESS).await.expect("it works on two nodes");
    let mut finished = running.finish(QUIET).await.expect("the workload ends");
    for (room, watcher) in &watchers {
        let history = finished.histories.iter().find(|history| history.room == *room).expect("its history");
        watcher.reaches(history.head, QUIET).await.expect("it is told all");
        finished.logs.push(watcher.log());
    }
    finished.report = check(&finished.logs, &finished.histories);
    assert_green("watchers and a killed node", &finished, &nodes(&cluster));
    let resumed = watchers.iter().filter(|(_, watcher)| watcher.connections() > 1).count();
    assert!(resumed >= WATCHERS / 2, "only {resumed} had to come back");
    let mut lives = 0;
    for entry in watchers.iter().flat_map(|(_, watcher)| watcher.log().entries) {
        match entry.event {
            Event::Joined(snapshot) => {
                let far_behind = snapshot.asked_after.is_some_and(|after| snapshot.seq > after + RESUME_MAX);
                assert!(!snapshot.reset || far_behind, "begun anew without need: {snapshot:?}");
            }
            Event::Live { .. } => lives += 1,
            _ => {}
        }
    }
    assert!(lives > 500, "{lives} changes were told live");
    let went_back = cluster.nodes[2].metric("salon_clock_went_back_total").await;
    assert!(went_back < 1.0, "a clock went back");
}

/// Without the epoch in its address a stream cannot know of a clock that went back while it was away: `joined` says it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_went_back_is_told_to_streams() {
    let cluster = Cluster::start(1).await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("restored"), "public").await.expect("a room");
    let mut socket = crate::events::cluster::socket(&cluster, &alice, &room.slug).await;
    for content in ["one", "two", "three", "four"] {
        say(&mut socket, &room.slug, content).await;
    }
    let asking = |query: &str| Asking::new(&cluster.url(0), &room.slug).cookies(&alice.http).query(query);
    let mut events = asking("").open().await.expect("a stream");
    let before = events.expect("joined").await.expect("joined");
    let id = room.id;
    let forget = format!(
        "BEGIN; DELETE FROM messages WHERE room_id = {id} AND seq > 2;
         UPDATE room_clocks SET seq = 2 WHERE room_id = {id}; COMMIT"
    );
    postgres::connect(&cluster.database).await.batch_execute(&forget).await.expect("as restored");
    let (event, anew) = events
        .expect_where("a new start", |event, frame| event.kind == "joined" && frame["reset"] == true)
        .await
        .expect("told");
    assert_eq!((event.id.as_deref(), &anew["seq"]), (Some("2"), &json!(2)), "its place goes back with the clock");
    assert_ne!(anew["epoch"], before["epoch"]);
    say(&mut socket, &room.slug, "another three").await;
    assert_eq!(events.expect("chat_message").await.expect("told")["seq"], 3);
    // Back with a place of before: by the epoch in its address it starts anew, and without one `joined` tells.
    let epoch = before["epoch"].as_str().expect("an epoch");
    let mut known = asking(&format!("?epoch={epoch}")).header("last-event-id", "3").open().await.expect("a stream");
    assert_eq!(known.expect("joined").await.expect("joined")["reset"], true);
    let mut blind = asking("").header("last-event-id", "3").open().await.expect("a stream");
    let told = blind.expect("joined").await.expect("joined");
    assert_eq!((&told["epoch"], &told["reset"]), (&anew["epoch"], &json!(false)));
}

/// A browser gives up for good on any answer but 200: one that comes back while the database is away gets a stream of
/// nothing, and later its messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_comes_back_while_the_database_is_away_is_told_to_try_again() {
    let cluster = Cluster::of(1).postgres_proxied(0).start().await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("away"), "public").await.expect("a room").slug;
    let mut socket = socket(&cluster, &alice, &room).await;
    say(&mut socket, &room, "one").await;
    let asking = Asking::new(&cluster.url(0), &room).cookies(&alice.http);
    cluster.postgres_proxy(0).blackhole(Way::ToServer);
    let problem = asking.refused().await.expect("an answer");
    assert_eq!(problem.status, 503, "{}", problem.json());
    let back = asking.header("last-event-id", "0");
    let mut nothing = back.open().await.expect("a stream of nothing");
    assert_eq!(nothing.rest(Duration::from_secs(10)).await.expect("an end"), []);
    assert!(nothing.retry.is_some(), "it says when to come back");
    cluster.postgres_proxy(0).pass();
    let deadline = Instant::now() + PROGRESS;
    loop {
        match back.open().await {
            Ok(mut events) => {
                if let Ok(joined) = events.expect("joined").await {
                    assert_eq!(joined["messages"][0]["content"], "one", "{joined}");
                    return;
                }
            }
            Err(NoStream::Failed(_)) => {}
            Err(NoStream::Answered(answer)) => panic!("{} {}", answer.status, answer.json()),
        }
        assert!(Instant::now() < deadline, "the database is back, the stream is not");
        sleep(Duration::from_millis(200)).await;
    }
}

/// A node's `retry` and its own end must be right for what stands before it, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_through_nginx_is_live() {
    let cluster = Cluster::start(2).await;
    let nginx = Nginx::start(&cluster.urls());
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("proxied"), "public").await.expect("a room").slug;
    let mut events = Asking::new(&nginx.url(), &room).cookies(&alice.http).open().await.expect("a stream");
    events.expect("joined").await.expect("joined");
    let mut socket = socket(&cluster, &alice, &room).await;
    for number in 0..5 {
        let began = Instant::now();
        say(&mut socket, &room, &format!("{number}")).await;
        let told = events.expect("chat_message").await.expect("told at once, not when some kilobytes have gathered");
        assert_eq!(told["content"], format!("{number}"));
        eprintln!("through nginx and another node after {:?}", began.elapsed());
    }
}

async fn socket(
    cluster: &Cluster,
    account: &salon::engine::http::Account,
    room: &str,
) -> salon::engine::socket::Socket {
    let opening = salon::engine::socket::Opening::new(&cluster.url(0)).cookies(&account.http);
    let mut socket = opening.welcomed().await.expect("a socket");
    assert_eq!(socket.join(room).await.expect("an answer")["type"], "joined");
    socket
}
