//! Every clause of [`salon::broker::Broker`], for every backend.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use salon::broker::memory::Bus;
use salon::broker::{Channel, Disturbance, Event};
use salon::model::{RoomId, UserId};

use crate::support::broker::{Peer, redis_config};
use crate::support::redis::Redis;

/// Where peers that hear each other come from.
enum Backend {
    Memory(Bus),
    Redis(salon::config::Redis),
}

impl Backend {
    fn memory() -> Self {
        Self::Memory(Bus::new())
    }

    fn redis() -> Self {
        Self::Redis(redis_config(Redis::shared()))
    }

    async fn peer(&self) -> Peer {
        self.peer_with_queue(10_000).await
    }

    async fn peer_with_queue(&self, event_queue: usize) -> Peer {
        let peer = match self {
            Self::Memory(bus) => Peer::from(bus.open(event_queue)),
            Self::Redis(config) => Peer::redis(&salon::config::Redis { event_queue, ..config.clone() }),
        };
        peer.until_hearing(Duration::from_secs(10)).await;
        peer
    }
}

macro_rules! for_each_backend {
    ($($clause:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $clause() { super::$clause(super::Backend::memory()).await; })+
        }
        mod redis {
            $(#[tokio::test] async fn $clause() { super::$clause(super::Backend::redis()).await; })+
        }
    };
}

for_each_backend!(
    what_is_published_after_subscribing_is_heard,
    one_senders_order_is_kept,
    a_sender_hears_itself,
    nothing_is_heard_unasked_but_the_cluster,
    a_user_is_not_a_room,
    any_bytes_go_through,
    what_is_unsubscribed_is_not_heard,
    unsubscribed_and_subscribed_again_is_heard,
    subscribing_twice_is_subscribing_once,
    many_channels_go_in_little_time,
    many_subscribe_at_once,
    a_full_queue_is_told_of_and_deliveries_go_on,
    a_healthy_broker_hears_itself_soon,
    closing_sends_what_is_queued_and_refuses_the_rest,
);

fn room(id: i64) -> Channel {
    Channel::Room(RoomId(id))
}

async fn what_is_published_after_subscribing_is_heard(backend: Backend) {
    let (mut hearer, speaker) = (backend.peer().await, backend.peer().await);
    for id in 1..=200 {
        hearer.broker.subscribe(&[room(id)]).await.unwrap();
        assert!(speaker.broker.publish(room(id), Bytes::from(id.to_string())));
        assert_eq!(hearer.hears().await, (room(id), Bytes::from(id.to_string())));
    }
    assert_eq!(hearer.disturbances, []);
}

async fn one_senders_order_is_kept(backend: Backend) {
    let (mut hearer, speaker) = (backend.peer().await, backend.peer().await);
    hearer.broker.subscribe(&[room(1)]).await.unwrap();
    for n in 0..3_000 {
        assert!(speaker.broker.publish(room(1), Bytes::from(n.to_string())));
    }
    for n in 0..3_000 {
        assert_eq!(hearer.hears().await, (room(1), Bytes::from(n.to_string())));
    }
}

async fn a_sender_hears_itself(backend: Backend) {
    let mut peer = backend.peer().await;
    peer.broker.subscribe(&[room(1)]).await.unwrap();
    assert!(peer.broker.publish(room(1), Bytes::from_static(b"echo")));
    assert_eq!(peer.hears().await, (room(1), Bytes::from_static(b"echo")));
}

async fn nothing_is_heard_unasked_but_the_cluster(backend: Backend) {
    let (mut hearer, speaker) = (backend.peer().await, backend.peer().await);
    hearer.broker.unsubscribe(&[Channel::Cluster]);
    hearer.broker.subscribe(&[room(1)]).await.unwrap();
    assert!(speaker.broker.publish(room(2), Bytes::from_static(b"not for you")));
    assert!(speaker.broker.publish(Channel::Cluster, Bytes::from_static(b"for all")));
    assert_eq!(hearer.hears().await, (Channel::Cluster, Bytes::from_static(b"for all")));
}

async fn a_user_is_not_a_room(backend: Backend) {
    let mut peer = backend.peer().await;
    let user = Channel::User(UserId(5));
    peer.broker.subscribe(&[user]).await.unwrap();
    assert!(peer.broker.publish(room(5), Bytes::from_static(b"room")));
    assert!(peer.broker.publish(user, Bytes::from_static(b"user")));
    assert_eq!(peer.hears().await, (user, Bytes::from_static(b"user")));
}

async fn any_bytes_go_through(backend: Backend) {
    let mut peer = backend.peer().await;
    peer.broker.subscribe(&[room(1)]).await.unwrap();
    let large = vec![0xa5; 300_000];
    for payload in [&b""[..], b"\xff\xfe\0\r\n", "gr\u{fc}\u{df}e".as_bytes(), &large] {
        assert!(peer.broker.publish(room(1), Bytes::copy_from_slice(payload)));
        assert_eq!(peer.hears().await.1, payload);
    }
}

async fn what_is_unsubscribed_is_not_heard(backend: Backend) {
    let (mut hearer, speaker) = (backend.peer().await, backend.peer().await);
    hearer.broker.subscribe(&[room(1), room(2)]).await.unwrap();
    hearer.broker.unsubscribe(&[room(1)]);
    // Done in order, so that this confirms that, too.
    hearer.broker.subscribe(&[room(3)]).await.unwrap();
    for id in 1..=3 {
        assert!(speaker.broker.publish(room(id), Bytes::new()));
    }
    assert_eq!([hearer.hears().await.0, hearer.hears().await.0], [room(2), room(3)]);
}

async fn unsubscribed_and_subscribed_again_is_heard(backend: Backend) {
    let mut peer = backend.peer().await;
    for n in 0..100 {
        peer.broker.subscribe(&[room(1)]).await.unwrap();
        assert!(peer.broker.publish(room(1), Bytes::from(n.to_string())));
        assert_eq!(peer.hears().await.1, Bytes::from(n.to_string()));
        peer.broker.unsubscribe(&[room(1)]);
    }
}

async fn subscribing_twice_is_subscribing_once(backend: Backend) {
    let mut peer = backend.peer().await;
    peer.broker.subscribe(&[room(1), room(1)]).await.unwrap();
    peer.broker.subscribe(&[room(1), room(2), room(3)]).await.unwrap();
    assert!(peer.broker.publish(room(1), Bytes::new()));
    assert!(peer.broker.publish(room(2), Bytes::new()));
    assert_eq!([peer.hears().await.0, peer.hears().await.0], [room(1), room(2)]);
    peer.broker.unsubscribe(&[room(1)]);
    peer.broker.subscribe(&[room(4)]).await.unwrap();
    assert!(peer.broker.publish(room(1), Bytes::new()));
    assert!(peer.broker.publish(room(3), Bytes::new()));
    assert_eq!(peer.hears().await.0, room(3));
}

async fn many_channels_go_in_little_time(backend: Backend) {
    let mut peer = backend.peer().await;
    let rooms: Vec<_> = (1..=5_000).map(room).collect();
    let start = Instant::now();
    peer.broker.subscribe(&rooms).await.unwrap();
    let took = start.elapsed();
    println!("5,000 channels took {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    for room in &rooms {
        assert!(peer.broker.publish(*room, Bytes::new()));
    }
    let mut heard = HashSet::new();
    while heard.len() < rooms.len() {
        heard.insert(peer.hears().await.0);
    }
}

async fn many_subscribe_at_once(backend: Backend) {
    let mut peer = backend.peer().await;
    let mut subscribing = tokio::task::JoinSet::new();
    for id in 1..=500 {
        let broker = peer.broker.clone();
        subscribing.spawn(async move {
            broker.subscribe(&[room(id)]).await.unwrap();
            assert!(broker.publish(room(id), Bytes::new()));
        });
    }
    subscribing.join_all().await;
    let mut heard = HashSet::new();
    while heard.len() < 500 {
        heard.insert(peer.hears().await.0);
    }
}

async fn a_full_queue_is_told_of_and_deliveries_go_on(backend: Backend) {
    let (mut hearer, speaker) = (backend.peer_with_queue(8).await, backend.peer().await);
    hearer.broker.subscribe(&[room(1)]).await.unwrap();
    let mut witness = backend.peer().await;
    witness.broker.subscribe(&[room(1)]).await.unwrap();
    for n in 0..100 {
        assert!(speaker.broker.publish(room(1), Bytes::from(n.to_string())));
    }
    // When a witness has heard them all, the hearer's queue has overflowed.
    for _ in 0..100 {
        witness.hears().await;
    }
    for n in 0..8 {
        assert_eq!(hearer.next().await, Event::Heard { channel: room(1), payload: Bytes::from(n.to_string()) });
    }
    assert_eq!(hearer.next().await, Event::Disturbed(Disturbance::Overflow));
    assert!(speaker.broker.publish(room(1), Bytes::from_static(b"later")));
    assert_eq!(hearer.hears().await.1, Bytes::from_static(b"later"));
    assert_eq!(witness.disturbances, []);
}

async fn a_healthy_broker_hears_itself_soon(backend: Backend) {
    let peer = backend.peer().await;
    let health = *peer.broker.health().borrow();
    assert!(health.hearing && health.lag < Duration::from_secs(1), "{health:?}");
}

async fn closing_sends_what_is_queued_and_refuses_the_rest(backend: Backend) {
    let (mut hearer, speaker) = (backend.peer().await, backend.peer().await);
    hearer.broker.subscribe(&[room(1)]).await.unwrap();
    for n in 0..1_000 {
        assert!(speaker.broker.publish(room(1), Bytes::from(n.to_string())));
    }
    speaker.broker.close(Duration::from_secs(5)).await;
    assert!(!speaker.broker.publish(room(1), Bytes::from_static(b"too late")));
    assert!(!speaker.broker.health().borrow().hearing);
    assert!(speaker.broker.subscribe(&[room(2)]).await.is_err());
    for n in 0..1_000 {
        assert_eq!(hearer.hears().await.1, Bytes::from(n.to_string()));
    }
}
