//! A person's own dialogs, the title, the icon, and notifications.

use serde_json::json;

use super::person::Person;
use crate::support::browser::Browsers;
use crate::support::node::{Single, unique};

const NEW: &str = "another horse battery";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_with_errors_at_their_fields() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let elsewhere = ann.program().await;
    let opens = async || {
        ann.click("#me-open").await;
        ann.click("#password-open").await;
    };
    opens().await;
    ann.pictures("account-password").await;
    for (current, new, wrong) in [
        ("no idea", NEW, "#password-current-error:not([hidden])"),
        ("correct horse battery", "short", "#password-new-error:not([hidden])"),
    ] {
        for (field, text) in [("#password-current", current), ("#password-new", new)] {
            ann.clear(field).await;
            ann.type_into(field, text).await;
        }
        ann.click("#password-submit").await;
        ann.finds(wrong).await;
        ann.finds(&format!("{}[aria-invalid]", &wrong[..wrong.find("-error").unwrap_or_default()])).await;
    }
    ann.clear("#password-new").await;
    ann.type_into("#password-new", NEW).await;
    ann.click("#password-submit").await;
    ann.finds("#password-done").await;
    ann.click("#password-dialog [data-testid=close]").await;
    let told = elsewhere.http.get("/api/account").await.expect("an answer");
    assert_eq!(told.status, 401, "other log-ins are ended");
    ann.is_connected().await;
    ann.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_sessions_are_seen_and_ended() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let program = ann.program().await;
    ann.click("#me-open").await;
    ann.click("#sessions-open").await;
    ann.waits("to see both", "return document.querySelectorAll('[data-testid=login-session]').length === 2").await;
    ann.finds("[data-testid=login-session][data-current] strong[title*=Chrome]").await;
    ann.pictures("account-sessions").await;
    ann.click("[data-testid=login-session]:not([data-current]) [data-testid=end]").await;
    ann.waits("for it to be gone", "return document.querySelectorAll('[data-testid=login-session]').length === 1")
        .await;
    assert_eq!(program.http.get("/api/account").await.expect("an answer").status, 401);
    ann.click("[data-testid=login-session][data-current] [data-testid=end]").await;
    ann.finds("#auth-username").await;
    ann.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_language_is_changed_and_kept() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    for (language, title) in [("fr", "Réglages"), ("ru", "Настройки"), ("en", "Settings"), ("fr", "Réglages")]
    {
        ann.click("#me-open").await;
        ann.click("#settings-mine-open").await;
        ann.click(&format!("#mine-language option[value={language}]")).await;
        let there = "return document.querySelector('#mine-title').textContent === arguments[0]";
        ann.waits_with("for the dialog in it", there, vec![json!(title)]).await;
        assert_eq!(
            ann.asks("return [document.documentElement.lang, document.activeElement.id]").await,
            json!([language, "mine-language"])
        );
        if language == "ru" {
            ann.pictures("account-settings-ru").await;
        }
        ann.click("#mine-dialog [data-testid=close]").await;
    }
    ann.goes("/").await;
    ann.is_connected().await;
    assert_eq!(ann.asks("return document.documentElement.lang").await, "fr", "over a reload");
    ann.goes_home().await;
}

/// Permission is given as by the person; what the browser would show is caught where it is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_named_while_away_is_told() {
    let single = Single::shared().await;
    let browsers = Browsers::start().await;
    let ann = Person::arrives(&browsers, &single.url(), "ann").await;
    let bea = single.user("bea").await;
    let room = bea.http.create_room(&unique("lobby"), "public").await.expect("a room").slug;
    let enters = ann.program().await.http.put(&format!("/api/rooms/{room}/members/me"), json!({})).await;
    assert_eq!(enters.expect("an answer").status, 204);
    ann.opens(&room).await;
    let catch = "window.shown = [];
        window.Notification = class extends EventTarget {
          static permission = 'default';
          static requestPermission = async () => (Notification.permission = 'granted');
          constructor(title, {body, tag}) { super(); shown.push([title, body, tag]); }
        };";
    ann.asks(catch).await;
    let says = async |content: &str| {
        let path = format!("/api/rooms/{room}/messages");
        bea.http
            .post(&path, json!({"content": content}))
            .await
            .expect("sent")
            .expect::<serde_json::Value>(201)
            .expect("sent");
    };
    ann.click("#me-open").await;
    ann.click("#settings-mine-open").await;
    ann.click("#mine-notify").await;
    ann.waits("for it to be on", "return localStorage.getItem('salon.notify') === 'on'").await;
    ann.click("#mine-dialog [data-testid=close]").await;
    says(&format!("@{} seen anyway", ann.name)).await;
    ann.sees(&bea.user.username, &format!("@{} seen anyway", ann.name)).await;

    // She looks at something else.
    ann.asks("document.hasFocus = () => false; dispatchEvent(new Event('blur'));").await;
    let drawn = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))";
    ann.page.execute_async(drawn, vec![]).await.expect("the page is drawn");
    says("not for her").await;
    says(&format!("@{} come back", ann.name)).await;
    ann.waits("to be told", "return shown.length > 0").await;
    let title = format!("{} in {room}", bea.user.username);
    let wanted = json!([[title, format!("@{} come back", ann.name), format!("salon {room}")]]);
    assert_eq!(ann.asks("return shown").await, wanted, "of what names her, and while she was away");
    let counts = r"return /^\(\d\) /.test(document.title) && document.title.endsWith(`) ${arguments[0]} · salon`)";
    ann.waits_with("for the title to count", counts, vec![json!(room)]).await;
    ann.waits("for the icon", "return document.querySelector('link[rel=icon]').href.endsWith('/favicon-unread.svg')")
        .await;
    ann.asks("delete document.hasFocus; dispatchEvent(new Event('focus'));").await;
    ann.waits_with("for it to be quiet", "return document.title === `${arguments[0]} · salon`", vec![json!(room)])
        .await;
    ann.waits("for the icon", "return document.querySelector('link[rel=icon]').href.endsWith('/favicon.svg')").await;
    ann.goes_home().await;
}
