//! A private Redis on a free port, without persistence.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::authority::{Authority, Certificate};
use super::guardian::Guardian;
use super::node::free_port;

pub struct Redis {
    port: u16,
    options: Vec<String>,
    /// What `redis-cli` needs to come in.
    entry: Vec<String>,
    guardian: Mutex<Option<Guardian>>,
}

impl Redis {
    /// The one that tests share which disturb nobody; each uses a prefix of its own ([`Redis::prefix`]).
    pub fn shared() -> &'static Redis {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(Redis::start)
    }

    /// One for a test alone.
    pub fn start() -> Redis {
        Self::start_with(&[])
    }

    /// A Cluster of one node, that has all slots.
    pub fn start_cluster() -> Redis {
        // The bus would else be at the port + 10,000, which there may be none of.
        let bus = free_port().to_string();
        // A node that has met no other does not know its own address.
        let address = ["--cluster-announce-ip", "127.0.0.1"];
        let redis = Self::start_with(&[&["--cluster-enabled", "yes", "--cluster-port", &bus], &address[..]].concat());
        redis.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !redis.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(Instant::now() < deadline, "the Cluster did not form");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    /// TLS only, for users with passwords: `salon`, and the default one.
    pub fn start_secure(authority: &Authority, certificate: &Certificate, password: &str) -> Redis {
        let ca = authority.file().display().to_string();
        let (file, key) = (certificate.certificate.display().to_string(), certificate.key.display().to_string());
        let tls = ["--tls-ca-cert-file", &ca, "--tls-cert-file", &file, "--tls-key-file", &key];
        let user_password = format!(">{password}");
        let user = ["--user", "salon", "on", &user_password, "~*", "&*", "+@all"];
        let entry = ["--tls", "--cacert", &ca, "--sni", "localhost", "--no-auth-warning", "-a", password];
        let passwords = ["--tls-auth-clients", "no", "--requirepass", password];
        Self::start_by(&[&tls[..], &passwords[..], &user[..]].concat(), &entry)
    }

    fn start_with(options: &[&str]) -> Redis {
        Self::start_by(options, &[])
    }

    fn start_by(options: &[&str], entry: &[&str]) -> Redis {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (options, entry) = (owned(options), owned(entry));
        // Between finding a free port and using it somebody else may take it: then another.
        for _ in 0..20 {
            let port = free_port();
            let redis = Redis { port, options: options.clone(), entry: entry.clone(), guardian: Mutex::new(None) };
            if redis.launch() {
                return redis;
            }
        }
        panic!("no Redis could be started");
    }

    /// A prefix that no other test uses.
    pub fn prefix() -> String {
        format!("test-{:016x}", rand::random::<u64>())
    }

    pub fn url(&self) -> String {
        let cluster = if self.options.is_empty() { "" } else { "-cluster" };
        format!("redis{cluster}://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL; everything in it is gone.
    pub fn stop_hard(&self) {
        let guardian = self.guardian.lock().unwrap().take().expect("it runs");
        guardian.signal("KILL");
    }

    /// On the same port, empty.
    pub fn start_again(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.launch() {
            assert!(Instant::now() < deadline, "Redis did not start again");
        }
    }

    /// SIGSTOP: its connections stay open and nothing answers.
    pub fn pause(&self) {
        self.guardian.lock().unwrap().as_ref().expect("it runs").signal("STOP");
    }

    pub fn resume(&self) {
        self.guardian.lock().unwrap().as_ref().expect("it runs").signal("CONT");
    }

    /// Runs a command by `redis-cli` and gives back what it prints.
    pub fn command(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert!(output.status.success(), "redis-cli {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn cli(&self, args: &[&str]) -> std::process::Output {
        let port = self.port.to_string();
        Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &port])
            .args(&self.entry)
            .args(args)
            .output()
            .expect("redis-cli runs")
    }

    /// Whether it came up.
    fn launch(&self) -> bool {
        let folder = new_folder();
        let mut command = Command::new("redis-server");
        let port = if self.entry.is_empty() { "--port" } else { "--tls-port" };
        // The plain port is 6379 unless it is said.
        command.args(["--port", "0", port, &self.port.to_string()]);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(&folder).args(&self.options);
        let guardian = Guardian::spawn(&command, &folder, "KILL");
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            // Asked for its folder, so that nobody else's server at this port is taken for it.
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                let answer = self.cli(&["CONFIG", "GET", "dir"]);
                if String::from_utf8_lossy(&answer.stdout).contains(&*folder.to_string_lossy()) {
                    *self.guardian.lock().unwrap() = Some(guardian);
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

fn new_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("salon-redis-{:016x}", rand::random::<u64>()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}
