//! `deploy/local`: the whole topology as processes.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use salon::engine::checker::check;
use salon::engine::events::watcher::Watcher;
use salon::engine::http::Account;
use salon::engine::log::Outcome;
use salon::engine::socket::{Opening, Socket};
use salon::engine::workload::{Mix, Pace, Plan, Stop};
use serde_json::json;

use super::prometheus::Prometheus;
use super::{alarms, dashboard_queries, path, selectors};
use crate::support::cluster::assert_green;
use crate::support::guardian::Guardian;
use crate::support::node::unique;

const PATIENCE: Duration = Duration::from_secs(60);

/// Kills what a test process that died left behind; harmless after `down`.
const KEEPER: &str = r#"
sleep infinity & sleeper=$!
trap 'for file in "$1"/run/*.pid; do read -r pid rest <"$file" && kill -s KILL "$pid"; done; kill "$sleeper"; exit' TERM
wait
"#;

struct Local {
    folder: std::path::PathBuf,
    binary: String,
    _keeper: Guardian,
}

impl Local {
    fn new(binary: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("salon-local-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).expect("a folder");
        let mut keeper = Command::new("bash");
        keeper.args(["-c", KEEPER, "keeper"]).arg(folder.join("state"));
        let keeper = Guardian::spawn(&keeper, &folder, "TERM");
        // Beside what the guardian has there.
        let folder = folder.join("state");
        Self { folder, binary: binary.to_owned(), _keeper: keeper }
    }

    async fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(path("deploy/local"));
        command.arg("--state").arg(&self.folder).args(["--binary", &self.binary]).args(args).stdin(Stdio::null());
        for limit in ["MESSAGES_PER_S", "MESSAGE_BURST", "LOGINS_PER_MINUTE_ADDRESS"] {
            command.env(format!("SALON_LIMITS__{limit}"), "100000");
        }
        command.env("SALON_DRAIN__DELAY_S", "1");
        tokio::task::spawn_blocking(move || command.output().expect("bash runs")).await.expect("it ends")
    }

    /// What it says; it must succeed.
    async fn tell(&self, args: &[&str]) -> String {
        let began = Instant::now();
        let output = self.command(args).await;
        eprintln!("deploy/local {args:?} took {:?}", began.elapsed());
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Processes whose command, environment or directory names the folder, other than the keeper.
    fn processes(&self) -> Vec<String> {
        let ours = |entry: std::fs::DirEntry| {
            let bytes = std::fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&bytes).replace('\0', " ");
            let named = command.contains(&*self.folder.to_string_lossy())
                || self.environment_names(&entry.path())
                // Redis shows a name that says nothing.
                || std::fs::read_link(entry.path().join("cwd")).is_ok_and(|folder| folder.starts_with(&self.folder));
            (named && !command.contains("keeper") && !command.contains("guardian")).then_some(command)
        };
        std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(ours).collect()
    }

    /// The nodes have the folder in their environment only.
    fn environment_names(&self, process: &Path) -> bool {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        let secret = format!("SALON_AUTH__SECRET_FILE={}", self.folder.display());
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(secret.as_bytes()))
    }
}

/// The address that stands behind a word in what `up` says.
fn address(told: &str, word: &str) -> String {
    let line = told.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("no {word}: {told}"));
    let url = line.trim();
    url.strip_suffix("/alerts").unwrap_or(url).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topology_chats_is_watched_and_rolls_without_loss() {
    let local = Local::new(env!("CARGO_BIN_EXE_salon"));
    let told = local.tell(&["up"]).await;
    let status = local.tell(&["status"]).await;
    assert_eq!(status.matches(" ready ").count(), 7, "{status}");
    assert_eq!(local.tell(&["up"]).await, told, "a second `up` changes nothing");
    assert_eq!(local.tell(&["status"]).await, status);

    let chat = address(&told, "chat");
    two_people_on_two_nodes_chat(&chat).await;
    rolling_loses_nothing(&local, &chat).await;
    operators_see_everything(&address(&told, "prometheus")).await;

    local.tell(&["kill", "2"]).await;
    let status = local.command(&["status"]).await;
    assert_eq!(status.status.code(), Some(1), "{status:?}");
    assert!(String::from_utf8_lossy(&status.stdout).contains("salon-2     down"), "{status:?}");
    two_people_on_two_nodes_chat(&chat).await;
    local.tell(&["start", "2"]).await;
    local.tell(&["status"]).await;

    assert!(local.processes().len() >= 7, "{:?}", local.processes());
    local.tell(&["down"]).await;
    assert_eq!(local.processes(), Vec::<String>::new());
    // What was said is still there.
    let again = address(&local.tell(&["up"]).await, "chat");
    assert_eq!(again, chat, "the address stays");
    local.tell(&["down"]).await;
}

/// One failure ends what was started before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_half_way_leaves_nothing_behind() {
    let local = Local::new("/bin/false");
    let output = local.command(&["up"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("salon-1 did not come up"), "{output:?}");
    assert_eq!(local.processes(), Vec::<String>::new());
    assert!(local.folder.join("postgres/data/PG_VERSION").exists(), "Postgres was not started, so nothing was tested");
}

async fn two_people_on_two_nodes_chat(chat: &str) {
    let alice = Account::register(chat, &unique("alice")).await.expect("registration");
    let bob = Account::register(chat, &unique("bob")).await.expect("registration");
    let room = alice.http.create_room(&unique("local"), "public").await.expect("a room").slug;
    let (mut one, first) = joined(chat, &alice, &room).await;
    // The balancer spreads sockets; which node is whose is its own matter.
    let mut others = Vec::new();
    let mut two = loop {
        let (socket, node) = joined(chat, &bob, &room).await;
        if node != first {
            break socket;
        }
        others.push(socket);
        assert!(others.len() < 9, "nine sockets, all on {node}");
    };
    for (from, to) in [(0, 1), (1, 0)] {
        let content = unique("hello");
        let sockets = [&mut one, &mut two];
        let send = json!({"type": "send", "room": room, "content": content});
        let [one, two] = sockets;
        let (sender, reader) = if from < to { (one, two) } else { (two, one) };
        assert_eq!(sender.ask(send).await.expect("an answer")["type"], "ack");
        reader.expect_where("the message", PATIENCE, |frame| frame["content"] == content.as_str()).await.expect("told");
    }
}

/// The socket and the node it is on.
async fn joined(chat: &str, who: &Account, room: &str) -> (Socket, String) {
    // As a browser does: the balancer must hand on what the origin is compared with.
    let opening = Opening::new(chat).cookies(&who.http).origin(chat);
    let mut socket = opening.open().await.expect("a socket");
    let welcome = socket.expect("welcome").await.expect("welcome");
    let answer = socket.join(room).await.expect("an answer");
    assert_eq!(answer["type"], "joined", "{answer}");
    (socket, welcome["node"].as_str().expect("a name").to_owned())
}

async fn rolling_loses_nothing(local: &Local, chat: &str) {
    let plan = Plan {
        nodes: vec![chat.to_owned()],
        clients: 9,
        prefix: unique("roll"),
        stop: Stop::Told,
        pace: Pace::InFlight(2),
        mix: Mix { cut: 0.0, ..Plan::default().mix },
        ..Plan::default()
    };
    let running = plan.start().await.expect("the workload starts");
    // Event streams come along, read by what knows no more than a browser: any answer but 200 is its end.
    let mut watchers = Vec::new();
    for room in running.rooms.clone() {
        let account = Account::register(chat, &unique("watcher")).await.expect("registration");
        let cookies = account.http.cookie_header("/api/rooms").expect("logged in");
        let watcher = Watcher::start(&[chat.to_owned()], &room, &account.user.username, &cookies, running.clock);
        watcher.connected(1, PATIENCE).await.expect("a stream");
        watchers.push((room, watcher));
    }
    running.progress(100, PATIENCE).await.expect("it works before");
    local.tell(&["roll"]).await;
    for client in &running.clients {
        client.connected(PATIENCE).await.expect("it moved");
    }
    running.progress(100, PATIENCE).await.expect("it works after");
    let mut finished = running.finish(PATIENCE).await.expect("the workload ends");
    for (room, watcher) in &watchers {
        let history = finished.histories.iter().find(|history| history.room == *room).expect("its history");
        watcher.reaches(history.head, PATIENCE).await.expect("it is told all");
        assert!(watcher.connections() > 1, "it did not have to move");
        finished.logs.push(watcher.log());
    }
    finished.report = check(&finished.logs, &finished.histories);
    assert_green("rolling three nodes behind nginx", &finished, &[]);
    assert!(finished.report.counts.resumes >= 9, "nobody had to move: {:?}", finished.report.counts);
    for log in &finished.logs {
        for (op, outcome) in log.ops.iter().zip(log.outcomes()) {
            let is_send = matches!(op.act, salon::engine::log::Act::Send { .. });
            assert!(!is_send || matches!(outcome, Outcome::Acked { .. }), "{}: {op:?} ended as {outcome:?}", log.user);
        }
    }
}

async fn operators_see_everything(url: &str) {
    let prometheus = Prometheus::new(url);
    let up = prometheus.finds("up{job=\"salon\"} == 1", PATIENCE).await;
    let targets = prometheus.ask("/api/v1/targets").await;
    let targets = targets["activeTargets"].as_array().expect("targets").clone();
    assert!(targets.iter().all(|target| target["health"] == "up"), "{targets:?}");
    assert_eq!((up.len(), targets.len()), (3, 4), "three nodes, and itself");
    for query in dashboard_queries() {
        prometheus.finds(&query, PATIENCE).await;
    }
    for (name, query) in alarms() {
        for selector in selectors(&query) {
            // No request has failed, so that there is no such series: one is made for each status that was met.
            let selector = selector.split("{status").next().expect("a name");
            let found = prometheus.finds(selector, PATIENCE).await;
            assert!(found.len() >= 3, "{name}: {selector} is not told by every node: {found:?}");
        }
    }
    let rules = prometheus.ask("/api/v1/rules").await;
    let rules = rules["groups"][0]["rules"].as_array().expect("rules").clone();
    assert_eq!(rules.len(), alarms().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "all is well: {rule}");
    }
}
