//! Joining, resuming, leaving.

use salon::engine::socket::Socket;
use serde_json::{Value, json};

use super::{assert_error, assert_invalid, joined, room, say, socket};
use crate::support::node::{Single, unique};

fn seqs(joined: &Value) -> Vec<u64> {
    assert_eq!(joined["type"], "joined", "{joined}");
    joined["messages"].as_array().expect("an array").iter().filter_map(|change| change["seq"].as_u64()).collect()
}

async fn ask(socket: &mut Socket, mut join: Value) -> Value {
    join["type"] = json!("join");
    socket.ask(join).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_join_tells_the_latest_page() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = socket(single, &alice).await;
    let empty = ask(&mut socket, json!({"room": room})).await;
    assert_eq!((&empty["seq"], &empty["more"], &empty["reset"]), (&json!(0), &json!(false), &json!(false)));
    assert_eq!((seqs(&empty), &empty["user_count"]), (vec![], &json!(1)), "{empty}");
    assert_eq!(empty["users"], json!([alice.user.username]), "oneself is there");
    assert_eq!((&empty["info"]["slug"], &empty["info"]["epoch"]), (&json!(room), &empty["epoch"]));
    for number in 1..=60 {
        say(&mut socket, &room, &format!("{number}")).await;
    }
    let latest = ask(&mut socket, json!({"room": room})).await;
    assert_eq!((seqs(&latest), &latest["more"]), ((11..=60).collect(), &json!(true)));
    assert_eq!((&latest["seq"], &latest["info"]["seq"]), (&json!(60), &json!(60)));
    let two = ask(&mut socket, json!({"room": room, "limit": 2})).await;
    assert_eq!((seqs(&two), &two["more"]), (vec![59, 60], &json!(true)));
    let none = ask(&mut socket, json!({"room": room, "limit": 0})).await;
    assert_eq!((seqs(&none), &none["seq"]), (vec![], &json!(60)));
    let all = ask(&mut socket, json!({"room": room, "limit": 100_000})).await;
    assert_eq!((seqs(&all), &all["more"]), ((1..=60).collect(), &json!(false)), "over the maximum is the maximum");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resuming_tells_what_changed_since() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = joined(single, &alice, &room).await;
    for number in 1..=5 {
        say(&mut socket, &room, &format!("{number}")).await;
    }
    // 6 supersedes 2, 7 supersedes 4.
    socket.ask(json!({"type": "edit", "room": room, "id": 2, "content": "two"})).await.expect("an ack");
    socket.ask(json!({"type": "delete", "room": room, "id": 4})).await.expect("an ack");
    let epoch = ask(&mut socket, json!({"room": room})).await["epoch"].take();
    for (after, wanted) in [(0, vec![1, 3, 5, 6, 7]), (3, vec![5, 6, 7]), (5, vec![6, 7]), (7, vec![])] {
        let resumed = ask(&mut socket, json!({"room": room, "after": after, "epoch": epoch})).await;
        assert_eq!((seqs(&resumed), &resumed["reset"]), (wanted, &json!(false)), "after {after}: {resumed}");
        assert_eq!(resumed["seq"], 7);
    }
    let without = ask(&mut socket, json!({"room": room, "after": 5})).await;
    assert_eq!((seqs(&without), &without["reset"]), (vec![6, 7], &json!(false)), "the epoch may be left out");
    for stale in
        [json!({"room": room, "after": 5, "epoch": "another"}), json!({"room": room, "after": 8, "epoch": epoch})]
    {
        let reset = ask(&mut socket, stale.clone()).await;
        assert_eq!((&reset["reset"], &reset["epoch"], &reset["seq"]), (&json!(true), &epoch, &json!(7)), "{stale}");
        assert_eq!(seqs(&reset).len(), 5, "the latest page: {reset}");
    }
    for bad in [json!(-1), json!("5"), json!(1.5), json!(true)] {
        assert_invalid(&ask(&mut socket, json!({"room": room, "after": bad})).await, "after");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_behind_is_a_reset() {
    let single = Single::shared().await;
    let alice = single.user("alice").await;
    let room = room(&alice).await;
    let mut socket = socket(single, &alice).await;
    for _ in 0..6 {
        for number in 0..100 {
            let frame = json!({"type": "send", "ref": number, "room": room, "content": format!("{number}")});
            socket.send(frame).await.expect("alive");
        }
        for _ in 0..100 {
            socket.expect("ack").await.expect("an ack");
        }
    }
    let near = ask(&mut socket, json!({"room": room, "after": 100})).await;
    assert_eq!((seqs(&near), &near["reset"]), ((101..=600).collect(), &json!(false)), "500 are told");
    let far = ask(&mut socket, json!({"room": room, "after": 99})).await;
    assert_eq!((seqs(&far), &far["reset"]), ((551..=600).collect(), &json!(true)), "501 are not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rooms_join_in_one_frame() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let (first, second) = (room(&alice).await, room(&alice).await);
    let hidden = bob.http.create_room(&unique("hidden"), "private").await.expect("a room").slug;
    let id = alice.http.room(&second).await.expect("a room").id;
    let mut socket = socket(single, &alice).await;
    say(&mut socket, &first, "one").await;
    let rooms = json!([{"room": first, "after": 1}, {"room": hidden}, {"room": id, "limit": 0}]);
    socket.send(json!({"type": "join", "ref": "batch", "rooms": rooms})).await.expect("alive");
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(
            socket.expect_where("an answer", salon::engine::socket::PATIENCE, |frame| frame["ref"] == "batch").await,
        );
    }
    let answers: Vec<Value> = answers.into_iter().map(|answer| answer.expect("one a room")).collect();
    let of = |room: &str| answers.iter().find(|answer| answer["room"] == room).expect("an answer for it");
    assert_eq!((seqs(of(&first)), seqs(of(&second))), (vec![], vec![]));
    assert_error(of(&hidden), "not_found");
    say(&mut socket, &second, "heard").await;
    let told = socket.passed.iter().any(|frame| frame["content"] == "heard");
    assert!(told || socket.expect("chat_message").await.is_ok_and(|frame| frame["content"] == "heard"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_a_socket_are_bounded() {
    let single = Single::start_with(&[("SALON_LIMITS__ROOMS_PER_SOCKET", "2")]).await;
    let alice = single.user("alice").await;
    let rooms = [room(&alice).await, room(&alice).await, room(&alice).await];
    let mut socket = socket(&single, &alice).await;
    for room in &rooms[..2] {
        assert_eq!(ask(&mut socket, json!({"room": room})).await["type"], "joined");
    }
    assert_error(&ask(&mut socket, json!({"room": rooms[2]})).await, "too_large");
    assert_eq!(ask(&mut socket, json!({"room": rooms[0]})).await["type"], "joined", "a joined one is not one more");
    socket.ask(json!({"type": "leave", "room": rooms[0]})).await.expect("an answer");
    assert_eq!(ask(&mut socket, json!({"room": rooms[2]})).await["type"], "joined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_ends_the_frames_and_not_the_membership() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = joined(single, &alice, &room).await;
    let mut his = joined(single, &bob, &room).await;
    let left = his.ask(json!({"type": "leave", "room": room})).await.expect("an answer");
    assert_eq!((&left["type"], &left["room"]), (&json!("left"), &json!(room)), "{left}");
    say(&mut hers, &room, "he does not hear").await;
    let told = his.drained().await.expect("alive");
    assert!(told.iter().all(|frame| frame["type"] == "unread"), "only that there is something: {told:?}");
    assert_eq!(bob.http.room(&room).await.expect("a room").role.as_deref(), Some("member"));
    let back = ask(&mut his, json!({"room": room, "after": 0})).await;
    assert_eq!(seqs(&back), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_falls_between_the_join_and_the_live_frames() {
    let single = Single::shared().await;
    let (alice, bob) = (single.user("alice").await, single.user("bob").await);
    let room = room(&alice).await;
    let mut hers = socket(single, &alice).await;
    let mut his = socket(single, &bob).await;
    let (room_of_hers, room_of_his) = (room.clone(), room.clone());
    let talking = tokio::spawn(async move {
        for number in 0..200 {
            say(&mut hers, &room_of_hers, &format!("{number}")).await;
        }
    });
    let mut after = 0;
    while after < 200 {
        let resumed = ask(&mut his, json!({"room": room_of_his, "after": after})).await;
        let mut told = seqs(&resumed);
        // Live frames of the join before may precede the answer.
        told.extend(
            his.passed.drain(..).filter(|frame| frame["type"] == "chat_message").filter_map(|f| f["seq"].as_u64()),
        );
        let fresh: std::collections::BTreeSet<u64> = told.into_iter().filter(|seq| *seq > after).collect();
        let expected: std::collections::BTreeSet<u64> = (after + 1..=fresh.last().copied().unwrap_or(after)).collect();
        assert_eq!(fresh, expected, "after {after}");
        after = fresh.last().copied().unwrap_or(after);
        for _ in 0..3 {
            if after < 200 {
                let live = his.expect("chat_message").await.expect("told");
                assert_eq!((&live["seq"], live.get("from")), (&json!(after + 1), None), "{live}");
                after += 1;
            }
        }
    }
    talking.await.expect("she said it all");
}
