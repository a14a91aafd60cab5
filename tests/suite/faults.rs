//! What is promised, held against one fault after the other: each test breaks one thing on purpose.

mod database;
mod embedded;
mod nodes;
mod readers;

use std::time::Duration;

/// How often a promised bound a noisy machine may take.
const NOISE: u32 = 3;

/// One line of the report, and the judgement.
#[track_caller]
pub fn measured(fault: &str, took: Duration, bound: Duration) {
    println!("fault: {fault}; measured {took:.2?}; bound {bound:?}");
    assert!(took <= NOISE * bound, "{fault}: {took:?}, and {bound:?} is promised");
}
