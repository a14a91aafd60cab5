//! What a delivery costs when nothing is done but deliver: one thread over epoll, WebSocket frames, rooms in memory. No
//! users, no order across nodes, no store, no Redis. The floor that chat servers are measured against.
//!
//! The room is the path of the upgrade; each text frame goes as it is to everybody in the room, its sender too.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::wire::{CLOSE, PING, PONG, TEXT, first_frame, head_end, put_frame};

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 * 1024;
/// Of what a reader has not taken yet; over it, it is closed.
const BACKLOG_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most slices that Linux takes in one write.
const SLICES_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Each frame to each socket is a write of its own.
    Each,
    /// What one turn of the loop gathered for a room goes to each of its sockets in one vectored write.
    Coalesced,
}

pub struct Server {
    poll: Poll,
    listener: TcpListener,
    writes: Writes,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    names: HashMap<String, usize>,
    rooms: Vec<Room>,
    /// Rooms with frames that wait for the end of the turn.
    due: Vec<usize>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// `None` until it is upgraded.
    room: Option<usize>,
    /// What was read of something that is not whole yet.
    rest: Vec<u8>,
    /// What the socket did not take.
    backlog: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    frames: Vec<Vec<u8>>,
}

impl Server {
    pub fn new(listener: std::net::TcpListener, writes: Writes) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            writes,
            connections: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            rooms: Vec::new(),
            due: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Serves until `stop` says so, which is asked now and then.
    pub fn run(&mut self, stop: impl Fn() -> bool) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !stop() {
            match self.poll.poll(&mut events, Some(Duration::from_millis(200))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(n) => {
                        if event.is_writable() {
                            self.push_backlog(n);
                        }
                        if event.is_readable() && self.read(n).is_err() {
                            self.close(n);
                        }
                    }
                }
            }
            self.deliver();
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => continue,
            };
            let _ = stream.set_nodelay(true);
            let n = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.poll.registry().register(&mut stream, Token(n), Interest::READABLE | Interest::WRITABLE)?;
            self.connections[n] = Some(Connection { stream, room: None, rest: Vec::new(), backlog: Vec::new() });
        }
    }

    /// Reads all there is. An error, or the end: the connection is to be closed.
    fn read(&mut self, n: usize) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = self.read_into(n, &mut buffer);
        self.buffer = buffer;
        done
    }

    fn read_into(&mut self, n: usize, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let Some(connection) = &mut self.connections[n] else { return Ok(()) };
            let count = match connection.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut bytes = std::mem::take(&mut connection.rest);
            let whole = if bytes.is_empty() {
                &buffer[..count]
            } else {
                bytes.extend_from_slice(&buffer[..count]);
                &bytes[..]
            };
            let used = self.hear(n, whole)?;
            let rest = whole[used..].to_vec();
            if let Some(connection) = &mut self.connections[n] {
                connection.rest = rest;
            }
            // A short read took all there was: what comes later is another event.
            if count < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Takes whole frames, and gives how many bytes they were.
    fn hear(&mut self, n: usize, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        if self.connections[n].as_ref().is_some_and(|connection| connection.room.is_none()) {
            match head_end(bytes) {
                Some(end) => self.upgrade(n, &bytes[..end])?,
                None => return Ok(0),
            }
            used = head_end(bytes).unwrap_or(0);
        }
        while let Some(frame) = first_frame(&bytes[used..]) {
            let payload = frame.unmasked(&bytes[used..]);
            used += frame.whole;
            match frame.opcode {
                TEXT => self.broadcast(n, &payload),
                PING => {
                    let mut pong = Vec::new();
                    put_frame(&mut pong, PONG, None, &payload);
                    self.write(n, &[IoSlice::new(&pong)]);
                }
                CLOSE => return Err(ErrorKind::ConnectionAborted.into()),
                _ => {}
            }
        }
        Ok(used)
    }

    fn upgrade(&mut self, n: usize, head: &[u8]) -> io::Result<()> {
        let head = std::str::from_utf8(head).map_err(|_| ErrorKind::InvalidData)?;
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        let key = head.lines().filter_map(|line| line.split_once(':'));
        let key = key.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, key)| key.trim());
        let accept = derive_accept_key(key.last().ok_or(ErrorKind::InvalidData)?.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let next = self.rooms.len();
        let room = *self.names.entry(path).or_insert(next);
        if room == next {
            self.rooms.push(Room::default());
        }
        self.rooms[room].members.push(n);
        if let Some(connection) = &mut self.connections[n] {
            connection.room = Some(room);
        }
        self.write(n, &[IoSlice::new(answer.as_bytes())]);
        Ok(())
    }

    fn broadcast(&mut self, n: usize, payload: &[u8]) {
        let Some(room) = self.connections[n].as_ref().and_then(|connection| connection.room) else { return };
        let mut frame = Vec::with_capacity(payload.len() + 4);
        put_frame(&mut frame, TEXT, None, payload);
        self.rooms[room].frames.push(frame);
        match self.writes {
            Writes::Each => self.deliver_to(room),
            Writes::Coalesced if self.rooms[room].frames.len() == 1 => self.due.push(room),
            Writes::Coalesced if self.rooms[room].frames.len() == SLICES_MAX => self.deliver_to(room),
            Writes::Coalesced => {}
        }
    }

    fn deliver(&mut self) {
        for room in std::mem::take(&mut self.due) {
            self.deliver_to(room);
        }
    }

    fn deliver_to(&mut self, room: usize) {
        let frames = std::mem::take(&mut self.rooms[room].frames);
        let slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        if slices.is_empty() {
            return;
        }
        // By place: one that cannot be written to leaves the room meanwhile.
        for place in (0..self.rooms[room].members.len()).rev() {
            let member = self.rooms[room].members[place];
            self.write(member, &slices);
        }
    }

    /// Writes at once, and keeps what the socket does not take.
    fn write(&mut self, n: usize, slices: &[IoSlice<'_>]) {
        let Some(connection) = &mut self.connections[n] else { return };
        let mut taken = 0;
        if connection.backlog.is_empty() {
            match connection.stream.write_vectored(slices) {
                Ok(count) => taken = count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return self.close(n),
            }
        }
        for slice in slices {
            let skip = taken.min(slice.len());
            connection.backlog.extend_from_slice(&slice[skip..]);
            taken -= skip;
        }
        if connection.backlog.len() > BACKLOG_BYTES_MAX {
            self.close(n);
        }
    }

    fn push_backlog(&mut self, n: usize) {
        let Some(connection) = &mut self.connections[n] else { return };
        while !connection.backlog.is_empty() {
            match connection.stream.write(&connection.backlog) {
                Ok(count) => drop(connection.backlog.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(n),
            }
        }
        connection.backlog = Vec::new();
    }

    fn close(&mut self, n: usize) {
        let Some(connection) = self.connections[n].take() else { return };
        if let Some(room) = connection.room {
            self.rooms[room].members.retain(|member| *member != n);
        }
        self.free.push(n);
    }
}
