//! One real `salon` process, and the embedded default around it.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use salon::engine::http::{Account, Http};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::sleep;

use super::guardian::Guardian;

/// How long a start, a drain or an end may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Single nodes that tests have for themselves at once; the shared ones do not count.
static SINGLES: Semaphore = Semaphore::const_new(3);

/// A process, on ports that stay its own over restarts. It ends with the test process.
pub struct Node {
    name: String,
    settings: Settings,
    port: u16,
    admin_port: u16,
    running: Mutex<Option<Running>>,
}

struct Running {
    guardian: Guardian,
    /// Holds the process's output and id; goes with it.
    folder: PathBuf,
}

/// What a node is given on top of what all test nodes have.
#[derive(Default, Clone)]
pub struct Settings {
    pub env: Vec<(String, String)>,
    /// The text of its `--config` file.
    pub file: Option<String>,
    /// File descriptors it may have.
    pub descriptors: Option<u32>,
}

/// A node with nothing configured but ports and limits: SQLite in a folder of its own, no Redis.
pub struct Single {
    pub node: Node,
    /// Survives restarts of the process, not the test.
    pub data: Folder,
    _permit: Option<SemaphorePermit<'static>>,
}

/// A folder that goes with the test process, however that ends; dropped before, it goes at once.
pub struct Folder {
    path: PathBuf,
    _keeper: Guardian,
}

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("salon-{name}-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&path).expect("a folder");
        // Watched over like a server's folder, by a server that does nothing.
        let mut nothing = Command::new("sleep");
        nothing.arg("infinity");
        let keeper = Guardian::spawn(&nothing, &path, "KILL");
        Folder { path, _keeper: keeper }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Node {
    /// Starts it and waits until it is ready.
    pub async fn start(name: &str, settings: Settings) -> Node {
        let mut failure = String::new();
        // Between finding a free port and using it somebody else may take it: then other ones.
        for _ in 0..5 {
            let node = Self::launched(name, settings.clone());
            match node.ready(PATIENCE).await {
                Ok(()) => return node,
                Err(error) if node.is_running() => panic!("{error}"),
                Err(error) => failure = error,
            }
            if !failure.contains("in use") {
                break;
            }
        }
        panic!("{failure}");
    }

    /// Starts it, and waits for nothing.
    pub fn launched(name: &str, settings: Settings) -> Node {
        let (port, admin_port) = (free_port(), free_port());
        let node = Node { name: name.to_owned(), settings, port, admin_port, running: Mutex::new(None) };
        node.launch();
        node
    }

    /// Waits until its log has all of these words in one line.
    pub async fn says(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log_tail();
            if let Some(line) = log.lines().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline && self.is_running(), "{} does not say {words:?}:\n{log}", self.name);
            sleep(Duration::from_millis(25)).await;
        }
    }

    /// `http://127.0.0.1:port` of the main listener.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    /// SIGKILL, at once.
    pub fn kill9(&self) {
        if let Some(running) = self.running.lock().unwrap().take() {
            running.guardian.signal("KILL");
        }
    }

    /// SIGTERM, and waits for its end, which must be a good one.
    pub async fn terminate(&self) {
        self.signal("TERM");
        assert_eq!(self.ended(PATIENCE).await, 0, "the exit code of {}", self.name);
    }

    /// Waits for its end, and gives its exit code.
    pub async fn ended(&self, within: Duration) -> i32 {
        let deadline = Instant::now() + within;
        while self.is_running() {
            assert!(Instant::now() < deadline, "{} still runs after {within:?}:\n{}", self.name, self.log_tail());
            sleep(Duration::from_millis(20)).await;
        }
        let running = self.running.lock().unwrap().take();
        running.expect("it was started").guardian.reap()
    }

    /// Any signal (`TERM`, `STOP`, `CONT`…), not waited for.
    pub fn signal(&self, signal: &str) {
        if let Some(running) = self.running.lock().unwrap().as_ref() {
            running.guardian.signal(signal);
        }
    }

    /// Starts it again on the same ports; it must not be running.
    pub async fn restart(&self) {
        assert!(!self.is_running(), "{} still runs", self.name);
        self.launch();
        if let Err(error) = self.ready(PATIENCE).await {
            panic!("{error}");
        }
    }

    pub async fn ready(&self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let http = Http::new(&self.url());
        loop {
            let answer = http.call("GET", "/readyz").timeout(Duration::from_secs(2)).send().await;
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if Instant::now() > deadline || !self.is_running() {
                let told = answer.map(|answer| answer.json().to_string());
                return Err(format!("{} is not ready: {told:?}; its log ends:\n{}", self.name, self.log_tail()));
            }
            sleep(Duration::from_millis(25)).await;
        }
    }

    /// What `/readyz` answers just now: the status, and the names it gives as failing or degraded.
    pub async fn readiness(&self) -> (u16, Vec<String>) {
        let http = Http::new(&self.url());
        let answer = http.call("GET", "/readyz").timeout(Duration::from_secs(5)).send().await.expect("it answers");
        let told = answer.json();
        let names = told["failing"].as_array().or(told["degraded"].as_array()).cloned().unwrap_or_default();
        (answer.status, names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// Whether the process lives.
    pub fn is_running(&self) -> bool {
        let running = self.running.lock().unwrap();
        let Some(running) = running.as_ref() else { return false };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", running.guardian.pid())) else { return false };
        // "pid (name) state": an ended process stays as a zombie until its guardian takes it.
        stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z'))
    }

    /// The process; it must be running.
    pub fn pid(&self) -> u32 {
        self.running.lock().unwrap().as_ref().expect("it runs").guardian.pid()
    }

    /// Memory of the process that is in RAM.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        let answer = Http::new(&self.admin_url()).get("/metrics").await.expect("metrics answer");
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body.to_vec()).expect("metrics are UTF-8")
    }

    /// A metric's value, all its labels together; 0 when it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics().await;
        let lines = metrics
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' ')));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The end of its output.
    pub fn log_tail(&self) -> String {
        let running = self.running.lock().unwrap();
        let Some(running) = running.as_ref() else { return "(not running)".to_owned() };
        tail(&running.folder.join("log"))
    }

    /// All that this process wrote so far.
    pub fn log(&self) -> String {
        let running = self.running.lock().unwrap();
        std::fs::read_to_string(running.as_ref().expect("it runs").folder.join("log")).unwrap_or_default()
    }

    fn launch(&self) {
        crate::documents::seen::watch();
        let folder = std::env::temp_dir().join(format!("salon-node-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).expect("a folder for the node");
        let mut command = Command::new(env!("CARGO_BIN_EXE_salon"));
        if let Some(descriptors) = self.settings.descriptors {
            // It becomes the node: the process stays the same.
            command = Command::new("prlimit");
            command.arg(format!("--nofile={descriptors}:{descriptors}")).arg(env!("CARGO_BIN_EXE_salon"));
        }
        if let Some(text) = &self.settings.file {
            let file = folder.join("salon.toml");
            std::fs::write(&file, text).expect("the configuration file");
            command.arg("--config").arg(file);
        }
        command.current_dir(&folder);
        // What is meant for the tests (a seed), or for a node of the developer's, is not meant for it.
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("SALON_")) {
            command.env_remove(key);
        }
        for (key, value) in self.environment() {
            command.env(key, value);
        }
        let guardian = Guardian::spawn(&command, &folder, "KILL");
        *self.running.lock().unwrap() = Some(Running { guardian, folder });
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut settings: Vec<(String, String)> = [
            ("SALON_SERVER__LISTEN", format!("127.0.0.1:{}", self.port)),
            ("SALON_SERVER__PUBLIC_URL", self.url()),
            ("SALON_ADMIN__LISTEN", format!("127.0.0.1:{}", self.admin_port)),
            ("SALON_NODE__NAME", self.name.clone()),
            ("SALON_LIMITS__MESSAGES_PER_S", "100000".into()),
            ("SALON_LIMITS__MESSAGE_BURST", "100000".into()),
            ("SALON_LIMITS__FRAMES_PER_S", "1000000".into()),
            ("SALON_LIMITS__SOCKETS_PER_USER", "1000".into()),
            ("SALON_LIMITS__REQUESTS_PER_S", "1000000".into()),
            ("SALON_LIMITS__REQUEST_BURST", "1000000".into()),
            ("SALON_LIMITS__LOGINS_PER_MINUTE_ADDRESS", "100000".into()),
            ("SALON_LIMITS__LOGINS_PER_MINUTE_ACCOUNT", "100000".into()),
            ("SALON_LIMITS__PASSWORD_QUEUE", "1024".into()),
            ("SALON_DRAIN__DELAY_S", "0".into()),
            ("SALON_LOG__FORMAT", "human".into()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        settings.extend(self.settings.env.iter().cloned());
        settings
    }
}

impl Single {
    /// One for a test alone; few at once.
    pub async fn start() -> Single {
        Self::start_with(&[]).await
    }

    /// With further `SALON_*` settings, or others than the tests' usual ones.
    pub async fn start_with(env: &[(&str, &str)]) -> Single {
        Self::start_configured(None, env).await
    }

    /// With a configuration file too.
    pub async fn start_configured(file: Option<&str>, env: &[(&str, &str)]) -> Single {
        let permit = SINGLES.acquire().await.expect("never closed");
        Self::launch("single", file, env, Some(permit)).await
    }

    /// The one that tests share which disturb nobody; each takes its own users and rooms ([`unique`]).
    pub async fn shared() -> &'static Single {
        static SHARED: OnceCell<Single> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::launch("shared", None, &[], None)).await
    }

    pub fn url(&self) -> String {
        self.node.url()
    }

    /// A new user, logged in by cookies, with a name of their own.
    pub async fn user(&self, name: &str) -> Account {
        Account::register(&self.url(), &unique(name)).await.expect("registration")
    }

    pub fn database(&self) -> PathBuf {
        self.data.path().join("salon.db")
    }

    /// Runs `salon` with these arguments on the same database, as an operator would.
    pub fn command(&self, args: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_salon"))
            .args(args)
            .current_dir(self.data.path())
            .env("SALON_DATABASE__URL", format!("sqlite:{}", self.database().display()))
            .stdin(Stdio::null())
            .output()
            .expect("salon runs")
    }

    async fn launch(
        name: &str,
        file: Option<&str>,
        env: &[(&str, &str)],
        permit: Option<SemaphorePermit<'static>>,
    ) -> Single {
        let data = Folder::new("data");
        let database = format!("sqlite:{}", data.path().join("salon.db").display());
        let mut settings = Settings { file: file.map(str::to_owned), ..Settings::default() };
        settings.env.push(("SALON_DATABASE__URL".to_owned(), database));
        settings.env.extend(env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let node = Node::start(name, settings).await;
        Single { node, data, _permit: permit }
    }
}

/// A name that no other test uses: the given one and a tail.
pub fn unique(name: &str) -> String {
    format!("{name}-{:08x}", rand::random::<u32>())
}

pub fn free_port() -> u16 {
    // The kernel may give a port again as soon as it is free, and two that were asked for one after the other are free.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return port;
        }
    }
}

fn tail(file: &Path) -> String {
    const LINES: usize = 40;
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
