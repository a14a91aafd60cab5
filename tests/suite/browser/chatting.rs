//! Two people, two browsers, two nodes.

use std::time::Instant;

use serde_json::json;

use super::person::{ENTER, Person};
use crate::support::browser::{Browsers, PATIENCE};
use crate::support::cluster::Cluster;
use crate::support::node::unique;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_chat_through_two_nodes() {
    let cluster = Cluster::start(2).await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &cluster.url(0), "ann").await;
    let ben = Person::arrives(&browsers, &cluster.url(1), "ben").await;
    let room = ann.creates(&unique("parlour"), "public").await;
    ben.opens(&room).await;

    ann.says("hello from the first node").await;
    ben.sees(&ann.name, "hello from the first node").await;
    ben.says("and from the second").await;
    ann.sees(&ben.name, "and from the second").await;
    for (person, other) in [(&ann, &ben.name), (&ben, &ann.name)] {
        person.finds(&format!("#people-list [data-testid=person][data-user='{other}']")).await;
    }
    ann.waits_with("to be told that ben came", SAID_QUIETLY, vec![json!(format!("{} came online", ben.name))]).await;

    // Who types is seen to, every three seconds at most.
    let deadline = Instant::now() + PATIENCE;
    while ben.asks_with(TYPING, vec![json!(ann.name)]).await != json!(true) {
        assert!(Instant::now() < deadline, "ben never saw ann typing");
        ann.type_into("#composer-input", "x").await;
    }
    ann.clear("#composer-input").await;
    // Several lines, and a link.
    ann.type_into("#composer-input", &format!("one\u{e008}{ENTER}\u{e008}two https://example.org/x.{ENTER}")).await;
    ben.sees(&ann.name, "one\ntwo https://example.org/x.").await;
    let link = ben.visible("[data-testid=message-text] a").await;
    assert_eq!(link.attr("href").await.expect("an answer").as_deref(), Some("https://example.org/x"));
    assert_eq!(link.attr("rel").await.expect("an answer").as_deref(), Some("noopener noreferrer nofollow"));

    edit_and_delete(&ann, &ben).await;
    answer_and_react(&ann, &ben).await;
    mention(&ann, &ben).await;

    // A reload keeps the log-in and the history; so does one when the access has run out, and whatever comes then.
    ben.page.delete_cookie("salon_access").await.expect("a cookie less");
    ben.opens(&room).await;
    ben.sees(&ann.name, "hello from the first node").await;
    ann.page.delete_cookie("salon_access").await.expect("a cookie less");
    ann.creates(&unique("attic"), "public").await;
    ann.says("still here").await;
    ann.sees(&ann.name, "still here").await;

    // Who goes is seen to go, by who looks at the room.
    let (name, url) = (ben.name.clone(), format!("/r/{room}"));
    ann.goes(&url).await;
    ann.finds(&format!("#people-list [data-testid=person][data-user='{name}']")).await;
    ben.goes_home().await;
    ann.waits_with("to be told that ben went", SAID_QUIETLY, vec![json!(format!("{name} went offline"))]).await;
    ann.goes_home().await;
}

const SAID_QUIETLY: &str = "return [...document.querySelectorAll('[data-testid=note]')].some((note) => note.textContent.includes(arguments[0]))";
const TYPING: &str = "return document.querySelector('#typing').textContent.includes(arguments[0])";

async fn edit_and_delete(ann: &Person, ben: &Person) {
    ann.says("a mystake").await;
    ann.sees(&ann.name, "a mystake").await;
    ann.uses("edit", "a mystake").await;
    ann.clear("[data-testid=message-editor]").await;
    ann.type_into("[data-testid=message-editor]", &format!("a mistake{ENTER}")).await;
    ben.sees(&ann.name, "a mistake").await;
    ben.finds("[data-testid=message-edited]").await;
    // The last one's own is edited with the arrow key too, and Escape leaves it.
    ann.type_into("#composer-input", "\u{e013}").await;
    ann.type_into("[data-testid=message-editor]", "!\u{e00c}").await;
    ann.uses("delete", "a mistake").await;
    ann.click("#delete-confirm").await;
    ben.sees(&ann.name, "This message was deleted.").await;
    let tools = "return document.querySelector('[data-testid=message-edit]') === null";
    ben.uses("more", "hello from the first node").await;
    ben.waits("not to be offered what is ann's", tools).await;
    ben.type_into("[role=menuitem]", "\u{e00c}").await;
}

async fn answer_and_react(ann: &Person, ben: &Person) {
    ben.uses("reply", "hello from the first node").await;
    ben.waits_with(
        "to see whom he answers",
        "return document.querySelector('#reply-to').textContent.includes(arguments[0])",
        vec![json!(ann.name)],
    )
    .await;
    ben.says("hello to the first").await;
    ann.sees(&ben.name, "hello to the first").await;
    let quote = ann.visible("[data-testid=quote]").await.text().await.expect("a text");
    assert!(quote.contains("hello from the first node"), "{quote}");
    ann.click("[data-testid=quote]").await;
    ann.waits("to be led to what was answered", "return document.querySelector('.message.target')?.dataset.id === '1'")
        .await;

    ben.uses("react", "hello from the first node").await;
    ben.click("[data-testid=pick][data-emoji='🎉']").await;
    let reaction = "[data-id='1'] [data-testid=reaction][data-emoji='🎉']";
    ann.click(reaction).await;
    let both = format!("return document.querySelector(`{reaction}`)?.querySelector('.number').textContent === '2'");
    ben.waits("to see both reactions", &both).await;
    ben.click(reaction).await;
    let one = format!("return document.querySelector(`{reaction}`)?.querySelector('.number').textContent === '1'");
    ann.waits("to see one reaction less", &one).await;
}

async fn mention(ann: &Person, ben: &Person) {
    // What is typed of the name is completed.
    ann.type_into("#composer-input", &format!("look, @{}", &ben.name[..4])).await;
    ann.finds(&format!("[data-testid=name-offer][data-user='{}']", ben.name)).await;
    ann.type_into("#composer-input", ENTER).await;
    ann.type_into("#composer-input", &format!("!{ENTER}")).await;
    ben.sees(&ann.name, &format!("look, @{} !", ben.name)).await;
    ben.finds(".message.meant [data-testid=mention].mine").await;
    let others = ann.asks("return document.querySelector('.message.meant') === null").await;
    assert_eq!(others, json!(true), "one's own message is no mention of oneself");
}
