//! Drives a running node or cluster over the public wire and prints what it measured. Every delivery is checked while
//! it is counted: a run in which a message was lost, doubled or out of order fails, however fast it was.
#![forbid(unsafe_code)]

mod fanout;
mod heard;
mod idle;
mod lane;
mod latency;
mod process;
mod report;
mod sends;
mod target;
mod traffic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use target::Target;

/// What stands in the way of a measurement, and how it is put aside.
const PREPARATION: &str = "\
How to prepare the server:
  The users of a run are those of an issuer of yours, made by the server at first sight. Give the server, in the
  file that it starts with (salon --config FILE), a key of 32 bytes or more, and the same to this program (--secret):

    [[auth.issuers]]
    name = \"bench\"
    algorithm = \"HS256\"
    key = \"…\"

  Its limits for single users and addresses would be what is measured, so raise them in its environment:

    SALON_LIMITS__MESSAGES_PER_S=100000 SALON_LIMITS__MESSAGE_BURST=100000 SALON_LIMITS__FRAMES_PER_S=1000000
    SALON_LIMITS__SOCKETS_PER_ADDRESS=1000000

  Each socket needs a file descriptor, here and there: `ulimit -n 65536` in both shells. Build both with --release.

Exit codes: 0; 1 when the run failed or a promise was broken; 2 for wrong usage.";

/// Measures a running salon.
#[derive(Parser)]
#[command(name = "salon-bench", version, after_help = PREPARATION)]
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
    /// Memory and CPU of a server process for each idle, joined socket. For a node just started: memory that an
    /// earlier run left free is not seen to grow.
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
        Ok(report) => {
            match json {
                true => println!("{}", report.json()),
                false => print!("{}", report.table()),
            }
            if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("salon-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
