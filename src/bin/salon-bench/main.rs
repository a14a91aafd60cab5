//! Drives a running node or cluster over the public wire and prints what it measured, with the checks on: every
//! message to every member exactly once, in order of `seq`.
//!
//! Thousands of sockets need as many file descriptors, here and at the server: raise the limit of the shell
//! (`ulimit -n 65536`) before starting either. The server's limits per user are in the way of a benchmark, so raise
//! them too: `SALON_LIMITS__MESSAGES_PER_S`, `…MESSAGE_BURST`, `…FRAMES_PER_S`.
#![forbid(unsafe_code)]

mod fanout;
mod idle;
mod lane;
mod latency;
mod light;
mod process;
mod progress;
mod report;
mod scan;
mod sends;
mod target;
mod traffic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use report::Report;
use target::Target;

/// Measures a running salon.
#[derive(Parser)]
#[command(name = "salon-bench", version)]
struct Cli {
    #[command(flatten)]
    target: Target,
    /// Print the result as one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Memory of a server process for each idle, joined socket.
    Idle(idle::Idle),
    /// Durable sends in a closed loop: how many are acknowledged, and how soon.
    Sends(sends::Sends),
    /// Full rooms: how many deliveries, and how soon after the send.
    Fanout(fanout::Fanout),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { target, json, scenario } = Cli::parse();
    let done = match &scenario {
        Scenario::Idle(idle) => idle.run(&target).await,
        Scenario::Sends(sends) => sends.run(&target).await,
        Scenario::Fanout(fanout) => fanout.run(&target).await,
    };
    match done {
        Ok(report) => finish(&report, json),
        Err(why) => {
            eprintln!("salon-bench: {why}");
            ExitCode::from(2)
        }
    }
}

/// A run in which a promise was broken fails, however fast it was.
fn finish(report: &Report, json: bool) -> ExitCode {
    match json {
        true => println!("{}", report.json()),
        false => print!("{}", report.table()),
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
