//! Which incarnations may still be there, from what each renewal of the own lease told. Free of I/O.

#[cfg(test)]
mod properties;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::presence::{Incarnation, Lease};

/// After a backend came back empty nobody is taken for dead until everybody had time to renew.
pub const LOST_HOLDOFF: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Leases {
    hold_until: Option<Instant>,
    /// Who lived at the renewal before.
    seen_before: HashSet<Incarnation>,
}

impl Leases {
    /// Takes in what a renewal told. Whoever is not among those given is gone; `None`: nobody may be taken for gone.
    pub fn renewed(&mut self, lease: Lease, own: &Incarnation, now: Instant) -> Option<HashSet<Incarnation>> {
        if lease.lost {
            self.hold_until = Some(now + LOST_HOLDOFF);
        }
        let mut live: HashSet<Incarnation> = lease.live.into_iter().collect();
        live.insert(own.clone());
        // Two looks: a node heard of a moment ago may have renewed just after the first.
        let keep = live.union(&self.seen_before).cloned().collect();
        self.seen_before = live;
        self.hold_until.is_none_or(|until| now >= until).then_some(keep)
    }
}
