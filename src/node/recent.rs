//! A bounded map that forgets what was longest unused.
//!
//! Two generations: what is used moves into the young one, and when that is half of the capacity it becomes the old
//! one, and the old one is forgotten. So forgetting costs nothing for each entry, and an entry used among the last
//! `capacity / 2` distinct keys is always still there.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation_max: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Never holds more than `capacity` entries (two at least).
    pub fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max: (capacity / 2).max(1) }
    }

    /// The entry, which counts as used now.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Puts an entry in, in place of what was there.
    pub fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.generation_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Forgets what `keep` says no to. Looks at every entry.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.young.retain(|key, value| keep(key, value));
        self.old.retain(|key, value| keep(key, value));
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_outgrows_its_capacity_and_keeps_what_is_used() {
        let mut recent = Recent::new(10);
        for key in 0..1_000 {
            recent.insert(key, key);
            assert!(recent.get_mut(&0).is_some(), "0 is used all the time");
            assert!(recent.len() <= 10);
        }
        assert!(recent.get_mut(&1).is_none());
        assert_eq!(recent.get_mut(&999), Some(&mut 999));
    }

    #[test]
    fn an_entry_is_there_once() {
        let mut recent = Recent::new(4);
        for key in 0..3 {
            recent.insert(key, "first");
        }
        recent.insert(0, "second");
        assert_eq!(recent.get_mut(&0), Some(&mut "second"));
        assert_eq!(recent.len(), 3);
        recent.retain(|key, _| *key != 0);
        assert!(recent.get_mut(&0).is_none());
    }

    #[test]
    fn the_smallest_still_holds_what_was_put_in_last() {
        let mut recent = Recent::new(0);
        for key in 0..9 {
            recent.insert(key, ());
            assert!(recent.get_mut(&key).is_some() && recent.len() <= 2);
        }
    }
}
