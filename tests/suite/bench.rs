//! `salon-bench` at a tiny size: it measures a real node and tells the figures, and it fails when the way to that node
//! loses, doubles or reorders what it was told.

mod meddler;

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::node::Single;
use meddler::{Fault, Meddler};

const KEY: &str = "the key of the users of a measurement";

const ISSUER: &str = r#"
[[auth.issuers]]
name = "bench"
algorithm = "HS256"
key = "the key of the users of a measurement"
"#;

const FANOUT: [&str; 10] = [
    "fanout",
    "--rooms=2",
    "--members=5",
    "--senders=2",
    "--in-flight=4",
    "--seconds=1",
    "--warmup=0",
    "--json",
    "--secret",
    KEY,
];

async fn bench(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_salon-bench"));
    command.args(["--url", url]).args(arguments).kill_on_drop(true);
    timeout(Duration::from_secs(90), command.output()).await.expect("in time").expect("it runs")
}

/// The figures of a run that must succeed.
async fn figures(url: &str, arguments: &[&str]) -> Value {
    let output = bench(url, arguments).await;
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}{errors}");
    assert!(!told.contains(KEY), "the secret is told: {told}");
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error} in {told}"))
}

#[track_caller]
fn assert_positive(figures: &Value, keys: &[&str]) {
    for key in keys {
        assert!(figures[*key].as_f64().is_some_and(|value| value > 0.0), "{key} in {figures}");
    }
}

#[track_caller]
fn assert_ordered(figures: &Value, thing: &str) {
    let [p50, p99, max] =
        ["p50", "p99", "max"].map(|name| figures[format!("{thing}_{name}_ms")].as_f64().unwrap_or(0.0));
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max && max < 60_000.0, "{thing}: {figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scenario_tells_its_figures() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let (url, pid) = (single.url(), single.node.pid().to_string());
    let common = ["--json", "--secret", KEY, "--pid", &pid];

    let idle = ["idle", "--sockets=60", "--rooms=3", "--seconds=1", "--sockets-per-user=20"];
    let told = figures(&url, &[&idle[..], &common].concat()).await;
    assert_eq!(told["sockets"], 60.0);
    assert_positive(&told, &["rss_before_kib", "rss_after_kib", "opened_per_s", "cpu_us_per_socket"]);
    let grown = told["rss_after_kib"].as_f64().expect("a number") - told["rss_before_kib"].as_f64().expect("a number");
    // Said in decimals, so the last bit may be another one.
    let each = told["rss_kib_per_socket"].as_f64().expect("a number");
    assert!((each - grown / 60.0).abs() < 1e-6, "{told:?}");
    assert_ordered(&told, "open");

    let sends = ["sends", "--rooms=4", "--senders=2", "--in-flight=4", "--seconds=1", "--warmup=0"];
    for joined in [&[][..], &["--joined"]] {
        let told = figures(&url, &[&sends[..], joined, &common].concat()).await;
        assert_eq!((&told["sockets"], &told["rooms"]), (&8.0.into(), &4.0.into()));
        assert_positive(&told, &["acked", "acked_per_s", "cpu_us_per_message"]);
        assert_ordered(&told, "ack");
        assert_eq!(told.get("deliveries").is_some(), !joined.is_empty(), "{told}");
    }

    let told = figures(&url, &[&FANOUT[..], &["--pid", &pid]].concat()).await;
    assert_positive(&told, &["acked_per_s", "deliveries", "deliveries_per_s", "cpu_us_per_delivery"]);
    assert_ordered(&told, "ack");
    assert_ordered(&told, "receipt");
    for fault in ["lost", "reordered", "duplicated"] {
        assert_eq!(told[fault], 0.0, "{told}");
    }
    // What is acknowledged at the edges of the measured time may be delivered beyond them.
    let (acked, delivered) =
        (told["acked"].as_f64().expect("a number"), told["deliveries"].as_f64().expect("a number"));
    assert!((delivered / acked - 5.0).abs() < 1.0, "five of each: {told}");
    assert!(told["machine"].as_str().is_some_and(|text| text.contains("GiB")), "{told}");
    assert!(told["command"].as_str().is_some_and(|text| text.contains("fanout --rooms=2")), "{told}");

    let output = bench(&url, &FANOUT.map(|word| if word == "--json" { "--chars=99" } else { word })).await;
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("deliveries/s") && table.contains("nothing wrong") && !table.contains(KEY), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_promise_fails_the_run() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    for (fault, counted) in [(Fault::Loses, "lost"), (Fault::Doubles, "duplicated"), (Fault::Swaps, "reordered")] {
        let meddler = Meddler::start(single.url(), fault).await;
        let output = bench(&meddler.url(), &FANOUT).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{fault:?}: {errors}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{fault:?}: {errors}"));
        for figure in ["lost", "reordered", "duplicated"] {
            // Once on the way to each of ten sockets.
            assert_eq!(told[figure], if figure == counted { 10.0 } else { 0.0 }, "{figure}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_fails_the_run() {
    let single = Single::shared().await;
    let output = bench(&single.url(), &FANOUT).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("401"), "{output:?}");
}
