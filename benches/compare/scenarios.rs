//! What is done with each server.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::load::{Measured, Pace, Paced, Seat, Swarm, Traffic};
use super::servers::{Backends, Kind, Running, Spent};
use super::support::Result;
use super::{Options, pgbench};

/// Of a message, as in the published comparisons.
const CONTENT_BYTES: usize = 128;
/// Messages a second of the scenario `small`.
const SMALL_PER_S: u32 = 2_000;
/// The same of the scenarios with more and more rooms.
const GROWING_PER_S: u32 = 1_000;
const SOCKETS: usize = 5_000;
const ROOM_OF_CONNECT: usize = 50;
/// Sockets being opened at the same time.
const AT_ONCE: usize = 64;
const OPEN_WITHIN: Duration = Duration::from_secs(120);
const WARMUP: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_secs(15);
/// Until the leaves of who made the rooms are told, and a server is at rest.
const REST: Duration = Duration::from_secs(4);
/// Makes rooms; sits in none when it counts.
const MAKER: usize = 999_999;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// 1 room of 500; 4 senders with 8 messages under way each.
    Big,
    /// 100 rooms of 10; 2,000 messages a second.
    Small,
    /// 5,000 sockets, 64 at a time, in rooms of 50; then their memory; then as many again of the same users.
    Connect,
    /// salon: 100 rooms, 8 sends under way in each, through one node. Postgres alone: pgbench.
    Sends,
    /// 1,000 messages a second over so many rooms of 2, one on each node. Only when named.
    #[value(name = "rooms-10")]
    Rooms10,
    #[value(name = "rooms-100")]
    Rooms100,
    #[value(name = "rooms-1000")]
    Rooms1000,
    /// As many as a process with 20,000 descriptors can have sockets for.
    #[value(name = "rooms-9900")]
    Rooms9900,
}

/// A name and a value; the unit is in the name.
pub type Figures = Vec<(&'static str, f64)>;

impl Scenario {
    /// Those that make the published comparison.
    pub const COMPARED: [Self; 4] = [Self::Big, Self::Small, Self::Connect, Self::Sends];
    /// Those that tell how cost grows with rooms, and how many each has.
    pub const GROWING: [(Self, usize); 4] =
        [(Self::Rooms10, 10), (Self::Rooms100, 100), (Self::Rooms1000, 1_000), (Self::Rooms9900, 9_900)];

    pub fn measures(self, kind: Kind) -> bool {
        self != Self::Sends || kind == Kind::Salon
    }

    pub fn run(self, backends: &Backends, kind: Kind, name: &str, options: &Options) -> Result<Figures> {
        let mut running = backends.start_nodes(kind, name)?;
        self.measure(backends, &mut running, options).map_err(|why| format!("{why}{}", running.said()))
    }

    fn measure(self, backends: &Backends, running: &mut Running, options: &Options) -> Result<Figures> {
        let seats = self.seats();
        make_rooms(running, &seats)?;
        match self {
            Self::Big => {
                let pace = Pace::Closed { senders_per_room: 4, in_flight: 8, by: Paced::ByCopy };
                messages(backends, running, &seats, pace, options)
            }
            Self::Small => messages(backends, running, &seats, Pace::Open { per_s: SMALL_PER_S }, options),
            Self::Rooms10 | Self::Rooms100 | Self::Rooms1000 | Self::Rooms9900 => {
                messages(backends, running, &seats, Pace::Open { per_s: GROWING_PER_S }, options)
            }
            Self::Connect => connect(backends, running, &seats),
            Self::Sends => {
                let pace = Pace::Closed { senders_per_room: 1, in_flight: 8, by: Paced::ByAck };
                running.addresses.truncate(1);
                let figures = messages(backends, running, &seats, pace, options)?;
                Ok(figures.into_iter().filter(|(name, _)| name.starts_with("acked") || *name == "own_cpu").collect())
            }
        }
    }

    fn seats(self) -> Vec<Seat> {
        let (rooms, members) = match self {
            Self::Big => (1, 500),
            Self::Small => (100, 10),
            Self::Connect => (SOCKETS / ROOM_OF_CONNECT, ROOM_OF_CONNECT),
            Self::Sends => (100, 1),
            growing => {
                let rooms = Self::GROWING.iter().find(|(scenario, _)| *scenario == growing);
                (rooms.map_or(0, |(_, rooms)| *rooms), 2)
            }
        };
        // Neighbours are of one room, so that each room has half of its members on each node.
        let seat = |user| Seat { user, room: user / members, joins: self != Self::Sends };
        (0..rooms * members).map(seat).collect()
    }
}

/// Postgres by itself, at the rate of `small` and as fast as it can.
pub fn alone(backends: &Backends, name: &str, options: &Options) -> Result<Figures> {
    let alone = pgbench::measure(backends, name, SMALL_PER_S, CONTENT_BYTES, options.seconds)?;
    Ok(vec![
        ("append_cpu_us", alone.append_cpu_us),
        ("commit_p99_ms", alone.commit_p99_ms),
        ("appends_per_s", alone.appends_per_s),
        ("inserts_per_s", alone.inserts_per_s),
    ])
}

fn make_rooms(running: &Running, seats: &[Seat]) -> Result<()> {
    let Some(dialect) = running.kind.making_dialect() else { return Ok(()) };
    let rooms = seats.iter().map(|seat| seat.room).max().map_or(0, |last| last + 1);
    let seats: Vec<Seat> = (0..rooms).map(|room| Seat { user: MAKER, room, joins: true }).collect();
    let mut swarm = Swarm::new(dialect, running.addresses.clone())?;
    swarm.open(&seats, 8, OPEN_WITHIN)?;
    drop(swarm);
    std::thread::sleep(REST);
    Ok(())
}

fn messages(backends: &Backends, running: &Running, seats: &[Seat], pace: Pace, options: &Options) -> Result<Figures> {
    let mut swarm = Swarm::new(running.kind.dialect(), running.addresses.clone())?;
    swarm.open(seats, AT_ONCE, OPEN_WITHIN)?;
    let measured = Duration::from_secs(options.seconds);
    let traffic = Traffic { pace, content_bytes: CONTENT_BYTES, warmup: WARMUP, measured, settle: SETTLE };
    let Measured { elapsed, sent, acked, deliveries, receipts, faults, stalled, cpu } =
        traffic.run(&mut swarm, || backends.spent(running))?;
    let Spent { nodes, redis, postgres, own } = cpu.1.since(cpu.0);
    let seconds = elapsed.as_secs_f64();
    let each = |micros: u64, of: u64| micros as f64 / of.max(1) as f64;
    let ms = |quantile| receipts.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(vec![
        ("sent_per_s", sent as f64 / seconds),
        ("acked_per_s", acked as f64 / seconds),
        ("deliveries_per_s", deliveries as f64 / seconds),
        ("cpu_us_per_delivery", each(nodes + redis, deliveries)),
        ("nodes_cpu_us_per_delivery", each(nodes, deliveries)),
        ("redis_cpu_us_per_delivery", each(redis, deliveries)),
        ("postgres_cpu_us_per_message", each(postgres, sent)),
        ("p50_ms", ms(0.5)),
        ("p99_ms", ms(0.99)),
        ("p999_ms", ms(0.999)),
        ("max_ms", receipts.max() as f64 / 1000.0),
        ("lost", faults.lost as f64),
        ("doubled", faults.doubled as f64),
        ("reordered", faults.reordered as f64),
        ("strange", faults.strange as f64),
        ("stalled", stalled as f64),
        // Of one processor.
        ("own_cpu", own as f64 / 1e6 / seconds),
    ])
}

fn connect(backends: &Backends, running: &Running, seats: &[Seat]) -> Result<Figures> {
    let mut swarm = Swarm::new(running.kind.dialect(), running.addresses.clone())?;
    rest(&mut swarm)?;
    let (empty, before) = (running.resident_kib(), backends.spent(running));
    swarm.open(seats, AT_ONCE, OPEN_WITHIN)?;
    let first = backends.spent(running).since(before);
    let announced = swarm.announcements;
    rest(&mut swarm)?;
    let (full, before) = (running.resident_kib(), backends.spent(running));
    // The same users once more: nobody comes online, so nobody is told.
    let took = swarm.open(seats, AT_ONCE, OPEN_WITHIN)?;
    let again = backends.spent(running).since(before);
    let sockets = seats.len() as f64;
    Ok(vec![
        ("idle_kib", full.saturating_sub(empty) as f64 / sockets),
        ("empty_kib", empty as f64),
        ("connect_cpu_us", again.nodes as f64 / sockets),
        ("connects_per_s", sockets / took.as_secs_f64()),
        ("connect_redis_cpu_us", again.redis as f64 / sockets),
        ("connect_postgres_cpu_us", again.postgres as f64 / sockets),
        ("first_connect_cpu_us", first.nodes as f64 / sockets),
        ("announcements_per_connect", announced as f64 / sockets),
        ("announcements_of_second", (swarm.announcements - announced) as f64),
    ])
}

/// Lets the servers come to rest, and answers their pings meanwhile.
fn rest(swarm: &mut Swarm) -> Result<()> {
    let until = Instant::now() + REST;
    while Instant::now() < until {
        swarm.turn(Duration::from_millis(50), |_, _| {})?;
    }
    Ok(())
}
