//! Entry points: where control comes in from elsewhere.

use super::function::{Block, Function};
use super::grow::{Claims, Grown, place, target};
use super::leaders::Leaders;
use crate::isa::Flow;
use crate::program::{CodeAddr, Program};
use std::collections::BTreeSet;

/// For each region the addresses that control comes in at from elsewhere.
pub(super) fn wanted(leaders: &Leaders<'_>, claims: &Claims, grown: &[Grown]) -> Vec<BTreeSet<i32>> {
    let program = leaders.program;
    let mut wanted: Vec<BTreeSet<i32>> = grown.iter().map(|region| BTreeSet::from([region.seed])).collect();
    // Places that other regions go to.
    let mut from_elsewhere: BTreeSet<CodeAddr> = leaders.called.clone();
    for (number, region) in grown.iter().enumerate() {
        for next in region.blocks.values().flat_map(Block::successors) {
            let inside = region.blocks.contains_key(&next);
            if let Some(at) = target(program, region, next)
                && !inside
                && claims.owner.get(&at).is_some_and(|&owner| owner != number)
            {
                from_elsewhere.insert(at);
            }
        }
    }
    for (region, wanted) in grown.iter().zip(&mut wanted) {
        for &address in region.blocks.keys() {
            let at = place(region, address);
            if program.indirect(at) > 0
                || leaders.returns.contains(&at)
                || leaders.resumes.contains(&at)
                || from_elsewhere.contains(&at)
            {
                wanted.insert(address);
            }
        }
        let heads = loop_heads(region, wanted);
        wanted.extend(heads);
    }
    wanted
}

/// Targets of back edges of a depth-first walk from the seed, then from the other places where control comes
/// in.
fn loop_heads(region: &Grown, wanted: &BTreeSet<i32>) -> BTreeSet<i32> {
    let mut heads = BTreeSet::new();
    let mut done = BTreeSet::new();
    let mut path: BTreeSet<i32> = BTreeSet::new();
    let mut stack: Vec<(i32, bool)> = wanted.iter().rev().map(|&address| (address, false)).collect();
    stack.push((region.seed, false));
    while let Some((address, leaving)) = stack.pop() {
        if leaving {
            path.remove(&address);
            done.insert(address);
            continue;
        }
        if path.contains(&address) || done.contains(&address) {
            continue;
        }
        path.insert(address);
        stack.push((address, true));
        for next in region.blocks[&address].successors().filter(|next| region.blocks.contains_key(next)) {
            if path.contains(&next) {
                heads.insert(next);
            } else if !done.contains(&next) {
                stack.push((next, false));
            }
        }
    }
    heads
}

/// Addresses that a function calls and that are in `first`.
pub(super) fn calls(
    program: &Program,
    region: &Grown,
    function: &Function,
    first: &BTreeSet<CodeAddr>,
) -> BTreeSet<i32> {
    let call = |block: &Block| match block.terminator {
        Flow::Call(delta) => Some((block.last(), delta)),
        _ => None,
    };
    let is_first = |&(at, delta): &(i32, i32)| {
        program.jump(place(region, at), delta).is_some_and(|at| first.contains(&at))
    };
    let calls = function.blocks.values().filter_map(call).filter(is_first);
    calls.map(|(at, delta)| at + delta).collect()
}

/// Addresses that a function goes to, or calls, and that are entry points of other functions.
pub(super) fn elsewhere(
    program: &Program,
    region: &Grown,
    function: &Function,
    entries: &BTreeSet<CodeAddr>,
) -> BTreeSet<i32> {
    let mut out = BTreeSet::new();
    for block in function.blocks.values() {
        for next in block.successors().filter(|&next| !function.stays(block, next)) {
            if target(program, region, next).is_some_and(|at| entries.contains(&at)) {
                out.insert(next);
            }
        }
    }
    out
}
