//! What the Redis backends do when Redis, or the way to it, fails.

use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use salon::broker::{Channel, Disturbance, Event};
use salon::config;
use salon::model::{RoomId, Username};
use salon::presence::{Incarnation, Presence};

use crate::support::broker::{Peer, redis_config};
use crate::support::proxy::{Proxy, Way};
use crate::support::redis::Redis;

/// From an outage to `hearing = false`, and from its end to `hearing = true`.
const NOTICED: Duration = Duration::from_secs(5);
const BACK: Duration = Duration::from_secs(3);

fn room(id: i64) -> Channel {
    Channel::Room(RoomId(id))
}

async fn hearing(config: &config::Redis) -> Peer {
    let peer = Peer::redis(config);
    peer.until_hearing(Duration::from_secs(10)).await;
    peer
}

/// Publishes, and hears exactly that in each of the rooms.
async fn hears_in(peer: &mut Peer, rooms: impl IntoIterator<Item = i64>) {
    for id in rooms {
        let payload = Bytes::from(format!("{:016x}", rand::random::<u64>()));
        assert!(peer.broker.publish(room(id), payload.clone()));
        while peer.hears().await != (room(id), payload.clone()) {}
    }
}

#[tokio::test]
async fn subscribing_ends_when_redis_has_done_it() {
    let config = redis_config(Redis::shared());
    let proxy = Proxy::redis(&Redis::shared().url()).await;
    proxy.delay(Way::ToServer, Duration::from_millis(20), Duration::ZERO);
    let slow = config::Redis { url: Some(proxy.url(&Redis::shared().url())), ..config.clone() };
    let (mut hearer, speaker) = (hearing(&slow).await, hearing(&config).await);
    for id in 1..=20 {
        hearer.broker.subscribe(&[room(id)]).await.unwrap();
        assert!(speaker.broker.publish(room(id), Bytes::new()));
        assert_eq!(hearer.hears().await.0, room(id));
    }
}

#[tokio::test]
async fn a_killed_subscriber_comes_back_and_tells() {
    let redis = Redis::start();
    let mut peer = hearing(&redis_config(&redis)).await;
    let rooms: Vec<_> = (1..=3_000).map(room).collect();
    peer.broker.subscribe(&rooms).await.unwrap();
    peer.broker.unsubscribe(&[room(2)]);
    for _ in 0..3 {
        peer.disturbances.clear();
        assert_eq!(redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
        peer.is_disturbed_by(Disturbance::Reconnected).await;
        peer.until_hearing(BACK).await;
        hears_in(&mut peer, [1, 3, 1_500, 3_000]).await;
        assert_eq!(redis.command(&["PUBSUB", "NUMSUB", &channel_of(&redis, "{r2}")]).lines().last(), Some("0"));
    }
}

/// The name of a room's channel, learnt from another room's.
fn channel_of(redis: &Redis, tag: &str) -> String {
    let some = redis.command(&["PUBSUB", "CHANNELS", "*{r1}*"]);
    some.replace("{r1}", tag)
}

#[tokio::test]
async fn redis_killed_and_started_empty() {
    let redis = Redis::start();
    let mut peer = hearing(&redis_config(&redis)).await;
    peer.broker.subscribe(&[room(1), room(2)]).await.unwrap();
    redis.stop_hard();
    println!("noticed after {:?}", peer.until_deaf(NOTICED).await);
    assert!(!peer.broker.publish(room(1), Bytes::new()), "there is nobody to publish to");
    redis.start_again();
    println!("back after {:?}", peer.until_hearing(BACK).await);
    peer.is_disturbed_by(Disturbance::Reconnected).await;
    hears_in(&mut peer, [1, 2]).await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_noticed_and_its_return_too() {
    let redis = Redis::start();
    let mut peer = hearing(&redis_config(&redis)).await;
    peer.broker.subscribe(&[room(1)]).await.unwrap();
    for _ in 0..3 {
        peer.disturbances.clear();
        // Straight after a probe was heard, which is the worst moment.
        redis.pause();
        println!("noticed after {:?}", peer.until_deaf(NOTICED).await);
        redis.resume();
        println!("back after {:?}", peer.until_hearing(BACK).await);
        assert!(matches!(peer.next_disturbance().await, Disturbance::Reconnected | Disturbance::Replaced));
        hears_in(&mut peer, [1]).await;
    }
}

#[tokio::test]
async fn subscribing_while_redis_hangs_fails_soon_and_is_made_good() {
    let redis = Redis::start();
    let mut peer = hearing(&redis_config(&redis)).await;
    redis.pause();
    let start = Instant::now();
    assert!(peer.broker.subscribe(&[room(1)]).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    redis.resume();
    peer.is_disturbed_by(Disturbance::Resubscribed).await;
    peer.until_hearing(BACK).await;
    hears_in(&mut peer, [1]).await;
}

#[tokio::test]
async fn subscribing_while_redis_is_away_fails_soon_and_is_made_good() {
    let redis = Redis::start();
    let config = redis_config(&redis);
    redis.stop_hard();
    let mut peer = Peer::redis(&config);
    let start = Instant::now();
    assert!(peer.broker.subscribe(&[room(1), room(2)]).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(!peer.broker.health().borrow().hearing);
    peer.broker.unsubscribe(&[room(2)]);
    redis.start_again();
    peer.is_disturbed_by(Disturbance::Resubscribed).await;
    peer.until_hearing(BACK).await;
    hears_in(&mut peer, [1]).await;
    assert_eq!(redis.command(&["PUBSUB", "CHANNELS", "*{r2}*"]), "");
}

/// The connection stays open and looks well, only nothing arrives (or nothing goes) by it any more.
async fn a_frozen_connection(way: Way) {
    let redis = Redis::start();
    let proxy = Proxy::redis(&redis.url()).await;
    let config = config::Redis { url: Some(proxy.url(&redis.url())), ..redis_config(&redis) };
    let mut peer = hearing(&config).await;
    peer.broker.subscribe(&[room(1), room(2)]).await.unwrap();
    proxy.freeze(way);
    println!("noticed after {:?}", peer.until_deaf(NOTICED).await);
    println!("back after {:?}", peer.until_hearing(BACK).await);
    peer.is_disturbed_by(Disturbance::Replaced).await;
    hears_in(&mut peer, [1, 2]).await;
}

#[tokio::test]
async fn nothing_arrives_any_more() {
    a_frozen_connection(Way::ToClient).await;
}

#[tokio::test]
async fn nothing_goes_out_any_more() {
    a_frozen_connection(Way::ToServer).await;
}

#[tokio::test]
async fn publishing_never_waits_and_what_is_dropped_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let redis = Redis::start();
    let peer = hearing(&config::Redis { publish_queue: 16, ..redis_config(&redis) }).await;
    redis.pause();
    let start = Instant::now();
    let refused = (0..10_000).filter(|_| !peer.broker.publish(room(1), Bytes::from_static(b"x"))).count();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(refused, 10_000 - 16);
    peer.until_deaf(NOTICED).await;
    // What was under way when Redis hung is given up, too.
    let deadline = Instant::now() + Duration::from_secs(5);
    while peer.broker.publish(room(1), Bytes::new()) {
        assert!(Instant::now() < deadline, "still taken while Redis hangs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let dropped = counted(&metrics.render(), "salon_broker_publish_dropped_total");
    assert!(dropped > 10_000, "{dropped}");
    assert_eq!(counted(&metrics.render(), "salon_broker_up"), 0);
    redis.resume();
    peer.until_hearing(BACK).await;
    assert_eq!(counted(&metrics.render(), "salon_broker_up"), 1);
    assert!(peer.broker.publish(room(1), Bytes::new()));
}

fn counted(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_lagging_reader_tells_and_goes_on() {
    let config = redis_config(Redis::shared());
    let mut hearer = hearing(&config::Redis { receive_queue: 1, ..config.clone() }).await;
    let speaker = hearing(&config).await;
    hearer.broker.subscribe(&[room(1)]).await.unwrap();
    for _ in 0..5_000 {
        assert!(speaker.broker.publish(room(1), Bytes::from_static(b"burst")));
    }
    hearer.is_disturbed_by(Disturbance::Lagged).await;
    // One at a time fits, once the burst is through.
    let later = Bytes::from_static(b"later");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(Instant::now() < deadline, "deaf after lagging");
        speaker.broker.publish(room(1), later.clone());
        if let Ok(Event::Heard { payload, .. }) = tokio::time::timeout(Duration::from_millis(100), hearer.next()).await
            && payload == later
        {
            break;
        }
    }
}

#[tokio::test]
async fn clusters_with_other_prefixes_do_not_hear_each_other() {
    let (mut one, other) =
        (hearing(&redis_config(Redis::shared())).await, hearing(&redis_config(Redis::shared())).await);
    one.broker.subscribe(&[room(1)]).await.unwrap();
    assert!(other.broker.publish(room(1), Bytes::from_static(b"theirs")));
    other.broker.close(Duration::from_secs(1)).await;
    assert!(one.broker.publish(room(1), Bytes::from_static(b"ours")));
    assert_eq!(one.hears().await.1, Bytes::from_static(b"ours"));
}

#[test]
fn only_a_wrong_url_is_an_error() {
    let config = config::Redis { url: Some("redis//nonsense".to_owned()), ..config::Redis::default() };
    let error = salon::broker::redis::open(&config, "x").err().unwrap().to_string();
    assert!(error.contains("redis.url"), "{error}");
    let error = salon::presence::redis::open(&config, Incarnation("x".to_owned())).err().unwrap().to_string();
    assert!(error.contains("redis.url"), "{error}");
}

#[tokio::test]
async fn in_a_cluster_channels_are_sharded() {
    let redis = Redis::start_cluster();
    let config = redis_config(&redis);
    let mut peer = hearing(&config).await;
    let rooms: Vec<_> = (1..=200).map(room).collect();
    peer.broker.subscribe(&rooms).await.unwrap();
    hears_in(&mut peer, 1..=200).await;
    assert_eq!(redis.command(&["PUBSUB", "CHANNELS"]), "");
    peer.broker.unsubscribe(&rooms[1..]);
    peer.broker.subscribe(&[room(201)]).await.unwrap();
    // Besides the two rooms: the cluster's channel and the probe's.
    assert_eq!(redis.command(&["PUBSUB", "SHARDCHANNELS"]).lines().count(), 4);

    let node = salon::presence::redis::open(&config, Incarnation("a".to_owned())).unwrap();
    node.renew().await.unwrap();
    let entries: Vec<_> = (1..=200).map(|id| (RoomId(id), user("alice"))).collect();
    node.enter(&entries).await.unwrap();
    let rooms: Vec<_> = (1..=200).map(RoomId).collect();
    assert!(node.online(&rooms).await.unwrap().iter().all(|online| online.len() == 1));
    node.resign(&rooms).await.unwrap();
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

async fn online_in_room_1(presence: &dyn Presence) -> usize {
    presence.online(&[RoomId(1)]).await.unwrap()[0].len()
}

#[tokio::test]
async fn presence_that_was_flushed_is_lost_once_and_written_again() {
    let redis = Redis::start();
    let config = redis_config(&redis);
    let node = salon::presence::redis::open(&config, Incarnation("a".to_owned())).unwrap();
    assert!(!node.renew().await.unwrap().lost);
    node.enter(&[(RoomId(1), user("alice"))]).await.unwrap();
    for _ in 0..2 {
        redis.command(&["FLUSHALL"]);
        redis.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(online_in_room_1(&*node).await, 0);
        let lease = node.renew().await.unwrap();
        assert!(lease.lost && lease.live == [Incarnation("a".to_owned())], "{lease:?}");
        node.enter(&[(RoomId(1), user("alice"))]).await.unwrap();
        assert_eq!(online_in_room_1(&*node).await, 1);
        for _ in 0..3 {
            assert!(!node.renew().await.unwrap().lost);
        }
    }
}

#[tokio::test]
async fn presence_while_redis_is_away_fails_soon_and_is_lost_once_after() {
    let redis = Redis::start();
    let node = salon::presence::redis::open(&redis_config(&redis), Incarnation("a".to_owned())).unwrap();
    node.renew().await.unwrap();
    node.enter(&[(RoomId(1), user("alice"))]).await.unwrap();
    redis.stop_hard();
    for _ in 0..3 {
        assert!(node.renew().await.is_err());
    }
    assert!(node.enter(&[(RoomId(1), user("bob"))]).await.is_err());
    redis.start_again();
    assert!(node.renew().await.unwrap().lost);
    assert!(!node.renew().await.unwrap().lost);
    node.enter(&[(RoomId(1), user("alice"))]).await.unwrap();
    assert_eq!(online_in_room_1(&*node).await, 1);
}

#[tokio::test]
async fn presence_while_redis_hangs_fails_soon_and_goes_on_after() {
    let redis = Redis::start();
    let node = salon::presence::redis::open(&redis_config(&redis), Incarnation("a".to_owned())).unwrap();
    node.renew().await.unwrap();
    node.enter(&[(RoomId(1), user("alice"))]).await.unwrap();
    redis.pause();
    for _ in 0..2 {
        let start = Instant::now();
        assert!(node.online(&[RoomId(1)]).await.is_err());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
    redis.resume();
    assert_eq!(online_in_room_1(&*node).await, 1);
}

#[tokio::test]
async fn presence_sets_do_not_stay_for_ever() {
    let redis = Redis::start();
    let node = salon::presence::redis::open(&redis_config(&redis), Incarnation("a".to_owned())).unwrap();
    node.enter(&[(RoomId(1), user("alice"))]).await.unwrap();
    let key = redis.command(&["KEYS", "*{r1}*"]);
    redis.command(&["EXPIRE", &key, "5"]);
    node.enter(&[(RoomId(1), user("alice"))]).await.unwrap();
    let left: u64 = redis.command(&["TTL", &key]).parse().unwrap();
    assert!((3_500..=3_600).contains(&left), "{left}");
}
