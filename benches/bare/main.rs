//! The bare server as a program: `cargo bench --bench bare -- 127.0.0.1:9100 coalesced` (or `each`).
#![forbid(unsafe_code)]

mod server;
#[path = "../wire.rs"]
mod wire;

use std::net::TcpListener;
use std::process::ExitCode;

use server::{Server, Writes};

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (address, writes) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [address, "each"] => (address, Writes::Each),
        [address, "coalesced"] => (address, Writes::Coalesced),
        _ => {
            eprintln!("usage: bare ADDRESS:PORT each|coalesced");
            return ExitCode::from(2);
        }
    };
    let served = TcpListener::bind(address).and_then(|listener| Server::new(listener, writes)?.run(|| false));
    if let Err(error) = served {
        eprintln!("bare: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
