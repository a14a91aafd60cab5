//! The view against the plainest model of it: who is on which incarnation.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::View;
use crate::model::Username;
use crate::presence::{Incarnation, Online};

type Model = BTreeMap<u8, BTreeSet<u8>>;

#[derive(Debug, Clone)]
enum Op {
    Enter(u8, u8),
    Leave(u8, u8),
    Retain(BTreeSet<u8>),
    Replace { read: Model, own: u8 },
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_who_is_on_any_incarnation(ops in prop::collection::vec(op(), 1..60)) {
        let (mut view, mut model) = (View::default(), Model::new());
        for op in ops {
            let (before, version) = (online(&model), view.version());
            match op {
                Op::Enter(on, who) => {
                    model.entry(on).or_default().insert(who);
                    prop_assert_eq!(view.enter(&node(on), &user(who)), !before.contains(&user(who)));
                    prop_assert_ne!(view.version(), version);
                }
                Op::Leave(on, who) => {
                    model.entry(on).or_default().remove(&who);
                    let gone = before.contains(&user(who)) && !online(&model).contains(&user(who));
                    prop_assert_eq!(view.leave(&node(on), &user(who)), gone);
                    prop_assert_ne!(view.version(), version);
                }
                Op::Retain(live) => {
                    model.retain(|on, _| live.contains(on));
                    let live: HashSet<Incarnation> = live.into_iter().map(node).collect();
                    let gone = view.retain_nodes(&live);
                    prop_assert_eq!(gone.len(), gone.iter().collect::<HashSet<_>>().len());
                    prop_assert_eq!(gone.into_iter().collect::<BTreeSet<_>>(), &before - &online(&model));
                }
                Op::Replace { read, own } => {
                    let mine = model.remove(&own);
                    model = read.clone();
                    model.remove(&own);
                    model.extend(mine.map(|users| (own, users)));
                    let read: Online =
                        read.into_iter().map(|(on, who)| (node(on), who.into_iter().map(user).collect())).collect();
                    let (came, went) = view.replace(read, &node(own));
                    prop_assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), &online(&model) - &before);
                    prop_assert_eq!(went.into_iter().collect::<BTreeSet<_>>(), &before - &online(&model));
                }
            }
            let now = online(&model);
            prop_assert_eq!(view.count(), now.len());
            prop_assert_eq!(view.names(3), now.iter().take(3).cloned().collect::<Vec<_>>());
            prop_assert_eq!(view.names(99), now.into_iter().collect::<Vec<_>>());
            prop_assert!(view.by_node.values().all(|users| !users.is_empty()), "nothing is kept of who went");
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let (on, who) = (0..4u8, 0..6u8);
    let read = prop::collection::btree_map(on.clone(), prop::collection::btree_set(who.clone(), 0..4), 0..4);
    prop_oneof![
        5 => (on.clone(), who.clone()).prop_map(|(on, who)| Op::Enter(on, who)),
        4 => (on.clone(), who).prop_map(|(on, who)| Op::Leave(on, who)),
        1 => prop::collection::btree_set(on.clone(), 0..4).prop_map(Op::Retain),
        1 => (read, on).prop_map(|(read, own)| Op::Replace { read, own }),
    ]
}

fn online(model: &Model) -> BTreeSet<Username> {
    model.values().flatten().copied().map(user).collect()
}

fn node(number: u8) -> Incarnation {
    Incarnation(format!("node-{number}"))
}

fn user(number: u8) -> Username {
    Username::from_stored(format!("user-{number}"))
}
