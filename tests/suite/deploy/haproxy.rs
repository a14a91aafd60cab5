//! HAProxy with its file: it notices a node that drains, and people move to the other one.

use std::time::Duration;

use salon::engine::workload::{Mix, Pace, Plan, Stop};

use crate::support::cluster::{Cluster, assert_green};
use crate::support::haproxy::HaProxy;
use crate::support::node::unique;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_move_when_a_node_drains() {
    let trusted = ("SALON_SERVER__TRUSTED_PROXIES", r#"["127.0.0.1/32"]"#);
    let cluster = Cluster::of(2).env(trusted.0, trusted.1).env("SALON_DRAIN__DELAY_S", "3").start().await;
    let haproxy = HaProxy::start(&cluster.urls()).await;
    let plan = Plan {
        nodes: vec![haproxy.url()],
        clients: 6,
        prefix: unique("haproxy"),
        stop: Stop::Told,
        pace: Pace::InFlight(2),
        mix: Mix { cut: 0.0, ..Plan::default().mix },
        ..Plan::default()
    };
    let running = plan.start().await.unwrap_or_else(|error| panic!("{error}\n{}", haproxy.log()));
    running.progress(60, PATIENCE).await.expect("it works before");
    for node in [0, 1] {
        cluster.terminate(node).await;
        for client in &running.clients {
            client.connected(PATIENCE).await.expect("it moved");
        }
        running.progress(60, PATIENCE).await.expect("it works on one node");
        cluster.restart(node).await;
        running.progress(60, PATIENCE).await.expect("it works on both");
    }
    let finished = running.finish(PATIENCE).await.expect("the workload ends");
    assert_green("draining behind HAProxy", &finished, &[&cluster.nodes[0], &cluster.nodes[1]]);
    for state in ["DOWN", "UP"] {
        assert!(haproxy.times(0, state) > 0, "its checks saw nothing:\n{}", haproxy.log());
    }
}
