//! What clients are told of rooms from which messages were removed.

use salon::engine::http::Account;
use salon::engine::socket::{Opening, Socket};
use serde_json::{Value, json};

use super::{SOON, Site, say};
use crate::http::{assert_invalid, assert_problem};
use crate::support::node::unique;

async fn socket_at(url: &str, account: &Account) -> Socket {
    Opening::new(url).cookies(&account.http).welcomed().await.expect("a socket")
}

fn ids(messages: &Value) -> Vec<u64> {
    messages.as_array().expect("messages").iter().map(|message| message["id"].as_u64().expect("an id")).collect()
}

async fn what_is_gone_is_a_hole(site: &Site) {
    let (alice, bob) = (site.user("alice").await, site.user("bob").await);
    let room = alice.http.create_room(&unique("keeping"), "public").await.expect("a room");
    let (slug, urls) = (room.slug.as_str(), site.urls());
    let last = urls.last().expect("a node");
    let mut watching = socket_at(&urls[0], &alice).await;
    watching.join(slug).await.expect("joined");
    let mut away = socket_at(last, &bob).await;
    let epoch = away.join(slug).await.expect("joined")["epoch"].clone();
    for number in 1..=20 {
        say(&alice, slug, &format!("@{} needle {number}", bob.user.username)).await;
    }
    let seen = bob.http.room(slug).await.expect("a room");
    assert_eq!((seen.unread, seen.mentions), (20, 20));
    site.age(room.id, 12).await;
    site.has_left(room.id, 8).await;

    let at_last = bob.http.at(last);
    let seen = at_last.room(slug).await.expect("a room");
    assert_eq!((seen.seq, seen.unread, seen.mentions, seen.epoch), (20, 8, 8, room.epoch.clone()));
    for after in [0, 5, 12, 14] {
        let join = json!({"type": "join", "room": slug, "after": after, "epoch": epoch});
        let joined = away.ask(join).await.expect("an answer");
        assert_eq!((&joined["reset"], &joined["seq"]), (&json!(false), &json!(20)), "after {after}: {joined}");
        assert_eq!(ids(&joined["messages"]), (after.max(12) + 1..=20).collect::<Vec<_>>(), "after {after}");
    }
    // From memory, which both nodes had of all of it.
    for (url, account) in [(&urls[0], &alice), (last, &bob)] {
        let joined = socket_at(url, account).await.join(slug).await.expect("joined");
        assert_eq!((ids(&joined["messages"]), &joined["more"]), ((13..=20).collect(), &json!(false)), "{joined}");
        let http = account.http.at(url);
        let page = http.get(&format!("/api/rooms/{slug}/messages?limit=5")).await.expect("an answer");
        assert_eq!(ids(&page.json()), (16..=20).collect::<Vec<_>>());
        let older = http.get(&page.link("prev").expect("older ones")).await.expect("an answer");
        assert_eq!((ids(&older.json()), older.link("prev")), ((13..=15).collect(), None));
        for query in ["before=10", "before=13"] {
            let page = http.get(&format!("/api/rooms/{slug}/messages?{query}")).await.expect("an answer");
            assert_eq!(page.json(), json!([]), "{query}");
        }
    }

    let message = format!("/api/rooms/{slug}/messages/3");
    let edit = alice.http.at(last).patch(&message, json!({"content": "x"})).await.expect("an answer");
    assert_problem(&edit, 404, "not_found");
    assert_problem(&alice.http.delete(&message).await.expect("an answer"), 404, "not_found");
    let react = alice.http.call("PUT", &format!("{message}/reactions/%F0%9F%91%8D")).send().await;
    assert_problem(&react.expect("an answer"), 404, "not_found");
    let reply = json!({"content": "to it", "reply_to": 3});
    assert_invalid(
        &alice.http.post(&format!("/api/rooms/{slug}/messages"), reply).await.expect("an answer"),
        "reply_to",
    );
    let edit = json!({"type": "edit", "room": slug, "id": 3, "content": "x"});
    assert_eq!(watching.ask(edit).await.expect("an answer")["code"], "not_found");
    let found = alice.http.get(&format!("/api/search?q=needle&room={slug}&limit=100")).await.expect("an answer");
    assert!(ids(&found.json()).iter().all(|id| *id > 12), "{:?}", found.json());

    say(&alice, slug, "and on").await;
    for socket in [&mut watching, &mut away] {
        let told = socket.expect_where("the next one", SOON, |frame| frame["id"] == 21).await.expect("told");
        assert_eq!((&told["seq"], told.get("from")), (&json!(21), None), "{told}");
    }
    site.age(room.id, 21).await;
    site.has_left(room.id, 0).await;
    let joined = socket_at(last, &bob).await.join(slug).await.expect("joined");
    assert_eq!((&joined["messages"], &joined["seq"], &joined["more"]), (&json!([]), &json!(21), &json!(false)));
    let resumed = json!({"type": "join", "room": slug, "after": 9, "epoch": epoch});
    let joined = away.ask(resumed).await.expect("an answer");
    assert_eq!((&joined["messages"], &joined["seq"], &joined["reset"]), (&json!([]), &json!(21), &json!(false)));
    assert_eq!(say(&alice, slug, "the clock does not go back").await["id"], 22);
    site.is_not_alarmed().await;
}

/// A reader that is behind while what it is owed is removed is told of the hole, and of all that is left, in order.
async fn a_slow_reader_meets_the_hole(site: &Site) {
    let (alice, bob) = (site.user("alice").await, site.user("bob").await);
    let room = alice.http.create_room(&unique("slow"), "public").await.expect("a room");
    let slug = room.slug.as_str();
    let urls = site.urls();
    let mut slow = socket_at(urls.last().expect("a node"), &bob).await;
    slow.join(slug).await.expect("joined");
    let mut saying = socket_at(&urls[0], &alice).await;
    // More than the kernel, the socket's queue and the room's memory hold together.
    let content = "x".repeat(3_900);
    const MESSAGES: u64 = 3_000;
    for number in 0..MESSAGES {
        let send = json!({"type": "send", "room": slug, "content": content, "nonce": format!("n{number}")});
        saying.feed_text(send.to_string()).await.expect("alive");
        if number % 50 == 49 {
            let last = format!("n{number}");
            saying.expect_where("its ack", SOON, |frame| frame["nonce"] == last.as_str()).await.expect("an ack");
            saying.passed.clear();
        }
    }
    site.age(room.id, MESSAGES - 100).await;
    site.has_left(room.id, 100).await;
    say(&alice, slug, "and on").await;
    let (mut at, mut holes, mut after_hole) = (0, 0, 0);
    while at <= MESSAGES {
        let frame = slow.frame().await.expect("told");
        let Some(seq) = frame["seq"].as_u64() else { continue };
        let from = frame["from"].as_u64().unwrap_or(seq);
        assert!(from <= at + 1 && seq > at, "after {at} came {seq} from {from}");
        if seq > at + 1 {
            holes += 1;
            after_hole = seq;
        }
        at = seq;
    }
    assert_eq!((holes, after_hole), (1, MESSAGES - 99), "one hole, up to what is left");
    site.is_not_alarmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_node_what_is_gone_is_a_hole() {
    what_is_gone_is_a_hole(&Site::single(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_what_is_gone_is_a_hole() {
    what_is_gone_is_a_hole(&Site::cluster(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_told_of_the_hole() {
    let slow = [("SALON_LIMITS__QUEUE_BYTES", "65536"), ("SALON_NODE__STALL_TIMEOUT_S", "300")];
    a_slow_reader_meets_the_hole(&Site::cluster(&slow).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_say_how_long_their_rooms_keep() {
    let site = Site::single(&[]).await;
    let (alice, bob) = (site.user("alice").await, site.user("bob").await);
    let room = alice.http.create_room(&unique("owned"), "public").await.expect("a room");
    let path = format!("/api/rooms/{}", room.slug);
    let moderator = json!({"role": "moderator"});
    let put = alice.http.put(&format!("{path}/members/{}", bob.user.username), moderator).await.expect("an answer");
    assert_eq!(put.status, 204);
    let mut watching = socket_at(&site.urls()[0], &bob).await;
    watching.join(&room.slug).await.expect("joined");
    let set = async |who: &Account, days: Value| {
        who.http.patch(&path, json!({"retention_days": days})).await.expect("an answer")
    };
    assert_problem(&set(&bob, json!(7)).await, 403, "forbidden");
    for wrong in [json!(31), json!(-1), json!(1.5), json!("7"), json!(99_999_999_999_u64)] {
        assert_invalid(&set(&alice, wrong).await, "retention_days");
    }
    let answer = set(&alice, json!(7)).await;
    assert_eq!((answer.status, &answer.json()["retention_days"]), (200, &json!(7)));
    let told = watching.expect("room_updated").await.expect("told");
    assert_eq!(told["info"]["retention_days"], 7);
    for number in 1..=3 {
        say(&alice, &room.slug, &format!("text {number}")).await;
    }
    let sql = |by| format!("UPDATE messages SET created_at = created_at - {by} WHERE room_id = {} AND id = 1", room.id);
    site.execute(&sql("8 * 86400000"), &sql("interval '8 days'")).await;
    site.has_left(room.id, 2).await;
    let answer = set(&alice, json!(0)).await;
    assert_eq!((answer.status, answer.json().get("retention_days")), (200, None), "as for all rooms");
    assert_eq!(set(&alice, Value::Null).await.status, 200, "as if it were not there");
}
