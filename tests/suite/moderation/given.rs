//! Rooms that become somebody's are told to all of their sockets.

use super::*;

/// Each way in which a room becomes somebody's.
#[derive(Debug, Clone, Copy)]
enum Gift {
    Added,
    Invited,
    Direct,
}

const GIFTS: [Gift; 3] = [Gift::Added, Gift::Invited, Gift::Direct];

async fn given(cluster: &Cluster, gift: Gift, how: &str, bound: Duration) {
    let scene = Scene::new(cluster, "private").await;
    given_to(scene, gift, how, bound).await;
}

async fn given_to(mut scene: Scene, gift: Gift, how: &str, bound: Duration) {
    let owner = scene.owner.user.username.clone();
    let name = match gift {
        Gift::Added => {
            scene.put("members", json!({})).await;
            scene.room.clone()
        }
        Gift::Invited => {
            let path = format!("/api/rooms/{}/invites", scene.room);
            let made = scene.owner.http.post(&path, json!({})).await.expect("an answer").json();
            let path = format!("/api/invites/{}", made["code"].as_str().expect("a code"));
            let answer = scene.other.http.call("POST", &path).send().await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.json());
            scene.room.clone()
        }
        Gift::Direct => {
            let body = json!({"kind": "direct", "username": scene.other.user.username});
            let answer = scene.owner.http.post("/api/rooms", body).await.expect("an answer");
            assert_eq!(answer.status, 201, "{}", answer.json());
            owner
        }
    };
    for frame in scene.told("room_added", &format!("{gift:?} {how}"), bound).await {
        let info = &frame["info"];
        assert_eq!((&info["name"], &info["role"]), (&json!(name), &json!("member")), "{gift:?} {how}: {frame}");
    }
    once(&mut scene, "room_added", &format!("{gift:?} {how}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_tells_every_socket_of_a_room_that_became_theirs() {
    let cluster = Cluster::of(NODES).env(NEVER.0, NEVER.1).start().await;
    for gift in GIFTS {
        given(&cluster, gift, "by a hint", BY_HINT).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_hint_is_made_good_and_told_once() {
    let cluster = Cluster::of(NODES).redis_proxied(1).redis_proxied(2).start().await;
    for node in [1, 2] {
        cluster.redis_proxy(node).swallow("room_added");
    }
    for gift in GIFTS {
        given(&cluster, gift, "with the hint lost", HINT_LOST).await;
    }
    for node in [1, 2] {
        assert!(cluster.redis_proxy(node).swallowed() >= GIFTS.len(), "hints came through, so nothing was tested");
    }
    // The node that acted, and those that were told by the beacon, read it again with every look.
    let mut scene = Scene::new(&cluster, "private").await;
    scene.put("members", json!({})).await;
    scene.told("room_added", "Added once more", HINT_LOST).await;
    let looks = async |node: usize| cluster.nodes[node].metric("salon_beacon_seconds_count").await;
    for node in 0..NODES {
        let before = looks(node).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        while looks(node).await < before + 2.0 {
            assert!(Instant::now() < deadline, "the beacon does not look");
            sleep(Duration::from_millis(50)).await;
        }
    }
    once(&mut scene, "room_added", "after further looks").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_rooms_are_added_through_the_database() {
    let cluster = Cluster::of(NODES).own_redis().start().await;
    let scene = Scene::new(&cluster, "private").await;
    cluster.redis().pause();
    given_to(scene, Gift::Added, "while Redis hangs", WITHOUT_REDIS).await;
    cluster.redis().stop_hard();
    for gift in GIFTS {
        given(&cluster, gift, "without Redis", WITHOUT_REDIS).await;
    }
}

/// A user's channel is there as long as they have a socket on the node and a while longer, and comes back with a new
/// connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_channel_is_subscribed_while_they_have_sockets() {
    let cluster = Cluster::of(NODES).own_redis().env("SALON_NODE__ROOM_LINGER_S", "1").start().await;
    let subscribed = async |wanted: &str, what: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let channels = cluster.redis().command(&["PUBSUB", "CHANNELS", "*:user:*"]);
            let told = match channels.is_empty() {
                true => String::new(),
                false => cluster.redis().command(&["PUBSUB", "NUMSUB", &channels]),
            };
            if told.split_whitespace().last().unwrap_or("") == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {told:?}, not {wanted:?}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    let alice = cluster.user(0, "alice").await;
    let sockets =
        [socket(&cluster, 0, &alice).await, socket(&cluster, 1, &alice).await, socket(&cluster, 1, &alice).await];
    subscribed("2", "once a node").await;
    cluster.redis().command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    subscribed("2", "after the connections were lost").await;
    let [first, second, third] = sockets;
    second.close().await;
    drop(first);
    subscribed("1", "while there is another socket").await;
    third.close().await;
    subscribed("", "when there is none").await;
    let _again = socket(&cluster, 1, &alice).await;
    subscribed("1", "when they come back").await;
}
