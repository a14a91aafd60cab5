//! A server that never outlives this process, however that ends: the tests' guardian, for measurements.

#[path = "../../tests/suite/support/guardian.rs"]
#[expect(dead_code, reason = "tests ask for more of it: signals, a second start")]
mod guardian;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Result;
use guardian::Guardian;

/// Until a server answers.
const START: Duration = Duration::from_secs(60);

pub struct Guarded(Guardian);

impl Guarded {
    /// Takes over `folder`, and starts `command`. `signal` ends it, by its name without `SIG`.
    pub fn spawn(command: &Command, folder: &Path, signal: &str) -> Self {
        Self(Guardian::spawn(command, folder, signal))
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
        self.0.log()
    }

    pub fn pid(&self) -> u32 {
        self.0.pid()
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
