//! Nodes whose clocks are wrong: no message has their time, everybody can log in and chat, who was put out is out, and
//! operators can see which node it is.

use std::time::{Duration, Instant, SystemTime};

use salon::engine::http::{Account, Http};
use salon::engine::socket::Opening;
use salon::engine::workload::{Mix, Pace, Plan, Stop};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;

use super::database::{QUIET, cluster_on, joined, urls, well};
use super::trial::Watch;
use crate::revocations::operator;
use crate::support::cluster::assert_green;
use crate::support::measure::{SLACK, measured};
use crate::support::node::{Node, PATIENCE, unique};
use crate::support::postgres::{self, Postgres};

/// How far two machines' clocks may be apart without anybody being wrong.
const CLOCKS: Duration = Duration::from_secs(60);

/// A disabled user is out by then (G12).
const OUT: Duration = Duration::from_secs(5);

/// Debian's `faketime`, for the wall clock alone: waits are by the other one, which nobody sets.
fn faketime() -> String {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|file| file.exists());
    found.expect("the package faketime is installed").display().to_string()
}

fn timestamp(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Three nodes: one has the right time, one is an hour ahead, one an hour behind.
async fn clocked(database: &str) -> Vec<Node> {
    let library = faketime();
    let off =
        |by: &'static str| [("LD_PRELOAD", library.as_str()), ("FAKETIME", by), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let (ahead, behind) = (off("+1h"), off("-1h"));
    cluster_on(database, &[&[], &ahead, &behind]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_node_is_an_hour_off() {
    let nodes = clocked(&Postgres::shared().fresh_database().await).await;
    let watch = Watch::start(urls(&nodes));
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
    watch.always_well(&[0, 1, 2]);

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

/// A token carries the time of the node that signed it, a disabling that of the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_user_is_out_whatever_the_clock_of_their_node_says() {
    let database = Postgres::shared().fresh_database().await;
    let nodes = clocked(&database).await;
    for (node, hours) in nodes.iter().zip([0.0, 1.0, -1.0]) {
        let skew = node.metric("salon_clock_skew_seconds").await;
        assert!((skew - hours * 3_600.0).abs() < 2.0, "{hours} hours off are told as {skew} s");

        let person = Account::register(&node.url(), &unique("disabled")).await.expect("registration");
        let token = person.token().await.expect("a log-in");
        let opening = Opening::new(&node.url());
        let mut sockets = [
            opening.clone().cookies(&person.http).welcomed().await.expect("a socket by cookie"),
            opening.clone().bearer(&token).welcomed().await.expect("a socket by token"),
        ];
        operator(&database, &["user", "disable", &person.user.username]).await;
        let disabled = Instant::now();
        for socket in &mut sockets {
            assert_eq!(socket.closed(SLACK * OUT).await.expect("closed"), Some(4503), "{hours} hours off");
        }
        measured("a clock an hour off", "the sockets of a disabled user are closed", disabled.elapsed(), OUT);
        let by_token = Http::bearer(&node.url(), &token);
        for http in [&person.http, &by_token] {
            assert_eq!(http.get("/api/account").await.expect("an answer").status, 401, "{hours} hours off");
        }

        // Once they are enabled again they are let in, and nothing of the past puts them out.
        let enable = format!("UPDATE users SET disabled = false WHERE id = {}", person.user.id);
        postgres::execute(&database, &enable).await;
        let body = json!({"username": person.user.username, "password": person.password});
        assert_eq!(person.http.post("/api/account/login", body).await.expect("an answer").status, 200);
        let mut back = opening.cookies(&person.http).welcomed().await.expect("a socket");
        looked_twice(node).await;
        back.drained().await.expect("it stays");
        assert_eq!(by_token.get("/api/account").await.expect("an answer").status, 401, "the token of before");
    }
}

/// Waits until the node has looked at the store from beginning to end.
async fn looked_twice(node: &Node) {
    let looks = "salon_beacon_seconds_count";
    let (before, deadline) = (node.metric(looks).await, Instant::now() + PATIENCE);
    while node.metric(looks).await < before + 2.0 {
        assert!(Instant::now() < deadline, "it does not look any more");
        sleep(Duration::from_millis(50)).await;
    }
}
