//! Invitations, direct rooms, and what became whose.

use std::time::Duration;

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, slug};

const HOUR: Duration = Duration::from_secs(3_600);

fn hash(number: u8) -> Vec<u8> {
    vec![number; 32]
}

fn invite(room: &RoomInfo, by: &User, number: u8, uses: Option<u32>) -> NewInvite {
    NewInvite { room: room.id, by: by.id, seen: None, hash: hash(number), uses, lifetime: HOUR }
}

async fn made(bed: &Bed, new: &NewInvite) -> Timestamp {
    match bed.create_invite(new).await.unwrap() {
        Invited::Made { expires_at } => expires_at,
        other => panic!("{other:?}"),
    }
}

pub async fn an_invitation_lets_in_as_many_as_it_says(bed: &Bed) {
    let alice = bed.user("alice").await;
    let room = bed.private_room_of(&alice, "secret").await;
    made(bed, &invite(&room, &alice, 1, Some(2))).await;
    let (bob, carol, dave) = (bed.user("bob").await, bed.user("carol").await, bed.user("dave").await);
    bed.say(&alice, &room, "old").await;
    let entered = bed.redeem_invite(&hash(1), bob.id).await.unwrap();
    assert!(matches!(entered, Redeemed::Entered { room: of, .. } if of == room.id), "{entered:?}");
    let seen = bed.room(bob.id, &RoomRef::Id(room.id)).await.unwrap().unwrap();
    assert_eq!((seen.role, seen.last_read, seen.unread), (Some(Role::Member), 1, 0));
    // Neither who is in already nor who tries again spends a use.
    for user in [&alice, &bob] {
        assert_eq!(bed.redeem_invite(&hash(1), user.id).await.unwrap(), Redeemed::Member(room.id));
    }
    assert!(matches!(bed.redeem_invite(&hash(1), carol.id).await.unwrap(), Redeemed::Entered { .. }));
    assert_eq!(bed.redeem_invite(&hash(1), dave.id).await.unwrap(), Redeemed::Nothing);
    assert_eq!(bed.redeem_invite(&hash(1), carol.id).await.unwrap(), Redeemed::Member(room.id), "its answer was lost");
    assert_eq!(bed.redeem_invite(&hash(9), dave.id).await.unwrap(), Redeemed::Nothing);
    assert_eq!(bed.invites(room.id).await.unwrap(), [], "a spent one is not open");
}

pub async fn of_many_at_once_exactly_as_many_get_in(bed: &Bed) {
    const USES: u32 = 5;
    let alice = bed.user("alice").await;
    let room = bed.private_room_of(&alice, "secret").await;
    made(bed, &invite(&room, &alice, 1, Some(USES))).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..16 {
        let user = bed.user(&format!("user-{i}")).await;
        let store = bed.handles()[i % 2].clone();
        tasks.spawn(async move { store.redeem_invite(&hash(1), user.id).await });
    }
    let mut entered = 0;
    while let Some(outcome) = tasks.join_next().await {
        match outcome.unwrap().unwrap() {
            Redeemed::Entered { .. } => entered += 1,
            Redeemed::Nothing => {}
            Redeemed::Member(_) => panic!("nobody came twice"),
        }
    }
    assert_eq!(entered, USES);
    assert_eq!(bed.members(room.id, 100, None).await.unwrap().items.len(), 1 + USES as usize);
}

/// The same user by the same code twice at once: in, and one use spent.
pub async fn one_who_asks_twice_spends_one_use(bed: &Bed) {
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    let [one, other] = bed.handles();
    for number in 0..10 {
        let room = bed.private_room_of(&alice, &format!("secret-{number}")).await;
        made(bed, &invite(&room, &alice, number, Some(2))).await;
        let code = hash(number);
        let (one, other) = tokio::join!(one.redeem_invite(&code, bob.id), other.redeem_invite(&code, bob.id));
        let outcomes = [one.unwrap(), other.unwrap()];
        assert!(outcomes.contains(&Redeemed::Member(room.id)), "{outcomes:?}");
        assert_eq!(bed.invites(room.id).await.unwrap()[0].uses_left, Some(1));
    }
}

pub async fn an_invitation_lets_nobody_in_who_may_not(bed: &Bed) {
    let alice = bed.user("alice").await;
    let room = bed.private_room_of(&alice, "secret").await;
    made(bed, &invite(&room, &alice, 1, None)).await;
    let (banned, disabled, bob) = (bed.user("banned").await, bed.user("disabled").await, bed.user("bob").await);
    bed.ban(&banned, &room).await;
    bed.set_disabled(disabled.id, true).await.unwrap();
    for user in [&banned, &disabled] {
        assert_eq!(bed.redeem_invite(&hash(1), user.id).await.unwrap(), Redeemed::Nothing);
    }
    let short = NewInvite { lifetime: Duration::ZERO, ..invite(&room, &alice, 2, None) };
    made(bed, &short).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(bed.redeem_invite(&hash(2), bob.id).await.unwrap(), Redeemed::Nothing, "it is over");
    assert_eq!(bed.invites(room.id).await.unwrap().len(), 1);
    assert_eq!(bed.purge(10).await.unwrap(), 1);

    let [open] = bed.invites(room.id).await.unwrap().try_into().unwrap();
    assert_eq!((open.id, &open.by, open.uses_left), (InviteId::of(&hash(1)), &alice.username, None));
    let other = bed.private_room_of(&alice, "other").await;
    assert!(!bed.withdraw_invite(other.id, open.id).await.unwrap());
    assert!(bed.withdraw_invite(room.id, open.id).await.unwrap());
    assert!(!bed.withdraw_invite(room.id, open.id).await.unwrap());
    assert_eq!(bed.redeem_invite(&hash(1), bob.id).await.unwrap(), Redeemed::Nothing, "it was withdrawn");

    made(bed, &invite(&room, &alice, 3, None)).await;
    bed.delete_room(room.id).await.unwrap();
    assert_eq!(bed.redeem_invite(&hash(3), bob.id).await.unwrap(), Redeemed::Nothing, "its room is gone");
    assert_eq!(bed.create_invite(&invite(&room, &alice, 4, None)).await.unwrap(), Invited::NoRoom);
}

pub async fn who_may_not_invite_any_more_leaves_no_door_open(bed: &Bed) {
    let alice = bed.user("alice").await;
    let room = bed.private_room_of(&alice, "secret").await;
    let acts = [Act::Remove, Act::Ban(Sanction::default()), Act::Add(Some(Role::Member))];
    for (number, act) in acts.into_iter().enumerate() {
        let moderator = bed.user(&format!("moderator-{number}")).await;
        bed.put_member(&moderator, &room, Role::Moderator).await;
        let number = number as u8;
        made(bed, &invite(&room, &moderator, number, None)).await;
        bed.act(&moderator, &room, act).await;
        let stranger = bed.user(&format!("stranger-{number}")).await;
        assert_eq!(bed.redeem_invite(&hash(number), stranger.id).await.unwrap(), Redeemed::Nothing);
    }
    let moderator = bed.user("disabled").await;
    bed.put_member(&moderator, &room, Role::Moderator).await;
    made(bed, &invite(&room, &moderator, 9, None)).await;
    bed.set_disabled(moderator.id, true).await.unwrap();
    let stranger = bed.user("stranger").await;
    assert_eq!(bed.redeem_invite(&hash(9), stranger.id).await.unwrap(), Redeemed::Nothing);
}

pub async fn open_invitations_are_bounded(bed: &Bed) {
    let alice = bed.user("alice").await;
    let room = bed.private_room_of(&alice, "secret").await;
    for number in 0..INVITES_OPEN_MAX as u8 {
        made(bed, &invite(&room, &alice, number, Some(1))).await;
    }
    assert_eq!(bed.create_invite(&invite(&room, &alice, 200, None)).await.unwrap(), Invited::TooMany);
    let bob = bed.user("bob").await;
    bed.redeem_invite(&hash(0), bob.id).await.unwrap();
    made(bed, &invite(&room, &alice, 200, None)).await;
    let seen = Some(bed.head(&room).await.access);
    bed.put_member(&bob, &room, Role::Moderator).await;
    let late = NewInvite { seen, ..invite(&room, &alice, 201, None) };
    assert_eq!(bed.create_invite(&late).await.unwrap(), Invited::Overtaken);
}

pub async fn two_users_have_one_direct_room(bed: &Bed) {
    let (alice, bob) = (bed.user("alice").await, bed.user("bob").await);
    let first = bed.direct_room(alice.id, bob.id, &slug("dm-1")).await.unwrap();
    assert!(first.made.is_some());
    for (asking, other) in [(&alice, &bob), (&bob, &alice)] {
        let again = bed.direct_room(asking.id, other.id, &slug("dm-2")).await.unwrap();
        assert_eq!(again, Direct { room: first.room, made: None });
        let seen = bed.room(asking.id, &RoomRef::Id(first.room)).await.unwrap().unwrap();
        assert_eq!(
            (seen.name.as_str(), seen.kind, &seen.slug),
            (other.username.as_str(), RoomKind::Direct, &slug("dm-1"))
        );
        assert_eq!((seen.role, seen.seq), (Some(Role::Member), 0));
        assert_eq!(bed.rooms(asking.id, 10, None).await.unwrap().items[0].name.as_str(), other.username.as_str());
        assert_eq!(bed.enter_one(asking, &seen).await.unwrap().name, seen.name);
    }
    let seen = bed.room(bob.id, &RoomRef::Id(first.room)).await.unwrap().unwrap();
    bed.say(&alice, &seen, "hi").await;
    assert_eq!(bed.room(bob.id, &RoomRef::Id(first.room)).await.unwrap().unwrap().unread, 1);
    let carol = bed.user("carol").await;
    assert_eq!(bed.room(carol.id, &RoomRef::Id(first.room)).await.unwrap(), None);
    let other = bed.direct_room(alice.id, carol.id, &slug("dm-3")).await.unwrap();
    assert_ne!(other.room, first.room);
    let taken = bed.direct_room(bob.id, carol.id, &slug("dm-3")).await;
    assert!(matches!(taken, Err(StoreError::Taken("slug"))));
    // One that an operator deleted does not stand in the way.
    bed.delete_room(first.room).await.unwrap();
    let anew = bed.direct_room(bob.id, alice.id, &slug("dm-4")).await.unwrap();
    assert!(anew.made.is_some() && anew.room != first.room);
}

pub async fn two_who_ask_at_once_get_the_same_direct_room(bed: &Bed) {
    let alice = bed.user("alice").await;
    let [one, other] = bed.handles();
    for number in 0..20 {
        let bob = bed.user(&format!("bob-{number}")).await;
        let (first, second) = (slug(&format!("dm-a{number}")), slug(&format!("dm-b{number}")));
        let (one, other) =
            tokio::join!(one.direct_room(alice.id, bob.id, &first), other.direct_room(bob.id, alice.id, &second));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.room, other.room);
        assert_ne!(one.made.is_some(), other.made.is_some(), "one of them made it");
    }
}

pub async fn additions_are_those_of_the_window(bed: &Bed) {
    let alice = bed.user("alice").await;
    let (bob, carol) = (bed.user("bob").await, bed.user("carol").await);
    let room = bed.private_room_of(&alice, "secret").await;
    let open = bed.room_of(&alice, "open").await;
    let Moderated::Done(Some(added)) = bed.act(&bob, &room, Act::Add(None)).await else { panic!("not added") };
    made(bed, &invite(&room, &alice, 1, None)).await;
    let Redeemed::Entered { addition: invited, .. } = bed.redeem_invite(&hash(1), carol.id).await.unwrap() else {
        panic!("not let in")
    };
    let direct = bed.direct_room(alice.id, bob.id, &slug("dm-1")).await.unwrap();
    let (hers, his) = direct.made.expect("made");
    // Nobody is told of what they entered themselves, nor of what already was so.
    bed.enter_one(&bob, &open).await.unwrap();
    bed.act(&bob, &room, Act::Add(None)).await;
    let expected = [
        Addition { id: added, user: bob.id, room: room.id },
        Addition { id: invited, user: carol.id, room: room.id },
        Addition { id: hers, user: alice.id, room: direct.room },
        Addition { id: his, user: bob.id, room: direct.room },
    ];
    assert_eq!(bed.recent_additions(HOUR, None, 10).await.unwrap(), expected);
    assert_eq!(bed.recent_additions(HOUR, None, 3).await.unwrap(), expected[..3]);
    assert_eq!(bed.recent_additions(HOUR, Some(expected[2].id), 3).await.unwrap(), expected[3..]);
    bed.age_revocations(2 * HOUR).await;
    assert_eq!(bed.recent_additions(HOUR, None, 10).await.unwrap(), []);
    assert_eq!(bed.purge(10).await.unwrap(), 0);
    bed.age_revocations(ADDITION_LIFETIME).await;
    assert_eq!(bed.purge(3).await.unwrap(), 3);
    assert_eq!(bed.purge(3).await.unwrap(), 1);
}

pub async fn rooms_are_seen_as_each_sees_them(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let secret = bed.private_room_of(&alice, "secret").await;
    let gone = bed.room_of(&alice, "gone").await;
    bed.delete_room(gone.id).await.unwrap();
    let pairs = [
        (bob.id, room.id),
        (bob.id, secret.id),
        (alice.id, secret.id),
        (alice.id, gone.id),
        (alice.id, RoomId(999)),
        (alice.id, room.id),
    ];
    let seen = bed.rooms_seen(&pairs).await.unwrap();
    let mut one_by_one = Vec::new();
    for (user, room) in pairs {
        one_by_one.push(bed.room(user, &RoomRef::Id(room)).await.unwrap());
    }
    assert_eq!(seen, one_by_one);
    assert_eq!(seen.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, false, false, true]);
    assert_eq!(bed.access_of(&bob, &room).await.standing, Standing::Guest, "to look makes nobody a member");
    assert_eq!(bed.rooms_seen(&[]).await.unwrap(), []);
}
