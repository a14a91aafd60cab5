//! One line on standard error that says how far a run is.

use std::io::{IsTerminal, Write, stderr};

/// Over the line before on a terminal, below it elsewhere.
pub fn show(line: &str) {
    let mut err = stderr().lock();
    // A run is not worth stopping because nobody can read how far it is.
    let _ = match err.is_terminal() {
        true => write!(err, "\r\x1b[K{line}"),
        false => writeln!(err, "{line}"),
    };
    let _ = err.flush();
}

/// Takes the line off a terminal before the result is printed.
pub fn done() {
    if stderr().is_terminal() {
        show("");
    }
}
