//! All integration tests, in one binary.

mod browser;
mod cluster;
mod engine;
mod golden;
mod http;
mod layering;
mod single;
mod support;
mod websocket;
