//! What administrators see and change: lists of users, rooms and nodes, and accounts.

use std::time::{Duration, Instant};

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, name, new_room, new_user, slug};

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn part(text: &str) -> NamePart {
    NamePart::parse(text).unwrap()
}

async fn users_with(bed: &Bed, text: &str) -> Vec<String> {
    let page = bed.list_users(&part(text), 100, None).await.unwrap();
    assert_eq!(page.next, None);
    page.items.iter().map(|user| user.username.as_str().to_owned()).collect()
}

async fn rooms_with(bed: &Bed, text: &str) -> Vec<String> {
    let page = bed.list_rooms(&part(text), 100, None).await.unwrap();
    assert_eq!(page.next, None);
    page.items.iter().map(|room| room.slug.as_str().to_owned()).collect()
}

async fn change(bed: &Bed, by: &User, user: &User, disabled: Option<bool>, role: Option<SiteRole>) -> Administered {
    bed.administer(by.id, user.id, AccountChanges { disabled, role }).await.unwrap()
}

async fn log_in(bed: &Bed, user: &User, id: &str) -> bool {
    bed.create_login_session(NewLoginSession {
        id: id.to_owned(),
        user: user.id,
        password_hash: "$hash".into(),
        refresh_hash: id.as_bytes().to_vec(),
        agent: "a browser".into(),
        address: "127.0.0.1".into(),
        lifetime: DAY,
    })
    .await
    .unwrap()
}

pub async fn users_are_found_by_a_part_of_the_name(bed: &Bed) {
    for name in ["alice", "Malice", "Zoë", "bob_b", "bob.b", "ЖЕНЯ"] {
        bed.user(name).await;
    }
    assert_eq!(users_with(bed, "").await, ["ЖЕНЯ", "bob.b", "bob_b", "Zoë", "Malice", "alice"], "newest first");
    assert_eq!(users_with(bed, "LIC").await, ["Malice", "alice"]);
    assert_eq!(users_with(bed, "ZOË").await, ["Zoë"]);
    assert_eq!(users_with(bed, " жен ").await, ["ЖЕНЯ"]);
    // Nothing in it is a pattern, and no more than what it is.
    for (text, found) in [("_", &["bob_b"][..]), ("%", &[]), ("b.b", &["bob.b"]), ("' OR ''='", &[]), ("\\", &[])] {
        assert_eq!(users_with(bed, text).await, found, "{text}");
    }
    let mut shown = Vec::new();
    let mut cursor = None;
    loop {
        let page = bed.list_users(&part("b"), 1, cursor.as_deref()).await.unwrap();
        shown.extend(page.items.iter().map(|user| user.username.as_str().to_owned()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(shown, ["bob.b", "bob_b"], "page by page, none twice");
    let page = bed.list_users(&part(""), 2, Some("no cursor of ours")).await.unwrap();
    assert_eq!(page.items.len(), 2);
}

pub async fn a_listed_user_is_shown_whole(bed: &Bed) {
    let root = bed.administrator("root").await;
    let credential = Credential::Issuer { issuer: "corp".into(), subject: "7".into() };
    let carol = bed.create_user(NewUser { username: name("carol"), credential, role: SiteRole::User }).await.unwrap();
    let before = bed.listed_user(root.id).await.unwrap().unwrap();
    assert_eq!((before.seen_at, &before.issuer), (None, &None));
    assert_eq!((before.id, before.role, before.disabled), (root.id, SiteRole::Admin, false));
    assert!((Timestamp::now().0 - before.created_at.0).abs() < 60_000);
    assert!(log_in(bed, &root, "first").await && log_in(bed, &root, "second").await);
    let after = bed.listed_user(root.id).await.unwrap().unwrap();
    let latest = bed.login_sessions(root.id, 1).await.unwrap()[0].seen_at;
    assert_eq!(after, ListedUser { seen_at: Some(latest), ..before });
    let listed = bed.list_users(&part("car"), 10, None).await.unwrap().items;
    assert_eq!((listed[0].id, listed[0].issuer.as_deref(), listed.len()), (carol.id, Some("corp"), 1));
    assert_eq!(bed.listed_user(UserId(999)).await.unwrap(), None);
}

pub async fn only_administrators_change_accounts_and_none_their_own(bed: &Bed) {
    let (root, other) = (bed.administrator("root").await, bed.administrator("other").await);
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    assert_eq!(change(bed, &alice, &bob, Some(true), None).await, Administered::NotAllowed);
    assert_eq!(change(bed, &alice, &alice, None, Some(SiteRole::Admin)).await, Administered::NotAllowed);
    let nobody = User { id: UserId(999), ..alice.clone() };
    assert_eq!(change(bed, &root, &nobody, Some(true), None).await, Administered::NoUser);
    assert_eq!(change(bed, &nobody, &alice, Some(true), None).await, Administered::NotAllowed);
    for (disabled, role) in [(Some(true), None), (None, Some(SiteRole::User)), (Some(true), Some(SiteRole::Admin))] {
        assert_eq!(change(bed, &root, &root, disabled, role).await, Administered::Oneself);
    }
    assert_eq!(change(bed, &root, &root, Some(false), Some(SiteRole::Admin)).await, Administered::Unchanged);
    assert_eq!(change(bed, &root, &alice, None, None).await, Administered::Unchanged);

    assert_eq!(change(bed, &root, &alice, Some(true), Some(SiteRole::Admin)).await, Administered::Done);
    let seen = bed.listed_user(alice.id).await.unwrap().unwrap();
    assert_eq!((seen.disabled, seen.role), (true, SiteRole::Admin));
    assert_eq!(change(bed, &alice, &bob, Some(true), None).await, Administered::NotAllowed, "a disabled one is none");
    assert_eq!(change(bed, &root, &alice, Some(false), None).await, Administered::Done);
    assert_eq!(change(bed, &alice, &other, None, Some(SiteRole::User)).await, Administered::Done);
    assert_eq!(change(bed, &other, &alice, Some(true), None).await, Administered::NotAllowed, "nor is a demoted one");
}

pub async fn disabling_by_an_administrator_ends_what_is_logged_in_once(bed: &Bed) {
    let (root, alice) = (bed.administrator("root").await, bed.user("alice").await);
    assert!(log_in(bed, &alice, "first").await);
    assert_eq!(change(bed, &root, &alice, Some(true), None).await, Administered::Done);
    assert_eq!(change(bed, &root, &alice, Some(true), None).await, Administered::Unchanged);
    let told: Vec<Revoked> =
        bed.recent_revocations(DAY, None, 10).await.unwrap().into_iter().map(|revocation| revocation.what).collect();
    assert_eq!(told, [Revoked::User(alice.id), Revoked::LoginSession("first".into())]);
    assert!(!log_in(bed, &alice, "second").await, "a disabled one is not let in");
    assert_eq!(change(bed, &root, &alice, Some(false), None).await, Administered::Done);
    assert!(log_in(bed, &alice, "third").await, "an enabled one is again");
    assert_eq!(bed.recent_revocations(DAY, None, 10).await.unwrap().len(), 2, "enabling and a role end nothing");
    assert_eq!(change(bed, &root, &alice, None, Some(SiteRole::Admin)).await, Administered::Done);
    assert_eq!(bed.live_login_sessions(&["third".into()]).await.unwrap(), ["third"]);
}

/// Both begin as administrators; whichever is first leaves the other with nothing to say.
pub async fn administrators_who_put_each_other_out_leave_one(bed: &Bed) {
    for round in 0..10 {
        let (one, two) =
            (bed.administrator(&format!("one-{round}")).await, bed.administrator(&format!("two-{round}")).await);
        let [here, there] = bed.handles();
        let demote = AccountChanges { role: Some(SiteRole::User), disabled: None };
        let disable = AccountChanges { role: None, disabled: Some(true) };
        let (first, second) =
            tokio::join!(here.administer(one.id, two.id, demote), there.administer(two.id, one.id, disable));
        let outcomes = [first.unwrap(), second.unwrap()];
        let done = outcomes.iter().filter(|outcome| **outcome == Administered::Done).count();
        assert!(done == 1 && outcomes.contains(&Administered::NotAllowed), "{outcomes:?}");
    }
}

pub async fn all_rooms_are_listed_and_nothing_that_was_said(bed: &Bed) {
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    let public = bed.room_of(&alice, "tea-time").await;
    let private = bed.private_room_of(&alice, "the-back-room").await;
    let direct = bed.direct_room(alice.id, bob.id, &slug("dm-x")).await.unwrap().room;
    let gone = bed.room_of(&alice, "tea-gone").await;
    bed.delete_room(gone.id).await.unwrap();
    bed.put_member(&bob, &private, Role::Member).await;
    bed.say(&alice, &private, "the secret").await;
    bed.say(&alice, &private, "another").await;

    assert_eq!(rooms_with(bed, "").await, ["dm-x", "the-back-room", "tea-time"], "newest first");
    assert_eq!(rooms_with(bed, "TEA").await, ["tea-time"]);
    assert_eq!(rooms_with(bed, "k-R").await, ["the-back-room"], "by the slug too");
    assert_eq!(rooms_with(bed, "secret").await, [""; 0]);
    bed.update_room(
        public.id,
        RoomChanges { name: Some(RoomName::parse("Кофе 100%").unwrap()), topic: None, retention_days: None },
    )
    .await
    .unwrap();
    for text in ["кофе", "0%", "TEA-t"] {
        assert_eq!(rooms_with(bed, text).await, ["tea-time"], "{text}");
    }

    let listed = bed.list_rooms(&part(""), 10, None).await.unwrap().items;
    let of = |id: RoomId| listed.iter().find(|room| room.id == id).unwrap();
    let (seen, dm) = (of(private.id), of(direct));
    assert_eq!((seen.kind, seen.seq, seen.members, &seen.between), (RoomKind::Private, 2, 2, &Vec::new()));
    assert!(seen.changed_at >= Some(seen.created_at) && (Timestamp::now().0 - seen.created_at.0).abs() < 60_000);
    assert_eq!((dm.kind, dm.seq, dm.members, dm.changed_at), (RoomKind::Direct, 0, 2, None));
    assert_eq!(dm.between, [name("alice"), name("bob")]);

    let first = bed.list_rooms(&part(""), 2, None).await.unwrap();
    let second = bed.list_rooms(&part(""), 2, first.next.as_deref()).await.unwrap();
    let ids: Vec<RoomId> = first.items.iter().chain(&second.items).map(|room| room.id).collect();
    assert_eq!((ids, second.next), (vec![direct, private.id, public.id], None));

    for asked in [RoomRef::Id(private.id), RoomRef::Slug(private.slug.clone())] {
        let found = bed.locate_room(&asked).await.unwrap();
        assert_eq!(found, Some((private.id, private.slug.clone(), RoomKind::Private)));
    }
    for asked in [RoomRef::Id(gone.id), RoomRef::Slug(gone.slug), RoomRef::Id(RoomId(999))] {
        assert_eq!(bed.locate_room(&asked).await.unwrap(), None);
    }
}

/// A page costs what it may cost and no more, however large the table, and says where to go on.
pub async fn a_page_of_a_large_table_has_a_bound(bed: &Bed) {
    const USERS: i64 = SCANNED_MAX as i64 + 10;
    let wanted = bed.user("needle").await;
    let alice = bed.create_user(new_user("alice", SiteRole::User)).await.unwrap();
    let room = bed.create_room(new_room(&alice, "needles", RoomKind::Public)).await.unwrap();
    bed.many_users_and_rooms(USERS).await;
    let mut told = Vec::new();
    for (what, limit) in [("", 100), ("", 1_000), ("needle", 100), ("user-77", 100), ("nobody", 1_000)] {
        let began = Instant::now();
        let users = bed.list_users(&part(what), limit, None).await.unwrap();
        let took = began.elapsed();
        let began = Instant::now();
        let rooms = bed.list_rooms(&part(what), limit, None).await.unwrap();
        told.push(format!("{what:?}, {limit}: users {took:?}, rooms {:?}", began.elapsed()));
        assert!(users.next.is_some() && rooms.next.is_some(), "{what}");
        assert_eq!(users.items.len(), if matches!(what, "needle" | "nobody") { 0 } else { limit as usize }, "{what}");
        assert!(took + began.elapsed() < Duration::from_secs(8), "{told:?}");
    }
    println!("{USERS} users and rooms; a page of {}", told.join("; of "));
    let users = bed.list_users(&part("needle"), 100, None).await.unwrap();
    let users = bed.list_users(&part("needle"), 100, users.next.as_deref()).await.unwrap();
    assert_eq!(users.items.iter().map(|user| user.id).collect::<Vec<_>>(), [wanted.id]);
    assert_eq!(users.next, None);
    let rooms = bed.list_rooms(&part("needle"), 100, None).await.unwrap();
    let rooms = bed.list_rooms(&part("needle"), 100, rooms.next.as_deref()).await.unwrap();
    assert_eq!(rooms.items.iter().map(|room| room.id).collect::<Vec<_>>(), [room.id]);
}

pub async fn nodes_are_listed_with_what_they_said_last(bed: &Bed) {
    let beat = |incarnation: &str, draining: bool, sockets| NodeBeat {
        incarnation: incarnation.to_owned(),
        name: format!("node {incarnation}"),
        version: "1".into(),
        broker_ok: !draining,
        draining,
        sockets,
    };
    bed.beat(&beat("b", false, Some(5)), DAY).await.unwrap();
    bed.beat(&beat("a", true, Some(3)), DAY).await.unwrap();
    bed.beat(&beat("b", false, Some(9)), DAY).await.unwrap();
    let listed = bed.list_nodes(DAY).await.unwrap();
    let said: Vec<&NodeBeat> = listed.iter().map(|node| &node.beat).collect();
    assert_eq!(said, [&beat("a", true, Some(3)), &beat("b", false, Some(9))]);
    for node in &listed {
        assert!(node.started_at <= node.seen_at && node.silent_ms < 60_000, "{node:?}");
    }
    // As a node of the release before writes it, and that a while ago.
    let (columns, ago) = ("incarnation, name, version, broker_ok, draining, started_at, seen_at", bed.time_ago(60));
    bed.execute(&format!("INSERT INTO nodes ({columns}) VALUES ('c', 'old', '0', true, false, {ago}, {ago})")).await;
    let listed = bed.list_nodes(DAY).await.unwrap();
    let old = &listed[2];
    assert_eq!((old.beat.name.as_str(), old.beat.sockets), ("old", None));
    assert!((60_000..120_000).contains(&old.silent_ms), "{old:?}");
    assert_eq!(bed.list_nodes(Duration::from_secs(30)).await.unwrap().len(), 2);
    bed.forget_node("a").await.unwrap();
    assert_eq!(bed.list_nodes(Duration::from_secs(30)).await.unwrap().len(), 1);
}

/// The last administrator's deletions reach where they are no member, and stop where the role does.
pub async fn an_administrator_deletes_in_rooms_they_cannot_see(bed: &Bed) {
    let (root, alice, bob) = (bed.administrator("root").await, bed.user("alice").await, bed.user("bob").await);
    let private = bed.private_room_of(&alice, "private").await;
    let direct = bed.direct_room(alice.id, bob.id, &slug("dm-x")).await.unwrap().room;
    let direct = bed.rooms_seen(&[(alice.id, direct)]).await.unwrap()[0].clone().unwrap();
    for room in [&private, &direct] {
        let id = bed.say(&alice, room, "to be deleted").await;
        let deleted = bed.delete(&root, room, id).await;
        assert!(matches!(&deleted, Changed::Done(message) if message.deleted && message.content.is_empty()));
        assert!(matches!(bed.delete(&root, room, id).await, Changed::Unchanged(_)));
        assert_eq!(bed.edit(&root, room, id, "x").await, Changed::Refused(Refusal::NoRoom), "and nothing else");
    }
    let id = bed.say(&alice, &private, "stays").await;
    let other = bed.administrator("other").await;
    assert_eq!(change(bed, &other, &root, None, Some(SiteRole::User)).await, Administered::Done);
    assert_eq!(bed.delete(&root, &private, id).await, Changed::Refused(Refusal::NoRoom));
}
