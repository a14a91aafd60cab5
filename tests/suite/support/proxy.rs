//! A TCP proxy that spoils what passes it on purpose: it loses, delays, slows, breaks. It stands between one kind of
//! client and one server, as a node and Redis, a node and Postgres, people and a node.

mod flow;
mod resp;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use flow::{Flow, flow};

/// Of all connections to one server; ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    target: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Faults>,
    swallowed: AtomicUsize,
    fired: AtomicUsize,
    /// Changed to break all connections.
    broken: watch::Sender<Broken>,
}

#[derive(Default, Clone, Copy)]
struct Broken {
    times: u64,
    reset: bool,
}

#[derive(Default)]
struct Faults {
    /// How many connections there have been.
    opened: u64,
    /// New connections are closed at once.
    refuse: bool,
    ways: [Spoiled; 2],
}

/// What one direction suffers.
#[derive(Default, Clone)]
struct Spoiled {
    /// Bytes of connections below this number are read and thrown away; the connection stays.
    deaf_below: u64,
    /// At least so long, and up to so much longer.
    delay: Option<(Duration, Duration)>,
    bytes_per_s: Option<u64>,
    /// The connection that carries the last of so many bytes is cut behind it.
    cut_after: Option<u64>,
    cut_at: Option<Cut>,
    /// Published messages with these bytes in them never arrive (Redis to client only).
    swallow: Option<Vec<u8>>,
}

/// Once these bytes have passed the connection is cut.
#[derive(Debug, Clone)]
struct Cut {
    pattern: Vec<u8>,
    /// Not before the other side has answered; the answer is lost.
    answered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Anything,
    /// Redis to client: whole replies are told apart, so that one can be left out.
    Resp,
}

impl Proxy {
    /// Before a Redis; `url` is `redis://host:port`.
    pub async fn redis(url: &str) -> Proxy {
        Self::start(url.trim_start_matches("redis://"), Speaks::Resp).await
    }

    /// Before any server; `target` is `host:port`.
    pub async fn plain(target: &str) -> Proxy {
        Self::start(target, Speaks::Anything).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of something at the server (any scheme) as it is by way of this proxy.
    pub fn url(&self, direct: &str) -> String {
        assert!(direct.contains(&self.target), "{direct} is not at {}", self.target);
        direct.replace(&self.target, &self.address.to_string())
    }

    /// From now on all passes as it should. What was broken stays broken.
    pub fn pass(&self) {
        let mut faults = self.faults();
        faults.refuse = false;
        faults.ways = Default::default();
    }

    /// What goes that way is lost; connections stay open, new ones can be made and are as bad.
    pub fn blackhole(&self, way: Way) {
        self.faults().ways[way as usize].deaf_below = u64::MAX;
    }

    /// The same for the connections that are open now; new ones are well. A firewall that forgot its flows.
    pub fn freeze(&self, way: Way) {
        let mut faults = self.faults();
        faults.ways[way as usize].deaf_below = faults.opened;
    }

    /// Everything takes `least` longer, and by chance up to `jitter` more; the order stays.
    pub fn delay(&self, way: Way, least: Duration, jitter: Duration) {
        self.faults().ways[way as usize].delay = Some((least, jitter));
    }

    /// Each connection carries no more than so much.
    pub fn rate(&self, way: Way, bytes_per_s: u64) {
        self.faults().ways[way as usize].bytes_per_s = Some(bytes_per_s.max(1));
    }

    /// Once, behind so many further bytes, counted over all connections: the one that carries the last is cut there.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.faults().ways[way as usize].cut_after = Some(bytes);
    }

    /// Once: the connection on which these bytes pass is cut behind them. They arrive, whatever they bring about.
    pub fn cut_at(&self, way: Way, pattern: &str) {
        self.faults().ways[way as usize].cut_at = Some(Cut { pattern: pattern.into(), answered: false });
    }

    /// Once: when these bytes have gone to the server, its next answer is lost and the connection is cut. What they
    /// asked for is done by then, and the client cannot know.
    pub fn cut_at_answer(&self, pattern: &str) {
        self.faults().ways[Way::ToServer as usize].cut_at = Some(Cut { pattern: pattern.into(), answered: true });
    }

    /// How many connections were cut by [`Proxy::cut_after`], [`Proxy::cut_at`] and [`Proxy::cut_at_answer`].
    pub fn fired(&self) -> usize {
        self.shared.fired.load(Ordering::SeqCst)
    }

    /// Closes all connections; new ones come through.
    pub fn cut(&self) {
        self.break_all(false);
    }

    /// The same by RST, as a router that restarts does.
    pub fn reset(&self) {
        self.break_all(true);
    }

    /// Closes all connections, and new ones too.
    pub fn refuse(&self) {
        self.faults().refuse = true;
        self.cut();
    }

    /// Leaves out every published message that holds `pattern`, whole; all else passes. Before a Redis only.
    pub fn swallow(&self, pattern: &str) {
        self.faults().ways[Way::ToClient as usize].swallow = Some(pattern.into());
    }

    /// How many published messages were left out so far.
    pub fn swallowed(&self) -> usize {
        self.shared.swallowed.load(Ordering::SeqCst)
    }

    async fn start(target: &str, speaks: Speaks) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(accept(listener, target.to_owned(), speaks, shared.clone()));
        Proxy { address, target: target.to_owned(), shared, task }
    }

    fn break_all(&self, reset: bool) {
        self.shared.broken.send_modify(|broken| *broken = Broken { times: broken.times + 1, reset });
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: String, speaks: Speaks, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let number = {
            let mut faults = shared.faults.lock().unwrap();
            if faults.refuse {
                continue;
            }
            faults.opened += 1;
            faults.opened - 1
        };
        // Told of breaks from before the server is reached, so that none is missed.
        let broken = shared.broken.subscribe();
        let (target, shared) = (target.clone(), shared.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(target).await else { return };
            carry(client, server, number, speaks, &shared, broken).await;
        });
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    number: u64,
    speaks: Speaks,
    shared: &Shared,
    mut broken: watch::Receiver<Broken>,
) {
    // Best effort: only latency depends on it.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // Raised by one direction for the other: what comes that way is the lost answer.
    let doomed = std::sync::atomic::AtomicBool::new(false);
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let towards = |way, speaks| Flow { way, number, speaks, shared, doomed: &doomed };
        tokio::select! {
            () = flow(from_client, to_server, towards(Way::ToServer, Speaks::Anything)) => {}
            () = flow(from_server, to_client, towards(Way::ToClient, speaks)) => {}
            _ = broken.changed() => {}
        }
    }
    if broken.borrow().reset {
        for stream in [&client, &server] {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}
