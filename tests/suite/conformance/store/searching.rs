//! Search: what is found, what is not, and what is not found any more.

use salon::model::search::Query;
use salon::model::*;
use salon::store::*;

use super::bed::Bed;
use super::reacting::react;

const LIMIT: u32 = 10;

pub async fn take_all(bed: &Bed) {
    loop {
        let rooms = bed.unworded(100).await.unwrap();
        if rooms.is_empty() {
            return;
        }
        bed.take_words(&rooms, 3).await.unwrap();
    }
}

fn asked(user: &User, query: &str) -> Search {
    let query = Query::parse(query).unwrap().unwrap_or_else(|| panic!("{query} asks for nothing"));
    Search { user: user.id, query, room: None, before: None, limit: LIMIT }
}

async fn texts(bed: &Bed, search: Search) -> Vec<String> {
    let page = bed.search(&search).await.unwrap();
    page.items.into_iter().map(|found| found.message.content).collect()
}

pub async fn found(bed: &Bed, user: &User, query: &str) -> Vec<String> {
    texts(bed, asked(user, query)).await
}

pub async fn words_phrases_and_their_absence_are_found(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    for text in ["the Red house", "a blue house", "red and blue", "ПРИВЕТ, мир", "red house, blue door"] {
        bed.say(&alice, &room, text).await;
    }
    take_all(bed).await;
    for (query, wanted) in [
        ("house", &["red house, blue door", "a blue house", "the Red house"][..]),
        ("RED house", &["red house, blue door", "the Red house"]),
        ("\"red house\"", &["red house, blue door", "the Red house"]),
        ("\"house red\"", &[]),
        ("red -blue", &["the Red house"]),
        ("мир or door", &["red house, blue door", "ПРИВЕТ, мир"]),
        ("hous", &[]),
        ("castle", &[]),
    ] {
        assert_eq!(found(bed, &alice, query).await, wanted, "{query}");
    }
    let page = bed.search(&asked(&alice, "привет -red or nothing")).await.unwrap();
    let one = &page.items[0];
    assert_eq!((&one.slug, one.message.id, page.next), (&room.slug, 4, None));
    assert_eq!(one.words, ["привет".to_owned()].into());
}

pub async fn what_was_edited_or_deleted_is_gone_at_once(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let edited = bed.say(&alice, &room, "needle one").await;
    let deleted = bed.say(&alice, &room, "needle two").await;
    take_all(bed).await;
    assert_eq!(found(bed, &alice, "needle").await.len(), 2);
    bed.edit(&alice, &room, edited, "thimble one").await;
    bed.delete(&alice, &room, deleted).await;
    assert_eq!(found(bed, &alice, "needle").await, [""; 0]);
    take_all(bed).await;
    assert_eq!(found(bed, &alice, "needle or two").await, [""; 0]);
    assert_eq!(found(bed, &alice, "thimble").await, ["thimble one"]);
    react(bed, &alice, &room, edited, "👍").await;
    assert_eq!(found(bed, &alice, "thimble").await, ["thimble one"], "a reaction takes nothing away");
    take_all(bed).await;
    assert_eq!(found(bed, &alice, "one").await, ["thimble one"]);
}

pub async fn only_what_the_user_may_read_now_is_found(bed: &Bed) {
    let alice = bed.user("alice").await;
    let bob = bed.user("bob").await;
    let (open, secret) = (bed.room_of(&alice, "open").await, bed.private_room_of(&alice, "secret").await);
    bed.say(&alice, &open, "needle in public").await;
    bed.say(&alice, &secret, "needle in private").await;
    take_all(bed).await;
    assert_eq!(found(bed, &bob, "needle").await, ["needle in public"]);
    assert_eq!(texts(bed, Search { room: Some(secret.id), ..asked(&bob, "needle") }).await, [""; 0]);
    bed.put_member(&bob, &secret, Role::Member).await;
    assert_eq!(found(bed, &bob, "needle").await, ["needle in private", "needle in public"]);
    assert_eq!(texts(bed, Search { room: Some(secret.id), ..asked(&bob, "needle") }).await, ["needle in private"]);
    bed.act(&bob, &secret, Act::Remove).await;
    assert_eq!(found(bed, &bob, "needle").await, ["needle in public"]);
    bed.ban(&bob, &open).await;
    assert_eq!(found(bed, &bob, "needle").await, [""; 0]);
    bed.delete_room(open.id).await.unwrap();
    assert_eq!(found(bed, &alice, "needle").await, ["needle in private"]);
}

pub async fn pages_go_back_from_the_newest(bed: &Bed) {
    let alice = bed.user("alice").await;
    let rooms = [bed.room_of(&alice, "first").await, bed.room_of(&alice, "second").await];
    let mut said = Vec::new();
    for number in 0..25 {
        let text = format!("needle {number}");
        bed.say(&alice, &rooms[number % 2], &text).await;
        said.insert(0, text);
        // Another millisecond, so that rooms have one order between them.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    take_all(bed).await;
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = bed.search(&Search { before: before.clone(), ..asked(&alice, "needle") }).await.unwrap();
        assert!(page.items.len() <= LIMIT as usize);
        all.extend(page.items.into_iter().map(|found| found.message.content));
        match page.next {
            Some(next) => before = Some(Before::Cursor(next)),
            None => break,
        }
    }
    assert_eq!(all, said);
    let earlier = Search { room: Some(rooms[0].id), before: Some(Before::Message(4)), ..asked(&alice, "needle") };
    assert_eq!(texts(bed, earlier).await, ["needle 4", "needle 2", "needle 0"]);
    for strange in ["c", "cx", "c1", "c-1-2-3", "c9223372036854775807-1-1", "nonsense"] {
        let search = Search { before: Some(Before::Cursor(strange.to_owned())), ..asked(&alice, "needle") };
        bed.search(&search).await.unwrap_or_else(|error| panic!("{strange}: {error}"));
    }
}

pub async fn hostile_queries_find_nothing_and_break_nothing(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    bed.say(&alice, &room, "needle").await;
    take_all(bed).await;
    for query in [
        "needle'); DROP TABLE messages; --",
        "a\" OR \"needle",
        "needle* NEAR(x y)",
        "col:needle AND",
        "(((((needle",
        "\\ ' \" needle",
        "needle & | ! <-> :*",
        "%needle%",
        "needle\u{1}\u{fffd}\u{202e}",
        "🙂 needle 🙂",
    ] {
        if let Some(query) = Query::parse(query).unwrap() {
            bed.search(&Search { query, ..asked(&alice, "x") }).await.unwrap();
        }
    }
    assert_eq!(found(bed, &alice, "needle").await, ["needle"]);
}

pub async fn words_are_taken_at_their_limit_and_once(bed: &Bed) {
    let (alice, room) = bed.alice_and_room().await;
    let quiet = bed.room_of(&alice, "quiet").await;
    for number in 0..7 {
        bed.say(&alice, &room, &format!("needle {number}")).await;
    }
    assert_eq!(bed.unworded(10).await.unwrap(), [room.id], "{quiet:?} has nothing");
    assert_eq!(bed.take_words(&[room.id, quiet.id], 3).await.unwrap(), 3);
    assert_eq!(found(bed, &alice, "needle").await, ["needle 2", "needle 1", "needle 0"]);
    let [a, b] = bed.handles();
    let rooms = [room.id];
    let (a, b) = tokio::join!(a.take_words(&rooms, 100), b.take_words(&rooms, 100));
    assert_eq!(a.unwrap() + b.unwrap(), 4);
    assert_eq!(found(bed, &alice, "needle").await.len(), 7);
    assert_eq!(bed.unworded(10).await.unwrap(), []);
    bed.delete_room(room.id).await.unwrap();
    while bed.purge(3).await.unwrap() > 0 {}
    assert_eq!(found(bed, &alice, "needle").await, [""; 0]);
}
