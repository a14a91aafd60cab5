//! The outcomes a caller branches on. No status code and no driver type lives here: `http::problem` and the
//! WebSocket error frame each turn an [`Error`] into their own form, by [`Error::code`].

use std::time::Duration;

/// What an operation can end as, other than well.
///
/// For a send the difference between [`Error::Unavailable`] and everything else is a promise (G5): `Unavailable`
/// means "unknown, send again with the same nonce"; every other kind means "certainly not stored".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes were not what the protocol says (broken JSON, not an object).
    #[error("{0}")]
    Malformed(String),
    /// Nobody is logged in, or the proof of it is not (or no longer) accepted.
    #[error("{0}")]
    Unauthenticated(String),
    /// Wrong name or wrong password; which of them is never said.
    #[error("the username or the password is wrong")]
    InvalidCredentials,
    /// Logged in, but not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// It does not exist, or it does not exist *for this user*.
    #[error("{0}")]
    NotFound(String),
    /// The path exists, the method on it does not.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// It clashes with what is already there.
    #[error("{0}")]
    Conflict(String),
    /// Over a size bound.
    #[error("{0}")]
    TooLarge(String),
    /// The body is of a type that is not taken here.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// A value is wrong; `field` names it as the caller does.
    #[error("{field}: {why}")]
    Invalid { field: String, why: String },
    /// Too many of them; certainly not done. Come back after `retry_after`.
    #[error("too many requests: {what}")]
    RateLimited { what: String, retry_after: Duration },
    /// Not now, or unknown: trying again is safe.
    #[error("{0}")]
    Unavailable(String),
    /// A defect of ours. The text is for the log and never leaves the process.
    #[error("{0}")]
    Internal(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The fixed word programs branch on (the `code` of problems and error frames).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::InvalidCredentials => "invalid_credentials",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict(_) => "conflict",
            Self::TooLarge(_) => "too_large",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::Invalid { .. } => "invalid",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// The sentence for a person. Nothing internal is ever shown.
    pub fn detail(&self) -> String {
        match self {
            Self::Internal(_) => "something went wrong on our side".to_owned(),
            other => other.to_string(),
        }
    }

    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), why: why.into() }
    }

    pub fn room_not_found() -> Self {
        Self::NotFound("there is no such room".to_owned())
    }

    pub fn login_ended() -> Self {
        Self::Unauthenticated("this login has ended; log in again".to_owned())
    }

    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable(what.into())
    }
}
