//! A TCP proxy that loses things on purpose.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Between one client and one server; ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Faults>,
    swallowed: AtomicUsize,
    /// Raised to break all connections.
    generation: watch::Sender<u64>,
}

#[derive(Default, Clone)]
struct Faults {
    /// Bytes to the server are read and thrown away; the connection stays.
    deaf_server: bool,
    /// The same the other way.
    deaf_client: bool,
    /// New connections are closed at once.
    refuse: bool,
    /// Published messages with these bytes in them never reach the client.
    swallow: Option<Vec<u8>>,
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

    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Nothing is lost any more.
    pub fn pass(&self) {
        *self.shared.faults.lock().unwrap() = Faults::default();
    }

    /// What the client says is lost; the connection stays open.
    pub fn blackhole_to_server(&self) {
        self.shared.faults.lock().unwrap().deaf_server = true;
    }

    /// What the server says is lost; the connection stays open.
    pub fn blackhole_to_client(&self) {
        self.shared.faults.lock().unwrap().deaf_client = true;
    }

    /// Breaks all connections; new ones come through.
    pub fn cut(&self) {
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    /// Breaks all connections, and new ones too.
    pub fn refuse(&self) {
        self.shared.faults.lock().unwrap().refuse = true;
        self.cut();
    }

    /// Leaves out every published message that holds `pattern`, whole; all else passes.
    pub fn swallow(&self, pattern: &str) {
        self.shared.faults.lock().unwrap().swallow = Some(pattern.as_bytes().to_vec());
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
        Proxy { address, shared, task }
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
        if shared.faults.lock().unwrap().refuse {
            continue;
        }
        let (target, shared) = (target.clone(), shared.clone());
        tokio::spawn(async move {
            // Told of cuts from before the server is reached, so that none is missed.
            let mut generation = shared.generation.subscribe();
            let Ok(server) = TcpStream::connect(target).await else { return };
            // Best effort: only latency depends on it.
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = up(from_client, to_server, &shared) => {}
                () = down(from_server, to_client, speaks, &shared) => {}
                _ = generation.changed() => {}
            }
        });
    }
}

async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let lost = shared.faults.lock().unwrap().deaf_server;
        if !lost && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, speaks: Speaks, shared: &Shared) {
    let mut waiting = Vec::new();
    while let Ok(1..) = from.read_buf(&mut waiting).await {
        let faults = shared.faults.lock().unwrap().clone();
        let passed = match speaks {
            Speaks::Anything => std::mem::take(&mut waiting),
            Speaks::Resp => whole_replies(&mut waiting, faults.swallow.as_deref(), &shared.swallowed),
        };
        if !faults.deaf_client && to.write_all(&passed).await.is_err() {
            return;
        }
    }
}

/// Takes the complete replies out of `waiting`, without those to be left out.
fn whole_replies(waiting: &mut Vec<u8>, swallow: Option<&[u8]>, swallowed: &AtomicUsize) -> Vec<u8> {
    let mut passed = Vec::new();
    let mut start = 0;
    while let Some(length) = reply_length(&waiting[start..]) {
        let reply = &waiting[start..start + length];
        if swallow.is_some_and(|pattern| is_published(reply) && contains(reply, pattern)) {
            swallowed.fetch_add(1, Ordering::SeqCst);
        } else {
            passed.extend_from_slice(reply);
        }
        start += length;
    }
    waiting.drain(..start);
    passed
}

/// Bytes of the first reply; `None`: it is not all there yet.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let count = || -> i64 { std::str::from_utf8(&bytes[1..line - 2]).ok().and_then(|n| n.parse().ok()).unwrap_or(-1) };
    let parts = match bytes[0] {
        // Texts of a told length, of both versions of the protocol.
        b'$' | b'=' | b'!' => {
            let end = usize::try_from(count()).map_or(line, |length| line + length + 2);
            return (bytes.len() >= end).then_some(end);
        }
        b'*' | b'~' | b'>' => count(),
        b'%' | b'|' => count() * 2,
        _ => 0,
    };
    let mut end = line;
    for _ in 0..parts.max(0) {
        end += reply_length(&bytes[end..])?;
    }
    // An attribute stands before the reply that it describes.
    if bytes[0] == b'|' {
        end += reply_length(&bytes[end..])?;
    }
    Some(end)
}

fn is_published(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'*' | b'>')) && contains(&reply[..reply.len().min(32)], b"message\r\n")
}

fn contains(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len().max(1)).any(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_published_replies_with_the_pattern_are_left_out() {
        let lost = AtomicUsize::new(0);
        let hint = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$6\r\nabcdef\r\n";
        let push = b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$6\r\nabcdef\r\n";
        let other = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nxy\r\n+OK\r\n$-1\r\n:5\r\n$3\r\ncde\r\n";
        let mut waiting = [hint.as_slice(), other, push, &hint[..20]].concat();
        assert_eq!(whole_replies(&mut waiting, Some(b"cde"), &lost), other);
        assert_eq!(lost.load(Ordering::SeqCst), 2);
        assert_eq!(waiting, &hint[..20]);
        assert_eq!(whole_replies(&mut hint.to_vec(), None, &lost), hint);
    }

    async fn echo() -> (Proxy, JoinHandle<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        (Proxy::plain(&target).await, server)
    }

    /// What comes back of one byte; `None`: nothing within a moment.
    async fn ask(stream: &mut TcpStream, byte: u8) -> Option<std::io::Result<u8>> {
        if let Err(error) = stream.write_u8(byte).await {
            return Some(Err(error));
        }
        tokio::time::timeout(std::time::Duration::from_millis(300), stream.read_u8()).await.ok()
    }

    #[tokio::test]
    async fn each_fault_is_one() {
        let (proxy, server) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream, 1).await.unwrap().unwrap(), 1);
        proxy.blackhole_to_server();
        assert!(ask(&mut stream, 2).await.is_none());
        proxy.pass();
        assert_eq!(ask(&mut stream, 3).await.unwrap().unwrap(), 3);
        proxy.blackhole_to_client();
        assert!(ask(&mut stream, 4).await.is_none());
        proxy.pass();
        proxy.cut();
        assert!(ask(&mut stream, 5).await.unwrap().is_err());
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream, 6).await.unwrap().unwrap(), 6);
        proxy.refuse();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(ask(&mut stream, 7).await.unwrap().is_err());
        server.abort();
    }
}
