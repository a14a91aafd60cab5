//! Edits and deletions.

use salon::model::*;
use salon::store::*;

use super::bed::Bed;

pub async fn an_edit_takes_the_next_seq(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let id = bed.say(&alice, &room, "one").await;
    bed.say(&alice, &room, "two").await;
    let before = bed.message(room.id, id).await.unwrap().unwrap();
    let Changed::Done(message) = bed.edit(&alice, &room, id, "changed").await else { panic!("not done") };
    assert!(message.edited_at >= Some(before.created_at));
    let expected =
        Message { seq: 3, kind: ChangeKind::Edited, content: "changed".into(), edited_at: message.edited_at, ..before };
    assert_eq!(*message, expected);
    assert_eq!(bed.message(room.id, id).await.unwrap(), Some(expected));
    assert_eq!(bed.head(&room).await.seq, 3);
    assert_eq!(bed.say(&alice, &room, "four").await, 4);
}

pub async fn a_deletion_leaves_the_place_and_nothing_else(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let id = bed.say(&alice, &room, "one").await;
    let Changed::Done(message) = bed.delete(&alice, &room, id).await else { panic!("not done") };
    assert_eq!((message.id, message.seq, message.kind), (1, 2, ChangeKind::Deleted));
    assert_eq!((message.content.as_str(), message.deleted), ("", true));
    assert_eq!(bed.edit(&alice, &room, id, "again").await, Changed::Refused(Refusal::Gone));
}

pub async fn what_already_is_so_takes_no_seq(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let id = bed.say(&alice, &room, "one").await;
    assert!(matches!(bed.edit(&alice, &room, id, "one").await, Changed::Unchanged(message) if message.seq == 1));
    bed.delete(&alice, &room, id).await;
    assert!(matches!(bed.delete(&alice, &room, id).await, Changed::Unchanged(message) if message.seq == 2));
    assert_eq!(bed.head(&room).await.seq, 2);
}

pub async fn only_the_author_edits(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let root = bed.administrator("superuser").await;
    bed.enter_one(&root, &room).await.unwrap();
    let id = bed.say(&bob, &room, "bob's").await;
    for other in [&alice, &root] {
        assert_eq!(bed.edit(other, &room, id, "mine").await, Changed::Refused(Refusal::NotAllowed));
    }
    assert_eq!(bed.edit(&bob, &room, 99, "none").await, Changed::Refused(Refusal::NoMessage));
    assert_eq!(bed.edit(&bob, &room, u64::MAX, "none").await, Changed::Refused(Refusal::NoMessage));
}

pub async fn moderators_and_administrators_delete(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let carol = bed.user("carol").await;
    let root = bed.administrator("superuser").await;
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(bed.say(&bob, &room, text).await);
    }
    bed.enter_one(&carol, &room).await.unwrap();
    assert_eq!(bed.delete(&carol, &room, ids[0]).await, Changed::Refused(Refusal::NotAllowed));
    bed.put_member(&carol, &room, Role::Moderator).await;
    assert!(matches!(bed.delete(&carol, &room, ids[0]).await, Changed::Done(_)));
    assert!(matches!(bed.delete(&alice, &room, ids[1]).await, Changed::Done(_)));
    assert!(matches!(bed.delete(&root, &room, ids[2]).await, Changed::Done(_)));

    let secret = bed.private_room_of(&alice, "secret").await;
    let id = bed.say(&alice, &secret, "hidden").await;
    assert!(matches!(bed.delete(&root, &secret, id).await, Changed::Done(_)));
}

pub async fn strangers_learn_nothing_by_changing(bed: &Bed) {
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    let room = bed.private_room_of(&alice, "secret").await;
    let id = bed.say(&alice, &room, "hidden").await;
    for at in [id, 99] {
        assert_eq!(bed.edit(&bob, &room, at, "x").await, Changed::Refused(Refusal::NoRoom));
        assert_eq!(bed.delete(&bob, &room, at).await, Changed::Refused(Refusal::NoRoom));
    }
    let nowhere = RoomInfo { id: RoomId(999), ..room.clone() };
    assert_eq!(bed.delete(&alice, &nowhere, 1).await, Changed::Refused(Refusal::NoRoom));
    bed.delete_room(room.id).await.unwrap();
    assert_eq!(bed.delete(&alice, &room, id).await, Changed::Refused(Refusal::NoRoom));
}

pub async fn the_banned_and_the_muted_change_nothing(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let id = bed.say(&bob, &room, "one").await;
    bed.mute(&bob, &room, 60_000).await;
    assert_eq!(bed.edit(&bob, &room, id, "two").await, Changed::Refused(Refusal::Muted));
    bed.ban(&bob, &room).await;
    assert_eq!(bed.edit(&bob, &room, id, "two").await, Changed::Refused(Refusal::Banned));
    assert_eq!(bed.delete(&bob, &room, id).await, Changed::Refused(Refusal::Banned));
    bed.execute("DELETE FROM bans").await;
    // Taking one's own words back is no way to speak.
    assert!(matches!(bed.delete(&bob, &room, id).await, Changed::Done(_)));
    bed.set_disabled(bob.id, true).await.unwrap();
    assert_eq!(bed.delete(&bob, &room, id).await, Changed::Refused(Refusal::Disabled));
}
