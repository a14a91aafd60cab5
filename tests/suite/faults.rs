//! The matrix of faults: each is one small test that breaks one thing under a cluster of three nodes that work, while
//! the checker watches, and holds what it measures against what is promised.

mod hints;
#[cfg(feature = "failpoints")]
mod moments;
mod outages;
mod trial;
mod ways;
