//! Reactions, which are changes of the message.

use salon::model::*;
use salon::store::*;

use super::bed::Bed;

pub async fn react(bed: &Bed, actor: &User, room: &RoomInfo, id: MessageId, emoji: &str) -> Changed {
    let what = ChangeWhat::React(Emoji::parse(emoji).unwrap());
    bed.change(&Change { room: room.id, actor: actor.id, id, what }).await.unwrap()
}

async fn take_back(bed: &Bed, actor: &User, room: &RoomInfo, id: MessageId, emoji: &str) -> Changed {
    let what = ChangeWhat::Unreact(Emoji::parse(emoji).unwrap());
    bed.change(&Change { room: room.id, actor: actor.id, id, what }).await.unwrap()
}

fn done(changed: Changed) -> Message {
    match changed {
        Changed::Done(message) => *message,
        other => panic!("not done: {other:?}"),
    }
}

fn shown(message: &Message) -> String {
    serde_json::to_string(&message.reactions).unwrap()
}

pub async fn a_reaction_takes_the_next_seq_and_shows_on_the_message(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let id = bed.say(&alice, &room, "one").await;
    bed.say(&alice, &room, "two").await;
    let message = done(react(bed, &bob, &room, id, "👍").await);
    assert_eq!((message.id, message.seq, message.kind), (1, 3, ChangeKind::Reacted));
    assert_eq!(shown(&message), r#"{"👍":{"count":1,"users":["bob"]}}"#);
    assert_eq!(message.edited_at, None);
    done(react(bed, &alice, &room, id, "🎉").await);
    let message = done(react(bed, &alice, &room, id, "👍").await);
    let both = r#"{"👍":{"count":2,"users":["bob","alice"]},"🎉":{"count":1,"users":["alice"]}}"#;
    assert_eq!(shown(&message), both);
    assert_eq!(bed.message(room.id, id).await.unwrap(), Some(message.clone()));
    let page = bed.changes_after(room.id, 2, 10).await.unwrap().unwrap();
    assert_eq!((page.head.seq, page.changes), (5, vec![message.clone()]), "what changed after N");
    let (_, history) = bed.history(room.id, Around::Before(2), 10).await.unwrap().unwrap();
    assert_eq!(history.messages, [message]);
    assert_eq!(bed.say(&alice, &room, "three").await, 6);
}

pub async fn what_is_given_or_taken_back_already_takes_no_seq(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let id = bed.say(&alice, &room, "one").await;
    assert!(matches!(take_back(bed, &alice, &room, id, "👍").await, Changed::Unchanged(message) if message.seq == 1));
    done(react(bed, &alice, &room, id, "❤").await);
    assert!(matches!(react(bed, &alice, &room, id, "❤️").await, Changed::Unchanged(message) if message.seq == 2));
    assert!(matches!(take_back(bed, &bob, &room, id, "❤️").await, Changed::Unchanged(message) if message.seq == 2));
    let message = done(take_back(bed, &alice, &room, id, "❤️").await);
    assert_eq!((message.seq, shown(&message).as_str()), (3, "{}"));
    assert_eq!(bed.head(&room).await.seq, 3);
}

pub async fn kinds_are_bounded_and_others_go_on(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let id = bed.say(&alice, &room, "one").await;
    let kinds = ["👍", "👎", "🎉", "😀", "😁", "😂", "😃", "😄", "😅", "😆", "😇", "😈", "😉", "😊", "😋", "😌", "😍"];
    let kinds: Vec<&str> = kinds.into_iter().chain(["😎", "😏", "😐"]).collect();
    assert_eq!(kinds.len(), REACTION_KINDS_MAX);
    for kind in &kinds {
        done(react(bed, &alice, &room, id, kind).await);
    }
    assert_eq!(react(bed, &alice, &room, id, "😑").await, Changed::Refused(Refusal::TooManyKinds));
    assert_eq!(bed.head(&room).await.seq, 21);
    done(react(bed, &bob, &room, id, "😐").await);
    done(take_back(bed, &alice, &room, id, "👍").await);
    let message = done(react(bed, &alice, &room, id, "😑").await);
    let given: Vec<&str> = message.reactions.0.iter().map(|kind| kind.emoji.as_str()).collect();
    assert_eq!((given[0], given[19]), ("👎", "😑"), "in the order in which they were first given");
}

pub async fn the_first_twenty_are_named_and_all_are_counted(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let id = bed.say(&alice, &room, "one").await;
    let mut users = Vec::new();
    for number in 0..23 {
        users.push(bed.user(&format!("fan-{number:02}")).await);
    }
    for user in &users {
        done(react(bed, user, &room, id, "👍").await);
    }
    let names = |range: std::ops::Range<usize>| -> Vec<String> {
        users[range].iter().map(|user| user.username.as_str().to_owned()).collect()
    };
    let reaction = bed.message(room.id, id).await.unwrap().unwrap().reactions.0.remove(0);
    assert_eq!((reaction.count, reaction.users), (23, names(0..20)));
    let reaction = done(take_back(bed, &users[0], &room, id, "👍").await).reactions.0.remove(0);
    assert_eq!((reaction.count, reaction.users), (22, names(1..21)), "the next one is named");
    let reaction = done(take_back(bed, &users[22], &room, id, "👍").await).reactions.0.remove(0);
    assert_eq!((reaction.count, reaction.users), (21, names(1..21)));
}

pub async fn an_edit_keeps_reactions_and_a_deletion_does_not(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let id = bed.say(&alice, &room, "one").await;
    done(react(bed, &alice, &room, id, "👍").await);
    let edited = done(bed.edit(&alice, &room, id, "changed").await);
    assert_eq!((edited.kind, edited.reactions.0.len()), (ChangeKind::Edited, 1));
    let reacted = done(react(bed, &alice, &room, id, "🎉").await);
    assert_eq!(
        (reacted.kind, reacted.edited_at, reacted.reactions.0.len()),
        (ChangeKind::Reacted, edited.edited_at, 2)
    );
    let deleted = done(bed.delete(&alice, &room, id).await);
    assert!(deleted.reactions.is_empty());
    assert_eq!(react(bed, &alice, &room, id, "👍").await, Changed::Refused(Refusal::Gone));
    assert!(matches!(take_back(bed, &alice, &room, id, "👍").await, Changed::Unchanged(message) if message.seq == 5));
    assert_eq!(react(bed, &alice, &room, 99, "👍").await, Changed::Refused(Refusal::NoMessage));
}

pub async fn who_may_not_send_may_not_react(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let (bob, mallory) = (bed.user("bob").await, bed.user("mallory").await);
    let root = bed.administrator("superuser").await;
    let id = bed.say(&alice, &room, "one").await;
    bed.enter_one(&bob, &room).await.unwrap();
    bed.mute(&bob, &room, 60_000).await;
    assert_eq!(react(bed, &bob, &room, id, "👍").await, Changed::Refused(Refusal::Muted));
    assert_eq!(take_back(bed, &bob, &room, id, "👍").await, Changed::Refused(Refusal::Muted));
    bed.ban(&mallory, &room).await;
    assert_eq!(react(bed, &mallory, &room, id, "👍").await, Changed::Refused(Refusal::Banned));
    let secret = bed.private_room_of(&alice, "secret").await;
    let there = bed.say(&alice, &secret, "hush").await;
    for stranger in [&bob, &root] {
        assert_eq!(react(bed, stranger, &secret, there, "👍").await, Changed::Refused(Refusal::NoRoom));
    }
    bed.set_disabled(alice.id, true).await.unwrap();
    assert_eq!(react(bed, &alice, &room, id, "👍").await, Changed::Refused(Refusal::Disabled));
    assert_eq!(bed.head(&room).await.seq, 1);
}

pub async fn reactions_that_race_are_all_counted(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let id = bed.say(&alice, &room, "one").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let user = bed.user(&format!("fan-{number}")).await;
        for handle in bed.handles() {
            let what = ChangeWhat::React(Emoji::parse("👍").unwrap());
            let change = Change { room: room.id, actor: user.id, id, what };
            tasks.spawn(async move { handle.change(&change).await.unwrap() });
        }
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Changed::Done(_))).count(), 8);
    let message = bed.message(room.id, id).await.unwrap().unwrap();
    assert_eq!((message.seq, message.reactions.0[0].count, message.reactions.0[0].users.len()), (9, 8, 8));
}

pub async fn what_belongs_to_a_deleted_room_is_purged(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.enter_one(&bob, &room).await.unwrap();
    for number in 0..5 {
        let id = bed.say(&alice, &room, &format!("@bob {number}")).await;
        done(react(bed, &bob, &room, id, "👍").await);
    }
    bed.delete_room(room.id).await.unwrap();
    let mut removed = 0;
    loop {
        match bed.purge(4).await.unwrap() {
            0 => break,
            some => removed += some,
        }
        assert!(removed <= 17);
    }
    // Messages, mentions, reactions, members.
    assert_eq!(removed, 17);
}
