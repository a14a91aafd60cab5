//! A node that has no descriptors left: nobody new comes in there, who is in notices nothing.

use std::time::{Duration, Instant};

use salon::engine::http::authority;
use salon::engine::socket::Opening;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::database::assert_sockets_stayed;
use super::trial::{HEALED, READER, THIRD, Trial, WRITER};
use crate::support::cluster::Cluster;
use crate::support::measure::SLACK;
use crate::support::node::PATIENCE;

const DESCRIPTORS: u32 = 120;
/// Once there are descriptors again; not promised, and what a person would wait.
const LET_IN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_out_of_descriptors_under_load_serves_who_is_in() {
    // Who says nothing keeps its descriptor until the test gives it back.
    let settings =
        Cluster::of(3).descriptors(READER, DESCRIPTORS).node_env(READER, "SALON_SERVER__HEADER_TIMEOUT_S", "120");
    let mut trial = Trial::start("no descriptors left on a node", settings).await;
    let watch = trial.watch();
    let url = trial.cluster.url(READER);
    let mut idle = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !trial.cluster.nodes[READER].log().contains("cannot accept connections") {
        idle.push(TcpStream::connect(authority(&url)).await.expect("the kernel takes it"));
        assert!(idle.len() < 1_000 && Instant::now() < deadline, "it never ran out of descriptors");
        sleep(Duration::from_millis(5)).await;
    }
    let opening = Opening::new(&url).cookies(&trial.people[0].http);
    for round in 0..5 {
        trial.across(&format!("none left {round}"), "delivered to who is in", HEALED).await;
        // What is said there is stored, too.
        let content = format!("from inside {round}");
        let ack = trial.reader.ask(trial.frame(&content, &content)).await.expect("an answer");
        assert_eq!(ack["type"], "ack", "{ack}");
        // Its reader has heard it before the ack, or will before the next.
        trial.was_said(&content);
    }
    let late = timeout(Duration::from_secs(1), opening.open()).await;
    assert!(!matches!(late, Ok(Ok(_))), "there were descriptors, so nothing was tested");
    trial.works().await;
    watch.always_well(&[WRITER, THIRD]);
    drop(idle);
    let freed = Instant::now();
    while !matches!(timeout(LET_IN, opening.welcomed()).await, Ok(Ok(_))) {
        assert!(freed.elapsed() < SLACK * LET_IN, "nobody is let in");
    }
    trial.measured("new ones come in again", freed.elapsed(), LET_IN);
    trial.until_readiness(READER, 200, &[], SLACK * LET_IN).await;
    watch.always_well(&[WRITER, THIRD]);
    assert_sockets_stayed(&trial.end().await);
}
