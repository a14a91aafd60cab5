//! The truth: users, rooms, members and messages, and the one append that gives a change its place in a room.
//!
//! The trait is what both backends promise; `tests/` holds one conformance suite that both pass. Nothing here
//! caches: who calls decides what may be remembered, by [`Head::access`].

mod administration;
mod login_sessions;
mod moderation;
mod page;
pub mod postgres;
pub mod sqlite;
pub mod transfer;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config;
use crate::error::Error;
use crate::model::search::Query;
use crate::model::{
    Content, Emoji, Epoch, Message, MessageId, NamePart, Nonce, REACTION_KINDS_MAX, Reason, Role, RoomId, RoomInfo,
    RoomKind, RoomName, RoomRef, Seq, SiteRole, Slug, Timestamp, Topic, User, UserId, Username, mentioned,
};

pub use administration::*;
pub use login_sessions::*;
pub use moderation::*;
use page::RoomsCursor;

/// The store that `database.url` names. Of Postgres nothing is asked yet; SQLite's file is opened, and made when
/// absent, and refused ([`Error::Conflict`]) while another process has it.
pub fn open(config: &config::Database) -> crate::error::Result<Arc<dyn Store>> {
    match config.url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(postgres::Postgres::open(config)?),
        Some("sqlite") => Ok(sqlite::Sqlite::open(config)?),
        _ => Err(Error::invalid("database.url", "must begin with sqlite: or postgres://")),
    }
}

/// The same beside a node that has it open, for the command line: SQLite's file is not refused.
pub fn open_shared(config: &config::Database) -> crate::error::Result<Arc<dyn Store>> {
    match config.url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(sqlite::Sqlite::open_shared(config)?),
        _ => open(config),
    }
}

/// Why a store call failed. What a caller can do about it is all that is told.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Not reached, timed out or cut off in the middle: whether it was done is unknown.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// It clashes with what is there; the word names what: `username`, `slug`, `issuer`, …
    #[error("{0} is taken")]
    Taken(&'static str),
    /// A defect, ours or the database's; trying again will not help.
    #[error("database: {0}")]
    Internal(String),
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::unavailable("the database cannot be reached; try again"),
            StoreError::Taken("username") => {
                Self::Conflict("this username, or one that looks like it, is taken".to_owned())
            }
            StoreError::Taken(what) => Self::Conflict(format!("this {what} is taken")),
            StoreError::Internal(why) => Self::Internal(why),
        }
    }
}

/// A user with what only the login code may see.
#[derive(Clone)]
pub struct Account {
    pub user: User,
    /// PHC string; `None` for users of the operator's own issuers.
    pub password_hash: Option<String>,
    pub disabled: bool,
}

#[derive(Clone)]
pub struct NewUser {
    pub username: Username,
    pub credential: Credential,
    pub role: SiteRole,
}

#[derive(Clone)]
pub enum Credential {
    Password { hash: String },
    Issuer { issuer: String, subject: String },
}

#[derive(Clone)]
pub struct NewRoom {
    pub slug: Slug,
    pub name: RoomName,
    pub topic: Topic,
    /// `Public` or `Private`.
    pub kind: RoomKind,
    pub owner: UserId,
}

#[derive(Clone, Default)]
pub struct RoomChanges {
    pub name: Option<RoomName>,
    pub topic: Option<Topic>,
    /// Days after which its messages are removed; 0: as is set for all rooms.
    pub retention_days: Option<u32>,
}

/// What a user may do in a room, read at `version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The room's access version, raised by every ban, mute, role change, removal and deletion, and by a new name or
    /// topic.
    pub version: u64,
    pub standing: Standing,
    pub muted: bool,
    /// Of the whole site; `None`: no such user.
    pub site_role: Option<SiteRole>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Member(Role),
    /// Not a member of a public room: may read, and becomes a member on entering.
    Guest,
    /// Not a member of a private or direct room, or no such room: to this user it does not exist.
    Stranger,
    Banned,
    RoomDeleted,
}

#[derive(Debug, Clone)]
pub struct Member {
    pub username: Username,
    pub user: UserId,
    pub role: Role,
    pub since: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Hand this back for the next page; `None`: this was the last.
    pub next: Option<String>,
}

/// One send, ready to be stored. `nonce` is always there: the node makes one where the sender gave none.
#[derive(Debug, Clone)]
pub struct Append {
    pub room: RoomId,
    pub author: UserId,
    pub nonce: Nonce,
    pub content: Content,
    /// Tells whether a later send with the same nonce is the same send, also after an edit: the first 16 bytes of
    /// SHA-256 over content and `reply_to`, kept with the message.
    pub fingerprint: [u8; 16],
    pub reply_to: Option<MessageId>,
}

/// What became of one send of a batch. Only what is certain is said; an error of the whole call means "unknown".
#[derive(Debug, Clone, PartialEq)]
pub enum Appended {
    /// Committed. `created_at` was taken after the room's clock was locked.
    Stored {
        id: MessageId,
        created_at: Timestamp,
        /// The members whom its text names ([`mentioned`]).
        mentions: Vec<Username>,
    },
    /// The same nonce with the same fingerprint is already there: its message in its present state.
    Duplicate(Box<Message>),
    Refused(Refusal),
    /// Another node holds this room's clock: nothing done, send it again alone.
    Busy,
}

#[derive(Debug, Clone)]
pub struct Change {
    pub room: RoomId,
    pub actor: UserId,
    pub id: MessageId,
    pub what: ChangeWhat,
}

#[derive(Debug, Clone)]
pub enum ChangeWhat {
    /// By the author only.
    Edit(Content),
    /// By the author, a moderator or owner of the room, or an administrator of the site. Mentions and reactions go too.
    Delete,
    /// By whoever may send in the room.
    React(Emoji),
    /// Takes back one's own.
    Unreact(Emoji),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// Committed under a new `seq`; the message as it now is.
    Done(Box<Message>),
    /// It was already so; no `seq` was taken.
    Unchanged(Box<Message>),
    Refused(Refusal),
}

/// Certainly not done, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such room, deleted, or not visible to this user.
    NoRoom,
    Banned,
    Muted,
    /// The user's account is disabled.
    Disabled,
    /// The same nonce was used for other content.
    NonceReused,
    /// `reply_to` names no message of this room.
    NoReplyTarget,
    NoMessage,
    /// Neither author nor entitled by role.
    NotAllowed,
    /// A deleted message cannot be edited, nor reacted to.
    Gone,
    /// It has [`REACTION_KINDS_MAX`] kinds of reactions, and this would be another.
    TooManyKinds,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoRoom => Self::room_not_found(),
            Refusal::Banned => Self::Forbidden("you are banned from this room".into()),
            Refusal::Muted => Self::Forbidden("you are muted in this room".into()),
            Refusal::Disabled => Self::Forbidden("this account is disabled".into()),
            Refusal::NonceReused => Self::Conflict("this nonce was used for another message".into()),
            Refusal::NoReplyTarget => Self::invalid("reply_to", "names no message of this room"),
            Refusal::NoMessage => Self::NotFound("there is no such message".into()),
            Refusal::NotAllowed => Self::Forbidden("this message is not yours to change".into()),
            Refusal::Gone => Self::Conflict("this message is deleted".into()),
            Refusal::TooManyKinds => Self::Conflict(format!(
                "this message has {REACTION_KINDS_MAX} kinds of reactions already; give one of them"
            )),
        }
    }
}

/// How far a user has read in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub user: UserId,
    pub room: RoomId,
    pub seq: Seq,
}

/// A room that a user is a member of, as it stood when that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    pub user: UserId,
    pub room: RoomId,
    pub head: Seq,
    /// Something was changed there within the time that was asked for.
    pub stirred: bool,
}

/// What a member has not read in a room: see [`RoomInfo`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub user: UserId,
    pub room: RoomId,
    pub slug: Slug,
    pub last_read: Seq,
    pub unread: u32,
    pub mentions: u32,
}

/// What is searched for, and where.
#[derive(Debug, Clone)]
pub struct Search {
    pub user: UserId,
    pub query: Query,
    pub room: Option<RoomId>,
    pub before: Option<Before>,
    pub limit: u32,
}

/// Where a page of what was found goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// A message of the room that is searched.
    Message(MessageId),
    /// What a page before gave; one that is not understood begins anew.
    Cursor(String),
}

/// A message that was found, with the words of its text (in lower case) by which it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub slug: Slug,
    pub message: Message,
    pub words: HashSet<String>,
}

/// A room's clock, epoch and access version, read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub room: RoomId,
    pub seq: Seq,
    pub access: u64,
    pub epoch: Epoch,
    /// Messages with an id up to this one were removed by age ([`Store::purge_outdated`]).
    pub purged: MessageId,
}

/// Changes of a room and its head, read in one snapshot.
#[derive(Debug, Clone)]
pub struct Changes {
    pub head: Head,
    /// In order of `seq`, each message in its present state.
    pub changes: Vec<Message>,
    /// There are more after the last one given ([`Store::changes_after`]) or before the first one given
    /// ([`Store::recent_changes`]).
    pub more: bool,
}

/// A page of history, oldest first.
#[derive(Debug, Clone)]
pub struct History {
    pub messages: Vec<Message>,
    /// Messages with a smaller id than the first one given exist.
    pub older: bool,
    /// Messages with a larger id than the last one given exist.
    pub newer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    Latest,
    Before(MessageId),
    After(MessageId),
}

/// One node's row: that it lives, and whether it hears itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBeat {
    /// Random for each start of a process.
    pub incarnation: String,
    pub name: String,
    pub version: String,
    pub broker_ok: bool,
    pub draining: bool,
    /// Sockets and event streams that it has; `None`: it is of a release that does not say.
    pub sockets: Option<u32>,
}

/// What a node is told when it has written its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beaten {
    /// When that was, by the database's clock.
    pub at: Timestamp,
    pub nodes: Vec<NodeBeat>,
}

/// A database setting under which an ack would not be durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurabilityRisk {
    pub setting: String,
    pub value: String,
}

impl fmt::Display for DurabilityRisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.setting, self.value)
    }
}

/// Every call is bounded in time by the backend's own timeouts and fails with [`StoreError::Unavailable`] then.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // ---- the database itself

    /// Brings the schema up to date; one node at a time, the others wait.
    async fn migrate(&self) -> Result<()>;
    /// One trip to the primary.
    async fn ping(&self) -> Result<()>;
    /// Settings under which acknowledged messages could be lost; empty is good.
    async fn durability_risks(&self) -> Result<Vec<DurabilityRisk>>;

    // ---- users and login sessions

    /// `Taken("username")` when a name that looks like it exists ([`Username::lookalike`]), `Taken("issuer")` when issuer and subject do.
    async fn create_user(&self, new: NewUser) -> Result<User>;
    async fn account_by_name(&self, username: &Username) -> Result<Option<Account>>;
    async fn account_by_id(&self, user: UserId) -> Result<Option<Account>>;
    /// By issuer and subject; many in one trip, in order.
    async fn accounts_by_issuer(&self, names: &[(String, String)]) -> Result<Vec<Option<Account>>>;
    /// Ends the user's login sessions but `keep` too, with a [`Revoked::LoginSession`] each in the same transaction;
    /// none begun with the password of before comes after it. Those it ended; `None`: no such user.
    async fn set_password(&self, user: UserId, hash: &str, keep: Option<&str>) -> Result<Option<Vec<String>>>;
    /// Puts another hash of the same password in the place of `old`; login sessions go on. `false`, and nothing done,
    /// when `old` is not the user's any more.
    async fn renew_password_hash(&self, user: UserId, old: &str, new: &str) -> Result<bool>;
    /// Disabling ends the user's login sessions, and appends a [`Revoked::User`] and a [`Revoked::LoginSession`] of each
    /// in the same transaction, all of one time.
    /// `false`: no such user.
    async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<bool>;
    /// `false`, and nothing done, when the user was disabled or given another password since it was checked.
    async fn create_login_session(&self, new: NewLoginSession) -> Result<bool>;
    /// The user's login sessions that live, those seen last first, at most `limit`.
    async fn login_sessions(&self, user: UserId, limit: u32) -> Result<Vec<LoginSession>>;
    /// Ends it and appends a [`Revoked::LoginSession`] in the same transaction; `false`: it was not there.
    async fn end_login_session(&self, user: UserId, id: &str) -> Result<bool>;
    /// Spends a refresh token. Atomic: of many that spend one at the same time, on any node, one gets
    /// [`Rotation::Renewed`] and the others what it made.
    async fn rotate(&self, rotate: &Rotate) -> Result<Rotation>;
    /// The login sessions among `ids` that still live (not ended, not expired).
    async fn live_login_sessions(&self, ids: &[String]) -> Result<Vec<String>>;
    /// What was revoked within the last `window` by the database's own clock, oldest first: a page of at most `limit`,
    /// behind the row with the id `after` where one is given; a shorter page is the last. Overlapping windows give
    /// rows again; who reads keeps the ids, since rows can become visible out of order.
    async fn recent_revocations(&self, window: Duration, after: Option<i64>, limit: u32) -> Result<Vec<Revocation>>;

    // ---- rooms and members

    /// The owner becomes a member. `Taken("slug")`.
    async fn create_room(&self, new: NewRoom) -> Result<RoomInfo>;
    /// The room as this user sees it; `None`: it does not exist for them (absent, deleted, or private or direct and
    /// not theirs). A banned user of a public room sees it too: ask [`Store::access`] where it matters.
    async fn room(&self, user: UserId, room: &RoomRef) -> Result<Option<RoomInfo>>;
    /// Rooms the user may see, those they are a member of first, then public ones; each part by id.
    async fn rooms(&self, user: UserId, limit: u32, cursor: Option<&str>) -> Result<Page<RoomInfo>>;
    /// Rooms as users see them, many pairs in one trip, in order; `None` as in [`Store::room`]. Makes nobody a member.
    async fn rooms_seen(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Option<RoomInfo>>>;
    /// Raises the access version. `None`: no such room. Permission is the caller's to check.
    async fn update_room(&self, room: RoomId, changes: RoomChanges) -> Result<Option<()>>;
    /// Marks it deleted and raises its access version; its messages go later, in [`Store::purge`].
    /// `false`: it was not there.
    async fn delete_room(&self, room: RoomId) -> Result<bool>;
    /// Removes up to `limit` rows that nobody needs any more: login sessions that have expired (a revocation of each
    /// closes what sockets they have), revocations older than [`REVOCATION_LIFETIME`], bans, mutes and invitations that
    /// are over, additions older than [`ADDITION_LIFETIME`], then what is in deleted rooms. How many it removed.
    async fn purge(&self, limit: u32) -> Result<u64>;
    /// Rooms with messages older than `days`, or than what is set for the room: those among a page of `limit` rooms by id.
    async fn outdated(&self, days: Option<u32>, limit: u32, cursor: Option<&str>) -> Result<Page<RoomId>>;
    /// Removes up to `limit` of a room's oldest messages, of those that are older than that, with their mentions,
    /// reactions and words, under the clock's lock. Their `seq`s become holes; the clock stays. How many it removed.
    async fn purge_outdated(&self, room: RoomId, days: Option<u32>, limit: u32) -> Result<u64>;
    async fn members(&self, room: RoomId, limit: u32, cursor: Option<&str>) -> Result<Page<Member>>;
    /// Enters many rooms for many users in one trip: makes members where a room is public. Per pair, in order.
    async fn enter(&self, pairs: &[(UserId, RoomRef)]) -> Result<Vec<std::result::Result<RoomInfo, Refusal>>>;
    /// What users may do, many pairs in one trip, in order.
    async fn access(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Access>>;

    // ---- who may do what in a room

    /// Changes it under the clock's lock: no append that comes after it is judged by what was before.
    async fn moderate(&self, moderation: &Moderation) -> Result<Moderated>;
    /// The bans or mutes of a room that are in force.
    async fn sanctioned(
        &self,
        kind: SanctionKind,
        room: RoomId,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Sanctioned>>;
    /// Under the clock's lock, too.
    async fn create_invite(&self, new: &NewInvite) -> Result<Invited>;
    /// The open invitations of a room, oldest first, at most [`INVITES_OPEN_MAX`].
    async fn invites(&self, room: RoomId) -> Result<Vec<Invite>>;
    /// `false`: there is no such invitation.
    async fn withdraw_invite(&self, room: RoomId, id: InviteId) -> Result<bool>;
    /// Enters a room by an invitation. Of many who do at once, on any node, exactly as many get in as it has uses.
    async fn redeem_invite(&self, hash: &[u8], user: UserId) -> Result<Redeemed>;
    /// The direct room of two users, who must exist and be two; made with this slug when there is none, once,
    /// whoever asks at the same time. `Taken("slug")`.
    async fn direct_room(&self, asking: UserId, other: UserId, slug: &Slug) -> Result<Direct>;
    /// What rooms became somebody's within the last `window`, as [`Store::recent_revocations`] gives revocations.
    async fn recent_additions(&self, window: Duration, after: Option<AdditionId>, limit: u32) -> Result<Vec<Addition>>;

    // ---- messages

    /// Stores a batch durably in one round trip. Items of one room are numbered in the order given. A send to a
    /// public room makes its author a member. With `wait` false a room whose clock is locked elsewhere is not
    /// waited for: its items are [`Appended::Busy`]. Outcomes are in the order of the batch; one bad item never
    /// fails its neighbours. `Err(Unavailable)`: unknown; the same batch may be sent again.
    async fn append(&self, batch: &[Append], wait: bool) -> Result<Vec<Appended>>;
    /// Edits or deletes one message, or changes its reactions, under the room's clock lock.
    async fn change(&self, change: &Change) -> Result<Changed>;
    /// Changes with `seq > after`, at most `limit`, oldest first; `None`: no such room (or deleted).
    async fn changes_after(&self, room: RoomId, after: Seq, limit: u32) -> Result<Option<Changes>>;
    /// The latest `limit` changes by `seq`, oldest first; `None`: no such room (or deleted).
    async fn recent_changes(&self, room: RoomId, limit: u32) -> Result<Option<Changes>>;
    /// A page of messages by id, with the head of the same snapshot; `None`: no such room (or deleted).
    async fn history(&self, room: RoomId, around: Around, limit: u32) -> Result<Option<(Head, History)>>;
    async fn message(&self, room: RoomId, id: MessageId) -> Result<Option<Message>>;
    /// Heads of the rooms that exist and are not deleted, in any order, read on the primary.
    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<Head>>;
    /// Gives the room a new epoch and raises its access version, if its epoch is still `old`; the epoch in force
    /// afterwards. `None`: no such room.
    async fn renew_epoch(&self, room: RoomId, old: &Epoch) -> Result<Option<Epoch>>;

    // ---- reading

    /// Moves read marks of members, forwards only and not beyond the room's head; many in one trip. Those that moved,
    /// with where they are now.
    async fn move_marks(&self, marks: &[Mark]) -> Result<Vec<Mark>>;
    /// The rooms that users are members of, at most `limit` of each; `stirred` within the last `window`.
    async fn memberships(&self, users: &[UserId], limit: u32, window: Duration) -> Result<Vec<Membership>>;
    /// Of many pairs in one trip, in any order; only of those who are members and may read now.
    async fn unread(&self, pairs: &[(UserId, RoomId)]) -> Result<Vec<Unread>>;

    // ---- search

    /// Takes the words of what changed in these rooms since that was done last, `limit` changes at most; how many it
    /// was. A room that somebody else is at is left to them.
    async fn take_words(&self, rooms: &[RoomId], limit: u32) -> Result<u32>;
    /// Rooms in which something changed whose words were not taken yet, at most `limit`.
    async fn unworded(&self, limit: u32) -> Result<Vec<RoomId>>;
    /// Messages that the user may read now, by words that were taken and that their text still has; newest first.
    async fn search(&self, search: &Search) -> Result<Page<Found>>;

    // ---- administration

    /// Users in whose name this is, newest first. A page may hold less than `limit`, even nothing, and have a next one: at
    /// most [`SCANNED_MAX`] rows are gone through.
    async fn list_users(&self, part: &NamePart, limit: u32, cursor: Option<&str>) -> Result<Page<ListedUser>>;
    async fn listed_user(&self, user: UserId) -> Result<Option<ListedUser>>;
    /// Does it if `by` is an administrator then, and to none but others: whoever does what at the same time, one who is
    /// left stays. Disabling is as in [`Store::set_disabled`].
    async fn administer(&self, by: UserId, user: UserId, changes: AccountChanges) -> Result<Administered>;
    /// Rooms of all kinds in whose name or slug this is, in the same way.
    async fn list_rooms(&self, part: &NamePart, limit: u32, cursor: Option<&str>) -> Result<Page<ListedRoom>>;
    /// A room that is not deleted, whoever may see it.
    async fn locate_room(&self, room: &RoomRef) -> Result<Option<(RoomId, Slug, RoomKind)>>;
    /// Nodes whose rows were written within `window`, by name.
    async fn list_nodes(&self, window: Duration) -> Result<Vec<ListedNode>>;

    // ---- nodes

    /// Writes this node's row and gives all rows seen within `window` by the database's clock, this one included.
    async fn beat(&self, beat: &NodeBeat, window: Duration) -> Result<Beaten>;
    /// Removes this node's row on a clean exit.
    async fn forget_node(&self, incarnation: &str) -> Result<()>;
}
