//! Private Postgres servers on free ports of 127.0.0.1, with `fsync` on: durability is what is tested.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::authority::Certificate;
use super::guardian::Guardian;
use super::node::free_port;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The account that Postgres runs as when the tests run as root, which it refuses to be.
const ACCOUNT: &str = "postgres";

pub struct Postgres {
    guardian: Guardian,
    port: u16,
    /// Holds its files and its socket.
    folder: PathBuf,
}

impl Postgres {
    /// One server for all tests that do it no harm.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of one's own, to be stopped and killed.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server of the test's own that counts statements.
    pub fn start_counting() -> Self {
        Self::start_with(&["shared_preload_libraries=pg_stat_statements"])
    }

    /// The same with settings of its own, as `name=value`.
    pub fn start_with(settings: &[&str]) -> Self {
        let folder = new_folder();
        let data = folder.join("data");
        run_as_account("initdb", |initdb| {
            initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"]);
            initdb.arg(&data);
        });
        Self::serve(folder, settings)
    }

    /// TLS only, for people with passwords; by its socket everybody comes in ([`Postgres::socket_url`]).
    pub fn start_secure(certificate: &Certificate) -> Self {
        let hba = certificate.key.with_file_name("pg_hba.conf");
        std::fs::write(&hba, "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n").expect("a file");
        Self::start_with(&[
            "ssl=on",
            &format!("ssl_cert_file={}", certificate.certificate.display()),
            &format!("ssl_key_file={}", certificate.key.display()),
            &format!("hba_file={}", hba.display()),
        ])
    }

    /// A standby that follows this server, which waits for it with every commit from now on.
    pub async fn standby(&self) -> Self {
        let folder = new_folder();
        let data = folder.join("data");
        run_as_account("pg_basebackup", |backup| {
            backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username=postgres"]);
            backup.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-D"]).arg(&data);
        });
        let standby = Self::serve(folder, &[]);
        let url = self.url("postgres");
        execute(&url, "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        execute(&url, "SELECT pg_reload_conf()").await;
        // Returns once the standby has it.
        execute(&url, "CREATE TABLE followed (); DROP TABLE followed").await;
        standby
    }

    fn serve(folder: PathBuf, settings: &[&str]) -> Self {
        let data = folder.join("data");
        let port = free_port();
        let mut command = own_account(&program("postgres"));
        command.extend(["-D".into(), data.display().to_string()]);
        for setting in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", folder.display()),
            "max_connections=300".to_owned(),
            "shared_buffers=64MB".to_owned(),
        ] {
            command.extend(["-c".into(), setting]);
        }
        for setting in settings {
            command.extend(["-c".into(), (*setting).to_owned()]);
        }
        // SIGQUIT is Postgres's immediate shutdown: nothing of it has to be kept.
        let mut server = Command::new(&command[0]);
        server.args(&command[1..]);
        let guardian = Guardian::spawn(&server, &folder, "QUIT");
        let server = Self { guardian, port, folder };
        server.wait_until_ready();
        server
    }

    /// The URL of a new, empty database.
    pub async fn fresh_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        execute(&self.url("postgres"), &format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    /// One whose statements are counted ([`statements`]), of a server that counts.
    pub async fn counted_database(&self) -> String {
        let database = self.fresh_database().await;
        execute(&database, "CREATE EXTENSION pg_stat_statements").await;
        database
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// By the socket in its folder.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }

    /// All its processes at once, as when the machine fails.
    pub fn kill9(&mut self) {
        self.guardian.signal_family("KILL");
        let _ = self.guardian.reap();
    }

    /// `pg_ctl stop -m immediate`: connections are cut, and the next start recovers from the log.
    pub fn stop_immediate(&mut self) {
        self.guardian.signal("QUIT");
        let _ = self.guardian.reap();
    }

    pub fn start_again(&mut self) {
        self.guardian.start();
        self.wait_until_ready();
    }

    /// It hangs with its connections open, until [`Postgres::resume`].
    pub fn pause(&self) {
        self.guardian.signal_family("STOP");
    }

    pub fn resume(&self) {
        self.guardian.signal_family("CONT");
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        let program = program("pg_isready");
        let ready = || {
            Command::new(&program)
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .is_ok_and(|status| status.success())
        };
        while !ready() {
            assert!(Instant::now() < deadline, "Postgres did not start:\n{}", self.guardian.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Runs statements on a connection of its own, past the store.
pub async fn execute(url: &str, sql: &str) {
    connect(url).await.batch_execute(sql).await.expect(sql);
}

/// How many there have been of a counted database.
pub async fn statements(database: &str) -> i64 {
    let client = connect(database).await;
    let sql = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = current_database()";
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

/// A connection past the store, which lives as long as the client given.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// Gives a file to the account that Postgres runs as, for nobody else to read.
pub fn own(file: &Path) {
    run(Command::new("chmod").arg("600").arg(file));
    if is_root() {
        run(Command::new("chown").arg(ACCOUNT).arg(file));
    }
}

/// A program of the newest Postgres installed; its folder is seldom in `PATH`.
fn program(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The command that runs `program` as an account Postgres accepts. `setpriv` becomes the program, so its process id
/// is the server's.
fn own_account(program: &Path) -> Vec<String> {
    let program = program.display().to_string();
    if is_root() {
        let account = format!("--reuid={ACCOUNT}");
        let group = format!("--regid={ACCOUNT}");
        vec!["setpriv".into(), account, group, "--init-groups".into(), "--".into(), program]
    } else {
        vec![program]
    }
}

fn run_as_account(name: &str, arguments: impl FnOnce(&mut Command)) {
    let start = own_account(&program(name));
    let mut command = Command::new(&start[0]);
    command.args(&start[1..]);
    arguments(&mut command);
    run(&mut command);
}

fn new_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("salon-postgres-").tempdir().expect("a temporary folder").keep();
    if is_root() {
        run(Command::new("chown").arg(ACCOUNT).arg(&folder));
    }
    folder
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).current_dir("/").output().expect("it starts");
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}
