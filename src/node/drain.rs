//! Going: every socket is asked to move, what is under way is finished, what is left is closed, and the cluster is told.
//! Each step has its share of the time given, so that the last of them comes to be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Node;
use super::close::Close;
use super::online::LEAVE_GRACE;
use super::session::Session;
use crate::protocol::frames::ServerFrame;

/// Between two sockets that are asked to move: not all at once, whatever their clients make of `within_ms` …
const ASK_INTERVAL: Duration = Duration::from_millis(10);
/// … but all of them within this time.
const ASK_WITHIN: Duration = Duration::from_secs(4);
/// Each then goes within this time, after a wait of its own.
const RECONNECT_WITHIN: Duration = Duration::from_secs(4);
/// What the last of them is given to open its new socket.
const LATE: Duration = Duration::from_millis(500);
/// What sockets are given to say their last frames and the close.
const LAST_FRAMES: Duration = Duration::from_secs(1);
/// What it takes at most to say a leave whose grace is over.
const LEAVES_TOLD: Duration = Duration::from_secs(1);
/// How often it is looked whether something is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How far a node's going has come.
#[derive(Default)]
pub struct Going {
    moving: AtomicBool,
    deaf: AtomicBool,
    /// Ends what runs beside the sockets, so that nothing of this node is written after it has left.
    left: CancellationToken,
    beside: TaskTracker,
}

/// The steps of moving the sockets away, and how long each may take: three quarters of the time given at most.
#[derive(Debug, PartialEq, Eq)]
struct Steps {
    ask: Duration,
    reconnect: Duration,
    late: Duration,
    appends: Duration,
    last_frames: Duration,
}

impl Steps {
    fn new(sockets: usize, within: Duration, append_timeout: Duration) -> Self {
        let asking = ASK_INTERVAL.saturating_mul(u32::try_from(sockets).unwrap_or(u32::MAX));
        Self {
            ask: asking.min(ASK_WITHIN).min(within / 5),
            reconnect: RECONNECT_WITHIN.min(within / 5),
            late: LATE.min(within / 20),
            appends: (append_timeout + LATE).min(within / 4),
            last_frames: LAST_FRAMES.min(within / 20),
        }
    }
}

impl Node {
    /// Whether the node has begun to serve; before that nobody was sent here.
    pub fn has_started(&self) -> bool {
        *self.begun.borrow()
    }

    /// From now on `/readyz` says that this node is going; it still takes whoever comes.
    pub fn begin_drain(&self) {
        self.health.drain();
        // Which writes it into this node's row.
        self.beacon_now.notify_one();
    }

    /// Whether a new socket would only have to move again at once.
    pub fn refuses_sockets(&self) -> bool {
        self.going.moving.load(Ordering::SeqCst)
    }

    /// Whether the sockets that are left are about to be closed: what they say now would not be answered any more, and
    /// is as good as never read.
    pub fn is_deaf(&self) -> bool {
        self.going.deaf.load(Ordering::SeqCst)
    }

    /// Asks every socket to move, waits for those that do, lets appends under way finish and closes what is left.
    /// Takes three quarters of `within` at most.
    pub async fn move_sockets(&self, within: Duration) {
        // First this, then who is here: a socket that comes beside it is in the list or is refused.
        self.going.moving.store(true, Ordering::SeqCst);
        let sessions = self.hub.sessions();
        let append_timeout = Duration::from_millis(self.config.node.append_timeout_ms);
        let steps = Steps::new(sessions.len(), within, append_timeout);
        let asked = sessions.len();
        ask_to_move(sessions, &steps).await;
        self.hub.emptied(steps.reconnect + steps.late).await;
        let stayed = self.hub.session_count();
        self.going.deaf.store(true, Ordering::SeqCst);
        if tokio::time::timeout(steps.appends, self.appender.drained()).await.is_err() {
            tracing::warn!("appends are still under way; their senders will ask again elsewhere");
        }
        self.hub.close_each(|_| Some(Close::Restarting));
        self.hub.emptied(steps.last_frames).await;
        tracing::info!(asked, stayed, cut = self.hub.session_count(), "sockets were moved");
    }

    /// Returns when every leave is told whose grace ran: who moved to another node is there by then, so that nobody sees
    /// them leave and come.
    pub async fn leaves_told(&self) {
        let until = Instant::now() + LEAVE_GRACE + LEAVES_TOLD;
        while !self.comings.is_settled() && Instant::now() < until {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Leaves the cluster: read marks, presence, its row, the broker. Nothing is written by this node afterwards.
    pub async fn leave_cluster(self: &Arc<Self>) {
        self.going.left.cancel();
        self.going.beside.close();
        self.going.beside.wait().await;
        if self.has_started() {
            if let Err(error) = self.write_marks().await {
                tracing::warn!(%error, "the read marks of the last second could not be written");
            }
            let (_, forgotten) = tokio::join!(self.resign(), self.store.forget_node(&self.incarnation.0));
            if let Err(error) = forgotten {
                tracing::warn!(%error, "this node's row could not be removed; it grows old by itself");
            }
        }
        self.broker.close(Duration::from_secs(1)).await;
    }

    /// Runs something beside the sockets until it ends or the node leaves the cluster.
    pub(super) fn run_beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        let left = self.going.left.clone();
        self.going.beside.spawn(left.run_until_cancelled_owned(work));
    }
}

async fn ask_to_move(sessions: Vec<Arc<Session>>, steps: &Steps) {
    let within_ms = u64::try_from(steps.reconnect.as_millis()).unwrap_or(u64::MAX);
    let frame = ServerFrame::Reconnect { within_ms, reason: "draining" }.encode();
    let interval = steps.ask / u32::try_from(sessions.len().max(1)).unwrap_or(u32::MAX);
    let mut next = tokio::time::Instant::now();
    for session in sessions {
        session.control(frame.clone());
        next += interval;
        tokio::time::sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_leave_a_quarter_of_the_time_and_few_sockets_are_asked_soon() {
        let append = Duration::from_millis(4_500);
        for (sockets, within) in [(0, 1), (3, 1), (1_000_000, 1), (12, 6), (10_000, 20), (10_000, 3_600)] {
            let within = Duration::from_secs(within);
            let Steps { ask, reconnect, late, appends, last_frames } = Steps::new(sockets, within, append);
            assert!(ask + reconnect + late + appends + last_frames <= within * 3 / 4, "{sockets} {within:?}");
        }
        let steps = Steps::new(12, Duration::from_secs(20), append);
        assert_eq!((steps.ask, steps.reconnect), (ASK_INTERVAL * 12, RECONNECT_WITHIN));
        assert_eq!(Steps::new(10_000, Duration::from_secs(20), append).ask, ASK_WITHIN);
    }
}
