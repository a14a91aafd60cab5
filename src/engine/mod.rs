//! A client's view of salon: clients, workload and checker, used by the tests, the fault suite and `salon-bench`.
//!
//! Speaks only the public wire and imports nothing of the rest of the crate, so that it cannot agree with a mistake
//! of the server's: what a frame means is written down here a second time, from the protocol.
//!
//! * [`http`]: requests, log-in, rooms and history.
//! * [`socket`]: one WebSocket, frame by frame, for protocol tests.
//! * [`events`]: one event stream, and a watcher that comes back as a browser does.
//! * [`lean`]: one WebSocket for load: many frames a read, none copied.
//! * [`client`]: a whole chat client that reconnects, resumes and re-sends, and logs all it sees.
//! * [`observe`]: all that comes in, for who watches over a whole run.
//! * [`workload`]: many clients at once, then quiet.
//! * [`checker`]: the logs and the final history in, violations of the promises out. Pure.

pub mod checker;
pub mod client;
pub mod events;
pub mod http;
pub mod lean;
pub mod log;
pub mod observe;
pub mod socket;
pub mod wire;
pub mod workload;

/// What went wrong on the client's side, as a sentence: engines report, they do not branch.
pub type Result<T, E = String> = std::result::Result<T, E>;
