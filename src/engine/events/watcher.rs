//! An `EventSource` that logs what it sees: it comes back after the time it was told, tells where it stood, and knows
//! nothing of epochs, nodes or close codes. A load balancer is played by a list of nodes, of which the next is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::Result;
use super::super::log::{Clock, Entry, Event as Logged, Log, Snapshot};
use super::super::wire::{Joined, Kind, text};
use super::{Asking, Event, NoStream};

/// What browsers wait before they come back until they are told otherwise.
const RETRY: Duration = Duration::from_secs(3);

/// Dropping it ends it.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    log: Log,
    seq: Option<u64>,
    connections: u32,
    ended: Option<String>,
}

impl Watcher {
    /// `nodes` are asked in turn, from the first on; whoever watches shows these cookies.
    pub fn start(nodes: &[String], room: &str, user: &str, cookies: &str, clock: Clock) -> Self {
        let shared = Arc::new(Mutex::new(State { log: Log::new(user), ..State::default() }));
        let run = Run {
            nodes: nodes.to_vec(),
            room: room.to_owned(),
            cookies: cookies.to_owned(),
            clock,
            shared: shared.clone(),
            last_id: String::new(),
            retry: RETRY,
        };
        Self { shared, task: tokio::spawn(run.run()) }
    }

    pub fn log(&self) -> Log {
        lock(&self.shared).log.clone()
    }

    /// How often it was connected.
    pub fn connections(&self) -> u32 {
        lock(&self.shared).connections
    }

    /// Waits until it was told all up to `seq`.
    pub async fn reaches(&self, seq: u64, within: Duration) -> Result<()> {
        self.waits(&format!("to reach {seq}"), within, |state| state.seq.is_some_and(|told| told >= seq)).await
    }

    /// Waits until it was connected so often.
    pub async fn connected(&self, times: u32, within: Duration) -> Result<()> {
        self.waits(&format!("{times} connections"), within, |state| state.connections >= times).await
    }

    async fn waits(&self, what: &str, within: Duration, reached: impl Fn(&State) -> bool) -> Result<()> {
        let waiting = async {
            loop {
                {
                    let state = lock(&self.shared);
                    if reached(&state) {
                        return Ok(());
                    }
                    if let Some(why) = &state.ended {
                        return Err(format!("waited for {what}, it gave up: {why}"));
                    }
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(within, waiting).await;
        waited.unwrap_or_else(|_| {
            let state = lock(&self.shared);
            Err(format!("waited {within:?} for {what}; stands at {:?} on connection {}", state.seq, state.connections))
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Run {
    nodes: Vec<String>,
    room: String,
    cookies: String,
    clock: Clock,
    shared: Arc<Mutex<State>>,
    last_id: String,
    retry: Duration,
}

impl Run {
    async fn run(mut self) {
        for attempt in 0.. {
            let node = attempt % self.nodes.len().max(1);
            let mut asking = Asking::new(&self.nodes[node], &self.room).header("cookie", &self.cookies);
            if !self.last_id.is_empty() {
                asking = asking.header("last-event-id", &self.last_id);
            }
            match asking.open().await {
                Ok(mut events) => {
                    let connection = self.connected(node);
                    let mut resumed_after = self.last_id.parse().ok();
                    let why = loop {
                        match events.next().await {
                            Ok(event) => {
                                if let Err(error) = self.heard(connection, &event, &mut resumed_after) {
                                    self.record(Logged::Unreadable { frame: format!("{error}: {event:?}") });
                                }
                            }
                            Err(why) => break why,
                        }
                    };
                    self.retry = events.retry.unwrap_or(self.retry);
                    self.record(Logged::Disconnected { connection, why });
                }
                Err(NoStream::Failed(_)) => {}
                Err(NoStream::Answered(answer)) => {
                    lock(&self.shared).ended = Some(format!("{} {}", answer.status, answer.json()));
                    return;
                }
            }
            sleep(self.retry).await;
        }
    }

    fn connected(&self, node: usize) -> u32 {
        let connection = {
            let mut state = lock(&self.shared);
            state.connections += 1;
            state.connections
        };
        self.record(Logged::Connected { connection, node });
        connection
    }

    fn heard(&mut self, connection: u32, event: &Event, resumed_after: &mut Option<u64>) -> Result<()> {
        let frame = event.frame()?;
        if text(&frame, "type") != event.kind {
            return Err("the event is called otherwise than its frame".to_owned());
        }
        let moves = event.kind == "joined" || Kind::is_change(&event.kind);
        let place = frame["seq"].as_u64().filter(|_| moves);
        if event.id != place.map(|seq| seq.to_string()) {
            return Err(format!("its id is {:?}", event.id));
        }
        if event.kind == "joined" {
            let joined: Joined = parse(&frame)?;
            self.record(Logged::Joined(Box::new(Snapshot {
                connection,
                room: joined.room,
                // Of the first `joined` of a stream; a later one is the server's own doing.
                asked_after: resumed_after.take(),
                asked_epoch: None,
                epoch: joined.epoch,
                seq: joined.seq,
                reset: joined.reset,
                more: joined.more,
                changes: joined.messages,
            })));
        } else if moves {
            self.record(Logged::Live { connection, change: Box::new(parse(&frame)?) });
        } else if event.kind == "removed" {
            let reason = text(&frame, "reason").to_owned();
            self.record(Logged::Removed { room: self.room.clone(), reason });
        }
        if let (Some(id), Some(seq)) = (&event.id, place) {
            self.last_id.clone_from(id);
            lock(&self.shared).seq = Some(seq);
        }
        Ok(())
    }

    fn record(&self, event: Logged) {
        let at = self.clock.now();
        lock(&self.shared).log.entries.push(Entry { at, event });
    }
}

fn parse<'a, T: Deserialize<'a>>(frame: &'a Value) -> Result<T> {
    T::deserialize(frame).map_err(|error| error.to_string())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
