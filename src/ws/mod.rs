//! WebSocket: who may open one ([`upgrade`]), and what runs on it ([`reader`], [`writer`]).

mod apart;
mod reader;
mod upgrade;
mod writer;

pub use upgrade::{router, set_up};
