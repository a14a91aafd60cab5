//! A database that was filled under any schema before this one is brought up to date and keeps what is in it.

use std::sync::Arc;

use refinery::{Runner, Target};
use salon::model::search::Query;
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

/// The first schema that holds all of [`FILLED`].
const FIRST: i32 = 2;
/// Since this one mutes have a table of their own,
const MUTES: i32 = 3;
/// and since this one there are mentions and reactions.
const READING: i32 = 4;

/// People and a room: bob is a moderator and muted, carol was muted, dave is banned. `NOW`, `LATER` and `BYTES` are
/// values in the backend's own way.
const FILLED: &str = "
    INSERT INTO rooms (slug, name, kind, created_at) VALUES ('general', 'General', 'private', NOW);
    INSERT INTO bans (room_id, user_id, reason, created_at) VALUES (1, 4, 'spam', NOW);
    INSERT INTO invites (code_hash, room_id, created_by, uses_left, expires_at, created_at)
        VALUES (BYTES, 1, 1, 3, LATER, NOW);
    INSERT INTO messages (room_id, id, seq, author_id, created_at, fingerprint, nonce, content) VALUES
        (1, 1, 1, 2, NOW, BYTES, 'n', 'from before @alice');
    INSERT INTO room_clocks (room_id, seq, epoch) VALUES (1, 1, 'e');
    INSERT INTO login_sessions (id, user_id, refresh_hash, agent, address, created_at, seen_at, expires_at)
        VALUES ('session', 1, BYTES, 'agent', '127.0.0.1', NOW, NOW, LATER);
    INSERT INTO revocations (at, login_session_id) VALUES (NOW, 'ended');
";

const MUTED_MEMBERS: &str = "
    INSERT INTO members (room_id, user_id, role, last_read, since, muted_until) VALUES
        (1, 1, 'owner', 0, NOW, NULL), (1, 2, 'moderator', 1, NOW, LATER), (1, 3, 'member', 0, NOW, NOW);
";

const MEMBERS_AND_MUTES: &str = "
    INSERT INTO members (room_id, user_id, role, last_read, since) VALUES
        (1, 1, 'owner', 0, NOW), (1, 2, 'moderator', 1, NOW), (1, 3, 'member', 0, NOW);
    INSERT INTO mutes (room_id, user_id, until, created_at) VALUES (1, 2, LATER, NOW);
";

const MENTIONED_AND_REACTED: &str = r#"
    UPDATE messages SET seq = 2, kind = 3, mentions = '["alice"]',
        reactions = '[{"emoji":"👍","count":1,"users":["carol"]}]';
    UPDATE room_clocks SET seq = 2;
    INSERT INTO mentions (room_id, id, user_id) VALUES (1, 1, 1);
    INSERT INTO reactions (room_id, id, emoji, user_id, seq) VALUES (1, 1, '👍', 3, 2);
"#;

/// The versions before the newest one.
fn earlier(runner: &Runner) -> Vec<i32> {
    let mut versions: Vec<i32> = runner.get_migrations().iter().map(refinery::Migration::version).collect();
    versions.sort_unstable();
    let newest = versions.pop().expect("there are migrations");
    // What is between two files is the same as the one before.
    (FIRST..newest).filter(|version| *version == FIRST || versions.contains(version)).collect()
}

fn filled(version: i32, now: &str, later: &str, bytes: &str) -> String {
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
    let members = if version >= MUTES { MEMBERS_AND_MUTES } else { MUTED_MEMBERS };
    let reading = if version >= READING { MENTIONED_AND_REACTED } else { "" };
    let all = format!("{users}{FILLED}{members}{reading}");
    all.replace("BYTES", bytes).replace("NOW", now).replace("LATER", later)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_postgres_keeps_what_is_in_it() {
    let versions = earlier(&to_postgres::migrations::runner());
    assert!(versions.len() >= 4, "{versions:?}");
    for version in versions {
        let server = tokio::task::spawn_blocking(Postgres::shared).await.unwrap();
        let url = server.fresh_database().await;
        let mut client = connect(&url).await;
        let runner = to_postgres::migrations::runner().set_target(Target::Version(version));
        runner.run_async(&mut client).await.unwrap();
        let later = "date_trunc('milliseconds', clock_timestamp() + interval '1 hour')";
        let fill = filled(version, "clock_timestamp()", later, "decode(repeat('07', 16), 'hex')");
        client.batch_execute(&fill).await.unwrap();
        keeps(open(&config(&url)).unwrap(), version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_sqlite_keeps_what_is_in_it() {
    let versions = earlier(&to_sqlite::migrations::runner());
    assert!(versions.len() >= 3, "{versions:?}");
    for version in versions {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("salon.db");
        let mut db = rusqlite::Connection::open(&path).unwrap();
        to_sqlite::migrations::runner().set_target(Target::Version(version)).run(&mut db).unwrap();
        let now = Timestamp::now().0;
        let bytes = format!("X'{}'", "07".repeat(16));
        let fill = filled(version, &now.to_string(), &(now + 3_600_000).to_string(), &bytes);
        db.execute_batch(&fill).unwrap();
        drop(db);
        keeps(open(&config(&format!("sqlite:{}", path.display()))).unwrap(), version).await;
    }
}

async fn keeps(store: Arc<dyn Store>, version: i32) {
    store.migrate().await.unwrap();
    let reading = version >= READING;
    let head = if reading { 2 } else { 1 };
    let room = store.room(UserId(1), &RoomRef::Id(RoomId(1))).await.unwrap().expect("the room is there");
    let seen = (room.slug.as_str(), room.seq, room.role, room.unread, room.mentions);
    assert_eq!(seen, ("general", head, Some(Role::Owner), 1, u32::from(reading)), "from {version}");
    assert_eq!((room.epoch.0.as_str(), room.retention_days, room.purged), ("e", None, 0));
    people_are_who_they_were(&*store, &room).await;

    let bob = store.account_by_id(UserId(2)).await.unwrap().expect("a user").user;
    let carol = store.account_by_id(UserId(3)).await.unwrap().expect("a user").user;
    let said = store.append(&[item(&bob, &room, "2", "x"), item(&carol, &room, "2", "y")], true).await.unwrap();
    assert_eq!((&said[0], stored_id(&said[1])), (&Appended::Refused(Refusal::Muted), head + 1));
    let history = store.history(room.id, Around::Latest, 10).await.unwrap().expect("a history").1;
    let contents: Vec<&str> = history.messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["from before @alice", "y"]);
    let first = &history.messages[0];
    let shown = (serde_json::to_string(&first.reactions).unwrap(), first.mentions.len());
    let wanted = if reading { (r#"{"👍":{"count":1,"users":["carol"]}}"#, 1) } else { ("{}", 0) };
    assert_eq!((shown.0.as_str(), shown.1), wanted, "from {version}");
    words_and_reactions_go_on(&*store, &room, &carol).await;
}

async fn people_are_who_they_were(store: &dyn Store, room: &RoomInfo) {
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
    let sessions = store.login_sessions(UserId(1), 10).await.unwrap();
    assert_eq!((sessions.len(), sessions[0].agent.as_str()), (1, "agent"));
    let hour = std::time::Duration::from_secs(3_600);
    assert_eq!(store.recent_revocations(hour, None, 10).await.unwrap().len(), 1);
    assert_eq!(store.invites(room.id).await.unwrap()[0].uses_left, Some(3));
    let entered = store.redeem_invite(&[7; 16], UserId(5)).await.unwrap();
    assert!(matches!(entered, Redeemed::Entered { room: into, .. } if into == room.id), "{entered:?}");
    assert!(store.set_disabled(UserId(1), true).await.unwrap() && store.set_disabled(UserId(1), false).await.unwrap());
    assert_eq!(store.login_sessions(UserId(1), 10).await.unwrap().len(), 0);
}

async fn words_and_reactions_go_on(store: &dyn Store, room: &RoomInfo, carol: &User) {
    store.take_words(&[room.id], 100).await.unwrap();
    let query = Query::parse("before").unwrap().expect("a word");
    let search = Search { user: carol.id, query, room: None, before: None, limit: 10 };
    assert_eq!(store.search(&search).await.unwrap().items.len(), 1);
    let react = |emoji: &str| Change {
        room: room.id,
        actor: carol.id,
        id: 1,
        what: ChangeWhat::React(Emoji::parse(emoji).unwrap()),
    };
    let changed = store.change(&react("🎉")).await.unwrap();
    assert!(matches!(&changed, Changed::Done(message) if message.mentions.len() <= 1), "{changed:?}");
    assert_eq!(store.purge_outdated(room.id, Some(1), 100).await.unwrap(), 0, "nothing is old");
}
