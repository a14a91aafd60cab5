//! A WebSocket for load: one read gives many frames, each is shown where the read left it, and none costs an
//! allocation.
//!
//! It speaks as much of RFC 6455 as a measurement needs (no fragments, no extensions) and takes nothing apart: for
//! protocol tests there is [`socket`](super::socket).

mod frames;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Result;
use super::socket::Refused;
use frames::Opcode;

/// How long a connection and its upgrade may take.
const OPENING: Duration = Duration::from_secs(30);
/// Read at once, shared by all sockets of a thread: what a frame in parts needs is the socket's own.
const READ_BYTES: usize = 64 << 10;
/// A socket that needed more for a large frame gives it back.
const KEPT_BYTES: usize = 4 << 10;
/// An answer to an upgrade is shorter.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What may wait to be written on one socket: then the server takes nothing any more.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Where a socket goes, from where, and what it shows.
#[derive(Debug, Clone)]
pub struct Route {
    pub to: SocketAddr,
    /// An address of this machine to come from; `None` leaves it to the kernel.
    pub from: Option<IpAddr>,
    /// For the `Host` header.
    pub authority: String,
    /// A header line that tells who it is, as `Authorization: Bearer …`.
    pub proof: String,
}

/// The reading half of an open socket.
#[derive(Debug)]
pub struct Lean {
    half: OwnedReadHalf,
    /// The beginning of a frame whose end has not come yet.
    rest: Vec<u8>,
    out: Arc<Outgoing>,
}

/// The writing half: frames may come from any thread.
#[derive(Debug)]
pub struct Outgoing {
    half: OwnedWriteHalf,
    waiting: Mutex<Vec<u8>>,
    stuck: Notify,
}

/// The text frames of one read, as they lie there.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    used: usize,
    out: &'a Outgoing,
}

impl Route {
    /// Connects and upgrades.
    pub async fn open(&self) -> Result<Lean, Refused> {
        let within = timeout(OPENING, self.upgrade()).await;
        within.unwrap_or_else(|_| Err(refused(format!("{}: no upgrade within {OPENING:?}", self.to))))
    }

    async fn upgrade(&self) -> Result<Lean, Refused> {
        let failed = |error: std::io::Error| refused(format!("{}: {error}", self.to));
        let mut stream = self.connect().await.map_err(failed)?;
        // Best effort: only latency depends on it.
        let _ = stream.set_nodelay(true);
        // Dropped, it ends as by a cut cable: else its port would stay taken for a minute, and there are not so many.
        let _ = stream.set_zero_linger();
        let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
        let Self { authority, proof, .. } = self;
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{proof}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut read = Vec::with_capacity(1 << 10);
        let end = loop {
            let searched = read.len().saturating_sub(3);
            if stream.read_buf(&mut read).await.map_err(failed)? == 0 {
                return Err(refused(format!("{}: the connection ended before the upgrade", self.to)));
            }
            if let Some(at) = read[searched..].windows(4).position(|four| four == b"\r\n\r\n") {
                break searched + at + 4;
            }
            if read.len() > HEAD_BYTES_MAX {
                return Err(refused(format!("{}: an endless answer to the upgrade", self.to)));
            }
        };
        let status = status(&read).ok_or_else(|| refused(format!("{} does not speak HTTP", self.to)))?;
        if status != 101 {
            // What came with the head is enough for a message to a person.
            return Err(Refused { status, body: String::from_utf8_lossy(&read[end..]).into_owned() });
        }
        read.drain(..end);
        Ok(Lean::new(stream, read))
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let Some(from) = self.from else { return TcpStream::connect(self.to).await };
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port that an earlier run left in TIME_WAIT is as good as any.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(self.to).await
    }
}

impl Lean {
    fn new(stream: TcpStream, rest: Vec<u8>) -> Self {
        let (half, out) = stream.into_split();
        let out = Arc::new(Outgoing { half: out, waiting: Mutex::default(), stuck: Notify::new() });
        Self { half, rest, out }
    }

    pub fn out(&self) -> Arc<Outgoing> {
        Arc::clone(&self.out)
    }

    /// Waits for one read, and shows the text frames that are whole then; `on` must take all of them. What it fed is
    /// pushed. Pings are answered; a close, the end or an error of `on` is an error. Safe to drop while it waits.
    pub async fn read(&mut self, mut on: impl FnMut(&mut Frames<'_>) -> Result<()>) -> Result<()> {
        let Self { half, rest, out } = self;
        // Frames that came in one piece with the answer to the upgrade.
        if !rest.is_empty() && shown(rest, out, &mut on)? {
            return out.push();
        }
        poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut read = ReadBuf::new(buffer);
                match ready!(Pin::new(&mut *half).poll_read(context, &mut read)) {
                    Ok(()) if read.filled().is_empty() => Poll::Ready(Err("the connection ended".to_owned())),
                    Ok(()) => Poll::Ready(take(read.filled(), rest, out, &mut on)),
                    Err(error) => Poll::Ready(Err(error.to_string())),
                }
            })
        })
        .await?;
        out.push()
    }

    /// The same for a socket that sends much: what the kernel did not take at once is written meanwhile.
    pub async fn read_and_write(&mut self, on: impl FnMut(&mut Frames<'_>) -> Result<()>) -> Result<()> {
        let out = self.out();
        tokio::select! {
            biased;
            done = self.read(on) => done,
            failed = out.keep_writing() => Err(failed),
        }
    }
}

impl Outgoing {
    /// Leaves with the next [`Outgoing::push`], whoever calls it.
    pub fn feed(&self, text: &[u8]) {
        frames::encode(Opcode::Text, text, &mut self.waiting());
    }

    /// Writes what waits, as far as the kernel takes it; a reader in [`Lean::read_and_write`] sees to the rest.
    pub fn push(&self) -> Result<()> {
        let mut waiting = self.waiting();
        while !waiting.is_empty() {
            match self.half.try_write(&waiting) {
                Ok(written) => drop(waiting.drain(..written)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.stuck.notify_one();
                    let too_much = waiting.len() > WAITING_BYTES_MAX;
                    return if too_much { Err("the server reads nothing any more".to_owned()) } else { Ok(()) };
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Both in one.
    pub fn send(&self, text: &[u8]) -> Result<()> {
        self.feed(text);
        self.push()
    }

    fn pong(&self, payload: &[u8]) {
        frames::encode(Opcode::Pong, payload, &mut self.waiting());
    }

    /// Ends with an error only.
    async fn keep_writing(&self) -> String {
        loop {
            self.stuck.notified().await;
            let written = async {
                while !self.waiting().is_empty() {
                    self.half.writable().await.map_err(|error| error.to_string())?;
                    self.push()?;
                }
                Ok(())
            };
            if let Err(error) = written.await {
                return error;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let frame = match frames::first(&self.bytes[self.used..]) {
                Ok(frame) => frame?,
                Err(error) => return Some(Err(error)),
            };
            self.used += frame.bytes;
            match frame.opcode {
                Opcode::Text => return Some(Ok(frame.payload)),
                Opcode::Ping => self.out.pong(frame.payload),
                Opcode::Pong => {}
                Opcode::Close => return Some(Err(frames::closed(frame.payload))),
            }
        }
    }
}

fn take(
    read: &[u8],
    rest: &mut Vec<u8>,
    out: &Outgoing,
    on: &mut impl FnMut(&mut Frames<'_>) -> Result<()>,
) -> Result<()> {
    if rest.is_empty() {
        let mut frames = Frames { bytes: read, used: 0, out };
        on(&mut frames)?;
        let used = frames.used;
        rest.extend_from_slice(&read[used..]);
        return Ok(());
    }
    rest.extend_from_slice(read);
    shown(rest, out, on).map(|_| ())
}

/// Shows what is whole in `rest` and takes it off; whether there was anything.
fn shown(rest: &mut Vec<u8>, out: &Outgoing, on: &mut impl FnMut(&mut Frames<'_>) -> Result<()>) -> Result<bool> {
    let mut frames = Frames { bytes: rest, used: 0, out };
    on(&mut frames)?;
    let used = frames.used;
    rest.drain(..used);
    if rest.is_empty() && rest.capacity() > KEPT_BYTES {
        *rest = Vec::new();
    }
    Ok(used > 0)
}

fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

fn refused(body: String) -> Refused {
    Refused { status: 0, body }
}
