//! Login sessions, and what was allowed and is not any more.

use std::time::Duration;

use crate::model::{Timestamp, User, UserId};

/// How long a revocation is kept: well beyond any access token from before it, and any outage of a node.
pub const REVOCATION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Spent refresh tokens of one login session that are still known as such, however fast they are spent.
pub const SPENT_TOKENS_MAX: u32 = 16;

/// A login session: one browser or program logged in by password.
#[derive(Clone)]
pub struct NewLoginSession {
    /// 128 random bits in hex; also the `sid` of its access tokens, and the first part of its refresh tokens.
    pub id: String,
    pub user: UserId,
    /// What the password was checked against: if it is another one by now, the check is worth nothing.
    pub password_hash: String,
    /// SHA-256 of the refresh token.
    pub refresh_hash: Vec<u8>,
    pub agent: String,
    pub address: String,
    pub lifetime: Duration,
}

/// A login session as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSession {
    pub id: String,
    pub created_at: Timestamp,
    /// When it began or was refreshed last.
    pub seen_at: Timestamp,
    /// Those of the log-in.
    pub address: String,
    pub agent: String,
}

/// Something that was allowed and is not any more. Rows are only ever appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    pub id: i64,
    pub at: Timestamp,
    pub what: Revoked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// A login session ended: its sockets close with 4501, its access tokens are refused.
    LoginSession(String),
    /// A user was disabled. Their login sessions have rows of their own, and their sockets close with 4503; what issuers
    /// vouched for until `at` is refused.
    User(UserId),
}

/// One refresh token to be spent for its successor. Only hashes (SHA-256) come here.
#[derive(Clone)]
pub struct Rotate {
    /// The login session that the token names.
    pub session: String,
    pub spent_hash: Vec<u8>,
    /// Of the token that is to take its place.
    pub successor_hash: Vec<u8>,
    /// How long a token that was spent still gets its successor.
    pub grace: Duration,
    /// How long the login session lives from now on.
    pub lifetime: Duration,
}

/// What became of a [`Rotate`]. All but `Unknown` and `Ended` count as the user being seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// It was the current token; the successor is now.
    Renewed { user: User },
    /// It was spent within the grace. The successor it got then has this hash: another one than the caller's when
    /// their keys differ.
    Repeated { user: User, successor_hash: Vec<u8> },
    /// It was spent before, so two hold what only one may: the login session was ended just now, and a
    /// [`Revoked::LoginSession`] appended in the same transaction.
    Ended { user: UserId },
    /// There is no such login session, it has expired, or its user is disabled.
    Unknown,
}
