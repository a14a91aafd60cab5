//! salon beside what a user would pick instead: the same work for each, one after the other, in rounds; medians.
//! `cargo bench --bench compare -- --help`; what is compared, and how, stands in `benches/README.md`.
#![forbid(unsafe_code)]

#[path = "../bare/server.rs"]
mod bare;
mod cpu;
mod install;
#[path = "../load/mod.rs"]
mod load;
mod pgbench;
mod results;
mod scenarios;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod table;
#[path = "../wire.rs"]
mod wire;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use results::Results;
use scenarios::Scenario;
use servers::{Backends, Kind};
use support::Result;

/// Installs Socket.IO and Channels into target/compare, starts a private Redis and Postgres, runs salon and the others
/// through the same work, and prints a table.
#[derive(Parser)]
#[command(name = "compare")]
struct Options {
    /// Each round measures everything once, in turn; medians are told.
    #[arg(long, default_value = "3")]
    rounds: usize,
    /// Scenarios, with commas; default: big, small, connect and sends.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Scenario>,
    /// Servers, with commas; default: all.
    #[arg(long, value_delimiter = ',', value_enum)]
    servers: Vec<Kind>,
    /// Measured seconds of each run with messages.
    #[arg(long, default_value = "8")]
    seconds: u64,
    /// Write every figure of every round there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Be the bare server: its address, and `each` or `coalesced`.
    #[arg(long, hide = true, num_args = 2)]
    serve_bare: Option<Vec<String>>,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.serve_bare {
        Some(arguments) => serve_bare(&arguments[0], &arguments[1]),
        None => compare(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("compare: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve_bare(address: &str, writes: &str) -> Result<()> {
    let writes = if writes == "each" { bare::Writes::Each } else { bare::Writes::Coalesced };
    let served = TcpListener::bind(address).and_then(|listener| bare::Server::new(listener, writes)?.run(|| false));
    served.map_err(|error| error.to_string())
}

fn compare(options: &Options) -> Result<()> {
    let kinds = if options.servers.is_empty() { Kind::value_variants().to_vec() } else { options.servers.clone() };
    let scenarios = if options.only.is_empty() { Scenario::COMPARED.to_vec() } else { options.only.clone() };
    if kinds.contains(&Kind::SocketIo) {
        install::socketio()?;
    }
    if kinds.contains(&Kind::Channels) {
        install::channels()?;
    }
    let mut results = Results::new(install::versions(), cpu::machine());
    let backends = Backends::start()?;
    for round in 1..=options.rounds {
        for (n, scenario) in scenarios.iter().enumerate() {
            for (m, kind) in kinds.iter().enumerate().filter(|(_, kind)| scenario.measures(**kind)) {
                eprintln!("round {round} of {}: {scenario:?}, {}", options.rounds, kind.name());
                let run = format!("run_{round}_{n}_{m}");
                let figures = scenario.run(&backends, *kind, &run, options);
                backends.forget(&run);
                results.note(round, *scenario, kind.name(), figures);
            }
            if *scenario == Scenario::Sends {
                eprintln!("round {round} of {}: {scenario:?}, Postgres alone", options.rounds);
                let run = format!("alone_{round}");
                let figures = scenarios::alone(&backends, &run, options);
                backends.forget(&run);
                results.note(round, *scenario, results::ALONE, figures);
            }
        }
    }
    if let Some(file) = &options.json {
        std::fs::write(file, results.json()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    print!("{}", table::table(&results));
    match results.failures.is_empty() {
        true => Ok(()),
        false => Err(format!("{} runs failed", results.failures.len())),
    }
}
