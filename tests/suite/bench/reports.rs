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
async fn a_stall_is_seen_in_all_that_should_have_been_sent_in_it() {
    const STALL: Duration = Duration::from_millis(1500);
    let single = Single::start_configured(Some(ISSUER), &[]).await;
    let fanout = ["fanout", "--rooms=1", "--members=2", "--senders=1", "--rate=100", "--seconds=4", "--warmup=0"];
    let mut command = command(&[single.url()], &[&fanout[..], &["--json"], &WHO].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = async || {
        let line = timeout(Duration::from_secs(60), lines.next_line()).await.expect("in time").expect("text");
        serde_json::from_str::<Value>(&line.expect("a line")).expect("JSON")
    };
    assert_eq!(next().await["type"], "second");
    single.node.signal("STOP");
    // The stall itself.
    sleep(STALL).await;
    single.node.signal("CONT");
    let result = loop {
        let line = next().await;
        if line["type"] == "result" {
            break line;
        }
    };
    // More than a third of four seconds' sends was due meanwhile; in a closed loop it would be one of hundreds.
    assert!(result["ack_p90_ms"].as_f64().is_some_and(|millis| millis > 500.0), "{result}");
    assert!(result["receipt_p90_ms"].as_f64().is_some_and(|millis| millis > 500.0), "{result}");
    assert!(result["ack_p50_ms"].as_f64().is_some_and(|millis| millis < 500.0), "{result}");
}
