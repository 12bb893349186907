//! The functions of a region: its own, and resume functions for the entry points inside of loops.

use super::function::{Block, Function};
use super::grow::Grown;
use super::if_convert::IfConversion;
use super::limits::Limits;
use super::scc::{components, side_entries};
use std::collections::{BTreeMap, BTreeSet};

/// The functions that provide the wanted entry points of a region.
pub(super) fn functions(region: &Grown, wanted: &BTreeSet<i32>, limits: Limits) -> Vec<Function> {
    let mut provided: BTreeSet<i32> = BTreeSet::new();
    let mut remaining = wanted.clone();
    let mut out = Vec::new();
    for round in 0..=limits.rounds {
        if remaining.is_empty() {
            break;
        }
        let edges = |address: i32| -> Vec<i32> {
            region.blocks[&address]
                .successors()
                .filter(|next| region.blocks.contains_key(next) && !provided.contains(next))
                .collect()
        };
        let entries = roots(region, &remaining, &edges);
        let mut inside = BTreeSet::new();
        let mut stack = entries.clone();
        while let Some(address) = stack.pop() {
            if inside.insert(address) {
                stack.extend(edges(address));
            }
        }
        let mut blocks: BTreeMap<i32, Block> = region
            .blocks
            .iter()
            .filter(|(address, _)| inside.contains(address))
            .map(|(a, b)| (*a, b.clone()))
            .collect();
        let weight = match round {
            0 => blocks.values().map(|b| u64::from(b.count) * b.insns.len() as u64).sum(),
            _ => 0,
        };
        let cuts = side_entries(&inside, &entries, &edges);
        remaining.extend(cuts.iter().map(|(_, to)| *to).filter(|to| !provided.contains(to)));
        for entry in &entries {
            remaining.remove(entry);
        }
        IfConversion::new(&mut blocks, &entries, &cuts).run();
        let mut numbered = entries.clone();
        if let Some(seed) = numbered.iter().position(|&entry| entry == region.seed) {
            numbered[..=seed].rotate_right(1);
        }
        out.push(Function {
            pages: region.pages.clone(),
            blocks,
            entries: numbered,
            cuts,
            weight,
            resumes: round > 0,
            ..Function::empty(region.mode)
        });
        provided.extend(entries);
    }
    out
}

/// Which of the wanted addresses can be entry points at once without making a loop irreducible: those in no
/// loop, and one of each outermost loop (a strongly connected component): if possible the one where control
/// comes in from outside.
fn roots(region: &Grown, wanted: &BTreeSet<i32>, edges: &dyn Fn(i32) -> Vec<i32>) -> Vec<i32> {
    let component = components(wanted, edges);
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for number in component.values() {
        *sizes.entry(*number).or_default() += 1;
    }
    let mut comes_in = BTreeSet::new();
    let mut loops_to_itself = BTreeSet::new();
    for (&address, number) in &component {
        for next in edges(address) {
            if next == address {
                loops_to_itself.insert(address);
            } else if component.get(&next) != Some(number) {
                comes_in.insert(next);
            }
        }
    }
    let mut chosen: BTreeMap<usize, i32> = BTreeMap::new();
    let mut out = Vec::new();
    for &address in wanted {
        let number = component[&address];
        if sizes[&number] == 1 {
            out.push(address);
            continue;
        }
        let rank = |address: i32| {
            (comes_in.contains(&address) || address == region.seed, region.blocks[&address].count)
        };
        let best = chosen.entry(number).or_insert(address);
        if rank(address) > rank(*best) {
            *best = address;
        }
    }
    out.extend(chosen.into_values());
    out.sort_unstable();
    out
}
