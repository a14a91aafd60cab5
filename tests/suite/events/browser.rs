//! A real browser's own `EventSource`, with no script of ours.

use std::time::{Duration, Instant};

use fantoccini::Client;
use salon::engine::http::Account;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::browser::Browsers;
use crate::support::cluster::Cluster;
use crate::support::nginx::Nginx;
use crate::support::node::unique;

const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGES: u64 = 40;

/// Logs in, and keeps what an `EventSource` gives; all that a page has to do.
const WATCH: &str = r"
    const [room, username, password, done] = arguments;
    (async () => {
      await fetch('/api/account/login', {
        method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify({username, password}),
      });
      window.seen = []; window.opened = 0;
      window.source = new EventSource(`/api/rooms/${room}/events`);
      source.onopen = () => { window.opened += 1; };
      for (const kind of ['joined', 'chat_message', 'message_edited', 'message_deleted', 'reconnect']) {
        source.addEventListener(kind, (event) => seen.push({id: event.lastEventId, frame: JSON.parse(event.data)}));
      }
      done(true);
    })();";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_event_source_loses_nothing_when_its_nodes_die() {
    let cluster = Cluster::of(3).env("SALON_DRAIN__TIMEOUT_S", "10").start().await;
    let nginx = Nginx::start(&cluster.urls());
    let browsers = Browsers::start().await;
    let page = browsers.open("watcher").await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.http.create_room(&unique("watched"), "public").await.expect("a room").slug;
    let bob = cluster.user(0, "bob").await;
    // A page of the same origin that has no script of ours.
    page.goto(&format!("{}/livez", nginx.url())).await.expect("a page");
    let arguments = vec![json!(room), json!(bob.user.username), json!(bob.password)];
    page.execute_async(WATCH, arguments).await.expect("an EventSource");
    waits(&page, "to be connected", "return window.seen.length > 0").await;

    let mut sent = 0;
    for phase in ["at first", "after kill -9", "after a drain", "after another kill -9"] {
        match phase {
            "after kill -9" => cluster.kill9(holder(&cluster, &[0, 1, 2]).await),
            "after a drain" => {
                let running = running(&cluster);
                cluster.terminate(holder(&cluster, &running).await).await;
                for node in 0..3 {
                    if !cluster.nodes[node].is_running() {
                        cluster.restart(node).await;
                    }
                }
            }
            "after another kill -9" => cluster.kill9(holder(&cluster, &running(&cluster)).await),
            _ => {}
        }
        sent = speak(&cluster, &alice, &room, sent).await;
        waits(&page, phase, &format!("return window.seen.some(({{id}}) => Number(id) >= {sent})")).await;
    }
    let opened = page.execute("return window.opened", vec![]).await.expect("a number");
    let seen = page.execute("return window.seen", vec![]).await.expect("what it saw");
    contiguous(seen.as_array().expect("a list"), sent);
    println!("a plain EventSource was connected {opened} times and missed none of {sent} messages");
    assert!(opened.as_u64().is_some_and(|times| times >= 4), "{opened}");
    page.close().await.expect("the browser closes");
}

/// What a page may rely on: every change follows the one before, or says from where it speaks.
fn contiguous(seen: &[Value], head: u64) {
    let mut told: Option<u64> = None;
    for event in seen {
        let frame = &event["frame"];
        let Some(seq) = frame["seq"].as_u64() else { continue };
        assert_eq!(event["id"], seq.to_string(), "{event}");
        if frame["type"] == "joined" {
            assert_eq!(frame["reset"], false, "{frame}");
            let mut next = told.map_or(1, |told| told + 1);
            for message in frame["messages"].as_array().expect("messages") {
                assert_eq!(message["seq"], next, "{frame}");
                next += 1;
            }
            assert_eq!(next, seq + 1, "{frame}");
        } else {
            assert_eq!(frame["from"].as_u64().unwrap_or(seq), told.expect("joined first") + 1, "{frame}");
        }
        told = Some(seq);
    }
    assert_eq!(told, Some(head));
}

fn running(cluster: &Cluster) -> Vec<usize> {
    (0..3).filter(|node| cluster.nodes[*node].is_running()).collect()
}

/// The node that holds the browser's stream.
async fn holder(cluster: &Cluster, nodes: &[usize]) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for node in nodes {
            if cluster.nodes[*node].metric("salon_event_streams").await > 0.5 {
                return *node;
            }
        }
        assert!(Instant::now() < deadline, "no node has the stream");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Says some more through whichever node runs.
async fn speak(cluster: &Cluster, alice: &Account, room: &str, sent: u64) -> u64 {
    let node = running(cluster)[0];
    let http = alice.http.at(&cluster.url(node));
    for number in sent + 1..=sent + MESSAGES {
        let body = json!({"content": format!("message {number}"), "nonce": format!("n{number}")});
        let answer = http.post(&format!("/api/rooms/{room}/messages"), body).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.json());
    }
    sent + MESSAGES
}

async fn waits(page: &Client, what: &str, script: &str) {
    let deadline = Instant::now() + PATIENCE;
    while page.execute(script, vec![]).await.expect("an answer") != json!(true) {
        if Instant::now() > deadline {
            let seen = page.execute("return [source.readyState, window.opened, window.seen.length]", vec![]).await;
            panic!("waited for {what}: {seen:?}");
        }
        sleep(Duration::from_millis(50)).await;
    }
}
