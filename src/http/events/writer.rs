//! What a stream is told: all that waits, comments that keep it alive, and its end.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::super::held::Held;
use super::super::server::Connection;
use super::{retry, text};
use crate::node::{Close, Work};
use crate::telemetry::metric;

/// Taken off the queue at once: what is taken is lost to a later overflow, so not too much.
const WRITE_BYTES: usize = 16 * 1024;
/// Before the connection of a stream that has ended is cut: its last bytes may still be on their way.
const LINGER: Duration = Duration::from_secs(2);
/// Whoever left the room or was thrown out must not be brought back by a browser that reconnects by itself. Longer
/// times are cut down or misread by some.
const NOT_SOON: Duration = Duration::from_secs(24 * 60 * 60);
/// The connection ended before the stream did.
const BROKEN: u16 = 1006;

/// How far a stream has come in telling.
struct Told {
    /// `None` once `joined` was told; before, what has to wait for it.
    early: Option<Vec<Bytes>>,
    /// When to lead the client to another node.
    leave_at: Option<Instant>,
}

/// Runs a stream to its end and takes its session out of the node.
pub async fn run(held: Held, out: mpsc::Sender<Bytes>, connection: Option<Connection>) {
    metrics::gauge!(metric::EVENT_STREAMS).increment(1);
    let code = write(&held, &out).await;
    metrics::gauge!(metric::EVENT_STREAMS).decrement(1);
    metrics::counter!(metric::CLOSES, "code" => code.to_string()).increment(1);
    drop(out);
    drop(held);
    let Some(connection) = connection.filter(|_| code != BROKEN) else { return };
    if code != Close::Stalled.code() {
        tokio::time::sleep(LINGER).await;
    }
    connection.cut();
}

/// Writes until the session is told to end, has left its room, or nobody reads; gives the close code to be counted.
async fn write(held: &Held, out: &mpsc::Sender<Bytes>) -> u16 {
    let Held { node, session } = held;
    let stall = Duration::from_secs(node.config.node.stall_timeout_s);
    let heartbeat = Duration::from_secs(node.config.node.heartbeat_s);
    let mut told = Told { early: Some(Vec::new()), leave_at: None };
    let mut next_heartbeat = Instant::now() + heartbeat;
    let mut greeting = Some(text::retry(retry()));
    loop {
        // A place first: what is taken off the queue is as good as written.
        let place = tokio::select! {
            biased;
            place = timeout(stall, out.reserve()) => match place {
                Ok(Ok(place)) => place,
                Ok(Err(_)) => return BROKEN,
                Err(_) => return Close::Stalled.code(),
            },
            close = session.closing() => return close.code(),
        };
        match session.work(WRITE_BYTES) {
            Some(Work::Close(close)) => return close.code(),
            Some(Work::Write(frames)) => {
                let mut text = greeting.take().unwrap_or_default().into_bytes();
                told.tell(frames, &mut text);
                place.send(Bytes::from(text));
            }
            Some(Work::CatchUp { room, after }) => node.catch_up(session, room, after).await,
            None if session.room_count() == 0 => {
                place.send(Bytes::from(text::retry(NOT_SOON)));
                return Close::Normal.code();
            }
            None => {
                let timer = next_heartbeat.min(Instant::now() + session.time_left());
                tokio::select! {
                    () = session.woken() => {}
                    () = out.closed() => return BROKEN,
                    () = tokio::time::sleep_until(told.leave_at.map_or(timer, |leave| timer.min(leave))) => {}
                }
                let now = Instant::now();
                if session.time_left().is_zero() {
                    session.close(Close::TokenExpired);
                } else if told.leave_at.is_some_and(|leave| now >= leave) {
                    session.close(Close::Restarting);
                } else if now >= next_heartbeat {
                    next_heartbeat = now + heartbeat;
                    place.send(Bytes::from_static(text::HEARTBEAT.as_bytes()));
                }
            }
        }
    }
}

impl Told {
    /// Puts frames into the text, `joined` before all else.
    fn tell(&mut self, frames: Vec<Bytes>, text: &mut Vec<u8>) {
        for frame in frames {
            let head = match text::Head::of(&frame) {
                Ok(head) => head,
                Err(error) => {
                    tracing::error!(%error, "a frame without a type");
                    continue;
                }
            };
            if let Some(within) = head.within_ms {
                // A socket's client goes in its own time within this; a stream's only goes when it is ended.
                let wait = rand::rng().random_range(0..=within);
                self.leave_at = Some(Instant::now() + Duration::from_millis(wait));
            }
            let waits = self.early.is_some() && head.r#type != "joined";
            match &mut self.early {
                Some(early) if waits => early.push(frame),
                early => {
                    text::push_event(text, &head, &frame);
                    let early = early.take().unwrap_or_default();
                    self.tell(early, text);
                }
            }
        }
    }
}
