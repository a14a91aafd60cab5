//! All integration tests, in one binary.

mod conformance;
mod redis_faults;
mod cli;
mod support;
