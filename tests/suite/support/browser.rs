//! Chromium, driven from outside; ends with the test process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;
use url::Url;

use super::guardian::Guardian;
use super::node::free_port;

/// What a page may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Tests with browsers at once: each browser is several processes that draw. Who needs a cluster too takes that first.
static BROWSERS: Semaphore = Semaphore::const_new(2);

const MOUSE: &str = "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4";

/// A driver with its browsers; dropping it ends them.
pub struct Browsers {
    port: u16,
    /// Everything they write; removed with them.
    folder: PathBuf,
    guardian: Option<Guardian>,
    _permit: SemaphorePermit<'static>,
}

/// How a browser is set up.
#[derive(Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub language: &'static str,
    pub dark: bool,
    /// With a finger in place of a mouse.
    pub touch: bool,
}

impl Default for Look {
    fn default() -> Self {
        Look { width: 1200, height: 900, language: "en", dark: false, touch: false }
    }
}

impl Look {
    /// A phone of this width.
    pub fn phone(width: u32) -> Look {
        Look { width, height: 700, touch: true, ..Look::default() }
    }
}

/// What Chromium's driver takes beyond the standard.
#[derive(Debug)]
struct Further {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Further {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A command of the debugger's protocol.
pub async fn command(page: &Client, command: &str, parameters: Value) {
    let body = json!({"cmd": command, "params": parameters});
    page.issue_cmd(Further { path: "goog/cdp/execute", body })
        .await
        .unwrap_or_else(|error| panic!("{command}: {error}"));
}

/// What the browser wrote for programmers since that was asked last.
pub async fn log(page: &Client) -> Vec<Value> {
    let body = json!({"type": "browser"});
    let told = page.issue_cmd(Further { path: "se/log", body }).await.expect("a log");
    told.as_array().cloned().unwrap_or_default()
}

impl Browsers {
    pub async fn start() -> Browsers {
        let permit = BROWSERS.acquire().await.expect("never closed");
        let folder = std::env::temp_dir().join(format!("salon-browsers-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).expect("a folder for the browsers");
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("HOME", &folder).env("TMPDIR", &folder).current_dir(&folder);
        let guardian = Guardian::spawn(&command, &folder, "KILL");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let output = std::fs::read_to_string(folder.join("output")).unwrap_or_default();
            assert!(Instant::now() < deadline, "chromedriver did not come up:\n{output}");
            sleep(Duration::from_millis(50)).await;
        }
        Browsers { port, folder, guardian: Some(guardian), _permit: permit }
    }

    /// A browser of its own: own cookies, own storage.
    pub async fn open(&self, name: &str) -> Client {
        self.open_with(name, Look::default()).await
    }

    /// One that is set up like this.
    pub async fn open_with(&self, name: &str, look: Look) -> Client {
        let Look { width, height, language, dark, touch } = look;
        let data: &Path = &self.folder.join(name);
        let flags = [
            // Driven through a pipe, a browser ends itself when its driver is gone, however that went.
            "--remote-debugging-pipe",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &format!("--window-size={width},{height}"),
            &format!("--lang={language}"),
            &format!("--accept-lang={language}"),
            // 0 is dark, 1 light. Without a screen it would have no mouse either.
            &format!("--blink-settings=preferredColorScheme={},{MOUSE}", u8::from(!dark)),
            &format!("--user-data-dir={}", data.display()),
        ];
        let mut options = json!({"args": flags});
        if touch {
            // No window is as narrow as a phone.
            let screen = json!({"width": width, "height": height, "pixelRatio": 1, "touch": true});
            options["mobileEmulation"] = json!({"deviceMetrics": screen});
        }
        let capabilities = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let capabilities = capabilities.as_object().expect("an object").clone();
        let driver = format!("http://127.0.0.1:{}", self.port);
        ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&driver)
            .await
            .expect("a browser")
    }
}

impl Drop for Browsers {
    fn drop(&mut self) {
        drop(self.guardian.take());
        // The browsers still write while they end, so that the guardian may not have got rid of the folder.
        let deadline = Instant::now() + Duration::from_secs(3);
        while self.folder.exists() && Instant::now() < deadline {
            if std::fs::remove_dir_all(&self.folder).is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
