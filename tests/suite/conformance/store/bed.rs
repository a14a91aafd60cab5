//! What a clause stands on: a fresh, migrated store, people and rooms in it, and a way past the trait for what the
//! trait cannot do yet.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use salon::config;
use salon::model::*;
use salon::store::*;

use crate::support::postgres;

pub struct Bed {
    store: Arc<dyn Store>,
    /// Another handle on the same database, where there can be one.
    other: Arc<dyn Store>,
    raw: Raw,
}

enum Raw {
    Postgres { url: String },
    Sqlite { folder: tempfile::TempDir },
}

impl Bed {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&sqlite_config(folder.path())).unwrap();
        store.migrate().await.unwrap();
        Self { other: store.clone(), store, raw: Raw::Sqlite { folder } }
    }

    pub async fn postgres() -> Self {
        let server = tokio::task::spawn_blocking(postgres::Postgres::shared).await.unwrap();
        let url = server.fresh_database().await;
        let store = open(&config(&url)).unwrap();
        store.migrate().await.unwrap();
        Self { other: open(&config(&url)).unwrap(), store, raw: Raw::Postgres { url } }
    }

    /// Of a bed on Postgres only.
    pub fn postgres_url(&self) -> &str {
        match &self.raw {
            Raw::Postgres { url } => url,
            Raw::Sqlite { .. } => panic!("this bed is on SQLite"),
        }
    }

    /// Handles as two nodes would have them.
    pub fn handles(&self) -> [Arc<dyn Store>; 2] {
        [self.store.clone(), self.other.clone()]
    }

    pub async fn user(&self, name: &str) -> User {
        self.create_user(new_user(name, SiteRole::User)).await.unwrap()
    }

    pub async fn administrator(&self, name: &str) -> User {
        self.create_user(new_user(name, SiteRole::Admin)).await.unwrap()
    }

    /// A public room.
    pub async fn room_of(&self, owner: &User, slug: &str) -> RoomInfo {
        self.create_room(new_room(owner, slug, RoomKind::Public)).await.unwrap()
    }

    pub async fn private_room_of(&self, owner: &User, slug: &str) -> RoomInfo {
        self.create_room(new_room(owner, slug, RoomKind::Private)).await.unwrap()
    }

    /// A room that already knows its owner, `alice`.
    pub async fn alice_and_room(&self) -> (User, RoomInfo) {
        let alice = self.user("alice").await;
        let room = self.room_of(&alice, "general").await;
        (alice, room)
    }

    /// Sends and expects it to be stored.
    pub async fn say(&self, author: &User, room: &RoomInfo, content: &str) -> MessageId {
        match self.append_one(item(author, room, Nonce::random().as_str(), content)).await {
            Appended::Stored { id, .. } => id,
            other => panic!("{content}: {other:?}"),
        }
    }

    pub async fn append_one(&self, item: Append) -> Appended {
        self.append(&[item], true).await.unwrap().pop().unwrap()
    }

    pub async fn edit(&self, actor: &User, room: &RoomInfo, id: MessageId, content: &str) -> Changed {
        let what = ChangeWhat::Edit(Content::parse(content, 4_000).unwrap());
        self.change(&Change { room: room.id, actor: actor.id, id, what }).await.unwrap()
    }

    pub async fn delete(&self, actor: &User, room: &RoomInfo, id: MessageId) -> Changed {
        self.change(&Change { room: room.id, actor: actor.id, id, what: ChangeWhat::Delete }).await.unwrap()
    }

    pub async fn enter_one(&self, user: &User, room: &RoomInfo) -> std::result::Result<RoomInfo, Refusal> {
        self.enter(&[(user.id, RoomRef::Id(room.id))]).await.unwrap().pop().unwrap()
    }

    pub async fn access_of(&self, user: &User, room: &RoomInfo) -> Access {
        self.access(&[(user.id, room.id)]).await.unwrap().pop().unwrap()
    }

    pub async fn head(&self, room: &RoomInfo) -> Head {
        self.heads(&[room.id]).await.unwrap().pop().unwrap()
    }

    /// Does it, whatever the room's access version.
    pub async fn act(&self, user: &User, room: &RoomInfo, act: Act) -> Moderated {
        let moderation = Moderation { room: room.id, user: user.id, by: user.id, seen: None, act };
        self.moderate(&moderation).await.unwrap()
    }

    pub async fn put_member(&self, user: &User, room: &RoomInfo, role: Role) -> Moderated {
        self.act(user, room, Act::Add(Some(role))).await
    }

    pub async fn ban(&self, user: &User, room: &RoomInfo) {
        assert_eq!(self.act(user, room, Act::Ban(Sanction::default())).await, Moderated::Done(None));
    }

    /// A ban that has run out.
    pub async fn ban_in_the_past(&self, user: &User, room: &RoomInfo) {
        assert_eq!(self.act(user, room, Act::Ban(for_ms(0))).await, Moderated::Done(None));
    }

    /// `ms` may lie in the past.
    pub async fn mute(&self, user: &User, room: &RoomInfo, ms: i64) {
        assert_eq!(self.act(user, room, Act::Mute(for_ms(ms))).await, Moderated::Done(None));
    }

    /// Makes every revocation, and every addition of a room, older.
    pub async fn age_revocations(&self, by: Duration) {
        let ms = by.as_millis();
        let by = match &self.raw {
            Raw::Postgres { .. } => format!("{ms} * interval '1 millisecond'"),
            Raw::Sqlite { .. } => ms.to_string(),
        };
        self.execute(&format!("UPDATE revocations SET at = at - {by}; UPDATE room_additions SET at = at - {by}")).await;
    }

    /// A time so many seconds ago, in the backend's own way.
    pub fn time_ago(&self, seconds: i64) -> String {
        match &self.raw {
            Raw::Postgres { .. } => format!("clock_timestamp() - {seconds} * interval '1 second'"),
            Raw::Sqlite { .. } => (Timestamp::now().0 - seconds * 1_000).to_string(),
        }
    }

    /// So many more users, each with a public room that has a member: `user-1` and `room-1` to the last.
    pub async fn many_users_and_rooms(&self, count: i64) {
        let (numbers, columns, now) = match &self.raw {
            Raw::Postgres { .. } => (format!("generate_series(1, {count})"), "room_id, public", "clock_timestamp()"),
            Raw::Sqlite { .. } => (
                format!(
                    "(WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {count}) SELECT n FROM t)"
                ),
                "room_id, access",
                "0",
            ),
        };
        let column = if matches!(self.raw, Raw::Postgres { .. }) { "AS t (n)" } else { "AS t" };
        self.execute(&format!(
            "INSERT INTO users (username, username_key, role, created_at)
                 SELECT 'user-' || n, 'user-' || n, 'user', {now} FROM {numbers} {column};
             INSERT INTO rooms (slug, name, kind, created_at)
                 SELECT 'user-room-' || n, 'user-' || n, 'public', {now} FROM {numbers} {column};
             INSERT INTO room_clocks ({columns}, epoch)
                 SELECT id, true, 'e' FROM rooms WHERE slug LIKE 'user-room-%';
             INSERT INTO members (room_id, user_id, role, last_read, since)
                 SELECT r.id, u.id, 'owner', 0, {now} FROM rooms r JOIN users u ON u.username_key = r.name;"
        ))
        .await;
    }

    /// Makes a room's first messages, up to this one, older.
    pub async fn age_messages(&self, room: &RoomInfo, upto: MessageId, days: u32) {
        let by = match &self.raw {
            Raw::Postgres { .. } => format!("{days} * interval '1 day'"),
            Raw::Sqlite { .. } => (i64::from(days) * 86_400_000).to_string(),
        };
        let room = room.id.0;
        self.execute(&format!(
            "UPDATE messages SET created_at = created_at - {by} WHERE room_id = {room} AND id <= {upto}"
        ))
        .await;
    }

    /// What the first column of a query's first row counts.
    pub async fn count(&self, sql: &str) -> i64 {
        match &self.raw {
            Raw::Postgres { url } => postgres::connect(url).await.query_one(sql, &[]).await.unwrap().get(0),
            Raw::Sqlite { folder } => {
                let db = rusqlite::Connection::open(folder.path().join("deep/er/salon.db")).unwrap();
                db.query_row(sql, [], |row| row.get(0)).unwrap()
            }
        }
    }

    pub async fn execute(&self, sql: &str) {
        match &self.raw {
            Raw::Postgres { url } => postgres::execute(url, sql).await,
            Raw::Sqlite { folder } => {
                let db = rusqlite::Connection::open(folder.path().join("deep/er/salon.db")).unwrap();
                db.busy_timeout(Duration::from_secs(5)).unwrap();
                db.execute_batch(sql).unwrap();
            }
        }
    }
}

impl Deref for Bed {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// Terms that run out that many milliseconds from now.
pub fn for_ms(ms: i64) -> Sanction {
    Sanction { until: Some(Timestamp(Timestamp::now().0 + ms)), ..Sanction::default() }
}

pub fn config(url: &str) -> config::Database {
    config::Database { url: url.to_owned(), pool_size: 8, ..config::Database::default() }
}

pub fn sqlite_config(folder: &std::path::Path) -> config::Database {
    config(&format!("sqlite:{}", folder.join("deep/er/salon.db").display()))
}

pub fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

pub fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

pub fn new_user(text: &str, role: SiteRole) -> NewUser {
    NewUser { username: name(text), credential: Credential::Password { hash: "$hash".into() }, role }
}

pub fn new_room(owner: &User, text: &str, kind: RoomKind) -> NewRoom {
    NewRoom {
        slug: slug(text),
        name: RoomName::parse(&text.to_uppercase()).unwrap(),
        topic: Topic::default(),
        kind,
        owner: owner.id,
    }
}

pub fn item(author: &User, room: &RoomInfo, nonce: &str, content: &str) -> Append {
    let mut fingerprint = [0; 16];
    for (place, byte) in fingerprint.iter_mut().zip(content.bytes()) {
        *place = byte;
    }
    Append {
        room: room.id,
        author: author.id,
        nonce: Nonce::parse(nonce).unwrap(),
        content: Content::parse(content, 4_000).unwrap(),
        fingerprint,
        reply_to: None,
    }
}

pub fn stored_id(outcome: &Appended) -> MessageId {
    match outcome {
        Appended::Stored { id, .. } => *id,
        other => panic!("not stored: {other:?}"),
    }
}
