//! How many of something somebody has at once, up to a bound.

use std::hash::Hash;

use dashmap::DashMap;

pub struct Counts<K: Eq + Hash>(DashMap<K, usize>);

impl<K: Eq + Hash> Default for Counts<K> {
    fn default() -> Self {
        Self(DashMap::new())
    }
}

impl<K: Eq + Hash> Counts<K> {
    /// Counts one more, unless there are `max` already. Who was told `true` gives it back.
    pub fn take(&self, key: K, max: usize) -> bool {
        let mut count = self.0.entry(key).or_insert(0);
        let fits = *count < max;
        *count += usize::from(fits);
        fits
    }

    /// One less; who has none is forgotten.
    pub fn give_back(&self, key: &K) {
        if let Some(mut count) = self.0.get_mut(key) {
            *count = count.saturating_sub(1);
        }
        self.0.remove_if(key, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_bound_and_who_has_none_is_forgotten() {
        let counts = Counts::default();
        assert!(counts.take("a", 2) && counts.take("a", 2) && counts.take("b", 2));
        assert!(!counts.take("a", 2));
        counts.give_back(&"a");
        assert!(counts.take("a", 2) && !counts.take("a", 2));
        for key in ["a", "a", "b", "c"] {
            counts.give_back(&key);
        }
        assert!(counts.0.is_empty());
    }
}
