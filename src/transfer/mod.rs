//! `salon export` and `salon import`: all that is kept, as JSON Lines, from one database into another.
//!
//! The first line says what the file is and how many lines follow; each of them is one record. The file has the hashes
//! of passwords in it: it is as secret as the database.

mod export;
mod import;
mod progress;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use export::{Target, export};
pub use import::{Imported, Source, import};

/// Written into the first line; raised by whatever an older salon could not read.
const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    salon_export: u32,
    /// Lines after this one.
    lines: u64,
    /// The highest ids that were ever given.
    last_user: i64,
    last_room: i64,
}

/// What was done, and how long it took.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    pub lines: u64,
    pub took: Duration,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.took.as_secs_f64();
        write!(f, "{} lines in {seconds:.1} s ({:.0} a second)", self.lines, self.lines as f64 / seconds.max(0.001))
    }
}
