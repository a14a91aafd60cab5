//! All integration tests, in one binary.

mod accounts;
mod bench;
mod browser;
mod cli;
mod cluster;
mod conformance;
mod docs;
mod engine;
mod faults;
mod golden;
mod http;
mod layering;
mod redis_faults;
mod single;
mod support;
mod websocket;
