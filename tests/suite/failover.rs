//! Several Postgres servers in one URL: whichever takes writes is found, and left when it does not any more.

use std::time::{Duration, Instant};

use salon::engine::socket::Opening;
use salon::engine::workload::{Pace, Plan, Stop};
use salon::{config, store};
use serde_json::json;

use crate::cli::{out, salon};
use crate::support::cluster::assert_green;
use crate::support::node::{Node, Settings, unique};
use crate::support::postgres::{self, Postgres};

const SECRET: &str = "a secret of the tests that is long enough to sign with";

const PROGRESS: Duration = Duration::from_secs(45);
const QUIET: Duration = Duration::from_secs(60);

/// From the moment that a standby was told to take over until sends are acknowledged again.
const FAILOVER: Duration = Duration::from_secs(10);

/// From the moment that a server turned read-only until none of our connections is left there.
const LEFT: Duration = Duration::from_secs(10);

fn both(one: &Postgres, two: &Postgres, name: &str) -> String {
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", one.port(), two.port());
    format!("postgres://postgres@{hosts}/{name}?target_session_attrs=read-write")
}

async fn node(database: &str) -> Node {
    let env = [("SALON_DATABASE__URL", database), ("SALON_DATABASE__POOL_SIZE", "8"), ("SALON_AUTH__SECRET", SECRET)];
    let env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Node::start("failover", Settings { env, ..Settings::default() }).await
}

fn plan(node: &Node) -> Plan {
    let pace = Pace::InFlight(2);
    Plan { nodes: vec![node.url()], prefix: unique("failover"), stop: Stop::Told, pace, ..Plan::default() }
}

async fn connections(server: &Postgres) -> i64 {
    let client = postgres::connect(&server.url("postgres")).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'salon'";
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

async fn read_only(server: &Postgres, on: bool) {
    let url = server.url("postgres");
    let value = if on { "on" } else { "off" };
    postgres::execute(&url, &format!("ALTER SYSTEM SET default_transaction_read_only = {value}")).await;
    postgres::execute(&url, "SELECT pg_reload_conf()").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_is_found_and_nothing_is_lost() {
    let mut primary = Postgres::start();
    let standby = primary.standby().await;
    // The standby first: it answers, and is not taken.
    let url = both(&standby, &primary, "postgres");
    let node = node(&url).await;
    let running = plan(&node).start().await.expect("the workload starts");
    running.progress(100, PROGRESS).await.expect("it works on the primary");
    assert_eq!(connections(&standby).await, 0);

    let killed = Instant::now();
    primary.kill9();
    postgres::execute(&standby.url("postgres"), "SELECT pg_promote()").await;
    let promoted = Instant::now();
    running.progress(1, FAILOVER).await.expect("it works on the promoted standby");
    eprintln!("acknowledged again {:?} after the kill, {:?} after the promotion", killed.elapsed(), promoted.elapsed());
    running.progress(100, PROGRESS).await.expect("it goes on");
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("failover to a standby", &finished, &[&node]);

    let folder = tempfile::tempdir().expect("a folder");
    let environment = [("SALON_DATABASE__URL", url.as_str()), ("SALON_AUTH__SECRET", SECRET)];
    assert!(out(&salon(folder.path(), &["migrate"], &environment, "")).contains("up to date"));
    let added = salon(folder.path(), &["user", "add", "carol"], &environment, "correct horse battery\n");
    assert!(added.status.success(), "{added:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_turns_read_only_is_left() {
    let old = Postgres::start();
    let new = old.standby().await;
    let node = node(&both(&old, &new, "postgres")).await;
    let running = plan(&node).start().await.expect("the workload starts");
    running.progress(100, PROGRESS).await.expect("it works on the old primary");

    // It stays up and goes on answering, as one that was told to step back.
    read_only(&old, true).await;
    let turned = Instant::now();
    node.says(&["WARN", "the database server turned read-only"]).await;
    postgres::execute(&new.url("postgres"), "SELECT pg_promote()").await;
    let promoted = Instant::now();
    running.progress(1, FAILOVER).await.expect("it works on the new primary");
    eprintln!("acknowledged again {:?} after the promotion", promoted.elapsed());
    while connections(&old).await > 0 {
        assert!(turned.elapsed() < LEFT, "connections to a read-only server are kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.progress(100, PROGRESS).await.expect("it goes on");
    let finished = running.finish(QUIET).await.expect("the workload ends");
    assert_green("a primary that stepped back", &finished, &[&node]);
}

/// What reads only would never come upon it, and go on reading what may be behind the truth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_are_given_up_when_one_finds_its_server_read_only() {
    let server = Postgres::start();
    let database = config::Database { url: server.url("postgres"), pool_size: 8, ..config::Database::default() };
    let store = store::open(&database).expect("a store");
    let pings = futures_util::future::join_all((0..64).map(|_| store.ping())).await;
    assert!(pings.iter().all(Result::is_ok), "{pings:?}");
    assert!(connections(&server).await > 1, "there are several to give up");
    read_only(&server, true).await;
    let deadline = Instant::now() + LEFT;
    while store.ping().await.is_ok() {
        assert!(Instant::now() < deadline, "it does not turn read-only");
    }
    while connections(&server).await > 0 {
        assert!(Instant::now() < deadline, "connections to a read-only server are kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_to_a_read_only_database_is_unavailable_and_can_be_tried_again() {
    let server = Postgres::start();
    let node = node(&server.url("postgres")).await;
    let alice = salon::engine::http::Account::register(&node.url(), &unique("alice")).await.expect("registration");
    let room = alice.http.create_room(&unique("still"), "public").await.expect("a room").slug;
    let mut socket = Opening::new(&node.url()).cookies(&alice.http).welcomed().await.expect("a socket");
    let send = json!({"type": "send", "room": room, "content": "hi", "nonce": "one"});
    read_only(&server, true).await;
    // The server hears of its new setting a moment later, each connection for itself.
    let deadline = Instant::now() + LEFT;
    let mut count = 0;
    loop {
        let send = json!({"type": "send", "room": room, "content": "hi", "nonce": format!("before {count}")});
        let answer = socket.ask(send).await.expect("an answer");
        if answer["type"] != "ack" {
            assert_eq!(answer["code"], "unavailable", "{answer}");
            break;
        }
        assert!(Instant::now() < deadline, "it does not turn read-only");
        count += 1;
    }
    let answer = socket.ask(send.clone()).await.expect("an answer");
    assert_eq!(answer["code"], "unavailable", "{answer}");
    read_only(&server, false).await;
    let deadline = Instant::now() + FAILOVER;
    loop {
        let answer = socket.ask(send.clone()).await.expect("an answer");
        if answer["type"] == "ack" {
            break;
        }
        assert_eq!(answer["code"], "unavailable", "{answer}");
        assert!(Instant::now() < deadline, "it does not come back: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_silent_costs_a_moment_only() {
    // The kernel takes connections for it, and nobody answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = listener.local_addr().expect("its address");
    let url = Postgres::shared().fresh_database().await.replace('@', &format!("@{silent},"));
    let folder = tempfile::tempdir().expect("a folder");
    let patience = ("SALON_DATABASE__CONNECT_TIMEOUT_MS", "60000");
    let environment = [("SALON_DATABASE__URL", url.as_str()), ("SALON_AUTH__SECRET", SECRET), patience];
    let started = Instant::now();
    let output = salon(folder.path(), &["migrate"], &environment, "");
    assert!(out(&output).contains("up to date"), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(30), "the silent one was waited for");
}
