//! How far it is, on a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(100);
const BAR_WIDTH: usize = 24;

/// A bar on standard error, where that is a terminal; else nothing.
pub struct Progress {
    what: &'static str,
    terminal: bool,
    told: Option<Instant>,
    began: Instant,
    total: u64,
}

impl Progress {
    pub fn new(what: &'static str, total: u64) -> Self {
        Self { what, terminal: std::io::stderr().is_terminal(), told: None, began: Instant::now(), total }
    }

    pub fn is(&mut self, done: u64) {
        if !self.terminal || self.told.is_some_and(|told| told.elapsed() < EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        let part = if self.total == 0 { 1.0 } else { (done as f64 / self.total as f64).min(1.0) };
        let full = (part * BAR_WIDTH as f64) as usize;
        let (full, empty) = ("█".repeat(full), "░".repeat(BAR_WIDTH - full));
        let rate = done as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        let (percent, what, total) = (part * 100.0, self.what, self.total);
        put(&format!("\r\x1b[2K{what} {full}{empty} {percent:>3.0} %  {done} of {total} lines, {rate:.0} a second"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told.is_some() {
            put("\r\x1b[2K");
        }
    }
}

/// Nobody to tell is no failure.
fn put(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
