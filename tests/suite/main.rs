//! All integration tests, in one binary.

mod cluster;
mod http;
mod single;
mod support;
mod websocket;
