//! A database that the release before filled is brought up to date and keeps what is in it.

use std::sync::Arc;

use refinery::Target;
use salon::model::*;
use salon::store::*;

use super::bed::{config, item, stored_id};
use crate::support::postgres::{Postgres, connect};

mod to_postgres {
    refinery::embed_migrations!("migrations/postgres");
}

mod to_sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

/// The last migration before mutes had a table of their own.
const BEFORE: i32 = 2;

/// People and a room as they were kept then: bob is muted, carol was, dave is banned. `NOW` and `LATER` are times in the
/// backend's own way.
const FILLED: &str = "
    INSERT INTO rooms (slug, name, kind, created_at) VALUES ('general', 'General', 'private', NOW);
    INSERT INTO members (room_id, user_id, role, last_read, since, muted_until) VALUES
        (1, 1, 'owner', 1, NOW, NULL), (1, 2, 'moderator', 1, NOW, LATER), (1, 3, 'member', 0, NOW, NOW);
    INSERT INTO bans (room_id, user_id, reason, created_at) VALUES (1, 4, 'spam', NOW);
    INSERT INTO messages (room_id, id, seq, author_id, created_at, fingerprint, nonce, content) VALUES
        (1, 1, 1, 2, NOW, FINGERPRINT, 'n', 'from before');
";

fn filled(now: &str, later: &str, fingerprint: &str) -> String {
    let names = ["alice", "bob", "carol", "dave", "eve"];
    let users: String = names
        .iter()
        .map(|name| {
            let key = Username::parse(name).expect("a name").lookalike();
            format!(
                "INSERT INTO users (username, username_key, role, created_at) VALUES ('{name}', '{key}', 'user', NOW);"
            )
        })
        .collect();
    (users + FILLED).replace("FINGERPRINT", fingerprint).replace("NOW", now).replace("LATER", later)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_postgres_keeps_what_is_in_it() {
    let server = tokio::task::spawn_blocking(Postgres::shared).await.unwrap();
    let url = server.fresh_database().await;
    let mut client = connect(&url).await;
    let runner = to_postgres::migrations::runner().set_target(Target::Version(BEFORE));
    runner.run_async(&mut client).await.unwrap();
    let later = "clock_timestamp() + interval '1 hour'";
    let clock = "INSERT INTO room_clocks (room_id, seq, epoch) VALUES (1, 1, 'e')";
    let fill = filled("clock_timestamp()", later, "decode(repeat('00', 16), 'hex')");
    client.batch_execute(&format!("{fill}{clock}")).await.unwrap();
    keeps(open(&config(&url)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_sqlite_keeps_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("salon.db");
    let mut db = rusqlite::Connection::open(&path).unwrap();
    to_sqlite::migrations::runner().set_target(Target::Version(BEFORE)).run(&mut db).unwrap();
    let now = Timestamp::now().0;
    let clock = "INSERT INTO room_clocks (room_id, seq, epoch) VALUES (1, 1, 'e')";
    let fill = filled(&now.to_string(), &(now + 3_600_000).to_string(), "zeroblob(16)");
    db.execute_batch(&format!("{fill}{clock}")).unwrap();
    drop(db);
    keeps(open(&config(&format!("sqlite:{}", path.display()))).unwrap()).await;
}

async fn keeps(store: Arc<dyn Store>) {
    store.migrate().await.unwrap();
    let room = store.room(UserId(1), &RoomRef::Id(RoomId(1))).await.unwrap().expect("the room is there");
    assert_eq!((room.slug.as_str(), room.seq, room.role), ("general", 1, Some(Role::Owner)));
    let access = store.access(&[1, 2, 3, 4].map(|user| (UserId(user), room.id))).await.unwrap();
    let told: Vec<_> = access.iter().map(|access| (access.standing, access.muted)).collect();
    let expected = [
        (Standing::Member(Role::Owner), false),
        (Standing::Member(Role::Moderator), true),
        (Standing::Member(Role::Member), false),
        (Standing::Banned, false),
    ];
    assert_eq!(told, expected);
    let muted = store.sanctioned(SanctionKind::Mute, room.id, 10, None).await.unwrap().items;
    assert_eq!(muted.iter().map(|one| one.user).collect::<Vec<_>>(), [UserId(2)]);
    assert!(muted[0].until > Some(Timestamp::now()));
    let banned = store.sanctioned(SanctionKind::Ban, room.id, 10, None).await.unwrap().items;
    assert_eq!((banned[0].user, banned[0].reason.as_str(), &banned[0].by), (UserId(4), "spam", &None));

    let bob = store.account_by_id(UserId(2)).await.unwrap().expect("a user").user;
    let carol = store.account_by_id(UserId(3)).await.unwrap().expect("a user").user;
    let said = store.append(&[item(&bob, &room, "2", "x"), item(&carol, &room, "2", "y")], true).await.unwrap();
    assert_eq!((&said[0], stored_id(&said[1])), (&Appended::Refused(Refusal::Muted), 2));
    let history = store.history(room.id, Around::Latest, 10).await.unwrap().expect("a history").1;
    let contents: Vec<&str> = history.messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["from before", "y"]);
}
