//! The page for administrators, in a browser: on a wide screen and on a small one, light and dark.

use std::path::Path;
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::{Client, Locator};
use salon::engine::http::{Account, Http};
use salon::engine::socket::Opening;
use serde_json::{Value, json};

use super::{PASSWORD, administrator};
use crate::support::browser::{Browsers, PATIENCE};
use crate::support::cluster::Cluster;
use crate::support::node::unique;

/// Where pictures of the page are put, for people to look at.
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/pictures/administration");

/// Nothing sticks out to the side, of the page or of a cell.
const FITS: &str = "return document.documentElement.scrollWidth <= innerWidth
    && document.getElementById('desk').scrollWidth <= innerWidth
    && [...document.querySelectorAll('#desk td, dialog[open]')].every((one) => one.scrollWidth <= one.clientWidth)";

/// The narrowest screen there is, and a wide one.
const SIZES: [(u32, u32); 2] = [(320, 640), (1_280, 900)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_works_on_the_page() {
    let cluster = Cluster::start(2).await;
    let root = administrator(&cluster).await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let room = alice.http.create_room(&unique("A hidden room"), "private").await.expect("a room");
    let said = say(&alice, &room.slug, "to be deleted").await;
    furnish(&alice, &bob).await;
    let browsers = Browsers::start().await;
    let page = browsers.open("root").await;

    log_in(&page, &cluster.url(0), &root.user.username, PASSWORD).await;
    page.goto(&format!("{}/admin", cluster.url(0))).await.expect("the page");
    users(&page, &cluster, &alice).await;
    roles(&page, &root, &bob).await;
    rooms(&page, &alice, &room.slug, said).await;
    nodes(&page).await;
    pictures(&page).await;
    languages(&page).await;
    assert_eq!(complaints(&page).await, [""; 0], "the browser complained");
    page.close().await.expect("the browser closes");
}

/// Rooms of all kinds, with short and with long names.
async fn furnish(alice: &Account, bob: &Account) {
    let named = [("General", "public", "What concerns everybody"), ("Kitchen", "private", "")];
    let long =
        ["long".repeat(20), "A name of many words that goes on and on until there is no room left for it".into()];
    for (name, kind, topic) in named.into_iter().chain(long.iter().map(|name| (name.as_str(), "public", ""))) {
        let body = json!({"name": name, "kind": kind, "topic": topic});
        assert_eq!(alice.http.post("/api/rooms", body).await.expect("an answer").status, 201);
    }
    let direct = json!({"kind": "direct", "username": bob.user.username});
    assert_eq!(alice.http.post("/api/rooms", direct).await.expect("an answer").status, 201);
    Account::register(&format!("http://{}", alice.http.authority()), &"w".repeat(32)).await.expect("a long name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_administrator_is_told_so_and_who_is_nobody_is_sent_to_log_in() {
    let cluster = Cluster::start(1).await;
    let alice = cluster.user(0, "alice").await;
    let browsers = Browsers::start().await;
    let page = browsers.open("alice").await;
    let address = format!("{}/admin", cluster.url(0));
    page.goto(&address).await.expect("the page");
    visible(&page, "#auth-form").await;
    assert_eq!(page.current_url().await.expect("an address").path(), "/", "to where one logs in");
    log_in(&page, &cluster.url(0), &alice.user.username, &alice.password).await;
    page.goto(&address).await.expect("the page");
    holds(
        &page,
        "return document.getElementById('closed-text').textContent.includes(arguments[0])",
        &[json!(alice.user.username)],
    )
    .await;
    holds(&page, "return document.getElementById('desk').hidden && !document.querySelector('tbody tr')", &[]).await;
    let text = page.find(Locator::Css("#closed-text")).await.expect("it").text().await.expect("a text");
    assert!(text.contains("administrators"), "{text}");
    picture(&page, "not-an-administrator").await;
    page.close().await.expect("the browser closes");
}

/// Found, disabled, and enabled again, which a person elsewhere notices.
async fn users(page: &Client, cluster: &Cluster, alice: &Account) {
    let name = &alice.user.username;
    let mut socket = Opening::new(&cluster.url(1)).cookies(&alice.http).welcomed().await.expect("a socket");
    visible(page, "#users-rows tr").await;
    type_into(page, "#users-find-input", &name.to_uppercase()).await;
    holds(page, "return document.querySelectorAll('#users-rows tr').length === 1", &[]).await;
    let row = format!("[data-testid=user][data-user='{name}']");
    click(page, &format!("{row} [data-testid=disable]")).await;
    // Not without being asked; and not by a slip.
    let title = visible(page, "#sure-title").await.text().await.expect("a text");
    assert!(title.contains(name.as_str()), "{title}");
    press(page, Key::Escape).await;
    holds(page, "return !document.getElementById('sure-dialog').open", &[]).await;
    visible(page, &format!("{row}[data-disabled=false]")).await;
    click(page, &format!("{row} [data-testid=disable]")).await;
    click(page, "#sure-confirm").await;
    visible(page, &format!("{row}[data-disabled=true]")).await;
    assert_eq!(socket.closed(Duration::from_secs(9)).await.expect("closed"), Some(4503));
    let body = json!({"username": name, "password": alice.password});
    let refused = Http::new(&cluster.url(1)).post("/api/account/login", body.clone()).await.expect("an answer");
    assert_eq!(refused.status, 401);
    // The button that took its place has the keyboard.
    press(page, Key::Enter).await;
    visible(page, &format!("{row}[data-disabled=false]")).await;
    assert_eq!(alice.http.post("/api/account/login", body).await.expect("an answer").status, 200);
}

/// By keyboard alone; and nobody has buttons against themselves.
async fn roles(page: &Client, root: &Account, bob: &Account) {
    let name = &bob.user.username;
    type_into(page, "#users-find-input", name).await;
    let row = format!("[data-testid=user][data-user='{name}']");
    visible(page, &row).await;
    holds(page, "return document.querySelectorAll('#users-rows tr').length === 1", &[]).await;
    for _ in 0..3 {
        press(page, Key::Tab).await;
    }
    let focused = "return document.activeElement.dataset.testid === arguments[0]";
    holds(page, focused, &[json!("promote")]).await;
    press(page, Key::Enter).await;
    visible(page, "#sure-confirm").await;
    holds(page, "return document.getElementById('sure-dialog').contains(document.activeElement)", &[]).await;
    press(page, Key::Tab).await;
    press(page, Key::Enter).await;
    visible(page, &format!("{row} [data-testid=demote]")).await;
    assert_eq!(bob.http.get("/api/admin/users").await.expect("an answer").status, 200);
    click(page, &format!("{row} [data-testid=demote]")).await;
    click(page, "#sure-confirm").await;
    visible(page, &format!("{row} [data-testid=promote]")).await;
    assert_eq!(bob.http.get("/api/admin/users").await.expect("an answer").status, 403);
    type_into(page, "#users-find-input", &root.user.username).await;
    let own = format!("[data-testid=user][data-user='{}']", root.user.username);
    visible(page, &own).await;
    assert!(page.find_all(Locator::Css(&format!("{own} button"))).await.expect("an answer").is_empty());
    type_into(page, "#users-find-input", "<b>nobody</b>").await;
    holds(page, "return document.querySelectorAll('#users-rows tr').length === 0", &[]).await;
    search(page, "users", "").await;
}

/// A private room of others: a message in it goes, then the room.
async fn rooms(page: &Client, alice: &Account, room: &str, said: u64) {
    click(page, "#sections a[href='#rooms']").await;
    visible(page, "#rooms-rows tr").await;
    type_into(page, "#rooms-find-input", room).await;
    let row = format!("[data-testid=room][data-room='{room}']");
    click(page, &format!("{row} [data-testid=delete_message]")).await;
    for (id, state) in [("x".to_owned(), "error"), ("99".to_owned(), "error"), (said.to_string(), "done")] {
        type_into(page, "#message-id", &id).await;
        click(page, "#message-delete").await;
        visible(page, &format!("#message-told[data-state={state}]")).await;
    }
    click(page, "#message-close").await;
    let history = alice.http.history(room).await.expect("a history");
    assert!(history.messages[0].deleted && history.messages[0].content.is_empty());
    click(page, &format!("{row} [data-testid=delete_room]")).await;
    click(page, "#sure-confirm").await;
    holds(page, "return !document.querySelector(arguments[0])", &[json!(row)]).await;
    assert_eq!(alice.http.get(&format!("/api/rooms/{room}")).await.expect("an answer").status, 404);
    search(page, "rooms", "").await;
}

/// All of them, looked at again by itself.
async fn nodes(page: &Client) {
    click(page, "#sections a[href='#nodes']").await;
    for node in ["node-0", "node-1"] {
        visible(page, &format!("[data-testid=node][data-node={node}][data-state=up]")).await;
    }
    let first = page.find(Locator::Css("#nodes-rows tr")).await.expect("a row");
    let deadline = Instant::now() + PATIENCE;
    while first.text().await.is_ok() {
        assert!(Instant::now() < deadline, "the rows are never drawn anew");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Of each section in each size and both colours; nothing may stick out to the side.
async fn pictures(page: &Client) {
    for (width, height) in SIZES {
        for dark in [false, true] {
            look(page, width, height, dark).await;
            for section in ["users", "rooms", "nodes"] {
                click(page, &format!("#sections a[href='#{section}']")).await;
                visible(page, &format!("#part-{section} .desk-table")).await;
                visible(page, &format!("#{section}-rows tr")).await;
                holds(page, FITS, &[]).await;
                let colour = if dark { "dark" } else { "light" };
                picture(page, &format!("{section}-{width}-{colour}")).await;
            }
        }
    }
    click(page, "#sections a[href='#users']").await;
    click(page, "#users-rows [data-testid=disable]").await;
    visible(page, "#sure-confirm").await;
    holds(page, FITS, &[]).await;
    picture(page, "asked").await;
    click(page, "#sure-cancel").await;
}

/// The longest words have room on the narrowest screen too.
async fn languages(page: &Client) {
    let (width, height) = SIZES[0];
    look(page, width, height, false).await;
    let agent = page.execute("return navigator.userAgent", vec![]).await.expect("an answer");
    for language in ["fr", "ru", "en"] {
        let spoken = json!({"userAgent": agent, "acceptLanguage": language});
        crate::support::browser::command(page, "Emulation.setUserAgentOverride", spoken).await;
        page.refresh().await.expect("the page again");
        holds(page, "return document.documentElement.lang === arguments[0]", &[json!(language)]).await;
        for section in ["users", "rooms", "nodes"] {
            click(page, &format!("#sections a[href='#{section}']")).await;
            visible(page, &format!("#{section}-rows tr")).await;
            holds(page, FITS, &[]).await;
            picture(page, &format!("{section}-{width}-{language}")).await;
        }
    }
}

/// By the debugger's protocol: a window is never as narrow as a telephone.
async fn look(page: &Client, width: u32, height: u32, dark: bool) {
    let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
    let colour = json!({"features": [
        {"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }}]});
    crate::support::browser::command(page, "Emulation.setDeviceMetricsOverride", size).await;
    crate::support::browser::command(page, "Emulation.setEmulatedMedia", colour).await;
}

async fn picture(page: &Client, name: &str) {
    std::fs::create_dir_all(PICTURES).expect("a folder");
    let picture = page.screenshot().await.expect("a picture");
    std::fs::write(Path::new(PICTURES).join(format!("{name}.png")), picture).expect("a file");
}

/// What the browser wrote for programmers: a refused script or style would be there.
async fn complaints(page: &Client) -> Vec<String> {
    let log = crate::support::browser::log(page).await;
    let told = log.iter().filter_map(|entry| entry["message"].as_str());
    // A refusal that the page is made for is written too.
    told.filter(|text| !text.contains("status of 4")).map(str::to_owned).collect()
}

async fn say(account: &Account, room: &str, content: &str) -> u64 {
    let path = format!("/api/rooms/{room}/messages");
    let answer = account.http.post(&path, json!({"content": content})).await.expect("an answer");
    answer.json()["id"].as_u64().expect("an id")
}

async fn log_in(page: &Client, url: &str, name: &str, password: &str) {
    page.goto(url).await.expect("the page");
    type_into(page, "#auth-username", name).await;
    type_into(page, "#auth-password", password).await;
    click(page, "#auth-submit").await;
    visible(page, "#connection[data-state=online]").await;
}

async fn click(page: &Client, selector: &str) {
    visible(page, selector).await.click().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
}

async fn search(page: &Client, list: &str, text: &str) {
    let field = format!("#{list}-find-input");
    type_into(page, &field, &format!("{text}{}", char::from(Key::Enter))).await;
}

/// In place of what stands there.
async fn type_into(page: &Client, selector: &str, text: &str) {
    let field = visible(page, selector).await;
    field.clear().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    field.send_keys(text).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
}

async fn press(page: &Client, key: Key) {
    let focused = page.active_element().await.expect("something has the keyboard");
    focused.send_keys(&char::from(key).to_string()).await.expect("a key");
}

/// Waits until a script says so.
async fn holds(page: &Client, script: &str, arguments: &[Value]) {
    let deadline = Instant::now() + PATIENCE;
    while page.execute(script, arguments.to_vec()).await.expect("an answer") != json!(true) {
        if Instant::now() > deadline {
            panic!("never: {script} {arguments:?}\n{}", page.source().await.unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn visible(page: &Client, selector: &str) -> Element {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = page.find(Locator::Css(selector)).await;
        if let Ok(element) = &found
            && element.is_displayed().await.unwrap_or(false)
            && element.is_enabled().await.unwrap_or(false)
        {
            return found.expect("just found");
        }
        if Instant::now() > deadline {
            panic!("{selector} was never there to be used:\n{}", page.source().await.unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
