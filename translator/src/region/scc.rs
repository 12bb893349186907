//! Strongly connected components of a region's graph, and which edges make its loops irreducible.

use std::collections::{BTreeMap, BTreeSet};

/// Edges without which every loop among the blocks `inside` has one entry: of the entries, that of the
/// function or else the one that most edges lead to stays.
pub(super) fn side_entries(
    inside: &BTreeSet<i32>,
    entries: &[i32],
    edges: &dyn Fn(i32) -> Vec<i32>,
) -> BTreeSet<(i32, i32)> {
    let mut cuts = BTreeSet::new();
    let mut parts = vec![inside.clone()];
    while let Some(part) = parts.pop() {
        let within = |address: i32| -> Vec<i32> {
            edges(address).into_iter().filter(|next| part.contains(next)).collect()
        };
        let component = components(&part, &within);
        let mut members: BTreeMap<usize, BTreeSet<i32>> = BTreeMap::new();
        for (&address, &number) in &component {
            members.entry(number).or_default().insert(address);
        }
        for mut members in members.into_values().filter(|members| members.len() > 1) {
            let mut ways: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
            for &from in inside.difference(&members) {
                for to in edges(from).into_iter().filter(|to| members.contains(to)) {
                    if !cuts.contains(&(from, to)) {
                        ways.entry(to).or_default().push(from);
                    }
                }
            }
            let is_entry = |address: &i32| entries.contains(address);
            let entered = members.iter().copied().find(is_entry);
            let most = ways.iter().max_by_key(|(to, from)| (from.len(), std::cmp::Reverse(**to)));
            let Some(head) = entered.or(most.map(|(to, _)| *to)) else { continue };
            for (to, from) in ways {
                if to != head && !is_entry(&to) {
                    cuts.extend(from.into_iter().map(|from| (from, to)));
                }
            }
            members.remove(&head);
            parts.push(members);
        }
    }
    cuts
}

/// Number of the strongly connected component of each block reachable from `from` (Tarjan 1972, without
/// recursion).
pub(super) fn components(from: &BTreeSet<i32>, edges: &dyn Fn(i32) -> Vec<i32>) -> BTreeMap<i32, usize> {
    struct Frame {
        address: i32,
        next: Vec<i32>,
    }
    let mut index: BTreeMap<i32, usize> = BTreeMap::new();
    let mut low: BTreeMap<i32, usize> = BTreeMap::new();
    let mut component: BTreeMap<i32, usize> = BTreeMap::new();
    let mut stack: Vec<i32> = Vec::new();
    let mut count = 0;
    for &root in from {
        if index.contains_key(&root) {
            continue;
        }
        let mut frames = vec![Frame { address: root, next: edges(root) }];
        index.insert(root, index.len());
        low.insert(root, index[&root]);
        stack.push(root);
        while let Some(frame) = frames.last_mut() {
            let address = frame.address;
            if let Some(next) = frame.next.pop() {
                if let Some(&seen) = index.get(&next) {
                    if !component.contains_key(&next) {
                        let least = low[&address].min(seen);
                        low.insert(address, least);
                    }
                } else {
                    index.insert(next, index.len());
                    low.insert(next, index[&next]);
                    stack.push(next);
                    frames.push(Frame { address: next, next: edges(next) });
                }
                continue;
            }
            frames.pop();
            if let Some(parent) = frames.last() {
                let least = low[&parent.address].min(low[&address]);
                low.insert(parent.address, least);
            }
            if low[&address] == index[&address] {
                while let Some(member) = stack.pop() {
                    component.insert(member, count);
                    if member == address {
                        break;
                    }
                }
                count += 1;
            }
        }
    }
    component
}
