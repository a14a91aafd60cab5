//! A room's new name and topic are told on every node.

use super::*;

async fn renamed(cluster: &Cluster, how: &str, bound: Duration) {
    let scene = Scene::joined(cluster).await;
    rename(scene, how, bound).await;
}

async fn rename(mut scene: Scene, how: &str, bound: Duration) {
    for change in [json!({"name": "Another name"}), json!({"topic": "another topic"})] {
        let answer = scene.owner.http.patch(&format!("/api/rooms/{}", scene.room), change.clone()).await.expect("one");
        assert_eq!(answer.status, 200, "{}", answer.json());
        let (field, value) = change.as_object().expect("an object").iter().next().expect("a field");
        for frame in scene.told("room_updated", &format!("room_updated ({field}) {how}"), bound).await {
            assert_eq!((&frame["room"], &frame["info"][field]), (&json!(scene.room), value), "{how}: {frame}");
            assert_eq!(frame["info"]["role"], "member", "as each sees it: {frame}");
        }
        once(&mut scene, "room_updated", how).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_is_told_on_every_node_once() {
    let cluster = Cluster::of(NODES).env(NEVER.0, NEVER.1).start().await;
    renamed(&cluster, "by a hint", BY_HINT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_is_told_though_its_hint_was_lost() {
    let cluster = Cluster::of(NODES).redis_proxied(1).redis_proxied(2).start().await;
    for node in [1, 2] {
        cluster.redis_proxy(node).swallow("\"k\":\"updated\"");
    }
    renamed(&cluster, "with the hint lost", HINT_LOST).await;
    for node in [1, 2] {
        assert!(cluster.redis_proxy(node).swallowed() >= 2, "hints came through, so nothing was tested");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_is_told_without_redis() {
    let cluster = Cluster::of(NODES).own_redis().start().await;
    let scene = Scene::joined(&cluster).await;
    cluster.redis().stop_hard();
    rename(scene, "without Redis", WITHOUT_REDIS).await;
}

/// Who was removed from a public room, and whose node does not know it yet, is put out when it hears of a new name: to be
/// told of that makes nobody a member again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_brings_nobody_back() {
    let cluster = Cluster::of(2).redis_proxied(1).env(NEVER.0, NEVER.1).start().await;
    cluster.redis_proxy(1).swallow("\"k\":\"access\"");
    let (owner, other) = (cluster.user(0, "owner").await, cluster.user(1, "other").await);
    let room = owner.http.create_room(&unique("open"), "public").await.expect("a room").slug;
    let mut live = socket(&cluster, 1, &other).await;
    assert_eq!(live.join(&room).await.expect("an answer")["type"], "joined");
    let path = format!("/api/rooms/{room}");
    let member = format!("{path}/members/{}", other.user.username);
    assert_eq!(owner.http.delete(&member).await.expect("an answer").status, 204);
    assert_eq!(owner.http.patch(&path, json!({"name": "x"})).await.expect("an answer").status, 200);
    live.expect("removed").await.expect("told");
    assert_eq!(live.passed, [Value::Null; 0], "and of nothing else");
    assert_eq!(other.http.room(&room).await.expect("a room").role, None);
    assert!(cluster.redis_proxy(1).swallowed() > 0, "the hint came through, so nothing was tested");
}
