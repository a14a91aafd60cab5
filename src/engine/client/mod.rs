//! A whole chat client, as the protocol expects one: it keeps epoch and last `seq` of each room, comes back to
//! another node with full jitter, resumes by `after`, keeps what was not acknowledged and sends it again with the
//! same nonce. All it does and sees goes into its [`Log`].

mod actor;
mod link;
mod ops;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Result;
use super::http::Http;
use super::log::{Act, Clock, Entry, Event, Log, Op, Outcome};

/// Commands that wait for the client's task; who issues more waits.
const COMMANDS: usize = 1_024;

/// How many own messages of a room are remembered, for edits and deletions.
const OWN_KEPT: usize = 64;

#[derive(Debug, Clone)]
pub struct Options {
    /// `http://host:port` of each node.
    pub nodes: Vec<String>,
    /// Place in `nodes` of the first one; after that it chooses at random.
    pub first_node: usize,
    pub user: String,
    pub credentials: Credentials,
    pub clock: Clock,
    pub seed: u64,
    /// Full jitter between nothing and this, doubling from the first to the second.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// An attempt that has no answer by then is made again, with the same nonce.
    pub answer_patience: Duration,
    /// An operation that is not settled by then is given up as unknown.
    pub patience: Duration,
}

#[derive(Debug, Clone)]
pub enum Credentials {
    Bearer(String),
    /// The value of a `Cookie` header.
    Cookies(String),
    /// By the subprotocols `salon.v1` and `bearer.<JWT>`.
    Subprotocol(String),
}

/// A running client. Dropping it ends its task.
#[derive(Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the client holds of one room.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub joined: bool,
    pub epoch: Option<String>,
    /// The last `seq` it was told; `None`: never joined.
    pub seq: Option<u64>,
    pub users: BTreeSet<String>,
    pub user_count: u64,
    /// The code with which the last join was refused.
    pub refused: Option<String>,
    /// Own acknowledged messages, the latest ones.
    pub own: Vec<u64>,
}

#[derive(Debug)]
enum Command {
    Join { room: String },
    Leave { room: String, forget: bool },
    Act { op: usize, done: oneshot::Sender<Outcome> },
    Cut,
    Finish,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// Bumped at every change of the state, for who waits for one.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    log: Log,
    rooms: HashMap<String, View>,
    /// The node it is connected to.
    node: Option<usize>,
    in_flight: usize,
    acked: u64,
    told: u64,
    /// Why it does not come back.
    ended: Option<String>,
}

impl Options {
    pub fn new(nodes: &[String], user: &str, credentials: Credentials) -> Self {
        Self {
            nodes: nodes.to_vec(),
            first_node: 0,
            user: user.to_owned(),
            credentials,
            clock: Clock::start(),
            seed: 1,
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            answer_patience: Duration::from_secs(8),
            patience: Duration::from_secs(90),
        }
    }

    /// With the cookies of somebody who is logged in.
    pub fn with_cookies(nodes: &[String], user: &str, http: &Http) -> Self {
        Self::new(nodes, user, Credentials::Cookies(http.cookie_header("/ws").unwrap_or_default()))
    }
}

impl Client {
    /// Starts connecting at once; must be called within a tokio runtime.
    pub fn start(options: Options) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let state = State { log: Log::new(&options.user), ..State::default() };
        let shared =
            Arc::new(Shared { clock: options.clock, state: Mutex::new(state), changed: watch::Sender::new(0) });
        let task = tokio::spawn(actor::Actor::new(options, shared.clone(), receiver).run());
        Self { commands, shared, task }
    }

    /// Joins and waits for the answer; resumes where the room was left. A joined room is joined again, unwaited.
    pub async fn join(&self, room: &str, within: Duration) -> Result<View> {
        self.shared.update(|state| {
            let view = state.rooms.entry(room.to_owned()).or_default();
            view.refused = None;
        });
        self.command(Command::Join { room: room.to_owned() }).await;
        self.wait(&format!("{room} to be joined"), within, |state| {
            state.rooms.get(room).is_some_and(|view| view.joined || view.refused.is_some())
        })
        .await?;
        let view = self.view(room);
        match view.refused {
            Some(code) => Err(format!("joining {room} was refused: {code}")),
            None => Ok(view),
        }
    }

    /// With `forget` a later join starts afresh instead of resuming.
    pub async fn leave(&self, room: &str, forget: bool, within: Duration) -> Result<()> {
        self.command(Command::Leave { room: room.to_owned(), forget }).await;
        let left = |state: &State| state.rooms.get(room).is_none_or(|view| !view.joined);
        self.wait(&format!("{room} to be left"), within, left).await
    }

    /// Issues an operation; it is under way when this returns. The receiver gets how it ended, within the
    /// client's patience.
    pub async fn act(&self, room: &str, act: Act) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        let op = self.shared.update(|state| {
            state.in_flight += 1;
            state.log.ops.push(Op { room: room.to_owned(), act });
            state.log.ops.len() - 1
        });
        self.command(Command::Act { op, done }).await;
        outcome
    }

    /// Sends under a fresh nonce and waits for how it ended.
    pub async fn send(&self, room: &str, content: &str) -> Outcome {
        self.settle(room, Act::Send { nonce: fresh_nonce(), content: content.to_owned() }).await
    }

    pub async fn edit(&self, room: &str, id: u64, content: &str) -> Outcome {
        self.settle(room, Act::Edit { id, content: content.to_owned() }).await
    }

    pub async fn delete(&self, room: &str, id: u64) -> Outcome {
        self.settle(room, Act::Delete { id }).await
    }

    pub async fn settle(&self, room: &str, act: Act) -> Outcome {
        self.act(room, act).await.await.unwrap_or(Outcome::Unknown)
    }

    /// Drops the connection without a word; the client comes back by itself.
    pub async fn cut(&self) {
        self.command(Command::Cut).await;
    }

    pub fn view(&self, room: &str) -> View {
        self.shared.lock().rooms.get(room).cloned().unwrap_or_default()
    }

    /// Rooms that it is in now, with where it stands.
    pub fn standing(&self) -> Vec<(String, u64)> {
        let state = self.shared.lock();
        let joined = state.rooms.iter().filter(|(_, view)| view.joined);
        joined.map(|(room, view)| (room.clone(), view.seq.unwrap_or(0))).collect()
    }

    /// The place in `nodes` of the node it is connected to.
    pub fn node(&self) -> Option<usize> {
        self.shared.lock().node
    }

    pub fn in_flight(&self) -> usize {
        self.shared.lock().in_flight
    }

    pub fn acked(&self) -> u64 {
        self.shared.lock().acked
    }

    /// Changes told live so far.
    pub fn told(&self) -> u64 {
        self.shared.lock().told
    }

    /// Why it does not come back, if so.
    pub fn ended(&self) -> Option<String> {
        self.shared.lock().ended.clone()
    }

    /// Waits until it stands at `seq` or beyond in a room.
    pub async fn reaches(&self, room: &str, seq: u64, within: Duration) -> Result<()> {
        let stands =
            |state: &State| state.rooms.get(room).is_some_and(|view| view.joined && view.seq.unwrap_or(0) >= seq);
        self.wait(&format!("{} to reach {seq} in {room}", self.shared.lock().log.user), within, stands).await
    }

    /// Waits until a room's view is as wanted.
    pub async fn sees(&self, room: &str, what: &str, within: Duration, wanted: impl Fn(&View) -> bool) -> Result<()> {
        self.wait(what, within, |state| state.rooms.get(room).is_some_and(&wanted)).await
    }

    /// Waits until nothing is in flight.
    pub async fn settled(&self, within: Duration) -> Result<()> {
        self.wait("all operations to settle", within, |state| state.in_flight == 0).await
    }

    pub async fn connected(&self, within: Duration) -> Result<()> {
        self.wait("a connection", within, |state| state.node.is_some()).await
    }

    /// A copy of all it did and saw so far.
    pub fn log(&self) -> Log {
        self.shared.lock().log.clone()
    }

    /// Closes properly and gives the record, which ends before the close.
    pub async fn finish(mut self) -> Log {
        let log = self.log();
        self.command(Command::Finish).await;
        // Bounded: a server that does not answer the close is not waited for.
        let _ = timeout(Duration::from_secs(2), &mut self.task).await;
        log
    }

    async fn command(&self, command: Command) {
        // The task lives as long as this handle.
        let _ = self.commands.send(command).await;
    }

    async fn wait(&self, what: &str, within: Duration, reached: impl Fn(&State) -> bool) -> Result<()> {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                {
                    let state = self.shared.lock();
                    if reached(&state) {
                        return Ok(());
                    }
                    if let Some(why) = &state.ended {
                        return Err(format!("waited for {what}, the client ended: {why}"));
                    }
                }
                if changed.changed().await.is_err() {
                    return Err(format!("waited for {what}, the client is gone"));
                }
            }
        };
        timeout(within, waiting).await.unwrap_or_else(|_| {
            let state = self.shared.lock();
            Err(format!("waited {within:?} for {what}; {} at node {:?}: {:?}", state.log.user, state.node, state.rooms))
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.lock());
        self.changed.send_modify(|version| *version += 1);
        value
    }

    fn record(&self, event: Event) {
        let at = self.clock.now();
        self.lock().log.entries.push(Entry { at, event });
    }
}

impl State {
    fn room(&mut self, room: &str) -> &mut View {
        self.rooms.entry(room.to_owned()).or_default()
    }
}

impl View {
    fn keep_own(&mut self, id: u64) {
        if self.own.len() == OWN_KEPT {
            self.own.remove(0);
        }
        self.own.push(id);
    }
}

/// Names a send for good.
pub fn fresh_nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}
