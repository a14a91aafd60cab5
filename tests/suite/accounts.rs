//! Accounts over a real store: registering, logging in, users of the operator's issuers, and `salon user`.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use salon::auth::{Identity, Passwords, Tokens};
use salon::config::{Auth, Config, Limits};
use salon::error::Error;
use salon::model::{Timestamp, Username};
use salon::node::accounts::{Accounts, LoggedIn, Refreshed, Visitor};
use salon::store::{self, Revoked, Store};

use crate::cli::{err, out, salon};

const PASSWORD: &str = "correct horse battery";
const OLD_SECRET: &str = "the secret before, which is long enough";
const NEW_SECRET: &str = "the secret after, which is long enough";

struct Site {
    store: Arc<dyn Store>,
    accounts: Arc<Accounts>,
    _folder: tempfile::TempDir,
}

async fn site(limits: Limits) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.database.url = format!("sqlite:{}", folder.path().join("salon.db").display());
    let store = store::open(&config.database).unwrap();
    store.migrate().await.unwrap();
    let accounts = Arc::new(node(&store, &limits));
    Site { store, accounts, _folder: folder }
}

/// What one node has of accounts.
fn node(store: &Arc<dyn Store>, limits: &Limits) -> Accounts {
    node_with(store, limits, OLD_SECRET, None)
}

fn node_with(store: &Arc<dyn Store>, limits: &Limits, secret: &str, previous: Option<&str>) -> Accounts {
    let auth = Auth { previous_secret: previous.map(str::to_owned), ..Auth::default() };
    let tokens = Tokens::new(&auth, secret.as_bytes()).unwrap();
    let passwords = Passwords::new(2, 64).unwrap();
    Accounts::new(Arc::clone(store), passwords, tokens, limits, &Config::default().node)
}

fn visitor(address: &str) -> Visitor {
    Visitor { address: address.parse::<IpAddr>().unwrap(), agent: "test\n".repeat(90) }
}

fn code(outcome: Result<LoggedIn, Error>) -> &'static str {
    outcome.err().map_or("ok", |error| error.code())
}

async fn refreshed(accounts: &Accounts, token: &str) -> Result<LoggedIn, Error> {
    match accounts.refresh(token).await? {
        Refreshed::LoggedIn(login) => Ok(login),
        Refreshed::Ended { .. } => panic!("the login session was ended"),
    }
}

fn external(subject: &str, wished: Option<&str>) -> Identity {
    Identity::External {
        issuer: "own".into(),
        subject: subject.into(),
        wished_name: wished.map(str::to_owned),
        issued_at: None,
        expires_at: Timestamp::now().plus(Duration::from_secs(60)),
    }
}

async fn disable(store: &dyn Store, name: &str) {
    let account = store.account_by_name(&Username::parse(name).unwrap()).await.unwrap().unwrap();
    assert!(store.set_disabled(account.user.id, true).await.unwrap());
}

#[tokio::test]
async fn registering_logs_in_and_the_token_is_ones_own() {
    let site = site(Limits::default()).await;
    let alice = site.accounts.register("Alice", PASSWORD, &visitor("127.0.0.1")).await.unwrap();
    assert_eq!((alice.user.username.as_str(), alice.expires_in), ("Alice", 900));
    let live = site.store.live_login_sessions(std::slice::from_ref(&alice.session)).await.unwrap();
    assert_eq!(live, std::slice::from_ref(&alice.session));
    let identity = site.accounts.verify(&alice.access_token).unwrap();
    assert_eq!(identity.login_session(), Some(alice.session.as_str()));
    assert_eq!(site.accounts.resolve(identity).await.unwrap(), alice.user);

    let again = site.accounts.login("alice", PASSWORD, &visitor("127.0.0.1")).await.unwrap();
    assert_eq!(again.user, alice.user);
    assert_ne!(again.session, alice.session);
    assert_ne!(again.refresh_token, alice.refresh_token);
    assert!(site.store.end_login_session(alice.user.id, &alice.session).await.unwrap());
    let live = site.store.live_login_sessions(&[alice.session, again.session.clone()]).await.unwrap();
    assert_eq!(live, [again.session]);
}

#[tokio::test]
async fn names_and_passwords_that_may_not_be_are_refused() {
    let site = site(Limits::default()).await;
    let from = visitor("127.0.0.1");
    assert_eq!(code(site.accounts.register("alice", PASSWORD, &from).await), "ok");
    for (name, password, expected) in [
        ("ALICE", PASSWORD, "conflict"),
        ("admin", PASSWORD, "invalid"),
        ("no spaces", PASSWORD, "invalid"),
        ("bob", "short", "invalid"),
        ("bob", "password1", "invalid"),
    ] {
        assert_eq!(code(site.accounts.register(name, password, &from).await), expected, "{name} {password}");
    }
}

#[tokio::test]
async fn one_name_registered_twice_at_once_is_had_by_one() {
    let site = site(Limits::default()).await;
    let from = visitor("127.0.0.1");
    let (one, two) = tokio::join!(
        site.accounts.register("alice", PASSWORD, &from),
        site.accounts.register("Alice", PASSWORD, &from)
    );
    let mut codes = [code(one), code(two)];
    codes.sort_unstable();
    assert_eq!(codes, ["conflict", "ok"]);
}

#[tokio::test]
async fn wrong_name_wrong_password_and_no_password_answer_alike() {
    let site = site(Limits::default()).await;
    let from = visitor("127.0.0.1");
    site.accounts.register("alice", PASSWORD, &from).await.unwrap();
    site.accounts.resolve(external("u1", Some("carol"))).await.unwrap();
    for (name, password) in
        [("alice", "wrong"), ("nobody-here", PASSWORD), ("no name", PASSWORD), ("carol", PASSWORD), ("", "")]
    {
        let refused = site.accounts.login(name, password, &from).await.err();
        assert_eq!(refused, Some(Error::InvalidCredentials), "{name}");
    }
}

#[tokio::test]
async fn failed_tries_are_counted_for_an_account_and_an_address() {
    let limits = Limits { logins_per_minute_account: 3, logins_per_minute_address: 1_000, ..Limits::default() };
    let site = site(limits).await;
    let (here, there) = (visitor("192.0.2.1"), visitor("192.0.2.2"));
    site.accounts.register("alice", PASSWORD, &here).await.unwrap();
    // What succeeds is not counted.
    for _ in 0..5 {
        site.accounts.login("alice", PASSWORD, &here).await.unwrap();
    }
    // Many at once are not let through together.
    let tries = (0..8).map(|_| site.accounts.login("Alice", "wrong", &here));
    let outcomes: Vec<_> = futures_util::future::join_all(tries).await.into_iter().map(code).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "invalid_credentials").count(), 3, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "rate_limited").count(), 5, "{outcomes:?}");
    let Some(Error::RateLimited { retry_after, .. }) = site.accounts.login("alice", PASSWORD, &here).await.err() else {
        panic!("must be limited")
    };
    assert!(retry_after > Duration::from_secs(1) && retry_after < Duration::from_secs(21), "{retry_after:?}");
    site.accounts.login("alice", PASSWORD, &there).await.expect("other addresses are not touched");
    assert_eq!(code(site.accounts.login("bob", "wrong", &here).await), "invalid_credentials");
}

#[tokio::test]
async fn all_tries_are_counted_for_an_address() {
    let limits = Limits { logins_per_minute_address: 3, ..Limits::default() };
    let site = site(limits).await;
    site.accounts.register("alice", PASSWORD, &visitor("2001:db8::1")).await.unwrap();
    for _ in 0..3 {
        site.accounts.login("alice", PASSWORD, &visitor("2001:db8::1")).await.unwrap();
    }
    let neighbour = site.accounts.login("alice", PASSWORD, &visitor("2001:db8::2")).await;
    assert_eq!(code(neighbour), "rate_limited", "a /64 of IPv6 is one address");
    assert_eq!(code(site.accounts.login("alice", PASSWORD, &visitor("2001:db9::1")).await), "ok");
}

#[tokio::test]
async fn a_disabled_user_is_told_only_with_the_right_password() {
    let site = site(Limits::default()).await;
    let from = visitor("127.0.0.1");
    let alice = site.accounts.register("alice", PASSWORD, &from).await.unwrap();
    disable(site.store.as_ref(), "alice").await;
    assert_eq!(code(site.accounts.login("alice", PASSWORD, &from).await), "unauthenticated");
    assert_eq!(code(site.accounts.login("alice", "wrong", &from).await), "invalid_credentials");
    assert!(site.store.live_login_sessions(&[alice.session]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refresh_goes_on_with_the_same_login_session() {
    let site = site(Limits::default()).await;
    let alice = site.accounts.register("alice", PASSWORD, &visitor("127.0.0.1")).await.unwrap();
    let next = refreshed(&site.accounts, &alice.refresh_token).await.unwrap();
    assert_eq!((&next.user, &next.session, next.expires_in), (&alice.user, &alice.session, 900));
    assert_ne!(next.refresh_token, alice.refresh_token);
    let identity = site.accounts.verify(&next.access_token).unwrap();
    assert_eq!(identity.login_session(), Some(alice.session.as_str()));
    let again = refreshed(&site.accounts, &alice.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, next.refresh_token);
    for wrong in ["", "x", &next.access_token, &next.refresh_token[..40]] {
        assert_eq!(code(refreshed(&site.accounts, wrong).await), "unauthenticated", "{wrong}");
    }
    disable(site.store.as_ref(), "alice").await;
    assert_eq!(code(refreshed(&site.accounts, &next.refresh_token).await), "unauthenticated");
}

#[tokio::test]
async fn while_the_secret_is_changed_on_one_node_after_the_other_nobody_is_logged_out() {
    let site = site(Limits::default()).await;
    let limits = Limits::default();
    let (old, new) = (&site.accounts, node_with(&site.store, &limits, NEW_SECRET, Some(OLD_SECRET)));
    let alice = old.register("alice", PASSWORD, &visitor("127.0.0.1")).await.unwrap();
    // Spent at a node of before, and shown again at one of after.
    let next = refreshed(old, &alice.refresh_token).await.unwrap();
    assert_eq!(refreshed(&new, &alice.refresh_token).await.unwrap().refresh_token, next.refresh_token);
    // The other way round the node of before cannot know it; another node will.
    let last = refreshed(&new, &next.refresh_token).await.unwrap();
    assert_eq!(code(refreshed(old, &next.refresh_token).await), "unavailable");
    assert_eq!(refreshed(&new, &next.refresh_token).await.unwrap().refresh_token, last.refresh_token);
    assert_eq!(code(refreshed(old, &last.refresh_token).await), "ok");
}

#[tokio::test]
async fn a_user_of_an_issuer_is_made_at_first_sight_and_never_a_local_one() {
    let site = site(Limits::default()).await;
    let alice = site.accounts.register("alice", PASSWORD, &visitor("127.0.0.1")).await.unwrap();
    let other = site.accounts.resolve(external("u1", Some("alice"))).await.unwrap();
    assert_ne!(other.id, alice.user.id);
    assert!(other.username.as_str().starts_with("alice-"), "{}", other.username);
    assert_eq!(site.accounts.resolve(external("u1", Some("renamed"))).await.unwrap(), other);
    // A subject that looks like somebody's name or id is nobody but itself.
    for subject in ["alice", &alice.user.id.0.to_string()] {
        assert_ne!(site.accounts.resolve(external(subject, None)).await.unwrap().id, alice.user.id);
    }
    let admin = site.accounts.resolve(external("u2", Some("admin"))).await.unwrap();
    assert!(admin.username.as_str().starts_with("admin-"), "{}", admin.username);
    assert_eq!(site.accounts.resolve(external("u3", Some("bob"))).await.unwrap().username.as_str(), "bob");
}

#[tokio::test]
async fn nodes_that_see_a_user_at_once_make_one() {
    let site = site(Limits::default()).await;
    let nodes: Vec<_> = (0..4).map(|_| node(&site.store, &Limits::default())).collect();
    let seen = nodes.iter().flat_map(|node| (0..4).map(move |_| node.resolve(external("u1", Some("bob")))));
    let users: Vec<_> = futures_util::future::join_all(seen).await.into_iter().map(Result::unwrap).collect();
    assert!(users.windows(2).all(|pair| pair[0] == pair[1]), "{users:?}");
    assert_eq!(users[0].username.as_str(), "bob");
}

#[tokio::test]
async fn a_disabled_user_of_an_issuer_is_refused_once_forgotten() {
    let site = site(Limits::default()).await;
    let bob = site.accounts.resolve(external("u1", Some("bob"))).await.unwrap();
    disable(site.store.as_ref(), "bob").await;
    assert!(site.accounts.resolve(external("u1", None)).await.is_ok(), "remembered for a minute");
    site.accounts.forget(bob.id);
    assert_eq!(site.accounts.resolve(external("u1", None)).await.unwrap_err().code(), "unauthenticated");
}

fn run(folder: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let output = salon(folder, arguments, &[], input);
    (output.status.code(), out(&output) + &err(&output))
}

#[tokio::test]
async fn users_are_managed_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let password = format!("{PASSWORD}\n");
    assert_eq!(run(folder.path(), &["migrate"], "").0, Some(0));
    let (code, text) = run(folder.path(), &["user", "add", "admin", "--admin"], &password);
    assert_eq!((code, text.as_str()), (Some(0), "admin admin was made\n"));
    assert_eq!(run(folder.path(), &["user", "add", "alice"], &password).0, Some(0));
    let (code, text) = run(folder.path(), &["user", "add", "Alice"], &password);
    assert_eq!(code, Some(1));
    assert!(text.contains("taken"), "{text}");
    assert_eq!(run(folder.path(), &["user", "passwd", "alice"], "another long password\n").0, Some(0));
    assert_eq!(run(folder.path(), &["user", "passwd", "nobody-here"], &password).0, Some(1));
    assert_eq!(run(folder.path(), &["user", "disable", "nobody-here"], "").0, Some(1));
    assert_eq!(run(folder.path(), &["user", "enable", "nobody-here"], "").0, Some(1));
}

#[tokio::test]
async fn disabling_and_enabling_beside_a_running_node_reach_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.database.url = format!("sqlite:{}", folder.path().join("data/salon.db").display());
    let store = store::open(&config.database).unwrap();
    store.migrate().await.unwrap();
    let accounts = node(&store, &Limits::default());
    let alice = accounts.register("alice", PASSWORD, &visitor("127.0.0.1")).await.unwrap();

    let (code, text) = run(folder.path(), &["user", "disable", "ALICE"], "");
    assert_eq!((code, text.as_str()), (Some(0), "alice is disabled\n"));
    let revoked = store.recent_revocations(Duration::from_secs(60), None, 100).await.unwrap();
    assert!(revoked.iter().any(|revocation| revocation.what == Revoked::User(alice.user.id)), "{revoked:?}");
    assert_eq!(run(folder.path(), &["user", "passwd", "alice"], "another long password\n").0, Some(0));
    let visitor = visitor("127.0.0.1");
    let again = || accounts.login("alice", "another long password", &visitor);
    assert_eq!(again().await.map(|_| ()).unwrap_err().code(), "unauthenticated");
    let (code, text) = run(folder.path(), &["user", "enable", "Alice"], "");
    assert_eq!((code, text.as_str()), (Some(0), "alice is enabled\n"));
    assert!(again().await.is_ok());
}
