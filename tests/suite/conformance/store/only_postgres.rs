//! What only Postgres can show: clocks held elsewhere, servers that go away, settings that lose messages.

use std::time::{Duration, Instant};

use salon::config;
use salon::model::*;
use salon::store::*;

use super::bed::{Bed, config, item, new_room, new_user, stored_id};
use crate::support::postgres::{Postgres, connect, execute};

/// The bound on what one call may take, whatever the database does: every timeout of [`impatient`] and some air.
const BOUND: Duration = Duration::from_secs(4);

fn impatient(url: &str) -> config::Database {
    config::Database {
        wait_timeout_ms: 1_000,
        connect_timeout_ms: 1_000,
        statement_timeout_ms: 1_000,
        lock_timeout_ms: 300,
        ..config(url)
    }
}

async fn private_server(settings: &'static [&'static str]) -> Postgres {
    tokio::task::spawn_blocking(|| Postgres::start_with(settings)).await.unwrap()
}

async fn people(store: &dyn Store) -> (User, RoomInfo) {
    store.migrate().await.unwrap();
    let alice = store.create_user(new_user("alice", SiteRole::User)).await.unwrap();
    let room = store.create_room(new_room(&alice, "general", RoomKind::Public)).await.unwrap();
    (alice, room)
}

async fn unavailable_in_time<T>(work: impl Future<Output = salon::store::Result<T>>) {
    let begun = Instant::now();
    match work.await {
        Err(StoreError::Unavailable(_)) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("done, with no database"),
    }
    assert!(begun.elapsed() < BOUND, "took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_held_elsewhere_is_busy_or_waited_for() {
    let server = tokio::task::spawn_blocking(Postgres::shared).await.unwrap();
    let url = server.fresh_database().await;
    let store = open(&impatient(&url)).unwrap();
    let (alice, held) = people(&*store).await;
    let free = store.create_room(new_room(&alice, "free", RoomKind::Public)).await.unwrap();

    let other = connect(&url).await;
    let lock = format!("BEGIN; SELECT FROM room_clocks WHERE room_id = {} FOR UPDATE", held.id.0);
    other.batch_execute(&lock).await.unwrap();
    let batch = [item(&alice, &held, "1", "a"), item(&alice, &free, "1", "b"), item(&alice, &held, "2", "c")];
    let outcomes = store.append(&batch, false).await.unwrap();
    assert_eq!((&outcomes[0], &outcomes[2]), (&Appended::Busy, &Appended::Busy));
    assert_eq!(stored_id(&outcomes[1]), 1);
    unavailable_in_time(store.append(&batch[..1], true)).await;

    let (waited, ()) = tokio::join!(store.append(&batch, true), async {
        other.batch_execute("COMMIT").await.unwrap();
    });
    let outcomes = waited.unwrap();
    assert_eq!((stored_id(&outcomes[0]), stored_id(&outcomes[2])), (1, 2));
    assert!(matches!(&outcomes[1], Appended::Duplicate(message) if message.id == 1));
}

/// The look at nonces and bans must not be through a snapshot from before the lock, whatever isolation the server
/// gives by default.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_under_the_lock_before_is_seen() {
    let bed = Bed::postgres().await;
    let url = bed.postgres_url();
    let database = url.rsplit('/').next().unwrap();
    execute(url, &format!("ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'")).await;
    let (alice, room) = bed.alice_and_room().await;
    for round in 0..20 {
        let send = item(&alice, &room, &format!("n{round}"), "hi");
        let [a, b] = bed.handles();
        let batch = [send];
        let (a, b) = tokio::join!(a.append(&batch, true), b.append(&batch, true));
        let mut outcomes = [a.unwrap().pop().unwrap(), b.unwrap().pop().unwrap()];
        outcomes.sort_by_key(|outcome| matches!(outcome, Appended::Duplicate(_)));
        let id = stored_id(&outcomes[0]);
        assert!(matches!(&outcomes[1], Appended::Duplicate(message) if message.id == id), "{outcomes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_migrations_at_once_are_one() {
    let server = tokio::task::spawn_blocking(Postgres::shared).await.unwrap();
    let url = server.fresh_database().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = open(&config(&url)).unwrap();
        tasks.spawn(async move { store.migrate().await });
    }
    for outcome in tasks.join_all().await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn settings_that_lose_messages_are_named() {
    let server = private_server(&["fsync=off", "full_page_writes=off", "synchronous_commit=off"]).await;
    let store = open(&config(&server.fresh_database().await)).unwrap();
    let risks: Vec<_> = store.durability_risks().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(risks, ["fsync = off", "full_page_writes = off", "synchronous_commit = off"]);
}

#[tokio::test]
async fn opening_needs_no_database() {
    let port = crate::support::node::free_port();
    let store = open(&impatient(&format!("postgres://postgres@127.0.0.1:{port}/salon"))).unwrap();
    unavailable_in_time(store.ping()).await;
    unavailable_in_time(store.migrate()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_and_calls_work_again() {
    let mut server = private_server(&[]).await;
    let store = open(&impatient(&server.fresh_database().await)).unwrap();
    let (alice, room) = people(&*store).await;
    for round in 1..=2 {
        let send = [item(&alice, &room, &format!("n{round}"), "hi")];
        assert_eq!(stored_id(&store.append(&send, true).await.unwrap()[0]), round);
        if round == 1 {
            server.kill9()
        } else {
            server.stop_immediate()
        }
        unavailable_in_time(store.append(&send, true)).await;
        server.start_again();
        let outcomes = store.append(&send, true).await.unwrap();
        assert!(matches!(&outcomes[0], Appended::Duplicate(message) if message.id == round), "{outcomes:?}");
    }
}

/// A server that hangs keeps its connections open and acknowledges every byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_unavailable_in_time() {
    let server = private_server(&[]).await;
    let store = open(&impatient(&server.fresh_database().await)).unwrap();
    let (alice, room) = people(&*store).await;
    server.pause();
    let send = [item(&alice, &room, "n", "hi")];
    let calls = (0..12).map(|_| unavailable_in_time(store.append(&send, true)));
    futures_util::future::join_all(calls).await;
    server.resume();
    let outcomes = store.append(&send, true).await.unwrap();
    let id = match &outcomes[0] {
        Appended::Stored { id, .. } => *id,
        Appended::Duplicate(message) => message.id,
        other => panic!("{other:?}"),
    };
    assert_eq!(id, 1);
}

/// The next call must not get the connection on which somebody's statement still runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_takes_its_connection_along() {
    let server = tokio::task::spawn_blocking(Postgres::shared).await.unwrap();
    let url = server.fresh_database().await;
    let store = open(&config::Database { pool_size: 1, ..config(&url) }).unwrap();
    let (alice, room) = people(&*store).await;
    let other = connect(&url).await;
    let lock = format!("BEGIN; SELECT FROM room_clocks WHERE room_id = {} FOR UPDATE", room.id.0);
    other.batch_execute(&lock).await.unwrap();
    let send = [item(&alice, &room, "n", "hi")];
    assert!(tokio::time::timeout(Duration::from_millis(100), store.append(&send, true)).await.is_err());
    let begun = Instant::now();
    store.ping().await.unwrap();
    // Far less than `lock_timeout_ms`, after which the statement would have given up by itself.
    assert!(begun.elapsed() < Duration::from_millis(600), "waited for a stranger's lock");
}

/// Many rooms of one message each make the indexes look alike; a room that grows must not be read as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_looks_up_few_rows_whatever_the_statistics_say() {
    const EMPTY: &str = "";
    const SMALL_ROOMS: &str =
        "INSERT INTO messages (room_id, id, seq, author_id, created_at, fingerprint, nonce, content)
        SELECT g, 1, 1, g, now(), decode(md5(g::text), 'hex'), g::text, 'hi' FROM generate_series(1000, 12000) g;
        ANALYZE messages";
    for before in [EMPTY, SMALL_ROOMS] {
        let bed = Bed::postgres().await;
        let url = bed.postgres_url();
        execute(url, "ALTER TABLE messages SET (autovacuum_enabled = off)").await;
        execute(url, before).await;
        let (alice, room) = bed.alice_and_room().await;
        let read_before = rows_read(url).await;
        for batch in 0..40 {
            let items: Vec<_> = (0..100).map(|i| item(&alice, &room, &format!("{batch}.{i}"), "hi")).collect();
            bed.append(&items, true).await.unwrap();
        }
        // The server tells its numbers about a second late, and when a connection is used again.
        let deadline = Instant::now() + Duration::from_secs(10);
        while lookups(url).await < 3_900 {
            assert!(Instant::now() < deadline, "no look-ups were counted");
            bed.ping().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let read = rows_read(url).await - read_before;
        assert!(read < 4_000, "{read} rows read for 4,000 new messages");
    }
}

/// Rooms with their marks and counts are one statement, however many they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rooms_are_listed_in_one_statement() {
    let server = private_server(&["shared_preload_libraries=pg_stat_statements"]).await;
    let url = server.fresh_database().await;
    let store = open(&config::Database { pool_size: 1, ..config(&url) }).unwrap();
    let (alice, room) = people(&*store).await;
    execute(
        &url,
        "CREATE EXTENSION pg_stat_statements;
         INSERT INTO users (username, username_key, role) VALUES ('bob', 'bob', 'user');
         INSERT INTO rooms (slug, name, kind) SELECT 'room-' || g, 'Room', 'private' FROM generate_series(1, 999) g;
         INSERT INTO room_clocks (room_id, seq, epoch) SELECT id, 3, 'e' FROM rooms WHERE kind = 'private';
         INSERT INTO members (room_id, user_id, role, last_read)
             SELECT r.id, u.id, 'member', 1 FROM rooms r, users u WHERE r.kind = 'private';
         INSERT INTO messages (room_id, id, seq, author_id, created_at, fingerprint, nonce, content)
             SELECT r.id, g, g, u.id, now(), decode(md5('x'), 'hex'), g::text, 'hi @alice'
             FROM rooms r, users u, generate_series(1, 3) g WHERE r.kind = 'private' AND u.username = 'bob';
         INSERT INTO mentions (room_id, id, user_id) SELECT m.room_id, m.id, u.id FROM messages m, users u
             WHERE u.username = 'alice' AND m.id = 3",
    )
    .await;
    store.rooms(alice.id, 10, None).await.unwrap();
    for (limit, wanted) in [(5, 5), (1_000, 1_000)] {
        execute(&url, "SELECT pg_stat_statements_reset()").await;
        let begun = Instant::now();
        let page = store.rooms(alice.id, limit, None).await.unwrap();
        eprintln!("{limit} rooms in {:?}", begun.elapsed());
        assert_eq!(page.items.len(), wanted);
        let others: Vec<_> = page.items.iter().filter(|info| info.id != room.id).collect();
        assert!(others.iter().all(|info| (info.last_read, info.unread, info.mentions) == (1, 2, 1)), "{others:?}");
        let calls = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
             WHERE toplevel AND query NOT LIKE '%pg_stat_statements%'";
        assert_eq!(number(&url, calls).await, 1, "{limit} rooms");
    }
}

/// Rows of `messages` that were read by scans of the table or its indexes.
async fn rows_read(url: &str) -> i64 {
    number(
        url,
        "SELECT (t.seq_tup_read + sum(i.idx_tup_read))::bigint
         FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid)
         WHERE t.relname = 'messages' GROUP BY t.seq_tup_read",
    )
    .await
}

async fn lookups(url: &str) -> i64 {
    number(url, "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'messages'").await
}

async fn number(url: &str, sql: &str) -> i64 {
    connect(url).await.query_one(sql, &[]).await.unwrap().get(0)
}
