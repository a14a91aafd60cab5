//! How often somebody may do something.

use std::time::{Duration, Instant};

use salon::engine::http::Http;
use serde_json::json;
use tokio::time::sleep;

use super::{FROM, PROXIED, acks_during};
use crate::http::assert_problem;
use crate::support::node::{Single, unique};
use crate::websocket::{joined, room, socket};

/// Far more than it takes, also on a busy machine; without a bound on the floods it would be seconds.
const ACK_MAX: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_as_told_may_send_again() {
    let single =
        Single::start_with(&[("SALON_LIMITS__MESSAGES_PER_S", "2"), ("SALON_LIMITS__MESSAGE_BURST", "2")]).await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = socket(&single, &alice).await;
    for round in 0..3 {
        // Many at once, so that none comes back while they are counted.
        for number in 0..6 {
            let frame = json!({"type": "send", "room": room, "content": "hi", "ref": number});
            socket.feed_text(frame.to_string()).await.expect("alive");
        }
        let mut wait = None;
        let mut acks = 0;
        for _ in 0..6 {
            let told = |frame: &serde_json::Value| frame["type"] == "ack" || frame["type"] == "error";
            let answer = socket.expect_where("an answer", Duration::from_secs(10), told).await.expect("an answer");
            if answer["type"] == "ack" {
                acks += 1;
            } else {
                assert_eq!(answer["code"], "rate_limited", "{answer}");
                wait = wait.max(answer["retry_after_ms"].as_u64());
            }
        }
        assert!(acks >= if round == 0 { 2 } else { 1 } && acks <= 4, "{acks} of 6 in round {round}");
        let wait = wait.expect("told how long to wait");
        assert!((1..=500).contains(&wait), "{wait}");
        sleep(Duration::from_millis(wait)).await;
    }
    let answer = socket.ask(json!({"type": "send", "room": room, "content": "after the wait"})).await;
    assert_eq!(answer.expect("an answer")["type"], "ack", "the wait was too short");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_user_and_refreshes_of_an_address_are_bounded() {
    let limits = [("SALON_LIMITS__REQUESTS_PER_S", "1"), ("SALON_LIMITS__REQUEST_BURST", "20"), PROXIED];
    let single = Single::start_with(&limits).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let mut open = socket(&single, &alice).await;
    let room = bob.http.create_room(&unique("requests"), "public").await.expect("a room").slug;
    let path = format!("/api/rooms/{room}/messages?limit=200");
    let started = Instant::now();
    let mut answered = 1; // Her socket's upgrade was one.
    let refused = loop {
        let answer = alice.http.get(&path).await.expect("an answer");
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 100, "nothing was refused");
    };
    assert_problem(&refused, 429, "rate_limited");
    let earned = started.elapsed().as_secs() + 1;
    assert!((20..=20 + earned).contains(&answered), "{answered} in {:?}", started.elapsed());
    assert_eq!(bob.http.get(&path).await.expect("an answer").status, 200, "another's requests are his own");
    open.drained().await.expect("her socket is not touched");
    let wait = refused.header("retry-after").and_then(|wait| wait.parse::<u64>().ok()).expect("seconds");
    sleep(Duration::from_secs(wait)).await;
    assert_eq!(alice.http.get(&path).await.expect("an answer").status, 200, "the wait was too short");

    // Nobody knows whose refresh it is before the database was asked: counted by address.
    let refresh = async |address: &str| {
        let http = Http::new(&single.url());
        let call = http.call("POST", "/api/account/refresh").header(FROM, address);
        call.json(&json!({"refresh_token": "no.token"})).send().await.expect("an answer").status
    };
    let mut tries = 0;
    // A /64 of IPv6 is one address.
    while refresh(&format!("2001:db8::{tries}")).await == 401 {
        tries += 1;
        assert!(tries < 100, "nothing was refused");
    }
    assert!(tries >= 20, "{tries}");
    assert_eq!(refresh("2001:db8:1::1").await, 401, "another address is not touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_a_second_are_bounded() {
    const FRAMES: usize = 200;
    let single = Single::start_with(&[("SALON_LIMITS__FRAMES_PER_S", &FRAMES.to_string())]).await;
    let alice = single.user("alice").await;
    let ping = || json!({"type": "ping"}).to_string();
    let mut closed = None;
    // A second may end among the frames; then they were not too many, and another socket tries.
    for _ in 0..5 {
        let mut socket = socket(&single, &alice).await;
        for _ in 0..FRAMES {
            socket.feed_text(ping()).await.expect("alive");
        }
        for number in 0..FRAMES {
            socket.expect("pong").await.unwrap_or_else(|error| panic!("frame {number} is within the bound: {error}"));
        }
        // The WebSocket's own pings are frames like others. It may be closed while they are written.
        for _ in 0..=FRAMES {
            let _ = socket.feed_ping().await;
        }
        if let Ok(code) = socket.closed(Duration::from_secs(2)).await {
            closed = code;
            break;
        }
    }
    assert_eq!(closed, Some(4029));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_who_types_in_a_large_room() {
    let single = Single::start_with(&[("SALON_NODE__PRESENCE_LIST_MAX", "2")]).await;
    let (alice, bob, carol) = (single.user("alice").await, single.user("bob").await, single.user("carol").await);
    let room = room(&alice).await;
    let mut hers = joined(&single, &alice, &room).await;
    let mut his = joined(&single, &bob, &room).await;
    his.send(json!({"type": "typing", "room": room})).await.expect("alive");
    hers.expect("typing").await.expect("two are not too many");
    let mut third = joined(&single, &carol, &room).await;
    third.send(json!({"type": "typing", "room": room})).await.expect("alive");
    third.drained().await.expect("it was taken");
    let told = hers.drained().await.expect("alive");
    assert!(told.iter().all(|frame| frame["type"] != "typing"), "{told:?}");
}

/// Joins cost reads and large answers, and so does history: one user's flood of them, within what a user may, must
/// not be felt by others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_one_user_do_not_hold_up_the_others() {
    let usual = [
        ("SALON_LIMITS__FRAMES_PER_S", "500"),
        ("SALON_LIMITS__REQUESTS_PER_S", "100"),
        ("SALON_LIMITS__REQUEST_BURST", "500"),
    ];
    let single = Single::start_with(&usual).await;
    let (alice, mallory) = (single.user("alice").await, single.user("mallory").await);
    let (quiet, busy) = (room(&alice).await, room(&mallory).await);
    let mut filling = socket(&single, &mallory).await;
    for number in 0..300 {
        let frame = json!({"type": "send", "room": busy, "content": "x".repeat(1_000), "ref": number});
        filling.feed_text(frame.to_string()).await.expect("alive");
    }
    for _ in 0..300 {
        filling.expect("ack").await.expect("stored");
    }
    let until = Instant::now() + Duration::from_secs(4);
    let joins = async {
        let mut flooding = socket(&single, &mallory).await;
        let many: Vec<_> = (0..200).map(|_| json!({"room": busy, "limit": 200})).collect();
        let frame = json!({"type": "join", "rooms": many}).to_string();
        let mut joined = 0;
        while Instant::now() < until {
            flooding.send_text(&frame).await.expect("alive");
            for _ in 0..200 {
                joined += usize::from(flooding.expect("joined").await.is_ok());
                flooding.passed.clear();
            }
        }
        joined
    };
    let reads = async {
        let (mut served, mut refused) = (0, 0);
        while Instant::now() < until {
            let path = format!("/api/rooms/{busy}/messages?limit=200");
            match mallory.http.get(&path).await.expect("an answer").status {
                200 => served += 1,
                429 => refused += 1,
                other => panic!("{other}"),
            }
        }
        (served, refused)
    };
    let mut hers = joined(&single, &alice, &quiet).await;
    let floods = async {
        let (joined, (served, refused)) = tokio::join!(joins, reads);
        println!("a flood of {joined} joins and {served} pages ({refused} more refused) in 4 s");
    };
    let acks = acks_during(&mut hers, &quiet, floods).await;
    println!("meanwhile, acknowledgements of another user: {acks:?}");
    assert!(acks.longest < ACK_MAX && acks.count > 20, "{acks:?}");
}
