//! How often somebody may do something: token buckets by key, kept by each node for itself.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::recent::Recent;
use crate::model::UserId;

/// A bucket for each key: full at first, `burst` large, refilled steadily. Of more keys than the capacity the
/// longest unused are forgotten, and are full again when they come back.
pub struct Buckets<K> {
    per_second: f64,
    burst: f64,
    buckets: Mutex<Recent<K, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Whose HTTP requests are counted together: a user's, wherever they come from, or an address's while nobody knows
/// who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Requester {
    User(UserId),
    /// As [`network`] gives it.
    Network(IpAddr),
}

/// Whom an address stands for when something is counted by it. One household or server has a whole /64 of IPv6, so
/// each single address of it would be a way round the limit.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// `burst` at once, then `per_second`; both must be above 0.
    pub fn new(per_second: f64, burst: u32, capacity: usize) -> Self {
        Self { per_second, burst: f64::from(burst), buckets: Mutex::new(Recent::new(capacity)) }
    }

    /// `count` within any minute that starts rested, and steadily that many a minute.
    pub fn per_minute(count: u32, capacity: usize) -> Self {
        Self::new(f64::from(count) / 60.0, count, capacity)
    }

    /// Takes one; else how long until there is one again.
    pub fn take(&self, key: K) -> Result<(), Duration> {
        self.take_at(key, Instant::now())
    }

    /// Gives back one that was taken in vain; never over the burst.
    pub fn give_back(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(key) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.burst);
        }
    }

    fn take_at(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.get_mut(&key) else {
            buckets.insert(key, Bucket { tokens: self.burst - 1.0, at: now });
            return Ok(());
        };
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * self.per_second).min(self.burst);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            let missing = (1.0 - bucket.tokens) / self.per_second;
            // Rounded up, so that whoever waits as told is not refused for a rounding error.
            return Err(Duration::from_secs_f64(missing) + Duration::from_millis(1));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_mapped_addresses_as_themselves() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_burst_then_a_steady_rate() {
        let buckets = Buckets::new(10.0, 20, 100);
        let start = Instant::now();
        for _ in 0..20 {
            buckets.take_at("alice", start).unwrap();
        }
        let wait = buckets.take_at("alice", start).unwrap_err();
        assert!(wait > Duration::from_millis(99) && wait < Duration::from_millis(105), "{wait:?}");
        buckets.take_at("bob", start).expect("one's limit is not another's");
        buckets.take_at("alice", start + wait).expect("whoever waits as told is served");
        assert!(buckets.take_at("alice", start + wait).is_err());
        let rested = start + Duration::from_secs(3_600);
        assert_eq!((0..100).filter(|_| buckets.take_at("alice", rested).is_ok()).count(), 20);
    }

    #[test]
    fn a_minute_gives_its_count_and_then_one_at_a_time() {
        let buckets = Buckets::per_minute(20, 100);
        let start = Instant::now();
        assert_eq!((0..100).filter(|_| buckets.take_at(1, start).is_ok()).count(), 20);
        let wait = buckets.take_at(1, start).unwrap_err();
        assert!(wait > Duration::from_millis(2_990) && wait < Duration::from_millis(3_010), "{wait:?}");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let buckets = Buckets::new(0.001, 2, 100);
        let now = Instant::now();
        buckets.give_back(&1);
        buckets.take_at(1, now).unwrap();
        buckets.give_back(&1);
        buckets.give_back(&1);
        assert_eq!((0..9).filter(|_| buckets.take_at(1, now).is_ok()).count(), 2);
    }

    #[test]
    fn keys_are_bounded() {
        let buckets = Buckets::new(1.0, 1, 10);
        for key in 0..1_000 {
            buckets.take(key).unwrap();
        }
        assert!(buckets.buckets.lock().unwrap().len() <= 10);
    }
}
