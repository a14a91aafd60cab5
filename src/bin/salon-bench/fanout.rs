//! Rooms full of joined sockets, a few of which send: deliveries, and how soon after the send.

use std::num::NonZeroUsize;

use clap::Args;
use salon::engine::Result;

use crate::lane::Plan;
use crate::report::Report;
use crate::target::Target;
use crate::traffic::{self, Pace};

#[derive(Debug, Args)]
pub struct Fanout {
    #[arg(long, default_value = "1")]
    rooms: NonZeroUsize,
    /// Joined sockets of each room.
    #[arg(long, default_value = "500")]
    members: NonZeroUsize,
    /// How many of a room's members send.
    #[arg(long, default_value = "4")]
    senders: NonZeroUsize,
    #[command(flatten)]
    pace: Pace,
}

impl Fanout {
    pub async fn run(&self, target: &Target) -> Result<Report> {
        let (rooms, sockets) = (self.rooms.get(), self.rooms.get() * self.members.get());
        let senders = rooms * self.senders.get();
        let plans = (0..sockets).map(|n| Plan { room: n % rooms, joins: true, sends: n < senders }).collect();
        traffic::run("fanout", target, rooms, plans, &self.pace).await
    }
}
