//! Rooms, members and access.

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, item, new_room, slug};

pub async fn the_owner_is_a_member(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    assert_eq!((room.role, room.seq, room.unread), (Some(Role::Owner), 0, 0));
    assert_eq!(bed.access_of(&alice, &room).await.standing, Standing::Member(Role::Owner));
    assert_eq!(bed.room(alice.id, &RoomRef::Id(room.id)).await.unwrap(), Some(room));
}

pub async fn a_slug_is_taken_until_its_room_is_deleted(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let again = || bed.create_room(new_room(&alice, "general", RoomKind::Private));
    assert!(matches!(again().await, Err(StoreError::Taken("slug"))));
    bed.delete_room(room.id).await.unwrap();
    let second = again().await.unwrap();
    assert_ne!((second.id, &second.epoch), (room.id, &room.epoch));
}

pub async fn a_room_is_found_by_id_and_by_slug(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let by_id = bed.room(bob.id, &RoomRef::Id(room.id)).await.unwrap().unwrap();
    let by_slug = bed.room(bob.id, &RoomRef::Slug(slug("general"))).await.unwrap().unwrap();
    assert_eq!(by_id, by_slug);
    assert_eq!((by_id.role, by_id.last_read, by_id.unread), (None, 0, 0));
    assert_eq!(bed.room(bob.id, &RoomRef::Slug(slug("absent"))).await.unwrap(), None);
    assert_eq!(bed.room(bob.id, &RoomRef::Id(RoomId(i64::MAX))).await.unwrap(), None);
}

pub async fn a_private_room_is_seen_by_its_members_only(bed: &Bed) {
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    let room = bed.private_room_of(&alice, "secret").await;
    let seen = || async { bed.room(bob.id, &RoomRef::Slug(room.slug.clone())).await.unwrap() };
    assert_eq!(seen().await, None);
    bed.put_member(&bob, &room, Role::Moderator).await;
    assert_eq!(seen().await.unwrap().role, Some(Role::Moderator));
}

pub async fn own_rooms_are_listed_first_in_pages(bed: &Bed) {
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    let mut rooms = Vec::new();
    for i in 0..6 {
        rooms.push(bed.room_of(&alice, &format!("room-{i}")).await);
    }
    bed.private_room_of(&alice, "secret").await;
    let own = bed.private_room_of(&bob, "own").await;
    bed.enter_one(&bob, &rooms[3]).await.unwrap();
    bed.delete_room(rooms[1].id).await.unwrap();
    let expected = [rooms[3].id, own.id, rooms[0].id, rooms[2].id, rooms[4].id, rooms[5].id];
    for limit in 1..=7 {
        let mut listed = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = bed.rooms(bob.id, limit, cursor.as_deref()).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            listed.extend(page.items.iter().map(|room| room.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, expected, "in pages of {limit}");
    }
}

pub async fn a_room_takes_a_new_name_and_topic(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let topic = Topic::parse("all of it").unwrap();
    let version = bed.head(&room).await.access;
    let changes = RoomChanges { topic: Some(topic.clone()), ..RoomChanges::default() };
    assert_eq!(bed.update_room(room.id, changes).await.unwrap(), Some(()));
    let seen = bed.room(alice.id, &RoomRef::Id(room.id)).await.unwrap().unwrap();
    assert_eq!((&seen.name, &seen.topic), (&room.name, &topic));
    assert_eq!((seen.access, bed.head(&room).await.access), (version + 1, version + 1));
    assert_eq!(bed.update_room(RoomId(999), RoomChanges::default()).await.unwrap(), None);
}

pub async fn entering_a_public_room_makes_a_member(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.say(&alice, &room, "old").await;
    let version = bed.head(&room).await.access;
    let entered = bed.enter_one(&bob, &room).await.unwrap();
    assert_eq!((entered.role, entered.seq, entered.last_read, entered.unread), (Some(Role::Member), 1, 1, 0));
    bed.say(&alice, &room, "new").await;
    let again = bed.enter_one(&bob, &room).await.unwrap();
    assert_eq!((again.seq, again.last_read, again.unread), (2, 1, 1));
    assert_eq!(bed.enter_one(&alice, &room).await.unwrap().role, Some(Role::Owner));
    assert_eq!(bed.head(&room).await.access, version);
}

pub async fn entering_is_refused_to_each_as_it_should_be(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let secret = bed.private_room_of(&alice, "secret").await;
    let gone = bed.room_of(&alice, "gone").await;
    bed.delete_room(gone.id).await.unwrap();
    let banned = bed.user("banned").await;
    let disabled = bed.user("disabled").await;
    bed.ban(&banned, &room).await;
    bed.set_disabled(disabled.id, true).await.unwrap();
    let pairs = [
        (alice.id, RoomRef::Slug(slug("secret"))),
        (banned.id, RoomRef::Id(secret.id)),
        (banned.id, RoomRef::Slug(slug("general"))),
        (alice.id, RoomRef::Id(gone.id)),
        (disabled.id, RoomRef::Id(room.id)),
        (alice.id, RoomRef::Slug(slug("absent"))),
        (alice.id, RoomRef::Id(room.id)),
        (alice.id, RoomRef::Id(room.id)),
    ];
    let outcomes = bed.enter(&pairs).await.unwrap();
    let told: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map(|info| info.id).map_err(|r| *r)).collect();
    let expected = [
        Ok(secret.id),
        Err(Refusal::NoRoom),
        Err(Refusal::Banned),
        Err(Refusal::NoRoom),
        Err(Refusal::Disabled),
        Err(Refusal::NoRoom),
        Ok(room.id),
        Ok(room.id),
    ];
    assert_eq!(told, expected);
    assert!(bed.enter(&[]).await.unwrap().is_empty());
}

pub async fn unread_counts_what_others_sent_since(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.enter_one(&bob, &room).await.unwrap();
    for i in 0..5 {
        bed.say(&alice, &room, &format!("text {i}")).await;
        bed.say(&bob, &room, &format!("text {i}")).await;
    }
    bed.delete(&alice, &room, 1).await;
    let unread = || async { bed.room(bob.id, &RoomRef::Id(room.id)).await.unwrap().unwrap().unread };
    assert_eq!(unread().await, 4);
    let many: Vec<_> = (0..150).map(|i| item(&alice, &room, &format!("n{i}"), "many")).collect();
    bed.append(&many, true).await.unwrap();
    assert_eq!(unread().await, 100);
}

pub async fn members_are_listed_in_pages(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let mut expected = vec![(alice.username.clone(), Role::Owner)];
    for name in ["bob", "carol", "dave"] {
        let user = bed.user(name).await;
        bed.enter_one(&user, &room).await.unwrap();
        expected.push((user.username, Role::Member));
    }
    let first = bed.members(room.id, 3, None).await.unwrap();
    let second = bed.members(room.id, 3, first.next.as_deref()).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next.is_none()), (3, 1, true));
    let listed: Vec<_> = first.items.into_iter().chain(second.items).map(|m| (m.username, m.role)).collect();
    assert_eq!(listed, expected);
}

pub async fn access_tells_each_standing(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let carol = bed.user("carol").await;
    let secret = bed.private_room_of(&alice, "secret").await;
    let gone = bed.room_of(&alice, "gone").await;
    bed.delete_room(gone.id).await.unwrap();
    bed.ban(&carol, &room).await;
    bed.mute(&alice, &secret, 60_000).await;
    let pairs = [
        (bob.id, room.id),
        (alice.id, room.id),
        (carol.id, room.id),
        (bob.id, secret.id),
        (alice.id, secret.id),
        (alice.id, gone.id),
        (alice.id, RoomId(999)),
    ];
    let access = bed.access(&pairs).await.unwrap();
    let standings: Vec<_> = access.iter().map(|access| access.standing).collect();
    let expected = [
        Standing::Guest,
        Standing::Member(Role::Owner),
        Standing::Banned,
        Standing::Stranger,
        Standing::Member(Role::Owner),
        Standing::RoomDeleted,
        Standing::Stranger,
    ];
    assert_eq!(standings, expected);
    assert_eq!(access[0].version, bed.head(&room).await.access);
    let muted: Vec<_> = access.iter().map(|access| access.muted).collect();
    assert_eq!(muted, [false, false, false, false, true, false, false]);
    assert_eq!(access[1].site_role, Some(SiteRole::User));
}

pub async fn a_deleted_room_is_gone_at_every_door(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let before = bed.access_of(&alice, &room).await.version;
    assert!(bed.delete_room(room.id).await.unwrap());
    assert!(!bed.delete_room(room.id).await.unwrap());
    let access = bed.access_of(&alice, &room).await;
    assert_eq!(access.standing, Standing::RoomDeleted);
    assert!(access.version > before);
    assert_eq!(bed.room(alice.id, &RoomRef::Id(room.id)).await.unwrap(), None);
    assert_eq!(bed.room(alice.id, &RoomRef::Slug(room.slug.clone())).await.unwrap(), None);
    assert!(bed.rooms(alice.id, 10, None).await.unwrap().items.is_empty());
    assert_eq!(bed.put_member(&alice, &room, Role::Member).await, Moderated::NoRoom);
    assert_eq!(bed.act(&alice, &room, Act::Remove).await, Moderated::NoRoom);
    assert_eq!(bed.update_room(room.id, RoomChanges::default()).await.unwrap(), None);
}

pub async fn purging_takes_its_limit_at_a_time(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let kept = bed.room_of(&alice, "kept").await;
    let bob = bed.user("bob").await;
    for i in 0..7 {
        bed.say(&alice, &room, &format!("text {i}")).await;
    }
    bed.say(&alice, &kept, "stays").await;
    bed.ban(&bob, &room).await;
    bed.mute(&bob, &room, 60_000).await;
    assert_eq!(bed.purge(5).await.unwrap(), 0);
    bed.delete_room(room.id).await.unwrap();
    // Seven messages, one member, one ban, one mute.
    assert_eq!(bed.purge(5).await.unwrap(), 5);
    assert_eq!(bed.purge(5).await.unwrap(), 5);
    assert_eq!(bed.purge(5).await.unwrap(), 0);
    assert_eq!(bed.access_of(&alice, &room).await.standing, Standing::RoomDeleted);
    assert_eq!(bed.changes_after(kept.id, 0, 10).await.unwrap().unwrap().changes.len(), 1);
}
