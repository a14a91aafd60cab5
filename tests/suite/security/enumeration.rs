//! What answers must not tell: who has an account, and which private rooms there are.

use std::time::{Duration, Instant};

use salon::engine::http::{Answer, Http};
use serde_json::{Value, json};

use super::{Filling, frames_for, routes, socket_at, upgrade};
use crate::support::node::{Single, unique};

/// Tries of each kind: at least, and until the fastest of each kind come together.
const TRIES_MIN: usize = 8;
const TRIES_MAX: usize = 100;

/// All of an answer but when it was given.
fn whole(answer: &Answer) -> String {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort();
    format!("{} {headers:?} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

/// Within 30 %; a try that took no hash would be many times as fast.
fn alike(times: &[Duration]) -> bool {
    let (least, most) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
    *most < least.mul_f64(1.3)
}

/// Passwords hashed so far: one is counted just after its caller has the answer, so the last of them is waited for.
async fn hashes(single: &Single, expected: f64) -> f64 {
    let deadline = Instant::now() + super::PATIENCE;
    loop {
        let hashed = single.node.metric("salon_password_seconds_count").await;
        if hashed >= expected || Instant::now() > deadline {
            return hashed;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_name_and_a_wrong_password_answer_alike_and_take_alike_long() {
    let single = Single::start().await;
    let alice = single.user("alice").await;
    let wrong = "not the password of anybody";
    let names = [alice.user.username.clone(), unique("nobody"), "no name at all!".to_owned(), String::new()];
    let mut counted = 1.0;
    for path in ["/api/account/login", "/api/account/token"] {
        let http = Http::new(&single.url());
        let mut fastest = vec![Duration::MAX; names.len()];
        let mut answers = Vec::new();
        counted = hashes(&single, counted).await;
        for number in 1..=TRIES_MAX {
            for (name, fastest) in names.iter().zip(&mut fastest) {
                let start = Instant::now();
                let answer = http.post(path, json!({"username": name, "password": wrong})).await.expect("an answer");
                *fastest = start.elapsed().min(*fastest);
                counted += 1.0;
                answers.push(whole(&answer));
            }
            // A busy machine only adds: the fastest tries come together if they do the same, and never if not.
            if number >= TRIES_MIN && alike(&fastest) {
                break;
            }
        }
        assert!(alike(&fastest), "{path}: {fastest:?}");
        assert_eq!(hashes(&single, counted).await, counted, "one verification a try, whatever is wrong");
        assert!(answers[0].starts_with("401") && answers[0].contains("invalid_credentials"), "{}", answers[0]);
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_room_of_others_is_as_absent_as_one_that_is_not_there() {
    let single = Single::start_with(&[("SALON_ROOMS__AUTO_CREATE", "false")]).await;
    let (alice, mallory) = (single.user("alice").await, single.user("mallory").await);
    let tail = unique("x");
    let hidden = alice.http.create_room(&format!("hidden-{tail}"), "private").await.expect("a room");
    alice.http.post(&format!("/api/rooms/{}/messages", hidden.slug), json!({"content": "secret"})).await.expect("sent");
    // She is in it, so that the node knows the room by heart.
    let mut hers = socket_at(&single.url(), &alice).await;
    assert_eq!(hers.join(&hidden.slug).await.expect("an answer")["type"], "joined");
    let absent = format!("absent-{tail}");
    let (id, no_id) = (hidden.id, hidden.id + 1);
    assert!(id.to_string().len() == no_id.to_string().len(), "as long, or lengths would differ for that");

    let pairs = [(hidden.slug.clone(), absent.clone()), (id.to_string(), no_id.to_string())];
    for (there, not_there) in &pairs {
        let filling = |room| Filling { room, username: &alice.user.username, id: "1" };
        let (ours, others) = (routes(filling(there)), routes(filling(not_there)));
        for (seen, unseen) in ours.iter().zip(&others).filter(|(route, _)| route.path.starts_with("/api/rooms/")) {
            let told = whole(&seen.ask(&mallory.http).await);
            assert!(told.starts_with("404"), "{} {}: {told}", seen.method, seen.path);
            let same = whole(&unseen.ask(&mallory.http).await);
            assert_eq!(told, same, "{} {}", seen.method, seen.path);
            // Nor does a body that nobody would take.
            if !seen.body.is_null() {
                let broken = [("content-type", "text/plain")];
                let told = whole(&seen.ask_with(&mallory.http, &broken).await);
                assert_eq!(told, whole(&unseen.ask_with(&mallory.http, &broken).await), "{}", seen.path);
            }
        }
        let at = |room: &str| format!("/ws/chat/{room}/");
        let told = whole(&upgrade(&mallory.http.at(&single.url()), &at(there), &[]).await);
        let same = whole(&upgrade(&mallory.http.at(&single.url()), &at(not_there), &[]).await);
        assert!(told.starts_with("404"), "{told}");
        assert_eq!(told, same, "before the upgrade");
    }

    let mut socket = socket_at(&single.url(), &mallory).await;
    for (there, not_there) in [(json!(hidden.slug), json!(absent)), (json!(id), json!(no_id))] {
        let mut told = Vec::new();
        for room in [&there, &not_there] {
            let mut answers = Vec::new();
            for frame in frames_for(room) {
                let answer = socket.ask(frame.clone()).await.expect("an answer");
                assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_found")), "{frame}");
                assert_eq!(&answer["room"], room, "the room as it was named");
                let mut answer = answer;
                answer["room"] = Value::Null;
                answers.push(answer.to_string());
            }
            let many = json!({"type": "join", "rooms": [{"room": room, "after": 7}]});
            answers.push(socket.ask(many).await.expect("an answer")["code"].to_string());
            told.push(answers);
        }
        assert_eq!(told[0], told[1]);
    }
    let listed = mallory.http.get("/api/rooms?limit=1000").await.expect("an answer");
    assert!(!String::from_utf8_lossy(&listed.body).contains(&hidden.slug), "nor in a list");
    assert_eq!(alice.http.history(&hidden.slug).await.expect("history").head, 1, "and nothing came of it");
}
