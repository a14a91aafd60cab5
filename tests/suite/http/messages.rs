//! History, and sending, editing and deleting over HTTP.

use salon::engine::http::{Account, Answer};
use salon::engine::wire::Change;
use serde_json::{Value, json};

use super::{assert_invalid, assert_problem};
use crate::support::node::{Single, unique};

async fn room(account: &Account) -> String {
    account.http.create_room(&unique("messages"), "public").await.expect("a room").slug
}

async fn send(account: &Account, room: &str, body: Value) -> Answer {
    account.http.post(&format!("/api/rooms/{room}/messages"), body).await.expect("an answer")
}

async fn filled(account: &Account, count: u64) -> String {
    let room = room(account).await;
    for number in 1..=count {
        let sent: Change =
            send(account, &room, json!({"content": format!("message {number}")})).await.expect(201).expect("a message");
        assert_eq!((sent.id, sent.seq), (number, number));
    }
    room
}

fn ids(answer: &Answer) -> Vec<u64> {
    let page: Vec<Change> = answer.expect(200).expect("messages");
    page.iter().map(|message| message.id).collect()
}

/// A link's path, whether it is told relative or absolute.
fn path(link: Option<String>) -> Option<String> {
    link.map(|target| target[target.find("/api/").expect("a path")..].to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_has_the_one_shape_everywhere() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    for slash in ["", "/"] {
        let room = room(&alice).await;
        let path = format!("/api/rooms/{room}/messages{slash}");
        let first = alice.http.post(&path, json!({"content": "hi", "nonce": "n1"})).await.expect("an answer");
        assert_eq!(first.status, 201, "{}", first.json());
        let told = first.json();
        let mut wanted = json!({
            "type": "chat_message", "room": room, "room_id": told["room_id"], "id": 1, "seq": 1,
            "author": alice.user.username, "author_id": alice.user.id, "content": "hi",
            "created_at": told["created_at"], "edited_at": null, "deleted": false, "reply_to": null, "nonce": "n1",
        });
        assert_eq!(told, wanted);
        let at = told["created_at"].as_str().expect("a time");
        assert!(at.len() == 24 && at.ends_with('Z') && &at[10..11] == "T" && &at[19..20] == ".", "{at}");
        assert_eq!(alice.http.get(&path).await.expect("an answer").json(), json!([wanted]));
        let reply = alice.http.post(&path, json!({"content": "yes", "reply_to": 1})).await.expect("an answer");
        assert_eq!((reply.status, &reply.json()["reply_to"]), (201, &json!(1)));

        let one = format!("/api/rooms/{room}/messages/1{slash}");
        let edited = alice.http.patch(&one, json!({"content": "hello"})).await.expect("an answer");
        let told = edited.json();
        assert_eq!(edited.status, 200, "{told}");
        assert!(told["edited_at"].is_string(), "{told}");
        wanted["type"] = json!("message_edited");
        wanted["seq"] = json!(3);
        wanted["content"] = json!("hello");
        wanted["edited_at"] = told["edited_at"].clone();
        assert_eq!(told, wanted);
        let again = alice.http.patch(&one, json!({"content": "hello"})).await.expect("an answer");
        assert_eq!((again.status, again.json()), (200, wanted.clone()), "what already is takes no seq");
        let deleted = alice.http.delete(&one).await.expect("an answer");
        wanted["type"] = json!("message_deleted");
        wanted["seq"] = json!(4);
        wanted["content"] = json!("");
        wanted["deleted"] = json!(true);
        assert_eq!((deleted.status, deleted.json()), (200, wanted.clone()));
        assert_eq!(alice.http.delete(&one).await.expect("an answer").json(), wanted, "nor does this");
        assert_problem(&alice.http.patch(&one, json!({"content": "back"})).await.expect("one"), 409, "conflict");
        assert_eq!(alice.http.room(&room).await.expect("a room").seq, 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_goes_in_pages_both_ways() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = filled(&alice, 60).await;
    let base = format!("/api/rooms/{room}/messages");
    let get = async |path: &str| alice.http.get(path).await.expect("an answer");
    let latest = get(&base).await;
    assert_eq!(ids(&latest), (11..=60).collect::<Vec<_>>(), "the latest 50, oldest first");
    assert_eq!(latest.link("next"), None, "nothing is newer");
    let older = get(&path(latest.link("prev")).expect("older ones")).await;
    assert_eq!(ids(&older), (1..=10).collect::<Vec<_>>());
    assert_eq!(older.link("prev"), None, "nothing is older");
    assert!(older.link("next").is_some());
    assert_eq!(ids(&get(&format!("{base}?before=5&limit=2")).await), [3, 4]);
    assert_eq!(ids(&get(&format!("{base}/?after=5&limit=2")).await), [6, 7]);
    assert_eq!(ids(&get(&format!("{base}?after=60")).await), [0_u64; 0]);
    assert_eq!(ids(&get(&format!("{base}?limit=100000")).await).len(), 60, "over the maximum is the maximum");

    let mut all = Vec::new();
    let mut next = Some(format!("{base}?after=0&limit=25"));
    while let Some(page) = next {
        let page = get(&page).await;
        all.extend(ids(&page));
        next = path(page.link("next"));
        assert!(all.len() <= 60, "the pages have no end");
    }
    assert_eq!(all, (1..=60).collect::<Vec<_>>());
    for bad in ["before=x", "after=-1", "limit=-1", "limit=many"] {
        let field = bad.split('=').next().expect("a name");
        assert_invalid(&get(&format!("{base}?{bad}")).await, field);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_nonce_is_one_message() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let body = json!({"content": "once", "nonce": "the same"});
    let first = send(&alice, &room, body.clone()).await;
    let again = send(&alice, &room, body.clone()).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json(), again.json());
    let other = send(&alice, &room, json!({"content": "twice", "nonce": "the same"})).await;
    assert_problem(&other, 409, "conflict");
    assert_eq!(send(&bob, &room, body.clone()).await.status, 201, "a nonce is its author's");
    let elsewhere = self::room(&alice).await;
    assert_eq!(send(&alice, &elsewhere, body).await.status, 201, "and its room's");
    assert_eq!(alice.http.history(&room).await.expect("history").messages.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_name_the_field() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let long = "é".repeat(4_001);
    for content in [json!(""), json!(" \n\t"), json!("a\u{0}b"), json!(long), json!(5), Value::Null] {
        assert_invalid(&send(&alice, &room, json!({"content": content})).await, "content");
    }
    for nonce in [json!(""), json!("n".repeat(65)), json!(5)] {
        assert_invalid(&send(&alice, &room, json!({"content": "x", "nonce": nonce})).await, "nonce");
    }
    for reply_to in [json!(77), json!("one"), json!(-1)] {
        assert_invalid(&send(&alice, &room, json!({"content": "x", "reply_to": reply_to})).await, "reply_to");
    }
    assert_problem(&send(&alice, &room, json!({"content": "x".repeat(66_000)})).await, 413, "too_large");
    let full = send(&alice, &room, json!({"content": "é".repeat(4_000)})).await;
    assert_eq!(full.status, 201, "4,000 characters fit");
    // Escaped, the longest content is 48,000 bytes: it must fit a body.
    let escaped = format!("{{\"content\":\"{}\"}}", "\\ud83d\\ude00".repeat(4_000));
    let call = alice.http.call("POST", &format!("/api/rooms/{room}/messages"));
    let answer = call.header("content-type", "application/json").body(escaped).send().await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.json());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_author_edits_and_moderators_delete() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    assert_eq!(send(&bob, &room, json!({"content": "bob's"})).await.status, 201);
    assert_eq!(send(&alice, &room, json!({"content": "alice's"})).await.status, 201);
    let path = |id: u64| format!("/api/rooms/{room}/messages/{id}");
    let edit = json!({"content": "mine"});
    assert_problem(&alice.http.patch(&path(1), edit.clone()).await.expect("one"), 403, "forbidden");
    assert_problem(&bob.http.patch(&path(2), edit.clone()).await.expect("one"), 403, "forbidden");
    assert_problem(&bob.http.delete(&path(2)).await.expect("one"), 403, "forbidden");
    assert_eq!(alice.http.delete(&path(1)).await.expect("one").status, 200, "the owner moderates");
    assert_problem(&bob.http.patch(&path(99), edit).await.expect("one"), 404, "not_found");
    assert_invalid(&bob.http.patch(&path(1), json!({"content": " "})).await.expect("one"), "content");
}
