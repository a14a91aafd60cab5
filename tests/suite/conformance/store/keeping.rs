//! Messages that are too old are removed, and everything else goes on as if they had been superseded.

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, item, stored_id};
use super::reacting::react;
use super::searching::{found, take_all};

const ALL: Option<u32> = Some(30);

async fn outdated(bed: &Bed, days: Option<u32>) -> Vec<RoomId> {
    bed.outdated(days, 100, None).await.unwrap().items
}

async fn left(bed: &Bed, room: &RoomInfo) -> Vec<MessageId> {
    let page = bed.changes_after(room.id, 0, 1_000).await.unwrap().unwrap();
    page.changes.iter().map(|message| message.id).collect()
}

/// Alice's room with so many messages, the first of which are forty days old.
async fn aged(bed: &Bed, messages: u64, old: MessageId) -> (User, RoomInfo) {
    let (alice, room) = bed.alice_and_room().await;
    for number in 1..=messages {
        bed.say(&alice, &room, &format!("text {number}")).await;
    }
    bed.age_messages(&room, old, 40).await;
    (alice, room)
}

pub async fn what_is_too_old_goes_from_the_beginning(bed: &Bed) {
    let (alice, room) = aged(bed, 9, 5).await;
    assert_eq!(outdated(bed, None).await, []);
    assert_eq!(outdated(bed, Some(41)).await, []);
    assert_eq!(bed.purge_outdated(room.id, Some(41), 100).await.unwrap(), 0);
    assert_eq!(bed.purge_outdated(room.id, None, 100).await.unwrap(), 0);
    assert_eq!(outdated(bed, ALL).await, [room.id]);
    assert_eq!(bed.purge_outdated(room.id, ALL, 2).await.unwrap(), 2);
    assert_eq!((left(bed, &room).await, bed.head(&room).await.purged), (vec![3, 4, 5, 6, 7, 8, 9], 2));
    assert_eq!(bed.purge_outdated(room.id, ALL, 4).await.unwrap(), 3, "the sixth is not old enough");
    assert_eq!(bed.purge_outdated(room.id, ALL, 4).await.unwrap(), 0);
    assert_eq!(outdated(bed, ALL).await, []);

    let head = bed.head(&room).await;
    assert_eq!((head.seq, head.purged, head.epoch), (9, 5, room.epoch.clone()), "the clock stays where it was");
    let recent = bed.recent_changes(room.id, 100).await.unwrap().unwrap();
    assert_eq!((recent.changes.len(), recent.more), (4, false));
    let (_, history) = bed.history(room.id, Around::Before(7), 10).await.unwrap().unwrap();
    assert_eq!((history.messages[0].id, history.messages.len(), history.older), (6, 1, false));
    let (_, history) = bed.history(room.id, Around::After(2), 10).await.unwrap().unwrap();
    assert_eq!((history.messages[0].id, history.older), (6, false));
    bed.age_messages(&room, 9, 40).await;
    assert_eq!(bed.purge_outdated(room.id, ALL, 100).await.unwrap(), 4);
    let emptied = bed.recent_changes(room.id, 100).await.unwrap().unwrap();
    assert_eq!((emptied.changes.len(), emptied.more, emptied.head.seq), (0, false, 9));
    assert_eq!(bed.say(&alice, &room, "and on").await, 10);
    assert_eq!(bed.purge_outdated(RoomId(999), ALL, 100).await.unwrap(), 0);
    bed.age_messages(&room, 10, 40).await;
    bed.delete_room(room.id).await.unwrap();
    assert_eq!(outdated(bed, ALL).await, []);
    assert_eq!(bed.purge_outdated(room.id, ALL, 100).await.unwrap(), 0, "that is seen to elsewhere");
}

pub async fn what_belongs_to_it_goes_too(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let bob = bed.user("bob").await;
    bed.enter_one(&bob, &room).await.unwrap();
    for text in ["needle @bob", "needle again @bob", "@bob haystack"] {
        let id = bed.say(&alice, &room, text).await;
        assert!(matches!(react(bed, &bob, &room, id, "👍").await, Changed::Done(_)));
    }
    take_all(bed).await;
    let seen = bed.room(bob.id, &RoomRef::Id(room.id)).await.unwrap().unwrap();
    assert_eq!((seen.unread, seen.mentions), (3, 3));
    assert_eq!(found(bed, &alice, "needle").await.len(), 2);
    bed.age_messages(&room, 3, 40).await;
    assert_eq!(bed.purge_outdated(room.id, ALL, 100).await.unwrap(), 2);
    let seen = bed.room(bob.id, &RoomRef::Id(room.id)).await.unwrap().unwrap();
    assert_eq!((seen.unread, seen.mentions, seen.seq, seen.purged), (1, 1, 6, 3));
    assert_eq!(found(bed, &alice, "needle").await, [""; 0]);
    assert_eq!(found(bed, &alice, "haystack").await.len(), 1);
    for table in ["mentions", "reactions"] {
        assert_eq!(bed.count(&format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
    }
    assert_eq!(bed.count("SELECT count(*) FROM message_words").await, 1);
}

pub async fn nothing_is_done_to_what_is_gone_and_its_nonce_is_free(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let send = item(&alice, &room, "n", "first");
    assert_eq!(stored_id(&bed.append_one(send.clone()).await), 1);
    let reply = Append { reply_to: Some(1), ..item(&alice, &room, "reply", "to it") };
    assert_eq!(stored_id(&bed.append_one(reply.clone()).await), 2);
    bed.age_messages(&room, 1, 40).await;
    assert_eq!(bed.purge_outdated(room.id, ALL, 100).await.unwrap(), 1);
    assert_eq!(bed.message(room.id, 1).await.unwrap(), None);
    assert_eq!(bed.edit(&alice, &room, 1, "other").await, Changed::Refused(Refusal::NoMessage));
    assert_eq!(bed.delete(&alice, &room, 1).await, Changed::Refused(Refusal::NoMessage));
    assert_eq!(react(bed, &alice, &room, 1, "👍").await, Changed::Refused(Refusal::NoMessage));
    assert_eq!(bed.head(&room).await.seq, 2, "what is refused takes no seq");
    assert_eq!(bed.message(room.id, 2).await.unwrap().unwrap().reply_to, Some(1));
    let again = bed.append_one(reply).await;
    assert!(matches!(&again, Appended::Duplicate(message) if message.id == 2), "{again:?}");
    let late = Append { reply_to: Some(1), ..item(&alice, &room, "late", "to it") };
    assert_eq!(bed.append_one(late).await, Appended::Refused(Refusal::NoReplyTarget));
    assert_eq!(stored_id(&bed.append_one(send).await), 3, "as long as it is kept");
}

pub async fn a_room_keeps_less_than_the_others(bed: &Bed) {
    let (alice, room) = aged(bed, 3, 2).await;
    let other = bed.room_of(&alice, "other").await;
    bed.say(&alice, &other, "old").await;
    bed.age_messages(&other, 1, 40).await;
    let keep = async |days| {
        let changes = RoomChanges { retention_days: Some(days), ..RoomChanges::default() };
        bed.update_room(room.id, changes).await.unwrap().unwrap();
        let seen = bed.room(alice.id, &RoomRef::Id(room.id)).await.unwrap().unwrap();
        assert_eq!((seen.retention_days, seen.name), (Some(days).filter(|days| *days > 0), room.name.clone()));
    };
    let before = bed.head(&room).await.access;
    keep(39).await;
    assert!(bed.head(&room).await.access > before);
    assert_eq!(outdated(bed, None).await, [room.id]);
    assert_eq!(outdated(bed, Some(100)).await, [room.id]);
    keep(50).await;
    assert_eq!(outdated(bed, None).await, []);
    assert_eq!(outdated(bed, ALL).await, [room.id, other.id], "the operator's counts all the same");
    keep(0).await;
    assert_eq!(outdated(bed, None).await, []);
    assert_eq!(bed.purge_outdated(room.id, None, 100).await.unwrap(), 0);
    keep(39).await;
    assert_eq!(bed.purge_outdated(room.id, Some(100), 100).await.unwrap(), 2);
    assert_eq!(left(bed, &room).await, [3]);
    assert_eq!(left(bed, &other).await, [1]);
}

pub async fn rooms_are_looked_at_in_pages(bed: &Bed) {
    let alice = bed.user("alice").await;
    let mut old = Vec::new();
    for number in 0..7 {
        let room = bed.room_of(&alice, &format!("room-{number}")).await;
        if number % 3 != 1 {
            bed.say(&alice, &room, "hi").await;
            bed.age_messages(&room, 1, 40).await;
            old.push(room.id);
        }
    }
    let (mut told, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = bed.outdated(ALL, 2, cursor.as_deref()).await.unwrap();
        told.extend(page.items);
        (cursor, pages) = (page.next, pages + 1);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((told, pages), (old, 4));
}

/// Each removed message is counted once, and no change that was taken meanwhile is lost or stamped on what is gone.
pub async fn removals_race_with_sends_and_with_each_other(bed: &Bed) {
    let (alice, room) = aged(bed, 60, 60).await;
    let [one, other] = bed.handles();
    let purge = async |store: std::sync::Arc<dyn Store>| {
        let mut removed = 0;
        for _ in 0..20 {
            removed += store.purge_outdated(room.id, ALL, 4).await.unwrap();
        }
        removed
    };
    let change = async {
        let mut done = 0;
        for id in (1..=60).rev() {
            match bed.edit(&alice, &room, id, "edited").await {
                Changed::Done(message) => done += u64::from(message.id == id),
                Changed::Refused(Refusal::NoMessage) => {}
                outcome => panic!("{outcome:?}"),
            }
        }
        done
    };
    let send = async {
        for number in 0..20 {
            bed.say(&alice, &room, &format!("new {number}")).await;
        }
    };
    let (a, b, edited, ()) = tokio::join!(purge(one), purge(other), change, send);
    assert_eq!(a + b, 60);
    assert_eq!(bed.head(&room).await.seq, 80 + edited);
    assert_eq!(left(bed, &room).await.len(), 20);
}
