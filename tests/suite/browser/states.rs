//! Pictures of the states that a change may spoil without breaking anything else.

use serde_json::json;

use super::person::Person;
use crate::support::browser::{Browsers, Look};
use crate::support::node::{Single, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_of_a_busy_day() {
    let single = Single::start().await;
    let browsers = Browsers::start().await;
    let owner = single.user("olga").await.http;
    for (name, topic) in [
        ("General", "Everything, and what is left of it"),
        ("Kitchen", ""),
        ("Deployments", "Only the bot writes here"),
        ("Books", ""),
    ] {
        owner.post("/api/rooms", json!({"name": name, "topic": topic})).await.expect("a room");
    }
    let dark = Look { dark: true, width: 1400, ..Look::default() };
    let ann = Person::with(&browsers, &single.url(), "ann", dark).await;
    let ben = Person::with(&browsers, &single.url(), "ben", Look::phone(360)).await;
    ben.pictures("phone-rooms-new").await;
    for person in [&ann, &ben] {
        person.opens("general").await;
    }
    ann.click("#direct-create").await;
    ann.type_into("#direct-username", &format!("{}\u{e007}", ben.name)).await;
    ann.waits(
        "to be there",
        "return document.querySelector('#room-kind') !== null && location.pathname.includes('dm-')",
    )
    .await;
    ann.says("Lunch at one?").await;
    ann.opens("general").await;
    let say = async |text: &str, more: serde_json::Value| {
        let mut body = json!({"content": text, "nonce": unique("n")});
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let answer = owner.post("/api/rooms/general/messages", body).await.expect("an answer");
        answer.json()["id"].clone()
    };
    for number in 0..6 {
        say(&format!("Older message number {number}, to have something above."), json!({})).await;
    }
    let question =
        say("Has anybody seen the release notes? They should be at https://example.org/notes (draft).", json!({}))
            .await;
    ann.says("I have. Two things are missing:\u{e008}\u{e007}\u{e008}– the new limits").await;
    say(&format!("@{} thank you, I will add them today.", ann.name), json!({"reply_to": question})).await;
    for emoji in ["👍", "🎉"] {
        let path = format!("/api/rooms/general/messages/{question}/reactions/{}", salon::engine::http::escape(emoji));
        owner.put(&path, json!({})).await.expect("a reaction");
    }
    ben.says("Me too").await;
    ann.sees(&ben.name, "Me too").await;
    ann.pictures("desk-dark-busy").await;
    ann.uses("more", "Me too").await;
    ann.pictures("desk-dark-menu").await;
    ben.sees(&ben.name, "Me too").await;
    ben.pictures("phone-room").await;
    ben.click("#people-toggle").await;
    ben.finds("#people-list [data-testid=person]").await;
    ben.pictures("phone-members").await;
    ben.click("#people-close").await;
    ben.click("#room-back").await;
    ben.finds("#direct-rooms .has-unread").await;
    ben.pictures("phone-rooms").await;
    ann.goes_home().await;
    ben.goes_home().await;
}
