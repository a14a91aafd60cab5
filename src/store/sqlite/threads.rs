//! The threads that have the connections: one writes, a few read. Calls come to them through bounded queues, so the
//! runtime never waits for a disk.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{mpsc, oneshot};

use super::super::{Result, StoreError};
use crate::config;
use crate::error::Error;

/// Calls that share one commit, and so one wait for the disk.
const GROUP_MAX: usize = 256;

/// Statements kept prepared on each connection; more than there are.
const STATEMENTS_MAX: usize = 128;

pub struct Threads {
    /// `None` only while being dropped: the threads end when their queue is closed.
    queues: Option<Queues>,
    handles: Vec<JoinHandle<()>>,
    wait_timeout: Duration,
    answer_timeout: Duration,
}

struct Queues {
    writes: mpsc::Sender<Box<dyn Work>>,
    reads: mpsc::Sender<Box<dyn Work>>,
}

/// A call on its way through a thread: done first, told of only when its transaction has ended.
trait Work: Send {
    /// Whether what it did is to be kept.
    fn run(&mut self, db: &Connection) -> bool;
    fn settle(self: Box<Self>, committed: &Result<()>);
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    /// Where it is known what runs it now.
    fn runs_on(&self) -> &RunsOn;
}

struct Call<T, F> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
    runs_on: RunsOn,
}

/// While a read runs: how to break it off. Held while that is done, so that the next read on the same connection is not
/// met.
type RunsOn = Arc<Mutex<Option<Arc<InterruptHandle>>>>;

impl Threads {
    pub fn start(path: &Path, config: &config::Database, guard: Option<File>) -> crate::error::Result<Self> {
        let guard = Arc::new(guard);
        let busy_timeout = Duration::from_millis(config.wait_timeout_ms);
        let open = || connect(path, busy_timeout).map_err(|error| cannot_open(path, error));
        let (writes, write_queue) = mpsc::channel(config.queue.max(1));
        let (reads, read_queue) = mpsc::channel(config.queue.max(1));

        let db = open()?;
        let mut handles = vec![spawn("salon-writer", guard.clone(), move || write_all(&db, write_queue))?];
        let read_queue = Arc::new(Mutex::new(read_queue));
        for _ in 0..config.readers.max(1) {
            let (db, queue) = (open()?, read_queue.clone());
            handles.push(spawn("salon-reader", guard.clone(), move || read_all(&db, &queue))?);
        }
        Ok(Self {
            queues: Some(Queues { writes, reads }),
            handles,
            wait_timeout: busy_timeout,
            answer_timeout: Duration::from_millis(config.statement_timeout_ms),
        })
    }

    /// In a transaction that may be shared with other calls; an error takes back this call's part only.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.call(self.queues.as_ref().map(|queues| &queues.writes), work).await
    }

    /// In a transaction of its own: all that `work` reads is of one snapshot.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.call(self.queues.as_ref().map(|queues| &queues.reads), work).await
    }

    async fn call<T, F>(&self, queue: Option<&mpsc::Sender<Box<dyn Work>>>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let unavailable = |why: &str| StoreError::Unavailable(why.to_owned());
        let queue = queue.ok_or_else(|| unavailable("the store is closed"))?;
        let (reply, answer) = oneshot::channel();
        let runs_on = RunsOn::default();
        let call = Box::new(Call { work: Some(work), outcome: None, reply, runs_on: runs_on.clone() });
        let _waiting = Waiting(runs_on);
        queue.send_timeout(call, self.wait_timeout).await.map_err(|_| unavailable("too many calls are waiting"))?;
        match tokio::time::timeout(self.answer_timeout, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(unavailable("the database's thread is gone")),
            Err(_) => Err(unavailable("no answer in time")),
        }
    }
}

/// Whoever waits for a read. A search that nobody waits for any more must not keep its thread from others; what is
/// written is never broken off, for it would take its neighbours along.
struct Waiting(RunsOn);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(running) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            running.interrupt();
        }
    }
}

/// So that the file is free for another process, or another value, when this one is gone.
impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.queues.take());
        for handle in self.handles.drain(..) {
            // A thread that panicked has said so already.
            let _ = handle.join();
        }
    }
}

impl<T, F> Work for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T> + Send,
{
    fn run(&mut self, db: &Connection) -> bool {
        self.outcome = self.work.take().map(|work| work(db));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn settle(self: Box<Self>, committed: &Result<()>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(outcome), Ok(())) => outcome,
            (_, Err(error)) => Err(error.clone()),
            (None, Ok(())) => Err(StoreError::Internal("a call was not run".into())),
        };
        // Who asked may have gone away; what was done stays done.
        let _ = self.reply.send(outcome);
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn runs_on(&self) -> &RunsOn {
        &self.runs_on
    }
}

/// A connection with everything set that a durable, shared file needs.
pub fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(busy_timeout)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(db)
}

fn spawn(
    name: &str,
    guard: Arc<Option<File>>,
    work: impl FnOnce() + Send + 'static,
) -> crate::error::Result<JoinHandle<()>> {
    let body = move || {
        work();
        // The file stays ours until the last thread is done with it.
        drop(guard);
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| Error::Internal(format!("a thread for the database: {error}")))
}

/// Two processes on one file would each keep their own idea of who is online and hear nothing of each other. The lock
/// is on a file beside it, since SQLite's own locks come and go with transactions; it ends with the process.
pub fn guard(path: &Path) -> crate::error::Result<File> {
    let failed = |error: io::Error| cannot_open(path, error);
    make_folder(path)?;
    // Through a link it is the same file.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = real.into_os_string();
    name.push(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(PathBuf::from(name)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Conflict(format!("another process is using {} (database.url)", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

pub fn make_folder(path: &Path) -> crate::error::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::create_dir_all(folder).map_err(|error| cannot_open(path, error)),
        None => Ok(()),
    }
}

fn cannot_open(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("cannot open {} (database.url): {error}", path.display()))
}

fn write_all(db: &Connection, mut queue: mpsc::Receiver<Box<dyn Work>>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        let committed = commit(db, &mut group);
        if committed.is_err() && !db.is_autocommit() {
            // Nothing of it may leak into the next transaction. Failing here leaves that one to fail as well.
            let _ = db.execute_batch("ROLLBACK");
        }
        for call in group {
            call.settle(&committed);
        }
    }
}

fn commit(db: &Connection, group: &mut [Box<dyn Work>]) -> Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    for call in group {
        db.execute_batch("SAVEPOINT call")?;
        if !call.run(db) {
            if db.is_autocommit() {
                // A full disk, for one, takes back the whole transaction and not only the statement.
                return Err(StoreError::Unavailable("the transaction was broken off".into()));
            }
            db.execute_batch("ROLLBACK TO call")?;
        }
        db.execute_batch("RELEASE call")?;
    }
    Ok(db.execute_batch("COMMIT")?)
}

fn read_all(db: &Connection, queue: &Mutex<mpsc::Receiver<Box<dyn Work>>>) {
    let interrupt = Arc::new(db.get_interrupt_handle());
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(mut call) = next else { return };
        let runs_on = call.runs_on().clone();
        let runs = |handle| *runs_on.lock().unwrap_or_else(PoisonError::into_inner) = handle;
        let begun = db.execute_batch("BEGIN").map_err(StoreError::from);
        if begun.is_ok() {
            runs(Some(interrupt.clone()));
            // Looked at only now: who gives up from here on breaks it off.
            if !call.is_abandoned() {
                call.run(db);
            }
            runs(None);
            // It only read: ending its snapshot is all there is to do.
            let _ = db.execute_batch("ROLLBACK");
        }
        call.settle(&begun);
    }
}
