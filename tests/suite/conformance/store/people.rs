//! Users, login sessions, revocations, nodes, and the schema itself.

use std::collections::BTreeSet;
use std::time::Duration;

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, name, new_user};

const HOUR: Duration = Duration::from_secs(3_600);

fn login_session(user: &User, id: &str, lifetime: Duration) -> NewLoginSession {
    NewLoginSession {
        id: id.to_owned(),
        user: user.id,
        refresh_hash: id.as_bytes().to_vec(),
        agent: "a browser".into(),
        address: "192.0.2.1".into(),
        lifetime,
    }
}

async fn live(bed: &Bed, ids: &[&str]) -> Vec<String> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let mut live = bed.live_login_sessions(&ids).await.unwrap();
    live.sort();
    live
}

pub async fn a_name_is_taken_without_regard_to_case(bed: &Bed) {
    let user = bed.user("Zoë").await;
    assert!(matches!(bed.create_user(new_user("ZOË", SiteRole::User)).await, Err(StoreError::Taken("username"))));
    let account = bed.account_by_name(&name("zoë")).await.unwrap().unwrap();
    assert_eq!((account.user, account.disabled), (user.clone(), false));
    assert_eq!(account.password_hash.as_deref(), Some("$hash"));
    assert_eq!(bed.account_by_id(user.id).await.unwrap().unwrap().user, user);
    assert!(bed.account_by_name(&name("zoe")).await.unwrap().is_none());
    assert!(bed.account_by_id(UserId(999)).await.unwrap().is_none());
}

pub async fn an_issuers_user_is_one_user(bed: &Bed) {
    let credential = || Credential::Issuer { issuer: "corp".into(), subject: "7".into() };
    let new = |text: &str| NewUser { username: name(text), credential: credential(), role: SiteRole::User };
    let user = bed.create_user(new("alice")).await.unwrap();
    assert!(matches!(bed.create_user(new("alice-2")).await, Err(StoreError::Taken("issuer"))));
    let account = bed.account_by_issuer("corp", "7").await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (user, None));
    assert!(bed.account_by_issuer("corp", "8").await.unwrap().is_none());
    assert!(bed.account_by_issuer("other", "7").await.unwrap().is_none());
    // Users with passwords have no issuer, and do not clash for it.
    bed.user("bob").await;
    bed.user("carol").await;
}

pub async fn passwords_are_set(bed: &Bed) {
    let alice = bed.user("alice").await;
    assert!(bed.set_password(alice.id, "$new").await.unwrap());
    assert_eq!(bed.account_by_id(alice.id).await.unwrap().unwrap().password_hash.as_deref(), Some("$new"));
    assert!(!bed.set_password(UserId(999), "$new").await.unwrap());
}

pub async fn login_sessions_live_until_ended_or_expired(bed: &Bed) {
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    bed.create_login_session(login_session(&alice, "a", HOUR)).await.unwrap();
    bed.create_login_session(login_session(&alice, "b", HOUR)).await.unwrap();
    bed.create_login_session(login_session(&alice, "over", Duration::ZERO)).await.unwrap();
    assert_eq!(live(bed, &["a", "b", "over", "absent"]).await, ["a", "b"]);
    assert!(!bed.end_login_session(bob.id, "a").await.unwrap());
    assert!(bed.end_login_session(alice.id, "a").await.unwrap());
    assert!(!bed.end_login_session(alice.id, "a").await.unwrap());
    assert_eq!(live(bed, &["a", "b"]).await, ["b"]);
    let told: Vec<_> = bed.recent_revocations(HOUR).await.unwrap().into_iter().map(|r| r.what).collect();
    assert_eq!(told, [Revoked::LoginSession("a".into())]);
}

pub async fn disabling_ends_and_tells(bed: &Bed) {
    let alice = bed.user("alice").await;
    bed.create_login_session(login_session(&alice, "a", HOUR)).await.unwrap();
    assert!(bed.set_disabled(alice.id, true).await.unwrap());
    assert!(bed.account_by_id(alice.id).await.unwrap().unwrap().disabled);
    assert!(live(bed, &["a"]).await.is_empty());
    // A login that was checked before and writes after.
    bed.create_login_session(login_session(&alice, "late", HOUR)).await.unwrap();
    assert!(live(bed, &["late"]).await.is_empty());
    let told: Vec<_> = bed.recent_revocations(HOUR).await.unwrap().into_iter().map(|r| r.what).collect();
    assert_eq!(told, [Revoked::User(alice.id)]);
    assert!(bed.set_disabled(alice.id, false).await.unwrap());
    assert!(!bed.account_by_id(alice.id).await.unwrap().unwrap().disabled);
    assert_eq!(bed.recent_revocations(HOUR).await.unwrap().len(), 1);
    assert!(!bed.set_disabled(UserId(999), true).await.unwrap());
}

pub async fn revocations_are_those_of_the_window(bed: &Bed) {
    let alice = bed.user("alice").await;
    for id in ["a", "b", "c"] {
        bed.create_login_session(login_session(&alice, id, HOUR)).await.unwrap();
        bed.end_login_session(alice.id, id).await.unwrap();
    }
    let all = bed.recent_revocations(HOUR).await.unwrap();
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by_key(|revocation| (revocation.at, revocation.id)));
    assert_eq!(all.iter().map(|revocation| revocation.id).collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(bed.recent_revocations(HOUR).await.unwrap(), all);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(bed.recent_revocations(Duration::from_millis(5)).await.unwrap().is_empty());
}

pub async fn nodes_see_each_other(bed: &Bed) {
    let beat = |incarnation: &str, broker_ok| NodeBeat {
        incarnation: incarnation.to_owned(),
        name: format!("node {incarnation}"),
        version: "1".into(),
        broker_ok,
        draining: false,
    };
    assert_eq!(bed.beat(&beat("a", true), HOUR).await.unwrap(), [beat("a", true)]);
    bed.beat(&beat("b", true), HOUR).await.unwrap();
    let mut seen = bed.beat(&beat("a", false), HOUR).await.unwrap();
    seen.sort_by_key(|node| node.incarnation.clone());
    assert_eq!(seen, [beat("a", false), beat("b", true)]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(bed.beat(&beat("b", true), Duration::from_millis(5)).await.unwrap(), [beat("b", true)]);
    bed.forget_node("b").await.unwrap();
    assert_eq!(bed.beat(&beat("a", true), HOUR).await.unwrap(), [beat("a", true)]);
}

pub async fn migrating_again_changes_nothing(bed: &Bed) {
    let alice = bed.user("alice").await;
    bed.migrate().await.unwrap();
    assert!(bed.account_by_id(alice.id).await.unwrap().is_some());
}

pub async fn the_store_answers_and_is_durable(bed: &Bed) {
    bed.ping().await.unwrap();
    assert_eq!(bed.durability_risks().await.unwrap(), []);
}
