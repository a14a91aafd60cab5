//! All integration tests, in one binary.

mod accounts;
mod cli;
mod conformance;
mod redis_faults;
mod support;
