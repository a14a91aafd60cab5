//! A TCP proxy whose open connections can be frozen in one direction, while new ones pass: what a lost flow in a
//! firewall or a half-broken network looks like. Nothing is closed, nothing is refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

pub struct Freezer {
    address: String,
    /// Connections with a smaller number are frozen, by direction.
    frozen: Arc<[watch::Sender<u64>; 2]>,
    opened: Arc<watch::Sender<u64>>,
}

impl Freezer {
    pub async fn start(server: String) -> Self {
        Self::start_slow(server, Duration::ZERO).await
    }

    /// What goes to the server takes this much longer.
    pub async fn start_slow(server: String, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let frozen = Arc::new([watch::Sender::new(0), watch::Sender::new(0)]);
        let opened = Arc::new(watch::Sender::new(0));
        let freezer = Self { address, frozen: Arc::clone(&frozen), opened: Arc::clone(&opened) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = *opened.borrow();
                opened.send_replace(number + 1);
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(
                    from_client,
                    to_server,
                    frozen[Direction::ToServer as usize].subscribe(),
                    number,
                    delay,
                ));
                tokio::spawn(pass(
                    from_server,
                    to_client,
                    frozen[Direction::ToClient as usize].subscribe(),
                    number,
                    Duration::ZERO,
                ));
            }
        });
        freezer
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Freezes the connections that are open now, for good.
    pub fn freeze(&self, direction: Direction) {
        self.frozen[direction as usize].send_replace(*self.opened.borrow());
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut frozen: watch::Receiver<u64>,
    number: u64,
    delay: Duration,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            biased;
            () = async { drop(frozen.wait_for(|first_alive| number < *first_alive).await) } => break,
            read = from.read(&mut buffer) => match read {
                Ok(length @ 1..) => {
                    tokio::time::sleep(delay).await;
                    if to.write_all(&buffer[..length]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
    // Both sockets stay open.
    std::future::pending().await
}
