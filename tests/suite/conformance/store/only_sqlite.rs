//! What only SQLite promises: one process to a file.

use std::time::{Duration, Instant};

use salon::config;
use salon::error::Error;
use salon::model::*;
use salon::store::*;

use super::bed::{config as configured, new_user, sqlite_config};

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let config = sqlite_config(folder.path());
    let store = open(&config).unwrap();
    store.migrate().await.unwrap();
    store.create_user(new_user("alice", SiteRole::User)).await.unwrap();
    let Err(Error::Conflict(why)) = open(&config) else { panic!("two processes on one file") };
    assert!(why.contains("database.url"), "{why}");
    drop(store);
    let store = open(&config).unwrap();
    assert!(store.account_by_name(&Username::parse("alice").unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_linked_file_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&configured(&format!("sqlite:{}/real.db", folder.path().display()))).unwrap();
    std::os::unix::fs::symlink(folder.path().join("real.db"), folder.path().join("link.db")).unwrap();
    let linked = open(&configured(&format!("sqlite:{}/link.db", folder.path().display())));
    assert!(matches!(linked, Err(Error::Conflict(_))));
    drop(store);
}

#[tokio::test]
async fn two_migrations_at_once_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&sqlite_config(folder.path())).unwrap();
    let (a, b) = tokio::join!(store.migrate(), store.migrate());
    a.unwrap();
    b.unwrap();
}

#[test]
fn a_url_of_no_file_or_of_no_store_is_named() {
    for url in [
        "mysql://localhost/x",
        "salon.db",
        "",
        "sqlite:",
        "sqlite::memory:",
        "postgres://:bad:port/",
        "postgres://h/d?sslmode=allow",
    ] {
        let Err(Error::Invalid { field, .. }) = open(&configured(url)) else { panic!("{url} was taken") };
        assert_eq!(field, "database.url");
    }
}

/// A read that takes too long is given up by its caller; the thread must not go on with it.
#[tokio::test]
async fn a_read_that_is_given_up_frees_its_thread() {
    const GIVEN_UP: Duration = Duration::from_millis(300);
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_config(folder.path());
    let patient = config::Database { readers: 1, statement_timeout_ms: 300, ..url };
    let store = open(&patient).unwrap();
    store.migrate().await.unwrap();
    let path = patient.url.strip_prefix("sqlite:").unwrap();
    // Bans that are counted to the end of time.
    let endless = "ALTER TABLE bans RENAME TO bans_kept;
        CREATE VIEW bans AS WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n)
        SELECT 1 AS room_id, n AS user_id, NULL AS banned_by, '' AS reason, NULL AS until, 0 AS created_at
        FROM n WHERE n < 0";
    rusqlite::Connection::open(path).unwrap().execute_batch(endless).unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        let outcome = store.sanctioned(SanctionKind::Ban, RoomId(1), 10, None).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        store.ping().await.expect("its only reader is free again");
        assert!(began.elapsed() < 3 * GIVEN_UP, "{:?}", began.elapsed());
    }
    // Those who gave up while they waited for the thread cost it nothing.
    let waiting = (0..20).map(|_| store.sanctioned(SanctionKind::Ban, RoomId(1), 10, None));
    futures_util::future::join_all(waiting).await;
    let began = Instant::now();
    store.ping().await.unwrap();
    assert!(began.elapsed() < GIVEN_UP, "{:?}", began.elapsed());
}
