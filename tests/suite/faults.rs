//! The matrix of faults: what is promised, held against one fault after the other. Each is one small test that breaks one
//! thing on purpose, and prints what it measured.

mod balancer;
mod clocks;
mod crowd;
mod database;
mod descriptors;
mod embedded;
mod hints;
#[cfg(feature = "failpoints")]
mod moments;
mod nodes;
mod outages;
mod readers;
mod stalls;
mod trial;
mod ways;
