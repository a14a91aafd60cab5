//! A private HAProxy with the file of `deploy/` before several nodes: a load balancer that asks `/readyz` itself, and
//! sends nobody to a node that is unready.

use std::process::Command;
use std::time::{Duration, Instant};

use salon::engine::http::Http;
use tokio::time::sleep;

use super::guardian::Guardian;
use super::node::{PATIENCE, free_port};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy/haproxy.cfg");

/// Ends with the test process.
pub struct HaProxy {
    port: u16,
    guardian: Guardian,
}

impl HaProxy {
    /// `nodes` are `http://host:port`; the file calls them `gateway0`, `gateway1`, … Returns once it lets people through.
    pub async fn start(nodes: &[String]) -> HaProxy {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("salon-haproxy-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, configuration(port, nodes)).expect("its file");
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-f").arg(&file);
        let haproxy = HaProxy { port, guardian: Guardian::spawn(&command, &folder, "KILL") };
        let http = Http::new(&haproxy.url());
        let deadline = Instant::now() + PATIENCE;
        while !http.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
            assert!(Instant::now() < deadline, "HAProxy lets nobody through:\n{}", haproxy.log());
            sleep(Duration::from_millis(50)).await;
        }
        haproxy
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it said so far: requests, and servers that come and go.
    pub fn log(&self) -> String {
        self.guardian.log()
    }

    /// Waits until it says that a server is `UP` or `DOWN` for sockets, since `before` such words; how long that took.
    pub async fn until(&self, node: usize, state: &str, before: usize, within: Duration) -> Duration {
        let began = Instant::now();
        while self.times(node, state) <= before {
            assert!(began.elapsed() < within, "gateway{node} is not {state} after {within:?}:\n{}", self.log());
            sleep(Duration::from_millis(25)).await;
        }
        began.elapsed()
    }

    /// How many times it said so.
    pub fn times(&self, node: usize, state: &str) -> usize {
        self.log().matches(&format!("Server sockets/gateway{node} is {state}")).count()
    }
}

/// The file with the names that only a container network knows replaced by addresses.
fn configuration(port: u16, nodes: &[String]) -> String {
    let slots = "  server-template gateway 1-20 gateway:8000";
    let servers: Vec<String> = nodes
        .iter()
        .enumerate()
        .map(|(number, url)| format!("  server gateway{number} {}", url.trim_start_matches("http://")))
        .collect();
    let text = std::fs::read_to_string(FILE).expect(FILE);
    assert_eq!(text.matches(slots).count(), 2);
    text.replace(slots, &servers.join("\n"))
        .replace("bind :8080", &format!("bind 127.0.0.1:{port}"))
        // The machine of a test may allow fewer.
        .replace("maxconn 60000", "maxconn 2000")
}
