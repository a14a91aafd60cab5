//! The store in one SQLite file: for one node on one machine, with the same promises. WAL, `synchronous=FULL`, one
//! writing thread.

mod access;
mod administration;
mod append;
mod dump;
mod load;
mod login_sessions;
mod mentions;
mod messages;
mod moderation;
mod nodes;
mod reactions;
mod reading;
mod retention;
mod room_info;
mod rooms;
mod rows;
mod search;
mod threads;
mod users;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::config;
use threads::Threads;

pub(super) use dump::dump;
pub(super) use load::load;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// One SQLite file, which this process alone has while this value lives.
pub struct Sqlite {
    threads: Threads,
    path: PathBuf,
    busy_timeout: Duration,
    /// Refinery takes no lock of its own.
    migrating: Arc<Mutex<()>>,
}

impl Sqlite {
    /// Opens the file of `sqlite:PATH`, and makes it and its folder when absent. Blocks for as long as that takes.
    /// [`Error::Conflict`]: another process has it. Dropping waits until what was handed to the threads is done.
    pub fn open(config: &config::Database) -> crate::error::Result<Arc<Self>> {
        let guard = threads::guard(&path(&config.url)?)?;
        Self::start(config, Some(guard))
    }

    /// The same beside a process that has the file, for the command line: SQLite itself keeps their writes apart.
    pub fn open_shared(config: &config::Database) -> crate::error::Result<Arc<Self>> {
        threads::make_folder(&path(&config.url)?)?;
        Self::start(config, None)
    }

    fn start(config: &config::Database, guard: Option<File>) -> crate::error::Result<Arc<Self>> {
        let path = path(&config.url)?;
        let busy_timeout = Duration::from_millis(config.wait_timeout_ms);
        let threads = Threads::start(&path, config, guard)?;
        Ok(Arc::new(Self { threads, path, busy_timeout, migrating: Arc::default() }))
    }
}

fn bring_up_to_date(db: &mut rusqlite::Connection) -> Result<()> {
    let runner = embedded::migrations::runner().set_abort_missing(false);
    runner.run(db).map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(())
}

/// The file that the URL names. A store in memory only would break its promises, and each thread would have its own.
fn path(url: &str) -> crate::error::Result<PathBuf> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains(":memory:") || path.starts_with("file:") {
        return Err(Error::invalid("database.url", "must name a file: sqlite:PATH"));
    }
    Ok(Path::new(path).to_owned())
}

#[async_trait]
impl Store for Sqlite {
    async fn migrate(&self) -> Result<()> {
        let (path, busy_timeout, migrating) = (self.path.clone(), self.busy_timeout, self.migrating.clone());
        let work = move || {
            let _alone = migrating.lock().unwrap_or_else(PoisonError::into_inner);
            let mut db = threads::connect(&path, busy_timeout)?;
            bring_up_to_date(&mut db)?;
            match db.prepare("SELECT 1 FROM imports WHERE NOT finished")?.exists([])? {
                false => Ok(()),
                true => Err(StoreError::Unavailable(transfer::UNFINISHED.to_owned())),
            }
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
    }

    async fn ping(&self) -> Result<()> {
        self.threads.read(|db| Ok(db.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }

    async fn durability_risks(&self) -> Result<Vec<DurabilityRisk>> {
        self.threads.write(nodes::durability_risks).await
    }

    async fn create_user(&self, new: NewUser) -> Result<User> {
        self.threads.write(move |db| users::create(db, new)).await
    }

    async fn account_by_name(&self, username: &Username) -> Result<Option<Account>> {
        let username = username.clone();
        self.threads.read(move |db| users::by_name(db, &username)).await
    }

    async fn account_by_id(&self, user: UserId) -> Result<Option<Account>> {
        self.threads.read(move |db| users::by_id(db, user)).await
    }

    async fn accounts_by_issuer(&self, names: &[(String, String)]) -> Result<Vec<Option<Account>>> {
        let names = names.to_vec();
        self.threads.read(move |db| names.iter().map(|name| users::by_issuer(db, name)).collect()).await
    }

    async fn set_password(&self, user: UserId, hash: &str, keep: Option<&str>) -> Result<Option<Vec<String>>> {
        let (hash, keep) = (hash.to_owned(), keep.map(str::to_owned));
        self.threads.write(move |db| users::set_password(db, user, &hash, keep.as_deref())).await
    }

    async fn renew_password_hash(&self, user: UserId, old: &str, new: &str) -> Result<bool> {
        let (old, new) = (old.to_owned(), new.to_owned());
        self.threads.write(move |db| users::renew_password_hash(db, user, &old, &new)).await
    }

    async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<bool> {
        self.threads.write(move |db| users::set_disabled(db, user, disabled)).await
    }

    async fn create_login_session(&self, new: NewLoginSession) -> Result<bool> {
        self.threads.write(move |db| login_sessions::create(db, &new)).await
    }

    async fn login_sessions(&self, user: UserId, limit: u32) -> Result<Vec<LoginSession>> {
        self.threads.read(move |db| login_sessions::list(db, user, limit)).await
    }

    async fn end_login_session(&self, user: UserId, id: &str) -> Result<bool> {
        let id = id.to_owned();
        self.threads.write(move |db| login_sessions::end(db, user, &id)).await
    }

    async fn rotate(&self, rotate: &Rotate) -> Result<Rotation> {
        let rotate = rotate.clone();
        self.threads.write(move |db| login_sessions::rotate(db, &rotate)).await
    }

    async fn live_login_sessions(&self, ids: &[String]) -> Result<Vec<String>> {
        let ids = ids.to_vec();
        self.threads.read(move |db| login_sessions::live(db, ids)).await
    }

    async fn recent_revocations(&self, window: Duration, after: Option<i64>, limit: u32) -> Result<Vec<Revocation>> {
        self.threads.read(move |db| login_sessions::recent_revocations(db, window, after, limit)).await
    }

    async fn create_room(&self, new: NewRoom) -> Result<RoomInfo> {
        self.threads.write(move |db| rooms::create(db, new)).await
    }

    async fn room(&self, user: UserId, room: &RoomRef) -> Result<Option<RoomInfo>> {
        let room = room.clone();
        self.threads.read(move |db| room_info::one(db, user, &room)).await
    }

    async fn rooms(&self, user: UserId, limit: u32, cursor: Option<&str>) -> Result<Page<RoomInfo>> {
        let cursor = RoomsCursor::parse(cursor);
        self.threads.read(move |db| room_info::page(db, user, limit, cursor)).await
    }

    async fn rooms_seen(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Option<RoomInfo>>> {
        let pairs = pairs.to_vec();
        self.threads
            .read(move |db| pairs.iter().map(|(user, room)| room_info::one(db, *user, &RoomRef::Id(*room))).collect())
            .await
    }

    async fn update_room(&self, room: RoomId, changes: RoomChanges) -> Result<Option<()>> {
        self.threads.write(move |db| rooms::update(db, room, &changes)).await
    }

    async fn delete_room(&self, room: RoomId) -> Result<bool> {
        self.threads.write(move |db| rooms::delete(db, room)).await
    }

    async fn purge(&self, limit: u32) -> Result<u64> {
        self.threads
            .write(move |db| {
                let mut removed = login_sessions::purge(db, limit)?;
                removed += moderation::purge(db, limit - removed)?;
                // Rooms are done with only when the rest of them is gone.
                match limit - removed {
                    0 => Ok(u64::from(removed)),
                    left => Ok(u64::from(removed) + rooms::purge(db, left)?),
                }
            })
            .await
    }

    async fn outdated(&self, days: Option<u32>, limit: u32, cursor: Option<&str>) -> Result<Page<RoomId>> {
        let after = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        self.threads.read(move |db| retention::outdated(db, days, limit, after)).await
    }

    async fn purge_outdated(&self, room: RoomId, days: Option<u32>, limit: u32) -> Result<u64> {
        self.threads.write(move |db| retention::purge(db, room, days, limit)).await
    }

    async fn members(&self, room: RoomId, limit: u32, cursor: Option<&str>) -> Result<Page<Member>> {
        let after = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        self.threads.read(move |db| rooms::members(db, room, limit, after)).await
    }

    async fn enter(&self, pairs: &[(UserId, RoomRef)]) -> Result<Vec<std::result::Result<RoomInfo, Refusal>>> {
        let pairs = pairs.to_vec();
        self.threads.write(move |db| room_info::enter(db, &pairs)).await
    }

    async fn access(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Access>> {
        let pairs = pairs.to_vec();
        self.threads.read(move |db| pairs.iter().map(|(user, room)| access::access(db, *user, *room)).collect()).await
    }

    async fn moderate(&self, moderation: &Moderation) -> Result<Moderated> {
        let moderation = moderation.clone();
        self.threads.write(move |db| moderation::moderate(db, &moderation)).await
    }

    async fn sanctioned(
        &self,
        kind: SanctionKind,
        room: RoomId,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Sanctioned>> {
        let after = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        self.threads.read(move |db| moderation::sanctioned(db, kind, room, limit, after)).await
    }

    async fn create_invite(&self, new: &NewInvite) -> Result<Invited> {
        let new = new.clone();
        self.threads.write(move |db| moderation::create_invite(db, &new)).await
    }

    async fn invites(&self, room: RoomId) -> Result<Vec<Invite>> {
        self.threads.read(move |db| moderation::invites(db, room)).await
    }

    async fn withdraw_invite(&self, room: RoomId, id: InviteId) -> Result<bool> {
        self.threads.write(move |db| moderation::withdraw_invite(db, room, id)).await
    }

    async fn redeem_invite(&self, hash: &[u8], user: UserId) -> Result<Redeemed> {
        let hash = hash.to_vec();
        self.threads.write(move |db| moderation::redeem_invite(db, &hash, user)).await
    }

    async fn direct_room(&self, asking: UserId, other: UserId, slug: &Slug) -> Result<Direct> {
        let slug = slug.clone();
        self.threads.write(move |db| moderation::direct_room(db, asking, other, &slug)).await
    }

    async fn recent_additions(&self, window: Duration, after: Option<AdditionId>, limit: u32) -> Result<Vec<Addition>> {
        self.threads.read(move |db| moderation::recent_additions(db, window, after, limit)).await
    }

    async fn append(&self, batch: &[Append], _wait: bool) -> Result<Vec<Appended>> {
        let batch = batch.to_vec();
        self.threads.write(move |db| append::append(db, &batch)).await
    }

    async fn change(&self, change: &Change) -> Result<Changed> {
        let change = change.clone();
        self.threads.write(move |db| append::change(db, &change)).await
    }

    async fn changes_after(&self, room: RoomId, after: Seq, limit: u32) -> Result<Option<Changes>> {
        self.threads.read(move |db| messages::changes_after(db, room, after, limit)).await
    }

    async fn recent_changes(&self, room: RoomId, limit: u32) -> Result<Option<Changes>> {
        self.threads.read(move |db| messages::recent_changes(db, room, limit)).await
    }

    async fn history(&self, room: RoomId, around: Around, limit: u32) -> Result<Option<(Head, History)>> {
        self.threads.read(move |db| messages::history(db, room, around, limit)).await
    }

    async fn message(&self, room: RoomId, id: MessageId) -> Result<Option<Message>> {
        self.threads
            .read(move |db| match rooms::head(db, room)? {
                Some(_) => messages::one(db, room, id),
                None => Ok(None),
            })
            .await
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<Head>> {
        let rooms = rooms.to_vec();
        self.threads.read(move |db| rooms.iter().filter_map(|room| rooms::head(db, *room).transpose()).collect()).await
    }

    async fn renew_epoch(&self, room: RoomId, old: &Epoch) -> Result<Option<Epoch>> {
        let old = old.clone();
        self.threads.write(move |db| rooms::renew_epoch(db, room, &old)).await
    }

    async fn move_marks(&self, marks: &[Mark]) -> Result<Vec<Mark>> {
        let marks = marks.to_vec();
        self.threads.write(move |db| reading::move_marks(db, &marks)).await
    }

    async fn memberships(&self, users: &[UserId], limit: u32, window: Duration) -> Result<Vec<Membership>> {
        let users = users.to_vec();
        self.threads.read(move |db| reading::memberships(db, &users, limit, window)).await
    }

    async fn unread(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Unread>> {
        let pairs = pairs.to_vec();
        self.threads.read(move |db| reading::unread(db, &pairs)).await
    }

    async fn take_words(&self, rooms: &[RoomId], limit: u32) -> Result<u32> {
        let rooms = rooms.to_vec();
        self.threads.write(move |db| search::take_words(db, &rooms, limit)).await
    }

    async fn unworded(&self, limit: u32) -> Result<Vec<RoomId>> {
        self.threads.read(move |db| search::unworded(db, limit)).await
    }

    async fn search(&self, search: &Search) -> Result<Page<Found>> {
        let search = search.clone();
        self.threads.read(move |db| search::search(db, &search)).await
    }

    async fn list_users(&self, part: &NamePart, limit: u32, cursor: Option<&str>) -> Result<Page<ListedUser>> {
        let (part, below) = (part.clone(), page::below(cursor));
        self.threads.read(move |db| administration::users(db, &part, limit, below)).await
    }

    async fn listed_user(&self, user: UserId) -> Result<Option<ListedUser>> {
        self.threads.read(move |db| administration::user(db, user)).await
    }

    async fn administer(&self, by: UserId, user: UserId, changes: AccountChanges) -> Result<Administered> {
        self.threads.write(move |db| administration::administer(db, by, user, changes)).await
    }

    async fn list_rooms(&self, part: &NamePart, limit: u32, cursor: Option<&str>) -> Result<Page<ListedRoom>> {
        let (part, below) = (part.clone(), page::below(cursor));
        self.threads.read(move |db| administration::rooms(db, &part, limit, below)).await
    }

    async fn locate_room(&self, room: &RoomRef) -> Result<Option<(RoomId, Slug, RoomKind)>> {
        let room = room.clone();
        self.threads.read(move |db| administration::locate(db, &room)).await
    }

    async fn list_nodes(&self, window: Duration) -> Result<Vec<ListedNode>> {
        self.threads.read(move |db| administration::nodes(db, window)).await
    }

    async fn beat(&self, beat: &NodeBeat, window: Duration) -> Result<Beaten> {
        let beat = beat.clone();
        self.threads.write(move |db| nodes::beat(db, &beat, window)).await
    }

    async fn forget_node(&self, incarnation: &str) -> Result<()> {
        let incarnation = incarnation.to_owned();
        self.threads.write(move |db| nodes::forget(db, &incarnation)).await
    }
}
