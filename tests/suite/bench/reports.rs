//! What people are given: the table, the page; and latencies that hide no stall.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{sleep, timeout};

use super::{FANOUT, ISSUER, WHO, bench, command};
use crate::support::node::{Folder, Single};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_printed_and_a_page_written_that_needs_nothing_else() {
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let (folder, pid) = (Folder::new("bench-page"), format!("the node={}", single.node.pid()));
    let file = folder.path().join("report.html");
    let file = file.to_str().expect("a name");
    let arguments = FANOUT.map(|word| if word == "--json" { "--chars=99" } else { word });
    let output = bench(&[single.url()], &[&arguments[..], &WHO, &["--html", file, "--pid", &pid]].concat()).await;
    let (table, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}{told}");
    for part in ["deliveries/s", "nothing wrong", "p99.9", "µs a delivery", "the node", "salon-bench itself"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert!(told.contains("opening 10 sockets") && !told.contains('\r'), "{told:?}");
    let page = std::fs::read_to_string(file).expect("the page");
    for (what, text) in [("the table", table.as_ref()), ("the page", page.as_str())] {
        assert!(!text.contains(super::KEY), "the key stands in {what}: {text}");
    }
    // Latency over time, percentiles, messages, deliveries, CPU.
    assert_eq!(page.matches("<svg").count(), 5, "{page}");
    assert!(page.matches("<polyline").count() >= 8 && !page.contains("NaN"), "{page}");
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("default-src 'none'"), "{page}");
    for foreign in ["<script", "<link", "<img", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(foreign), "{foreign} in {page}");
    }
}

/// At an offered rate every send has its time, and a stall of the server is in the latency of all that were due in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_the_server_is_seen_in_all_that_was_due_in_it() {
    let result = stalled(Stalled::Node).await;
    assert_seen(&result);
}

/// The same of a stall of the program itself, which says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_the_program_is_not_left_out_either() {
    let result = stalled(Stalled::Bench).await;
    assert_seen(&result);
    assert!(result["late_max_ms"].as_f64().is_some_and(|millis| millis > 1000.0), "{result}");
    assert!(result["warnings"].to_string().contains("sent late"), "{result}");
}

/// More than a third of four seconds' sends was due meanwhile; in a closed loop it would be one of hundreds.
#[track_caller]
fn assert_seen(result: &Value) {
    let millis = |key: &str| result[key].as_f64().expect("a number");
    assert!(millis("ack_p90_ms") > 500.0 && millis("receipt_p90_ms") > 500.0, "{result}");
    assert!(millis("ack_p50_ms") < 500.0, "{result}");
}

#[derive(Clone, Copy)]
enum Stalled {
    Node,
    Bench,
}

/// A run at an offered rate in which one of the two stands still for a while.
async fn stalled(who: Stalled) -> Value {
    const STALL: Duration = Duration::from_millis(1500);
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let fanout = ["fanout", "--rooms=1", "--members=2", "--senders=1", "--rate=100", "--seconds=4", "--warmup=0"];
    let mut command = command(&[single.url()], &[&fanout[..], &["--json"], &WHO].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let pid = match who {
        Stalled::Node => single.node.pid(),
        Stalled::Bench => child.id().expect("it runs"),
    };
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = async || {
        let line = timeout(Duration::from_secs(60), lines.next_line()).await.expect("in time").expect("text");
        serde_json::from_str::<Value>(&line.expect("a line")).expect("JSON")
    };
    assert_eq!(next().await["type"], "second");
    signal(pid, "STOP");
    // The stall itself.
    sleep(STALL).await;
    signal(pid, "CONT");
    loop {
        let line = next().await;
        if line["type"] == "result" {
            return line;
        }
    }
}

fn signal(pid: u32, signal: &str) {
    let done = std::process::Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()), "{signal} to {pid}");
}
