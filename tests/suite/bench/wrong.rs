//! What is typed wrongly, and what would spoil the figures, is said with what to change.

use std::process::Output;

use tokio::process::Command;

use super::{FANOUT, ISSUER, KEY, WHO, bench};
use crate::support::node::Single;

#[track_caller]
fn assert_says(output: &Output, code: i32, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in {errors}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    let who = ["--issuer-key", KEY];
    let wrong: [(&[&str], &[&str]); 16] = [
        (&["fanout", "--members=0"], &["--members"]),
        (&["fanout", "--members=2", "--senders=3"], &["--senders 3", "--members 2"]),
        (&["fanout", "--rate=0"], &["--rate"]),
        (&["fanout", "--rate=10", "--in-flight=2"], &["--rate", "--in-flight"]),
        (&["fanout", "--seconds=0"], &["--seconds"]),
        (&["fanout", "--url=https://127.0.0.1:1"], &["--url", "http://"]),
        (&["fanout", "--url=http://127.0.0.1"], &["--url", "port"]),
        (&["fanout", "--pid=node=nobody"], &["--pid", "nobody"]),
        (&["fanout", "--pid=4294967294"], &["--pid", "no process 4294967294"]),
        (&["fanout", "--threads=0"], &["--threads"]),
        (&["fanout", "--sockets=3"], &["--sockets"]),
        (&["storm", "--rooms=2", "--senders=3"], &["--senders 3", "--rooms 2"]),
        (&["idle"], &["--pid"]),
        (&["history", "--behind=0"], &["--behind"]),
        (&["history", "--password=correct horse"], &["--password", "--issuer-key"]),
        (&["sprint"], &["sprint"]),
    ];
    for (arguments, words) in wrong {
        assert_says(&bench(&[], &[arguments, &who].concat()).await, 2, words);
    }
    assert_says(&bench(&[], &["fanout"]).await, 2, &["--issuer-key", "--help"]);
    assert_says(&bench(&[], &["fanout", "--issuer-key=short"]).await, 2, &["--issuer-key", "32"]);
    let help = bench(&[], &["--help"]).await;
    let text = String::from_utf8_lossy(&help.stdout);
    for word in ["[[auth.issuers]]", "ulimit -n", "Example:", "--html", "storm", "Exit codes"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_would_be_what_is_measured_are_named() {
    let limits = [
        ("SALON_LIMITS__MESSAGES_PER_S", "2"),
        ("SALON_LIMITS__MESSAGE_BURST", "2"),
        ("SALON_LIMITS__SOCKETS_PER_USER", "3"),
    ];
    let single = Single::start_configured(Some(ISSUER), &limits).await;
    let run = async |more: &[&str]| bench(&[single.url()], &[&FANOUT[..], &WHO, more].concat()).await;
    let output = run(&[]).await;
    assert_says(&output, 1, &["warning", "2 messages a second", "limits.messages_per_s", "rate_limited"]);
    assert_says(&run(&["--sockets-per-user=10"]).await, 1, &["429", "limits.sockets_per_user"]);
    assert_says(&run(&["--chars=5000"]).await, 1, &["4000 characters", "limits.content_chars"]);
    let nobody = ["fanout", "--json", "--issuer-key", "another key, which the server does not know"];
    let output = bench(&[single.url()], &nobody).await;
    assert_says(&output, 1, &["401", "--issuer-key", "--audience"]);
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn too_few_descriptors_are_told_before_anything_is_opened() {
    let mut command = Command::new("prlimit");
    command.args(["--nofile=200:200", env!("CARGO_BIN_EXE_salon-bench"), "fanout", "--members=500"]).args(WHO);
    let output = command.output().await.expect("prlimit runs");
    assert_says(&output, 1, &["500 sockets need 600 file descriptors", "ulimit -n 600"]);
}
