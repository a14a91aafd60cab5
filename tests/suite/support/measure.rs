//! One form for what a fault test measures, so that a report can gather the lines of all of them.

use std::io::Write;
use std::time::Duration;

/// The machine of a test is busy with other tests: a bound counts as broken at so many times what is promised.
pub const SLACK: u32 = 3;

/// Names a file to which every line is added as well, since a passing test's output is not shown.
const FILE: &str = "FAULTS_FILE";

/// Prints `fault: …: …; measured … s; bound … s`, and fails when the promise is broken by more than [`SLACK`] allows.
#[track_caller]
pub fn measured(fault: &str, what: &str, took: Duration, bound: Duration) {
    tell(&format!("fault: {fault}: {what}; measured {:.3} s; bound {:.3} s", took.as_secs_f64(), bound.as_secs_f64()));
    assert!(took <= bound * SLACK, "{fault}: {what} took {took:?}, the promise is {bound:?}");
}

/// The same for what is counted: nothing of it may be lost, doubled or out of order, or happen at all.
#[track_caller]
pub fn counted(fault: &str, what: &str, count: usize, bound: usize) {
    tell(&format!("fault: {fault}: {what}; measured {count}; bound {bound}"));
    assert!(count <= bound, "{fault}: {what}: {count}, the promise is {bound}");
}

fn tell(line: &str) {
    println!("{line}");
    if let Some(file) = std::env::var_os(FILE) {
        let mut file = std::fs::File::options().create(true).append(true).open(file).expect(FILE);
        // In one piece: tests write at the same time.
        file.write_all(format!("{line}\n").as_bytes()).expect(FILE);
    }
}
