//! What keeps a stream alive, and what ends it.

use std::time::{Duration, Instant};

use salon::engine::events::{Asking, Events};
use salon::engine::http::Account;
use serde_json::json;

use super::{asking, stream};
use crate::support::node::{PATIENCE, Single};
use crate::websocket::{joined, room, say};

/// A day: who is not wanted any more is not brought back by a browser.
const NOT_SOON: Duration = Duration::from_secs(24 * 60 * 60);
/// Far within what is promised, on a busy machine.
const SOON: Duration = Duration::from_secs(8);

async fn ends(events: &mut Events) -> Vec<String> {
    let rest = events.rest(SOON).await.expect("an end");
    rest.into_iter().map(|event| event.kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_stream_is_kept_alive_and_outlives_the_time_for_a_request() {
    let settings = [("SALON_NODE__HEARTBEAT_S", "1"), ("SALON_SERVER__REQUEST_TIMEOUT_S", "4")];
    let single = Single::start_with(&settings).await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let (mut events, _) = stream(&single, &alice, &room).await;
    let silence = events.next_within(Duration::from_millis(6_500)).await;
    assert!(silence.is_err(), "{silence:?}");
    assert!(events.comments >= 4, "{} comments in 6.5 s", events.comments);
    let mut socket = joined(&single, &alice, &room).await;
    say(&mut socket, &room, "still here").await;
    assert_eq!(events.expect("chat_message").await.expect("told")["content"], "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_or_is_removed_is_told_and_not_brought_back() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let members = |who: &str| format!("/api/rooms/{room}/members/{who}");
    for (remover, who, reason) in [(&alice, bob.user.username.as_str(), "kicked"), (&bob, "me", "left")] {
        let (mut events, _) = stream(single, &bob, &room).await;
        let (mut hers, _) = stream(single, &alice, &room).await;
        assert_eq!(remover.http.delete(&members(who)).await.expect("an answer").status, 204);
        let removed = events.expect("removed").await.expect("told");
        assert_eq!(removed["reason"], reason, "{removed}");
        assert_eq!(ends(&mut events).await, [""; 0], "nothing comes after it");
        assert_eq!(events.retry, Some(NOT_SOON));
        hers.expect("user_leave").await.expect("she stays and sees him go");
    }
    let (mut events, _) = stream(single, &bob, &room).await;
    assert_eq!(alice.http.delete(&format!("/api/rooms/{room}")).await.expect("an answer").status, 204);
    assert_eq!(events.expect("removed").await.expect("told")["reason"], "room_deleted");
    assert_eq!(ends(&mut events).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_login_session() {
    let single = Single::start().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let (mut hers, _) = stream(&single, &alice, &room).await;
    let token = alice.token().await.expect("another login session");
    let mut other = Asking::new(&single.url(), &room).bearer(&token).open().await.expect("a stream");
    other.expect("joined").await.expect("joined");
    let (mut his, _) = stream(&single, &bob, &room).await;
    let out = alice.http.call("POST", "/api/account/logout").send().await.expect("an answer");
    assert_eq!(out.status, 204);
    let began = Instant::now();
    ends(&mut hers).await;
    eprintln!("a stream ended {:?} after the log-out (promised: 1 s)", began.elapsed());
    assert_eq!(asking(&single, &alice, &room).refused().await.expect("an answer").status, 401);
    let mut socket = joined(&single, &bob, &room).await;
    say(&mut socket, &room, "to the others").await;
    other.expect("chat_message").await.expect("the other login session's stays");
    let done = single.command(&["user", "disable", &bob.user.username]);
    assert!(done.status.success(), "{done:?}");
    let seen = ends(&mut his).await;
    assert!(seen.iter().all(|kind| kind != "removed"), "{seen:?}");
    let back = asking(&single, &bob, &room).header("last-event-id", "1");
    assert_eq!(back.refused().await.expect("an answer").status, 401, "no stream of nothing: this is the last word");
}

/// Streams are led away within the time that sockets are asked to go, each at another moment, and one that nobody
/// reads holds nothing up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_goes_ends_its_streams_one_by_one() {
    const STREAMS: usize = 12;
    let single = Single::start_with(&[("SALON_DRAIN__TIMEOUT_S", "20")]).await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(stream(&single, &alice, &room).await.0);
    }
    let blocked = blocked(&single, &alice, &room).await;
    single.node.signal("TERM");
    let began = Instant::now();
    let ended = streams.into_iter().map(|mut events| {
        tokio::spawn(async move {
            let told = events.expect("reconnect").await.expect("told");
            assert_eq!(told["reason"], "draining", "{told}");
            // Whoever is here already comes to stay a little: it is no stream of nothing.
            ends(&mut events).await;
            assert!(events.retry.expect("said") < Duration::from_secs(3));
            began.elapsed()
        })
    });
    let mut ended =
        futures_util::future::join_all(ended).await.into_iter().map(|at| at.expect("no panic")).collect::<Vec<_>>();
    ended.sort_unstable();
    let spread = ended[STREAMS - 1] - ended[0];
    eprintln!("{STREAMS} streams ended from {:?} to {:?} after SIGTERM", ended[0], ended[STREAMS - 1]);
    assert!(spread > Duration::from_millis(500), "all at once: {ended:?}");
    // Going: no answer at all, which a load balancer takes to another node and a browser for a failing network.
    let back = asking(&single, &alice, &room).header("last-event-id", "0").open().await;
    assert!(matches!(back, Err(salon::engine::events::NoStream::Failed(_))), "{back:?}");
    assert_eq!(single.node.ended(PATIENCE).await, 0);
    let took = began.elapsed();
    eprintln!("the node ended after {took:?}");
    assert!(took < Duration::from_secs(17), "a stream that nobody reads held it up: {took:?}");
    drop(blocked);
}

/// A stream whose reader takes nothing, filled until the node has nowhere left to write.
async fn blocked(single: &Single, account: &Account, room: &str) -> tokio::net::TcpStream {
    let narrow = super::readers::raw(single, account, room).await;
    let mut socket = joined(single, account, room).await;
    let text = "x".repeat(3_900);
    for _ in 0..300 {
        let answer = socket.ask(json!({"type": "send", "room": room, "content": text})).await.expect("an answer");
        assert_eq!(answer["type"], "ack", "{answer}");
    }
    narrow
}
