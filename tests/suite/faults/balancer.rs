//! A real load balancer that goes by `/readyz`: a node that alone is cut off is left by it and found again; what fails
//! for all makes it leave nobody. The load goes through it all the time, and no open socket suffers by its decisions.

use std::time::{Duration, Instant};

use salon::engine::socket::Opening;
use tokio::time::{sleep, sleep_until};

use super::database::assert_sockets_stayed;
use super::hints::UNREADY_WITHIN;
use super::trial::{NOTICED, READER, THIRD, THROUGH_DATABASE, Trial, WRITER};
use crate::support::cluster::{Builder, Cluster};
use crate::support::measure::SLACK;

const ALL: [usize; 3] = [0, 1, 2];
/// HAProxy asks every half a second to a second, and believes the second bad answer and the first good one.
const CHECKED: Duration = Duration::from_secs(2);
/// Longer than a node waits before it takes what fails for itself alone for a reason to leave the balancer.
const OUTAGE: Duration = Duration::from_secs(15);
/// A node that came back is filled slowly.
const FILLED: Duration = Duration::from_secs(20);

fn three() -> Builder {
    Cluster::of(3).env("SALON_SERVER__TRUSTED_PROXIES", r#"["127.0.0.1/32"]"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_from_redis_leaves_the_balancer_and_comes_back() {
    let mut trial =
        Trial::behind_haproxy("node cut off from Redis only, behind HAProxy", three().redis_proxied(READER)).await;
    let watch = trial.watch();
    let back_before = trial.balancer().times(READER, "UP");
    trial.cluster.redis_proxy(READER).refuse();
    let took = trial.balancer().until(READER, "DOWN", 0, SLACK * (UNREADY_WITHIN + CHECKED)).await;
    trial.measured("the balancer leaves it", took, UNREADY_WITHIN + CHECKED);
    let places = trial.places(9).await;
    assert!(places.iter().all(|node| *node != "node-0"), "somebody was sent to the node that is cut off: {places:?}");
    // Who is on it stays there, and is served.
    trial.across("left", "delivered to who stayed there", THROUGH_DATABASE).await;
    trial.works().await;
    trial.cluster.redis_proxy(READER).pass();
    let took = trial.balancer().until(READER, "UP", back_before, SLACK * (NOTICED + CHECKED)).await;
    trial.measured("the balancer takes it back", took, NOTICED + CHECKED);
    let filled = Instant::now();
    while !trial.places(3).await.contains(&"node-0".to_owned()) {
        assert!(filled.elapsed() < FILLED, "nobody is sent to the node that came back");
    }
    watch.always_well(&[WRITER, THIRD]);
    for node in [WRITER, THIRD] {
        assert_eq!(trial.balancer().times(node, "DOWN"), 0, "{}", trial.balancer().log());
    }
    assert_sockets_stayed(&trial.end().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_redis_down_for_all_nobody_leaves_the_balancer() {
    let mut trial = Trial::behind_haproxy("Redis down for all, behind HAProxy", three().own_redis()).await;
    let watch = trial.watch();
    let stopped = Instant::now();
    trial.cluster.redis().stop_hard();
    for node in ALL {
        trial.until_metric(node, "salon_broker_up", |up| up == 0.0, NOTICED * SLACK).await;
    }
    trial.across("without", "delivered across nodes by the database", THROUGH_DATABASE).await;
    trial.works().await;
    sleep_until((stopped + OUTAGE).into()).await;
    let mut places = trial.places(12).await;
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 3, "sockets are opened on all nodes: {places:?}");
    trial.cluster.redis().start_again();
    for node in ALL {
        trial.until_readiness(node, 200, &[], NOTICED * SLACK).await;
    }
    nobody_left(&trial);
    watch.always_ready(&ALL);
    assert_sockets_stayed(&trial.end().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_postgres_down_for_all_nobody_leaves_the_balancer() {
    let builder = ALL.into_iter().fold(three(), Builder::postgres_proxied);
    let trial = Trial::behind_haproxy("Postgres down for all, behind HAProxy", builder).await;
    let watch = trial.watch();
    for node in ALL {
        trial.cluster.postgres_proxy(node).refuse();
    }
    for node in ALL {
        trial.until_readiness(node, 200, &["database"], NOTICED * SLACK).await;
    }
    sleep(OUTAGE).await;
    nobody_left(&trial);
    for node in ALL {
        trial.cluster.postgres_proxy(node).pass();
    }
    let returned = Instant::now();
    for node in ALL {
        trial.until_readiness(node, 200, &[], NOTICED * SLACK).await;
    }
    trial.measured("all nodes well again", returned.elapsed(), NOTICED);
    nobody_left(&trial);
    watch.always_ready(&ALL);
    assert_sockets_stayed(&trial.end().await);
}

#[track_caller]
fn nobody_left(trial: &Trial) {
    for node in ALL {
        assert_eq!(trial.balancer().times(node, "DOWN"), 0, "{}", trial.balancer().log());
    }
}

impl Trial {
    /// The nodes on which so many new sockets came to stand that were opened through the balancer.
    async fn places(&self, sockets: usize) -> Vec<String> {
        let opening = Opening::new(&self.balancer().url()).cookies(&self.people[1].http);
        let mut open = Vec::new();
        let mut places = Vec::new();
        for _ in 0..sockets {
            let mut socket = opening.open().await.expect("a socket");
            let welcome = socket.expect("welcome").await.expect("a welcome");
            places.push(welcome["node"].as_str().expect("a name").to_owned());
            open.push(socket);
        }
        places
    }
}
