//! salon: a horizontally scalable chat cluster.
#![forbid(unsafe_code)]

pub mod auth;
pub mod broker;
pub mod config;
pub mod engine;
pub mod error;
pub mod model;
pub mod presence;
pub mod protocol;
pub mod store;
pub mod telemetry;
