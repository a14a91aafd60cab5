//! Gathers questions to the store: while one query is under way the next one collects, so that thousands of sockets
//! coming back at once cost a handful of queries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::store::StoreError;

/// Questions in one query.
const BATCH_MAX: usize = 1_000;
/// Questions waiting; further ones are told `unavailable`.
const WAITING_MAX: usize = 50_000;

/// Answers many questions in one query, in their order.
type Query<Q, A> = Box<dyn Fn(Vec<Q>) -> BoxFuture<'static, Result<Vec<A>, StoreError>> + Send + Sync>;

pub struct Gather<Q, A> {
    query: Query<Q, A>,
    state: Mutex<State<Q, A>>,
}

struct State<Q, A> {
    waiting: Vec<(Q, oneshot::Sender<Result<A, StoreError>>)>,
    asking: bool,
}

impl<Q: Send + 'static, A: Send + 'static> Gather<Q, A> {
    pub fn new<F>(query: impl Fn(Vec<Q>) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<Vec<A>, StoreError>> + Send + 'static,
    {
        let state = Mutex::new(State { waiting: Vec::new(), asking: false });
        Arc::new(Self { query: Box::new(move |asked| Box::pin(query(asked))), state })
    }

    /// The answer to one question, which is asked of the store together with those that others ask meanwhile.
    pub async fn ask(self: &Arc<Self>, question: Q) -> Result<A> {
        let (answer, answered) = oneshot::channel();
        let start = {
            let mut state = self.lock();
            if state.waiting.len() >= WAITING_MAX {
                return Err(Error::unavailable("too many are coming at once; try again"));
            }
            state.waiting.push((question, answer));
            !std::mem::replace(&mut state.asking, true)
        };
        if start {
            let gather = self.clone();
            tokio::spawn(async move { gather.work().await });
        }
        match answered.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::unavailable("the check was cut off; try again")),
        }
    }

    async fn work(&self) {
        loop {
            let (questions, told): (Vec<Q>, Vec<_>) = {
                let mut state = self.lock();
                let size = state.waiting.len().min(BATCH_MAX);
                if size == 0 {
                    state.asking = false;
                    return;
                }
                state.waiting.drain(..size).unzip()
            };
            match (self.query)(questions).await {
                Ok(answers) => {
                    for (told, answer) in told.into_iter().zip(answers) {
                        told.send(Ok(answer)).ok();
                    }
                }
                Err(error) => {
                    for told in told {
                        told.send(Err(error.clone())).ok();
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
