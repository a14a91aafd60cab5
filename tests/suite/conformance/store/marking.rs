//! Read marks, and what is unread.

use std::time::Duration;

use salon::model::*;
use salon::store::*;

use super::bed::Bed;

fn mark(user: &User, room: &RoomInfo, seq: Seq) -> Mark {
    Mark { user: user.id, room: room.id, seq }
}

async fn last_read(bed: &Bed, user: &User, room: &RoomInfo) -> Seq {
    bed.room(user.id, &RoomRef::Id(room.id)).await.unwrap().unwrap().last_read
}

pub async fn marks_move_forwards_and_not_beyond_the_head(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let elsewhere = bed.room_of(&alice, "elsewhere").await;
    bed.enter_one(&bob, &room).await.unwrap();
    for number in 0..5 {
        bed.say(&alice, &room, &format!("{number}")).await;
    }
    let mut moved = bed.move_marks(&[mark(&bob, &room, 3), mark(&alice, &room, 2)]).await.unwrap();
    moved.sort_by_key(|mark| mark.user);
    assert_eq!(moved, [mark(&alice, &room, 2), mark(&bob, &room, 3)]);
    for (wish, wanted) in [(2, &[][..]), (3, &[]), (99, &[mark(&bob, &room, 5)]), (u64::MAX, &[])] {
        assert_eq!(bed.move_marks(&[mark(&bob, &room, wish)]).await.unwrap(), wanted, "{wish}");
    }
    assert_eq!((last_read(bed, &bob, &room).await, last_read(bed, &alice, &room).await), (5, 2));
    let nowhere = RoomInfo { id: RoomId(999), ..room.clone() };
    let none = bed.move_marks(&[mark(&bob, &elsewhere, 1), mark(&bob, &nowhere, 1)]).await.unwrap();
    assert_eq!(none, [], "no member, no mark");
    bed.delete_room(room.id).await.unwrap();
    assert_eq!(bed.move_marks(&[mark(&alice, &room, 4)]).await.unwrap(), []);
    assert_eq!(bed.move_marks(&[]).await.unwrap(), []);
}

pub async fn marks_that_race_end_at_the_furthest(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let second = bed.room_of(&alice, "second").await;
    for room in [&room, &second] {
        for number in 0..30 {
            bed.say(&alice, room, &format!("{number}")).await;
        }
    }
    let mut tasks = tokio::task::JoinSet::new();
    for seq in 1..=30 {
        for (place, handle) in bed.handles().into_iter().enumerate() {
            let mut marks = vec![mark(&alice, &room, seq), mark(&alice, &second, 31 - seq)];
            if place == 1 {
                marks.reverse();
            }
            tasks.spawn(async move { handle.move_marks(&marks).await.unwrap().len() });
        }
    }
    let moved: usize = tasks.join_all().await.into_iter().sum();
    assert!(moved >= 2);
    assert_eq!((last_read(bed, &alice, &room).await, last_read(bed, &alice, &second).await), (30, 30));
}

pub async fn unread_is_what_others_sent_and_is_there(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let (bob, mallory) = (bed.user("bob").await, bed.user("mallory").await);
    bed.enter_one(&bob, &room).await.unwrap();
    let of = async |user: &User| bed.unread(&[(user.id, room.id)]).await.unwrap().pop();
    let first = bed.say(&alice, &room, "@bob").await;
    bed.say(&bob, &room, "own").await;
    let second = bed.say(&alice, &room, "two, @bob").await;
    let told = of(&bob).await.unwrap();
    assert_eq!((told.user, told.room, &told.slug, told.last_read), (bob.id, room.id, &room.slug, 0));
    assert_eq!((told.unread, told.mentions), (2, 2));
    bed.edit(&alice, &room, first, "nobody").await;
    assert_eq!(of(&bob).await.map(|told| (told.unread, told.mentions)), Some((2, 1)));
    bed.delete(&alice, &room, second).await;
    assert_eq!(of(&bob).await.map(|told| (told.unread, told.mentions)), Some((1, 0)));
    bed.move_marks(&[mark(&bob, &room, 1)]).await.unwrap();
    assert_eq!(of(&bob).await.map(|told| (told.last_read, told.unread)), Some((1, 0)));
    for number in 0..120 {
        bed.say(&alice, &room, &format!("@bob {number}")).await;
    }
    assert_eq!(of(&bob).await.map(|told| (told.unread, told.mentions)), Some((100, 100)));
    assert_eq!(of(&mallory).await, None, "no member");
    bed.ban(&bob, &room).await;
    assert_eq!(of(&bob).await, None, "banned");
    assert!(of(&alice).await.is_some());
    bed.delete_room(room.id).await.unwrap();
    assert_eq!(of(&alice).await, None);
}

pub async fn memberships_tell_heads_and_what_stirred(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    let quiet = bed.room_of(&bob, "quiet").await;
    let gone = bed.room_of(&bob, "gone").await;
    bed.enter_one(&bob, &room).await.unwrap();
    bed.say(&alice, &room, "hi").await;
    bed.delete_room(gone.id).await.unwrap();
    let mut read = bed.memberships(&[alice.id, bob.id], 10, Duration::from_secs(60)).await.unwrap();
    read.sort_by_key(|place| (place.user, place.room));
    let place =
        |user: &User, room: &RoomInfo, head| Membership { user: user.id, room: room.id, head, stirred: head > 0 };
    assert_eq!(read, [place(&alice, &room, 1), place(&bob, &room, 1), place(&bob, &quiet, 0)]);
    assert_eq!(bed.memberships(&[bob.id], 1, Duration::from_secs(60)).await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let read = bed.memberships(&[alice.id], 10, Duration::from_millis(1)).await.unwrap();
    assert!(!read[0].stirred, "longer ago than was asked for");
}
