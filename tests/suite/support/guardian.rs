//! A server that never outlives the test process, however that ends: a small shell starts it, waits at a pipe whose
//! other end only this process has, and stops the server and removes its folder when the pipe breaks.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Arguments: the folder, the signal that ends the server, the command. Answers `start` with the process id and
/// `reap` with its exit code once that process has ended. What the server says goes to `log` in the folder.
const SCRIPT: &str = r#"
folder=$1 signal=$2 pid=
shift 2
while read -r order; do
    case $order in
        start) "$@" </dev/null >>"$folder/log" 2>&1 & pid=$!; echo "$pid" ;;
        reap) wait "$pid" 2>/dev/null; echo "$?"; pid= ;;
    esac
done
if [ -n "$pid" ]; then
    kill -s "$signal" "$pid"; kill -s CONT "$pid"
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -s KILL "$pid" 2>/dev/null
    wait "$pid"
fi
rm -rf "$folder"
"#;

pub struct Guardian {
    shell: Child,
    /// Closing it is the order to clean up; the kernel closes it when this process dies. It is close-on-exec, so no
    /// other child holds it open.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    pid: Option<u32>,
}

impl Guardian {
    /// Takes over `folder`, and starts `command` (its program, arguments, environment and directory; its output goes to
    /// `folder/log`). `stop_signal` is a name without `SIG`, sent when this value is dropped or this process ends.
    pub fn spawn(command: &Command, folder: &Path, stop_signal: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "guardian"]).arg(folder).arg(stop_signal);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            shell.current_dir(directory);
        }
        // A Ctrl-C is for the tests; the guardian has to outlive it.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().expect("sh starts");
        let orders = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("its output is piped"));
        let mut guardian = Self { shell, orders, answers, folder: folder.to_owned(), pid: None };
        guardian.start();
        guardian
    }

    /// Starts the command (again, after [`Guardian::reap`]).
    pub fn start(&mut self) {
        assert!(self.pid.is_none(), "one server at a time");
        self.pid = Some(self.order("start").parse().expect("a process id"));
    }

    /// Waits until the server's process has ended, and gives its exit code (128 and more: it was killed).
    pub fn reap(&mut self) -> i32 {
        assert!(self.pid.take().is_some(), "it was started");
        self.order("reap").parse().expect("an exit code")
    }

    pub fn pid(&self) -> u32 {
        self.pid.expect("the server was started")
    }

    /// Sends a signal (`KILL`, `STOP`, …) to the server's process.
    pub fn signal(&self, signal: &str) {
        kill(signal, &[self.pid()]);
    }

    /// Sends a signal to the server's process and its children.
    pub fn signal_family(&self, signal: &str) {
        let mut family = children(self.pid());
        // The parent first: it could start further children.
        family.insert(0, self.pid());
        kill(signal, &family);
    }

    /// What the server has said, for a failing test.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn order(&mut self, order: &str) -> String {
        let orders = self.orders.as_mut().expect("open until dropped");
        writeln!(orders, "{order}").expect("the guardian listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the guardian answers");
        answer.trim().to_owned()
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.shell.wait();
    }
}

fn kill(signal: &str, pids: &[u32]) {
    // One that has just ended is no failure.
    let _ =
        Command::new("kill").args(["-s", signal]).args(pids.iter().map(u32::to_string)).stderr(Stdio::null()).status();
}

fn children(parent: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Set for the process that [`a_guarded_server_ends_with_its_process`] starts and kills: the folder to work in.
const VICTIM: &str = "SALON_TEST_GUARDIAN_VICTIM";

#[test]
fn a_guarded_server_ends_with_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "support::guardian::the_process_that_is_killed"])
        .env(VICTIM, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let told = folder.path().join("pid");
    wait_until("it started its server", || std::fs::read_to_string(&told).is_ok_and(|pid| pid.ends_with('\n')));
    let server = std::fs::read_to_string(&told).unwrap();
    let server = Path::new("/proc").join(server.trim());
    assert!(server.exists());
    // SIGKILL: nothing of it can clean up.
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("the server is gone", || !server.exists());
    wait_until("its folder is gone", || !folder.path().join("guarded").exists());
}

/// Does nothing unless it is started by the test above.
#[test]
fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let guarded = folder.join("guarded");
    std::fs::create_dir(&guarded).unwrap();
    let guardian = Guardian::spawn(Command::new("sleep").arg("1000"), &guarded, "TERM");
    std::fs::write(folder.join("pid"), format!("{}\n", guardian.pid())).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
