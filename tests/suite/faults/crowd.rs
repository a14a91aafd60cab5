//! A crowd that comes back all at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use salon::engine::http::Account;
use salon::engine::socket::{Opening, Socket};
use serde_json::json;
use tokio::time::timeout;

use super::database::{cluster_on, joined, urls, well};
use super::trial::Watch;
use crate::support::measure::{SLACK, counted, measured};
use crate::support::node::{PATIENCE, unique};
use crate::support::postgres::{Postgres, statements};

const CROWD: usize = 5_000;
const PEOPLE: usize = 15;
const MISSED: u64 = 10;
/// Not promised, and for the clients, which live in the test's own process, too.
const BACK: Duration = Duration::from_secs(20);
/// One query for twenty sockets at most.
const QUERIES: usize = CROWD / 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_comes_back_asks_the_database_little() {
    let server = Postgres::start_counting();
    let database = server.counted_database().await;
    let nodes = cluster_on(&database, &[&[]]).await;
    let node = &nodes[0];
    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        people.push(Account::register(&node.url(), &unique("crowd")).await.expect("registration"));
    }
    let room = people[0].http.create_room(&unique("crowd"), "public").await.expect("a room").slug;
    let mut speaker = joined(&node.url(), &people[0], &room).await;
    for number in 0..MISSED * 3 {
        let send = json!({"type": "send", "room": room, "content": format!("{number}")});
        assert_eq!(speaker.ask(send).await.expect("an answer")["type"], "ack");
    }
    drop(speaker);
    // Nothing is in the node's memory when they come.
    node.kill9();
    node.restart().await;
    let watch = Watch::start(urls(&nodes));
    let (before, began) = (statements(&database).await, Instant::now());
    // Each a task of its own, as each is a machine of its own in life.
    let crowd = (0..CROWD).map(|number| {
        let opening = Opening::new(&node.url()).cookies(&people[number % PEOPLE].http);
        tokio::spawn(come_back(opening, room.clone()))
    });
    let crowd = timeout(SLACK * BACK, join_all(crowd)).await.expect("all are back");
    let took = began.elapsed();
    let asked = usize::try_from(statements(&database).await - before).expect("a count");
    measured("5,000 sockets come back at once", "all have what they missed", took, BACK);
    counted("5,000 sockets come back at once", "database queries", asked, QUERIES);
    node.ready(PATIENCE).await.expect("ready");
    well(node).await;
    watch.always_well(&[0]);
    assert!(crowd.iter().all(Result::is_ok), "everybody is there");
}

/// With what they have, so that they are given what they missed.
async fn come_back(opening: Opening, room: String) -> Socket {
    let (head, after) = (MISSED * 3, MISSED * 2);
    loop {
        // The kernel's queue of connections may be full for a moment; a client comes again.
        let Ok(mut socket) = opening.welcomed().await else { continue };
        let Ok(joined) = socket.ask(json!({"type": "join", "room": room, "after": after})).await else { continue };
        let messages = joined["messages"].as_array().expect("messages");
        let seqs: Vec<u64> = messages.iter().map(|message| message["seq"].as_u64().unwrap_or(0)).collect();
        assert_eq!((seqs, &joined["reset"]), ((after + 1..=head).collect(), &json!(false)), "{joined}");
        return socket;
    }
}
