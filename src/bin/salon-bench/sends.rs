//! Durable sends in a closed loop, over many rooms: what is acknowledged, and how soon.

use std::num::NonZeroUsize;

use clap::Args;
use salon::engine::Result;

use crate::lane::Plan;
use crate::report::Report;
use crate::target::Target;
use crate::traffic::{self, Pace};

#[derive(Debug, Args)]
pub struct Sends {
    #[arg(long, default_value = "100")]
    rooms: NonZeroUsize,
    /// Sockets that send to each room.
    #[arg(long, default_value = "1")]
    senders: NonZeroUsize,
    /// Whether the senders join, and so are told (and check) what is sent.
    #[arg(long)]
    joined: bool,
    #[command(flatten)]
    pace: Pace,
}

impl Sends {
    pub async fn run(&self, target: &Target) -> Result<Report> {
        let (rooms, sockets) = (self.rooms.get(), self.rooms.get() * self.senders.get());
        let plans = (0..sockets).map(|n| Plan { room: n % rooms, joins: self.joined, sends: true }).collect();
        traffic::run("sends", target, rooms, plans, &self.pace).await
    }
}
