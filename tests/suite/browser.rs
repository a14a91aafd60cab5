//! Two people, two browsers, two nodes.

use fantoccini::{Client, Locator};
use salon::engine::http::escape;
use serde_json::json;

use crate::support::browser::{Browsers, PATIENCE};
use crate::support::cluster::Cluster;
use crate::support::node::unique;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_chat_through_two_nodes() {
    let cluster = Cluster::start(2).await;
    let browsers = Browsers::start().await;
    let (ann, ben) = (browsers.open("ann").await, browsers.open("ben").await);
    let (ann_name, ben_name) = (unique("ann"), unique("ben"));
    register(&ann, &cluster.url(0), &ann_name).await;
    register(&ben, &cluster.url(1), &ben_name).await;
    let room = unique("parlour");
    create_room(&ann, &room).await;
    ben.goto(&format!("{}/r/{}", cluster.url(1), escape(&room))).await.expect("the room's own address");

    say(&ann, "hello from the first node").await;
    see(&ben, &ann_name, "hello from the first node").await;
    say(&ben, "and from the second").await;
    see(&ann, &ben_name, "and from the second").await;
    for (page, name) in [(&ann, &ben_name), (&ben, &ann_name)] {
        let person = format!("#people-list [data-testid=person][data-user='{name}']");
        page.wait().at_most(PATIENCE).for_element(Locator::Css(&person)).await.expect("the other one is online");
    }

    say(&ann, "<b>x</b><img src=x onerror=\"document.title='owned'\">").await;
    see(&ben, &ann_name, "<b>x</b><img src=x onerror=\"document.title='owned'\">").await;
    for page in [&ann, &ben] {
        let made = page.find_all(Locator::Css("#messages b, #messages img")).await.expect("an answer");
        assert!(made.is_empty(), "text became elements");
        assert_ne!(page.title().await.expect("a title"), "owned");
    }

    // A reload keeps the log-in and the history.
    ben.refresh().await.expect("the page again");
    see(&ben, &ann_name, "hello from the first node").await;
    // So does one when the access has run out, and so does whatever the page does then.
    ben.delete_cookie("salon_access").await.expect("a cookie less");
    ben.refresh().await.expect("the page again");
    see(&ben, &ann_name, "hello from the first node").await;
    ann.delete_cookie("salon_access").await.expect("a cookie less");
    create_room(&ann, &unique("attic")).await;
    say(&ann, "still here").await;
    see(&ann, &ann_name, "still here").await;
    ann.close().await.expect("the browser closes");
    ben.close().await.expect("the browser closes");
}

async fn register(page: &Client, url: &str, name: &str) {
    page.goto(url).await.expect("the page");
    click(page, "#auth-switch").await;
    type_into(page, "#auth-username", name).await;
    type_into(page, "#auth-password", "correct horse battery").await;
    click(page, "#auth-submit").await;
    let connected = Locator::Css("#connection[data-state=online]");
    page.wait().at_most(PATIENCE).for_element(connected).await.expect("logged in and connected");
}

async fn create_room(page: &Client, name: &str) {
    click(page, "#room-create").await;
    type_into(page, "#create-name", name).await;
    click(page, "#create-submit").await;
}

async fn say(page: &Client, text: &str) {
    type_into(page, "#composer-input", text).await;
    click(page, "#composer-send").await;
}

/// Waits until a message of this author with exactly this text stands there, and is sent.
async fn see(page: &Client, author: &str, text: &str) {
    let there = r"
        const [author, text] = arguments;
        return [...document.querySelectorAll('[data-testid=message][data-state=sent]')].some((row) =>
          row.dataset.author === author && row.querySelector('[data-testid=message-text]')?.textContent === text);";
    let deadline = std::time::Instant::now() + PATIENCE;
    while page.execute(there, vec![json!(author), json!(text)]).await.expect("an answer") != json!(true) {
        if std::time::Instant::now() > deadline {
            panic!("{text:?} of {author} never stood there:\n{}", page.source().await.unwrap_or_default());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn click(page: &Client, selector: &str) {
    visible(page, selector).await.click().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
}

async fn type_into(page: &Client, selector: &str, text: &str) {
    visible(page, selector).await.send_keys(text).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
}

async fn visible(page: &Client, selector: &str) -> fantoccini::elements::Element {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let found = page.find(Locator::Css(selector)).await;
        if let Ok(element) = &found
            && element.is_displayed().await.unwrap_or(false)
            && element.is_enabled().await.unwrap_or(false)
        {
            return found.expect("just found");
        }
        if std::time::Instant::now() > deadline {
            panic!("{selector} was never there to be used:\n{}", page.source().await.unwrap_or_default());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
