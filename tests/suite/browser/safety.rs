//! What people write is text, whatever it looks like.

use serde_json::json;

use super::person::Person;
use crate::support::browser::Browsers;
use crate::support::node::{Single, unique};

/// What has hurt pages before: elements, attributes, schemes, templates, things that end what they stand in.
const ATTEMPTS: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "'\"--></style></script><script>alert(1)</script>",
    "<iframe srcdoc=\"<script>parent.alert(1)</script>\"></iframe>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "javascript:alert(1)",
    "http://javascript:alert(1)@x\" onmouseover=\"alert(1)",
    "https://example.org/\"onmouseover=alert(1)//",
    "data:text/html,<script>alert(1)</script>",
    "<style>*{display:none}</style>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<form action=//evil.example><button id=composer-send>",
    "<math><mtext></p><img src=x onerror=alert(1)>",
    "<template><img src=x onerror=alert(1)></template>",
    "<img id=\"__proto__\" name=constructor>",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)} {name}",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#x3c;img&#x3e;",
    "\u{202e}gpj.exe\u{202c} \u{200b}\u{feff}",
    "</title><script>alert(1)</script>",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<object data=javascript:alert(1)><embed src=javascript:alert(1)>",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_becomes_anything_else() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let http = &ann.program().await.http;
    let bad = json!({"name": format!("<img src=x onerror=alert(1)> {}", unique("x")), "topic": ATTEMPTS[1]});
    let room = http.post("/api/rooms", bad.clone()).await.expect("an answer").json();
    let slug = room["slug"].as_str().expect("a slug");
    ann.opens(slug).await;
    let elements = "return document.querySelectorAll('*').length";
    for (number, text) in ATTEMPTS.iter().enumerate() {
        let body = json!({"content": text, "nonce": format!("n{number}"), "reply_to": (number > 0).then_some(number)});
        assert_eq!(
            http.post(&format!("/api/rooms/{slug}/messages"), body).await.expect("an answer").status,
            201,
            "{text}"
        );
        ann.sees(&ann.name, text).await;
    }
    // Names and topics of rooms, the search's pieces, the reply bar and the question before a deletion show the same.
    assert_eq!(ann.visible("#room-name").await.text().await.expect("a text"), bad["name"].as_str().expect("a text"));
    assert_eq!(ann.visible("#room-topic").await.text().await.expect("a text"), ATTEMPTS[1]);
    for other in &ATTEMPTS[..6] {
        http.post("/api/rooms", json!({"name": format!("{other}{}", unique("x")), "topic": other}))
            .await
            .expect("a room");
    }
    ann.click("#search-toggle").await;
    ann.type_into("#search-input", "alert\u{e007}").await;
    ann.finds("[data-testid=hit] mark").await;
    ann.uses("reply", ATTEMPTS[0]).await;
    ann.uses("delete", ATTEMPTS[0]).await;
    assert_eq!(ann.visible("#delete-quote").await.text().await.expect("a text"), ATTEMPTS[0]);
    ann.click("#delete-cancel").await;
    ann.opens(slug).await;
    ann.sees(&ann.name, ATTEMPTS[0]).await;

    let made =
        "return [...document.querySelectorAll(`#chat :is(script, img:not([src=\"/favicon.svg\"]), iframe, style, base,
        meta, math, template, object, embed, details, title), #chat [onerror], #chat [onload], #chat [onmouseover]`)]
        .filter((element) => element.tagName !== 'TEXTAREA').map((element) => element.outerHTML)";
    assert_eq!(ann.asks(made).await, json!([]), "text became elements");
    let links = "return [...document.querySelectorAll('#messages a')].map((link) => link.protocol)";
    for protocol in ann.asks(links).await.as_array().expect("a list") {
        assert!(protocol == "http:" || protocol == "https:", "{protocol}");
    }
    assert!(ann.asks(elements).await.as_u64().is_some_and(|count| count > 100));
    assert!(!ann.page.title().await.expect("a title").is_empty());
    ann.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_form_stand_at_its_fields() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    ann.click("#log-out").await;
    ann.click("#auth-switch").await;
    // A name that cannot be, a password that is too short, a name that is taken, a wrong password.
    let forms = [
        ("<script>", "correct horse battery", "#auth-username-error"),
        (&ann.name, "short", "#auth-password-error"),
        (&ann.name, "correct horse battery", "#auth-error"),
    ];
    for (name, password, place) in forms {
        ann.clear("#auth-username").await;
        ann.clear("#auth-password").await;
        ann.type_into("#auth-username", name).await;
        ann.type_into("#auth-password", password).await;
        ann.click("#auth-submit").await;
        ann.finds(place).await;
    }
    ann.click("#auth-switch").await;
    ann.type_into("#auth-password", " not\u{e007}").await;
    ann.waits("to be told", "return document.querySelector('#auth-error').textContent.includes('wrong')").await;
    ann.goes_home().await;
}
