//! Somebody with a browser.

use std::path::Path;
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::{Client, Locator};
use salon::engine::http::{Account, Http, escape};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::browser::{Browsers, Look, PATIENCE};
use crate::support::node::unique;

const PASSWORD: &str = "correct horse battery";
/// Keys, as a driver takes them.
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";

pub struct Person {
    pub page: Client,
    pub name: String,
    pub base: String,
}

impl Person {
    /// Registers in a browser of their own, and is connected.
    pub async fn arrives(browsers: &Browsers, base: &str, name: &str) -> Person {
        Self::with(browsers, base, name, Look::default()).await
    }

    /// The same with a browser that looks like this.
    pub async fn with(browsers: &Browsers, base: &str, name: &str, look: Look) -> Person {
        let person = Self::at_the_door(browsers, base, name, look).await;
        person.registers().await;
        person
    }

    /// Stands before the form.
    pub async fn at_the_door(browsers: &Browsers, base: &str, name: &str, look: Look) -> Person {
        let page = browsers.open_with(name, look).await;
        let person = Person { page, name: unique(name), base: base.to_owned() };
        person.goes("/").await;
        person
    }

    pub async fn registers(&self) {
        self.click("#auth-switch").await;
        self.type_into("#auth-username", &self.name).await;
        self.type_into("#auth-password", PASSWORD).await;
        self.click("#auth-submit").await;
        self.is_connected().await;
    }

    /// The same user as a program.
    pub async fn program(&self) -> Account {
        let http = Http::new(&self.base);
        let token = http.token(&self.name, PASSWORD).await.expect("a token");
        let http = Http::bearer(&self.base, &token);
        let account: Value = http.get("/api/account").await.expect("an answer").json();
        let user = serde_json::from_value(account["user"].clone()).expect("a user");
        Account { http, user, password: PASSWORD.to_owned() }
    }

    pub async fn goes(&self, path: &str) {
        self.page.goto(&format!("{}{path}", self.base)).await.expect("the page");
        // From here on; what a page breaks as it loads, the browser's own report keeps.
        let listen = r"
            window.broken = [];
            new ReportingObserver((all) => all.forEach(({body}) => broken.push(`${body.effectiveDirective} ${body.blockedURL}`)),
              {types: ['csp-violation'], buffered: true}).observe();
            addEventListener('error', ({message}) => broken.push(message));
            addEventListener('unhandledrejection', ({reason}) => broken.push(String(reason)));
            for (const name of ['alert', 'confirm', 'prompt', 'print']) window[name] = () => broken.push(name);";
        self.page.execute(listen, vec![]).await.expect("a listener");
    }

    pub async fn is_connected(&self) {
        self.waits("to be connected", "return document.querySelector('#connection').dataset.state === 'online'").await;
    }

    /// Opens a room by its address, as a link does.
    pub async fn opens(&self, slug: &str) {
        self.goes(&format!("/r/{}", escape(slug))).await;
        self.is_in(slug).await;
    }

    /// Waits until this room is open and joined.
    pub async fn is_in(&self, slug: &str) {
        let there = r"
            const [slug] = arguments;
            return decodeURIComponent(location.pathname) === `/r/${slug}` && !document.querySelector('#room-open').hidden
              && document.querySelector('#messages').getAttribute('aria-busy') === 'false';";
        self.waits_with("to be in the room", there, vec![json!(slug)]).await;
    }

    /// Makes a room and gives its slug.
    pub async fn creates(&self, name: &str, kind: &str) -> String {
        self.click("#room-create").await;
        self.type_into("#create-name", name).await;
        self.click(&format!("#create-{kind}")).await;
        self.click("#create-submit").await;
        self.is_in(name).await;
        name.to_owned()
    }

    pub async fn says(&self, text: &str) {
        self.type_into("#composer-input", &format!("{text}{ENTER}")).await;
    }

    /// Waits until a message of this author with exactly this text stands there, and is sent.
    pub async fn sees(&self, author: &str, text: &str) {
        let there = r"
            const [author, text] = arguments;
            return [...document.querySelectorAll('[data-testid=message][data-state=sent]')].some((row) =>
              row.dataset.author === author && row.querySelector('[data-testid=message-text]')?.textContent === text);";
        self.waits_with(&format!("to see {text:?} of {author}"), there, vec![json!(author), json!(text)]).await;
    }

    /// Uses a tool (`reply`, `react`, `edit`, `delete`, `more`) of the message with this text.
    pub async fn uses(&self, tool: &str, text: &str) {
        let focus = r"
            const row = [...document.querySelectorAll('[data-testid=message][data-state=sent]')].findLast((row) =>
              row.querySelector('[data-testid=message-text]')?.textContent === arguments[0]);
            row?.focus();
            return row === document.activeElement;";
        self.waits_with(&format!("to reach {text:?}"), focus, vec![json!(text)]).await;
        self.click(&format!(".message:focus-within [data-testid=message-{tool}]")).await;
    }

    /// All texts of the room from the first message to the last, of those that are sent.
    pub async fn texts(&self) -> Vec<String> {
        let all =
            "return [...document.querySelectorAll('[data-testid=message][data-state=sent] [data-testid=message-text]')]
            .map((text) => text.textContent);";
        let texts = self.asks(all).await;
        texts.as_array().expect("a list").iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
    }

    pub async fn click(&self, selector: &str) {
        let deadline = Instant::now() + PATIENCE;
        // What moves or is drawn anew under the pointer is looked for again.
        while let Err(error) = self.visible(selector).await.click().await {
            if Instant::now() > deadline {
                self.fails(&format!("could not click {selector}: {error}")).await;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn type_into(&self, selector: &str, text: &str) {
        self.visible(selector).await.send_keys(text).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    pub async fn clear(&self, selector: &str) {
        self.visible(selector).await.clear().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    pub async fn finds(&self, selector: &str) {
        self.visible(selector).await;
    }

    pub async fn visible(&self, selector: &str) -> Element {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.page.find(Locator::Css(selector)).await;
            if let Ok(element) = &found
                && element.is_displayed().await.unwrap_or(false)
                && element.is_enabled().await.unwrap_or(false)
            {
                return found.expect("just found");
            }
            if Instant::now() > deadline {
                self.fails(&format!("{selector} was never there to be used")).await;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn asks(&self, script: &str) -> Value {
        self.asks_with(script, vec![]).await
    }

    pub async fn asks_with(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.page.execute(script, arguments).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Until a script gives true.
    pub async fn waits(&self, what: &str, script: &str) {
        self.waits_with(what, script, vec![]).await;
    }

    pub async fn waits_with(&self, what: &str, script: &str, arguments: Vec<Value>) {
        let deadline = Instant::now() + PATIENCE;
        // While a page loads, a script may have no page to run in.
        while self.page.execute(script, arguments.clone()).await.unwrap_or_default() != json!(true) {
            if Instant::now() > deadline {
                self.fails(&format!("{} waited in vain {what}", self.name)).await;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A picture of what is to be seen now.
    pub async fn pictures(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        let picture = self.page.screenshot().await.expect("a picture");
        std::fs::write(folder.join(format!("{name}.png")), picture).expect("a file");
    }

    /// No policy was broken, no script failed, and none of what others wrote ran.
    pub async fn is_unharmed(&self) {
        let broken = self.asks("return window.broken").await;
        assert_eq!(broken, json!([]), "{} was harmed", self.name);
    }

    /// Ends the browser; nothing may have gone wrong in it.
    pub async fn goes_home(self) {
        self.is_unharmed().await;
        self.page.close().await.expect("the browser closes");
    }

    async fn fails(&self, what: &str) -> ! {
        self.pictures(&format!("failed-{}", self.name)).await;
        let text = self.page.execute("return [location.href, window.broken, document.body.innerText]", vec![]).await;
        panic!("{what}; the page says:\n{}", text.map(|text| format!("{text:#}")).unwrap_or_default());
    }
}
