//! The client module in a real browser, against real nodes: on a page of its own, without the web client around it.

mod examples;
mod tab;

use std::time::{Duration, Instant};

use salon::engine::http::Account;
use serde_json::json;
use tab::Tab;

use crate::support::browser::{Browsers, PATIENCE};
use crate::support::cluster::Cluster;
use crate::support::nginx::Nginx;
use crate::support::node::{Single, unique};
use crate::support::proxy::{Proxy, Way};

/// A user and a public room of theirs, made without a browser.
async fn owner(url: &str) -> (Account, String) {
    let owner = Account::register(url, &unique("owner")).await.expect("registration");
    let room = owner.http.create_room(&unique("hall"), "public").await.expect("a room");
    (owner, room.slug)
}

/// What stands in the room, as the server tells it: the latest 200, oldest first.
async fn stored(reader: &Account, room: &str) -> Vec<String> {
    let answer = reader.http.get(&format!("/api/rooms/{room}/messages?limit=200")).await.expect("history");
    let messages = answer.json();
    let messages = messages.as_array().expect("an array");
    messages.iter().map(|message| message["content"].as_str().expect("text").to_owned()).collect()
}

async fn until_stored(reader: &Account, room: &str, wanted: &[String]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let there = stored(reader, room).await;
        if there == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "stored is {there:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn numbered(word: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{word} {number}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_sockets_are_blocked_streams_lose_nothing() {
    let single = Single::start().await;
    let nginx = Nginx::without_sockets(&[single.url()]);
    let proxy = Proxy::plain(nginx.url().trim_start_matches("http://")).await;
    let (other, room) = owner(&single.url()).await;
    let browsers = Browsers::start().await;
    let tab = Tab::open(&browsers, &format!("http://{}", proxy.address())).await;
    tab.register(&unique("ann")).await;
    tab.connect(&room).await;
    tab.until("told.state.transport === 'events' && told.held.size === 0 && told.joins > 0").await;

    let (theirs, own) = (numbered("theirs", 0..30), numbered("own", 0..10));
    let talk = async {
        for (number, content) in theirs.iter().enumerate() {
            let body = json!({"content": content, "nonce": content});
            other.http.post(&format!("/api/rooms/{room}/messages"), body).await.expect("sent");
            // In mid-talk all connections break, and nothing answers for a moment.
            if number % 10 == 5 {
                proxy.refuse();
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            if number % 10 == 7 {
                proxy.pass();
            }
        }
    };
    tokio::join!(talk, tab.send(&own));
    tab.until("told.held.size === 40 && salon.unsent === 0 && told.state.state === 'online'").await;
    let there = stored(&other, &room).await;
    assert_eq!(tab.shown().await, there, "what the page shows is what is stored");
    for (who, wanted) in [("theirs", &theirs), ("own", &own)] {
        let told: Vec<&String> = there.iter().filter(|content| content.starts_with(who)).collect();
        assert_eq!(told, wanted.iter().collect::<Vec<_>>(), "each once, in order");
    }
    // Edits and deletions too, and reactions.
    tab.run(
        "const [id] = told.held.keys(); await salon.edit(room, told.own, 'edited'); await salon.delete(room, told.own);
        await salon.react(room, id, '👍');",
    )
    .await;
    tab.until("[...told.held.values()].some((message) => message.deleted)").await;
    tab.until("[...told.held.values()].some((message) => message.reactions?.['👍']?.count === 1)").await;
    tab.is_in_order().await;
    tab.close().await;
}

/// A tab that has joined a room of somebody else's, through a line that can be cut.
struct Proxied {
    /// They end when they are dropped.
    _single: Single,
    _browsers: Browsers,
    proxy: Proxy,
    other: Account,
    room: String,
    tab: Tab,
}

impl Proxied {
    async fn start() -> Self {
        let single = Single::start().await;
        let proxy = Proxy::plain(single.url().trim_start_matches("http://")).await;
        let (other, room) = owner(&single.url()).await;
        let browsers = Browsers::start().await;
        let tab = Tab::open(&browsers, &format!("http://{}", proxy.address())).await;
        tab.register(&unique("ann")).await;
        tab.connect(&room).await;
        tab.until("told.joins > 0").await;
        Self { _single: single, _browsers: browsers, proxy, other, room, tab }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_in_mid_send_sends_once() {
    let Proxied { _single, _browsers, proxy, other, room, tab } = Proxied::start().await;

    // The first arrives, and its answer does not; the second does not even arrive.
    proxy.blackhole(Way::ToClient);
    tab.run("salon.send(room, 'arrived');").await;
    until_stored(&other, &room, &["arrived".to_owned()]).await;
    proxy.blackhole(Way::ToServer);
    tab.run("salon.send(room, 'on its way');").await;
    assert_eq!(tab.run("return salon.unsent").await, 2);
    // What was lost stays lost, and the page would not ask again for 15 s.
    proxy.pass();
    tab.reload().await;
    tab.connect(&room).await;
    tab.until("told.restored.length === 2 && told.acked === 2 && salon.unsent === 0").await;
    assert_eq!(tab.run("return told.restored").await, json!(["arrived", "on its way"]), "shown again, in order");
    assert_eq!(stored(&other, &room).await, ["arrived", "on its way"]);
    tab.until("told.held.size === 2").await;
    assert_eq!(
        tab.run("return Object.keys(localStorage).filter((key) => key.startsWith('salon-outbox')).length").await,
        0
    );
    tab.is_in_order().await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_offline_is_there_once_when_online() {
    let Proxied { _single, _browsers, proxy, other, room, tab } = Proxied::start().await;
    proxy.refuse();
    tab.until("told.state.state === 'offline'").await;
    let written = numbered("offline", 0..5);
    tab.run_with("for (const content of given) salon.send(room, content);", json!(written)).await;
    assert_eq!(stored(&other, &room).await, [""; 0]);
    other.http.post(&format!("/api/rooms/{room}/messages"), json!({"content": "meanwhile"})).await.expect("sent");
    proxy.pass();
    tab.run("salon.check();").await;
    tab.until("told.held.size === 6 && salon.unsent === 0").await;
    let wanted: Vec<String> = std::iter::once("meanwhile".to_owned()).chain(written).collect();
    assert_eq!(tab.shown().await, wanted);
    assert_eq!(stored(&other, &room).await, wanted);
    tab.is_in_order().await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_chatting_is_a_moment_without_an_answer() {
    let cluster = Cluster::start(2).await;
    let nginx = Nginx::start(&cluster.urls());
    let (other, room) = owner(&nginx.url()).await;
    let browsers = Browsers::start().await;
    let tab = Tab::open(&browsers, &nginx.url()).await;
    tab.register(&unique("ann")).await;
    tab.connect(&room).await;
    tab.until("told.joins > 0").await;
    let node = tab.run("return told.node").await;
    let killed = (0..2).find(|node_of| node == format!("node-{node_of}")).expect("one of the nodes");
    let written = numbered("message", 0..60);
    let kill = async {
        tab.until("told.held.size >= 20").await;
        cluster.kill9(killed);
    };
    tokio::join!(kill, tab.send_slowly(&written));
    tab.until("told.held.size === 60 && salon.unsent === 0").await;
    assert_ne!(tab.run("return told.node").await, node, "it goes on at the other one");
    assert_eq!(tab.shown().await, written, "each once, in order");
    assert_eq!(stored(&Account { http: other.http.at(&cluster.url(1 - killed)), ..other }, &room).await, written);
    tab.is_in_order().await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_renew_once_and_are_logged_out_together() {
    let single = Single::start().await;
    let proxy = Proxy::plain(single.url().trim_start_matches("http://")).await;
    let (_, room) = owner(&single.url()).await;
    let browsers = Browsers::start().await;
    let url = format!("http://{}", proxy.address());
    let first = Tab::open(&browsers, &url).await;
    first.register(&unique("ann")).await;
    first.connect(&room).await;
    first.until("told.joins === 1").await;
    let second = first.beside().await;
    second.connect(&room).await;
    second.until("told.joins === 1").await;

    // So slow that both know that the access has run out before either has another one.
    second.page.delete_cookie("salon_access").await.expect("a cookie less");
    proxy.delay(Way::ToClient, Duration::from_millis(1_500), Duration::ZERO);
    for tab in [&first, &second] {
        tab.run("told.rooms = salon.call('GET', '/api/rooms');").await;
    }
    for tab in [&first, &second] {
        assert_eq!(tab.run("return (await told.rooms).body.length > 0").await, true);
    }
    proxy.pass();
    let metrics = single.node.metrics().await;
    let counted: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("salon_http_requests_total{") && line.contains("/api/account/refresh"))
        .collect();
    assert!(counted.len() == 1 && counted[0].ends_with(" 1"), "one tab renews for both: {counted:?}");

    second.run("await salon.call('POST', '/api/account/logout');").await;
    for tab in [&first, &second] {
        tab.until("told.loggedOut && told.state.state === 'stopped'").await;
        tab.is_in_order().await;
    }
    first.close().await;
}
