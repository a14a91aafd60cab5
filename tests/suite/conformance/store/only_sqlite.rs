//! What only SQLite promises: one process to a file.

use salon::error::Error;
use salon::model::*;
use salon::store::*;

use super::bed::{config, new_user, sqlite_config};

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
    let store = open(&config(&format!("sqlite:{}/real.db", folder.path().display()))).unwrap();
    std::os::unix::fs::symlink(folder.path().join("real.db"), folder.path().join("link.db")).unwrap();
    let linked = open(&config(&format!("sqlite:{}/link.db", folder.path().display())));
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
        let Err(Error::Invalid { field, .. }) = open(&config(url)) else { panic!("{url} was taken") };
        assert_eq!(field, "database.url");
    }
}
