//! What is struck: three nodes with a Postgres and a Redis of their own, behind nginx.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use salon::engine::client::Client;
use tokio::time::sleep;

use super::nemesis::{Blow, Fault, NODES};
use super::vitals::Vitals;
use crate::support::cluster::Cluster;
use crate::support::nginx::Nginx;
use crate::support::node::Node;
use crate::support::postgres::{self, Postgres};
use crate::support::proxy::Way;

const TELL_EVERY: Duration = Duration::from_secs(5);

pub struct World {
    cluster: Cluster,
    nginx: Nginx,
    postgres: Mutex<Postgres>,
    database: String,
    started: Instant,
    present: Mutex<Present>,
}

/// For the progress line.
#[derive(Default)]
struct Present {
    doing: String,
    clients: Vec<Arc<Client>>,
    /// Of epochs that are over.
    acked: u64,
    told: u64,
}

impl World {
    pub async fn start() -> World {
        let postgres = Postgres::start();
        let database = postgres.fresh_database().await;
        let mut cluster = Cluster::of(NODES).own_redis().env("SALON_DATABASE__URL", &database);
        for node in 0..NODES {
            cluster = cluster.redis_proxied(node);
        }
        let cluster = cluster.env("SALON_DRAIN__TIMEOUT_S", "10").start().await;
        let nginx = Nginx::start(&cluster.urls());
        let (started, present) = (Instant::now(), Mutex::default());
        World { cluster, nginx, postgres: Mutex::new(postgres), database, started, present }
    }

    pub fn url(&self) -> String {
        self.nginx.url()
    }

    pub fn node(&self, node: usize) -> &Node {
        &self.cluster.nodes[node]
    }

    /// Does it, lets it last, and ends it.
    pub async fn suffer(&self, blow: Blow) -> Result<(), String> {
        let (node, redis, wire) = (self.node(blow.node), self.cluster.redis(), self.cluster.redis_proxy(blow.node));
        let lasting = sleep(blow.lasts);
        match blow.fault {
            Fault::NodeKilled | Fault::NodeTerminated => {
                // Its log goes with it.
                let complaints = complaints(node);
                match blow.fault {
                    Fault::NodeKilled => node.kill9(),
                    _ => node.terminate().await,
                }
                lasting.await;
                node.restart().await;
                return complaints.map_or(Ok(()), Err);
            }
            Fault::NodePaused => {
                node.signal("STOP");
                lasting.await;
                node.signal("CONT");
            }
            Fault::RedisKilled => {
                redis.stop_hard();
                lasting.await;
                tokio::task::block_in_place(|| redis.start_again());
            }
            Fault::RedisPaused => {
                redis.pause();
                lasting.await;
                redis.resume();
            }
            Fault::RedisSubscribersKilled => {
                redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                lasting.await;
                redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
            Fault::RedisFlushed => {
                redis.command(&["FLUSHALL"]);
                lasting.await;
            }
            Fault::PostgresStopped => {
                tokio::task::block_in_place(|| self.postgres.lock().unwrap().stop_immediate());
                lasting.await;
                tokio::task::block_in_place(|| self.postgres.lock().unwrap().start_again());
            }
            Fault::PostgresPaused => {
                self.postgres.lock().unwrap().pause();
                lasting.await;
                self.postgres.lock().unwrap().resume();
            }
            Fault::BackendsTerminated => {
                self.terminate_backends().await;
                lasting.await;
                self.terminate_backends().await;
            }
            Fault::WireCut => {
                wire.cut();
                lasting.await;
                wire.cut();
            }
            Fault::WireRefused => {
                wire.refuse();
                lasting.await;
                wire.pass();
            }
            Fault::WireDeafNode => {
                wire.blackhole(Way::ToClient);
                lasting.await;
                wire.pass();
            }
            Fault::WireDeafRedis => {
                wire.blackhole(Way::ToServer);
                lasting.await;
                wire.pass();
            }
        }
        Ok(())
    }

    async fn terminate_backends(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE application_name = 'salon' AND random() < 0.5";
        postgres::execute(&self.database, sql).await;
    }

    /// Waits until every node says that it is ready.
    pub async fn ready(&self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        for node in &self.cluster.nodes {
            node.ready(deadline.saturating_duration_since(Instant::now())).await?;
        }
        Ok(())
    }

    /// Waits until no node has a socket.
    pub async fn empty(&self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            loop {
                let sockets = node.metric("salon_sockets").await;
                if sockets == 0.0 {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(format!("node {number} has {sockets} sockets {within:?} after all clients went"));
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Defects that the nodes' own logs tell of.
    pub fn complaints(&self) -> Vec<String> {
        self.cluster.nodes.iter().filter_map(complaints).collect()
    }

    pub fn tell_logs(&self) {
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            eprintln!("---- the end of node {number}'s log\n{}", node.log_tail());
        }
        eprintln!("---- nginx's log\n{}", self.nginx.log());
    }

    /// What is going on, for the progress line.
    pub fn tell(&self, doing: &str) {
        self.present.lock().unwrap().doing = doing.to_owned();
    }

    /// Whose acks and deliveries are counted from now on.
    pub fn watch(&self, clients: &[Arc<Client>]) {
        let mut present = self.present.lock().unwrap();
        let (acked, told) = present.counts();
        (present.acked, present.told) = (acked, told);
        present.clients = clients.to_vec();
    }
}

impl Present {
    fn counts(&self) -> (u64, u64) {
        let sum = |count: fn(&Client) -> u64| self.clients.iter().map(|client| count(client)).sum::<u64>();
        (self.acked + sum(Client::acked), self.told + sum(Client::told))
    }
}

/// One line every few seconds, until it is dropped. Violations end a soak, so there are none while it runs.
pub async fn tell_progress(world: Arc<World>) {
    let mut ticks = tokio::time::interval(TELL_EVERY);
    loop {
        ticks.tick().await;
        let (doing, (acked, told)) = {
            let present = world.present.lock().unwrap();
            (present.doing.clone(), present.counts())
        };
        let vitals = |node: &Node| {
            let vitals = node.is_running().then(|| Vitals::of(node.pid())).flatten();
            vitals.map_or_else(|| "(down)".to_owned(), |vitals| vitals.to_string())
        };
        let nodes: Vec<String> = world.cluster.nodes.iter().map(vitals).collect();
        eprintln!(
            "{:>6.0} s | {acked} acks, {told} deliveries | {} | {}",
            world.started.elapsed().as_secs_f64(),
            nodes.join(" | "),
            if doing.is_empty() { "load" } else { &doing },
        );
    }
}

/// A panic, or an error that is logged because it should never come about.
fn complaints(node: &Node) -> Option<String> {
    if !node.is_running() {
        return Some("a node ended by itself".to_owned());
    }
    let log = node.log();
    // That a database cannot be brought up to date while it is stopped is told as an error, and is none of ours.
    let is_defect =
        |line: &&str| line.contains("panicked") || (line.contains(" ERROR ") && !line.contains("brought up to date"));
    let lines: Vec<&str> = log.lines().filter(is_defect).collect();
    (!lines.is_empty()).then(|| format!("{} defects in a node's log, the first: {}", lines.len(), lines[0]))
}
