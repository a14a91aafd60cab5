//! A server that never outlives this process, however that ends: a small shell starts it, waits at a pipe whose other end
//! only this process has, and ends the server and removes its folder when the pipe breaks.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::Result;

/// Until a server answers.
const START: Duration = Duration::from_secs(60);

/// Arguments: the folder, the signal that ends the server, the command. Says the server's process id.
const SCRIPT: &str = r#"
folder=$1 signal=$2
shift 2
"$@" </dev/null >"$folder/log" 2>&1 & pid=$!
echo "$pid"
read -r never
kill -s "$signal" "$pid"
tries=0
while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -s KILL "$pid" 2>/dev/null
wait "$pid"
rm -rf "$folder"
"#;

pub struct Guarded {
    shell: Child,
    /// Closing it is the order to clean up; the kernel closes it when this process dies.
    life: Option<ChildStdin>,
    folder: PathBuf,
    pid: u32,
}

impl Guarded {
    /// Takes over `folder`, and starts `command` (its program, arguments and environment). `signal` ends it, by its name
    /// without `SIG`.
    pub fn spawn(command: &Command, folder: &Path, signal: &str) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "guarded"]).arg(folder).arg(signal);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        // A Ctrl-C is for the measurement; the shell has to outlive it.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().map_err(|error| format!("sh: {error}"))?;
        let life = shell.stdin.take();
        let mut said = String::new();
        if let Some(answers) = shell.stdout.take() {
            BufReader::new(answers).read_line(&mut said).map_err(|error| error.to_string())?;
        }
        let pid = said.trim().parse().map_err(|_| format!("{command:?} did not start: {said}"))?;
        Ok(Self { shell, life, folder: folder.to_owned(), pid })
    }

    /// Waits until it is there; an error, with what it said, when it ends or takes too long.
    pub fn wait_until(&self, is_there: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + START;
        while !is_there() {
            if !Path::new("/proc").join(self.pid().to_string()).exists() || Instant::now() > deadline {
                return Err(format!("a server did not come up; it said:\n{}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// All it has printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.life.take());
        let _ = self.shell.wait();
    }
}

pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// A folder for a server, which goes with it.
pub fn new_folder() -> Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("salon-bench-").tempdir().map_err(|error| error.to_string())?;
    Ok(folder.keep())
}
