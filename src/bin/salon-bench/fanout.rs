//! Rooms full of joined sockets, a few of which send: deliveries, and how soon after the send.

use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::Args;
use salon::engine::Result;

use crate::lane::Plan;
use crate::report::Report;
use crate::site::Target;
use crate::traffic::{self, Pace};
use crate::ui::Ui;

#[derive(Debug, Args)]
pub struct Fanout {
    #[arg(long, default_value = "1", value_name = "N")]
    rooms: NonZeroUsize,
    /// Joined sockets of each room.
    #[arg(long, default_value = "500", value_name = "N")]
    members: NonZeroUsize,
    /// How many of a room's members send.
    #[arg(long, default_value = "4", value_name = "N")]
    senders: NonZeroUsize,
    #[command(flatten)]
    pace: Pace,
}

impl Fanout {
    pub fn check(&self) -> Result<()> {
        match self.senders > self.members {
            true => Err(format!("--senders {} is more than --members {}", self.senders, self.members)),
            false => Ok(()),
        }
    }

    pub async fn run(&self, target: &Target, ui: &Arc<Ui>) -> Result<Report> {
        let (rooms, sockets) = (self.rooms.get(), self.rooms.get() * self.members.get());
        let senders = rooms * self.senders.get();
        let plans = (0..sockets).map(|n| Plan { room: n % rooms, joins: true, sends: n < senders }).collect();
        traffic::run("fanout", (target, ui), rooms, plans, &self.pace).await
    }
}
