//! What a socket is told: all that waits, in as few writes as it fits; pings; the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, poll};
use tokio::time::{Instant, timeout};

use crate::config;
use crate::node::{Close, Node, Session, Work};

/// Taken off the queue at once: what is taken is lost to a later overflow, so not too much.
const WRITE_BYTES: usize = 16 * 1024;
/// How long the end of a socket may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The connection ended without a close.
pub const BROKEN: u16 = 1006;

type Sink = SplitSink<WebSocket, Message>;

/// The socket cannot be written to any more.
struct Broken;

/// Writes until the session is told to close or the socket breaks; gives the close code to be counted.
pub async fn write(node: &Arc<Node>, session: &Arc<Session>, mut sink: Sink, heard: &AtomicBool) -> u16 {
    let stall = Duration::from_secs(node.config.node.stall_timeout_s);
    let mut pulse = Pulse::new(&node.config.node);
    // One timer for the socket's life, and no look at the clock before it rings: either costs as much as a delivery.
    let mut alarm = std::pin::pin!(tokio::time::sleep_until(pulse.next(session)));
    // From its first poll on it rings, also while there is always something to write.
    let _ = poll!(alarm.as_mut());
    loop {
        if alarm.is_elapsed() {
            let beat = pulse.beat(session, heard);
            if beat && let Err(code) = ping(&mut sink, stall).await {
                return code;
            }
            if beat {
                pulse.pinged();
            }
            alarm.as_mut().reset(pulse.next(session));
        }
        match session.work(WRITE_BYTES) {
            Some(Work::Close(close)) => return end(&mut sink, close).await,
            Some(Work::Write(frames)) => match within(stall, send(&mut sink, frames)).await {
                Some(Ok(())) => {}
                Some(Err(Broken)) => return BROKEN,
                None => return end(&mut sink, Close::Stalled).await,
            },
            Some(Work::CatchUp { room, after }) => node.catch_up(session, room, after).await,
            None => {
                tokio::select! {
                    () = session.woken() => {}
                    () = session.expiry_moved.notified() => alarm.as_mut().reset(pulse.next(session)),
                    () = alarm.as_mut() => {}
                }
            }
        }
    }
}

/// When a socket is pinged, when its pong is due, and when its token is over.
struct Pulse {
    heartbeat: Duration,
    pong: Duration,
    next_ping: Instant,
    pong_due: Option<Instant>,
}

impl Pulse {
    fn new(config: &config::Node) -> Self {
        let heartbeat = Duration::from_secs(config.heartbeat_s);
        let pong = Duration::from_secs(config.pong_timeout_s);
        Self { heartbeat, pong, next_ping: Instant::now() + heartbeat, pong_due: None }
    }

    /// When there is something to see to next.
    fn next(&self, session: &Session) -> Instant {
        let timer = self.pong_due.map_or(self.next_ping, |due| due.min(self.next_ping));
        timer.min(Instant::now() + session.time_left())
    }

    /// Sees to what is due, and says whether a ping is.
    fn beat(&mut self, session: &Session, heard: &AtomicBool) -> bool {
        let now = Instant::now();
        if session.time_left().is_zero() {
            session.close(Close::TokenExpired);
        } else if self.pong_due.is_some_and(|due| now >= due) {
            self.pong_due = None;
            if !heard.load(Ordering::Relaxed) {
                session.close(Close::NoPong);
            }
        } else if now >= self.next_ping {
            self.next_ping = now + self.heartbeat;
            heard.store(false, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// The time for the pong runs from the flush: a reader whose output is blocked is not mistaken for dead.
    fn pinged(&mut self) {
        self.pong_due = Some(Instant::now() + self.pong);
    }
}

async fn ping(sink: &mut Sink, stall: Duration) -> Result<(), u16> {
    match timeout(stall, sink.send(Message::Ping(axum::body::Bytes::new()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(BROKEN),
        Err(_) => Err(end(sink, Close::Stalled).await),
    }
}

/// What it gives, or `None` after this long. Most writes are done at once, and then no timer is made.
async fn within<T>(long: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    if let Poll::Ready(done) = poll!(future.as_mut()) {
        return Some(done);
    }
    timeout(long, future).await.ok()
}

/// Feeds all, flushes once: one write to the socket for as many frames as were waiting.
async fn send(sink: &mut Sink, frames: Vec<Bytes>) -> Result<(), Broken> {
    for frame in frames {
        let text = Utf8Bytes::try_from(frame).map_err(|_| Broken)?;
        sink.feed(Message::Text(text)).await.map_err(|_| Broken)?;
    }
    sink.flush().await.map_err(|_| Broken)
}

async fn end(sink: &mut Sink, close: Close) -> u16 {
    let frame = CloseFrame { code: close.code(), reason: Utf8Bytes::from_static(close.reason()) };
    let said = async {
        sink.send(Message::Close(Some(frame))).await.ok();
        sink.close().await.ok();
    };
    timeout(CLOSE_TIMEOUT, said).await.ok();
    close.code()
}
