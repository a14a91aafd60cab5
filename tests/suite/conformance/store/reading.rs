//! Changes, history, heads and epochs.

use salon::model::*;
use salon::store::*;

use super::bed::Bed;

fn seqs(changes: &Changes) -> Vec<Seq> {
    changes.changes.iter().map(|message| message.seq).collect()
}

fn ids(history: &History) -> Vec<MessageId> {
    history.messages.iter().map(|message| message.id).collect()
}

async fn room_with(bed: &Bed, messages: usize) -> (User, RoomInfo) {
    let (alice, room) = bed.alice_and_room().await;
    for i in 1..=messages {
        bed.say(&alice, &room, &format!("text {i}")).await;
    }
    (alice, room)
}

pub async fn changes_come_in_order_of_seq_with_the_head(bed: &Bed) {
    let (_, room) = room_with(bed, 5).await;
    let page = bed.changes_after(room.id, 1, 2).await.unwrap().unwrap();
    assert_eq!((seqs(&page), page.more), (vec![2, 3], true));
    let head = Head { room: room.id, seq: 5, access: page.head.access, epoch: room.epoch.clone(), purged: 0 };
    assert_eq!(page.head, head);
    assert_eq!(bed.head(&room).await, head);
    let page = bed.changes_after(room.id, 3, 2).await.unwrap().unwrap();
    assert_eq!((seqs(&page), page.more), (vec![4, 5], false));
    for after in [5, 6, u64::MAX] {
        let page = bed.changes_after(room.id, after, 10).await.unwrap().unwrap();
        assert_eq!((seqs(&page), page.more, page.head.seq), (vec![], false, 5));
    }
}

pub async fn what_was_superseded_is_told_once(bed: &Bed) {
    let (alice, room) = room_with(bed, 3).await;
    bed.edit(&alice, &room, 1, "one").await;
    bed.edit(&alice, &room, 1, "uno").await;
    bed.delete(&alice, &room, 3).await;
    let page = bed.changes_after(room.id, 0, 10).await.unwrap().unwrap();
    let told: Vec<_> = page.changes.iter().map(|m| (m.seq, m.id, m.content.as_str())).collect();
    assert_eq!(told, [(2, 2, "text 2"), (5, 1, "uno"), (6, 3, "")]);
    assert_eq!(page.head.seq, 6);
}

pub async fn recent_changes_are_the_latest(bed: &Bed) {
    let (alice, room) = room_with(bed, 5).await;
    bed.edit(&alice, &room, 2, "two").await;
    let page = bed.recent_changes(room.id, 3).await.unwrap().unwrap();
    assert_eq!((seqs(&page), page.more, page.head.seq), (vec![4, 5, 6], true, 6));
    let page = bed.recent_changes(room.id, 5).await.unwrap().unwrap();
    assert_eq!((seqs(&page), page.more), (vec![1, 3, 4, 5, 6], false));
    let page = bed.recent_changes(room.id, 0).await.unwrap().unwrap();
    assert_eq!((seqs(&page), page.more, page.head.seq), (vec![], true, 6));
}

pub async fn history_goes_both_ways(bed: &Bed) {
    let (alice, room) = room_with(bed, 5).await;
    bed.edit(&alice, &room, 2, "two").await;
    let page = async |around, limit| {
        let (head, history) = bed.history(room.id, around, limit).await.unwrap().unwrap();
        assert_eq!(head.seq, 6);
        (ids(&history), history.older, history.newer)
    };
    assert_eq!(page(Around::Latest, 2).await, (vec![4, 5], true, false));
    assert_eq!(page(Around::Latest, 5).await, (vec![1, 2, 3, 4, 5], false, false));
    assert_eq!(page(Around::Before(4), 2).await, (vec![2, 3], true, true));
    assert_eq!(page(Around::Before(3), 2).await, (vec![1, 2], false, true));
    assert_eq!(page(Around::Before(1), 2).await, (vec![], false, true));
    assert_eq!(page(Around::Before(u64::MAX), 2).await, (vec![4, 5], true, false));
    assert_eq!(page(Around::After(0), 2).await, (vec![1, 2], false, true));
    assert_eq!(page(Around::After(2), 2).await, (vec![3, 4], true, true));
    assert_eq!(page(Around::After(3), 2).await, (vec![4, 5], true, false));
    assert_eq!(page(Around::After(u64::MAX), 2).await, (vec![], true, false));
}

pub async fn an_absent_or_deleted_room_has_nothing_to_read(bed: &Bed) {
    let (_, room) = room_with(bed, 1).await;
    bed.delete_room(room.id).await.unwrap();
    for id in [room.id, RoomId(999)] {
        assert!(bed.changes_after(id, 0, 10).await.unwrap().is_none());
        assert!(bed.recent_changes(id, 10).await.unwrap().is_none());
        assert!(bed.history(id, Around::Latest, 10).await.unwrap().is_none());
        assert!(bed.message(id, 1).await.unwrap().is_none());
        assert!(bed.renew_epoch(id, &room.epoch).await.unwrap().is_none());
    }
}

pub async fn heads_are_of_rooms_that_live(bed: &Bed) {
    let (alice, room) = room_with(bed, 2).await;
    let gone = bed.room_of(&alice, "gone").await;
    bed.delete_room(gone.id).await.unwrap();
    let quiet = bed.room_of(&alice, "quiet").await;
    let mut asked: Vec<_> = (1_000..6_000).map(RoomId).collect();
    asked.extend([room.id, gone.id, quiet.id]);
    let mut heads: Vec<_> = bed.heads(&asked).await.unwrap().into_iter().map(|h| (h.room, h.seq, h.epoch)).collect();
    heads.sort_by_key(|(room, ..)| *room);
    assert_eq!(heads, [(room.id, 2, room.epoch), (quiet.id, 0, quiet.epoch)]);
    assert!(bed.heads(&[]).await.unwrap().is_empty());
}

pub async fn the_epoch_is_renewed_once(bed: &Bed) {
    let (_, room) = bed.alice_and_room().await;
    let version = bed.head(&room).await.access;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..8 {
        let (store, room) = (bed.handles()[i % 2].clone(), room.clone());
        tasks.spawn(async move { store.renew_epoch(room.id, &room.epoch).await.unwrap().unwrap() });
    }
    let epochs = tasks.join_all().await;
    assert_ne!(epochs[0], room.epoch);
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
    let head = bed.head(&room).await;
    assert_eq!((head.epoch, head.access), (epochs[0].clone(), version + 1));
}
