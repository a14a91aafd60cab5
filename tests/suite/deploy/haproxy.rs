//! HAProxy with its file: it notices a node that drains, and people move to the other one.

use std::process::Command;
use std::time::Duration;

use salon::engine::workload::{Mix, Pace, Plan, Stop};

use super::read;
use crate::support::cluster::{Cluster, assert_green};
use crate::support::guardian::Guardian;
use crate::support::node::{free_port, unique};

const PATIENCE: Duration = Duration::from_secs(60);

/// The file with the names that only a container network knows replaced by addresses.
fn config(port: u16, nodes: &[String]) -> String {
    let slots = "  server-template gateway 1-20 gateway:8000";
    let servers: Vec<String> = nodes
        .iter()
        .enumerate()
        .map(|(number, url)| format!("  server gateway{number} {}", url.trim_start_matches("http://")))
        .collect();
    let text = read("deploy/haproxy/haproxy.cfg");
    assert_eq!(text.matches(slots).count(), 2);
    text.replace(slots, &servers.join("\n"))
        .replace("bind :8080", &format!("bind 127.0.0.1:{port}"))
        // The machine of a test may allow fewer.
        .replace("maxconn 60000", "maxconn 2000")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_move_when_a_node_drains() {
    let trusted = ("SALON_SERVER__TRUSTED_PROXIES", r#"["127.0.0.1/32"]"#);
    let cluster = Cluster::of(2).env(trusted.0, trusted.1).env("SALON_DRAIN__DELAY_S", "3").start().await;
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("salon-haproxy-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&folder).expect("a folder");
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config(port, &cluster.urls())).expect("its file");
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-f").arg(&file);
    let haproxy = Guardian::spawn(&command, &folder, "KILL");
    let plan = Plan {
        nodes: vec![format!("http://127.0.0.1:{port}")],
        clients: 6,
        prefix: unique("haproxy"),
        stop: Stop::Told,
        pace: Pace::InFlight(2),
        mix: Mix { cut: 0.0, ..Plan::default().mix },
        ..Plan::default()
    };
    let ready = salon::engine::http::Http::new(&plan.nodes[0]);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !ready.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
        assert!(std::time::Instant::now() < deadline, "HAProxy lets nobody through:\n{}", haproxy.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
    let log = haproxy.log();
    assert!(log.contains("gateway0 is DOWN") && log.contains("gateway0 is UP"), "its checks saw nothing:\n{log}");
}
