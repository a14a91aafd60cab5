//! Messages through a swarm: at a rate, or as fast as they come back; measured for a while, then waited for.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Result;
use super::ledger::{Faults, Ledger, Tag};
use super::swarm::Swarm;

/// An unanswered message stops its sender for so long at most; then it counts as not coming.
const STALL: Duration = Duration::from_secs(2);
/// Of latencies.
const MICROS_MAX: u64 = 60_000_000;
/// From one sender to the next, since neighbours are of one room; a prime, so that all have their turn.
const STRIDE: usize = 101;
/// How late a send may be: what epoll's timer can do.
const GRAIN: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// The first sockets of each room send; each has so many messages under way.
    Closed { senders_per_room: usize, in_flight: u32, by: Paced },
    /// Messages a second over all; all sockets take turns.
    Open { per_s: u32 },
}

/// What ends a message's being under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paced {
    /// The sender's own copy, as every server gives it.
    ByCopy,
    /// The acknowledgement, where there is one.
    ByAck,
}

#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    pub pace: Pace,
    /// Bytes of a message's text.
    pub content_bytes: usize,
    pub warmup: Duration,
    pub measured: Duration,
    /// How long after the last send everything may take to come.
    pub settle: Duration,
}

/// What was counted in the measured time, and the faults of the whole run.
pub struct Measured<C> {
    pub elapsed: Duration,
    pub sent: u64,
    pub acked: u64,
    pub deliveries: u64,
    pub receipts: Histogram<u64>,
    pub faults: Faults,
    /// Messages whose senders waited for them in vain.
    pub stalled: u64,
    /// What was read of the processes when the measured time began, and when it ended.
    pub cpu: (C, C),
}

struct Run {
    traffic: Traffic,
    clock: Instant,
    ledger: Ledger,
    senders: Vec<Sender>,
    /// By socket: its place among the senders.
    sender_of: Vec<Option<usize>>,
    measuring: bool,
    counts: Counts,
    receipts: Histogram<u64>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    sent: u64,
    acked: u64,
    deliveries: u64,
    stalled: u64,
}

struct Sender {
    socket: usize,
    room: usize,
    under_way: u32,
    heard: Instant,
}

impl Traffic {
    /// `cpu` is asked when the measured time begins and when it ends.
    pub fn run<C>(self, swarm: &mut Swarm, mut cpu: impl FnMut() -> C) -> Result<Measured<C>> {
        let mut run = Run::new(self, swarm);
        run.until(swarm, self.warmup, true)?;
        let (began, before, cpu_before) = (Instant::now(), run.counts, cpu());
        run.measuring = true;
        run.until(swarm, self.warmup + self.measured, true)?;
        run.measuring = false;
        let (elapsed, counts, cpu_after) = (began.elapsed(), run.counts, cpu());
        let last = run.clock.elapsed();
        while !run.is_quiet() && run.clock.elapsed() < last + self.settle {
            run.until(swarm, run.clock.elapsed() + Duration::from_millis(50), false)?;
        }
        Ok(Measured {
            elapsed,
            sent: counts.sent - before.sent,
            acked: counts.acked - before.acked,
            deliveries: counts.deliveries - before.deliveries,
            receipts: run.receipts,
            faults: run.ledger.faults(),
            stalled: run.counts.stalled,
            cpu: (cpu_before, cpu_after),
        })
    }
}

impl Run {
    fn new(traffic: Traffic, swarm: &Swarm) -> Self {
        let clock = Instant::now();
        let (mut ledger, mut senders, mut sender_of, mut in_room) =
            (Ledger::default(), Vec::new(), Vec::new(), Vec::new());
        for (socket, seat) in swarm.seats().enumerate() {
            ledger.add(seat.room, seat.joins);
            in_room.resize(in_room.len().max(seat.room + 1), 0);
            let sends = match traffic.pace {
                Pace::Closed { senders_per_room, .. } => in_room[seat.room] < senders_per_room,
                Pace::Open { .. } => true,
            };
            in_room[seat.room] += 1;
            sender_of.push(sends.then_some(senders.len()));
            if sends {
                senders.push(Sender { socket, room: seat.room, under_way: 0, heard: clock });
            }
        }
        let receipts = Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("the bounds are sound");
        let counts = Counts::default();
        Self { traffic, clock, ledger, senders, sender_of, measuring: false, counts, receipts }
    }

    /// Goes on until the run's clock shows `end`.
    fn until(&mut self, swarm: &mut Swarm, end: Duration, sending: bool) -> Result<()> {
        let mut checked = self.clock.elapsed();
        loop {
            let now = self.clock.elapsed();
            if now >= end {
                return Ok(());
            }
            let mut wait = end - now;
            if sending {
                match self.traffic.pace {
                    Pace::Open { per_s } => wait = wait.min(self.send_due(swarm, per_s, now)),
                    Pace::Closed { in_flight, .. } => self.refill(swarm, in_flight),
                }
            }
            if now > checked + Duration::from_millis(200) {
                checked = now;
                self.give_up_stalled();
            }
            self.turn(swarm, wait.min(Duration::from_millis(100)))?;
        }
    }

    fn turn(&mut self, swarm: &mut Swarm, wait: Duration) -> Result<()> {
        let dialect = swarm.dialect().clone();
        let by = match self.traffic.pace {
            Pace::Closed { by, .. } => by,
            Pace::Open { .. } => Paced::ByCopy,
        };
        swarm.turn(wait, |socket, text| match Tag::find(text) {
            Some(tag) => {
                self.received(socket, &tag);
                if by == Paced::ByCopy && tag.sender as usize == socket {
                    self.came_back(socket);
                }
            }
            None if dialect.is_ack(text) => {
                self.counts.acked += 1;
                if by == Paced::ByAck {
                    self.came_back(socket);
                }
            }
            None => {}
        })
    }

    fn received(&mut self, socket: usize, tag: &Tag) {
        self.counts.deliveries += 1;
        self.ledger.receive(socket, tag);
        if self.measuring {
            let micros = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.receipts.saturating_record(micros.saturating_sub(tag.micros).max(1));
        }
    }

    fn came_back(&mut self, socket: usize) {
        if let Some(sender) = self.sender_of[socket] {
            let sender = &mut self.senders[sender];
            sender.under_way = sender.under_way.saturating_sub(1);
            sender.heard = Instant::now();
        }
    }

    fn refill(&mut self, swarm: &mut Swarm, in_flight: u32) {
        for place in 0..self.senders.len() {
            while self.senders[place].under_way < in_flight {
                self.send(swarm, place);
            }
        }
    }

    /// Sends what is due by now; how long until the next one is.
    fn send_due(&mut self, swarm: &mut Swarm, per_s: u32, now: Duration) -> Duration {
        let due = (now.as_secs_f64() * f64::from(per_s)) as u64;
        while self.counts.sent < due {
            let place = usize::try_from(self.counts.sent).unwrap_or(0) * STRIDE % self.senders.len();
            self.send(swarm, place);
        }
        GRAIN
    }

    fn send(&mut self, swarm: &mut Swarm, place: usize) {
        let sender = &mut self.senders[place];
        if sender.under_way == 0 {
            sender.heard = Instant::now();
        }
        sender.under_way += 1;
        let (socket, room) = (sender.socket, sender.room);
        let tag = Tag {
            room: u32::try_from(room).unwrap_or(u32::MAX),
            sender: u32::try_from(socket).unwrap_or(u32::MAX),
            n: self.ledger.send(socket),
            micros: u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        let tag = tag.text();
        let content = format!("{tag:x<width$}", width = self.traffic.content_bytes);
        let frame = swarm.dialect().message(room, &tag, &content);
        swarm.say(socket, frame.as_bytes());
        self.counts.sent += 1;
    }

    fn give_up_stalled(&mut self) {
        for sender in &mut self.senders {
            if sender.under_way > 0 && sender.heard.elapsed() > STALL {
                self.counts.stalled += u64::from(sender.under_way);
                sender.under_way = 0;
            }
        }
    }

    fn is_quiet(&self) -> bool {
        let acked = match self.traffic.pace {
            Pace::Closed { by: Paced::ByAck, .. } => self.counts.acked >= self.counts.sent,
            _ => true,
        };
        acked && self.ledger.is_settled()
    }
}
