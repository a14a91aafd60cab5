//! salon: a horizontally scalable chat cluster.
#![forbid(unsafe_code)]

pub mod auth;
pub mod broker;
pub mod config;
pub mod error;
pub mod model;
pub mod node;
pub mod presence;
pub mod protocol;
pub mod store;
pub mod telemetry;

/// Serves until SIGTERM.
pub async fn run(_config: config::Config) -> error::Result<()> {
    Err(error::Error::Internal("nothing is wired in yet".to_owned()))
}
