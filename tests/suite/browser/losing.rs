//! Nodes die, networks drop, pages are loaded anew: nothing is lost, and nothing stands there twice.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::access::blameless;
use super::person::{ENTER, Person};
use crate::support::browser::Browsers;
use crate::support::cluster::Cluster;
use crate::support::nginx::Nginx;
use crate::support::node::{Single, unique};
use crate::support::proxy::{Proxy, Way};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_dies_while_a_person_types() {
    let cluster = Cluster::start(2).await;
    let nginx = Nginx::start(&cluster.urls());
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &nginx.url(), "ann").await;
    let room = ann.creates(&unique("wreck"), "public").await;
    // The one that holds ann's socket dies; ben is at the other.
    let doomed = usize::from(cluster.nodes[0].metric("salon_sockets").await < 0.5);
    let ben = Person::arrives(&browsers, &cluster.url(1 - doomed), "ben").await;
    ben.opens(&room).await;
    let mut said = Vec::new();
    for number in 0..30 {
        if number == 10 {
            // What is said now is on its way when the node dies, and was not taken by it.
            cluster.nodes[doomed].signal("STOP");
        }
        said.push(format!("word {number}"));
        ann.says(said.last().expect("just said")).await;
        if number == 13 {
            cluster.kill9(doomed);
        }
    }
    ann.type_into("#composer-input", "half a sent").await;
    for person in [&ann, &ben] {
        person.sees(&ann.name, "word 29").await;
        assert_eq!(person.texts().await, said, "what {} sees", person.name);
    }
    ann.is_connected().await;
    ann.type_into("#composer-input", &format!("ence{ENTER}")).await;
    ben.sees(&ann.name, "half a sentence").await;
    ann.goes_home().await;
    ben.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_without_a_network_is_sent_when_there_is_one() {
    let single = Single::shared().await;
    let proxy = Proxy::plain(single.url().trim_start_matches("http://")).await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &proxy.url(&single.url()), "ann").await;
    let ben = Person::arrives(&browsers, &single.url(), "ben").await;
    let room = ann.creates(&unique("tunnel"), "public").await;
    ben.opens(&room).await;
    ann.says("before").await;
    ben.sees(&ann.name, "before").await;

    proxy.refuse();
    ann.finds("#banner").await;
    let said: Vec<String> = (1..=5).map(|number| format!("from the tunnel {number}")).collect();
    for text in &said {
        ann.says(text).await;
    }
    let waiting = "return document.querySelectorAll('[data-testid=message][data-state=sending]').length === 5";
    ann.waits("to see five messages on their way", waiting).await;
    ann.waits("the indicator to be honest", "return document.querySelector('#connection').dataset.state !== 'online'")
        .await;
    ann.pictures("disconnected").await;
    blameless(&ann, "without a network").await;
    proxy.pass();
    // A person sees that it is tried again by itself, and need not press anything.
    for person in [&ann, &ben] {
        person.sees(&ann.name, "from the tunnel 5").await;
        assert_eq!(person.texts().await[1..], said, "what {} sees", person.name);
    }
    ann.waits("to be told that all is well", "return document.querySelector('#banner').hidden").await;
    ann.goes_home().await;
    ben.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_loaded_anew_in_mid_send_sends_it_once() {
    let single = Single::shared().await;
    let proxy = Proxy::plain(single.url().trim_start_matches("http://")).await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &proxy.url(&single.url()), "ann").await;
    let room = ann.creates(&unique("hurry"), "public").await;
    ann.says("first").await;
    ann.sees(&ann.name, "first").await;
    // What the page sends leaves for nowhere; the page that comes after it has a connection of its own.
    proxy.freeze(Way::ToServer);
    for text in ["in a hurry", "and more"] {
        ann.says(text).await;
    }
    ann.opens(&room).await;
    ann.sees(&ann.name, "and more").await;
    assert_eq!(ann.texts().await, ["first", "in a hurry", "and more"]);
    // So is what was not sent yet.
    ann.type_into("#composer-input", "half a thou").await;
    ann.opens(&room).await;
    ann.waits("to find the draft", "return document.querySelector('#composer-input').value === 'half a thou'").await;
    // Also a while later, when what was sent twice would have come twice.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(ann.texts().await, ["first", "in a hurry", "and more"]);
    ann.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_log_out_in_one_tab_ends_the_other() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let room = ann.creates(&unique("tabs"), "public").await;
    let first = ann.page.window().await.expect("a window");
    let second = ann.page.new_window(true).await.expect("another").handle;
    ann.page.switch_to_window(second).await.expect("the other");
    ann.opens(&room).await;
    ann.says("from the second tab").await;
    ann.sees(&ann.name, "from the second tab").await;
    ann.click("#log-out").await;
    ann.finds("#auth-username").await;
    ann.page.switch_to_window(first).await.expect("the first");
    ann.finds("#auth-username").await;
    let note = ann.visible("#auth-note").await.text().await.expect("a text");
    assert!(note.contains("logged out"), "{note}");
    // Who logs in again is back where they were.
    ann.type_into("#auth-username", &ann.name).await;
    ann.type_into("#auth-password", &format!("correct horse battery{ENTER}")).await;
    ann.finds("#composer-input").await;
    ann.sees(&ann.name, "from the second tab").await;
    assert_eq!(ann.asks("return document.querySelector('#auth-password').value").await, json!(""));
    ann.goes_home().await;
}
