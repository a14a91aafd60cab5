//! The append, from one sender at a time.

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, item, stored_id};

pub async fn an_empty_batch_does_nothing(bed: &Bed) {
    assert_eq!(bed.append(&[], false).await.unwrap(), []);
}

pub async fn seqs_start_at_one_and_follow_the_batch(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    assert_eq!(room.seq, 0);
    let batch: Vec<_> = (0..100).map(|i| item(&alice, &room, &format!("n{i}"), &format!("text {i}"))).collect();
    let outcomes = bed.append(&batch, false).await.unwrap();
    assert_eq!(outcomes.iter().map(stored_id).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    assert_eq!(bed.say(&alice, &room, "next").await, 101);

    let changes = bed.changes_after(room.id, 0, 1_000).await.unwrap().unwrap();
    for (i, message) in changes.changes.iter().take(100).enumerate() {
        assert_eq!((message.id, message.content.as_str()), (i as u64 + 1, format!("text {i}").as_str()));
    }
    assert_eq!(bed.head(&room).await.seq, 101);
}

pub async fn rooms_of_a_batch_have_their_own_clocks(bed: &Bed) {
    let (alice, a) = bed.alice_and_room().await;
    let b = bed.room_of(&alice, "b").await;
    let batch = [item(&alice, &a, "1", "a1"), item(&alice, &b, "1", "b1"), item(&alice, &a, "2", "a2")];
    let outcomes = bed.append(&batch, true).await.unwrap();
    assert_eq!(outcomes.iter().map(stored_id).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!((bed.head(&a).await.seq, bed.head(&b).await.seq), (2, 1));
}

pub async fn the_same_nonce_is_the_same_message(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let target = bed.say(&alice, &room, "target").await;
    let send = Append { reply_to: Some(target), ..item(&alice, &room, "n", "hi") };
    let Appended::Stored { id, created_at, .. } = bed.append_one(send.clone()).await else { panic!("not stored") };
    let Appended::Duplicate(message) = bed.append_one(send).await else { panic!("no duplicate") };
    let expected = Message {
        room: room.id,
        id,
        seq: id,
        kind: ChangeKind::Created,
        author: alice.username.clone(),
        author_id: alice.id,
        content: "hi".into(),
        created_at,
        edited_at: None,
        deleted: false,
        reply_to: Some(target),
        nonce: Some("n".into()),
        mentions: Vec::new(),
        reactions: Reactions::default(),
    };
    assert_eq!(*message, expected);
    assert_eq!(bed.message(room.id, id).await.unwrap(), Some(expected));
    assert_eq!(bed.head(&room).await.seq, 2);
}

pub async fn the_same_nonce_of_another_is_another_message(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let elsewhere = bed.room_of(&alice, "elsewhere").await;
    assert_eq!(stored_id(&bed.append_one(item(&alice, &room, "n", "hi")).await), 1);
    assert_eq!(stored_id(&bed.append_one(item(&bob, &room, "n", "hi")).await), 2);
    assert_eq!(stored_id(&bed.append_one(item(&alice, &elsewhere, "n", "hi")).await), 1);
}

pub async fn a_nonce_twice_in_one_batch_is_stored_once(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let batch = [
        item(&alice, &room, "n", "first"),
        item(&alice, &room, "m", "second"),
        item(&alice, &room, "n", "first"),
        item(&alice, &room, "n", "other"),
        item(&alice, &room, "o", "third"),
    ];
    let outcomes = bed.append(&batch, true).await.unwrap();
    assert_eq!((stored_id(&outcomes[0]), stored_id(&outcomes[1]), stored_id(&outcomes[4])), (1, 2, 3));
    let stored = bed.message(room.id, 1).await.unwrap().unwrap();
    assert_eq!(outcomes[2], Appended::Duplicate(Box::new(stored)));
    assert_eq!(outcomes[3], Appended::Refused(Refusal::NonceReused));
    assert_eq!(bed.head(&room).await.seq, 3);
}

pub async fn a_nonce_with_other_content_is_refused(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    bed.append_one(item(&alice, &room, "n", "one")).await;
    let outcome = bed.append_one(item(&alice, &room, "n", "two")).await;
    assert_eq!(outcome, Appended::Refused(Refusal::NonceReused));
}

pub async fn a_duplicate_is_given_in_its_present_state(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let send = item(&alice, &room, "n", "hi");
    let id = stored_id(&bed.append_one(send.clone()).await);
    bed.edit(&alice, &room, id, "edited").await;
    let Appended::Duplicate(edited) = bed.append_one(send.clone()).await else { panic!("no duplicate") };
    assert_eq!((edited.id, edited.seq, edited.content.as_str()), (1, 2, "edited"));
    assert_eq!(edited.kind, ChangeKind::Edited);
    bed.delete(&alice, &room, id).await;
    let Appended::Duplicate(deleted) = bed.append_one(send).await else { panic!("no duplicate") };
    assert_eq!((deleted.seq, deleted.content.as_str(), deleted.deleted), (3, "", true));
}

pub async fn a_duplicate_is_told_to_one_who_may_send_no_more(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let send = item(&bob, &room, "n", "hi");
    bed.append_one(send.clone()).await;
    bed.ban(&bob, &room).await;
    assert!(matches!(bed.append_one(send.clone()).await, Appended::Duplicate(_)));
    bed.set_disabled(bob.id, true).await.unwrap();
    assert!(matches!(bed.append_one(send).await, Appended::Duplicate(_)));
}

pub async fn one_bad_item_fails_alone(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let nobody = User { id: UserId(999), ..alice.clone() };
    let nowhere = RoomInfo { id: RoomId(999), ..room.clone() };
    let batch = [
        item(&alice, &room, "1", "good"),
        item(&nobody, &room, "1", "bad"),
        item(&alice, &nowhere, "1", "bad"),
        Append { reply_to: Some(77), ..item(&alice, &room, "2", "bad") },
        item(&alice, &room, "3", "good too"),
    ];
    let outcomes = bed.append(&batch, false).await.unwrap();
    assert_eq!(stored_id(&outcomes[0]), 1);
    assert_eq!(outcomes[1], Appended::Refused(Refusal::Disabled));
    assert_eq!(outcomes[2], Appended::Refused(Refusal::NoRoom));
    assert_eq!(outcomes[3], Appended::Refused(Refusal::NoReplyTarget));
    assert_eq!(stored_id(&outcomes[4]), 2);
    assert_eq!(bed.head(&room).await.seq, 2);
}

pub async fn a_refused_item_leaves_its_nonce_free(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let batch = [
        Append { reply_to: Some(77), ..item(&alice, &room, "n", "bad") },
        item(&alice, &room, "n", "good"),
        item(&alice, &room, "n", "good"),
    ];
    let outcomes = bed.append(&batch, true).await.unwrap();
    assert_eq!(outcomes[0], Appended::Refused(Refusal::NoReplyTarget));
    assert_eq!(stored_id(&outcomes[1]), 1);
    assert!(matches!(&outcomes[2], Appended::Duplicate(message) if message.id == 1 && message.content == "good"));
}

pub async fn a_public_room_makes_its_senders_members(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.say(&alice, &room, "before").await;
    assert_eq!(bed.access_of(&bob, &room).await.standing, Standing::Guest);
    bed.say(&bob, &room, "hello").await;
    assert_eq!(bed.access_of(&bob, &room).await.standing, Standing::Member(Role::Member));
    let seen = bed.room(bob.id, &RoomRef::Id(room.id)).await.unwrap().unwrap();
    assert_eq!((seen.last_read, seen.unread), (1, 0));
}

pub async fn a_private_room_does_not_exist_for_others(bed: &Bed) {
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    let room = bed.private_room_of(&alice, "secret").await;
    assert_eq!(bed.append_one(item(&bob, &room, "n", "hi")).await, Appended::Refused(Refusal::NoRoom));
    bed.put_member(&bob, &room, Role::Member).await;
    assert_eq!(stored_id(&bed.append_one(item(&bob, &room, "n", "hi")).await), 1);
    bed.act(&bob, &room, Act::Remove).await;
    assert_eq!(bed.append_one(item(&bob, &room, "m", "hi")).await, Appended::Refused(Refusal::NoRoom));
}

pub async fn the_banned_and_the_muted_are_refused(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.say(&bob, &room, "hello").await;
    bed.mute(&bob, &room, 60_000).await;
    assert_eq!(bed.append_one(item(&bob, &room, "1", "hi")).await, Appended::Refused(Refusal::Muted));
    bed.mute(&bob, &room, -1).await;
    assert_eq!(stored_id(&bed.append_one(item(&bob, &room, "1", "hi")).await), 2);
    bed.ban_in_the_past(&bob, &room).await;
    assert_eq!(stored_id(&bed.append_one(item(&bob, &room, "2", "hi")).await), 3);
    bed.execute("DELETE FROM bans").await;
    bed.ban(&bob, &room).await;
    assert_eq!(bed.append_one(item(&bob, &room, "3", "hi")).await, Appended::Refused(Refusal::Banned));
    assert_eq!(bed.head(&room).await.seq, 3);
}

pub async fn the_disabled_are_refused(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    bed.set_disabled(alice.id, true).await.unwrap();
    assert_eq!(bed.append_one(item(&alice, &room, "n", "hi")).await, Appended::Refused(Refusal::Disabled));
    bed.set_disabled(alice.id, false).await.unwrap();
    assert_eq!(stored_id(&bed.append_one(item(&alice, &room, "n", "hi")).await), 1);
}

pub async fn a_reply_needs_its_target(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let elsewhere = bed.room_of(&alice, "elsewhere").await;
    let there = bed.say(&alice, &elsewhere, "there").await;
    let reply = Append { reply_to: Some(there), ..item(&alice, &room, "n", "re") };
    assert_eq!(bed.append_one(reply.clone()).await, Appended::Refused(Refusal::NoReplyTarget));
    let here = bed.say(&alice, &room, "here").await;
    bed.delete(&alice, &room, here).await;
    assert_eq!(stored_id(&bed.append_one(Append { reply_to: Some(here), ..reply.clone() }).await), 3);
    let beyond = Append { reply_to: Some(u64::MAX), nonce: Nonce::random(), ..reply };
    assert_eq!(bed.append_one(beyond).await, Appended::Refused(Refusal::NoReplyTarget));
}

pub async fn a_deleted_room_takes_nothing(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    assert!(bed.delete_room(room.id).await.unwrap());
    for wait in [false, true] {
        let outcomes = bed.append(&[item(&alice, &room, "n", "hi")], wait).await.unwrap();
        assert_eq!(outcomes, [Appended::Refused(Refusal::NoRoom)]);
    }
}

pub async fn times_do_not_go_back(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let mut last = Timestamp(0);
    for i in 0..20 {
        let outcome = bed.append_one(item(&alice, &room, &format!("n{i}"), "hi")).await;
        let Appended::Stored { created_at, .. } = outcome else { panic!("{outcome:?}") };
        assert!(created_at >= last);
        last = created_at;
    }
    assert!((Timestamp::now().0 - last.0).abs() < 60_000);
}
