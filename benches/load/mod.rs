//! One load for every server that is compared: many sockets in one thread over epoll, so that it costs little beside what
//! it measures, and each receipt is checked while it is counted.

mod dialect;
mod swarm;
mod traffic;

pub mod ledger;

pub use dialect::{Dialect, Salon};
pub use swarm::{Seat, Swarm};
pub use traffic::{Measured, Pace, Paced, Traffic};

pub type Result<T> = std::result::Result<T, String>;
