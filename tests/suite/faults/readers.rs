//! Readers that vanish, or lie about what they have.

use std::time::{Duration, Instant};

use salon::engine::http::{Account, authority};
use salon::engine::socket::Opening;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::database::{QUIET, joined, well};
use super::trial::Watch;
use crate::support::cluster::Cluster;
use crate::support::measure::{SLACK, measured};
use crate::support::node::{Single, unique};
use crate::support::proxy::{Proxy, Way};

/// The other end vanishes without a word: nothing is closed, nothing arrives any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_clients_are_let_go() {
    const GONE: Duration = Duration::from_secs(2);
    /// Its leave is told some seconds after, lest a page's reload be one.
    const LEFT: Duration = Duration::from_secs(2 + 5);
    let single = Single::start_with(&[("SALON_NODE__HEARTBEAT_S", "1"), ("SALON_NODE__PONG_TIMEOUT_S", "1")]).await;
    let watch = Watch::start(vec![single.url()]);
    let target = authority(&single.url()).to_owned();
    let (deaf, vanished) = (Proxy::plain(&target).await, Proxy::plain(&target).await);
    let (alice, bob, cid) = (single.user("alice").await, single.user("bob").await, single.user("cid").await);
    let room = alice.http.create_room(&unique("half-open"), "public").await.expect("a room").slug;
    let mut watching = joined(&single.url(), &alice, &room).await;
    let at = |proxy: &Proxy| format!("http://{}", proxy.address());
    let mut unheard = joined(&at(&deaf), &bob, &room).await;
    let mut lost = joined(&at(&vanished), &cid, &room).await;
    // It goes on reading, and so answering, for as long as anything arrives.
    let lost = tokio::spawn(async move { lost.closed(QUIET).await });
    let answering = async { tokio::join!(watching.closed(2 * GONE), unheard.closed(2 * GONE)) };
    let (hers, his) = answering.await;
    assert!(hers.is_err() && his.is_err() && !lost.is_finished(), "who answers is let go: {hers:?} {his:?}");

    deaf.blackhole(Way::ToServer);
    vanished.blackhole(Way::ToServer);
    vanished.blackhole(Way::ToClient);
    let began = Instant::now();
    let closed = async {
        let code = unheard.closed(SLACK * GONE).await.expect("closed");
        (code, began.elapsed())
    };
    let name = cid.user.username.as_str();
    let told = |frame: &Value| frame["type"] == "user_leave" && frame["user"] == name;
    let seen = async {
        watching.expect_where("the leave", SLACK * LEFT, told).await.expect("told");
        began.elapsed()
    };
    let ((code, took), left) = tokio::join!(closed, seen);
    assert_eq!(code, Some(4009));
    measured("half-open client", "closed with 4009", took, GONE);
    measured("half-open client", "its leave is told", left, LEFT);
    // The node's own end of it is gone, too.
    let deadline = began + SLACK * LEFT;
    while single.node.metric("salon_sockets").await > 1.0 {
        assert!(Instant::now() < deadline, "the socket of a client that vanished is kept");
        sleep(Duration::from_millis(100)).await;
    }
    watch.always_well(&[0]);
    lost.abort();
}

/// What a client claims to have can be wrong in every way; what it is given never is.
async fn forged_positions(urls: &[String]) {
    let alice = Account::register(&urls[0], &unique("alice")).await.expect("registration");
    let mut rooms = Vec::new();
    for count in [3, 12] {
        let room = alice.http.create_room(&unique("forged"), "public").await.expect("a room");
        let mut socket = joined(&urls[0], &alice, &room.slug).await;
        for number in 0..count {
            let send = json!({"type": "send", "room": room.slug, "content": format!("{} {number}", room.slug)});
            assert_eq!(socket.ask(send).await.expect("an answer")["type"], "ack");
        }
        rooms.push((room, count));
    }
    let ((room, head), (other, other_head)) = (&rooms[0], &rooms[1]);
    let after = |after: Value| json!({"room": room.slug, "after": after});
    let with = |after: u64, epoch: &str| json!({"room": room.slug, "after": after, "epoch": epoch});
    let fresh = [
        after(json!(head + 1)),
        after(json!(other_head)),
        with(*other_head, &other.epoch),
        with(1, &other.epoch),
        with(0, "forged"),
        after(json!(1_u64 << 62)),
        after(json!(i64::MAX)),
    ];
    let continued =
        [(after(json!(0)), 0), (after(json!(2)), 2), (with(1, &room.epoch), 1), (with(*head, &room.epoch), *head)];
    let invalid = [json!(-1), json!(i64::MIN), json!(1e300), json!(0.5), json!("2"), json!([2]), json!({})].map(after);
    for url in urls {
        let mut socket = Opening::new(url).cookies(&alice.http).welcomed().await.expect("a socket");
        let mut ask = async |mut wish: Value| -> Value {
            wish["type"] = json!("join");
            let answer = socket.ask(wish).await.expect("an answer");
            for message in answer["messages"].as_array().into_iter().flatten() {
                assert_eq!(message["room"], room.slug, "of another room: {answer}");
                assert!(message["content"].as_str().is_some_and(|text| text.starts_with(&room.slug)), "{answer}");
            }
            answer
        };
        let seqs = |answer: &Value| -> Vec<u64> {
            let messages = answer["messages"].as_array().into_iter().flatten();
            messages.map(|message| message["seq"].as_u64().expect("a number")).collect()
        };
        for wish in &fresh {
            let told = ask(wish.clone()).await;
            assert_eq!((&told["reset"], &told["seq"]), (&json!(true), &json!(head)), "{wish}: {told}");
            assert_eq!(seqs(&told), (1..=*head).collect::<Vec<_>>(), "{wish}: {told}");
        }
        for (wish, from) in &continued {
            let told = ask(wish.clone()).await;
            assert_eq!(told["reset"], json!(false), "{wish}: {told}");
            assert_eq!(seqs(&told), (from + 1..=*head).collect::<Vec<_>>(), "{wish}: {told}");
        }
        for wish in &invalid {
            let told = ask(wish.clone()).await;
            assert_eq!(told["code"], "invalid", "{wish}: {told}");
        }
        let huge = ask(after(json!(u64::MAX))).await;
        assert!(huge["code"] == "invalid" || huge["reset"] == true, "{huge}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_position_gets_a_fresh_start_or_nothing() {
    let single = Single::shared().await;
    forged_positions(&[single.url()]).await;
    well(&single.node).await;
    let cluster = Cluster::start(2).await;
    forged_positions(&cluster.urls()).await;
    for node in &cluster.nodes {
        well(node).await;
    }
}
