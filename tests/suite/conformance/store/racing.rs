//! The append, from many at once over two handles, as two nodes would.

use std::collections::{BTreeMap, BTreeSet};

use salon::model::*;
use salon::store::*;

use super::bed::{Bed, item};

const APPENDERS: usize = 8;
const BATCHES: usize = 12;
const ITEMS: usize = 10;

/// Each nonce is sent by two appenders over different handles at about the same time, in batches with further ones.
pub async fn seqs_have_no_holes_when_retries_race(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let handles = bed.handles();
    let mut tasks = tokio::task::JoinSet::new();
    for appender in 0..APPENDERS {
        let store = handles[appender % 2].clone();
        let (alice, room) = (alice.clone(), room.clone());
        tasks.spawn(async move {
            let mut ids = Vec::new();
            for batch in 0..BATCHES {
                // Half of the items are this pair's, so its other half races for them.
                let items: Vec<_> = (0..ITEMS)
                    .map(|i| {
                        let by = if i % 2 == 0 { appender / 2 } else { 100 + appender };
                        item(&alice, &room, &format!("{by}.{batch}.{i}"), &format!("{by}.{batch}.{i}"))
                    })
                    .collect();
                ids.extend(append_until_done(&*store, &items).await);
            }
            ids
        });
    }
    let mut by_nonce: BTreeMap<String, BTreeSet<MessageId>> = BTreeMap::new();
    while let Some(ids) = tasks.join_next().await {
        for (nonce, id) in ids.unwrap() {
            by_nonce.entry(nonce).or_default().insert(id);
        }
    }

    assert!(by_nonce.values().all(|ids| ids.len() == 1), "a nonce was told two ids");
    let expected = (APPENDERS / 2 + APPENDERS) * BATCHES * ITEMS / 2;
    let changes = bed.changes_after(room.id, 0, 100_000).await.unwrap().unwrap();
    let seqs: Vec<Seq> = changes.changes.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=expected as u64).collect::<Vec<_>>());
    assert_eq!(changes.head.seq, expected as u64);
    for message in &changes.changes {
        assert_eq!(by_nonce[&message.content], BTreeSet::from([message.id]));
    }
    assert!(changes.changes.is_sorted_by_key(|message| message.created_at));
}

pub async fn members_made_by_many_are_made_once(bed: &Bed) {
    let (alice, first) = bed.alice_and_room().await;
    let mut rooms = vec![first];
    for i in 0..4 {
        rooms.push(bed.room_of(&alice, &format!("room-{i}")).await);
    }
    let bob = bed.user("bob").await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..APPENDERS {
        let store = bed.handles()[i % 2].clone();
        // In another order each: what is locked one after the other must not deadlock.
        let mut pairs: Vec<_> = rooms.iter().map(|room| (bob.id, RoomRef::Id(room.id))).collect();
        pairs.rotate_left(i % 5);
        if i % 2 == 0 {
            pairs.reverse();
        }
        tasks.spawn(async move { store.enter(&pairs).await });
    }
    while let Some(outcomes) = tasks.join_next().await {
        assert!(outcomes.unwrap().unwrap().iter().all(|outcome| outcome.is_ok()));
    }
    for room in &rooms {
        assert_eq!(bed.members(room.id, 10, None).await.unwrap().items.len(), 2);
    }
}

/// As a node does it: what was busy is sent again and waited for. The nonces with the ids that were told.
async fn append_until_done(store: &dyn Store, items: &[Append]) -> Vec<(String, MessageId)> {
    let mut outcomes = store.append(items, false).await.unwrap();
    if outcomes.contains(&Appended::Busy) {
        assert!(outcomes.iter().all(|outcome| *outcome == Appended::Busy), "a room is busy for all or for none");
        outcomes = store.append(items, true).await.unwrap();
    }
    let told = outcomes.iter().map(|outcome| match outcome {
        Appended::Stored { id, .. } => *id,
        Appended::Duplicate(message) => message.id,
        other => panic!("{other:?}"),
    });
    items.iter().map(|item| item.nonce.as_str().to_owned()).zip(told).collect()
}
