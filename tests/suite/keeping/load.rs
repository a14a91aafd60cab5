//! Chat goes on while many old messages are removed.

use std::time::{Duration, Instant};

use salon::engine::socket::Opening;
use salon::engine::workload::{Mix, Pace, Plan, Stop, percentile};
use serde_json::json;

use super::{SOON, Site};
use crate::support::cluster::assert_green;
use crate::support::measure::measured;
use crate::support::node::unique;

/// What a send may take while messages of its room are removed.
const ACKED: Duration = Duration::from_millis(250);
/// A removal of this many is over by then, on whatever machine.
const REMOVED: Duration = Duration::from_secs(240);

async fn sends_go_on(site: &Site, what: &str, old: u64) {
    let alice = site.user("alice").await;
    let room = alice.http.create_room(&unique("busy"), "public").await.expect("a room");
    let id = room.id;
    let author = alice.user.id;
    let fresh = |now: &str, series: &str, fingerprint: &str| {
        format!(
            "INSERT INTO messages (room_id, id, seq, author_id, created_at, fingerprint, nonce, content)
             SELECT {id}, n, n, {author}, {now}, {fingerprint}, 'old' || n, 'an old message number ' || n FROM {series};
             UPDATE room_clocks SET seq = {old} WHERE room_id = {id}"
        )
    };
    let series =
        format!("(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {old}) SELECT n FROM s)");
    let on_sqlite = fresh("unixepoch() * 1000", &series, "zeroblob(16)");
    let series = format!("generate_series(1, {old}) n");
    let on_postgres = fresh("clock_timestamp()", &series, "decode(repeat('00', 16), 'hex')");
    site.execute(&on_sqlite, &on_postgres).await;

    let urls = site.urls();
    let mut socket =
        Opening::new(urls.last().expect("a node")).cookies(&alice.http).welcomed().await.expect("a socket");
    socket.join(&room.slug).await.expect("joined");
    let mut send = async |number: u64| {
        let began = Instant::now();
        let frame = json!({"type": "send", "room": room.slug, "content": format!("new {number}")});
        let ack = socket.ask(frame).await.expect("an answer");
        assert_eq!(ack["type"], "ack", "{ack}");
        socket.passed.clear();
        began.elapsed()
    };
    let mut before = Vec::new();
    for number in 0..200 {
        before.push(send(number).await);
    }
    site.age(id, old).await;
    let (mut during, began) = (Vec::new(), Instant::now());
    let gone = format!("SELECT purged FROM room_clocks WHERE room_id = {id}");
    let mut number = 200;
    loop {
        during.push(send(number).await);
        number += 1;
        if number % 20 == 0 && site.count(&gone).await >= i64::try_from(old).expect("small") {
            break;
        }
        assert!(began.elapsed() < REMOVED, "not all is gone");
    }
    let took = began.elapsed();
    before.sort_unstable();
    during.sort_unstable();
    let rate = old as f64 / took.as_secs_f64();
    eprintln!(
        "{what}: {old} old messages removed in {took:.1?} ({rate:.0} a second) beside {} sends: ack p50 {:.1?} → {:.1?}, \
         p99 {:.1?} → {:.1?}, longest {:.1?} → {:.1?}",
        during.len(),
        percentile(&before, 0.5),
        percentile(&during, 0.5),
        percentile(&before, 0.99),
        percentile(&during, 0.99),
        percentile(&before, 1.0),
        percentile(&during, 1.0),
    );
    measured(what, "p99 of acks while old messages are removed", percentile(&during, 0.99), ACKED);
    measured(what, "the longest ack while old messages are removed", percentile(&during, 1.0), 2 * ACKED);
    let left = format!("SELECT count(*) FROM messages WHERE room_id = {id}");
    assert_eq!(site.count(&left).await, i64::try_from(number).expect("small"), "nothing that is young went");
    site.is_not_alarmed().await;
}

/// Clients that come, go, fall behind, edit and delete are told the same, whatever is removed beneath them.
async fn a_workload_is_green(site: &Site, what: &str) {
    let plan = Plan {
        nodes: site.urls(),
        clients: 6,
        rooms: 2,
        prefix: unique("keep"),
        mix: Mix { edit: 0.15, delete: 0.07, leave: 0.03, cut: 0.02 },
        pace: Pace::InFlight(2),
        stop: Stop::Told,
        ..Plan::default()
    };
    let mut running = plan.start().await.expect("the workload starts");
    for _ in 0..4 {
        running.progress(150, SOON).await.expect("it works");
        for slug in running.rooms.clone() {
            let room = running.reader.http.room(&slug).await.expect("a room");
            let upto = room.seq.saturating_sub(40);
            site.age(room.id, upto).await;
            let before = running.purged.insert(slug, upto).unwrap_or(0);
            assert!(upto > before, "the room goes on");
            let gone = format!("SELECT count(*) FROM messages WHERE room_id = {} AND id <= {upto}", room.id);
            let deadline = Instant::now() + SOON;
            while site.count(&gone).await > 0 {
                assert!(Instant::now() < deadline, "it is not removed");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    running.progress(100, SOON).await.expect("it works again");
    let finished = running.finish(2 * SOON).await.expect("quiet");
    assert_green(what, &finished, &site.nodes());
    let counts = &finished.report.counts;
    assert!(counts.resumes > 0 && counts.sends_acked > 400, "{counts:?}");
    for history in &finished.histories {
        assert!(history.messages.first().is_none_or(|message| message.id > history.purged));
    }
    site.is_not_alarmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_node_sends_go_on() {
    sends_go_on(&Site::single(&[]).await, "retention on SQLite", 100_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_sends_go_on() {
    sends_go_on(&Site::cluster(&[]).await, "retention on Postgres", 100_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_node_the_workload_is_green() {
    a_workload_is_green(&Site::single(&[]).await, "retention on SQLite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_the_workload_is_green() {
    a_workload_is_green(&Site::cluster(&[]).await, "retention on a cluster").await;
}
