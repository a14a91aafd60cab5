//! The client's task: one loop over the socket, the commands and the clock.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::log::{Answer, Event, Outcome, Snapshot};
use super::super::observe::{Seen, saw};
use super::super::socket::{Incoming, Refused, Socket};
use super::super::wire::{Ack, Change, Joined, Kind, text};
use super::link::{Coming, Link};
use super::ops::{Due, Pending};
use super::{Command, Options, Shared};

/// Rooms in one `join` frame.
const JOIN_BATCH: usize = 100;

/// With nothing due the clock is looked at this often.
const IDLE: Duration = Duration::from_secs(1);

/// `after` and `epoch` of one join.
type Asked = (Option<u64>, Option<String>);

pub(super) struct Actor {
    options: Options,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    link: Link,
    socket: Option<Socket>,
    coming: Option<Coming>,
    connection: u32,
    pending: Pending,
    /// Rooms it wants to be in, and when to ask (again).
    wanted: BTreeMap<String, Instant>,
    /// What was asked in the joins that have no answer yet, oldest first.
    asked: HashMap<String, VecDeque<Asked>>,
    /// Rooms whose place is to be forgotten once they are left.
    forgetting: BTreeSet<String>,
    finished: bool,
}

impl Actor {
    pub fn new(options: Options, shared: Arc<Shared>, commands: mpsc::Receiver<Command>) -> Self {
        let mut link = Link::new(&options);
        let coming = Some(link.first());
        Self {
            options,
            shared,
            commands,
            link,
            socket: None,
            coming,
            connection: 0,
            pending: Pending::default(),
            wanted: BTreeMap::new(),
            asked: HashMap::new(),
            forgetting: BTreeSet::new(),
            finished: false,
        }
    }

    pub async fn run(mut self) {
        while !self.finished {
            let wake = self.wake();
            tokio::select! {
                incoming = next_of(&mut self.socket) => self.heard(incoming),
                (node, opened) = arrival(&mut self.coming) => self.arrived(node, opened),
                command = self.commands.recv() => self.told(command).await,
                () = sleep_until(wake) => {}
            }
            self.work().await;
        }
    }

    fn wake(&self) -> Instant {
        let connected = self.socket.is_some();
        let ops = self.pending.wake(connected, self.options.answer_patience, self.options.patience);
        let joins = self.wanted.values().min().copied().filter(|_| connected);
        [ops, joins, Some(Instant::now() + IDLE)].into_iter().flatten().min().unwrap_or_else(Instant::now)
    }

    /// Does what is due: joins first, so that a resumption precedes what is sent again.
    async fn work(&mut self) {
        if self.socket.is_some() {
            self.ask_to_join().await;
        }
        for due in self.pending.due(self.socket.is_some(), self.options.answer_patience, self.options.patience) {
            match due {
                Due::GiveUp(op) => {
                    self.shared.record(Event::GaveUp { op });
                    self.settle(op, Outcome::Unknown);
                }
                Due::Attempt(op) if self.socket.is_some() => {
                    let Some(frame) = self.pending.attempt(op) else { continue };
                    self.shared.record(Event::Attempt { op, connection: self.connection });
                    self.put(frame).await;
                }
                Due::Attempt(_) => {}
            }
        }
    }

    async fn ask_to_join(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self.wanted.iter().filter(|(_, at)| **at <= now).map(|(room, _)| room.clone()).collect();
        for rooms in due.chunks(JOIN_BATCH) {
            let mut asks = Vec::new();
            for room in rooms {
                self.forget_if_asked(room);
                let view = self.shared.lock().room(room).clone();
                let held = view.seq.zip(view.epoch);
                let mut ask = json!({"room": room});
                if let Some((after, epoch)) = &held {
                    ask["after"] = json!(after);
                    ask["epoch"] = json!(epoch);
                }
                asks.push(ask);
                self.asked.entry(room.clone()).or_default().push_back(held.unzip());
                self.wanted.insert(room.clone(), now + self.options.answer_patience);
            }
            self.put(json!({"type": "join", "ref": "join", "rooms": asks})).await;
        }
    }

    async fn told(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Join { room }) => {
                self.wanted.insert(room, Instant::now());
            }
            Some(Command::Leave { room, forget }) => {
                self.wanted.remove(&room);
                self.put(json!({"type": "leave", "ref": "leave", "room": &room})).await;
                // Live frames may come until it has left.
                if forget {
                    self.forgetting.insert(room);
                }
            }
            Some(Command::Act { op, done }) => {
                let asked = self.shared.lock().log.ops[op].clone();
                self.pending.add(op, &asked, done);
                if self.shared.lock().ended.is_some() {
                    self.settle(op, Outcome::Unknown);
                }
            }
            Some(Command::Cut) => {
                if self.socket.is_some() {
                    self.lost("cut by the test", None);
                }
            }
            Some(Command::Finish) | None => {
                if let Some(socket) = self.socket.take() {
                    socket.close().await;
                }
                self.finished = true;
            }
        }
    }

    fn arrived(&mut self, node: usize, opened: Result<Socket, Refused>) {
        self.coming = None;
        match opened {
            Ok(socket) => {
                if self.socket.is_some() {
                    self.dropped("moved to another node");
                }
                self.link.connected();
                self.connection += 1;
                self.socket = Some(socket);
                self.shared.record(Event::Connected { connection: self.connection, node });
                self.shared.update(|state| state.node = Some(node));
                let now = Instant::now();
                self.wanted.values_mut().for_each(|at| *at = now);
            }
            Err(refused) if matches!(refused.status, 401 | 403 | 404) => self.end(&format!("{refused:?}")),
            Err(_) => self.coming = Some(self.link.again(Duration::ZERO)),
        }
    }

    /// The socket is gone without our doing.
    fn lost(&mut self, why: &str, code: Option<u16>) {
        self.dropped(why);
        match code {
            Some(4500..=4999) => self.end(&format!("closed with {code:?} {why}")),
            _ if self.coming.is_none() => self.coming = Some(self.link.again(Duration::ZERO)),
            _ => {}
        }
    }

    fn dropped(&mut self, why: &str) {
        self.socket = None;
        self.shared.record(Event::Disconnected { connection: self.connection, why: why.to_owned() });
        self.shared.update(|state| {
            state.node = None;
            state.rooms.values_mut().for_each(|view| view.joined = false);
        });
        self.pending.lost();
        self.asked.clear();
    }

    fn end(&mut self, why: &str) {
        self.coming = None;
        self.socket = None;
        for op in self.pending.numbers() {
            self.settle(op, Outcome::Unknown);
        }
        self.shared.update(|state| state.ended = Some(why.to_owned()));
    }

    fn heard(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Closed { code, reason } => self.lost(&format!("{code:?} {reason}"), code),
            Incoming::Frame(frame) => {
                if let Err(error) = self.frame(&frame) {
                    self.shared.record(Event::Unreadable { frame: format!("{error}: {frame}") });
                }
            }
        }
    }

    fn frame(&mut self, frame: &Value) -> Result<(), String> {
        let room = text(frame, "room");
        match text(frame, "type") {
            kind if Kind::is_change(kind) => self.changed(parse(frame)?),
            "joined" => self.joined(parse(frame)?),
            "ack" => self.acked(frame["ref"].as_u64(), parse(frame)?)?,
            "error" => self.refused(frame),
            "left" => self.gone(room, Event::Left { room: room.to_owned() }),
            "removed" => {
                self.wanted.remove(room);
                let reason = text(frame, "reason").to_owned();
                self.gone(room, Event::Removed { room: room.to_owned(), reason });
            }
            "user_join" | "user_leave" | "user_list" | "user_count" => self.presence(frame),
            "reconnect" => {
                let within = frame["within_ms"].as_u64().ok_or("no within_ms")?;
                if self.coming.is_none() {
                    self.coming = Some(self.link.elsewhere(Duration::from_millis(within)));
                }
            }
            "welcome" | "typing" | "read" | "room_updated" | "room_added" | "unread" | "pong" | "authenticated" => {}
            other => return Err(format!("unknown type {other:?}")),
        }
        Ok(())
    }

    fn changed(&mut self, change: Change) {
        let (room, seq) = (change.room.clone(), change.seq);
        self.shared.record(Event::Live { connection: self.connection, change: Box::new(change) });
        self.shared.update(|state| {
            state.told += 1;
            state.room(&room).seq = Some(seq);
        });
    }

    fn joined(&mut self, joined: Joined) {
        let (asked_after, asked_epoch) =
            self.asked.get_mut(&joined.room).and_then(VecDeque::pop_front).unwrap_or_default();
        let snapshot = Snapshot {
            connection: self.connection,
            room: joined.room.clone(),
            asked_after,
            asked_epoch,
            epoch: joined.epoch.clone(),
            seq: joined.seq,
            reset: joined.reset,
            more: joined.more,
            changes: joined.messages,
        };
        self.shared.record(Event::Joined(Box::new(snapshot)));
        if let Some(at) = self.wanted.get_mut(&joined.room) {
            *at = Instant::now() + Duration::from_secs(3_600);
        }
        self.shared.update(|state| {
            let view = state.room(&joined.room);
            view.joined = true;
            view.epoch = Some(joined.epoch);
            view.seq = Some(joined.seq);
            view.users = joined.users.into_iter().collect();
            view.user_count = joined.user_count;
        });
    }

    fn gone(&mut self, room: &str, event: Event) {
        self.shared.record(event);
        self.forget_if_asked(room);
        self.shared.update(|state| state.room(room).joined = false);
    }

    fn forget_if_asked(&mut self, room: &str) {
        if self.forgetting.remove(room) {
            self.shared.update(|state| {
                let view = state.room(room);
                (view.seq, view.epoch) = (None, None);
            });
        }
    }

    fn presence(&mut self, frame: &Value) {
        let user = text(frame, "user").to_owned();
        self.shared.update(|state| {
            let view = state.room(text(frame, "room"));
            view.user_count = frame["user_count"].as_u64().unwrap_or(view.user_count);
            match text(frame, "type") {
                "user_join" => drop(view.users.insert(user)),
                "user_leave" => drop(view.users.remove(&user)),
                "user_list" => view.users = serde_json::from_value(frame["users"].clone()).unwrap_or_default(),
                _ => {}
            }
        });
    }

    fn acked(&mut self, op: Option<u64>, ack: Ack) -> Result<(), String> {
        let op = self.op(op).ok_or("an ack without a ref of ours")?;
        let Ack { room, id, seq, duplicate } = ack;
        self.shared.record(Event::Answer {
            op,
            connection: self.connection,
            answer: Answer::Acked { id, seq, duplicate },
        });
        if self.settle(op, Outcome::Acked { id, seq, duplicate }) {
            self.shared.update(|state| {
                state.acked += 1;
                if matches!(state.log.ops[op].act, super::Act::Send { .. }) {
                    state.room(&room).keep_own(id);
                }
            });
        }
        Ok(())
    }

    fn refused(&mut self, frame: &Value) {
        let code = text(frame, "code");
        let pause = Duration::from_millis(frame["retry_after_ms"].as_u64().unwrap_or(0)) + self.link.pause();
        if let Some(op) = self.op(frame["ref"].as_u64()) {
            let unknown = code == "unavailable";
            let answer = if unknown { Answer::Unavailable } else { Answer::Refused { code: code.to_owned() } };
            self.shared.record(Event::Answer { op, connection: self.connection, answer });
            match code {
                "unavailable" | "rate_limited" => self.pending.again(op, pause, unknown),
                _ => drop(self.settle(op, Outcome::Refused { code: code.to_owned() })),
            }
        } else if text(frame, "ref") == "join" {
            let room = text(frame, "room").to_owned();
            self.asked.get_mut(&room).map(VecDeque::pop_front);
            if matches!(code, "unavailable" | "rate_limited") {
                self.wanted.entry(room).and_modify(|at| *at = Instant::now() + pause);
                return;
            }
            self.wanted.remove(&room);
            self.shared.record(Event::JoinRefused { room: room.clone(), code: code.to_owned() });
            self.shared.update(|state| state.room(&room).refused = Some(code.to_owned()));
        }
    }

    fn op(&self, number: Option<u64>) -> Option<usize> {
        let number = usize::try_from(number?).ok()?;
        (number < self.shared.lock().log.ops.len()).then_some(number)
    }

    fn settle(&mut self, op: usize, outcome: Outcome) -> bool {
        let settled = self.pending.settle(op, outcome);
        if settled {
            self.shared.update(|state| state.in_flight -= 1);
        }
        settled
    }

    async fn put(&mut self, frame: Value) {
        let Some(socket) = &mut self.socket else { return };
        saw(&Seen::Said(&frame));
        if let Err(error) = socket.send(frame).await {
            self.lost(&error, None);
        }
    }
}

async fn next_of(socket: &mut Option<Socket>) -> Incoming {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

async fn arrival(coming: &mut Option<Coming>) -> (usize, Result<Socket, Refused>) {
    match coming {
        Some(coming) => coming.await,
        None => std::future::pending().await,
    }
}

fn parse<'a, T: Deserialize<'a>>(frame: &'a Value) -> Result<T, String> {
    T::deserialize(frame).map_err(|error| error.to_string())
}
