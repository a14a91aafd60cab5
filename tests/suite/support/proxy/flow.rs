//! One direction of one connection. What is read waits in a short queue until its time has come, so that a delay is a
//! delay and not a lower rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::resp::whole_replies;
use super::{Shared, Speaks, Spoiled, Way};

const CHUNK_BYTES: usize = 16 << 10;

/// Chunks under way in one direction; a reader that is ahead by more waits.
const CHUNKS: usize = 64;

#[derive(Clone, Copy)]
pub(super) struct Flow<'a> {
    pub way: Way,
    pub number: u64,
    pub speaks: Speaks,
    pub shared: &'a Shared,
    pub doomed: &'a AtomicBool,
}

struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
    /// The connection ends behind it.
    last: bool,
}

/// Returns when the connection is to end.
pub(super) async fn flow(from: ReadHalf<'_>, to: WriteHalf<'_>, flow: Flow<'_>) {
    let (queue, chunks) = mpsc::channel(CHUNKS);
    tokio::join!(flow.read(from, queue), flow.write(chunks, to));
}

impl Flow<'_> {
    async fn read(&self, mut from: ReadHalf<'_>, queue: mpsc::Sender<Chunk>) {
        let mut waiting = Vec::new();
        // The end of what passed before, since a pattern may come in two parts.
        let mut before = Vec::new();
        let mut due = Instant::now();
        loop {
            // Not longer than the queue is served: a writer that has ended takes nothing more.
            let read = tokio::select! {
                read = from.read_buf(&mut waiting) => read,
                () = queue.closed() => return,
            };
            if !matches!(read, Ok(1..)) || self.doomed.load(Ordering::SeqCst) && self.way == Way::ToClient {
                return;
            }
            let spoiled = self.shared.faults.lock().unwrap().ways[self.way as usize].clone();
            let mut bytes = match self.speaks {
                Speaks::Anything => std::mem::take(&mut waiting),
                Speaks::Resp => whole_replies(&mut waiting, spoiled.swallow.as_deref(), &self.shared.swallowed),
            };
            if self.number < spoiled.deaf_below {
                continue;
            }
            let last = self.cut(&mut bytes, &mut before, &spoiled);
            // Never before what was read earlier.
            due = due.max(Instant::now() + delay(&spoiled));
            if queue.send(Chunk { due, bytes, last }).await.is_err() || last {
                return;
            }
        }
    }

    async fn write(&self, mut chunks: mpsc::Receiver<Chunk>, mut to: WriteHalf<'_>) {
        while let Some(chunk) = chunks.recv().await {
            sleep_until(chunk.due).await;
            let mut rest = chunk.bytes.as_slice();
            while !rest.is_empty() {
                let rate = self.shared.faults.lock().unwrap().ways[self.way as usize].bytes_per_s;
                // A twentieth of a second's worth at a time.
                let most = rate.map_or(CHUNK_BYTES, |rate| usize::try_from(rate / 20).unwrap_or(CHUNK_BYTES).max(1));
                let (part, further) = rest.split_at(rest.len().min(most));
                if to.write_all(part).await.is_err() {
                    return;
                }
                rest = further;
                if let Some(rate) = rate {
                    tokio::time::sleep(Duration::from_secs_f64(part.len() as f64 / rate as f64)).await;
                }
            }
            if chunk.last {
                return;
            }
        }
    }

    /// Shortens `bytes` to what passes before a cut; `true`: there is one.
    fn cut(&self, bytes: &mut Vec<u8>, before: &mut Vec<u8>, spoiled: &Spoiled) -> bool {
        let mut last = false;
        if let Some(left) = spoiled.cut_after {
            let size = bytes.len() as u64;
            self.change(|spoiled| spoiled.cut_after = left.checked_sub(size).filter(|left| *left > 0));
            if left <= size {
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                self.shared.fired.fetch_add(1, Ordering::SeqCst);
                last = true;
            }
        }
        if let Some(cut) = &spoiled.cut_at {
            let seam = before.len();
            before.extend_from_slice(bytes);
            if let Some(place) = before.windows(cut.pattern.len().max(1)).position(|window| window == cut.pattern) {
                self.change(|spoiled| spoiled.cut_at = None);
                self.shared.fired.fetch_add(1, Ordering::SeqCst);
                if cut.answered {
                    self.doomed.store(true, Ordering::SeqCst);
                } else {
                    bytes.truncate((place + cut.pattern.len()).saturating_sub(seam));
                    last = true;
                }
            }
            before.drain(..before.len().saturating_sub(cut.pattern.len().saturating_sub(1)));
        }
        last
    }

    fn change(&self, change: impl FnOnce(&mut Spoiled)) {
        change(&mut self.shared.faults.lock().unwrap().ways[self.way as usize]);
    }
}

fn delay(spoiled: &Spoiled) -> Duration {
    spoiled.delay.map_or(Duration::ZERO, |(least, jitter)| least + jitter.mul_f64(rand::random_range(0.0..=1.0)))
}
