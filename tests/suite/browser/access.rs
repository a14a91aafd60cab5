//! For everybody: without a mouse or eyes, on small and large screens, in three languages.

use std::path::Path;

use serde_json::{Value, json};

use super::person::{ENTER, Person};
use crate::support::browser::{Browsers, Look};
use crate::support::node::{Single, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_state_of_the_page_has_a_serious_fault() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    for dark in [false, true] {
        let look = Look { dark, ..Look::default() };
        let ann = Person::at_the_door(&browsers, &single.url(), if dark { "dan" } else { "ann" }, look).await;
        blameless(&ann, "the log-in").await;
        ann.registers().await;
        blameless(&ann, "the room list").await;
        ann.creates(&unique("gallery"), "private").await;
        ann.says(&format!("hello @{} https://example.org", ann.name)).await;
        ann.sees(&ann.name, &format!("hello @{} https://example.org", ann.name)).await;
        ann.uses("reply", &format!("hello @{} https://example.org", ann.name)).await;
        blameless(&ann, "a reply").await;
        ann.says("an answer").await;
        ann.uses("react", "an answer").await;
        blameless(&ann, "the picker").await;
        ann.click("[data-testid=pick][data-emoji='👍']").await;
        ann.finds("[data-testid=reaction]").await;
        blameless(&ann, "a room with people").await;
        ann.uses("edit", "an answer").await;
        blameless(&ann, "an editor").await;
        ann.click("[data-testid=message-editor-cancel]").await;
        ann.click("#search-toggle").await;
        ann.type_into("#search-input", &format!("answer{ENTER}")).await;
        ann.finds("[data-testid=hit] mark").await;
        blameless(&ann, "the search").await;
        ann.click("#search-close").await;
        for (entry, dialog) in [
            ("#room-settings", "settings"),
            ("#room-invites", "invite"),
            ("#room-moderation", "moderation"),
            ("#room-delete", "ask"),
        ] {
            ann.click("#room-menu").await;
            if dialog == "settings" {
                blameless(&ann, "the room's menu").await;
            }
            ann.click(entry).await;
            ann.finds(&format!("#{dialog}-dialog")).await;
            if dialog == "invite" {
                ann.click("#invite-submit").await;
                ann.finds("[data-testid=invite]").await;
            }
            blameless(&ann, dialog).await;
            ann.click(&format!("#{dialog}-dialog [data-close]")).await;
        }
        for (button, dialog) in [("#room-create", "create"), ("#direct-create", "direct")] {
            ann.click(button).await;
            blameless(&ann, dialog).await;
            ann.click(&format!("#{dialog}-dialog [data-close]")).await;
        }
        ann.click("#me-open").await;
        ann.click("#help-open").await;
        blameless(&ann, "the help").await;
        ann.click("#help-dialog [data-close]").await;
        ann.goes_home().await;
    }
}

/// By axe, which knows the guidelines: nothing serious or critical.
async fn blameless(person: &Person, what: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&file).expect("tests/run installs axe-core");
    let script = format!(
        "const done = arguments[0];
        (function () {{ if (!window.axe) {{ {axe} }} }}).call(window);
        Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {{}}))).then(() =>
        axe.run(document, {{resultTypes: ['violations']}})).then(({{violations}}) => done(violations
          .filter(({{impact}}) => impact === 'serious' || impact === 'critical')
          .map(({{id, nodes}}) => [id, nodes.map(({{html, failureSummary}}) => [html.slice(0, 200), failureSummary])])),
          (error) => done(String(error)));"
    );
    let faults: Value = person.page.execute_async(&script, vec![]).await.expect("an answer");
    assert_eq!(faults, json!([]), "{what}: {faults:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_screen_is_too_narrow_or_too_wide() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    for (width, look) in [
        (320, Look::phone(320)),
        (800, Look { width: 800, ..Look::default() }),
        (1920, Look { width: 1920, ..Look::default() }),
    ] {
        let ann = Person::at_the_door(&browsers, &single.url(), &format!("ann{width}"), look).await;
        fits(&ann, "the log-in").await;
        ann.registers().await;
        fits(&ann, "the room list").await;
        let room = ann.creates(&unique("corridor-with-a-name-that-no-phone-has-room-for"), "public").await;
        let long = "W".repeat(300);
        let http = &ann.program().await.http;
        for (number, text) in [&format!("https://example.org/{long}"), &long, "short"].into_iter().enumerate() {
            let body =
                json!({"content": text, "nonce": format!("n{number}"), "reply_to": (number > 0).then_some(number)});
            http.post(&format!("/api/rooms/{room}/messages"), body).await.expect("sent");
        }
        ann.sees(&ann.name, "short").await;
        ann.uses("react", "short").await;
        fits(&ann, "the picker").await;
        ann.click("[data-testid=pick][data-emoji='👍']").await;
        ann.finds("[data-testid=reaction]").await;
        fits(&ann, "a room").await;
        ann.uses("more", "short").await;
        fits(&ann, "a menu").await;
        ann.type_into("[role=menuitem]", super::person::ESCAPE).await;
        ann.type_into("#composer-input", &"many words ".repeat(30)).await;
        fits(&ann, "a long draft").await;
        ann.clear("#composer-input").await;
        ann.click("#search-toggle").await;
        ann.type_into("#search-input", &format!("short{ENTER}")).await;
        ann.finds("[data-testid=hit]").await;
        fits(&ann, "the search").await;
        ann.click("#search-close").await;
        ann.click("#room-menu").await;
        ann.click("#room-invites").await;
        ann.click("#invite-submit").await;
        ann.finds("[data-testid=invite]").await;
        fits(&ann, "the invitations").await;
        ann.pictures(&format!("invitations-{width}")).await;
        ann.click("#invite-dialog > .buttons [data-close]").await;
        if width == 320 {
            ann.click("#room-back").await;
            ann.finds("#own-rooms [data-testid=room-link]").await;
            fits(&ann, "the list again").await;
        }
        ann.goes_home().await;
    }
}

/// Nothing sticks out to the side: not of the page, and not of what scrolls in it or stands in front of it.
async fn fits(person: &Person, what: &str) {
    let script = r"
        const wide = [...document.querySelectorAll('html, body, .scroll, dialog[open], [popover], .panel, .message .body')]
          .filter((element) => element.checkVisibility() && element.scrollWidth > element.clientWidth + 1)
          .map((element) => [element.id || element.className || element.tagName, element.scrollWidth, element.clientWidth]);
        const out = [...document.querySelectorAll('button, input, textarea, select')]
          .filter((element) => element.checkVisibility())
          .map((element) => [element.id || element.dataset.testid, element.getBoundingClientRect()])
          .filter(([, box]) => box.width > 0 && (box.right > innerWidth + 1 || box.left < -1)).map(([name, {left, right}]) => [name, left, right]);
        return [...wide, ...out];";
    assert_eq!(person.asks(script).await, json!([]), "{what} of {}", person.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_speaks_three_languages() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    for (language, name, log_in, connected, today) in [
        ("en", "eve", "Log in", "Connected", "Today"),
        ("fr", "fanny", "Se connecter", "Connecté", "Aujourd’hui"),
        ("ru", "rita", "Войти", "На связи", "Сегодня"),
    ] {
        let look = Look { language, ..Look::default() };
        let person = Person::at_the_door(&browsers, &single.url(), name, look).await;
        let shown = person.visible("#auth-submit").await.text().await.expect("a text");
        assert_eq!(shown, log_in);
        person.pictures(&format!("logged-out-{language}")).await;
        person.registers().await;
        person.creates(&unique("babel"), "public").await;
        person.says("bonjour").await;
        person.sees(&person.name, "bonjour").await;
        for text in [connected, today] {
            let there = "return document.querySelector('#chat').innerText.includes(arguments[0])";
            person.waits_with("to read its language", there, vec![json!(text)]).await;
        }
        assert_eq!(person.asks("return document.documentElement.lang").await, json!(language));
        person.pictures(&format!("room-{language}")).await;
        // No text is missing anywhere: a missing one stands there by its name.
        let missing = r"
            const names = [...document.querySelectorAll('[data-text], [data-label], [data-placeholder]')];
            return names.flatMap((element) => [[element.dataset.text, element.textContent.trim()],
              [element.dataset.label, element.getAttribute('aria-label')], [element.dataset.placeholder, element.placeholder]])
              .filter(([name, text]) => name && (!text || text === name));";
        assert_eq!(person.asks(missing).await, json!([]), "{language}");
        // The switch changes what stands there, at once and for good.
        person.click("#log-out").await;
        person.finds("#auth-submit").await;
        person
            .asks("const s = document.querySelector('#language'); s.value = 'ru'; s.dispatchEvent(new Event('change'))")
            .await;
        person.waits("to read Russian", "return document.querySelector('#auth-submit').textContent === 'Войти'").await;
        person.goes("/").await;
        person.waits("to read it still", "return document.querySelector('#auth-submit').textContent === 'Войти'").await;
        person.goes_home().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_reached_with_the_keyboard() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let first = ann.creates(&unique("alpha"), "public").await;
    let second = ann.creates(&unique("beta"), "public").await;
    for text in ["one", "two", "three"] {
        ann.says(text).await;
        ann.sees(&ann.name, text).await;
    }
    // Into the list by Shift+Tab, up to a message, and its tools by letters.
    ann.asks("document.querySelector('#messages').lastElementChild.focus()").await;
    ann.type_into(".message:focus", "\u{e013}").await;
    ann.type_into(".message:focus", "r").await;
    ann.waits("to answer the second", "return document.querySelector('#reply-text').textContent === 'two'").await;
    ann.type_into("#composer-input", super::person::ESCAPE).await;
    ann.waits("not to answer any more", "return document.querySelector('#reply-bar').hidden").await;
    // From room to room, to the list of rooms, and back.
    ann.type_into("#composer-input", "\u{e00a}\u{e013}\u{e00a}").await;
    ann.is_in(&first).await;
    ann.type_into("#composer-input", "\u{e009}k\u{e009}").await;
    ann.waits("to find a room", "return document.activeElement.id === 'room-find-input'").await;
    ann.type_into("#room-find-input", &format!("{second}{ENTER}")).await;
    ann.is_in(&second).await;
    // A new message of another is read aloud.
    let ben = single.user("ben").await;
    let body = json!({"content": "listen", "nonce": "n"});
    assert_eq!(ben.http.post(&format!("/api/rooms/{second}/messages"), body).await.expect("an answer").status, 201);
    let aloud = "return document.querySelector('#aloud').textContent.includes('listen')";
    ann.waits("to hear it", aloud).await;
    ann.goes_home().await;
}
