//! Durable sends over many rooms: what is acknowledged, and how soon.

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
pub struct Sends {
    #[arg(long, default_value = "100", value_name = "N")]
    rooms: NonZeroUsize,
    /// Sockets that send to each room.
    #[arg(long, default_value = "1", value_name = "N")]
    senders: NonZeroUsize,
    /// Whether the senders join, and so are told (and check) what is sent.
    #[arg(long)]
    joined: bool,
    #[command(flatten)]
    pace: Pace,
}

impl Sends {
    pub async fn run(&self, target: &Target, ui: &Arc<Ui>) -> Result<Report> {
        let (rooms, sockets) = (self.rooms.get(), self.rooms.get() * self.senders.get());
        let plans = (0..sockets).map(|n| Plan { room: n % rooms, joins: self.joined, sends: true }).collect();
        traffic::run("sends", (target, ui), rooms, plans, &self.pace).await
    }
}
