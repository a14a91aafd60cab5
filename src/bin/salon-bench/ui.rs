//! What is told while a run goes on: a bar on a terminal, else a line now and then, on standard error; with `--json`
//! an object a line on standard output.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Where there is no terminal, one line in this time.
const LINES_EVERY: Duration = Duration::from_secs(5);
const BAR_WIDTH: usize = 24;

#[derive(Debug)]
pub struct Ui {
    json: bool,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    told: Option<Instant>,
    /// A bar stands on the line.
    bar: bool,
    warnings: Vec<String>,
}

impl Ui {
    pub fn new(json: bool) -> Self {
        let state = State { told: None, bar: false, warnings: Vec::new() };
        Self { json, terminal: std::io::stderr().is_terminal(), state: Mutex::new(state) }
    }

    /// Something begins.
    pub fn phase(&self, what: &str) {
        let mut state = self.state();
        state.line(what);
        state.told = Some(Instant::now());
    }

    /// How far it is, from 0 to 1.
    pub fn progress(&self, done: f64, what: &str) {
        let mut state = self.state();
        let due = state.told.is_none_or(|told| told.elapsed() >= LINES_EVERY);
        let percent = done.clamp(0.0, 1.0) * 100.0;
        if self.terminal {
            let full = (done.clamp(0.0, 1.0) * BAR_WIDTH as f64) as usize;
            let (full, empty) = ("█".repeat(full), "░".repeat(BAR_WIDTH - full));
            state.put(&format!("\r\x1b[2K{full}{empty} {percent:>3.0} %  {what}"));
            state.bar = true;
        } else if due {
            state.line(&format!("{percent:.0} %: {what}"));
            state.told = Some(Instant::now());
        }
    }

    /// What would spoil the figures, or did.
    pub fn warn(&self, what: String) {
        let mut state = self.state();
        state.line(&format!("warning: {what}"));
        state.warnings.push(what);
    }

    pub fn warnings(&self) -> Vec<String> {
        self.state().warnings.clone()
    }

    /// For programs, if they asked for it.
    pub fn object(&self, object: &Value) {
        if self.json {
            // A reader that went away is no reason to stop measuring.
            let _ = writeln!(std::io::stdout().lock(), "{object}");
        }
    }

    /// For people, who did not ask for JSON.
    pub fn table(&self, table: &str) {
        self.state().clear();
        if !self.json {
            let _ = write!(std::io::stdout().lock(), "{table}");
        }
    }

    /// Takes the bar away, for what is told by others.
    pub fn clear(&self) {
        self.state().clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line(&mut self, text: &str) {
        self.clear();
        self.put(&format!("{text}\n"));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.bar) {
            self.put("\r\x1b[2K");
        }
    }

    fn put(&mut self, text: &str) {
        // Nobody to tell is no failure.
        let _ = write!(std::io::stderr().lock(), "{text}");
        let _ = std::io::stderr().flush();
    }
}
