//! The sockets of a run, over one epoll: opened some at a time, read, answered, kept alive.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::super::wire::{CLOSE, PING, PONG, TEXT, first_frame, head_end, put_frame};
use super::Result;
use super::dialect::{Dialect, Greeting};

const READ_BYTES: usize = 256 * 1024;
/// As a browser's would be random and cost the server the same, one is enough.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x3c];

/// Who sits where. Sockets take turns over the nodes.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    pub user: usize,
    pub room: usize,
    /// Or only sends there.
    pub joins: bool,
}

pub struct Swarm {
    dialect: Dialect,
    nodes: Vec<SocketAddr>,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    sockets: Vec<Socket>,
    /// Sockets with something to write.
    dirty: Vec<usize>,
    seated: usize,
    /// Somebody's coming, as others were told.
    pub announcements: u64,
    /// The first few; one makes a run worthless.
    pub failures: Vec<String>,
}

struct Socket {
    stream: TcpStream,
    seat: Seat,
    phase: Phase,
    rest: Vec<u8>,
    out: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    Greeting,
    Seated,
    Gone,
}

impl Swarm {
    pub fn new(dialect: Dialect, nodes: Vec<SocketAddr>) -> Result<Self> {
        Ok(Self {
            dialect,
            nodes,
            poll: Poll::new().map_err(|error| error.to_string())?,
            events: Events::with_capacity(1024),
            buffer: vec![0; READ_BYTES],
            sockets: Vec::new(),
            dirty: Vec::new(),
            seated: 0,
            announcements: 0,
            failures: Vec::new(),
        })
    }

    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    pub fn seats(&self) -> impl Iterator<Item = Seat> {
        self.sockets.iter().map(|socket| socket.seat)
    }

    /// Opens sockets, so many at a time, until all of them are seated.
    pub fn open(&mut self, seats: &[Seat], at_once: usize, within: Duration) -> Result<Duration> {
        let (began, before) = (Instant::now(), self.seated);
        let mut waiting = seats.iter();
        while self.seated - before < seats.len() {
            while self.sockets.len() - self.seated < at_once
                && let Some(seat) = waiting.next()
            {
                self.connect(*seat)?;
            }
            self.turn(Duration::from_millis(20), |_, _| {})?;
            if began.elapsed() > within {
                let seated = self.seated - before;
                return Err(format!("{seated} of {} sockets were open after {within:?}", seats.len()));
            }
        }
        Ok(began.elapsed())
    }

    /// Queues a text for the end of the turn.
    pub fn say(&mut self, n: usize, text: &[u8]) {
        self.put(n, TEXT, text);
    }

    /// Waits for what comes, gives each text of a seated socket to `hear`, and answers what must be answered.
    pub fn turn(&mut self, wait: Duration, mut hear: impl FnMut(usize, &[u8])) -> Result<()> {
        self.flush();
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.to_string()),
            _ => {}
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut buffer = std::mem::take(&mut self.buffer);
        for event in &events {
            let n = event.token().0;
            if event.is_writable() {
                self.writable(n)?;
            }
            if event.is_readable()
                && let Err(why) = self.read(n, &mut buffer, &mut hear)
            {
                self.lose(n, &why);
            }
        }
        events.clear();
        (self.events, self.buffer) = (events, buffer);
        self.flush();
        match self.failures.first() {
            None => Ok(()),
            Some(_) => Err(self.failures.join("; ")),
        }
    }

    fn connect(&mut self, seat: Seat) -> Result<()> {
        let n = self.sockets.len();
        let node = self.nodes[n % self.nodes.len()];
        let mut stream = TcpStream::connect(node).map_err(|error| format!("{node}: {error}"))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(n), interest).map_err(|error| error.to_string())?;
        self.sockets.push(Socket { stream, seat, phase: Phase::Connecting, rest: Vec::new(), out: Vec::new() });
        Ok(())
    }

    fn writable(&mut self, n: usize) -> Result<()> {
        let socket = &mut self.sockets[n];
        if socket.phase == Phase::Connecting {
            if let Ok(Some(error)) = socket.stream.take_error() {
                self.lose(n, &error.to_string());
                return Ok(());
            }
            let _ = socket.stream.set_nodelay(true);
            let host = self.nodes[n % self.nodes.len()].to_string();
            socket.out = self.dialect.upgrade(&host, &socket.seat)?.into_bytes();
            socket.phase = Phase::Upgrading;
        }
        self.push(n);
        Ok(())
    }

    fn read(&mut self, n: usize, buffer: &mut [u8], hear: &mut impl FnMut(usize, &[u8])) -> Result<()> {
        loop {
            let socket = &mut self.sockets[n];
            if socket.phase == Phase::Gone {
                return Ok(());
            }
            // What was left of a frame comes first.
            let rest = std::mem::take(&mut socket.rest);
            let begin = rest.len();
            buffer.get_mut(..begin).ok_or("a frame is too large")?.copy_from_slice(&rest);
            let count = match socket.stream.read(&mut buffer[begin..]) {
                Ok(0) => return Err("the server closed".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    socket.rest = rest;
                    return Ok(());
                }
                Err(error) => return Err(error.to_string()),
            };
            let end = begin + count;
            let used = self.take(n, &buffer[..end], hear)?;
            self.sockets[n].rest = buffer[used..end].to_vec();
            // A short read took all there was: what comes later is another event.
            if end < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Takes whole frames, and gives how many bytes they were.
    fn take(&mut self, n: usize, bytes: &[u8], hear: &mut impl FnMut(usize, &[u8])) -> Result<usize> {
        let mut used = 0;
        if self.sockets[n].phase == Phase::Upgrading {
            let Some(end) = head_end(bytes) else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let said: String = String::from_utf8_lossy(bytes).chars().take(300).collect();
                return Err(format!("no upgrade: {said}"));
            }
            used = end;
            self.sockets[n].phase = Phase::Greeting;
            self.greet(n, self.dialect.upgraded(&self.sockets[n].seat))?;
        }
        while let Some(frame) = first_frame(&bytes[used..]) {
            let payload = &bytes[used..][frame.payload.clone()];
            used += frame.whole;
            match frame.opcode {
                TEXT => self.text(n, payload, hear)?,
                PING => self.put(n, PONG, payload),
                CLOSE => return Err(format!("the server closed: {}", String::from_utf8_lossy(payload))),
                _ => {}
            }
        }
        Ok(used)
    }

    fn text(&mut self, n: usize, text: &[u8], hear: &mut impl FnMut(usize, &[u8])) -> Result<()> {
        if let Some(answer) = self.dialect.heartbeat(text) {
            self.put(n, TEXT, answer);
            return Ok(());
        }
        if self.dialect.is_announcement(text) {
            self.announcements += 1;
        }
        match self.sockets[n].phase {
            Phase::Seated if self.dialect.is_refusal(text) => {
                Err(format!("refused: {}", String::from_utf8_lossy(text)))
            }
            Phase::Seated => {
                hear(n, text);
                Ok(())
            }
            _ => {
                let next = self.dialect.greeted(&self.sockets[n].seat, text);
                if matches!(next, Greeting::Refused) {
                    return Err(format!("refused: {}", String::from_utf8_lossy(text)));
                }
                self.greet(n, next)
            }
        }
    }

    fn greet(&mut self, n: usize, next: Greeting) -> Result<()> {
        match next {
            Greeting::Wait => {}
            Greeting::Say(text) => self.put(n, TEXT, text.as_bytes()),
            Greeting::Seated => {
                self.sockets[n].phase = Phase::Seated;
                self.seated += 1;
            }
            Greeting::Refused => return Err("refused".to_owned()),
        }
        Ok(())
    }

    fn put(&mut self, n: usize, opcode: u8, payload: &[u8]) {
        let socket = &mut self.sockets[n];
        if socket.out.is_empty() {
            self.dirty.push(n);
        }
        put_frame(&mut socket.out, opcode, Some(MASK), payload);
    }

    fn flush(&mut self) {
        for n in std::mem::take(&mut self.dirty) {
            self.push(n);
        }
    }

    /// Writes what the socket takes; the rest goes when it takes more.
    fn push(&mut self, n: usize) {
        let socket = &mut self.sockets[n];
        if matches!(socket.phase, Phase::Gone | Phase::Connecting) {
            return;
        }
        while !socket.out.is_empty() {
            match socket.stream.write(&socket.out) {
                Ok(count) => drop(socket.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.lose(n, &error.to_string()),
            }
        }
    }

    fn lose(&mut self, n: usize, why: &str) {
        self.sockets[n].phase = Phase::Gone;
        if self.failures.len() < 3 {
            self.failures.push(format!("socket {n}: {why}"));
        }
    }
}
