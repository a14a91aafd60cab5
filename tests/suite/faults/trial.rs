//! What every fault is tried on: three nodes under load, two people of whom one says and the other hears on another
//! node, and an eye on `/readyz` as a load balancer has it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use salon::engine::socket::{Opening, Socket};
use salon::engine::workload::{Finished, Mix, Pace, Plan, Running, Stop};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::cluster::{Builder, Cluster, assert_green};
use crate::support::haproxy::HaProxy;
use crate::support::measure::{SLACK, counted, measured};
use crate::support::node::{Node, unique};

/// Where the reader is, and where the faults of one node happen unless they are the writer's.
pub const READER: usize = 0;
/// Where the writer is.
pub const WRITER: usize = 1;
/// Where nobody of the two is.
pub const THIRD: usize = 2;

/// A hint that was lost is healed by then (G3).
pub const HEALED: Duration = Duration::from_secs(3);
/// What is said reaches other nodes by then while all is well; far below what the beacon takes.
const BY_HINT: Duration = Duration::from_millis(200);
/// An outage of Redis is noticed by then (G9).
pub const NOTICED: Duration = Duration::from_secs(5);
/// What is said reaches other nodes by then, through the database, once the outage is noticed (G9).
pub const THROUGH_DATABASE: Duration = Duration::from_secs(1);
/// Presence is right by then after Redis came back empty (G6).
pub const PRESENT: Duration = Duration::from_secs(5);

/// The load must show that it works by then.
const PROGRESS: Duration = Duration::from_secs(45);
/// Everybody is back and has read everything by then.
const QUIET: Duration = Duration::from_secs(60);
/// Between two looks at something that shall come about.
const LOOK: Duration = Duration::from_millis(25);

pub struct Trial {
    pub cluster: Cluster,
    /// In the words of the matrix.
    fault: &'static str,
    running: Running,
    pub room: String,
    pub reader: Socket,
    pub writer: Socket,
    pub people: [Account; 2],
    balancer: Option<HaProxy>,
    /// What the reader should have heard, in order.
    said: Vec<String>,
    heard: Vec<String>,
}

/// Looks at every node's `/readyz` all the time, until it is dropped.
pub struct Watch {
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Seen {
    node: usize,
    status: u16,
    told: String,
}

impl Trial {
    /// A cluster that works, with load on it.
    pub async fn start(fault: &'static str, builder: Builder) -> Trial {
        Self::on(fault, builder.start().await, None).await
    }

    /// The same, with the load coming through a balancer that goes by `/readyz`.
    pub async fn behind_haproxy(fault: &'static str, builder: Builder) -> Trial {
        let cluster = builder.start().await;
        let balancer = HaProxy::start(&cluster.urls()).await;
        Self::on(fault, cluster, Some(balancer)).await
    }

    async fn on(fault: &'static str, cluster: Cluster, balancer: Option<HaProxy>) -> Trial {
        // Nobody breaks a connection but the fault.
        let mix = Mix { cut: 0.0, ..Plan::default().mix };
        let plan = Plan {
            nodes: balancer.as_ref().map_or_else(|| cluster.urls(), |balancer| vec![balancer.url()]),
            prefix: unique("load"),
            clients: 6,
            rooms: 2,
            mix,
            pace: Pace::PerSecond(40.0),
            stop: Stop::Told,
            ..Plan::default()
        };
        let running = plan.start().await.expect("the workload starts");
        let people = [cluster.user(READER, "reader").await, cluster.user(WRITER, "writer").await];
        let room = people[1].http.create_room(&unique("fault"), "public").await.expect("a room").slug;
        let reader = joined(&cluster, READER, &people[0], &room).await;
        let writer = joined(&cluster, WRITER, &people[1], &room).await;
        let (said, heard) = (Vec::new(), Vec::new());
        let mut trial = Trial { cluster, fault, running, room, reader, writer, people, balancer, said, heard };
        trial.say("before").await;
        trial.hears("before", PROGRESS).await;
        trial.works().await;
        trial
    }

    /// Only after [`Trial::behind_haproxy`].
    pub fn balancer(&self) -> &HaProxy {
        self.balancer.as_ref().expect("there is a balancer")
    }

    /// The writer says something; it must be acknowledged.
    pub async fn say(&mut self, content: &str) {
        let frame = self.frame(content, &unique("nonce"));
        let ack = self.writer.ask(frame).await.expect("an ack");
        assert_eq!(ack["type"], "ack", "{}: {ack}", self.fault);
        self.said.push(content.to_owned());
    }

    /// As the writer says it.
    pub fn frame(&self, content: &str, nonce: &str) -> Value {
        json!({"type": "send", "room": self.room, "content": content, "nonce": nonce})
    }

    /// The reader hears it; whatever came before it is kept.
    pub async fn hears(&mut self, content: &str, within: Duration) -> Value {
        let heard = self.reader.expect_where(content, within, |frame| frame["content"] == content).await;
        let frame = heard.unwrap_or_else(|error| {
            panic!("{}: {error}\n{}", self.fault, self.cluster.nodes[READER].log_tail());
        });
        self.take_heard();
        self.heard.push(content.to_owned());
        frame
    }

    /// Says it on one node, and measures until it is heard on the other.
    pub async fn across(&mut self, content: &str, what: &str, bound: Duration) {
        let sent = Instant::now();
        self.say(content).await;
        self.hears(content, bound * SLACK).await;
        self.measured(what, sent.elapsed(), bound);
    }

    #[track_caller]
    pub fn measured(&self, what: &str, took: Duration, bound: Duration) {
        measured(self.fault, what, took, bound);
    }

    #[track_caller]
    pub fn counted(&self, what: &str, count: f64, bound: usize) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        counted(self.fault, what, count as usize, bound);
    }

    /// What the writer said by other ways than [`Trial::say`], so that the reader's account is right.
    pub fn was_said(&mut self, content: &str) {
        self.said.push(content.to_owned());
    }

    /// The load goes on.
    pub async fn works(&self) {
        if let Err(error) = self.running.progress(40, PROGRESS).await {
            panic!("{}: {error}", self.fault);
        }
    }

    pub fn watch(&self) -> Watch {
        Watch::start(self.cluster.urls())
    }

    /// Waits until a node's `/readyz` is this; how long that took.
    pub async fn until_readiness(&self, node: usize, status: u16, names: &[&str], within: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let (is, told) = self.cluster.nodes[node].readiness().await;
            if is == status && told == names {
                return began.elapsed();
            }
            let late = began.elapsed() > within;
            assert!(!late, "{}: node {node} is {is} {told:?}, not {status} {names:?}", self.fault);
            sleep(LOOK).await;
        }
    }

    /// Waits until a metric of a node is this; how long that took.
    pub async fn until_metric(
        &self,
        node: usize,
        name: &str,
        wanted: impl Fn(f64) -> bool,
        within: Duration,
    ) -> Duration {
        let began = Instant::now();
        loop {
            let is = self.cluster.nodes[node].metric(name).await;
            if wanted(is) {
                return began.elapsed();
            }
            assert!(began.elapsed() < within, "{}: {name} of node {node} is {is}", self.fault);
            sleep(LOOK).await;
        }
    }

    /// Waits until this node tells that both people are online; how long that took.
    pub async fn until_both_online(&self, node: usize, within: Duration) -> Duration {
        let http = self.people[0].http.at(&self.cluster.url(node));
        let began = Instant::now();
        loop {
            let told = http.get(&format!("/api/rooms/{}/users", self.room)).await.expect("an answer").json();
            if told["user_count"] == 2 {
                return began.elapsed();
            }
            assert!(began.elapsed() < within, "{}: node {node} tells {told}", self.fault);
            sleep(LOOK).await;
        }
    }

    /// Whether the reader was told that somebody left.
    pub fn was_told_of_a_leave(&self) -> bool {
        self.reader.passed.iter().any(|frame| frame["type"] == "user_leave")
    }

    /// The cluster works again, and nothing was lost, doubled or put out of order by what happened.
    pub async fn end(mut self) -> Finished {
        self.works().await;
        // One after the other, so that what only the beacon brings takes its whole interval every time.
        let mut times = Vec::new();
        for round in 0..7 {
            let (content, sent) = (format!("after {round}"), Instant::now());
            self.say(&content).await;
            self.hears(&content, HEALED * SLACK).await;
            times.push(sent.elapsed());
        }
        times.sort_unstable();
        self.measured("delivered across nodes by hints again, median", times[times.len() / 2], BY_HINT);
        assert_eq!(self.heard, self.said, "{}: what was heard, and what was said", self.fault);
        let finished = self.running.finish(QUIET).await.expect("the workload ends");
        let nodes: Vec<&Node> = self.cluster.nodes.iter().collect();
        assert_green(self.fault, &finished, &nodes);
        counted(self.fault, "lost, doubled or out of order", finished.report.violations.len(), 0);
        finished
    }

    /// Frames that were passed over on the way to another.
    fn take_heard(&mut self) {
        let passed = self.reader.passed.extract_if(.., |frame| frame["type"] == "chat_message");
        self.heard.extend(passed.filter_map(|frame| frame["content"].as_str().map(str::to_owned)));
    }
}

impl Watch {
    pub fn start(urls: Vec<String>) -> Watch {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writing = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                for (node, url) in urls.iter().enumerate() {
                    let answer = Http::new(url).call("GET", "/readyz").timeout(Duration::from_secs(5)).send().await;
                    let (status, told) = answer.map_or((0, String::new()), |a| (a.status, a.json().to_string()));
                    writing.lock().unwrap().push(Seen { node, status, told });
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        Watch { seen, task }
    }

    /// None of these nodes ever told a load balancer to send nobody.
    #[track_caller]
    pub fn always_ready(&self, nodes: &[usize]) {
        let seen = self.seen.lock().unwrap();
        for node in nodes {
            assert!(seen.iter().any(|seen| seen.node == *node), "node {node} was not looked at");
        }
        let bad = seen.iter().find(|seen| nodes.contains(&seen.node) && seen.status != 200);
        assert!(bad.is_none(), "{bad:?}");
    }

    /// And they had nothing to complain of.
    #[track_caller]
    pub fn always_well(&self, nodes: &[usize]) {
        self.always_ready(nodes);
        let seen = self.seen.lock().unwrap();
        let bad = seen.iter().find(|seen| nodes.contains(&seen.node) && !seen.told.contains(r#""degraded":[]"#));
        assert!(bad.is_none(), "{bad:?}");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn joined(cluster: &Cluster, node: usize, account: &Account, room: &str) -> Socket {
    let opening = Opening::new(&cluster.url(node)).cookies(&account.http);
    let mut socket = opening.welcomed().await.expect("a socket");
    let answer = socket.join(room).await.expect("an answer");
    assert_eq!(answer["type"], "joined", "{answer}");
    socket
}
