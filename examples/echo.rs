//! Says back what it hears, over sockets set up as salon's own and served by its own accept loop: salon itself has
//! nothing that a conformance suite of the WebSocket protocol (Autobahn|Testsuite) could be pointed at.
//!
//! `cargo run --example echo -- 127.0.0.1:9001`, then
//! `wstest -m fuzzingclient -s spec.json` with that address in the specification.
#![forbid(unsafe_code)]

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use salon::config::Server;
use salon::http::server::{Ending, serve};
use tokio::net::TcpListener;

/// The suite's largest message has 16 MiB; salon's own bound, 64 KiB, would only be tested for being one.
const FRAME_BYTES: usize = 16 << 20;

const SILENCE: std::time::Duration = std::time::Duration::from_secs(85);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("echoing at ws://{address}/");
    let echo = get(async |upgrade: WebSocketUpgrade| salon::ws::set_up(upgrade, FRAME_BYTES).on_upgrade(echo));
    serve(listener, Router::new().route("/", echo), &Server::default(), SILENCE, Ending::default()).await;
    Ok(())
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        // Pings are answered by the library itself.
        let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}
