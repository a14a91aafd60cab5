//! Rooms full of joined sockets, a few of which send: deliveries, and how soon after the send.

use std::time::Duration;

use clap::Args;
use salon::engine::Result;

use crate::lane::Plan;
use crate::report::Report;
use crate::target::Target;
use crate::traffic::{self, Pace};

#[derive(Debug, Args)]
pub struct Fanout {
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// Joined sockets of each room, each of a user of its own.
    #[arg(long, default_value_t = 500)]
    members: usize,
    /// How many of a room's members send.
    #[arg(long, default_value_t = 4)]
    senders: usize,
    /// Unacknowledged sends of each sender.
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
}

impl Fanout {
    pub async fn run(&self, target: &Target) -> Result<Report> {
        if self.rooms == 0 || self.senders == 0 || self.senders > self.members || self.in_flight == 0 {
            return Err("at least one room, one sender (of the members) and one send in flight are needed".into());
        }
        let places = target.rooms(self.rooms).await?;
        let plan = |n: usize| {
            let (room, member) = (n / self.members, n % self.members);
            let sends_to = if member < self.senders { vec![room] } else { Vec::new() };
            Plan { listens_in: Some(room), sends_to }
        };
        let pace = Pace {
            in_flight: self.in_flight,
            content_bytes: self.bytes,
            warmup: Duration::from_secs(self.warmup),
            measured: Duration::from_secs(self.seconds),
        };
        let plans = (0..self.rooms * self.members).map(plan).collect();
        Ok(traffic::run(target, places, plans, &pace).await?.report("fanout"))
    }
}
