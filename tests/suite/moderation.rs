//! What is done to people acts on every node: removals, bans and mutes on their live sockets, and rooms that become
//! theirs or are called otherwise. Three nodes; one acts, the sockets are on all.

mod given;
mod renamed;

use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use salon::engine::socket::{Opening, Socket};
use salon::engine::workload::{Mix, Pace, Plan, Stop};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::cluster::{Cluster, assert_green};
use crate::support::measure::{SLACK, measured};
use crate::support::node::{Node, unique};

const NODES: usize = 3;

/// What the beacon is told where only a hint may do it.
const NEVER: (&str, &str) = ("SALON_NODE__BEACON_INTERVAL_MS", "60000");

const BY_HINT: Duration = Duration::from_secs(1);
const HINT_LOST: Duration = Duration::from_secs(3);
const WITHOUT_REDIS: Duration = Duration::from_secs(5);

/// How somebody is put out of a room.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Kick,
    Ban,
    Leave,
    RoomDeleted,
}

const WAYS: [Way; 4] = [Way::Kick, Way::Ban, Way::Leave, Way::RoomDeleted];

/// An owner, and somebody with a socket on every node.
struct Scene {
    owner: Account,
    other: Account,
    room: String,
    sockets: Vec<Socket>,
}

async fn socket(cluster: &Cluster, node: usize, account: &Account) -> Socket {
    Opening::new(&cluster.url(node)).cookies(&account.http).welcomed().await.expect("a socket")
}

impl Scene {
    async fn new(cluster: &Cluster, kind: &str) -> Scene {
        let (owner, other) = (cluster.user(0, "owner").await, cluster.user(0, "other").await);
        let room = owner.http.create_room(&unique("scene"), kind).await.expect("a room").slug;
        let mut sockets = Vec::new();
        for node in 0..NODES {
            sockets.push(socket(cluster, node, &other).await);
        }
        Scene { owner, other, room, sockets }
    }

    async fn joined(cluster: &Cluster) -> Scene {
        let mut scene = Scene::new(cluster, "private").await;
        scene.put("members", json!({})).await;
        for socket in &mut scene.sockets {
            assert_eq!(socket.join(&scene.room).await.expect("an answer")["type"], "joined");
        }
        scene
    }

    fn at(&self, list: &str) -> String {
        format!("/api/rooms/{}/{list}/{}", self.room, self.other.user.username)
    }

    async fn put(&self, list: &str, body: Value) {
        let answer = self.owner.http.put(&self.at(list), body).await.expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.json());
    }

    async fn goes(&self, way: Way) {
        let answer = match way {
            Way::Kick => self.owner.http.delete(&self.at("members")).await,
            Way::Ban => self.owner.http.put(&self.at("bans"), json!({"reason": "spam"})).await,
            Way::Leave => self.other.http.delete(&format!("/api/rooms/{}/members/me", self.room)).await,
            Way::RoomDeleted => self.owner.http.delete(&format!("/api/rooms/{}", self.room)).await,
        };
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 204, "{way:?}: {}", answer.json());
    }

    /// Every socket is told a frame of this type within three times the bound; those frames.
    async fn told(&mut self, kind: &str, what: &str, bound: Duration) -> Vec<Value> {
        let began = Instant::now();
        let mut frames = Vec::new();
        for (node, socket) in self.sockets.iter_mut().enumerate() {
            let frame = socket.expect_where(kind, bound * SLACK, |frame| frame["type"] == kind).await;
            frames.push(frame.unwrap_or_else(|error| panic!("{what}, node {node}: {error}")));
        }
        measured("moderation", what, began.elapsed(), bound);
        frames
    }
}

async fn put_out(cluster: &Cluster, way: Way, how: &str, bound: Duration, hint_heard: bool) {
    let scene = Scene::joined(cluster).await;
    put_out_of(scene, way, how, bound, hint_heard).await;
}

async fn put_out_of(mut scene: Scene, way: Way, how: &str, bound: Duration, hint_heard: bool) {
    scene.goes(way).await;
    let told = scene.told("removed", &format!("{way:?} {how}"), bound).await;
    for (node, frame) in told.iter().enumerate() {
        let reasons: &[&str] = match way {
            Way::Kick => &["kicked"],
            Way::Ban => &["banned"],
            Way::RoomDeleted => &["room_deleted"],
            // Why somebody is no member any more is in the hint only.
            Way::Leave if hint_heard || node == 0 => &["left"],
            Way::Leave => &["left", "kicked"],
        };
        assert_eq!(frame["room"], scene.room);
        assert!(reasons.contains(&frame["reason"].as_str().unwrap_or("")), "{way:?} {how}: {frame}");
    }
    for socket in &mut scene.sockets {
        for frame in
            [json!({"type": "join", "room": scene.room}), json!({"type": "send", "room": scene.room, "content": "x"})]
        {
            assert_eq!(socket.ask(frame).await.expect("an answer")["code"], "not_found", "{way:?} {how}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_puts_people_out_on_every_node() {
    let cluster = Cluster::of(NODES).env(NEVER.0, NEVER.1).start().await;
    for way in WAYS {
        put_out(&cluster, way, "by a hint", BY_HINT, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_hint_puts_people_out_all_the_same() {
    let cluster = Cluster::of(NODES).redis_proxied(1).redis_proxied(2).start().await;
    for node in [1, 2] {
        cluster.redis_proxy(node).swallow("\"k\":\"access\"");
    }
    for way in WAYS {
        put_out(&cluster, way, "with the hint lost", HINT_LOST, false).await;
    }
    for node in [1, 2] {
        assert!(cluster.redis_proxy(node).swallowed() >= WAYS.len(), "hints came through, so nothing was tested");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_people_are_put_out_through_the_database() {
    let cluster = Cluster::of(NODES).own_redis().start().await;
    let scene = Scene::joined(&cluster).await;
    // Its connections stay open and nothing answers, which takes longest to notice.
    cluster.redis().pause();
    put_out_of(scene, Way::Ban, "while Redis hangs", WITHOUT_REDIS, false).await;
    cluster.redis().stop_hard();
    for way in WAYS {
        put_out(&cluster, way, "without Redis", WITHOUT_REDIS, false).await;
    }
}

/// In a public room, whose door is open else: banned it is closed on every node at once, and open again when the ban is
/// lifted or over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_and_a_mute_hold_at_every_node_until_they_end() {
    let cluster = Cluster::start(NODES).await;
    let mut scene = Scene::new(&cluster, "public").await;
    for (list, closed) in [("bans", true), ("mutes", false)] {
        for lifted in [true, false] {
            let until = salon::model::Timestamp::now().plus(Duration::from_secs(3)).to_string();
            scene.put(list, if lifted { json!({}) } else { json!({"until": until}) }).await;
            let room = scene.room.clone();
            for socket in &mut scene.sockets {
                let answer = socket.join(&room).await.expect("an answer");
                assert_eq!(answer["code"] == "forbidden", closed, "{list}: {answer}");
                let answer =
                    socket.ask(json!({"type": "send", "room": room, "content": "x"})).await.expect("an answer");
                assert_eq!(answer["code"], "forbidden", "{list}: {answer}");
            }
            if lifted {
                assert_eq!(scene.owner.http.delete(&scene.at(list)).await.expect("an answer").status, 204);
            }
            for socket in &mut scene.sockets {
                let deadline = Instant::now() + Duration::from_secs(10);
                loop {
                    let answer = socket.ask(json!({"type": "send", "room": room, "content": "x"})).await.expect("one");
                    match answer["type"] == "ack" {
                        true => break,
                        false => assert!(!lifted && Instant::now() < deadline, "{list}: {answer}"),
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Under load on every node: what the banned, the muted and the kicked said before is there, and nothing else of theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stored_after_the_ban_was_answered() {
    let cluster = Cluster::start(NODES).await;
    let plan = Plan {
        nodes: cluster.urls(),
        prefix: unique("ban"),
        rooms: 2,
        mix: Mix { leave: 0.0, ..Plan::default().mix },
        pace: Pace::InFlight(4),
        stop: Stop::Told,
        ..Plan::default()
    };
    let prefix = plan.prefix.clone();
    let running = plan.start().await.expect("the workload starts");
    running.progress(300, Duration::from_secs(45)).await.expect("it works");
    let mut ends = Vec::new();
    for (number, list) in [(4, "bans"), (5, "mutes"), (6, "bans"), (7, "mutes")] {
        let name = format!("{prefix}-{number}");
        let room = running.rooms[number % 2].clone();
        // By another node than the last one, and than theirs.
        let http: Http = running.reader.http.at(&cluster.url((number + 1) % NODES));
        let path = format!("/api/rooms/{room}/{list}/{name}");
        assert_eq!(http.put(&path, json!({})).await.expect("an answer").status, 204);
        let head = http.room(&room).await.expect("a room").seq;
        ends.push((name, room, path, head));
        running.progress(60, Duration::from_secs(45)).await.expect("it goes on for the others");
    }
    let mut late = Vec::new();
    for (name, room, path, head) in &ends {
        let history = running.reader.http.history(room).await.expect("history");
        assert!(history.messages.iter().any(|message| message.author == *name), "{name} never said anything");
        late.extend(history.messages.into_iter().filter(|message| {
            let theirs = message.author == *name && message.seq > *head;
            // Own messages may be taken back by who is muted.
            theirs && !(path.contains("/mutes/") && message.deleted && message.id <= *head)
        }));
        assert_eq!(running.reader.http.delete(path).await.expect("an answer").status, 204);
    }
    assert!(late.is_empty(), "stored after it was answered: {late:#?}");
    let finished = running.finish(Duration::from_secs(60)).await.expect("the workload ends");
    assert_green("bans and mutes under load", &finished, &cluster.nodes.iter().collect::<Vec<&Node>>());
    assert!(finished.report.counts.refused > 0, "{:?}", finished.report.counts);
}

/// As many as the invitation says, also when they come to all nodes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_lets_in_exactly_as_many_on_all_nodes_together() {
    const GUESTS: usize = 12;
    const USES: usize = 5;
    let cluster = Cluster::start(NODES).await;
    let owner = cluster.user(0, "owner").await;
    let mut guests = Vec::new();
    for number in 0..GUESTS {
        guests.push(cluster.user(number % NODES, "guest").await);
    }
    for _ in 0..3 {
        let room = owner.http.create_room(&unique("secret"), "private").await.expect("a room").slug;
        let path = format!("/api/rooms/{room}/invites");
        let made = owner.http.post(&path, json!({"uses": USES})).await.expect("an answer").json();
        let path = format!("/api/invites/{}", made["code"].as_str().expect("a code"));
        let tries = guests.iter().map(|guest| guest.http.call("POST", &path).send());
        let answers = futures_util::future::join_all(tries).await;
        let count = |status| answers.iter().filter(|answer| answer.as_ref().expect("one").status == status).count();
        assert_eq!((count(200), count(404)), (USES, GUESTS - USES));
        let members = owner.http.get(&format!("/api/rooms/{room}/members")).await.expect("an answer").json();
        assert_eq!(members.as_array().map(Vec::len), Some(1 + USES));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_ask_at_once_on_two_nodes_have_one_direct_room() {
    let cluster = Cluster::start(2).await;
    let alice = cluster.user(0, "alice").await;
    let mut heard = socket(&cluster, 1, &alice).await;
    for round in 0..12 {
        let bob = cluster.user(1, "bob").await;
        let with = |who: &Account| json!({"kind": "direct", "username": who.user.username});
        let (one, other) =
            tokio::join!(alice.http.post("/api/rooms", with(&bob)), bob.http.post("/api/rooms", with(&alice)));
        let (one, other) = (one.expect("an answer"), other.expect("an answer"));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201], "round {round}");
        assert_eq!(one.json()["id"], other.json()["id"]);
        let told = heard.expect("room_added").await.expect("told");
        assert_eq!((&told["info"]["id"], &told["info"]["name"]), (&one.json()["id"], &json!(bob.user.username)));
    }
    assert_eq!(heard.drained().await.expect("alive"), [Value::Null; 0], "each once");
}

/// No socket is told any more of this type, whatever was on its way.
async fn once(scene: &mut Scene, kind: &str, what: &str) {
    for socket in &mut scene.sockets {
        let told = socket.drained().await.expect("alive");
        assert!(told.iter().all(|frame| frame["type"] != kind), "{what}: told again: {told:?}");
    }
}
