//! The tasks of a run: one for each open socket, and what waits for them, which ends when one of them does.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use salon::engine::Result;
use salon::engine::lean::Lean;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::lane::Traffic;
use crate::latency::Latencies;
use crate::site::{Site, refusal};
use crate::ui::Ui;

/// An answer to a join takes no longer.
const JOINING: Duration = Duration::from_secs(30);

pub struct Lanes {
    tasks: JoinSet<Result<()>>,
}

/// A socket that has joined.
pub struct Opened {
    n: usize,
    socket: Lean,
    /// From the connect to the upgrade's answer, and to `joined`.
    upgraded: Duration,
    joined: Duration,
}

impl Lanes {
    pub fn new() -> Self {
        Self { tasks: JoinSet::new() }
    }

    /// Opens the lanes `which`, each by the site's socket of the number that stands with it, some at a time; each is
    /// read from then on. `upgrades` and `joins` get how long it took.
    pub async fn open(
        &mut self,
        site: &Site,
        traffic: &Arc<Traffic>,
        which: &[(usize, usize)],
        ui: &Ui,
        [upgrades, joins]: [&Latencies; 2],
    ) -> Result<()> {
        let coming = which.iter().map(|(n, socket)| opened(site, traffic, *n, *socket));
        let mut coming = pin!(futures_util::stream::iter(coming).buffer_unordered(site.concurrency));
        let mut done = 0;
        while let Some(opened) = coming.try_next().await? {
            upgrades.recorder(0).record(0, micros(opened.upgraded));
            joins.recorder(0).record(0, micros(opened.joined));
            self.run(traffic, opened.n, opened.socket);
            done += 1;
            if done % site.concurrency == 0 {
                ui.progress(done as f64 / which.len() as f64, "sockets open");
            }
        }
        Ok(())
    }

    /// Reads that socket from now on.
    pub fn run(&mut self, traffic: &Arc<Traffic>, n: usize, socket: Lean) {
        // Before its task runs: who waits for the opening may send as soon as this is done.
        traffic.attach(n, &socket);
        let traffic = Arc::clone(traffic);
        self.tasks.spawn(async move { traffic.run(n, socket).await });
    }

    pub fn spawn(&mut self, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits, unless a lane ends before its time.
    pub async fn unbroken<T>(&mut self, wait: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            Some(ended) = self.tasks.join_next() => match ended.map_err(|error| error.to_string())? {
                Ok(()) => Err("a socket ended before its time".to_owned()),
                Err(why) => Err(why),
            },
            done = wait => Ok(done),
        }
    }

    /// Waits for the end of all; the first error ends the wait.
    pub async fn finished(&mut self) -> Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    /// Ends all, as cut cables would.
    pub async fn cut(&mut self) {
        self.tasks.shutdown().await;
    }
}

async fn opened(site: &Site, traffic: &Traffic, n: usize, number: usize) -> Result<Opened> {
    let began = Instant::now();
    let mut socket = site.open(number).await.map_err(|refused| refusal(site.url(number), &refused))?;
    let upgraded = began.elapsed();
    if traffic.lanes[n].plan.joins {
        timeout(JOINING, join(traffic, n, &mut socket))
            .await
            .map_err(|_| format!("socket {n}: no answer to its join within {JOINING:?}"))??;
    }
    Ok(Opened { n, socket, upgraded, joined: began.elapsed() })
}

/// Joins and waits for the answer; gives up to where it tells. What comes with it is taken too.
pub async fn join(traffic: &Traffic, n: usize, socket: &mut Lean) -> Result<u64> {
    let told = async {
        socket.out().send(traffic.join_frame(n).as_bytes())?;
        loop {
            if let Some(seq) = traffic.lanes[n].state().take_joined() {
                return Ok(seq);
            }
            socket.read(|frames| traffic.take(n, frames)).await?;
        }
    };
    told.await.map_err(|why: String| format!("socket {n}: {why}"))
}

pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
