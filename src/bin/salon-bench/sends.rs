//! Durable sends in a closed loop, over many rooms: what is acknowledged, and how soon.

use std::time::Duration;

use clap::Args;
use salon::engine::Result;

use crate::lane::Plan;
use crate::report::Report;
use crate::target::Target;
use crate::traffic::{self, Pace};

#[derive(Debug, Args)]
pub struct Sends {
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Sockets that send, each of a user of its own. They share the rooms: with fewer sockets than rooms each takes
    /// several in turn.
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Unacknowledged sends of each socket.
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Before that, not measured.
    #[arg(long, default_value_t = 3)]
    warmup: u64,
    /// Length of each message.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Whether the senders are joined to their (first) room and hear what is sent there.
    #[arg(long)]
    joined: bool,
}

impl Sends {
    pub async fn run(&self, target: &Target) -> Result<Report> {
        if self.rooms == 0 || self.clients == 0 || self.in_flight == 0 {
            return Err("at least one room, one client and one send in flight are needed".into());
        }
        let places = target.rooms(self.rooms).await?;
        let plan = |client: usize| {
            let first = client % self.rooms;
            let step = self.clients.min(self.rooms);
            let listens_in = self.joined.then_some(first);
            Plan { listens_in, sends_to: (first..self.rooms).step_by(step).collect() }
        };
        let pace = Pace {
            in_flight: self.in_flight,
            content_bytes: self.bytes,
            warmup: Duration::from_secs(self.warmup),
            measured: Duration::from_secs(self.seconds),
        };
        Ok(traffic::run(target, places, (0..self.clients).map(plan).collect(), &pace).await?.report("sends"))
    }
}
