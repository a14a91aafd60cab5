//! A private Postgres, as durable as it comes out of `initdb`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Result;
use super::guarded::{Guarded, free_port, new_folder};

/// The account it runs as when we are root, which it refuses to be.
const ACCOUNT: &str = "postgres";

pub struct Postgres {
    pub server: Guarded,
    port: u16,
}

impl Postgres {
    pub fn start() -> Result<Self> {
        let (folder, port) = (new_folder()?, free_port()?);
        if is_root() {
            run(Command::new("chown").arg(ACCOUNT).arg(&folder))?;
        }
        let data = folder.join("data");
        let mut initdb = as_account(&program("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"]);
        run(initdb.arg(&data))?;
        let mut command = as_account(&program("postgres"));
        command.arg("-D").arg(&data);
        for setting in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", folder.display()),
            "max_connections=200".to_owned(),
            "shared_buffers=256MB".to_owned(),
            "max_wal_size=4GB".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        // SIGQUIT is its immediate shutdown: nothing of it has to be kept.
        let server = Guarded::spawn(&command, &folder, "QUIT");
        let postgres = Self { server, port };
        postgres.server.wait_until(|| postgres.client("pg_isready").arg("-q").status().is_ok_and(|it| it.success()))?;
        Ok(postgres)
    }

    /// The URL of a new, empty database.
    pub fn new_database(&self, name: &str) -> Result<String> {
        run(self.client("createdb").arg(name))?;
        Ok(format!("postgres://postgres@127.0.0.1:{}/{name}", self.port))
    }

    /// One of its own programs, told where it is.
    pub fn client(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()]).stdin(Stdio::null());
        command
    }
}

/// Waits for it; its output, or what it complained of.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program of the newest Postgres installed; its folder is seldom in `PATH`.
pub fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists());
    found.max().unwrap_or_else(|| PathBuf::from(name))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// `setpriv` becomes the program, so its process id is the server's.
fn as_account(program: &Path) -> Command {
    let mut command = Command::new(if is_root() { Path::new("setpriv") } else { program });
    if is_root() {
        command.args([&format!("--reuid={ACCOUNT}"), &format!("--regid={ACCOUNT}"), "--init-groups", "--"]);
        command.arg(program);
    }
    command.current_dir("/");
    command
}
