//! All integration tests, in one binary.

mod accounts;
mod bench;
mod browser;
mod cli;
mod cluster;
mod conformance;
mod deploy;
mod docs;
mod documents;
mod drain;
mod engine;
mod events;
mod failover;
mod faults;
mod golden;
mod http;
mod layering;
mod limits;
mod redis_faults;
mod revocations;
mod security;
mod single;
mod soak;
mod support;
mod tls;
mod websocket;
