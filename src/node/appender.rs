//! The way of sends, edits and deletions into the store: group commit. While one batch is being committed the next one
//! gathers; of each room at most one batch is under way, so that a room's order is the order of arrival.

mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::metrics::Metrics;
use crate::config;
use crate::error::{Error, Result};
use crate::failpoints::{self, Point};
use crate::model::{RoomId, Slug, User};
use crate::store::{Append, Appended, Change, Changed, Store, StoreError};
use waiting::State;

/// Before an append whose outcome is unknown is tried again; grows by doubling up to the second value.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How often waiting jobs are looked through for those whose time is over.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// Something to be stored, and who is told what became of it.
pub struct Job {
    pub slug: Slug,
    pub by: User,
    pub what: What,
    deadline: Instant,
    /// Taken when the outcome was told; the store may still be at work then.
    done: Option<Done>,
}

pub enum What {
    Send(Append),
    Change(Change),
}

/// What became of a job that was not refused.
#[derive(Debug)]
pub enum Stored {
    Append(Appended),
    Change(Changed),
}

pub type Done = Box<dyn FnOnce(&Job, Result<&Stored>) + Send>;

/// Called for everything the store did, before the sender is told: delivery starts here.
pub trait Committed: Send + Sync + 'static {
    fn committed(&self, job: &Job, stored: &Stored);
}

pub struct Appender {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    work: Notify,
    idle: Notify,
    metrics: Arc<Metrics>,
    queue_max: usize,
    batch_max: usize,
    timeout: Duration,
}

impl Job {
    fn room(&self) -> RoomId {
        match &self.what {
            What::Send(append) => append.room,
            What::Change(change) => change.room,
        }
    }

    fn tell(&mut self, outcome: Result<&Stored>) {
        if let Some(done) = self.done.take() {
            done(self, outcome);
        }
    }
}

impl Appender {
    pub fn new(store: Arc<dyn Store>, config: &config::Node, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            state: Mutex::default(),
            work: Notify::new(),
            idle: Notify::new(),
            metrics,
            queue_max: config.append_queue,
            batch_max: config.append_batch,
            timeout: Duration::from_millis(config.append_timeout_ms),
        }
    }

    /// Starts the workers; they end with the runtime.
    pub fn start(self: &Arc<Self>, workers: usize, committed: &Arc<impl Committed>) {
        for _ in 0..workers {
            let (appender, committed) = (self.clone(), committed.clone());
            tokio::spawn(async move {
                loop {
                    let batch = appender.next_batch().await;
                    appender.run(batch, &committed).await;
                }
            });
        }
        let appender = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
            loop {
                ticks.tick().await;
                appender.expire();
            }
        });
    }

    /// Queues a job; `done` is called once, with what became of it, at the latest a moment after the append timeout.
    /// Never waits; a full queue is told through `done` too.
    pub fn submit(&self, slug: Slug, by: User, what: What, done: Done) {
        let mut job = Job { slug, by, what, deadline: Instant::now() + self.timeout, done: Some(done) };
        let mut state = self.lock();
        if state.waiting >= self.queue_max {
            drop(state);
            job.tell(Err(Error::unavailable("too much is waiting to be stored; try again")));
            return;
        }
        state.push(job);
        self.metrics.append_queue.set(state.waiting as f64);
        drop(state);
        self.work.notify_one();
    }

    /// Returns when nothing waits and nothing is under way.
    pub async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            {
                let state = self.lock();
                if state.is_idle() {
                    return;
                }
            }
            idle.await;
        }
    }

    async fn next_batch(&self) -> Vec<Job> {
        loop {
            let gather = {
                let mut state = self.lock();
                let now = Instant::now();
                let gather = state.gather(now, self.batch_max);
                if gather.is_zero() {
                    let batch = state.claim(self.batch_max);
                    if !batch.is_empty() {
                        state.begins(now, batch.len());
                        self.metrics.append_queue.set(state.waiting as f64);
                        if state.has_ready() {
                            self.work.notify_one();
                        }
                        return batch;
                    }
                }
                // One waits, and takes what there is then.
                let waits = !gather.is_zero() && state.has_ready() && !state.gathering;
                state.gathering |= waits;
                waits.then_some(gather)
            };
            match gather {
                Some(gather) => {
                    tokio::time::sleep(gather).await;
                    self.lock().gathering = false;
                }
                None => self.work.notified().await,
            }
        }
    }

    /// Stores a batch, retrying what is unknown until its time is over, and gives the rooms free again.
    async fn run(self: &Arc<Self>, mut batch: Vec<Job>, committed: &Arc<impl Committed>) {
        let rooms = rooms_of(&batch);
        let started = Instant::now();
        self.metrics.append_batch_size.record(batch.len() as f64);
        let mut retry = RETRY_MIN;
        let mut busy = Vec::new();
        while !batch.is_empty() {
            match self.attempt(&mut batch, false).await {
                Ok(outcomes) => {
                    busy = settle(batch, outcomes, committed.as_ref());
                    break;
                }
                Err(StoreError::Internal(why)) => {
                    tell_all(&mut batch, &Error::Internal(why));
                    break;
                }
                Err(_) => {
                    batch.retain_mut(|job| !expired(job));
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
        self.metrics.append_seconds.record(started.elapsed().as_secs_f64());
        let still_busy = rooms_of(&busy);
        self.release(rooms.into_iter().filter(|room| !still_busy.contains(room)));
        for room in still_busy {
            let alone: Vec<Job> = busy.extract_if(.., |job| job.room() == room).collect();
            let (appender, committed) = (self.clone(), committed.clone());
            tokio::spawn(async move { appender.run_alone(room, alone, &committed).await });
        }
    }

    /// A room that another node held: by itself, waiting for its clock, so that it delays nobody else.
    async fn run_alone(self: &Arc<Self>, room: RoomId, mut batch: Vec<Job>, committed: &Arc<impl Committed>) {
        let mut retry = RETRY_MIN;
        while !batch.is_empty() {
            match self.attempt(&mut batch, true).await {
                Ok(outcomes) => batch = settle(batch, outcomes, committed.as_ref()),
                Err(StoreError::Internal(why)) => {
                    tell_all(&mut batch, &Error::Internal(why));
                    break;
                }
                Err(_) => {}
            }
            batch.retain_mut(|job| !expired(job));
            if !batch.is_empty() {
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
        self.release([room]);
    }

    /// One try. The call itself is never cancelled: what it stores must still be delivered. Jobs whose time ends
    /// meanwhile are told `unavailable`, the room stays taken until the store has answered.
    async fn attempt(&self, batch: &mut [Job], wait: bool) -> Result<Vec<Stored>, StoreError> {
        let store = self.store.clone();
        let mut call: tokio::task::JoinHandle<Result<Vec<Stored>, StoreError>> = match batch {
            [Job { what: What::Change(change), .. }] => {
                let change = change.clone();
                tokio::spawn(async move { Ok(vec![Stored::Change(store.change(&change).await?)]) })
            }
            _ => {
                let sends: Vec<Append> = batch
                    .iter()
                    .filter_map(|job| match &job.what {
                        What::Send(append) => Some(append.clone()),
                        What::Change(_) => None,
                    })
                    .collect();
                tokio::spawn(async move {
                    failpoints::reach(Point::BeforeCommit, |text| holds(&sends, text)).await;
                    let stored = store.append(&sends, wait).await?;
                    failpoints::reach(Point::AfterCommit, |text| holds(&sends, text)).await;
                    Ok(stored.into_iter().map(Stored::Append).collect())
                })
            }
        };
        let outcome = loop {
            let next = batch.iter().filter(|job| job.done.is_some()).map(|job| job.deadline).min();
            let Some(next) = next else { break (&mut call).await };
            match tokio::time::timeout_at(next.into(), &mut call).await {
                Ok(outcome) => break outcome,
                Err(_) => batch.iter_mut().for_each(|job| {
                    expired(job);
                }),
            }
        };
        outcome.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    /// Tells jobs that waited too long; they were never handed to the store, but a client must not count on that.
    fn expire(&self) {
        let mut late = {
            let mut state = self.lock();
            let late = state.expire(Instant::now());
            if late.is_empty() {
                return;
            }
            self.metrics.append_queue.set(state.waiting as f64);
            if state.is_idle() {
                self.idle.notify_waiters();
            }
            late
        };
        tell_all(&mut late, &Error::unavailable("the message could not be stored in time; try again"));
    }

    fn release(&self, rooms: impl IntoIterator<Item = RoomId>) {
        let mut state = self.lock();
        for room in rooms {
            state.release(room);
        }
        let (more, idle) = (state.has_ready(), state.is_idle());
        drop(state);
        if more {
            self.work.notify_one();
        }
        if idle {
            self.idle.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes outcomes on; gives back the jobs whose room was busy.
fn settle(batch: Vec<Job>, outcomes: Vec<Stored>, committed: &impl Committed) -> Vec<Job> {
    let mut busy = Vec::new();
    for (mut job, stored) in batch.into_iter().zip(outcomes) {
        match stored {
            Stored::Append(Appended::Busy) => busy.push(job),
            Stored::Append(Appended::Refused(refusal)) | Stored::Change(Changed::Refused(refusal)) => {
                job.tell(Err(refusal.into()));
            }
            stored => {
                committed.committed(&job, &stored);
                job.tell(Ok(&stored));
            }
        }
    }
    busy
}

fn holds(sends: &[Append], text: &str) -> bool {
    sends.iter().any(|send| send.content.as_str().contains(text))
}

fn rooms_of(batch: &[Job]) -> Vec<RoomId> {
    let mut rooms: Vec<RoomId> = batch.iter().map(Job::room).collect();
    rooms.sort_unstable();
    rooms.dedup();
    rooms
}

fn tell_all(jobs: &mut [Job], error: &Error) {
    for job in jobs {
        job.tell(Err(error.clone()));
    }
}

/// Tells a job whose time is over; `true`: it is.
fn expired(job: &mut Job) -> bool {
    let over = job.deadline <= Instant::now();
    if over {
        job.tell(Err(Error::unavailable("it is not known whether the message was stored; send it again")));
    }
    over
}
