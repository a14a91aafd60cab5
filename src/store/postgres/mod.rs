//! The store on Postgres: for one node or many. Every call is one round trip, and what needs a room's clock is a
//! function in the database (`migrations/postgres`), so that no lock is ever held across a network trip.

mod administration;
mod append;
mod dump;
mod load;
mod login_sessions;
mod mentions;
mod messages;
mod migrate;
mod moderation;
mod nodes;
mod pool;
mod reading;
mod retention;
mod room_info;
mod rooms;
mod rows;
mod search;
mod servers;
mod users;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::config;
use pool::Pool;

pub(super) use dump::dump;
pub(super) use load::load;

/// A pool of connections to one Postgres primary.
pub struct Postgres {
    pool: Pool,
    /// The text search configuration by which words are taken and looked for.
    words_by: String,
}

impl Postgres {
    /// Reads the configuration only: the database need not be up, connections are made when calls need them.
    /// Needs a tokio runtime once calls are made. Fails for a `database.url` that cannot be understood.
    pub fn open(config: &config::Database) -> crate::error::Result<Arc<Self>> {
        Ok(Arc::new(Self { pool: Pool::new(config)?, words_by: config.search_configuration.clone() }))
    }
}

#[async_trait]
impl Store for Postgres {
    async fn migrate(&self) -> Result<()> {
        migrate::migrate(&self.pool).await
    }

    async fn ping(&self) -> Result<()> {
        nodes::ping(&self.pool).await
    }

    async fn durability_risks(&self) -> Result<Vec<DurabilityRisk>> {
        nodes::durability_risks(&self.pool).await
    }

    async fn create_user(&self, new: NewUser) -> Result<User> {
        users::create(&self.pool, new).await
    }

    async fn account_by_name(&self, username: &Username) -> Result<Option<Account>> {
        users::by_name(&self.pool, username).await
    }

    async fn account_by_id(&self, user: UserId) -> Result<Option<Account>> {
        users::by_id(&self.pool, user).await
    }

    async fn accounts_by_issuer(&self, names: &[(String, String)]) -> Result<Vec<Option<Account>>> {
        users::by_issuers(&self.pool, names).await
    }

    async fn set_password(&self, user: UserId, hash: &str, keep: Option<&str>) -> Result<Option<Vec<String>>> {
        users::set_password(&self.pool, user, hash, keep).await
    }

    async fn renew_password_hash(&self, user: UserId, old: &str, new: &str) -> Result<bool> {
        users::renew_password_hash(&self.pool, user, old, new).await
    }

    async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<bool> {
        users::set_disabled(&self.pool, user, disabled).await
    }

    async fn create_login_session(&self, new: NewLoginSession) -> Result<bool> {
        login_sessions::create(&self.pool, new).await
    }

    async fn login_sessions(&self, user: UserId, limit: u32) -> Result<Vec<LoginSession>> {
        login_sessions::list(&self.pool, user, limit).await
    }

    async fn end_login_session(&self, user: UserId, id: &str) -> Result<bool> {
        login_sessions::end(&self.pool, user, id).await
    }

    async fn rotate(&self, rotate: &Rotate) -> Result<Rotation> {
        login_sessions::rotate(&self.pool, rotate).await
    }

    async fn live_login_sessions(&self, ids: &[String]) -> Result<Vec<String>> {
        login_sessions::live(&self.pool, ids).await
    }

    async fn recent_revocations(&self, window: Duration, after: Option<i64>, limit: u32) -> Result<Vec<Revocation>> {
        login_sessions::recent_revocations(&self.pool, window, after, limit).await
    }

    async fn create_room(&self, new: NewRoom) -> Result<RoomInfo> {
        rooms::create(&self.pool, new).await
    }

    async fn room(&self, user: UserId, room: &RoomRef) -> Result<Option<RoomInfo>> {
        room_info::one(&self.pool, user, room).await
    }

    async fn rooms(&self, user: UserId, limit: u32, cursor: Option<&str>) -> Result<Page<RoomInfo>> {
        room_info::page(&self.pool, user, limit, cursor).await
    }

    async fn rooms_seen(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Option<RoomInfo>>> {
        room_info::seen(&self.pool, pairs).await
    }

    async fn update_room(&self, room: RoomId, changes: RoomChanges) -> Result<Option<()>> {
        rooms::update(&self.pool, room, changes).await
    }

    async fn delete_room(&self, room: RoomId) -> Result<bool> {
        rooms::delete(&self.pool, room).await
    }

    async fn purge(&self, limit: u32) -> Result<u64> {
        let mut removed = login_sessions::purge(&self.pool, limit).await?;
        removed += moderation::purge(&self.pool, limit - removed).await?;
        removed += mentions::purge(&self.pool, limit - removed).await?;
        // Rooms are done with only when the rest of them is gone.
        match limit - removed {
            0 => Ok(u64::from(removed)),
            left => Ok(u64::from(removed) + rooms::purge(&self.pool, left).await?),
        }
    }

    async fn outdated(&self, days: Option<u32>, limit: u32, cursor: Option<&str>) -> Result<Page<RoomId>> {
        retention::outdated(&self.pool, days, limit, cursor).await
    }

    async fn purge_outdated(&self, room: RoomId, days: Option<u32>, limit: u32) -> Result<u64> {
        retention::purge(&self.pool, room, days, limit).await
    }

    async fn members(&self, room: RoomId, limit: u32, cursor: Option<&str>) -> Result<Page<Member>> {
        rooms::members(&self.pool, room, limit, cursor).await
    }

    async fn enter(&self, pairs: &[(UserId, RoomRef)]) -> Result<Vec<std::result::Result<RoomInfo, Refusal>>> {
        room_info::enter(&self.pool, pairs).await
    }

    async fn access(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Access>> {
        rooms::access(&self.pool, pairs).await
    }

    async fn moderate(&self, moderation: &Moderation) -> Result<Moderated> {
        moderation::moderate(&self.pool, moderation).await
    }

    async fn sanctioned(
        &self,
        kind: SanctionKind,
        room: RoomId,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Sanctioned>> {
        moderation::sanctioned(&self.pool, kind, room, limit, cursor).await
    }

    async fn create_invite(&self, new: &NewInvite) -> Result<Invited> {
        moderation::create_invite(&self.pool, new).await
    }

    async fn invites(&self, room: RoomId) -> Result<Vec<Invite>> {
        moderation::invites(&self.pool, room).await
    }

    async fn withdraw_invite(&self, room: RoomId, id: InviteId) -> Result<bool> {
        moderation::withdraw_invite(&self.pool, room, id).await
    }

    async fn redeem_invite(&self, hash: &[u8], user: UserId) -> Result<Redeemed> {
        moderation::redeem_invite(&self.pool, hash, user).await
    }

    async fn direct_room(&self, asking: UserId, other: UserId, slug: &Slug) -> Result<Direct> {
        moderation::direct_room(&self.pool, asking, other, slug).await
    }

    async fn recent_additions(&self, window: Duration, after: Option<AdditionId>, limit: u32) -> Result<Vec<Addition>> {
        moderation::recent_additions(&self.pool, window, after, limit).await
    }

    async fn append(&self, batch: &[Append], wait: bool) -> Result<Vec<Appended>> {
        append::append(&self.pool, batch, wait).await
    }

    async fn change(&self, change: &Change) -> Result<Changed> {
        messages::change(&self.pool, change).await
    }

    async fn changes_after(&self, room: RoomId, after: Seq, limit: u32) -> Result<Option<Changes>> {
        messages::changes_after(&self.pool, room, after, limit).await
    }

    async fn recent_changes(&self, room: RoomId, limit: u32) -> Result<Option<Changes>> {
        messages::recent_changes(&self.pool, room, limit).await
    }

    async fn history(&self, room: RoomId, around: Around, limit: u32) -> Result<Option<(Head, History)>> {
        messages::history(&self.pool, room, around, limit).await
    }

    async fn message(&self, room: RoomId, id: MessageId) -> Result<Option<Message>> {
        messages::one(&self.pool, room, id).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<Head>> {
        rooms::heads(&self.pool, rooms).await
    }

    async fn renew_epoch(&self, room: RoomId, old: &Epoch) -> Result<Option<Epoch>> {
        rooms::renew_epoch(&self.pool, room, old).await
    }

    async fn move_marks(&self, marks: &[Mark]) -> Result<Vec<Mark>> {
        reading::move_marks(&self.pool, marks).await
    }

    async fn memberships(&self, users: &[UserId], limit: u32, window: Duration) -> Result<Vec<Membership>> {
        reading::memberships(&self.pool, users, limit, window).await
    }

    async fn unread(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Unread>> {
        reading::unread(&self.pool, pairs).await
    }

    async fn take_words(&self, rooms: &[RoomId], limit: u32) -> Result<u32> {
        search::take_words(&self.pool, &self.words_by, rooms, limit).await
    }

    async fn unworded(&self, limit: u32) -> Result<Vec<RoomId>> {
        search::unworded(&self.pool, &self.words_by, limit).await
    }

    async fn search(&self, search: &Search) -> Result<Page<Found>> {
        search::search(&self.pool, &self.words_by, search).await
    }

    async fn list_users(&self, part: &NamePart, limit: u32, cursor: Option<&str>) -> Result<Page<ListedUser>> {
        administration::users(&self.pool, part, limit, cursor).await
    }

    async fn listed_user(&self, user: UserId) -> Result<Option<ListedUser>> {
        administration::user(&self.pool, user).await
    }

    async fn administer(&self, by: UserId, user: UserId, changes: AccountChanges) -> Result<Administered> {
        administration::administer(&self.pool, by, user, changes).await
    }

    async fn list_rooms(&self, part: &NamePart, limit: u32, cursor: Option<&str>) -> Result<Page<ListedRoom>> {
        administration::rooms(&self.pool, part, limit, cursor).await
    }

    async fn locate_room(&self, room: &RoomRef) -> Result<Option<(RoomId, Slug, RoomKind)>> {
        administration::locate(&self.pool, room).await
    }

    async fn list_nodes(&self, window: Duration) -> Result<Vec<ListedNode>> {
        administration::nodes(&self.pool, window).await
    }

    async fn beat(&self, beat: &NodeBeat, window: Duration) -> Result<Beaten> {
        nodes::beat(&self.pool, beat, window).await
    }

    async fn forget_node(&self, incarnation: &str) -> Result<()> {
        nodes::forget(&self.pool, incarnation).await
    }
}
