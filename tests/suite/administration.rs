//! What an administrator does acts on every node, and what the nodes are is seen from any of them. Three nodes; one is
//! asked, the sockets are on all.

mod browser;

use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::revocations::operator;
use crate::support::cluster::Cluster;
use crate::support::measure::{SLACK, measured};
use crate::support::node::{PATIENCE, unique};

const NODES: usize = 3;

/// What the beacon is told where only a hint may do it.
const NEVER: (&str, &str) = ("SALON_NODE__BEACON_INTERVAL_MS", "60000");

const BY_HINT: Duration = Duration::from_secs(1);
const HINT_LOST: Duration = Duration::from_secs(3);
const WITHOUT_REDIS: Duration = Duration::from_secs(5);

/// What [`operator`] answers when it is asked for a password.
const PASSWORD: &str = "another long password";

/// Made as an operator makes the first one.
async fn administrator(cluster: &Cluster) -> Account {
    let name = unique("root");
    operator(&cluster.database, &["user", "add", &name, "--admin"]).await;
    let http = Http::new(&cluster.url(0));
    let body = json!({"username": name, "password": PASSWORD});
    let mut answer = http.post("/api/account/login", body).await.expect("an answer").json();
    let user = serde_json::from_value(answer["user"].take()).expect("a user");
    Account { http, user, password: PASSWORD.to_owned() }
}

/// A socket on every node: of the account's cookies, and on the last one of a token too.
async fn sockets(cluster: &Cluster, account: &Account) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for node in 0..NODES {
        sockets.push(Opening::new(&cluster.url(node)).cookies(&account.http).welcomed().await.expect("a socket"));
    }
    let token = account.token().await.expect("another login session");
    sockets.push(Opening::new(&cluster.url(NODES - 1)).bearer(&token).welcomed().await.expect("a socket"));
    sockets
}

async fn disable(root: &Account, account: &Account, disabled: bool) {
    let path = format!("/api/admin/users/{}", account.user.username);
    let answer = root.http.patch(&path, json!({"disabled": disabled})).await.expect("an answer");
    assert_eq!((answer.status, &answer.json()["disabled"]), (200, &json!(disabled)), "{}", answer.json());
}

/// Disabled by the call on the first node: the sockets on all nodes close with 4503, and no node lets them in.
async fn is_put_out(cluster: &Cluster, root: &Account, how: &str, bound: Duration) {
    let alice = cluster.user(1, "alice").await;
    let mut open = sockets(cluster, &alice).await;
    is_put_out_of(cluster, root, &alice, &mut open, how, bound).await;
}

async fn is_put_out_of(
    cluster: &Cluster,
    root: &Account,
    alice: &Account,
    open: &mut [Socket],
    how: &str,
    bound: Duration,
) {
    let began = Instant::now();
    disable(root, alice, true).await;
    for (number, socket) in open.iter_mut().enumerate() {
        let left = (bound * SLACK).saturating_sub(began.elapsed());
        let code = socket.closed(left).await.unwrap_or_else(|error| panic!("{how}, socket {number}: {error}"));
        assert_eq!(code, Some(4503), "{how}, socket {number}");
    }
    measured("administration", &format!("sockets on all nodes of a user disabled {how}"), began.elapsed(), bound);
    for node in 0..NODES {
        let there = alice.http.at(&cluster.url(node));
        assert_eq!(there.get("/api/account").await.expect("an answer").status, 401, "{how}, node {node}");
    }
    let http = Http::new(&cluster.url(2));
    let body = json!({"username": alice.user.username, "password": alice.password});
    assert_eq!(http.post("/api/account/login", body.clone()).await.expect("an answer").status, 401, "{how}");
    disable(root, alice, false).await;
    assert_eq!(http.post("/api/account/login", body).await.expect("an answer").status, 200, "{how}: enabled");
    let mut socket = Opening::new(&cluster.url(1)).cookies(&http.at(&cluster.url(1))).welcomed().await.expect("one");
    socket.drained().await.expect("what was begun after it stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_user_is_put_out_of_every_node() {
    let cluster = Cluster::of(NODES).env(NEVER.0, NEVER.1).start().await;
    let root = administrator(&cluster).await;
    for _ in 0..3 {
        is_put_out(&cluster, &root, "by a hint", BY_HINT).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_hint_puts_them_out_all_the_same() {
    let cluster = Cluster::of(NODES).redis_proxied(1).redis_proxied(2).start().await;
    let root = administrator(&cluster).await;
    for node in [1, 2] {
        cluster.redis_proxy(node).swallow("\"k\":\"revoked\"");
    }
    is_put_out(&cluster, &root, "with the hint lost", HINT_LOST).await;
    for node in [1, 2] {
        assert!(cluster.redis_proxy(node).swallowed() > 0, "the hint came through, so nothing was tested");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_they_are_put_out_through_the_database() {
    let cluster = Cluster::of(NODES).own_redis().start().await;
    let root = administrator(&cluster).await;
    let alice = cluster.user(1, "alice").await;
    let mut open = sockets(&cluster, &alice).await;
    // Its connections stay open and nothing answers, which takes longest to notice.
    cluster.redis().pause();
    is_put_out_of(&cluster, &root, &alice, &mut open, "while Redis hangs", WITHOUT_REDIS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_deleted_by_an_administrator_is_gone_on_every_node() {
    let cluster = Cluster::of(NODES).env(NEVER.0, NEVER.1).start().await;
    let (root, alice) = (administrator(&cluster).await, cluster.user(1, "alice").await);
    let room = alice.http.create_room(&unique("hidden"), "private").await.expect("a room");
    let mut open = sockets(&cluster, &alice).await;
    for socket in &mut open {
        assert_eq!(socket.join(&room.slug).await.expect("an answer")["type"], "joined");
    }
    let said = open[2].ask(json!({"type": "send", "room": room.slug, "content": "hi"})).await.expect("an answer");
    let path = format!("/api/admin/rooms/{}/messages/{}", room.slug, said["id"]);
    assert_eq!(root.http.delete(&path).await.expect("an answer").status, 200);
    for socket in &mut open {
        let told = socket.expect_where("message_deleted", BY_HINT * SLACK, |frame| frame["type"] == "message_deleted");
        assert_eq!(told.await.expect("told")["content"], "");
    }
    let began = Instant::now();
    assert_eq!(root.http.delete(&format!("/api/admin/rooms/{}", room.id)).await.expect("an answer").status, 204);
    for socket in &mut open {
        let removed = socket.expect_where("removed", BY_HINT * SLACK, |frame| frame["type"] == "removed").await;
        let removed = removed.expect("told");
        assert_eq!((&removed["room"], &removed["reason"]), (&json!(room.slug), &json!("room_deleted")));
    }
    measured("administration", "a deleted room is removed on all nodes", began.elapsed(), BY_HINT);
    for node in 0..NODES {
        let there = alice.http.at(&cluster.url(node));
        assert_eq!(there.get(&format!("/api/rooms/{}", room.slug)).await.expect("an answer").status, 404);
    }
}

/// Waits until the nodes are listed so: their states by their names.
async fn states(root: &Account, node: &str, expected: &[(&str, &str)]) -> Vec<Value> {
    let http = root.http.at(node);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let nodes: Vec<Value> = http.get("/api/admin/nodes").await.expect("an answer").expect(200).expect("nodes");
        let told: Vec<(&str, &str)> = nodes
            .iter()
            .map(|node| (node["name"].as_str().unwrap_or_default(), node["state"].as_str().unwrap_or_default()))
            .collect();
        if told == expected {
            return nodes;
        }
        assert!(Instant::now() < deadline, "{told:?} instead of {expected:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_up_draining_and_gone() {
    let cluster = Cluster::of(NODES).env("SALON_DRAIN__DELAY_S", "6").start().await;
    let root = administrator(&cluster).await;
    let first = cluster.url(0);
    let all = states(&root, &first, &[("node-0", "up"), ("node-1", "up"), ("node-2", "up")]).await;
    for node in &all {
        assert_eq!((&node["broker_up"], &node["version"]), (&json!(true), &json!(env!("CARGO_PKG_VERSION"))), "{node}");
    }
    let began = Instant::now();
    cluster.nodes[2].signal("TERM");
    cluster.kill9(1);
    states(&root, &first, &[("node-0", "up"), ("node-1", "up"), ("node-2", "draining")]).await;
    println!("a drained node is shown as such after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(3), "before its next heartbeat was due: {:?}", began.elapsed());
    cluster.nodes[2].ended(PATIENCE).await;
    let left = states(&root, &first, &[("node-0", "up"), ("node-1", "gone")]).await;
    println!("a killed node is shown as gone after {:?}", began.elapsed());
    assert!(left[1]["lag_ms"].as_u64() >= Some(15_000), "{left:?}");
}
