//! Whether every member of a room got each message once, and all of them in one order.
//!
//! A server need not number its messages. So a message takes the next place of its room when the first member gets it:
//! if all members get one order, each gets the places in order. Whoever gets a smaller place after a larger one shows
//! that there is another order than the first one seen.

use std::collections::BTreeSet;

/// What a message says of itself, at the beginning of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    pub room: u32,
    /// The socket that sent it, and its how manieth.
    pub sender: u32,
    pub n: u32,
    /// When it was sent, on the clock of the run.
    pub micros: u64,
}

#[derive(Debug, Default)]
pub struct Ledger {
    /// By the number of a socket.
    members: Vec<Member>,
    /// Places taken, by room.
    next: Vec<u32>,
    /// Messages sent, by room.
    sent: Vec<u32>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults {
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Not sent by this run.
    pub strange: u64,
}

#[derive(Debug, Default)]
struct Member {
    room: usize,
    joins: bool,
    /// The place of each message it sent.
    places: Vec<Option<u32>>,
    /// It got all places below, those missing aside.
    next: u32,
    missing: BTreeSet<u32>,
    received: u64,
    doubled: u64,
    reordered: u64,
    strange: u64,
}

impl Tag {
    /// `~room sender n micros~` in hexadecimal of fixed width; no other frame of any server has a tilde.
    pub fn text(&self) -> String {
        format!("~{:04x}{:05x}{:08x}{:011x}~", self.room, self.sender, self.n, self.micros)
    }

    /// The first tag in a frame.
    pub fn find(frame: &[u8]) -> Option<Self> {
        let digits = frame.get(memchr::memchr(b'~', frame)? + 1..)?;
        let number = |from: usize, to: usize| {
            digits
                .get(from..to)?
                .iter()
                .try_fold(0, |sum: u64, digit| Some(sum << 4 | u64::from((*digit as char).to_digit(16)?)))
        };
        let short = |from, to| u32::try_from(number(from, to)?).ok();
        Some(Self { room: short(0, 4)?, sender: short(4, 9)?, n: short(9, 17)?, micros: number(17, 28)? })
    }
}

impl Ledger {
    /// Sockets are numbered in this order.
    pub fn add(&mut self, room: usize, joins: bool) {
        let rooms = self.next.len().max(room + 1);
        self.next.resize(rooms, 0);
        self.sent.resize(rooms, 0);
        self.members.push(Member { room, joins, ..Member::default() });
    }

    /// The number of the socket's next message.
    pub fn send(&mut self, socket: usize) -> u32 {
        let member = &mut self.members[socket];
        member.places.push(None);
        self.sent[member.room] += 1;
        u32::try_from(member.places.len() - 1).unwrap_or(u32::MAX)
    }

    pub fn receive(&mut self, socket: usize, tag: &Tag) {
        let room = self.members[socket].room;
        let sender = self.members.get_mut(tag.sender as usize).filter(|sender| sender.room == room);
        let known = sender.and_then(|sender| sender.places.get_mut(tag.n as usize));
        let (Some(place), true) = (known, tag.room as usize == room) else {
            self.members[socket].strange += 1;
            return;
        };
        let place = *place.get_or_insert_with(|| {
            self.next[room] += 1;
            self.next[room] - 1
        });
        self.members[socket].receive(place);
    }

    /// Whether everybody has got everything.
    pub fn is_settled(&self) -> bool {
        self.members.iter().all(|member| !member.joins || member.distinct() == u64::from(self.sent[member.room]))
    }

    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for member in &self.members {
            if member.joins {
                faults.lost += u64::from(self.sent[member.room]) - member.distinct();
            }
            faults.doubled += member.doubled;
            faults.reordered += member.reordered;
            faults.strange += member.strange;
        }
        faults
    }
}

impl Member {
    fn receive(&mut self, place: u32) {
        self.received += 1;
        if place >= self.next {
            self.missing.extend(self.next..place);
            self.next = place + 1;
        } else if self.missing.remove(&place) {
            self.reordered += 1;
        } else {
            self.doubled += 1;
        }
    }

    fn distinct(&self) -> u64 {
        self.received - self.doubled
    }
}
