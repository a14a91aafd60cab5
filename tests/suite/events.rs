//! Server-Sent Events: what a stream says, who gets one, and how it ends.

mod browser;
mod cluster;
mod ends;
mod readers;

use std::time::Duration;

use salon::engine::events::{Asking, Events};
use salon::engine::http::{Account, Answer, Http};
use salon::engine::wire::text;
use serde_json::{Value, json};

use crate::http::{assert_invalid, assert_problem};
use crate::reading::hear;
use crate::support::node::{Single, unique};
use crate::websocket::{joined, room, say, socket};

fn asking(single: &Single, account: &Account, room: &str) -> Asking {
    Asking::new(&single.url(), room).cookies(&account.http)
}

/// A stream of this user, and its `joined`.
async fn stream(single: &Single, account: &Account, room: &str) -> (Events, Value) {
    let mut events = asking(single, account, room).open().await.expect("a stream");
    let first = events.next_within(Duration::from_secs(10)).await.expect("an event");
    assert_eq!(first.kind, "joined", "{first:?}");
    (events, first.frame().expect("a frame"))
}

async fn refused(asking: Asking) -> Answer {
    asking.refused().await.expect("an answer")
}

fn contents(joined: &Value) -> Vec<&str> {
    joined["messages"].as_array().expect("messages").iter().map(|message| text(message, "content")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_says_what_a_socket_hears() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(single, &alice, &room).await;
    say(&mut hers, &room, "before").await;
    for slash in ["", "/"] {
        let mut events = asking(single, &bob, &room).query(slash).open().await.expect("a stream");
        for (name, value) in
            [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
        {
            assert_eq!(events.headers.get(name).and_then(|value| value.to_str().ok()), Some(value), "{name}");
        }
        let first = events.next_within(Duration::from_secs(10)).await.expect("an event");
        let told = first.frame().expect("a frame");
        assert_eq!((first.kind.as_str(), &told["type"], &told["reset"]), ("joined", &json!("joined"), &json!(false)));
        assert_eq!(first.id, Some(told["seq"].to_string()));
        assert!(contents(&told).contains(&"before") && told["info"]["role"] == "member", "{told}");
        assert!(told["users"].to_string().contains(&bob.user.username), "counted as online: {told}");
        let retry = events.retry.expect("it says when to come back");
        assert!(retry >= Duration::from_millis(500) && retry <= Duration::from_millis(2_500), "{retry:?}");

        let id = say(&mut hers, &room, "line\nbreak\r \u{2028} and \0x".replace('\0', "").as_str()).await;
        let (live, frame) = events.expect_where("her message", |_, frame| frame["id"] == id).await.expect("told");
        assert_eq!((live.kind.as_str(), live.id), ("chat_message", Some(id.to_string())));
        let late = hers.drained().await.expect("alive");
        assert!(hers.passed.iter().chain(&late).any(|seen| *seen == frame), "her socket is told the same");
        hers.send(json!({"type": "typing", "room": room})).await.expect("alive");
        let (typing, _) = events.expect_where("typing", |event, _| event.kind == "typing").await.expect("told");
        assert_eq!(typing.id, None, "what is no position has no id");
        hers.ask(json!({"type": "delete", "room": room, "id": id})).await.expect("an ack");
        let (gone, frame) = events.expect_where("it gone", |_, frame| frame["id"] == id).await.expect("told");
        assert_eq!((gone.kind.as_str(), gone.id), ("message_deleted", Some(frame["seq"].to_string())));
        // A stream that breaks is somebody who goes, unless they are back soon.
        drop(events);
        let left = |frame: &Value| frame["type"] == "user_leave" && frame["user"] == bob.user.username.as_str();
        hers.expect_where("his leave", Duration::from_secs(15), left).await.expect("told");
    }
}

/// What happens to its user elsewhere is told to their sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_hears_of_its_own_room_only() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let (here, there) = (room(&alice).await, room(&alice).await);
    let secret = alice.http.create_room(&unique("secret"), "private").await.expect("a room").slug;
    let put = async |account: &Account, path: String, body: Value| {
        assert_eq!(account.http.put(&path, body).await.expect("an answer").status, 204, "{path}");
    };
    put(&bob, format!("/api/rooms/{there}/members/me"), json!({})).await;
    let (mut events, _) = stream(single, &bob, &here).await;
    let mut his = socket(single, &bob).await;
    for room in [&here, &there] {
        let path = format!("/api/rooms/{room}/messages");
        assert_eq!(alice.http.post(&path, json!({"content": "hi"})).await.expect("an answer").status, 201);
        hear(&mut his, "unread", |frame| frame["type"] == "unread" && frame["room"] == **room).await;
    }
    put(&alice, format!("/api/rooms/{secret}/members/{}", bob.user.username), json!({})).await;
    hear(&mut his, "room_added", |frame| frame["type"] == "room_added").await;
    // His mark here is told last, and to both: what was told before it has come.
    for room in [&there, &here] {
        put(&bob, format!("/api/rooms/{room}/read"), json!({"seq": 1})).await;
        hear(&mut his, "read", |frame| frame["type"] == "read" && frame["room"] == **room).await;
    }
    let mut told = Vec::new();
    while told.last().is_none_or(|kind| kind != "read") {
        let event = events.next_within(Duration::from_secs(10)).await.expect("an event");
        let frame = event.frame().expect("a frame");
        assert!(frame["room"] == here.as_str() && event.id.is_some() == (event.kind == "chat_message"), "{event:?}");
        told.push(event.kind);
    }
    assert!(!told.iter().any(|kind| kind == "unread" || kind == "room_added"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_resumes_where_it_was() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(single, &alice, &room).await;
    for content in ["one", "two", "three"] {
        say(&mut hers, &room, content).await;
    }
    let of = async |asking: Asking| {
        let mut events = asking.open().await.expect("a stream");
        events.expect("joined").await.expect("joined")
    };
    let asking = || asking(single, &bob, &room);
    let fresh = of(asking()).await;
    assert_eq!(contents(&fresh), ["one", "two", "three"]);
    let epoch = text(&fresh, "epoch");
    assert_eq!(contents(&of(asking().query("?limit=1")).await), ["three"]);
    assert_eq!(contents(&of(asking().query("?after=2")).await), ["three"]);
    let resumed = of(asking().query("?after=0").header("last-event-id", "1")).await;
    assert_eq!((contents(&resumed), &resumed["reset"]), (vec!["two", "three"], &json!(false)), "the id goes before");
    assert_eq!(contents(&of(asking().header("last-event-id", "3")).await), [""; 0]);
    assert_eq!(contents(&of(asking().header("last-event-id", "")).await).len(), 3, "an empty id is none");
    let known = of(asking().query(&format!("?epoch={epoch}")).header("last-event-id", "2")).await;
    assert_eq!((contents(&known), &known["reset"]), (vec!["three"], &json!(false)));
    for (query, id) in [("?epoch=another", "2"), ("", "4")] {
        let reset = of(asking().query(query).header("last-event-id", id)).await;
        assert_eq!((contents(&reset).len(), &reset["reset"]), (3, &json!(true)), "{query} {id}: {reset}");
    }
    for wrong in ["x", "-1", "1.5", "9223372036854775808"] {
        assert_invalid(&refused(asking().header("last-event-id", wrong)).await, "Last-Event-ID");
    }
    for (query, field) in [("?after=-1", "after"), ("?limit=x", "limit")] {
        assert_invalid(&refused(asking().query(query)).await, field);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_refused_before_the_stream() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let public = room(&alice).await;
    let private = alice.http.create_room(&unique("private"), "private").await.expect("a room").slug;
    let nobody = Asking::new(&single.url(), &public);
    assert_problem(&refused(nobody.clone()).await, 401, "unauthenticated");
    // Not even an answer that says whether the room is there, or whether the request is in form.
    assert_problem(&refused(Asking::new(&single.url(), "No%20Slug").query("?after=x")).await, 401, "unauthenticated");
    assert_problem(&refused(nobody.bearer("nonsense")).await, 401, "unauthenticated");
    for absent in [private.as_str(), "there-is-none", "No%20Slug", "999999999"] {
        assert_problem(&refused(asking(single, &bob, absent)).await, 404, "not_found");
    }
    let foreign = asking(single, &alice, &public).header("origin", "https://evil.example");
    assert_problem(&refused(foreign).await, 403, "forbidden");
    let embedded = asking(single, &alice, &public).header("sec-fetch-site", "cross-site");
    assert_problem(&refused(embedded).await, 403, "forbidden");
    assert_problem(
        &alice.http.post(&format!("/api/rooms/{public}/events"), json!({})).await.expect("an answer"),
        405,
        "method_not_allowed",
    );
    // A stranger's try leaves no trace in the private room, and is told nothing by what he has.
    let (_, joined) = stream(single, &alice, &private).await;
    assert_eq!((&joined["user_count"], &joined["users"]), (&json!(1), &json!([alice.user.username])), "{joined}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_count_like_sockets() {
    let settings = [("SALON_LIMITS__SOCKETS_PER_USER", "2"), ("SALON_LIMITS__SOCKETS_PER_ADDRESS", "3")];
    let single = Single::start_with(&settings).await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let socket = joined(&single, &alice, &room).await;
    let (events, _) = stream(&single, &alice, &room).await;
    assert_problem(&refused(asking(&single, &alice, &room)).await, 429, "rate_limited");
    // An `EventSource` that was connected must not take this for the last word.
    let back = asking(&single, &alice, &room).header("last-event-id", "0");
    let mut later = back.open().await.expect("a stream of nothing");
    assert_eq!(later.rest(Duration::from_secs(5)).await.expect("an end"), []);
    assert!(later.retry.is_some_and(|retry| retry >= Duration::from_secs(10)), "{:?}", later.retry);
    let (his, _) = stream(&single, &bob, &room).await;
    assert_problem(&refused(asking(&single, &bob, &room)).await, 429, "rate_limited");
    for (metric, wanted) in [("salon_sockets", 3.0), ("salon_event_streams", 2.0)] {
        reaches(&single, metric, wanted).await;
    }
    drop((events, his));
    for (metric, wanted) in [("salon_sockets", 1.0), ("salon_event_streams", 0.0)] {
        reaches(&single, metric, wanted).await;
    }
    stream(&single, &alice, &room).await;
    drop(socket);
}

/// Waits until a metric has this value.
async fn reaches(single: &Single, metric: &str, wanted: f64) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        let value = single.node.metric(metric).await;
        if (value - wanted).abs() < 0.5 {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{metric} is {value}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_ask_for_the_head_enters_nothing() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let path = format!("/api/rooms/{room}/events");
    let answer = bob.http.call("HEAD", &path).send().await.expect("an answer");
    assert_eq!((answer.status, answer.content_type()), (200, "text/event-stream"));
    assert_eq!(bob.http.room(&room).await.expect("the room").role, None, "he is no member");
    assert_eq!(Http::new(&single.url()).call("HEAD", &path).send().await.expect("an answer").status, 401);
    let ban = format!("/api/rooms/{room}/bans/{}", bob.user.username);
    assert_eq!(alice.http.put(&ban, json!({})).await.expect("an answer").status, 204);
    assert_eq!(bob.http.call("HEAD", &path).send().await.expect("an answer").status, 403, "as a stream would be");
    assert_problem(&refused(asking(single, &bob, &room)).await, 403, "forbidden");
}
