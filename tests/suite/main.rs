//! All integration tests, in one binary.

mod accounts;
mod cli;
mod cluster;
mod conformance;
mod http;
mod redis_faults;
mod single;
mod support;
mod websocket;
