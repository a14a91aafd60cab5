//! Search over HTTP: pages, excerpts, and what is nobody's to find.

use salon::engine::http::{Account, Answer, escape};
use serde_json::{Value, json};

use super::{say, socket_at};
use crate::http::{assert_invalid, assert_problem};
use crate::support::node::{Single, unique};

async fn search(account: &Account, query: &str) -> Answer {
    account.http.get(&format!("/api/search?{query}")).await.expect("an answer")
}

fn contents(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let found = answer.json();
    found.as_array().expect("an array").iter().map(|one| one["content"].as_str().unwrap_or("").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_is_found_with_its_words_told_apart() {
    let single = Single::shared().await;
    let (alice, word) = (single.user("alice").await, unique("needle").replace('-', "x"));
    let room = alice.http.create_room(&unique("search"), "public").await.expect("a room").slug;
    let told = say(&alice, &room, &format!("<b>{}</b> & friends", word.to_uppercase())).await;
    let answer = search(&alice, &format!("q={word}")).await;
    let mut wanted = told.clone();
    wanted["highlight"] = json!([
        {"text": "<b>", "match": false}, {"text": word.to_uppercase(), "match": true}, {"text": "</b> & friends", "match": false}
    ]);
    assert_eq!(answer.json(), json!([wanted]), "the one shape, and what to show of it");
    assert!(answer.content_type().starts_with("application/json"));
    assert_eq!(contents(&search(&alice, &format!("q={word}&room={room}")).await).len(), 1);
    assert_eq!(contents(&search(&alice, "q=!%3F").await), [""; 0], "nothing to look for");
    let edit = alice.http.patch(&format!("/api/rooms/{room}/messages/1"), json!({"content": "gone"})).await;
    assert_eq!(edit.expect("an answer").status, 200);
    assert_eq!(contents(&search(&alice, &format!("q={word}")).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_linked_from_the_newest_back() {
    let single = Single::shared().await;
    let (alice, word) = (single.user("alice").await, unique("page").replace('-', "x"));
    let room = alice.http.create_room(&unique("search"), "public").await.expect("a room").slug;
    for number in 0..9 {
        say(&alice, &room, &format!("{word} {number}")).await;
    }
    let (mut all, mut next) = (Vec::new(), Some(format!("/api/search?q={word}&limit=4")));
    while let Some(path) = next {
        let page = alice.http.get(&path).await.expect("an answer");
        let found = contents(&page);
        assert!(!found.is_empty() && found.len() <= 4, "{found:?}");
        all.extend(found);
        next = page.link("next");
    }
    assert_eq!(all, (0..9).rev().map(|number| format!("{word} {number}")).collect::<Vec<_>>());
    let before = search(&alice, &format!("q={word}&room={room}&before=3")).await;
    assert_eq!(contents(&before), [format!("{word} 1"), format!("{word} 0")]);
    assert_invalid(&search(&alice, &format!("q={word}&before=3")).await, "before");
    assert_invalid(&search(&alice, &format!("q={word}&limit=0")).await, "limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_of_rooms_that_are_not_ones_own_now() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let word = unique("hush").replace('-', "x");
    let secret = alice.http.create_room(&unique("secret"), "private").await.expect("a room").slug;
    say(&alice, &secret, &word).await;
    assert_eq!(contents(&search(&bob, &format!("q={word}")).await), [""; 0]);
    assert_problem(&search(&bob, &format!("q={word}&room={secret}")).await, 404, "not_found");
    let place = format!("/api/rooms/{secret}/members/{}", bob.user.username);
    assert_eq!(alice.http.put(&place, json!({})).await.expect("an answer").status, 204);
    assert_eq!(contents(&search(&bob, &format!("q={word}")).await), std::slice::from_ref(&word));
    assert_eq!(contents(&search(&bob, &format!("q={word}&room={secret}")).await), std::slice::from_ref(&word));
    let mut his = socket_at(&single.url(), &bob).await;
    his.join(&secret).await.expect("joined");
    assert_eq!(alice.http.delete(&place).await.expect("an answer").status, 204);
    assert_eq!(contents(&search(&bob, &format!("q={word}")).await), [""; 0]);
    assert_problem(&search(&bob, &format!("q={word}&room={secret}")).await, 404, "not_found");
    assert_problem(
        &single_stranger(single).get(&format!("/api/search?q={word}")).await.expect("an answer"),
        401,
        "unauthenticated",
    );
}

fn single_stranger(single: &Single) -> salon::engine::http::Http {
    salon::engine::http::Http::new(&single.url())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_queries_are_refused_or_find_nothing() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    assert_invalid(&search(&alice, "").await, "q");
    for wrong in ["", " ", "a\0b", "x".repeat(201).as_str(), "é".repeat(10_000).as_str()] {
        assert_invalid(&search(&alice, &format!("q={}", escape(wrong))).await, "q");
    }
    for query in
        ["'\"", "a' OR 1=1 --", "\"", "a\" NEAR(", "* OR *", "NOT", "AND OR", "col:x", "^", "{", "a:*b", "!!&|", "-a"]
    {
        let answer = search(&alice, &format!("q={}", escape(query))).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.json());
    }
    for before in ["c", "cc", "c1-2", "c%00", "c-1--1"] {
        let answer = search(&alice, &format!("q=x&before={before}")).await;
        assert_eq!(answer.status, 200, "{before}: {}", answer.json());
    }
    let answer: Value = search(&alice, "q=x&room=%00").await.json();
    assert_eq!(answer["code"], "not_found");
}
