//! The presence of a single process. Handles on one registry see each other, as nodes on one Redis do.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Incarnation, LEASE, Lease, Online, Presence, Result};
use crate::model::{RoomId, Username};

/// What the handles of one process share.
#[derive(Clone, Default)]
pub struct Registry {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// When each lease ends.
    leases: HashMap<Incarnation, Instant>,
    sets: HashMap<RoomId, HashMap<Incarnation, BTreeSet<Username>>>,
}

struct Handle {
    registry: Registry,
    incarnation: Incarnation,
    renewed: AtomicBool,
}

impl Registry {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn open(&self, incarnation: Incarnation) -> Arc<dyn Presence> {
        Arc::new(Handle { registry: self.clone(), incarnation, renewed: AtomicBool::new(false) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The maps are whole at every point where a panic could leave them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the incarnations whose lease ended, and their sets.
    fn bury(&mut self) {
        let now = Instant::now();
        let before = self.leases.len();
        self.leases.retain(|_, ends| *ends > now);
        if self.leases.len() < before {
            let leases = &self.leases;
            self.sets.retain(|_, sets| {
                sets.retain(|incarnation, _| leases.contains_key(incarnation));
                !sets.is_empty()
            });
        }
    }

    fn remove(&mut self, incarnation: &Incarnation, room: RoomId, user: Option<&Username>) {
        let Some(sets) = self.sets.get_mut(&room) else { return };
        if let Some(set) = sets.get_mut(incarnation) {
            match user {
                Some(user) => drop(set.remove(user)),
                None => set.clear(),
            }
            if set.is_empty() {
                sets.remove(incarnation);
            }
        }
        if sets.is_empty() {
            self.sets.remove(&room);
        }
    }
}

#[async_trait]
impl Presence for Handle {
    fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    async fn enter(&self, entries: &[(RoomId, Username)]) -> Result<()> {
        let mut state = self.registry.state();
        for (room, user) in entries {
            let sets = state.sets.entry(*room).or_default();
            sets.entry(self.incarnation.clone()).or_default().insert(user.clone());
        }
        Ok(())
    }

    async fn leave(&self, entries: &[(RoomId, Username)]) -> Result<()> {
        let mut state = self.registry.state();
        for (room, user) in entries {
            state.remove(&self.incarnation, *room, Some(user));
        }
        Ok(())
    }

    async fn renew(&self) -> Result<Lease> {
        let mut state = self.registry.state();
        state.bury();
        let alive = state.leases.insert(self.incarnation.clone(), Instant::now() + LEASE).is_some();
        let renewed = self.renewed.swap(true, Ordering::SeqCst);
        Ok(Lease { live: state.leases.keys().cloned().collect(), lost: renewed && !alive })
    }

    async fn online(&self, rooms: &[RoomId]) -> Result<Vec<Online>> {
        let now = Instant::now();
        let state = self.registry.state();
        let alive = |incarnation: &Incarnation| state.leases.get(incarnation).is_some_and(|ends| *ends > now);
        let online = |room: &RoomId| {
            let sets = state.sets.get(room).into_iter().flatten();
            sets.filter(|(incarnation, _)| alive(incarnation))
                .map(|(incarnation, set)| (incarnation.clone(), set.iter().cloned().collect()))
                .collect()
        };
        Ok(rooms.iter().map(online).collect())
    }

    async fn resign(&self, rooms: &[RoomId]) -> Result<()> {
        let mut state = self.registry.state();
        state.leases.remove(&self.incarnation);
        for room in rooms {
            state.remove(&self.incarnation, *room, None);
        }
        self.renewed.store(false, Ordering::SeqCst);
        Ok(())
    }
}
