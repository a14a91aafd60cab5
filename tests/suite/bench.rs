//! `salon-bench` at a tiny size: it measures real nodes and tells the figures, and it fails when the way to them loses,
//! doubles, reorders or mistakes what it was told.

mod meddler;
mod reports;
mod wrong;

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::cluster::Cluster;
use crate::support::node::Single;
use meddler::{Fault, Meddler};

pub const KEY: &str = "the key of the users of a measurement";

pub const ISSUER: &str = r#"
[[auth.issuers]]
name = "bench"
algorithm = "HS256"
key = "the key of the users of a measurement"
audience = "salon"
"#;

pub const FANOUT: [&str; 8] =
    ["fanout", "--rooms=2", "--members=5", "--senders=2", "--in-flight=4", "--seconds=1", "--warmup=0", "--json"];
const WHO: [&str; 4] = ["--issuer-key", KEY, "--audience", "salon"];

pub fn command(urls: &[String], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_salon-bench"));
    command.args(urls.iter().flat_map(|url| ["--url", url])).args(arguments).kill_on_drop(true);
    command.env_remove("SALON_BENCH_ISSUER_KEY").env_remove("SALON_BENCH_PASSWORD");
    command
}

pub async fn bench(urls: &[String], arguments: &[&str]) -> Output {
    timeout(Duration::from_secs(120), command(urls, arguments).output()).await.expect("in time").expect("it runs")
}

/// The result of a run that must succeed, and the seconds told before it.
async fn told(urls: &[String], arguments: &[&str]) -> (Value, Vec<Value>) {
    let output = bench(urls, arguments).await;
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}{errors}");
    assert!(!told.contains(KEY), "the key is told: {told}");
    let lines = told.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")));
    let mut lines: Vec<Value> = lines.collect();
    let result = lines.pop().expect("a result");
    assert_eq!(result["type"], "result");
    assert_eq!(result["violations"], serde_json::json!([]));
    assert!(!lines.is_empty() && lines.iter().all(|line| line["type"] == "second"), "{lines:?}");
    (result, lines)
}

/// The figures of a run that must succeed, by users of the issuer.
async fn figures(url: &str, arguments: &[&str]) -> Value {
    told(&[url.to_owned()], &[arguments, &WHO].concat()).await.0
}

#[track_caller]
fn assert_positive(figures: &Value, keys: &[&str]) {
    for key in keys {
        assert!(figures[*key].as_f64().is_some_and(|value| value > 0.0), "{key} in {figures}");
    }
}

#[track_caller]
fn assert_ordered(figures: &Value, thing: &str) {
    let names = ["p50", "p90", "p99", "p99_9", "max"];
    let values = names.map(|name| figures[format!("{thing}_{name}_ms")].as_f64().unwrap_or(0.0));
    assert!(0.0 < values[0] && values.is_sorted() && values[4] < 60_000.0, "{thing}: {figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_full_of_members_are_measured_and_checked() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let (url, pid) = (single.url(), format!("node={}", single.node.pid()));
    let (result, seconds) = told(std::slice::from_ref(&url), &[&FANOUT[..], &WHO, &["--pid", &pid]].concat()).await;
    assert_positive(&result, &["acked_per_s", "deliveries", "deliveries_per_s"]);
    assert_positive(&result, &["cpu_us_per_delivery", "cpu_us_per_delivery_node", "cpu_us_per_message", "cpu_s_node"]);
    assert_positive(&result, &["own_cpu_s", "own_cpu_share", "resident_kib_node"]);
    assert_ordered(&result, "ack");
    assert_ordered(&result, "receipt");
    for fault in ["lost", "reordered", "duplicated"] {
        assert_eq!(result[fault], 0.0, "{result}");
    }
    // What is acknowledged at the edges of the measured time may be delivered beyond them.
    let (acked, delivered) =
        (result["acked"].as_f64().expect("a number"), result["deliveries"].as_f64().expect("a number"));
    assert!((delivered / acked - 5.0).abs() < 1.0, "five of each: {result}");
    assert!(result["machine"].as_str().is_some_and(|text| text.contains("GiB")), "{result}");
    assert!(result["command"].as_str().is_some_and(|text| text.contains("fanout --rooms=2")), "{result}");
    assert_positive(&seconds[0], &["at_s", "acked_per_s", "deliveries_per_s", "p50_ms", "p99_ms", "max_ms"]);
    assert!(seconds[0]["cores"]["node"].is_number() && seconds[0]["cores"]["salon-bench"].is_number(), "{seconds:?}");

    let sends = ["sends", "--rooms=4", "--senders=2", "--seconds=1", "--warmup=0", "--json", "--pid", &pid];
    for joined in [&[][..], &["--joined"]] {
        let told = figures(&url, &[&sends[..], joined].concat()).await;
        assert_eq!((&told["sockets"], &told["rooms"]), (&8.0.into(), &4.0.into()));
        assert_positive(&told, &["acked", "acked_per_s", "cpu_us_per_message"]);
        assert_ordered(&told, "ack");
        assert_eq!(told.get("deliveries").is_some(), !joined.is_empty(), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_come_stay_and_come_back_are_measured() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let (url, pid) = (single.url(), format!("node={}", single.node.pid()));
    let common = ["--sockets=60", "--rooms=3", "--json", "--pid", &pid];

    let told = figures(&url, &[&["connect"][..], &common].concat()).await;
    assert_eq!(told["sockets"], 60.0);
    assert_positive(&told, &["elapsed_s", "opened_per_s", "cpu_us_per_socket", "first_cpu_us_per_socket"]);
    assert_ordered(&told, "upgrade");
    assert_ordered(&told, "open");
    // Of twenty users of a room the first is announced to nobody, the last to nineteen, unless they come at the same
    // moment; their further sockets to none.
    assert_eq!(told["announcements"], 0.0, "{told}");
    let announced = told["first_announcements_all"].as_f64().expect("a number");
    assert!(0.0 < announced && announced <= 3.0 * 190.0, "{told}");

    let told = figures(&url, &[&["idle", "--seconds=1", "--sockets-per-user=20"][..], &common].concat()).await;
    assert_eq!(told["sockets"], 60.0);
    assert_positive(&told, &["rss_before_kib", "rss_after_kib", "opened_per_s", "cpu_us_per_socket"]);
    let number = |key: &str| told[key].as_f64().expect("a number");
    // Said in decimals, so the last bit may be another one.
    let grown = number("rss_after_kib") - number("rss_before_kib");
    assert!((number("rss_kib_per_socket") - grown / 60.0).abs() < 1e-6, "{told}");
    assert_ordered(&told, "open");

    let storm = ["storm", "--senders=2", "--rate=50", "--warmup=1", "--seconds=1"];
    let told = figures(&url, &[&storm[..], &common].concat()).await;
    assert_eq!((&told["sockets"], &told["lost"], &told["duplicated"]), (&60.0.into(), &0.0.into(), &0.0.into()));
    assert_positive(&told, &["caught_up_s", "acked_per_s", "offered_per_s", "cpu_us_per_socket_node"]);
    assert_ordered(&told, "back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_room_is_read_back_and_resumed_from_behind() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let history = ["history", "--messages=700", "--readers=2", "--seconds=1", "--behind=50,400,650", "--json"];
    let told = figures(&single.url(), &history).await;
    assert!(told["messages"].as_f64().is_some_and(|count| count >= 700.0), "{told}");
    for way in ["page", "resume_50", "resume_400", "resume_650"] {
        assert_positive(&told, &[&format!("{way}_per_s"), &format!("{way}_messages_per_s")]);
        assert_ordered(&told, way);
    }
}

/// Each node gets its part of the sockets, whose users log in by password here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_driven_through_all_its_nodes() {
    let cluster = Cluster::start(3).await;
    let who = ["--password", "correct horse battery", "--sockets-per-user=15", "--json"];
    let run = async |arguments: &[&str]| told(&cluster.urls(), &[arguments, &who].concat()).await.0;
    let fanout = ["fanout", "--rooms=3", "--members=10", "--senders=1", "--rate=60", "--seconds=2", "--warmup=0"];
    let told = run(&fanout).await;
    assert_positive(&told, &["acked_per_s", "deliveries_per_s", "offered_per_s", "late_max_ms"]);
    assert_eq!((&told["sockets"], &told["lost"]), (&30.0.into(), &0.0.into()));
    for node in &cluster.nodes {
        assert!(node.metric("salon_deliveries_total").await > 0.0, "a node got no socket: {told}");
    }
    let told = run(&["storm", "--sockets=30", "--rooms=3", "--senders=3", "--rate=50", "--seconds=1"]).await;
    assert_positive(&told, &["caught_up_s", "acked_per_s"]);
    let told = run(&["connect", "--sockets=30", "--rooms=3"]).await;
    assert_positive(&told, &["opened_per_s"]);
    let told = run(&["history", "--messages=300", "--readers=3", "--seconds=1", "--behind=100"]).await;
    assert_positive(&told, &["page_per_s", "resume_100_per_s"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_promise_fails_the_run() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let faults = [
        (Fault::Loses, "lost"),
        (Fault::Doubles, "duplicated"),
        (Fault::Swaps, "reordered"),
        (Fault::Mistakes, "nothing of these"),
    ];
    for (fault, counted) in faults {
        let meddler = Meddler::start(single.url(), fault).await;
        let output = bench(&[meddler.url()], &[&FANOUT[..], &WHO].concat()).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{fault:?}: {errors}");
        let text = String::from_utf8_lossy(&output.stdout);
        let told: Value = serde_json::from_str(text.lines().last().expect("a result")).expect("JSON");
        for figure in ["lost", "reordered", "duplicated"] {
            // Once on the way to each of ten sockets.
            assert_eq!(told[figure], if figure == counted { 10.0 } else { 0.0 }, "{fault:?}: {figure}: {told}");
        }
        let violations = told["violations"].as_array().expect("an array");
        assert_eq!(violations.len(), 10, "{fault:?}: {told}");
        let said = violations[0].as_str().unwrap_or_default();
        let seen = match fault {
            Fault::Mistakes => "not the messages that were acknowledged",
            Fault::Doubles => "came again after",
            Fault::Loses | Fault::Swaps => "came after",
        };
        assert!(said.contains("socket") && said.contains(seen), "{fault:?}: {said}");
    }
}
