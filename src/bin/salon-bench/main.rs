//! Drives a running node or cluster over the public wire and prints what it measured. Every delivery is checked while
//! it is counted: a run in which a message was lost, doubled or out of order fails, however fast it was.
#![forbid(unsafe_code)]

mod connect;
mod fanout;
mod heard;
mod history;
mod html;
mod idle;
mod lane;
mod lanes;
mod latency;
mod name;
mod pacer;
mod plot;
mod preflight;
mod process;
mod report;
mod scan;
mod seconds;
mod sends;
mod site;
mod storm;
mod table;
mod traffic;
mod ui;
mod users;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use report::Report;
use salon::engine::Result;
use site::Target;
use ui::Ui;

/// What stands in the way of a measurement, how it is put aside, and what a run looks like.
const PREPARATION: &str = "\
How to prepare the server:
  The users of a run are those of an issuer of yours, made by the server at first sight. Give the server, in the
  file that it starts with (salon --config FILE), a key of 32 bytes or more, and the same to this program, as
  --issuer-key or in the environment as SALON_BENCH_ISSUER_KEY:

    [[auth.issuers]]
    name = \"bench\"
    algorithm = \"HS256\"
    key = \"…\"

  Its limits for single users and addresses would be what is measured, so raise them in its environment:

    SALON_LIMITS__MESSAGES_PER_S=100000 SALON_LIMITS__MESSAGE_BURST=100000 SALON_LIMITS__FRAMES_PER_S=1000000
    SALON_LIMITS__REQUESTS_PER_S=1000000 SALON_LIMITS__REQUEST_BURST=1000000

  Each socket needs a file descriptor, here and there: `ulimit -n 65536` in both shells. Build both with --release.
  For more than 8,000 sockets to 127.0.0.1 this program comes from 127.0.0.2, 127.0.0.3 and so on.

Example: two nodes, one room of 500 of whom 4 send, what the nodes and Redis cost, and a page with plots:
  salon-bench fanout --url http://127.0.0.1:8001 --url http://127.0.0.1:8002 --issuer-key \"$KEY\" \\
    --pid node=$NODE1 --pid node=$NODE2 --pid redis=$REDIS --html report.html

Exit codes: 0; 1 when the run failed or a promise was broken; 2 for wrong usage.";

/// Measures a running salon, and checks what it is told while it does.
#[derive(Parser)]
#[command(name = "salon-bench", version, after_help = PREPARATION)]
struct Cli {
    #[command(flatten)]
    target: Target,
    /// Print JSON lines instead of a table: one object for each second that is measured, and one for the result.
    #[arg(long, global = true)]
    json: bool,
    /// Write the report as a page with plots, which needs nothing but itself.
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Threads of this program; more of them drive more sockets and leave less of the machine to the server. Half of
    /// the processors, if not given.
    #[arg(long, global = true, value_name = "N")]
    threads: Option<NonZeroUsize>,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Full rooms: how many deliveries, how soon after the send, and what one costs.
    Fanout(fanout::Fanout),
    /// Durable sends over many rooms: how many are acknowledged, and how soon.
    Sends(sends::Sends),
    /// Sockets that come and join: how fast, and what one costs; what it costs to announce them is told apart.
    Connect(connect::Connect),
    /// Memory and CPU for each idle, joined socket. For a node just started: memory that an earlier run left free is
    /// not seen to grow.
    Idle(idle::Idle),
    /// All sockets are cut and come back at once, while others go on sending.
    Storm(storm::Storm),
    /// Paging back through a long room, and resuming from behind.
    History(history::History),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(why) = cli.check() {
        Cli::command().error(ErrorKind::ValueValidation, why).exit();
    }
    let threads = cli.threads.map_or_else(|| (process::cores() / 2).max(1), NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let done = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(cli.run()));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("salon-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    /// What clap cannot see.
    fn check(&self) -> Result<()> {
        self.target.who.check()?;
        match &self.scenario {
            Scenario::Fanout(fanout) => fanout.check(),
            Scenario::Idle(idle) => idle.check(&self.target),
            Scenario::Storm(storm) => storm.check(),
            Scenario::Sends(_) | Scenario::Connect(_) | Scenario::History(_) => Ok(()),
        }
    }

    /// Whether nothing was wrong.
    async fn run(&self) -> Result<bool> {
        let ui = Arc::new(Ui::new(self.json));
        let report = self.scenario.run(&self.target, &ui).await;
        let mut report = report.inspect_err(|_| ui.clear())?;
        report.warnings.splice(0..0, ui.warnings());
        ui.object(&report.json());
        ui.table(&table::table(&report));
        if let Some(file) = &self.html {
            std::fs::write(file, html::page(&report)).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(report.violations.is_empty())
    }
}

impl Scenario {
    async fn run(&self, target: &Target, ui: &Arc<Ui>) -> Result<Report> {
        match self {
            Self::Fanout(fanout) => fanout.run(target, ui).await,
            Self::Sends(sends) => sends.run(target, ui).await,
            Self::Connect(connect) => connect.run(target, ui).await,
            Self::Idle(idle) => idle.run(target, ui).await,
            Self::Storm(storm) => storm.run(target, ui).await,
            Self::History(history) => history.run(target, ui).await,
        }
    }
}
