//! The way to Postgres, and the way of people to a node, break while something is under way on them.

use std::time::{Duration, Instant};

use salon::engine::socket::Opening;
use serde_json::json;

use super::database::{assert_sockets_stayed, until_acked};
use super::hints::{UNREADY_WITHIN, ready_again, unready_in_time};
use super::trial::{HEALED, READER, THIRD, Trial, WRITER};
use crate::support::cluster::Cluster;
use crate::support::measure::SLACK;
use crate::support::node::unique;
use crate::support::proxy::{Proxy, Way};

/// A send is answered `unavailable` by then while the database cannot be reached, and is stored again by then after its
/// return (G10).
const ANSWERED: Duration = Duration::from_secs(5);
const NORMAL_AGAIN: Duration = Duration::from_secs(5);

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
    let watch = trial.watch();
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
    watch.always_well(&[READER, WRITER, THIRD]);
    trial.end().await;
}

/// Its connections are closed, and new ones too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_cut_off_from_postgres() {
    cut_off_from_postgres("node cut off from Postgres only", Proxy::refuse).await;
}

/// Its connections stay open, and nothing passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_between_one_node_and_postgres() {
    let blackhole = |proxy: &Proxy| {
        proxy.blackhole(Way::ToServer);
        proxy.blackhole(Way::ToClient);
    };
    cut_off_from_postgres("node-to-Postgres way blackholed", blackhole).await;
}

/// Its sockets stay and are told what others say; what is said there is `unavailable`; it alone leaves the balancer; and
/// what it could not read meanwhile it reads when it can.
async fn cut_off_from_postgres(fault: &'static str, cut: impl Fn(&Proxy)) {
    let mut trial = Trial::start(fault, Cluster::of(3).postgres_proxied(READER).redis_proxied(READER)).await;
    let watch = trial.watch();
    let began = Instant::now();
    cut(trial.cluster.postgres_proxy(READER));
    let inside = trial.frame("from inside", &unique("nonce"));
    for round in 0..3 {
        trial.across(&format!("told by hints {round}"), "delivered to the node that is cut off", HEALED).await;
        let asked = Instant::now();
        let answer = trial.reader.ask(inside.clone()).await.expect("an answer");
        assert_eq!(answer["code"], "unavailable", "{answer}");
        trial.measured("a send there is answered `unavailable`", asked.elapsed(), ANSWERED);
    }
    trial.until_readiness(READER, 503, &["database"], UNREADY_WITHIN * SLACK).await;
    unready_in_time(&trial, began);
    trial.works().await;
    // A hint that is lost now cannot be made good from the store before that can be reached again.
    trial.cluster.redis_proxy(READER).swallow("lost meanwhile");
    trial.say("lost meanwhile").await;
    trial.say("behind the hole").await;
    trial.works().await;
    assert!(trial.cluster.redis_proxy(READER).swallowed() > 0, "no hint was lost, so nothing was tested");
    trial.cluster.postgres_proxy(READER).pass();
    let returned = Instant::now();
    for content in ["lost meanwhile", "behind the hole"] {
        trial.hears(content, NORMAL_AGAIN * SLACK).await;
    }
    trial.measured("what was lost meanwhile is told", returned.elapsed(), NORMAL_AGAIN);
    until_acked(&mut trial.reader, &inside, NORMAL_AGAIN * SLACK).await;
    trial.measured("a send there is stored again", returned.elapsed(), NORMAL_AGAIN);
    // The reader said it, and has heard it before its ack or will by the end.
    trial.was_said("from inside");
    ready_again(&trial).await;
    watch.always_well(&[WRITER, THIRD]);
    assert_sockets_stayed(&trial.end().await);
}
