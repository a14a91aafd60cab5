//! Login sessions: how they begin, go on by their refresh tokens, and end; and what tells of it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use salon::model::*;
use salon::store::*;

use super::bed::Bed;

const HOUR: Duration = Duration::from_secs(3_600);

/// What every user of a bed has.
const PASSWORD_HASH: &str = "$hash";

/// Its refresh token is `{id}0`.
fn login_session(user: &User, id: &str, lifetime: Duration) -> NewLoginSession {
    NewLoginSession {
        id: id.to_owned(),
        user: user.id,
        password_hash: PASSWORD_HASH.into(),
        refresh_hash: format!("{id}0").into_bytes(),
        agent: "a browser".into(),
        address: "192.0.2.1".into(),
        lifetime,
    }
}

async fn begin(bed: &Bed, user: &User, id: &str) {
    assert!(bed.create_login_session(login_session(user, id, HOUR)).await.unwrap(), "{id} did not begin");
}

async fn live(bed: &Bed, ids: &[&str]) -> Vec<String> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let mut live = bed.live_login_sessions(&ids).await.unwrap();
    live.sort();
    live
}

async fn told(bed: &Bed) -> Vec<Revoked> {
    bed.recent_revocations(HOUR, None, 100).await.unwrap().into_iter().map(|revocation| revocation.what).collect()
}

fn ended(id: &str) -> Revoked {
    Revoked::LoginSession(id.into())
}

/// The token's number `spent` of a login session is spent for number `successor`.
fn spending(id: &str, spent: u32, successor: u32) -> Rotate {
    Rotate {
        session: id.into(),
        spent_hash: format!("{id}{spent}").into_bytes(),
        successor_hash: format!("{id}{successor}").into_bytes(),
        grace: HOUR,
        lifetime: HOUR,
    }
}

async fn rotate(bed: &Bed, rotate: Rotate) -> Rotation {
    bed.rotate(&rotate).await.unwrap()
}

fn renewed(user: &User) -> Rotation {
    Rotation::Renewed { user: user.clone() }
}

fn repeated(user: &User, successor: &str) -> Rotation {
    Rotation::Repeated { user: user.clone(), successor_hash: successor.as_bytes().to_vec() }
}

pub async fn they_live_until_ended_or_expired(bed: &Bed) {
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    begin(bed, &alice, "a").await;
    begin(bed, &alice, "b").await;
    assert!(bed.create_login_session(login_session(&alice, "over", Duration::ZERO)).await.unwrap());
    assert_eq!(live(bed, &["a", "b", "over", "absent"]).await, ["a", "b"]);
    assert!(!bed.end_login_session(bob.id, "a").await.unwrap());
    assert!(bed.end_login_session(alice.id, "a").await.unwrap());
    assert!(!bed.end_login_session(alice.id, "a").await.unwrap());
    assert_eq!(live(bed, &["a", "b"]).await, ["b"]);
    assert_eq!(told(bed).await, [ended("a")]);
}

pub async fn they_are_listed_those_seen_last_first(bed: &Bed) {
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    begin(bed, &bob, "his").await;
    assert!(bed.create_login_session(login_session(&alice, "over", Duration::ZERO)).await.unwrap());
    for id in ["a", "b", "c"] {
        begin(bed, &alice, id).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(rotate(bed, spending("a", 0, 1)).await, renewed(&alice));
    let listed = bed.login_sessions(alice.id, 10).await.unwrap();
    assert_eq!(listed.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["a", "c", "b"]);
    assert_eq!((listed[0].agent.as_str(), listed[0].address.as_str()), ("a browser", "192.0.2.1"));
    assert!(listed[0].seen_at > listed[0].created_at, "{:?}", listed[0]);
    assert_eq!(listed[1].seen_at, listed[1].created_at);
    assert_eq!(bed.login_sessions(alice.id, 2).await.unwrap(), listed[..2]);
}

pub async fn none_begins_with_what_is_not_the_password_any_more(bed: &Bed) {
    let alice = bed.user("alice").await;
    let late = NewLoginSession { password_hash: "$old".into(), ..login_session(&alice, "late", HOUR) };
    assert!(!bed.create_login_session(late).await.unwrap());
    assert!(live(bed, &["late"]).await.is_empty());
}

pub async fn a_new_password_ends_all_but_the_one_kept(bed: &Bed) {
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    for id in ["a", "b", "c"] {
        begin(bed, &alice, id).await;
    }
    begin(bed, &bob, "his").await;
    let mut others = bed.set_password(alice.id, "$new", Some("b")).await.unwrap().unwrap();
    others.sort();
    assert_eq!(others, ["a", "c"]);
    assert_eq!(bed.account_by_id(alice.id).await.unwrap().unwrap().password_hash.as_deref(), Some("$new"));
    assert_eq!(live(bed, &["a", "b", "c", "his"]).await, ["b", "his"]);
    let told: BTreeSet<_> = told(bed).await.into_iter().map(|what| format!("{what:?}")).collect();
    assert_eq!(told, ["a", "c"].map(|id| format!("{:?}", ended(id))).into());
    assert_eq!(rotate(bed, spending("a", 0, 1)).await, Rotation::Unknown);
    assert_eq!(rotate(bed, spending("b", 0, 1)).await, renewed(&alice));
    assert_eq!(bed.set_password(alice.id, "$newer", None).await.unwrap().unwrap(), ["b"]);
    assert_eq!(bed.set_password(alice.id, "$newest", None).await.unwrap().unwrap(), [""; 0]);
    assert!(bed.set_password(UserId(999), "$new", None).await.unwrap().is_none());
}

pub async fn a_renewed_hash_ends_nothing(bed: &Bed) {
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    begin(bed, &alice, "a").await;
    assert!(bed.renew_password_hash(alice.id, PASSWORD_HASH, "$dearer").await.unwrap());
    assert!(
        !bed.renew_password_hash(alice.id, PASSWORD_HASH, "$late").await.unwrap(),
        "it is not the old one any more"
    );
    assert!(!bed.renew_password_hash(UserId(999), PASSWORD_HASH, "$dearer").await.unwrap());
    let hash = async |user| bed.account_by_id(user).await.unwrap().unwrap().password_hash;
    assert_eq!((hash(alice.id).await, hash(bob.id).await), (Some("$dearer".into()), Some(PASSWORD_HASH.into())));
    assert_eq!((live(bed, &["a"]).await, told(bed).await), (vec!["a".to_owned()], vec![]));
}

pub async fn log_ins_that_race_with_a_new_password_do_not_outlive_it(bed: &Bed) {
    let alice = bed.user("alice").await;
    let stores = bed.handles();
    let log_ins = (0..20).map(|i| {
        let (store, new) = (&stores[i % 2], login_session(&alice, &format!("s{i}"), HOUR));
        async move { store.create_login_session(new).await.unwrap() }
    });
    let (begun, ended) = tokio::join!(join_all(log_ins), stores[0].set_password(alice.id, "$new", None));
    let ended = ended.unwrap().unwrap();
    assert_eq!(begun.iter().filter(|begun| **begun).count(), ended.len(), "each was refused or ended");
    assert!(bed.login_sessions(alice.id, 100).await.unwrap().is_empty());
}

pub async fn disabling_ends_and_tells(bed: &Bed) {
    let alice = bed.user("alice").await;
    begin(bed, &alice, "a").await;
    assert!(bed.set_disabled(alice.id, true).await.unwrap());
    assert!(bed.account_by_id(alice.id).await.unwrap().unwrap().disabled);
    // A log-in that was checked before and writes after.
    assert!(!bed.create_login_session(login_session(&alice, "late", HOUR)).await.unwrap());
    assert!(live(bed, &["a", "late"]).await.is_empty());
    assert_eq!(told(bed).await, [Revoked::User(alice.id), Revoked::LoginSession("a".into())]);
    let read = bed.recent_revocations(HOUR, None, 100).await.unwrap();
    assert_eq!(read[0].at, read[1].at, "they ended with the account");
    assert!(bed.set_disabled(alice.id, false).await.unwrap());
    assert!(!bed.account_by_id(alice.id).await.unwrap().unwrap().disabled);
    assert_eq!(bed.recent_revocations(HOUR, None, 100).await.unwrap().len(), 2);
    assert!(!bed.set_disabled(UserId(999), true).await.unwrap());
}

pub async fn revocations_are_those_of_the_window(bed: &Bed) {
    let alice = bed.user("alice").await;
    for id in ["a", "b", "c"] {
        begin(bed, &alice, id).await;
        bed.end_login_session(alice.id, id).await.unwrap();
    }
    let all = bed.recent_revocations(HOUR, None, 100).await.unwrap();
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by_key(|revocation| (revocation.at, revocation.id)));
    assert_eq!(all.iter().map(|revocation| revocation.id).collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(bed.recent_revocations(HOUR, None, 100).await.unwrap(), all);
    let mut paged = Vec::new();
    for _ in 0..=all.len() {
        let after = paged.last().map(|last: &Revocation| last.id);
        let page = bed.recent_revocations(HOUR, after, 1).await.unwrap();
        assert!(page.len() <= 1);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(bed.recent_revocations(Duration::from_millis(5), None, 100).await.unwrap().is_empty());
}

pub async fn a_token_is_renewed_once(bed: &Bed) {
    let alice = bed.administrator("alice").await;
    begin(bed, &alice, "a").await;
    begin(bed, &alice, "b").await;
    for token in 0..20 {
        assert_eq!(rotate(bed, spending("a", token, token + 1)).await, renewed(&alice));
    }
    // Another login session's tokens have nothing to do with it.
    assert_eq!(rotate(bed, spending("b", 0, 1)).await, renewed(&alice));
    assert_eq!(live(bed, &["a", "b"]).await, ["a", "b"]);
    assert!(told(bed).await.is_empty());
}

pub async fn a_token_spent_within_the_grace_gets_the_same_successor(bed: &Bed) {
    let alice = bed.user("alice").await;
    begin(bed, &alice, "a").await;
    assert_eq!(rotate(bed, spending("a", 0, 1)).await, renewed(&alice));
    // Whatever the caller would make of it, the successor is what it was.
    for other in [1, 7] {
        assert_eq!(rotate(bed, spending("a", 0, other)).await, repeated(&alice, "a1"));
    }
    assert_eq!(rotate(bed, spending("a", 1, 2)).await, renewed(&alice));
    assert_eq!(rotate(bed, spending("a", 0, 1)).await, repeated(&alice, "a1"));
    assert_eq!(rotate(bed, spending("a", 1, 2)).await, repeated(&alice, "a2"));
    assert_eq!(live(bed, &["a"]).await, ["a"]);
}

pub async fn a_token_spent_before_the_grace_ends_its_login_session(bed: &Bed) {
    let alice = bed.user("alice").await;
    begin(bed, &alice, "a").await;
    begin(bed, &alice, "b").await;
    assert_eq!(rotate(bed, spending("a", 0, 1)).await, renewed(&alice));
    tokio::time::sleep(Duration::from_millis(30)).await;
    let late = Rotate { grace: Duration::from_millis(10), ..spending("a", 0, 1) };
    assert_eq!(rotate(bed, late).await, Rotation::Ended { user: alice.id });
    assert_eq!(live(bed, &["a", "b"]).await, ["b"]);
    assert_eq!(told(bed).await, [ended("a")]);
    // Nor does the one who was right go on, and nothing is told twice.
    assert_eq!(rotate(bed, spending("a", 1, 2)).await, Rotation::Unknown);
    assert_eq!(rotate(bed, spending("a", 0, 1)).await, Rotation::Unknown);
    assert_eq!(told(bed).await, [ended("a")]);
}

pub async fn a_forged_token_ends_the_login_session_it_names(bed: &Bed) {
    let alice = bed.user("alice").await;
    begin(bed, &alice, "a").await;
    assert_eq!(rotate(bed, spending("absent", 0, 1)).await, Rotation::Unknown);
    assert_eq!(rotate(bed, spending("a", 9, 10)).await, Rotation::Ended { user: alice.id });
    assert_eq!(told(bed).await, [ended("a")]);
}

pub async fn of_many_that_spend_one_token_one_renews_it(bed: &Bed) {
    let alice = bed.user("alice").await;
    begin(bed, &alice, "a").await;
    let stores = bed.handles();
    for round in 0..5 {
        // Each with a successor of its own, so that which one it became can be seen.
        let all = (0..10).map(|i| {
            let mut wanted = spending("a", round, round + 1);
            if round == 4 {
                wanted.successor_hash = format!("by {i}").into_bytes();
            }
            let store = stores[i % 2].clone();
            async move { (wanted.successor_hash.clone(), store.rotate(&wanted).await.unwrap()) }
        });
        let outcomes = join_all(all).await;
        let made: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome == renewed(&alice)).collect();
        assert_eq!(made.len(), 1, "{outcomes:?}");
        let same = Rotation::Repeated { user: alice.clone(), successor_hash: made[0].0.clone() };
        assert_eq!(outcomes.iter().filter(|(_, outcome)| *outcome == same).count(), 9, "{outcomes:?}");
    }
    assert_eq!(live(bed, &["a"]).await, ["a"]);
}

pub async fn spent_tokens_are_few(bed: &Bed) {
    let alice = bed.user("alice").await;
    begin(bed, &alice, "a").await;
    let spent = SPENT_TOKENS_MAX + 3;
    for token in 0..spent {
        assert_eq!(rotate(bed, spending("a", token, token + 1)).await, renewed(&alice));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let oldest_known = spent - SPENT_TOKENS_MAX;
    let successor = format!("a{}", oldest_known + 1);
    assert_eq!(rotate(bed, spending("a", oldest_known, 0)).await, repeated(&alice, &successor));
    assert_eq!(rotate(bed, spending("a", oldest_known - 1, 0)).await, Rotation::Ended { user: alice.id });
}

pub async fn what_has_ended_or_expired_or_is_disabled_is_not_renewed(bed: &Bed) {
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    begin(bed, &alice, "a").await;
    begin(bed, &bob, "his").await;
    assert!(bed.create_login_session(login_session(&alice, "over", Duration::ZERO)).await.unwrap());
    bed.end_login_session(alice.id, "a").await.unwrap();
    bed.set_disabled(bob.id, true).await.unwrap();
    for id in ["a", "over", "his"] {
        assert_eq!(rotate(bed, spending(id, 0, 1)).await, Rotation::Unknown, "{id}");
    }
}

pub async fn renewing_puts_off_the_expiry(bed: &Bed) {
    let alice = bed.user("alice").await;
    for id in ["a", "b"] {
        let short = login_session(&alice, id, Duration::from_millis(1_500));
        assert!(bed.create_login_session(short).await.unwrap());
    }
    assert_eq!(rotate(bed, spending("a", 0, 1)).await, renewed(&alice));
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(live(bed, &["a", "b"]).await, ["a"]);
    assert_eq!(rotate(bed, spending("a", 1, 2)).await, renewed(&alice));
    assert_eq!(rotate(bed, spending("b", 0, 1)).await, Rotation::Unknown);
}

pub async fn purging_ends_what_has_expired_at_its_limit(bed: &Bed) {
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    begin(bed, &bob, "stays").await;
    assert_eq!(rotate(bed, spending("stays", 0, 1)).await, renewed(&bob));
    assert_eq!(bed.purge(5).await.unwrap(), 0);
    // Each log-in takes away what had expired of the same user.
    let over = |user: &User, id: &str| login_session(user, id, Duration::ZERO);
    assert!(bed.create_login_session(over(&alice, "replaced")).await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await;
    begin(bed, &alice, "a").await;
    assert_eq!(told(bed).await, [ended("replaced")]);
    for i in 0..7 {
        let user = bed.user(&format!("user{i}")).await;
        assert!(bed.create_login_session(over(&user, &format!("over{i}"))).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(bed.purge(5).await.unwrap(), 5);
    assert_eq!(told(bed).await.len(), 6);
    assert_eq!(bed.purge(5).await.unwrap(), 2);
    assert_eq!(bed.purge(5).await.unwrap(), 0);
    let all: BTreeSet<_> = told(bed).await.into_iter().map(|what| format!("{what:?}")).collect();
    let wanted = (0..7).map(|i| format!("over{i}")).chain(["replaced".into()]);
    assert_eq!(all, wanted.map(|id| format!("{:?}", ended(&id))).collect());
    assert_eq!(live(bed, &["a", "stays"]).await, ["a", "stays"]);
}

pub async fn old_revocations_are_purged(bed: &Bed) {
    let alice = bed.user("alice").await;
    for id in ["a", "b", "c"] {
        begin(bed, &alice, id).await;
        bed.end_login_session(alice.id, id).await.unwrap();
    }
    assert_eq!(bed.purge(5).await.unwrap(), 0);
    bed.age_revocations(REVOCATION_LIFETIME + HOUR).await;
    assert_eq!(bed.purge(2).await.unwrap(), 2);
    assert_eq!(bed.purge(2).await.unwrap(), 1);
    assert!(bed.recent_revocations(REVOCATION_LIFETIME * 3, None, 100).await.unwrap().is_empty());
}
