//! The way to Postgres, and the way of people to a node, break while something is under way on them.

use serde_json::json;

use super::trial::{HEALED, READER, Trial, WRITER};
use crate::support::cluster::Cluster;
use crate::support::measure::SLACK;
use crate::support::node::unique;
use salon::engine::socket::Opening;

/// The node asks again by another connection and finds what it has stored: never refused, never twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_answers_a_commit_and_the_answer_is_lost() {
    let fault = "the Postgres connection cut between COMMIT and its answer";
    let mut trial = Trial::start(fault, Cluster::of(3).postgres_proxied(WRITER)).await;
    let watch = trial.watch();
    let repairs = trial.cluster.nodes[READER].metric("salon_beacon_repairs_total").await;
    for round in 0..5 {
        let content = format!("unanswered {round}");
        trial.cluster.postgres_proxy(WRITER).cut_at_answer(&content);
        trial.across(&content, "acknowledged and delivered", HEALED).await;
    }
    assert_eq!(trial.cluster.postgres_proxy(WRITER).fired(), 5, "no answer was lost, so nothing was tested");
    let repairs = trial.cluster.nodes[READER].metric("salon_beacon_repairs_total").await - repairs;
    trial.counted("never announced, left to the beacon", repairs, 0);
    watch.always_ready(&[0, 1, 2]);
    trial.end().await;
}

/// A socket that breaks before its ack, behind a jittery line: the retry is the same message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_breaks_between_a_send_and_its_ack() {
    let fault = "the client's connection cut between a send and its ack";
    let mut trial = Trial::start(fault, Cluster::of(3).clients_proxied(WRITER)).await;
    let line = |trial: &Trial| Opening::new(&trial.cluster.proxied_url(WRITER)).cookies(&trial.people[1].http);
    for round in 0..5 {
        let (content, nonce) = (format!("unacknowledged {round}"), unique("nonce"));
        let mut socket = line(&trial).welcomed().await.expect("a socket");
        // What the server says of this nonce is the ack.
        trial.cluster.client_proxy(WRITER).cut_at(crate::support::proxy::Way::ToClient, "\"ack\"");
        let answer = socket.ask(trial.frame(&content, &nonce)).await;
        assert!(answer.is_err(), "the ack came: {answer:?}");
        let mut socket = line(&trial).welcomed().await.expect("a socket");
        let ack = socket.ask(trial.frame(&content, &nonce)).await.expect("an ack");
        assert_eq!((&ack["type"], &ack["duplicate"]), (&json!("ack"), &json!(true)), "{ack}");
        trial.was_said(&content);
        trial.hears(&content, HEALED * SLACK).await;
    }
    assert_eq!(trial.cluster.client_proxy(WRITER).fired(), 5);
    trial.end().await;
}
