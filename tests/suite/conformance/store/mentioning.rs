//! Mentions: found among the members, stored with the message, counted for who is named.

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, item, stored_id};

fn names(message: &Message) -> Vec<&str> {
    message.mentions.iter().map(Username::as_str).collect()
}

async fn counts(bed: &Bed, user: &User, room: &RoomInfo) -> (u32, u32) {
    let seen = bed.room(user.id, &RoomRef::Id(room.id)).await.unwrap().unwrap();
    (seen.unread, seen.mentions)
}

/// Alice's room, with Bob and Anna as members, and Mallory, who is none.
async fn people(bed: &Bed) -> (User, User, RoomInfo) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("Bob").await;
    for member in [&bob, &bed.user("Анна").await] {
        bed.enter_one(member, &room).await.unwrap();
    }
    bed.user("mallory").await;
    (alice, bob, room)
}

pub async fn members_are_found_in_the_text(bed: &Bed) {
    let (alice, _, room) = people(bed).await;
    for (text, wanted) in [
        ("hi @bob.", &["Bob"][..]),
        ("@BOB @bob @анна, and @alice: not @mallory, not @nobody, nor bob", &["Bob", "Анна", "alice"]),
        ("mail bob@bob.example", &[]),
        ("no look-alikes: @b0b @bоb", &[]),
        ("nobody", &[]),
    ] {
        let outcome = bed.append_one(item(&alice, &room, Nonce::random().as_str(), text)).await;
        let Appended::Stored { id, mentions, .. } = outcome else { panic!("{text}: {outcome:?}") };
        assert_eq!(mentions.iter().map(Username::as_str).collect::<Vec<_>>(), wanted, "{text}");
        let stored = bed.message(room.id, id).await.unwrap().unwrap();
        assert_eq!(names(&stored), wanted, "{text}");
        let page = bed.changes_after(room.id, id - 1, 10).await.unwrap().unwrap();
        assert_eq!(names(&page.changes[0]), wanted, "{text}");
    }
}

pub async fn the_longest_name_that_is_a_members_counts(bed: &Bed) {
    let (alice, bob, room) = people(bed).await;
    let dotted = bed.user("bob.").await;
    let named = async |text: &str| {
        let id = bed.say(&alice, &room, text).await;
        bed.message(room.id, id).await.unwrap().unwrap().mentions
    };
    assert_eq!(named("hi @bob.").await, std::slice::from_ref(&bob.username), "the other one is no member");
    bed.enter_one(&dotted, &room).await.unwrap();
    assert_eq!(named("hi @bob.").await, std::slice::from_ref(&dotted.username));
    assert_eq!(named("hi @bob!").await, std::slice::from_ref(&bob.username));
}

pub async fn each_message_of_a_batch_has_its_own(bed: &Bed) {
    let (alice, bob, room) = people(bed).await;
    let elsewhere = bed.room_of(&alice, "elsewhere").await;
    let batch = [
        item(&alice, &room, "1", "nobody"),
        item(&alice, &room, "2", "@bob"),
        item(&alice, &elsewhere, "3", "@bob is no member here, @alice is"),
        item(&bob, &room, "4", "@alice and @bob"),
        item(&alice, &room, "2", "@bob"),
    ];
    let outcomes = bed.append(&batch, true).await.unwrap();
    for (outcome, wanted) in outcomes.iter().zip([&[][..], &["Bob"], &["alice"], &["alice", "Bob"]]) {
        let Appended::Stored { mentions, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(mentions.iter().map(Username::as_str).collect::<Vec<_>>(), wanted);
    }
    let Appended::Duplicate(again) = &outcomes[4] else { panic!("{outcomes:?}") };
    assert_eq!(names(again), ["Bob"]);
    assert_eq!(counts(bed, &bob, &room).await, (2, 1));
    assert_eq!(counts(bed, &alice, &room).await, (1, 1));
    assert_eq!(counts(bed, &alice, &elsewhere).await, (0, 0), "nobody mentions themselves");
}

pub async fn a_first_message_may_name_its_author(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let eve = bed.user("eve").await;
    let outcome = bed.append_one(item(&eve, &room, "1", "I am @eve")).await;
    let Appended::Stored { mentions, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(mentions, [eve.username]);
}

pub async fn mentions_follow_edits_and_deletions(bed: &Bed) {
    let (alice, bob, room) = people(bed).await;
    let id = bed.say(&alice, &room, "@bob").await;
    assert_eq!(counts(bed, &bob, &room).await, (1, 1));
    let Changed::Done(edited) = bed.edit(&alice, &room, id, "@анна and @mallory").await else { panic!("not done") };
    assert_eq!(names(&edited), ["Анна"]);
    assert_eq!(counts(bed, &bob, &room).await, (1, 0));
    let Changed::Done(edited) = bed.edit(&alice, &room, id, "sorry, @bob.").await else { panic!("not done") };
    assert_eq!(names(&edited), ["Bob"]);
    assert_eq!(counts(bed, &bob, &room).await, (1, 1));
    let Changed::Done(deleted) = bed.delete(&alice, &room, id).await else { panic!("not done") };
    assert_eq!(names(&deleted), [""; 0]);
    assert_eq!(counts(bed, &bob, &room).await, (0, 0));
}

pub async fn a_crowd_of_names_is_bounded(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let mut text = String::new();
    for number in 0..MENTIONS_MAX + 10 {
        let user = bed.user(&format!("member-{number}")).await;
        bed.enter_one(&user, &room).await.unwrap();
        text.push_str(&format!("@member-{number} "));
    }
    let id = stored_id(&bed.append_one(item(&alice, &room, "1", &text)).await);
    assert_eq!(bed.message(room.id, id).await.unwrap().unwrap().mentions.len(), MENTIONS_MAX);
}
