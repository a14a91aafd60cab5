//! Long rooms: scrolled through without a jump, searched, linked to; and crowds.

use futures_util::{StreamExt, stream};
use salon::engine::http::escape;
use serde_json::json;

use super::person::{ENTER, Person};
use crate::support::browser::Browsers;
use crate::support::node::{Single, unique};

const MESSAGES: usize = 10_000;
/// What the page may have of them at once: a window of 300, and what is being put in or taken out.
const ROWS_MAX: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_are_scrolled_through_without_a_jump() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let program = ann.program().await;
    let room = program.http.create_room(&unique("annals"), "public").await.expect("a room").slug;
    let writers: Vec<_> = stream::iter(0..40).then(|_| async { ann.program().await }).collect().await;
    let written = stream::iter(0..MESSAGES).map(|number| {
        let http = &writers[number % writers.len()].http;
        let path = format!("/api/rooms/{room}/messages");
        async move {
            let text = format!("entry {number}: {}", "and so on ".repeat(number * 7 % 23));
            let body = json!({"content": text, "nonce": format!("n{number}")});
            http.post(&path, body).await.expect("an answer").status
        }
    });
    let statuses: Vec<u16> = written.buffer_unordered(40).collect().await;
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");

    ann.opens(&room).await;
    ann.waits("to be at the end", &format!("return document.querySelector('[data-id=\"{MESSAGES}\"]') !== null")).await;
    // Up for a while, by the wheel's steps: what is in view moves by just so much, whatever is loaded above.
    let report = ann.page.execute_async(SCROLL_UP, vec![json!(20_000)]).await.expect("an answer");
    println!("scrolling up: {report:#}");
    assert!(report["rows"].as_u64().is_some_and(|rows| rows > 100 && rows < ROWS_MAX), "{report}");
    assert!(report["oldest"].as_u64().is_some_and(|oldest| oldest < 9_600), "{report}");
    assert!(report["jump"].as_f64().is_some_and(|pixels| pixels < 2.0), "the text jumped: {report}");

    // What is said meanwhile is counted, moves nothing, and is one click away.
    program
        .http
        .post(&format!("/api/rooms/{room}/messages"), json!({"content": "here and now", "nonce": "now"}))
        .await
        .expect("sent");
    ann.waits("to be told", "return document.querySelector('#to-latest-text').textContent.length > 0").await;
    ann.click("#to-latest").await;
    ann.sees(&ann.name, "here and now").await;

    // A link into the midst, and from there down to the end again.
    ann.goes(&format!("/r/{}#m{}", escape(&room), 5_000)).await;
    ann.waits("to see the middle", "return document.querySelector('.message.target')?.dataset.id === '5000'").await;
    let report = ann.page.execute_async(SCROLL_DOWN, vec![json!(6_000)]).await.expect("an answer");
    println!("scrolling down: {report:#}");
    assert!(report["rows"].as_u64().is_some_and(|rows| rows < ROWS_MAX), "{report}");
    assert!(report["jump"].as_f64().is_some_and(|pixels| pixels < 2.0), "the text jumped: {report}");
    ann.type_into("#composer-input", super::person::ESCAPE).await;
    ann.sees(&ann.name, "here and now").await;
    ann.goes_home().await;
}

/// Scrolls by steps, and measures for each how much a message that stays in view moved against what it should.
const SCROLL_UP: &str = r"
    const [goal, done] = arguments;
    const box = document.querySelector('#messages-scroll');
    const frame = () => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
    const rows = () => [...document.querySelectorAll('#messages > li.message')];
    (async () => {
      let [jump, most, gone, worst] = [0, 0, 0, 0];
      const until = performance.now() + 25000;
      while (gone < goal && performance.now() < until) {
        const began = performance.now();
        const top = box.getBoundingClientRect().top;
        const held = rows().find((row) => row.getBoundingClientRect().bottom > top + 100);
        const [id, at] = [held.dataset.id, held.getBoundingClientRect().top];
        const step = Math.min(120, box.scrollTop);
        box.scrollTop -= step;
        await frame();
        const now = rows().find((row) => row.dataset.id === id);
        // The browser rounds what it scrolls by.
        if (now) jump = Math.max(jump, Math.abs(now.getBoundingClientRect().top - at - step));
        gone += step;
        most = Math.max(most, rows().length);
        worst = Math.max(worst, performance.now() - began);
      }
      done({jump, rows: most, gone, oldest: Number(rows()[0].dataset.id), worst_step_ms: Math.round(worst)});
    })();";

const SCROLL_DOWN: &str = r"
    const [goal, done] = arguments;
    const box = document.querySelector('#messages-scroll');
    const frame = () => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
    const rows = () => [...document.querySelectorAll('#messages > li.message')];
    (async () => {
      let [jump, most, gone] = [0, 0, 0];
      const until = performance.now() + 25000;
      while (gone < goal && performance.now() < until) {
        const {top, bottom} = box.getBoundingClientRect();
        const held = rows().findLast((row) => row.getBoundingClientRect().top < bottom - 200);
        const [id, at] = [held.dataset.id, held.getBoundingClientRect().top];
        const before = box.scrollTop;
        box.scrollTop += 120;
        const step = box.scrollTop - before;
        await frame();
        const now = rows().find((row) => row.dataset.id === id);
        if (now) jump = Math.max(jump, Math.abs(now.getBoundingClientRect().top - at + step));
        gone += step;
        most = Math.max(most, rows().length);
      }
      done({jump, rows: most, gone, newest: Number(rows().at(-1).dataset.id)});
    })();";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_searched_for_is_found_marked_and_jumped_to() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let http = &ann.program().await.http;
    let room = http.create_room(&unique("library"), "public").await.expect("a room").slug;
    let other = http.create_room(&unique("attic"), "public").await.expect("a room").slug;
    let word = unique("needle").replace('-', "");
    for number in 0..200 {
        let text = if number == 7 { format!("a <b>{word}</b> in the hay") } else { format!("hay {number}") };
        let body = json!({"content": text, "nonce": format!("n{number}")});
        assert_eq!(http.post(&format!("/api/rooms/{room}/messages"), body).await.expect("an answer").status, 201);
    }
    let body = json!({"content": format!("another {word}"), "nonce": "n"});
    assert_eq!(http.post(&format!("/api/rooms/{other}/messages"), body).await.expect("an answer").status, 201);

    ann.opens(&room).await;
    ann.type_into("#messages-scroll", "/").await;
    ann.type_into("#search-input", &format!("{word}{ENTER}")).await;
    ann.waits("to find one here", "return document.querySelectorAll('[data-testid=hit]').length === 1").await;
    let marked = ann.visible("[data-testid=hit] mark").await.text().await.expect("a text");
    assert_eq!(marked, word);
    ann.pictures("search").await;
    ann.click("[data-testid=hit] a").await;
    ann.waits("to see it", "return document.querySelector('.message.target')?.dataset.id === '8'").await;
    assert!(ann.page.current_url().await.expect("an address").as_str().ends_with("#m8"));
    ann.sees(&ann.name, &format!("a <b>{word}</b> in the hay")).await;
    ann.click("#search-all").await;
    ann.waits("to find two anywhere", "return document.querySelectorAll('[data-testid=hit]').length === 2").await;
    ann.click(&format!("[data-testid=hit][data-room='{other}'] a")).await;
    ann.sees(&ann.name, &format!("another {word}")).await;
    // The way back is the browser's own.
    ann.page.back().await.expect("back");
    ann.waits("to see it again", "return document.querySelector('.message.target')?.dataset.id === '8'").await;
    ann.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_unread_message_is_one_click_away() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let room = ann.creates(&unique("diary"), "public").await;
    ann.says("the last that I read").await;
    ann.sees(&ann.name, "the last that I read").await;
    ann.creates(&unique("elsewhere"), "public").await;
    let ben = single.user("ben").await;
    for number in 1..=130 {
        let body = json!({"content": format!("day {number}"), "nonce": format!("n{number}")});
        assert_eq!(ben.http.post(&format!("/api/rooms/{room}/messages"), body).await.expect("an answer").status, 201);
    }
    let counted = format!(
        "return document.querySelector(`[data-room='{room}'] [data-testid=unread]`)?.innerText.trim() === '99+'"
    );
    ann.goes("/").await;
    ann.waits("to see how many are new", &counted).await;
    ann.click(&format!("[data-testid=room-link][data-room='{room}']")).await;
    ann.sees(&ben.user.username, "day 130").await;
    ann.click("#to-unread").await;
    let line = r"
        const line = document.querySelector('[data-testid=divider]');
        const top = line?.getBoundingClientRect().top;
        return line?.nextElementSibling.querySelector('[data-testid=message-text]').textContent === 'day 1' && top > 0 && top < innerHeight;";
    ann.waits("to see where the new begins", line).await;
    ann.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_crowd_some_are_named_and_the_others_counted() {
    let single = Single::start_with(&[("SALON_NODE__PRESENCE_LIST_MAX", "2")]).await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let room = ann.creates(&unique("crowd"), "public").await;
    let ben = Person::arrives(&browsers, &single.url(), "ben").await;
    let cleo = Person::arrives(&browsers, &single.url(), "cleo").await;
    for person in [&ben, &cleo] {
        person.opens(&room).await;
    }
    let three = "return document.querySelector('#people-title').textContent.startsWith('3 ')";
    for person in [&ann, &cleo] {
        person.waits("to count three", three).await;
    }
    // Beyond what the server lists by itself, a list is asked for.
    cleo.finds(&format!("#people-list [data-testid=person][data-user='{}']", ann.name)).await;
    for person in [ann, ben, cleo] {
        person.goes_home().await;
    }
}
