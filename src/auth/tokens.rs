//! Access tokens: salon's own, which it signs and checks, and those of the operator's issuers, which it only checks.
//!
//! A token never chooses how it is checked. Every key belongs to one algorithm; key material and key names in a
//! token's header are not looked at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use super::issuers::Issuers;
use super::refresh::Successors;
use crate::config::{Auth, ConfigError};
use crate::error::{Error, Result};
use crate::model::{SiteRole, Timestamp, User, UserId, Username};

/// How long an access token of salon's own lives.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How far clocks may differ.
pub(super) const LEEWAY_S: u64 = 5;

/// How far ahead of ours the clock of the node may be that issued a token. One from further ahead would outlive what is
/// remembered of ended login sessions and disabled accounts.
const AHEAD_S: i64 = 50;

const TOKEN_BYTES_MAX: usize = 8_192;
const OWN: &str = "salon";
const ACCESS: &str = "access";

/// Who a token says its bearer is. Whether the login session still lives or the user was disabled since is not the
/// token's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Logged in here by password.
    Local {
        user: User,
        /// The login session's id.
        session: String,
        issued_at: Timestamp,
        expires_at: Timestamp,
    },
    /// Known by an issuer of the operator's: `issuer` (its name in the configuration) and `subject` together.
    External {
        issuer: String,
        subject: String,
        wished_name: Option<String>,
        issued_at: Option<Timestamp>,
        expires_at: Timestamp,
    },
}

/// Mints and verifies. Verifying costs a signature check or two and asks nobody.
pub struct Tokens {
    signing: EncodingKey,
    /// The current secret, then the previous one.
    accepted: Vec<DecodingKey>,
    validation: Validation,
    issuers: Issuers,
    /// Of refresh tokens, by the same secrets.
    pub successors: Successors,
}

/// Why a key did not accept a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// Signed with this key and in order, but for its time.
    Expired,
    Other,
}

#[derive(Serialize, Deserialize)]
struct AccessClaims {
    iss: String,
    /// The user's id; a string, as the standard has it.
    sub: String,
    name: String,
    role: SiteRole,
    sid: String,
    typ: String,
    iat: i64,
    exp: i64,
}

impl Identity {
    pub fn expires_at(&self) -> Timestamp {
        match self {
            Self::Local { expires_at, .. } | Self::External { expires_at, .. } => *expires_at,
        }
    }

    /// `None`: its issuer did not say.
    pub fn issued_at(&self) -> Option<Timestamp> {
        match self {
            Self::Local { issued_at, .. } => Some(*issued_at),
            Self::External { issued_at, .. } => *issued_at,
        }
    }

    /// The login session, for those who logged in here.
    pub fn login_session(&self) -> Option<&str> {
        match self {
            Self::Local { session, .. } => Some(session),
            Self::External { .. } => None,
        }
    }
}

impl Tokens {
    /// `secret` is what [`super::secret::resolve`] found. The error names the issuer's key that cannot be used.
    pub fn new(auth: &Auth, secret: &[u8]) -> Result<Self, ConfigError> {
        let previous = auth.previous_secret.as_ref().map(String::as_bytes);
        let own: Vec<&[u8]> = std::iter::once(secret).chain(previous).collect();
        let issuers = Issuers::new(&auth.issuers)?;
        issuers.refuse_keys(&own)?;
        Ok(Self {
            signing: EncodingKey::from_secret(secret),
            accepted: own.into_iter().map(DecodingKey::from_secret).collect(),
            validation: own_validation(),
            issuers,
            successors: Successors::new(secret, previous),
        })
    }

    /// An access token for this login session, and how many seconds it lives.
    pub fn mint(&self, user: &User, session: &str) -> Result<(String, u64)> {
        let now = now_s();
        let lifetime_s = ACCESS_LIFETIME.as_secs();
        let claims = AccessClaims {
            iss: OWN.to_owned(),
            sub: user.id.0.to_string(),
            name: user.username.as_str().to_owned(),
            role: user.role,
            sid: session.to_owned(),
            typ: ACCESS.to_owned(),
            iat: now,
            exp: now.saturating_add_unsigned(lifetime_s),
        };
        let header = Header { kid: Some(OWN.to_owned()), ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims, &self.signing)
            .map_err(|error| Error::Internal(format!("signing an access token: {error}")))?;
        Ok((token, lifetime_s))
    }

    /// Who the token's bearer is; [`Error::Unauthenticated`] when no key accepts it, without saying why beyond its
    /// having expired.
    pub fn verify(&self, token: &str) -> Result<Identity> {
        let not_accepted = || Error::Unauthenticated("the token is not accepted".to_owned());
        if token.len() > TOKEN_BYTES_MAX {
            return Err(not_accepted());
        }
        let header = decode_header(token).map_err(|_| not_accepted())?;
        // Extensions that must be understood, and are not.
        if header.crit.is_some() {
            return Err(not_accepted());
        }
        let mut expired = false;
        let own = self.accepted.iter().map(|key| self.verify_own(token, key));
        for outcome in own.chain(self.issuers.verify(token, header.alg)) {
            match outcome {
                Ok(identity) => return Ok(identity),
                Err(mismatch) => expired |= mismatch == Mismatch::Expired,
            }
        }
        if expired { Err(Error::Unauthenticated("the token has expired".to_owned())) } else { Err(not_accepted()) }
    }

    fn verify_own(&self, token: &str, key: &DecodingKey) -> Result<Identity, Mismatch> {
        let claims = decode::<AccessClaims>(token, key, &self.validation)?.claims;
        let user = claims.sub.parse().map_err(|_| Mismatch::Other)?;
        let ahead = claims.iat > now_s().saturating_add(AHEAD_S);
        if claims.typ != ACCESS || claims.iss != OWN || ahead {
            return Err(Mismatch::Other);
        }
        Ok(Identity::Local {
            user: User { id: UserId(user), username: Username::from_stored(claims.name), role: claims.role },
            session: claims.sid,
            issued_at: Timestamp(claims.iat.saturating_mul(1_000)),
            expires_at: Timestamp(claims.exp.saturating_mul(1_000)),
        })
    }
}

impl From<jsonwebtoken::errors::Error> for Mismatch {
    /// Claims are looked at only after the signature was right, so `Expired` tells a stranger nothing.
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        match error.kind() {
            ErrorKind::ExpiredSignature => Self::Expired,
            _ => Self::Other,
        }
    }
}

/// The library's defaults are not ours: a minute of leeway, `nbf` not looked at.
pub(super) fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_S;
    validation.validate_exp = true;
    validation.validate_nbf = true;
    validation
}

fn own_validation() -> Validation {
    let mut own = validation(Algorithm::HS256);
    own.set_required_spec_claims(&["exp", "iss", "sub"]);
    own.set_issuer(&[OWN]);
    // With no audience set, a token that names one is refused.
    own.validate_aud = true;
    own
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"the-secret-of-these-tests-is-long-enough";

    fn alice() -> User {
        User { id: UserId(7), username: Username::parse("alice").unwrap(), role: SiteRole::Admin }
    }

    #[test]
    fn a_minted_token_tells_who_it_was_minted_for() {
        let tokens = Tokens::new(&Auth::default(), SECRET).unwrap();
        let (token, expires_in) = tokens.mint(&alice(), "s1").unwrap();
        assert_eq!(expires_in, 900);
        let identity = tokens.verify(&token).unwrap();
        let Identity::Local { user, session, issued_at, expires_at } = identity else { panic!("{identity:?}") };
        assert_eq!((user, session.as_str()), (alice(), "s1"));
        assert_eq!(expires_at.0 - issued_at.0, 900_000);
        assert!((Timestamp::now().0 - issued_at.0).abs() < 5_000);
        assert_eq!(decode_header(&token).unwrap().kid.as_deref(), Some("salon"));
    }

    #[test]
    fn a_token_from_the_future_is_not_taken() {
        let tokens = Tokens::new(&Auth::default(), SECRET).unwrap();
        for (ahead, taken) in [(AHEAD_S - 5, true), (AHEAD_S + 5, false), (3_600, false)] {
            let iat = now_s() + ahead;
            let claims = AccessClaims {
                iss: OWN.to_owned(),
                sub: "7".to_owned(),
                name: "alice".to_owned(),
                role: SiteRole::User,
                sid: "s1".to_owned(),
                typ: ACCESS.to_owned(),
                iat,
                exp: iat + 900,
            };
            let token = encode(&Header::new(Algorithm::HS256), &claims, &tokens.signing).unwrap();
            assert_eq!(tokens.verify(&token).is_ok(), taken, "{ahead} s ahead");
        }
    }

    #[test]
    fn the_previous_secret_is_accepted_and_signs_nothing() {
        let old = Tokens::new(&Auth::default(), SECRET).unwrap();
        let (token, _) = old.mint(&alice(), "s1").unwrap();
        let next = b"the-next-secret-is-long-enough-as-well";
        let without = Tokens::new(&Auth::default(), next).unwrap();
        assert_eq!(without.verify(&token).unwrap_err().code(), "unauthenticated");
        let previous_secret = Some(String::from_utf8(SECRET.to_vec()).unwrap());
        let with = Tokens::new(&Auth { previous_secret, ..Auth::default() }, next).unwrap();
        with.verify(&token).unwrap();
        let (fresh, _) = with.mint(&alice(), "s1").unwrap();
        assert!(old.verify(&fresh).is_err());
    }
}
