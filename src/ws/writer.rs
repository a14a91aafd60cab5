//! What a socket is told: all that waits, in as few writes as it fits; pings; the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::time::{Instant, timeout};

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
    let config = &node.config.node;
    let stall = Duration::from_secs(config.stall_timeout_s);
    let heartbeat = Duration::from_secs(config.heartbeat_s);
    let pong = Duration::from_secs(config.pong_timeout_s);
    let mut next_ping = Instant::now() + heartbeat;
    let mut pong_due = None;
    // One for the socket's life: to make and take down a timer costs as much as a delivery does.
    let mut alarm = std::pin::pin!(tokio::time::sleep_until(next_ping));
    loop {
        let done = match session.work(WRITE_BYTES) {
            Some(Work::Close(close)) => return end(&mut sink, close).await,
            Some(Work::Write(frames)) => match timeout(stall, send(&mut sink, frames)).await {
                Ok(done) => done,
                Err(_) => return end(&mut sink, Close::Stalled).await,
            },
            Some(Work::CatchUp { room, after }) => {
                node.catch_up(session, room, after).await;
                Ok(())
            }
            None => {
                let timer = pong_due.map_or(next_ping, |due: Instant| due.min(next_ping));
                let timer = timer.min(Instant::now() + session.time_left());
                if alarm.deadline() != timer {
                    alarm.as_mut().reset(timer);
                }
                tokio::select! {
                    () = session.woken() => {}
                    () = session.expiry_moved.notified() => {}
                    () = alarm.as_mut() => {}
                }
                Ok(())
            }
        };
        if done.is_err() {
            return BROKEN;
        }
        let now = Instant::now();
        if session.time_left().is_zero() {
            session.close(Close::TokenExpired);
        } else if pong_due.is_some_and(|due| now >= due) {
            pong_due = None;
            if !heard.load(Ordering::Relaxed) {
                session.close(Close::NoPong);
            }
        } else if now >= next_ping {
            next_ping = now + heartbeat;
            heard.store(false, Ordering::Relaxed);
            // The time for the pong runs from the flush: a reader whose output is blocked is not mistaken for dead.
            match timeout(stall, sink.send(Message::Ping(axum::body::Bytes::new()))).await {
                Ok(Ok(())) => pong_due = Some(Instant::now() + pong),
                Ok(Err(_)) => return BROKEN,
                Err(_) => return end(&mut sink, Close::Stalled).await,
            }
        }
    }
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
