//! Users, nodes, and the schema itself.

use std::time::Duration;

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, name, new_user};

const HOUR: Duration = Duration::from_secs(3_600);

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

pub async fn a_name_that_looks_like_another_is_taken_and_is_not_the_other(bed: &Bed) {
    bed.user("alice").await;
    for twin in ["\u{430}lice", "aIice", "ΑLICE"] {
        let made = bed.create_user(new_user(twin, SiteRole::User)).await;
        assert!(matches!(made, Err(StoreError::Taken("username"))), "{twin}");
        assert!(bed.account_by_name(&name(twin)).await.unwrap().is_none(), "{twin} must not find alice");
    }
    bed.user("alicia").await;
}

pub async fn an_issuers_user_is_one_user(bed: &Bed) {
    let credential = || Credential::Issuer { issuer: "corp".into(), subject: "7".into() };
    let new = |text: &str| NewUser { username: name(text), credential: credential(), role: SiteRole::User };
    let user = bed.create_user(new("alice")).await.unwrap();
    assert!(matches!(bed.create_user(new("alice-2")).await, Err(StoreError::Taken("issuer"))));
    let asked = [("corp", "8"), ("corp", "7"), ("other", "7"), ("corp", "7")];
    let asked = asked.map(|(issuer, subject)| (issuer.to_owned(), subject.to_owned()));
    let found = bed.accounts_by_issuer(&asked).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|found| found.map(|one| (one.user, one.password_hash))).collect();
    assert_eq!(found, [None, Some((user.clone(), None)), None, Some((user, None))], "in the order asked");
    assert!(bed.accounts_by_issuer(&[]).await.unwrap().is_empty());
    // Users with passwords have no issuer, and do not clash for it.
    bed.user("bob").await;
    bed.user("carol").await;
}

pub async fn nodes_see_each_other(bed: &Bed) {
    let beat = |incarnation: &str, broker_ok| NodeBeat {
        incarnation: incarnation.to_owned(),
        name: format!("node {incarnation}"),
        version: "1".into(),
        broker_ok,
        draining: false,
        sockets: Some(7),
    };
    let first = bed.beat(&beat("a", true), HOUR).await.unwrap();
    assert_eq!(first.nodes, [beat("a", true)]);
    bed.beat(&beat("b", true), HOUR).await.unwrap();
    let second = bed.beat(&beat("a", false), HOUR).await.unwrap();
    // The clock is the database's, which runs on this machine too.
    assert!(first.at <= second.at && (Timestamp::now().0 - second.at.0).abs() < 5_000, "{first:?} {second:?}");
    let mut seen = second.nodes;
    seen.sort_by_key(|node| node.incarnation.clone());
    assert_eq!(seen, [beat("a", false), beat("b", true)]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(bed.beat(&beat("b", true), Duration::from_millis(5)).await.unwrap().nodes, [beat("b", true)]);
    bed.forget_node("b").await.unwrap();
    assert_eq!(bed.beat(&beat("a", true), HOUR).await.unwrap().nodes, [beat("a", true)]);
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
