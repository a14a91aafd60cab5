//! The store on Postgres: for one node or many. Every call is one round trip, and what needs a room's clock is a
//! function in the database (`migrations/postgres`), so that no lock is ever held across a network trip.

mod append;
mod login_sessions;
mod messages;
mod migrate;
mod nodes;
mod pool;
mod room_info;
mod rooms;
mod rows;
mod servers;
mod users;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::config;
use pool::Pool;

/// A pool of connections to one Postgres primary.
pub struct Postgres {
    pool: Pool,
}

impl Postgres {
    /// Reads the configuration only: the database need not be up, connections are made when calls need them.
    /// Needs a tokio runtime once calls are made. Fails for a `database.url` that cannot be understood.
    pub fn open(config: &config::Database) -> crate::error::Result<Arc<Self>> {
        Ok(Arc::new(Self { pool: Pool::new(config)? }))
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

    async fn update_room(&self, room: RoomId, changes: RoomChanges) -> Result<Option<()>> {
        rooms::update(&self.pool, room, changes).await
    }

    async fn delete_room(&self, room: RoomId) -> Result<bool> {
        rooms::delete(&self.pool, room).await
    }

    async fn purge(&self, limit: u32) -> Result<u64> {
        let removed = login_sessions::purge(&self.pool, limit).await?;
        Ok(u64::from(removed) + rooms::purge(&self.pool, limit - removed).await?)
    }

    async fn members(&self, room: RoomId, limit: u32, cursor: Option<&str>) -> Result<Page<Member>> {
        rooms::members(&self.pool, room, limit, cursor).await
    }

    async fn put_member(&self, room: RoomId, user: UserId, role: Role) -> Result<Option<Option<Role>>> {
        rooms::put_member(&self.pool, room, user, role).await
    }

    async fn remove_member(&self, room: RoomId, user: UserId) -> Result<bool> {
        rooms::remove_member(&self.pool, room, user).await
    }

    async fn enter(&self, pairs: &[(UserId, RoomRef)]) -> Result<Vec<std::result::Result<RoomInfo, Refusal>>> {
        room_info::enter(&self.pool, pairs).await
    }

    async fn access(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Access>> {
        rooms::access(&self.pool, pairs).await
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

    async fn beat(&self, beat: &NodeBeat, window: Duration) -> Result<Beaten> {
        nodes::beat(&self.pool, beat, window).await
    }

    async fn forget_node(&self, incarnation: &str) -> Result<()> {
        nodes::forget(&self.pool, incarnation).await
    }
}
