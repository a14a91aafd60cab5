//! The client's connection: where to go next, when, and the way there.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::super::socket::{Opening, Refused, Socket};
use super::super::wire::text;
use super::{Credentials, Options};

/// A connection under way; gives the node and what became of it.
pub(super) type Coming = Pin<Box<dyn Future<Output = (usize, Result<Socket, Refused>)> + Send>>;

/// Chooses nodes and waits.
pub(super) struct Link {
    nodes: Vec<String>,
    credentials: Credentials,
    backoff_min: Duration,
    backoff_max: Duration,
    rng: SmallRng,
    /// Attempts in a row that led to no connection.
    failures: u32,
    next: usize,
}

impl Link {
    pub fn new(options: &Options) -> Self {
        Self {
            nodes: options.nodes.clone(),
            credentials: options.credentials.clone(),
            backoff_min: options.backoff_min,
            backoff_max: options.backoff_max,
            rng: SmallRng::seed_from_u64(options.seed),
            failures: 0,
            next: options.first_node % options.nodes.len().max(1),
        }
    }

    /// The first connection, at once.
    pub fn first(&mut self) -> Coming {
        self.open(Duration::ZERO)
    }

    /// After a loss or a refusal: full jitter, another node where there is one.
    pub fn again(&mut self, not_before: Duration) -> Coming {
        let ceiling = self.backoff_min.saturating_mul(1 << self.failures.min(10)).min(self.backoff_max);
        self.failures += 1;
        let wait = not_before + ceiling.mul_f64(self.rng.random::<f64>());
        self.leave_node();
        self.open(wait)
    }

    /// The node asked to go, within that time.
    pub fn elsewhere(&mut self, within: Duration) -> Coming {
        let wait = within.mul_f64(self.rng.random::<f64>());
        self.leave_node();
        self.open(wait)
    }

    pub fn connected(&mut self) {
        self.failures = 0;
    }

    /// A moment for one more attempt of something the server could not do now.
    pub fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(100..600))
    }

    fn leave_node(&mut self) {
        let others = self.nodes.len().saturating_sub(1);
        if others > 0 {
            self.next = (self.next + 1 + self.rng.random_range(0..others)) % self.nodes.len();
        }
    }

    fn open(&self, wait: Duration) -> Coming {
        let node = self.next;
        let opening = Opening::new(self.nodes.get(node).map_or("", String::as_str));
        let opening = match &self.credentials {
            Credentials::Bearer(token) => opening.bearer(token),
            Credentials::Cookies(cookies) => opening.header("cookie", cookies),
            Credentials::Subprotocol(token) => opening.bearer_subprotocol(token),
        };
        Box::pin(async move {
            sleep(wait).await;
            (node, welcomed(opening).await)
        })
    }
}

async fn welcomed(opening: Opening) -> Result<Socket, Refused> {
    let mut socket = opening.open().await?;
    match socket.frame().await {
        Ok(first) if text(&first, "type") == "welcome" => Ok(socket),
        Ok(first) => Err(Refused { status: 0, body: format!("the first frame is {first}") }),
        Err(error) => Err(Refused { status: 0, body: error }),
    }
}
