//! Roles, removals, bans and mutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, for_ms, item};

fn sanction(reason: &str, until: Option<Timestamp>) -> Sanction {
    Sanction { reason: Reason::parse(reason).unwrap(), until }
}

pub async fn roles_change_and_raise_the_access_version(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let version = || async { bed.head(&room).await.access };
    let first = version().await;
    assert!(matches!(bed.act(&bob, &room, Act::Add(None)).await, Moderated::Done(Some(_))));
    assert_eq!(bed.put_member(&bob, &room, Role::Member).await, Moderated::Unchanged);
    assert_eq!(version().await, first);
    assert_eq!(bed.put_member(&bob, &room, Role::Moderator).await, Moderated::Done(None));
    assert_eq!(bed.act(&bob, &room, Act::Add(None)).await, Moderated::Unchanged, "a moderator stays one");
    assert_eq!(version().await, first + 1);
    let access = bed.access_of(&bob, &room).await;
    assert_eq!((access.standing, access.version), (Standing::Member(Role::Moderator), first + 1));

    let carol = bed.user("carol").await;
    bed.ban(&carol, &room).await;
    assert_eq!(bed.put_member(&carol, &room, Role::Member).await, Moderated::Banned);
    let nobody = User { id: UserId(999), ..bob.clone() };
    assert_eq!(bed.put_member(&nobody, &room, Role::Member).await, Moderated::NoUser);
    let nowhere = RoomInfo { id: RoomId(999), ..room.clone() };
    assert_eq!(bed.put_member(&bob, &nowhere, Role::Member).await, Moderated::NoRoom);
}

pub async fn removal_raises_the_access_version(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.enter_one(&bob, &room).await.unwrap();
    let version = bed.head(&room).await.access;
    assert_eq!(bed.act(&bob, &room, Act::Remove).await, Moderated::Done(None));
    assert_eq!(bed.act(&bob, &room, Act::Remove).await, Moderated::Unchanged);
    assert_eq!(bed.head(&room).await.access, version + 1);
    assert_eq!(bed.access_of(&bob, &room).await.standing, Standing::Guest);
}

pub async fn what_was_judged_by_another_version_is_not_done(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.enter_one(&bob, &room).await.unwrap();
    let seen = bed.access_of(&alice, &room).await.version;
    bed.put_member(&bob, &room, Role::Owner).await;
    let acts = [
        Act::Add(Some(Role::Member)),
        Act::Remove,
        Act::Ban(Sanction::default()),
        Act::Mute(Sanction::default()),
        Act::Unban,
        Act::Unmute,
    ];
    for act in acts {
        let late = Moderation { room: room.id, user: bob.id, by: alice.id, seen: Some(seen), act };
        assert_eq!(bed.moderate(&late).await.unwrap(), Moderated::Overtaken, "{:?}", late.act);
    }
    assert_eq!(bed.access_of(&bob, &room).await.standing, Standing::Member(Role::Owner));
    let seen = Some(bed.access_of(&alice, &room).await.version);
    let now = Moderation { room: room.id, user: bob.id, by: alice.id, seen, act: Act::Remove };
    assert_eq!(bed.moderate(&now).await.unwrap(), Moderated::Done(None));
}

pub async fn a_room_keeps_an_owner(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.put_member(&bob, &room, Role::Moderator).await;
    let acts = [Act::Remove, Act::Ban(Sanction::default()), Act::Add(Some(Role::Moderator))];
    for act in acts.clone() {
        assert_eq!(bed.act(&alice, &room, act).await, Moderated::LastOwner);
    }
    assert_eq!(bed.access_of(&alice, &room).await.standing, Standing::Member(Role::Owner));
    for act in acts {
        bed.put_member(&bob, &room, Role::Owner).await;
        assert_eq!(bed.act(&bob, &room, act).await, Moderated::Done(None));
        bed.act(&bob, &room, Act::Unban).await;
    }
}

/// Two owners throw each other out at the same time: one of them stays.
pub async fn owners_who_remove_each_other_leave_one(bed: &Bed) {
    let (alice, first) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let mut rooms = vec![first];
    for i in 0..8 {
        rooms.push(bed.room_of(&alice, &format!("room-{i}")).await);
    }
    for room in &rooms {
        bed.put_member(&bob, room, Role::Owner).await;
        let [one, other] = bed.handles();
        let act = |user: &User| Moderation {
            room: room.id,
            user: user.id,
            by: user.id,
            seen: None,
            act: Act::Ban(Sanction::default()),
        };
        let (of_alice, of_bob) = (act(&alice), act(&bob));
        let (one, other) = tokio::join!(one.moderate(&of_alice), other.moderate(&of_bob));
        let outcomes = [one.unwrap(), other.unwrap()];
        assert!(outcomes.contains(&Moderated::Done(None)) && outcomes.contains(&Moderated::LastOwner), "{outcomes:?}");
    }
}

pub async fn a_ban_ends_the_membership_and_every_way_in(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.say(&bob, &room, "before").await;
    let version = bed.head(&room).await.access;
    bed.ban(&bob, &room).await;
    let access = bed.access_of(&bob, &room).await;
    assert_eq!((access.standing, access.version), (Standing::Banned, version + 1));
    assert_eq!(bed.enter_one(&bob, &room).await.unwrap_err(), Refusal::Banned);
    assert_eq!(bed.append_one(item(&bob, &room, "n", "after")).await, Appended::Refused(Refusal::Banned));
    assert_eq!(bed.edit(&bob, &room, 1, "after").await, Changed::Refused(Refusal::Banned));
    let members = bed.members(room.id, 10, None).await.unwrap().items;
    assert_eq!(members.iter().map(|member| member.user).collect::<Vec<_>>(), [alice.id]);

    assert_eq!(bed.act(&bob, &room, Act::Unban).await, Moderated::Done(None));
    assert_eq!(bed.act(&bob, &room, Act::Unban).await, Moderated::Unchanged);
    assert_eq!(bed.access_of(&bob, &room).await.standing, Standing::Guest, "lifted, they may come again");
    bed.say(&bob, &room, "back").await;
}

pub async fn bans_and_mutes_run_out_by_themselves(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let (bob, carol) = (bed.user("bob").await, bed.user("carol").await);
    bed.say(&carol, &room, "before").await;
    assert_eq!(bed.act(&bob, &room, Act::Ban(for_ms(700))).await, Moderated::Done(None));
    assert_eq!(bed.act(&carol, &room, Act::Mute(for_ms(700))).await, Moderated::Done(None));
    assert_eq!(bed.access_of(&bob, &room).await.standing, Standing::Banned);
    assert!(bed.access_of(&carol, &room).await.muted);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while bed.access_of(&bob, &room).await.standing == Standing::Banned || bed.access_of(&carol, &room).await.muted {
        assert!(std::time::Instant::now() < deadline, "they do not run out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bed.say(&bob, &room, "again").await;
    bed.say(&carol, &room, "again").await;
    for kind in [SanctionKind::Ban, SanctionKind::Mute] {
        assert_eq!(bed.sanctioned(kind, room.id, 10, None).await.unwrap().items, []);
    }
    assert_eq!(bed.purge(10).await.unwrap(), 2, "what ran out is removed");
}

pub async fn a_mute_silences_and_nothing_else(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let id = bed.say(&bob, &room, "before").await;
    bed.act(&bob, &room, Act::Mute(Sanction::default())).await;
    assert_eq!(bed.append_one(item(&bob, &room, "n", "after")).await, Appended::Refused(Refusal::Muted));
    assert_eq!(bed.edit(&bob, &room, id, "after").await, Changed::Refused(Refusal::Muted));
    assert!(bed.enter_one(&bob, &room).await.is_ok());
    assert!(matches!(bed.delete(&bob, &room, id).await, Changed::Done(_)));
    assert_eq!(bed.act(&bob, &room, Act::Unmute).await, Moderated::Done(None));
    assert_eq!(bed.act(&bob, &room, Act::Unmute).await, Moderated::Unchanged);
    bed.say(&bob, &room, "after").await;
}

pub async fn leaving_ends_no_mute(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let (bob, carol) = (bed.user("bob").await, bed.user("carol").await);
    bed.say(&bob, &room, "before").await;
    bed.mute(&bob, &room, 60_000).await;
    // As well somebody who has never been there.
    bed.mute(&carol, &room, 60_000).await;
    bed.act(&bob, &room, Act::Remove).await;
    for user in [&bob, &carol] {
        assert_eq!(bed.append_one(item(user, &room, "n", "x")).await, Appended::Refused(Refusal::Muted));
        assert_eq!(bed.access_of(user, &room).await.standing, Standing::Guest, "nor is anybody a member by that");
    }
    assert_eq!(bed.edit(&bob, &room, 1, "x").await, Changed::Refused(Refusal::Muted));
    bed.enter_one(&bob, &room).await.unwrap();
    assert_eq!(bed.append_one(item(&bob, &room, "n", "x")).await, Appended::Refused(Refusal::Muted));
}

pub async fn bans_and_mutes_are_listed_in_pages(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let mut users = Vec::new();
    for name in ["bob", "carol", "dave"] {
        users.push(bed.user(name).await);
    }
    let until = Some(Timestamp(Timestamp::now().0 + 60_000));
    for (kind, terms) in [(SanctionKind::Ban, sanction(" spam ", until)), (SanctionKind::Mute, sanction("", None))] {
        for user in &users {
            let act = if kind == SanctionKind::Ban { Act::Ban(terms.clone()) } else { Act::Mute(terms.clone()) };
            let moderation = Moderation { room: room.id, user: user.id, by: alice.id, seen: None, act };
            bed.moderate(&moderation).await.unwrap();
        }
        let first = bed.sanctioned(kind, room.id, 2, None).await.unwrap();
        let second = bed.sanctioned(kind, room.id, 2, first.next.as_deref()).await.unwrap();
        assert_eq!((first.items.len(), second.items.len(), second.next.as_deref()), (2, 1, None));
        let one = &first.items[0];
        assert_eq!(
            (one.user, &one.username, one.by.as_ref()),
            (users[0].id, &users[0].username, Some(&alice.username))
        );
        assert_eq!((&one.reason, one.until), (&terms.reason, terms.until), "{kind:?}");
        assert_eq!(one.reason.as_str(), terms.reason.as_str().trim());
    }
    // Once more with other terms: those hold.
    let other = sanction("enough", None);
    bed.act(&users[0], &room, Act::Ban(other.clone())).await;
    let listed = bed.sanctioned(SanctionKind::Ban, room.id, 10, None).await.unwrap().items;
    assert_eq!((listed.len(), &listed[0].reason, listed[0].until), (3, &other.reason, None));
}

/// Sends race with bans over another handle: what was answered before is stored, and nothing after.
pub async fn nothing_is_appended_after_a_ban(bed: &Bed) {
    const ROUNDS: usize = 40;
    let (_, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let over = Arc::new(AtomicBool::new(false));
    let mut shouting = tokio::task::JoinSet::new();
    for (number, store) in bed.handles().into_iter().enumerate() {
        let (bob, room, over) = (bob.clone(), room.clone(), over.clone());
        shouting.spawn(async move {
            for turn in 0.. {
                let batch = [item(&bob, &room, &format!("{number}.{turn}"), "x")];
                match store.append(&batch, true).await.unwrap().remove(0) {
                    Appended::Stored { .. } => {}
                    Appended::Refused(Refusal::Banned) if over.load(Ordering::Relaxed) => return,
                    Appended::Refused(Refusal::Banned) => tokio::task::yield_now().await,
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    for round in 0..ROUNDS {
        let before = bed.head(&room).await.seq;
        while bed.head(&room).await.seq < before + 5 {
            tokio::task::yield_now().await;
        }
        bed.ban(&bob, &room).await;
        let answered = bed.head(&room).await.seq;
        // Long enough for whatever was under way.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(bed.head(&room).await.seq, answered, "round {round}");
        if round + 1 < ROUNDS {
            bed.act(&bob, &room, Act::Unban).await;
        }
    }
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = shouting.join_next().await {
        ended.unwrap();
    }
}
