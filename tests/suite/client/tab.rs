//! A page with nothing on it but the module, and what it was told.

use std::time::{Duration, Instant};

use fantoccini::Client;
use fantoccini::wd::WindowHandle;
use serde_json::{Value, json};

use crate::support::browser::{Browsers, PATIENCE};

/// A page of the site that is no page: text, under the same rules and with the same cookies.
const NOTHING: &str = "/frames.d.ts";

/// Keeps what is told, as a page would.
const LISTEN: &str = "
    const { Salon, mergeChange } = await import('/salon.js');
    globalThis.room = given.room;
    globalThis.salon = new Salon();
    globalThis.told = {
      held: new Map(), joins: 0, acked: 0, seqs: [], restored: [], violations: [], failed: [], states: [],
      state: salon.status, node: null, own: null, loggedOut: false,
    };
    salon.on('state', (state) => { told.state = state; told.states.push(`${state.state} ${state.transport}`); });
    salon.on('welcome', ({ node }) => { told.node = node; });
    salon.on('joined', (frame) => {
      told.joins += 1;
      if (frame.reset) told.held.clear();
      for (const message of frame.messages) mergeChange(told.held, message);
    });
    salon.on('change', (message) => {
      told.seqs.push(message.seq);
      mergeChange(told.held, message);
      if (message.author_id === salon.user.id) told.own = message.id;
    });
    salon.on('restored', ({ content, done }) => {
      told.restored.push(content);
      done.then(() => { told.acked += 1; });
    });
    salon.on('violation', (violation) => told.violations.push(violation));
    salon.on('failed', (failed) => told.failed.push(failed));
    salon.on('logged_out', () => { told.loggedOut = true; });
    const { user } = (await salon.call('GET', '/api/account')).body;
    salon.connect({ user });
    salon.join(room);
";

pub struct Tab {
    pub page: Client,
    window: WindowHandle,
    url: String,
}

impl Tab {
    pub async fn open(browsers: &Browsers, url: &str) -> Tab {
        let page = browsers.open("ann").await;
        page.goto(&format!("{url}{NOTHING}")).await.expect("the page");
        let window = page.window().await.expect("its window");
        Tab { page, window, url: url.to_owned() }
    }

    /// Another one in the same browser.
    pub async fn beside(&self) -> Tab {
        let window = self.page.new_window(true).await.expect("a tab").handle;
        let tab = Tab { page: self.page.clone(), window, url: self.url.clone() };
        tab.front().await;
        tab.page.goto(&format!("{}{NOTHING}", self.url)).await.expect("the page");
        tab
    }

    pub async fn register(&self, name: &str) {
        let user = json!({"username": name, "password": "correct horse battery"});
        let body = "const headers = { 'Content-Type': 'application/json' };
            const body = JSON.stringify(given);
            return (await fetch('/api/account/register', { method: 'POST', headers, body })).status;";
        assert_eq!(self.run_with(body, user).await, 201);
    }

    /// Makes a connection that wants to be in the room, and waits for nothing.
    pub async fn connect(&self, room: &str) {
        self.run_with(LISTEN, json!({"room": room})).await;
    }

    pub async fn reload(&self) {
        self.front().await;
        self.page.refresh().await.expect("the page again");
    }

    /// Writes them all at once.
    pub async fn send(&self, contents: &[String]) {
        self.run_with("for (const content of given) salon.send(room, content);", json!(contents)).await;
    }

    /// Writes one every 40 ms, and goes on whatever becomes of them.
    pub async fn send_slowly(&self, contents: &[String]) {
        let slowly = "const next = () => {
              if (given.length === 0) return;
              salon.send(room, given.shift());
              setTimeout(next, 40);
            };
            next();";
        self.run_with(slowly, json!(contents)).await;
    }

    /// What it holds of the room, in order.
    pub async fn shown(&self) -> Vec<String> {
        let shown =
            self.run("return [...told.held.values()].sort((a, b) => a.id - b.id).map(({ content }) => content)");
        serde_json::from_value(shown.await).expect("texts")
    }

    /// Nothing was told twice, nothing out of order, and nothing failed.
    pub async fn is_in_order(&self) {
        let told = self.run("return [told.violations, told.failed, told.seqs]").await;
        assert_eq!((&told[0], &told[1]), (&json!([]), &json!([])));
        let seqs: Vec<u64> = serde_json::from_value(told[2].clone()).expect("numbers");
        assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    }

    pub async fn run(&self, body: &str) -> Value {
        self.run_with(body, Value::Null).await
    }

    /// Runs the body of an async function with `given`, and waits for it.
    pub async fn run_with(&self, body: &str, given: Value) -> Value {
        self.front().await;
        let script = format!(
            "const [given, done] = arguments;
            (async () => {{ {body} }})().then((value) => done({{ value }}), (error) => done({{ error: `${{error.stack}}` }}));"
        );
        let told = self.page.execute_async(&script, vec![given]).await.expect("an answer");
        assert_eq!(told["error"], Value::Null, "{body}");
        told["value"].clone()
    }

    /// Waits until an expression is true on the page.
    pub async fn until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(&format!("return {expression}")).await != true {
            if Instant::now() > deadline {
                let told = self.run("return [told, [...told.held.values()].map(({ content }) => content)]").await;
                panic!("{expression} never came about: {told:#}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn close(self) {
        self.page.close().await.expect("the browser closes");
    }

    async fn front(&self) {
        if self.page.window().await.expect("a window") != self.window {
            self.page.switch_to_window(self.window.clone()).await.expect("the tab");
        }
    }
}
