//! Every clause of [`salon::presence::Presence`], for every backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use salon::model::{RoomId, Username};
use salon::presence::memory::Registry;
use salon::presence::{Incarnation, Online, Presence};

use crate::support::broker::redis_config;
use crate::support::redis::Redis;

/// Where handles that see each other come from.
enum Backend {
    Memory(Registry),
    Redis(salon::config::Redis),
}

impl Backend {
    fn memory() -> Self {
        Self::Memory(Registry::new())
    }

    fn redis() -> Self {
        Self::Redis(redis_config(Redis::shared()))
    }

    fn open(&self, incarnation: &str) -> Arc<dyn Presence> {
        let incarnation = Incarnation(incarnation.to_owned());
        match self {
            Self::Memory(registry) => registry.open(incarnation),
            Self::Redis(config) => salon::presence::redis::open(config, incarnation).unwrap(),
        }
    }

    /// With a lease.
    async fn node(&self, incarnation: &str) -> Arc<dyn Presence> {
        let presence = self.open(incarnation);
        assert!(!presence.renew().await.unwrap().lost, "the first lease is not a lost one");
        presence
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
    who_entered_is_online_by_incarnation,
    who_left_is_not,
    entering_twice_is_entering_once,
    rooms_are_answered_in_the_order_asked,
    without_a_lease_nobody_is_online,
    a_dead_incarnation_takes_its_users_with_it,
    a_lease_that_expired_is_lost_once,
    a_restart_under_the_same_name_is_somebody_else,
    who_resigned_is_gone_at_once,
    thousands_go_in_one_call,
    no_entries_are_no_trouble,
);

fn room(id: i64) -> RoomId {
    RoomId(id)
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

/// `incarnation: users` of one room, sorted.
async fn online(presence: &dyn Presence, id: i64) -> Vec<(String, Vec<String>)> {
    sorted(presence.online(&[room(id)]).await.unwrap().remove(0))
}

fn sorted(online: Online) -> Vec<(String, Vec<String>)> {
    let names = |users: Vec<Username>| users.iter().map(|user| user.as_str().to_owned()).collect::<Vec<_>>();
    let mut all: Vec<_> = online.into_iter().map(|(incarnation, users)| (incarnation.0, names(users))).collect();
    all.iter_mut().for_each(|(_, users)| users.sort());
    all.sort();
    all
}

fn expect(entries: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let names = |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect();
    entries.iter().map(|(incarnation, users)| ((*incarnation).to_owned(), names(users))).collect()
}

async fn who_entered_is_online_by_incarnation(backend: Backend) {
    let (a, b) = (backend.node("a").await, backend.node("b").await);
    assert_eq!(a.incarnation(), &Incarnation("a".to_owned()));
    a.enter(&[(room(1), user("alice")), (room(1), user("Привет")), (room(2), user("alice"))]).await.unwrap();
    b.enter(&[(room(1), user("alice"))]).await.unwrap();
    for node in [&a, &b] {
        assert_eq!(online(&**node, 1).await, expect(&[("a", &["alice", "Привет"]), ("b", &["alice"])]));
        assert_eq!(online(&**node, 2).await, expect(&[("a", &["alice"])]));
        assert_eq!(online(&**node, 3).await, []);
    }
}

async fn who_left_is_not(backend: Backend) {
    let (a, b) = (backend.node("a").await, backend.node("b").await);
    for node in [&a, &b] {
        node.enter(&[(room(1), user("alice")), (room(1), user("bob"))]).await.unwrap();
    }
    a.leave(&[(room(1), user("alice")), (room(7), user("nobody"))]).await.unwrap();
    assert_eq!(online(&*b, 1).await, expect(&[("a", &["bob"]), ("b", &["alice", "bob"])]));
    a.leave(&[(room(1), user("bob"))]).await.unwrap();
    assert_eq!(online(&*b, 1).await, expect(&[("b", &["alice", "bob"])]));
}

async fn entering_twice_is_entering_once(backend: Backend) {
    let a = backend.node("a").await;
    a.enter(&[(room(1), user("alice")), (room(1), user("alice"))]).await.unwrap();
    a.enter(&[(room(1), user("alice"))]).await.unwrap();
    assert_eq!(online(&*a, 1).await, expect(&[("a", &["alice"])]));
    a.leave(&[(room(1), user("alice"))]).await.unwrap();
    assert_eq!(online(&*a, 1).await, []);
}

async fn rooms_are_answered_in_the_order_asked(backend: Backend) {
    let (a, b) = (backend.node("a").await, backend.node("b").await);
    a.enter(&[(room(1), user("one")), (room(2), user("two"))]).await.unwrap();
    b.enter(&[(room(3), user("three"))]).await.unwrap();
    let answer = b.online(&[room(3), room(9), room(1), room(2), room(3)]).await.unwrap();
    let answer: Vec<_> = answer.into_iter().map(sorted).collect();
    let three = expect(&[("b", &["three"])]);
    let (one, two) = (expect(&[("a", &["one"])]), expect(&[("a", &["two"])]));
    assert_eq!(answer, [three.clone(), vec![], one, two, three]);
}

async fn without_a_lease_nobody_is_online(backend: Backend) {
    let a = backend.open("a");
    a.enter(&[(room(1), user("alice"))]).await.unwrap();
    assert_eq!(online(&*a, 1).await, []);
    a.renew().await.unwrap();
    assert_eq!(online(&*a, 1).await, expect(&[("a", &["alice"])]));
}

async fn a_dead_incarnation_takes_its_users_with_it(backend: Backend) {
    let (dead, alive) = (backend.node("dead").await, backend.node("alive").await);
    let start = Instant::now();
    dead.enter(&[(room(1), user("alice"))]).await.unwrap();
    alive.enter(&[(room(1), user("bob"))]).await.unwrap();
    drop(dead);
    while online(&*alive, 1).await.len() == 2 {
        assert!(start.elapsed() < Duration::from_secs(15), "still there");
        tokio::time::sleep(Duration::from_millis(200)).await;
        alive.renew().await.unwrap();
    }
    println!("the dead incarnation was gone after {:?}", start.elapsed());
    assert!(start.elapsed() > Duration::from_secs(9), "too soon: {:?}", start.elapsed());
    assert_eq!(online(&*alive, 1).await, expect(&[("alive", &["bob"])]));
    assert_eq!(alive.renew().await.unwrap().live, [Incarnation("alive".to_owned())]);
}

async fn a_lease_that_expired_is_lost_once(backend: Backend) {
    let (a, watcher) = (backend.node("a").await, backend.node("watcher").await);
    let start = Instant::now();
    while watcher.renew().await.unwrap().live.len() == 2 {
        assert!(start.elapsed() < Duration::from_secs(15), "still there");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let lease = a.renew().await.unwrap();
    assert!(lease.lost && lease.live.len() == 2, "{lease:?}");
    assert!(!a.renew().await.unwrap().lost);
}

async fn a_restart_under_the_same_name_is_somebody_else(backend: Backend) {
    let before = backend.node("node-1.x").await;
    before.enter(&[(room(1), user("alice"))]).await.unwrap();
    let after = backend.node("node-1.y").await;
    after.enter(&[(room(1), user("bob"))]).await.unwrap();
    before.resign(&[room(1)]).await.unwrap();
    assert_eq!(online(&*after, 1).await, expect(&[("node-1.y", &["bob"])]));
    assert!(!after.renew().await.unwrap().lost);
}

async fn who_resigned_is_gone_at_once(backend: Backend) {
    let (a, b) = (backend.node("a").await, backend.node("b").await);
    a.enter(&[(room(1), user("alice")), (room(2), user("alice"))]).await.unwrap();
    a.resign(&[room(1), room(2)]).await.unwrap();
    assert_eq!(online(&*b, 1).await, []);
    assert_eq!(b.renew().await.unwrap().live, [Incarnation("b".to_owned())]);
    // Its sets are gone, too: a new lease brings nobody back.
    assert!(!a.renew().await.unwrap().lost, "resigned is not lost");
    assert_eq!(online(&*b, 2).await, []);
}

async fn thousands_go_in_one_call(backend: Backend) {
    let (a, b) = (backend.node("a").await, backend.node("b").await);
    let rooms: Vec<_> = (1..=3_000).map(room).collect();
    let entries: Vec<_> = rooms.iter().flat_map(|id| [(*id, user("alice")), (*id, user("bob"))]).collect();
    let crowd: Vec<_> = (0..3_000).map(|n| (room(9_999), user(&format!("user{n}")))).collect();
    let start = Instant::now();
    a.enter(&entries).await.unwrap();
    b.enter(&crowd).await.unwrap();
    let answer = b.online(&rooms).await.unwrap();
    println!("6,000 entered and 3,000 rooms read in {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(answer.into_iter().all(|online| sorted(online) == expect(&[("a", &["alice", "bob"])])));
    assert_eq!(online(&*a, 9_999).await[0].1.len(), 3_000);
    a.leave(&entries).await.unwrap();
    let answer = b.online(&rooms).await.unwrap();
    assert!(answer.into_iter().all(|online| online.is_empty()));
}

async fn no_entries_are_no_trouble(backend: Backend) {
    let a = backend.node("a").await;
    a.enter(&[]).await.unwrap();
    a.leave(&[]).await.unwrap();
    assert_eq!(a.online(&[]).await.unwrap(), []);
    a.resign(&[]).await.unwrap();
}
