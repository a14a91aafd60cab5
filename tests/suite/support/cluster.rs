//! Several real node processes on one Postgres and one Redis.

use std::collections::HashMap;

use salon::engine::checker::Report;
use salon::engine::http::Account;
use salon::engine::workload::{Finished, percentile};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::node::{Node, Settings, unique};
use super::postgres::Postgres;
use super::proxy::Proxy;
use super::redis::Redis;

/// Clusters at once: each is several processes under load.
static CLUSTERS: Semaphore = Semaphore::const_new(2);

/// The same on every node; long enough to be taken.
pub const SECRET: &str = "a secret of the tests that is long enough to sign with";

pub struct Cluster {
    pub nodes: Vec<Node>,
    /// `None`: the shared one, which nobody may disturb.
    own_redis: Option<Redis>,
    redis_proxies: HashMap<usize, Proxy>,
    postgres_proxies: HashMap<usize, Proxy>,
    client_proxies: HashMap<usize, Proxy>,
    /// The address of its database.
    pub database: String,
    _permit: SemaphorePermit<'static>,
}

/// What kind of cluster to start.
#[derive(Default)]
pub struct Builder {
    nodes: usize,
    own_redis: bool,
    redis_proxied: Vec<usize>,
    postgres_proxied: Vec<usize>,
    clients_proxied: Vec<usize>,
    env: Vec<(String, String)>,
    node_env: Vec<(usize, String, String)>,
    descriptors: HashMap<usize, u32>,
}

impl Cluster {
    /// Nodes on a database and a prefix of their own, on the Postgres and the Redis that tests share.
    pub async fn start(nodes: usize) -> Cluster {
        Self::of(nodes).start().await
    }

    pub fn of(nodes: usize) -> Builder {
        Builder { nodes, ..Builder::default() }
    }

    pub fn url(&self, node: usize) -> String {
        self.nodes[node].url()
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Node::url).collect()
    }

    /// SIGKILL.
    pub fn kill9(&self, node: usize) {
        self.nodes[node].kill9();
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(&self, node: usize) {
        self.nodes[node].terminate().await;
    }

    pub async fn restart(&self, node: usize) {
        self.nodes[node].restart().await;
    }

    pub async fn metrics(&self, node: usize) -> String {
        self.nodes[node].metrics().await
    }

    /// The cluster's own Redis; only after [`Builder::own_redis`].
    pub fn redis(&self) -> &Redis {
        self.own_redis.as_ref().expect("the cluster has a Redis of its own")
    }

    /// What stands between this node and Redis; only after [`Builder::redis_proxied`].
    pub fn redis_proxy(&self, node: usize) -> &Proxy {
        &self.redis_proxies[&node]
    }

    /// What stands between this node and Postgres; only after [`Builder::postgres_proxied`].
    pub fn postgres_proxy(&self, node: usize) -> &Proxy {
        &self.postgres_proxies[&node]
    }

    /// What stands before this node for who takes [`Cluster::proxied_url`]; only after [`Builder::clients_proxied`].
    pub fn client_proxy(&self, node: usize) -> &Proxy {
        &self.client_proxies[&node]
    }

    /// This node by way of its proxy.
    pub fn proxied_url(&self, node: usize) -> String {
        self.client_proxies[&node].url(&self.url(node))
    }

    /// A new user, logged in by cookies; made on the given node.
    pub async fn user(&self, node: usize, name: &str) -> Account {
        Account::register(&self.url(node), &unique(name)).await.expect("registration")
    }
}

impl Builder {
    /// A Redis that the test may stop.
    pub fn own_redis(mut self) -> Self {
        self.own_redis = true;
        self
    }

    /// Puts a proxy between this node and Redis.
    pub fn redis_proxied(mut self, node: usize) -> Self {
        self.redis_proxied.push(node);
        self
    }

    /// Puts a proxy between this node and Postgres.
    pub fn postgres_proxied(mut self, node: usize) -> Self {
        self.postgres_proxied.push(node);
        self
    }

    /// Puts a proxy before this node, for the clients that are to suffer.
    pub fn clients_proxied(mut self, node: usize) -> Self {
        self.clients_proxied.push(node);
        self
    }

    /// A further setting of every node.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A further setting of one node.
    pub fn node_env(mut self, node: usize, key: &str, value: &str) -> Self {
        self.node_env.push((node, key.to_owned(), value.to_owned()));
        self
    }

    /// How many file descriptors one node may have.
    pub fn descriptors(mut self, node: usize, most: u32) -> Self {
        self.descriptors.insert(node, most);
        self
    }

    pub async fn start(self) -> Cluster {
        let permit = CLUSTERS.acquire().await.expect("never closed");
        let database = Postgres::shared().fresh_database().await;
        let own_redis = self.own_redis.then(Redis::start);
        let redis_url = own_redis.as_ref().map_or_else(|| Redis::shared().url(), Redis::url);
        let redis_proxies = proxies(&self.redis_proxied, |_| Proxy::redis(&redis_url)).await;
        let host = host_of(&database);
        let postgres_proxies = proxies(&self.postgres_proxied, |_| Proxy::plain(host)).await;
        let prefix = Redis::prefix();
        let settings = |node: usize| -> Settings {
            let by_way = |proxies: &HashMap<usize, Proxy>, url: &str| {
                proxies.get(&node).map_or_else(|| url.to_owned(), |proxy| proxy.url(url))
            };
            let (database, redis) = (by_way(&postgres_proxies, &database), by_way(&redis_proxies, &redis_url));
            let mut env: Vec<(String, String)> = [
                ("SALON_DATABASE__URL", database),
                ("SALON_DATABASE__POOL_SIZE", "8".into()),
                ("SALON_REDIS__URL", redis),
                ("SALON_REDIS__PREFIX", prefix.clone()),
                ("SALON_AUTH__SECRET", SECRET.into()),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
            env.extend(self.env.iter().cloned());
            let own = self.node_env.iter().filter(|(number, ..)| *number == node);
            env.extend(own.map(|(_, key, value)| (key.clone(), value.clone())));
            Settings { env, descriptors: self.descriptors.get(&node).copied(), ..Settings::default() }
        };
        let names: Vec<String> = (0..self.nodes).map(|node| format!("node-{node}")).collect();
        let starts = names.iter().enumerate().map(|(node, name)| {
            let settings = settings(node);
            async move { Node::start(name, settings).await }
        });
        // All at once, as in life: one of them migrates, the others wait.
        let nodes: Vec<Node> = futures_util::future::join_all(starts).await;
        let urls: Vec<String> = nodes.iter().map(Node::url).collect();
        let client_proxies = proxies(&self.clients_proxied, |node| Proxy::plain(host_of(&urls[node]))).await;
        let database = database.clone();
        Cluster { nodes, own_redis, redis_proxies, postgres_proxies, client_proxies, database, _permit: permit }
    }
}

async fn proxies<F: Future<Output = Proxy>>(nodes: &[usize], make: impl Fn(usize) -> F) -> HashMap<usize, Proxy> {
    let mut proxies = HashMap::new();
    for node in nodes {
        proxies.insert(*node, make(*node).await);
    }
    proxies
}

/// `host:port` of a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or(rest);
    rest.rsplit('@').next().unwrap_or(rest)
}

/// Fails with the violations in words, and with the nodes' logs.
pub fn assert_green(what: &str, finished: &Finished, nodes: &[&Node]) {
    let report: &Report = &finished.report;
    if !report.is_green() {
        for node in nodes {
            eprintln!("---- the end of a node's log\n{}", node.log_tail());
        }
        panic!("{what}: {report}");
    }
    let timings = finished.timings();
    eprintln!(
        "{what}: {:?}; ack p50 {:?} p99 {:?}, delivery p50 {:?} p99 {:?}",
        report.counts,
        percentile(&timings.ack, 0.5),
        percentile(&timings.ack, 0.99),
        percentile(&timings.delivery, 0.5),
        percentile(&timings.delivery, 0.99),
    );
}
