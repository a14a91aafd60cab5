//! Gathers checks of who may enter where: while one query is under way the next one collects, so that thousands of
//! sockets coming back at once cost a handful of queries.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::model::{RoomInfo, RoomRef, UserId};
use crate::store::{Refusal, Store, StoreError};

/// Pairs asked for in one query.
const BATCH_MAX: usize = 1_000;
/// Pairs waiting; further ones are told `unavailable`.
const WAITING_MAX: usize = 50_000;

type Pair = (UserId, RoomRef);
type Answer = Result<RoomInfo, Refusal>;

#[derive(Default)]
pub struct Enters {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Pair, oneshot::Sender<Result<Answer, StoreError>>)>,
    asking: bool,
}

impl Enters {
    /// Enters a room (making a member where it is public) and gives it as the user sees it.
    pub async fn ask(self: &Arc<Self>, store: &Arc<dyn Store>, pair: Pair) -> Result<Result<RoomInfo>> {
        let (answer, answered) = oneshot::channel();
        let start = {
            let mut state = self.lock();
            if state.waiting.len() >= WAITING_MAX {
                return Err(Error::unavailable("too many are entering rooms; try again"));
            }
            state.waiting.push((pair, answer));
            !std::mem::replace(&mut state.asking, true)
        };
        if start {
            let (enters, store) = (self.clone(), store.clone());
            tokio::spawn(async move { enters.work(&store).await });
        }
        match answered.await {
            Ok(Ok(answer)) => Ok(answer.map_err(Error::from)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::unavailable("the check was cut off; try again")),
        }
    }

    async fn work(&self, store: &Arc<dyn Store>) {
        loop {
            let batch = {
                let mut state = self.lock();
                let size = state.waiting.len().min(BATCH_MAX);
                if size == 0 {
                    state.asking = false;
                    return;
                }
                state.waiting.drain(..size).collect::<Vec<_>>()
            };
            let pairs: Vec<Pair> = batch.iter().map(|(pair, _)| pair.clone()).collect();
            match store.enter(&pairs).await {
                Ok(answers) => {
                    for ((_, told), answer) in batch.into_iter().zip(answers) {
                        told.send(Ok(answer)).ok();
                    }
                }
                Err(error) => {
                    for (_, told) in batch {
                        told.send(Err(error.clone())).ok();
                    }
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
