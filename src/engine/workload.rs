//! Many clients over many nodes and rooms at once, at random but by a seed; then quiet, and the judgement.

mod driver;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Result;
use super::checker::{History, Report, check};
use super::client::{Client, Credentials, Options};
use super::http::{Account, Http};
use super::log::{Act, Answer, Clock, Event, Log};
use driver::{Driver, ROOM_PATIENCE};

/// Accounts being made at once: each costs the server a password hash.
const REGISTRATIONS: usize = 4;

#[derive(Debug, Clone)]
pub struct Plan {
    /// `http://host:port` of each node.
    pub nodes: Vec<String>,
    pub clients: usize,
    pub rooms: usize,
    /// First part of every name, so that several runs can share a server.
    pub prefix: String,
    pub seed: u64,
    pub mix: Mix,
    pub pace: Pace,
    pub stop: Stop,
    pub content_chars: usize,
    /// Longest wait of a client before it comes back.
    pub backoff_max: Duration,
}

/// How likely a step is something else than a send; the rest are sends.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    pub edit: f64,
    pub delete: f64,
    /// Leaves a room, and comes back after a few steps.
    pub leave: f64,
    /// Drops its connection.
    pub cut: f64,
}

#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each client keeps so many operations under way.
    InFlight(usize),
    /// All clients together, whatever the answers take.
    PerSecond(f64),
}

#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// So many steps of each client.
    After(usize),
    For(Duration),
    /// When [`Running::finish`] is called.
    Told,
}

/// A workload under way.
#[derive(Debug)]
pub struct Running {
    plan: Plan,
    pub clients: Vec<Arc<Client>>,
    /// Slugs.
    pub rooms: Vec<String>,
    /// A caller who may read all rooms.
    pub reader: Arc<Account>,
    drivers: JoinSet<Result<()>>,
    stop: Arc<AtomicBool>,
    /// For who logs beside the clients.
    pub clock: Clock,
    /// Up to which id messages of a room (by its slug) were removed for their age.
    pub purged: BTreeMap<String, u64>,
}

/// A workload that has ended.
#[derive(Debug)]
pub struct Finished {
    pub logs: Vec<Log>,
    pub histories: Vec<History>,
    pub report: Report,
    pub took: Duration,
}

/// How long things took, each sorted.
#[derive(Debug, Clone, Default)]
pub struct Timings {
    /// From the first attempt to the ack.
    pub ack: Vec<Duration>,
    /// From the first attempt to each joined client being told.
    pub delivery: Vec<Duration>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            clients: 12,
            rooms: 3,
            prefix: "load".to_owned(),
            seed: 1,
            mix: Mix { edit: 0.15, delete: 0.07, leave: 0.01, cut: 0.005 },
            pace: Pace::InFlight(4),
            stop: Stop::After(100),
            content_chars: 40,
            backoff_max: Duration::from_secs(2),
        }
    }
}

impl Plan {
    /// Makes users and rooms, connects everybody, and starts.
    pub async fn start(self) -> Result<Running> {
        let clock = Clock::start();
        let accounts = self.accounts().await?;
        let first = accounts.first().ok_or("a workload needs a client")?.clone();
        let mut rooms = Vec::new();
        for number in 0..self.rooms {
            rooms.push(first.http.create_room(&format!("{}-room-{number}", self.prefix), "public").await?.slug);
        }
        let mut clients = Vec::new();
        for (number, account) in accounts.iter().enumerate() {
            clients.push(Arc::new(Client::start(self.options(number, account, clock).await?)));
        }
        for client in &clients {
            for room in &rooms {
                client.join(room, ROOM_PATIENCE).await?;
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut drivers = JoinSet::new();
        for (number, client) in clients.iter().enumerate() {
            let driver = Driver {
                client: client.clone(),
                rooms: rooms.clone(),
                rng: SmallRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(number as u64)),
                plan: self.clone(),
                stop: stop.clone(),
                waiting: Vec::new(),
                steps: 0,
                away: None,
            };
            drivers.spawn(driver.run());
        }
        Ok(Running { plan: self, clients, rooms, reader: first, drivers, stop, clock, purged: BTreeMap::new() })
    }

    /// Starts, runs to the end of the plan, and judges.
    pub async fn run(self, quiet_within: Duration) -> Result<Finished> {
        let mut running = self.start().await?;
        running.driven().await?;
        running.finish(quiet_within).await
    }

    async fn accounts(&self) -> Result<Vec<Arc<Account>>> {
        let mut accounts: Vec<Option<Arc<Account>>> = vec![None; self.clients];
        let mut making = JoinSet::new();
        for number in 0..self.clients {
            if making.len() >= REGISTRATIONS {
                take_made(&mut making, &mut accounts).await?;
            }
            let node = self.nodes.get(number % self.nodes.len().max(1)).ok_or("a workload needs a node")?.clone();
            let name = format!("{}-{number}", self.prefix);
            making.spawn(async move { Account::register(&node, &name).await.map(|account| (number, account)) });
        }
        while !making.is_empty() {
            take_made(&mut making, &mut accounts).await?;
        }
        Ok(accounts.into_iter().flatten().collect())
    }

    async fn options(&self, number: usize, account: &Account, clock: Clock) -> Result<Options> {
        // Every way of showing who one is gets its share.
        let credentials = match number % 3 {
            0 => Credentials::Cookies(account.http.cookie_header("/ws").unwrap_or_default()),
            1 => Credentials::Bearer(account.token().await?),
            _ => Credentials::Subprotocol(account.token().await?),
        };
        Ok(Options {
            first_node: number,
            clock,
            seed: self.seed.wrapping_add(number as u64),
            backoff_min: self.backoff_max.min(Duration::from_millis(200)),
            backoff_max: self.backoff_max,
            ..Options::new(&self.nodes, &account.user.username, credentials)
        })
    }
}

impl Running {
    /// Acknowledged operations of all clients so far.
    pub fn acked(&self) -> u64 {
        self.clients.iter().map(|client| client.acked()).sum()
    }

    /// Waits until so many more operations are acknowledged: proof that the cluster works *now*.
    pub async fn progress(&self, more: u64, within: Duration) -> Result<()> {
        let target = self.acked() + more;
        let reached = async {
            while self.acked() < target {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(within, reached).await.map_err(|_| {
            let missing = target.saturating_sub(self.acked());
            format!("{missing} of {more} further acks missing after {within:?}")
        })
    }

    /// Waits until every driver has come to its end.
    pub async fn driven(&mut self) -> Result<()> {
        while let Some(ended) = self.drivers.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    /// Stops the drivers, brings every client back into every room, waits for quiet and judges. That somebody did
    /// not reach the head in time is the checker's to say.
    pub async fn finish(mut self, quiet_within: Duration) -> Result<Finished> {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + quiet_within;
        let left = || deadline.saturating_duration_since(Instant::now());
        timeout(left(), self.driven()).await.map_err(|_| format!("drivers still run after {quiet_within:?}"))??;
        for client in &self.clients {
            client.settled(left()).await?;
            for room in &self.rooms {
                if !client.view(room).joined {
                    client.join(room, left()).await?;
                }
            }
        }
        let histories = self.histories().await?;
        for client in &self.clients {
            for history in &histories {
                if let Err(error) = client.reaches(&history.room, history.head, left()).await {
                    tracing::warn!(error, "a client did not reach the head");
                }
            }
        }
        let took = self.clock.now();
        let logs: Vec<Log> = self.clients.iter().map(|client| client.log()).collect();
        let report = check(&logs, &histories);
        Ok(Finished { logs, histories, report, took })
    }

    /// From whichever node answers.
    async fn histories(&self) -> Result<Vec<History>> {
        let mut failure = "no node".to_owned();
        'nodes: for node in &self.plan.nodes {
            let http: Http = self.reader.http.at(node);
            let mut histories = Vec::new();
            for room in &self.rooms {
                match http.history(room).await {
                    Ok(history) => {
                        let purged = self.purged.get(room).copied().unwrap_or(0);
                        histories.push(History { purged, ..history });
                    }
                    Err(error) => {
                        failure = error;
                        continue 'nodes;
                    }
                }
            }
            return Ok(histories);
        }
        Err(failure)
    }
}

impl Finished {
    pub fn timings(&self) -> Timings {
        let mut timings = Timings::default();
        let mut sent = std::collections::HashMap::new();
        for log in &self.logs {
            let mut tried = vec![None; log.ops.len()];
            for entry in &log.entries {
                match &entry.event {
                    Event::Attempt { op, .. } => {
                        let first = *tried[*op].get_or_insert(entry.at);
                        if let Act::Send { nonce, .. } = &log.ops[*op].act {
                            sent.entry(nonce.as_str()).or_insert(first);
                        }
                    }
                    Event::Answer { op, answer: Answer::Acked { .. }, .. } => {
                        timings.ack.extend(tried[*op].take().map(|first| entry.at.saturating_sub(first)));
                    }
                    _ => {}
                }
            }
        }
        let told = self.logs.iter().flat_map(|log| &log.entries).filter_map(|entry| match &entry.event {
            Event::Live { change, .. } if change.id == change.seq => Some((entry.at, change.nonce.as_deref()?)),
            _ => None,
        });
        timings.delivery = told.filter_map(|(at, nonce)| Some(at.saturating_sub(*sent.get(nonce)?))).collect();
        timings.ack.sort_unstable();
        timings.delivery.sort_unstable();
        timings
    }
}

/// The value below which that part of a sorted series lies.
pub fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the series")]
    let place = (last as f64 * part).round() as usize;
    sorted.get(place.min(last)).copied().unwrap_or_default()
}

type Made = Result<(usize, Account)>;

async fn take_made(making: &mut JoinSet<Made>, accounts: &mut [Option<Arc<Account>>]) -> Result<()> {
    if let Some(made) = making.join_next().await {
        let (number, account) = made.map_err(|error| error.to_string())??;
        accounts[number] = Some(Arc::new(account));
    }
    Ok(())
}
