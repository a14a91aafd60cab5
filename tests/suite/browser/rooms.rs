//! Rooms: found, created, counted, left; private ones by invitation; direct ones; and what moderators do.

use salon::engine::http::escape;
use serde_json::json;

use super::person::{ENTER, Person};
use crate::support::browser::{Browsers, Look};
use crate::support::cluster::Cluster;
use crate::support::node::{Single, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_room_is_entered_by_a_link_and_left_again() {
    let cluster = Cluster::start(2).await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &cluster.url(0), "ann").await;
    let room = ann.creates(&unique("secret"), "private").await;
    ann.says("behind closed doors").await;
    ann.click("#room-menu").await;
    ann.click("#room-invites").await;
    ann.type_into("#invite-uses", "1").await;
    ann.click("#invite-submit").await;
    ann.waits("to be given a link", "return document.querySelector('#invite-url').value.includes('#invite=')").await;
    ann.pictures("invitation").await;
    let url = ann.asks("return document.querySelector('#invite-url').value").await;
    let code = url.as_str().expect("a text").split_once('#').expect("a fragment").1.to_owned();
    ann.click("#invite-dialog [data-close]").await;

    // Who has the link and no account yet registers, and is in.
    let ben = Person::at_the_door(&browsers, &cluster.url(1), "ben", Look::default()).await;
    ben.goes(&format!("/?x#{code}")).await;
    ben.waits(
        "to be told why to log in",
        "return document.querySelector('#auth-note').textContent.includes('invitation')",
    )
    .await;
    assert!(
        !ben.page.current_url().await.expect("an address").as_str().contains("invite"),
        "the code stays in the address"
    );
    ben.registers().await;
    ben.is_in(&room).await;
    ben.sees(&ann.name, "behind closed doors").await;
    ann.finds(&format!("#people-list [data-testid=person][data-user='{}']", ben.name)).await;

    // It held for one.
    let cleo = Person::arrives(&browsers, &cluster.url(1), "cleo").await;
    cleo.goes(&format!("/#{code}")).await;
    cleo.waits(
        "to be told that it is spent",
        "return document.querySelector('#complaint').textContent.includes('invitation')",
    )
    .await;

    ben.click("#room-menu").await;
    ben.click("#room-leave").await;
    ben.click("#ask-confirm").await;
    ben.waits("to have left", "return document.querySelector('#room-none-text').textContent.startsWith('You left')")
        .await;
    let gone = format!("return document.querySelector(`[data-testid=room-link][data-room='{room}']`) === null");
    ben.waits("not to see the room any more", &gone).await;
    for person in [ann, ben, cleo] {
        person.goes_home().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_room_counts_what_is_new_in_it() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let ben = Person::arrives(&browsers, &single.url(), "ben").await;
    let hall = ben.creates(&unique("hall"), "public").await;
    // By a name that is nobody's, then by the right one.
    ann.click("#direct-create").await;
    ann.type_into("#direct-username", &format!("nobody-there{ENTER}")).await;
    ann.finds("#direct-username-error").await;
    ann.clear("#direct-username").await;
    ann.type_into("#direct-username", &format!("{}{ENTER}", ben.name)).await;
    ann.waits_with(
        "to be with ben",
        "return document.querySelector('#room-name').textContent === arguments[0]",
        vec![json!(ben.name)],
    )
    .await;
    ann.says("just for you").await;

    // It stands among ben's rooms by itself, with what is new in it, while he is elsewhere.
    let badge = "#direct-rooms .has-unread [data-testid=unread]";
    ben.finds(badge).await;
    ben.pictures("unread").await;
    ben.click("#direct-rooms [data-testid=room-link]").await;
    ben.sees(&ann.name, "just for you").await;
    ben.waits("to have read it", &format!("return document.querySelector('{badge}') === null")).await;

    // Back and forward go from room to room.
    ben.page.back().await.expect("back");
    ben.is_in(&hall).await;
    ben.page.forward().await.expect("forward");
    ben.sees(&ann.name, "just for you").await;

    // A mention stands out in the list, and is gone once it was read.
    ann.opens(&hall).await;
    ann.says(&format!("are you there, @{}?", ben.name)).await;
    let badge = format!("[data-room='{hall}'] .badge.mentioned");
    ben.finds(&badge).await;
    ben.click(&format!("[data-testid=room-link][data-room='{hall}']")).await;
    ben.waits("to have read it", &format!("return document.querySelector(`{badge}`) === null")).await;
    ben.finds("[data-testid=divider]").await;
    ann.goes_home().await;
    ben.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moderators_mute_kick_and_ban() {
    let cluster = Cluster::start(2).await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &cluster.url(0), "ann").await;
    let ben = Person::arrives(&browsers, &cluster.url(1), "ben").await;
    let room = ann.creates(&unique("court"), "public").await;
    ben.opens(&room).await;
    ben.says("something nasty").await;
    ann.sees(&ben.name, "something nasty").await;

    // Ben is offered nothing of the kind.
    ben.click(&format!("#people-list [data-user='{}'] button", ann.name)).await;
    ben.finds("[data-testid=person-direct]").await;
    assert_eq!(ben.asks("return document.querySelector('[data-testid=person-kick]') === null").await, json!(true));
    ben.type_into("[role=menuitem]", super::person::ESCAPE).await;

    ann.uses("delete", "something nasty").await;
    ann.click("#delete-confirm").await;
    ben.sees(&ben.name, "This message was deleted.").await;

    let menu = format!("#people-list [data-user='{}'] button", ben.name);
    ann.click(&menu).await;
    ann.pictures("moderation-menu").await;
    ann.click("[data-testid=person-mute]").await;
    ann.click("#punish-submit").await;
    ann.waits("the dialog to close", "return !document.querySelector('#punish-dialog').open").await;
    ben.says("may I?").await;
    ben.finds("[data-state=failed] [data-testid=message-retry]").await;
    ann.click("#room-menu").await;
    ann.click("#room-moderation").await;
    ann.finds("[data-testid=muted] [data-testid=lift]").await;
    ann.pictures("moderation").await;
    ann.click("[data-testid=muted] [data-testid=lift]").await;
    ann.waits("the mute to be lifted", "return document.querySelector('[data-testid=muted]') === null").await;
    ann.click("#moderation-dialog [data-close]").await;
    ben.click("[data-testid=message-retry]").await;
    ann.sees(&ben.name, "may I?").await;

    ann.click(&menu).await;
    ann.click("[data-testid=person-kick]").await;
    ann.click("#ask-confirm").await;
    let thrown = "return document.querySelector('#room-none-text').textContent.startsWith(arguments[0])";
    ben.waits_with("to see that he was thrown out", thrown, vec![json!("You were removed from")]).await;

    // He comes in again, and is banned.
    ben.click(&format!("[data-testid=room-link][data-room='{room}']")).await;
    ben.sees(&ben.name, "may I?").await;
    ann.finds(&menu).await;
    ann.click(&menu).await;
    ann.click("[data-testid=person-ban]").await;
    ann.type_into("#punish-reason", "enough").await;
    ann.click("#punish-submit").await;
    ben.waits_with("to see that he was banned", thrown, vec![json!("You were banned from")]).await;
    ben.goes(&format!("/r/{}", escape(&room))).await;
    ben.waits("to be kept out", "return document.querySelector('#room-none-text').textContent.length > 12").await;

    // Name and topic; then the room's end.
    ann.click("#room-menu").await;
    ann.click("#room-settings").await;
    ann.type_into("#settings-topic", "law and order").await;
    ann.click("#settings-submit").await;
    ann.waits("to see the topic", "return document.querySelector('#room-topic').textContent === 'law and order'").await;
    ann.click("#room-menu").await;
    ann.click("#room-delete").await;
    ann.click("#ask-confirm").await;
    ann.waits_with(
        "to see its end",
        "return document.querySelector('#room-none-text').textContent.includes(arguments[0])",
        vec![json!("was deleted")],
    )
    .await;
    ann.goes_home().await;
    ben.goes_home().await;
}
