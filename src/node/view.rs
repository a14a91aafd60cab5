//! Who is online in one room, as this node knows it: by node incarnation, fed by hints and mended by reading afresh.
//! Free of I/O.

#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::Username;
use crate::presence::{Incarnation, Online};

#[derive(Debug, Default)]
pub struct View {
    by_node: HashMap<Incarnation, HashSet<Username>>,
    /// On how many incarnations somebody is; ordered, so that lists are stable.
    nodes_of: BTreeMap<Username, u32>,
    /// Changes whenever a hint did: what was read before is then too old to apply.
    version: u64,
}

impl View {
    pub fn count(&self) -> usize {
        self.nodes_of.len()
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn names(&self, limit: usize) -> Vec<Username> {
        self.nodes_of.keys().take(limit).cloned().collect()
    }

    /// `true`: was online nowhere before.
    pub fn enter(&mut self, node: &Incarnation, user: &Username) -> bool {
        self.version += 1;
        if !self.by_node.entry(node.clone()).or_default().insert(user.clone()) {
            return false;
        }
        let nodes = self.nodes_of.entry(user.clone()).or_default();
        *nodes += 1;
        *nodes == 1
    }

    /// `true`: is online nowhere any more.
    pub fn leave(&mut self, node: &Incarnation, user: &Username) -> bool {
        self.version += 1;
        let Some(users) = self.by_node.get_mut(node) else { return false };
        if !users.remove(user) {
            return false;
        }
        if users.is_empty() {
            self.by_node.remove(node);
        }
        self.uncount(user)
    }

    /// Drops the incarnations that are not in `live`; who went with them.
    pub fn retain_nodes(&mut self, live: &HashSet<Incarnation>) -> Vec<Username> {
        let dead: Vec<Incarnation> = self.by_node.keys().filter(|node| !live.contains(*node)).cloned().collect();
        let mut gone = Vec::new();
        for node in dead {
            for user in self.by_node.remove(&node).into_iter().flatten() {
                if self.uncount(&user) {
                    gone.push(user);
                }
            }
        }
        if !gone.is_empty() {
            self.version += 1;
        }
        gone
    }

    /// Takes what was read, except for `own`, which this node knows better: who came and who went by that.
    pub fn replace(&mut self, read: Online, own: &Incarnation) -> (Vec<Username>, Vec<Username>) {
        let before = std::mem::take(&mut self.nodes_of);
        let mine = self.by_node.remove(own);
        let others = read.into_iter().filter(|(node, _)| node != own);
        self.by_node = others.map(|(node, users)| (node, users.into_iter().collect())).collect();
        self.by_node.extend(mine.map(|users| (own.clone(), users)));
        self.by_node.retain(|_, users| !users.is_empty());
        for user in self.by_node.values().flatten() {
            *self.nodes_of.entry(user.clone()).or_default() += 1;
        }
        let came = self.nodes_of.keys().filter(|user| !before.contains_key(*user)).cloned().collect();
        let went = before.into_keys().filter(|user| !self.nodes_of.contains_key(user)).collect();
        (came, went)
    }

    fn uncount(&mut self, user: &Username) -> bool {
        match self.nodes_of.get_mut(user) {
            Some(nodes) if *nodes > 1 => {
                *nodes -= 1;
                false
            }
            Some(_) => {
                self.nodes_of.remove(user);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Incarnation {
        Incarnation(name.into())
    }

    fn user(name: &str) -> Username {
        Username::from_stored(name.into())
    }

    #[test]
    fn somebody_on_two_nodes_is_online_until_both_are_left() {
        let mut view = View::default();
        assert!(view.enter(&node("a"), &user("alice")));
        assert!(!view.enter(&node("b"), &user("alice")));
        assert!(!view.enter(&node("b"), &user("alice")));
        assert!(!view.leave(&node("a"), &user("alice")));
        assert!(!view.leave(&node("a"), &user("alice")));
        assert!(view.leave(&node("b"), &user("alice")));
        assert_eq!(view.count(), 0);
    }

    #[test]
    fn a_dead_node_takes_its_users_along() {
        let mut view = View::default();
        view.enter(&node("a"), &user("alice"));
        view.enter(&node("b"), &user("alice"));
        view.enter(&node("b"), &user("bob"));
        assert_eq!(view.retain_nodes(&[node("a")].into()), [user("bob")]);
        assert_eq!(view.names(9), [user("alice")]);
    }

    #[test]
    fn reading_afresh_keeps_what_is_our_own() {
        let mut view = View::default();
        view.enter(&node("me"), &user("alice"));
        view.enter(&node("b"), &user("bob"));
        let read: Online = [(node("b"), vec![user("carol")]), (node("me"), vec![user("ghost")])].into();
        assert_eq!(view.replace(read.clone(), &node("me")), (vec![user("carol")], vec![user("bob")]));
        assert_eq!(view.names(9), [user("alice"), user("carol")]);
        assert_eq!(view.replace(read, &node("me")), (vec![], vec![]));
    }
}
