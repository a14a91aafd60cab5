//! A server that ends with the test process, however that ends.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Reads a pipe whose write end only the test process holds (the standard library opens it close-on-exec). At its end,
/// be that by a drop, an exit, a panic or SIGKILL, it ends the server and removes the folder. The process is never
/// waited for before, so that its id cannot have passed to another.
const SCRIPT: &str = r#"
folder=$1 signal=$2
shift 2
trap '' INT TERM HUP
exec 2>/dev/null
"$@" </dev/null >"$folder/output" 2>&1 &
server=$!
echo "$server"
read -r _
kill -s "$signal" "$server"
kill -s CONT "$server"
( sleep 10; kill -s KILL "$server" ) >/dev/null &
late=$!
wait "$server"
kill -s KILL "$late"
rm -rf "$folder"
"#;

pub struct Guardian {
    shell: Child,
    pid: u32,
}

impl Guardian {
    /// Starts `command` with its output in `folder`, which is removed after it. `stop_signal` (`INT`, `KILL`…) is what
    /// ends it in the end.
    pub fn spawn(command: &Command, folder: &Path, stop_signal: &str) -> Self {
        let mut guard = Command::new("sh");
        guard.args(["-c", SCRIPT, "guardian"]).arg(folder).arg(stop_signal);
        guard.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            guard.current_dir(directory);
        }
        // A group of its own: Ctrl-C on the tests must not end the guardian before its work.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = guard.spawn().expect("sh starts");
        let mut pid = String::new();
        let stdout = shell.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut pid).expect("the guardian tells the server's id");
        Self { shell, pid: pid.trim().parse().expect("a process id") }
    }

    /// Sends a signal (`KILL`, `STOP`, `CONT`…) to the server.
    pub fn signal(&self, signal: &str) {
        let pid = self.pid.to_string();
        // It may have ended by itself.
        let _ = Command::new("kill").args(["-s", signal, &pid]).stderr(Stdio::null()).status();
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing is left to do about a shell that cannot be waited for.
        let _ = self.shell.wait();
    }
}
