//! The embedded default: one process, a SQLite file, nothing else. The same promises.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use salon::engine::http::Http;
use salon::engine::workload::{Pace, Plan, Stop};
use serde_json::json;
use tokio::time::sleep;

use crate::support::cluster::assert_green;
use crate::support::node::{PATIENCE, Single, free_port, unique};

const QUIET: Duration = Duration::from_secs(60);

fn plan(single: &Single, name: &str) -> Plan {
    Plan { nodes: vec![single.url()], clients: 8, prefix: unique(name), ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workload_is_green_and_survives_a_restart() {
    let single = Single::start().await;
    let plan = Plan { stop: Stop::After(50), ..plan(&single, "same") };
    let mut running = plan.start().await.expect("the workload starts");
    running.driven().await.expect("the workload ends");
    let (reader, rooms) = (running.reader.clone(), running.rooms.clone());
    let finished = running.finish(QUIET).await.expect("quiet");
    assert_green("one node on SQLite", &finished, &[&single.node]);
    assert!(finished.report.counts.sends_acked > 150, "{:?}", finished.report.counts);

    single.node.terminate().await;
    single.node.restart().await;
    for (room, before) in rooms.iter().zip(&finished.histories) {
        let after = reader.http.history(room).await.expect("history, and the log-in, are still there");
        assert_eq!((&after.epoch, after.head), (&before.epoch, before.head));
        assert_eq!(after.messages, before.messages);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_keeps_every_acknowledged_message() {
    let single = Single::start().await;
    let plan = Plan { stop: Stop::Told, pace: Pace::InFlight(3), ..plan(&single, "kill") };
    let running = plan.start().await.expect("the workload starts");
    for _ in 0..2 {
        running.progress(100, PATIENCE).await.expect("it works");
        single.node.kill9();
        single.node.restart().await;
    }
    running.progress(100, PATIENCE).await.expect("it works again");
    let finished = running.finish(QUIET).await.expect("quiet");
    assert_green("kill -9 on SQLite, twice", &finished, &[&single.node]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probes_and_the_metrics_answer() {
    let single = Single::shared().await;
    for base in [single.url(), single.node.admin_url()] {
        let http = Http::new(&base);
        assert_eq!(http.get("/livez").await.expect("an answer").status, 200);
        let ready = http.get("/readyz").await.expect("an answer");
        assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready", "degraded": []})));
    }
    assert_eq!(Http::new(&single.url()).get("/metrics").await.expect("an answer").status, 404, "for operators only");
    let before = single.node.metric("salon_messages_total").await;
    let alice = single.user("alice").await;
    let room = alice.http.create_room(&unique("metrics"), "public").await.expect("a room").slug;
    let sent = alice.http.post(&format!("/api/rooms/{room}/messages"), json!({"content": "counted"})).await;
    assert_eq!(sent.expect("an answer").status, 201);
    assert!(single.node.metric("salon_messages_total").await > before);
    metrics_keep_to_their_form(&single.node.metrics().await, &[&room, &alice.user.username]);
}

/// Every series has help and type, is ours by name, and no label tells of a room or a user.
fn metrics_keep_to_their_form(text: &str, secrets: &[&str]) {
    let told = |word: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(word));
        lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let (helps, types) = (told("# HELP "), told("# TYPE "));
    assert!(!types.is_empty(), "no metrics: {text}");
    for name in &types {
        assert!(name.starts_with("salon_"), "{name}");
        assert!(helps.contains(name), "{name} has no help");
    }
    for line in text.lines().filter(|line| line.ends_with(" counter")) {
        let name = line.split(' ').nth(2).unwrap_or("");
        assert!(name.ends_with("_total"), "{line}");
    }
    for secret in secrets {
        assert!(!text.contains(secret), "the metrics tell {secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_file_is_refused() {
    let single = Single::start().await;
    let mut second = Command::new(env!("CARGO_BIN_EXE_salon"))
        .current_dir(single.data.path())
        .env("SALON_DATABASE__URL", format!("sqlite:{}", single.database().display()))
        .env("SALON_SERVER__LISTEN", format!("127.0.0.1:{}", free_port()))
        .env("SALON_ADMIN__LISTEN", format!("127.0.0.1:{}", free_port()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = second.try_wait().expect("a child of ours") {
            break Some(status);
        }
        if Instant::now() > deadline {
            break None;
        }
        sleep(Duration::from_millis(50)).await;
    };
    if status.is_none() {
        second.kill().expect("a child of ours");
        second.wait().expect("a child of ours");
    }
    assert_eq!(status.and_then(|status| status.code()), Some(1), "it must not share the file");
    assert_eq!(Http::new(&single.url()).get("/readyz").await.expect("the first goes on").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_messages_are_refused_and_the_socket_stays() {
    let single =
        Single::start_with(&[("SALON_LIMITS__MESSAGES_PER_S", "1"), ("SALON_LIMITS__MESSAGE_BURST", "3")]).await;
    let alice = single.user("alice").await;
    let room = alice.http.create_room(&unique("limits"), "public").await.expect("a room").slug;
    let mut socket =
        salon::engine::socket::Opening::new(&single.url()).cookies(&alice.http).welcomed().await.expect("a socket");
    let mut acks = 0;
    let refused = loop {
        let answer = socket
            .ask(json!({"type": "send", "room": room, "content": "again", "nonce": unique("n")}))
            .await
            .expect("one");
        if answer["type"] == "error" {
            break answer;
        }
        acks += 1;
        assert!(acks < 20, "nothing was refused");
    };
    assert!(acks >= 3, "the burst is allowed: {acks}");
    assert_eq!((&refused["code"], &refused["room"]), (&json!("rate_limited"), &json!(room)), "{refused}");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1_000).contains(&ms)), "{refused}");
    let answer =
        alice.http.post(&format!("/api/rooms/{room}/messages"), json!({"content": "again"})).await.expect("one");
    assert_eq!((answer.status, &answer.json()["code"]), (429, &json!("rate_limited")), "the limit is the user's");
    assert!(answer.header("retry-after").is_some());
    socket.drained().await.expect("the socket stays");
}
