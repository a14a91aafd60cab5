//! Accounts: registering, logging in, staying logged in, passwords, and which user a token stands for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::gather::Gather;
use super::limits::{Buckets, network};
use super::recent::Recent;
use super::wished_name;
use crate::auth::refresh::{LOGIN_SESSION_LIFETIME, REFRESH_GRACE, RefreshToken, new_login_session_id};
use crate::auth::{Identity, Passwords, Tokens, check_password, is_weak_hash};
use crate::config::{Limits, Node};
use crate::error::{Error, Result};
use crate::model::{SiteRole, User, UserId, Username};
use crate::store::{Account, Credential, LoginSession, NewLoginSession, NewUser, Rotate, Rotation, Store, StoreError};
use crate::telemetry::metric;

/// Who asks to be let in: kept with the login session, for its owner to recognise it.
pub struct Visitor {
    /// The client's, already seen through trusted proxies.
    pub address: IpAddr,
    /// `User-Agent`, as it came.
    pub agent: String,
}

/// A login session just begun or refreshed. It has no `Debug`: its tokens must not come into a log.
pub struct LoggedIn {
    pub user: User,
    /// The login session's id.
    pub session: String,
    pub access_token: String,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    pub refresh_token: String,
}

/// What became of a refresh token that was shown.
pub enum Refreshed {
    LoggedIn(LoggedIn),
    /// Two held what only one may: the login session was ended in the store, and its nodes are to be told.
    Ended {
        user: UserId,
        session: String,
    },
}

/// The use cases of accounts, and the limits on trying passwords. One for a node.
pub struct Accounts {
    store: Arc<dyn Store>,
    passwords: Passwords,
    tokens: Tokens,
    /// All tries, by address.
    tries: Buckets<IpAddr>,
    /// All registrations, by address.
    registrations: Buckets<IpAddr>,
    /// Failed tries, by account and address.
    failures: Buckets<(String, IpAddr)>,
    /// By issuer and subject.
    known: Mutex<Recent<(String, String), Known>>,
    lookups: Arc<Gather<(String, String), Option<Account>>>,
}

/// Whose password was right, and what it was checked against.
struct Proven {
    user: User,
    password_hash: String,
}

/// A user of an issuer's, as the store gave it.
struct Known {
    user: User,
    at: Instant,
}

/// How long a user of an issuer's is known without asking the store again.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// Names tried for a user of an issuer's; with a random tail each, a third is hardly ever needed.
const NAMES_TRIED: usize = 6;
const AGENT_CHARS_MAX: usize = 200;
/// Login sessions told to their user at once, those seen last; more are there for programs that never log out.
const LOGIN_SESSIONS_TOLD_MAX: u32 = 200;
/// How much of a name that cannot be one is looked at when tries are counted.
const TRIED_NAME_CHARS_MAX: usize = 64;

impl Accounts {
    pub fn new(store: Arc<dyn Store>, passwords: Passwords, tokens: Tokens, limits: &Limits, node: &Node) -> Self {
        let lookups = {
            let store = store.clone();
            Gather::new(move |names: Vec<(String, String)>| {
                let store = store.clone();
                async move { store.accounts_by_issuer(&names).await }
            })
        };
        Self {
            store,
            passwords,
            tokens,
            tries: Buckets::per_minute(limits.logins_per_minute_address, node.limiter_entries),
            registrations: Buckets::per_minute(limits.registrations_per_minute_address, node.limiter_entries),
            failures: Buckets::per_minute(limits.logins_per_minute_account, node.limiter_entries),
            known: Mutex::new(Recent::new(node.identity_entries)),
            lookups,
        }
    }

    /// Makes an account and logs it in. [`Error::Conflict`] when the name, or one that looks like it, is taken.
    /// [`Error::RateLimited`] after too many from one address.
    pub async fn register(&self, username: &str, password: &str, visitor: &Visitor) -> Result<LoggedIn> {
        let username = Username::parse(username)?;
        if username.is_reserved() {
            return Err(Error::invalid("username", "is reserved"));
        }
        check_password(password, &username)?;
        self.registrations
            .take(network(visitor.address))
            .map_err(|retry_after| too_many("registrations from this address", retry_after))?;
        // Asked before the hash, which is dear; whether it is still free is decided by the insertion.
        if self.store.account_by_name(&username).await?.is_some() {
            return Err(StoreError::Taken("username").into());
        }
        let hash = self.passwords.hash(password.to_owned()).await?;
        let credential = Credential::Password { hash: hash.clone() };
        let user = self.store.create_user(NewUser { username, credential, role: SiteRole::User }).await?;
        self.begin(Proven { user, password_hash: hash }, visitor).await
    }

    /// [`Error::InvalidCredentials`] for a wrong name and a wrong password alike, after the same time.
    /// [`Error::RateLimited`] after too many tries, without looking at the password.
    pub async fn login(&self, username: &str, password: &str, visitor: &Visitor) -> Result<LoggedIn> {
        let outcome = self.try_login(username, password, visitor).await;
        let word = outcome.as_ref().map_or_else(Error::code, |_| "ok");
        metrics::counter!(metric::LOGINS, "outcome" => word).increment(1);
        outcome
    }

    /// Spends a refresh token for its successor and an access token. [`Error::Unauthenticated`] when it is none of ours
    /// or its login session is over; [`Error::Unavailable`] also when a node with another secret has spent it just now.
    pub async fn refresh(&self, token: &str) -> Result<Refreshed> {
        let spent = RefreshToken::parse(token).ok_or_else(Error::login_ended)?;
        let successor = self.tokens.successors.next(&spent);
        let rotate = Rotate {
            session: spent.session().to_owned(),
            spent_hash: spent.hash(),
            successor_hash: successor.hash(),
            grace: REFRESH_GRACE,
            lifetime: LOGIN_SESSION_LIFETIME,
        };
        let (user, successor) = match self.store.rotate(&rotate).await? {
            Rotation::Renewed { user } => (user, successor),
            Rotation::Repeated { user, successor_hash } => {
                let made = self.tokens.successors.made(&spent, &successor_hash);
                (user, made.ok_or_else(|| Error::unavailable("another node has just renewed this; try again"))?)
            }
            Rotation::Ended { user } => return Ok(Refreshed::Ended { user, session: rotate.session }),
            Rotation::Unknown => return Err(Error::login_ended()),
        };
        self.logged_in(user, rotate.session, successor).map(Refreshed::LoggedIn)
    }

    /// Sets a user's own password and ends their login sessions but the one that asks, in the store; those it ended.
    /// A wrong `current` is [`Error::InvalidCredentials`] and counts as a failed log-in.
    pub async fn change_password(
        &self,
        (user, session): (&User, &str),
        current: &str,
        new: &str,
        visitor: &Visitor,
    ) -> Result<Vec<String>> {
        check_password(new, &user.username).map_err(|error| match error {
            Error::Invalid { why, .. } => Error::invalid("new", why),
            other => other,
        })?;
        let Proven { user, .. } = self.prove(user.username.as_str(), current, visitor).await?;
        let hash = self.passwords.hash(new.to_owned()).await?;
        self.store.set_password(user.id, &hash, Some(session)).await?.ok_or(Error::InvalidCredentials)
    }

    /// The user's login sessions, those seen last first.
    pub async fn login_sessions(&self, user: UserId) -> Result<Vec<LoginSession>> {
        Ok(self.store.login_sessions(user, LOGIN_SESSIONS_TOLD_MAX).await?)
    }

    /// What a token says, by its signature alone. Whether it was withdrawn since is the node's to know.
    pub fn verify(&self, token: &str) -> Result<Identity> {
        self.tokens.verify(token)
    }

    /// The user a token stands for. A user of an issuer's is looked up, and made at first sight; remembered for a
    /// minute, so call [`Accounts::forget`] when one is disabled.
    pub async fn resolve(&self, identity: Identity) -> Result<User> {
        let (issuer, subject, wished) = match identity {
            Identity::Local { user, .. } => return Ok(user),
            Identity::External { issuer, subject, wished_name, .. } => (issuer, subject, wished_name),
        };
        let key = (issuer, subject);
        if let Some(user) = self.recall(&key) {
            return Ok(user);
        }
        let user = match self.lookups.ask(key.clone()).await? {
            Some(account) => enabled(account)?,
            None => self.make(&key, wished.as_deref()).await?,
        };
        let known = Known { user: user.clone(), at: Instant::now() };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, known);
        Ok(user)
    }

    /// To be called when a user was disabled: asks the store again at the next token.
    pub fn forget(&self, user: UserId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, known| known.user.id != user);
    }

    async fn try_login(&self, username: &str, password: &str, visitor: &Visitor) -> Result<LoggedIn> {
        let mut proven = self.prove(username, password, visitor).await?;
        self.renew_hash(&mut proven, password).await;
        match self.begin(proven, visitor).await {
            // Since it was checked another log-in has renewed the hash, or the password was changed: looked at anew.
            Err(Error::InvalidCredentials) => self.begin(self.prove(username, password, visitor).await?, visitor).await,
            begun => begun,
        }
    }

    /// A hash that cost less than today's is made anew now that its password is known; its login sessions go on. When
    /// that fails nothing is lost: the next log-in tries again.
    async fn renew_hash(&self, proven: &mut Proven, password: &str) {
        if !is_weak_hash(&proven.password_hash) {
            return;
        }
        let Ok(hash) = self.passwords.hash(password.to_owned()).await else { return };
        match self.store.renew_password_hash(proven.user.id, &proven.password_hash, &hash).await {
            Ok(true) => proven.password_hash = hash,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a weak password hash could not be renewed"),
        }
    }

    /// Checks name and password, within the limits on trying them.
    async fn prove(&self, username: &str, password: &str, visitor: &Visitor) -> Result<Proven> {
        let address = network(visitor.address);
        self.tries.take(address).map_err(|retry_after| too_many("log-ins from this address", retry_after))?;
        let username = Username::parse(username).map_err(|_| username);
        let counted = match &username {
            Ok(name) => name.key(),
            Err(text) => text.chars().take(TRIED_NAME_CHARS_MAX).collect(),
        };
        // Taken before it is known whether the try fails, or many at once would all be let through.
        let counted = (counted, address);
        self.failures
            .take(counted.clone())
            .map_err(|retry_after| too_many("failed log-ins to this account", retry_after))?;
        let outcome = self.account(username.ok(), password).await;
        if !matches!(outcome, Err(Error::InvalidCredentials)) {
            self.failures.give_back(&counted);
        }
        let (account, password_hash) = outcome?;
        Ok(Proven { user: enabled(account)?, password_hash })
    }

    /// The account that has this name and password; always takes one verification, whatever is wrong.
    async fn account(&self, username: Option<Username>, password: &str) -> Result<(Account, String)> {
        let account = match &username {
            Some(username) => self.store.account_by_name(username).await?,
            None => None,
        };
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let right = self.passwords.verify(password.to_owned(), hash.clone()).await?;
        account.zip(hash).filter(|_| right).ok_or(Error::InvalidCredentials)
    }

    async fn begin(&self, Proven { user, password_hash }: Proven, visitor: &Visitor) -> Result<LoggedIn> {
        let session = new_login_session_id();
        let refresh = RefreshToken::random(&session);
        let new = NewLoginSession {
            id: session.clone(),
            user: user.id,
            password_hash,
            refresh_hash: refresh.hash(),
            agent: visitor.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect(),
            address: visitor.address.to_canonical().to_string(),
            lifetime: LOGIN_SESSION_LIFETIME,
        };
        if !self.store.create_login_session(new).await? {
            return Err(Error::InvalidCredentials);
        }
        self.logged_in(user, session, refresh)
    }

    fn logged_in(&self, user: User, session: String, refresh: RefreshToken) -> Result<LoggedIn> {
        let (access_token, expires_in) = self.tokens.mint(&user, &session)?;
        Ok(LoggedIn { user, session, access_token, expires_in, refresh_token: refresh.into_string() })
    }

    fn recall(&self, key: &(String, String)) -> Option<User> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_mut(key).filter(|known| known.at.elapsed() < KNOWN_FOR).map(|known| known.user.clone())
    }

    /// Another node, or another socket of this one, may be making the same user: whoever comes second takes the
    /// first one's.
    async fn make(&self, key: &(String, String), wished: Option<&str>) -> Result<User> {
        let (issuer, subject) = key;
        for username in wished_name::candidates(wished.unwrap_or(subject)).take(NAMES_TRIED) {
            let credential = Credential::Issuer { issuer: issuer.clone(), subject: subject.clone() };
            match self.store.create_user(NewUser { username, credential, role: SiteRole::User }).await {
                Ok(user) => return Ok(user),
                Err(StoreError::Taken(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(account) = self.lookups.ask(key.clone()).await? {
                return enabled(account);
            }
        }
        Err(Error::unavailable("no free username was found; try again"))
    }
}

fn enabled(account: Account) -> Result<User> {
    if account.disabled {
        return Err(Error::Unauthenticated("this account is disabled".to_owned()));
    }
    Ok(account.user)
}

fn too_many(what: &str, retry_after: Duration) -> Error {
    Error::RateLimited { what: what.to_owned(), retry_after }
}
