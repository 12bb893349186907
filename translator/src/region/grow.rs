//! Growth: from a seed along direct edges, hottest blocks first.

use super::block::block;
use super::function::Block;
use super::leaders::Leaders;
use crate::isa::Flow;
use crate::program::{CodeAddr, PAGE, Program};
use forelift_abi::lift::Mode;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// Page numbers that a region may have.
const REACH: std::ops::Range<i32> = -31..32;

/// A region before its functions are made.
pub(super) struct Grown {
    pub(super) mode: Mode,
    pub(super) seed: i32,
    pub(super) pages: BTreeMap<i32, usize>,
    pub(super) blocks: BTreeMap<i32, Block>,
}

/// Which regions have which blocks.
pub(super) struct Claims {
    pub(super) owner: BTreeMap<CodeAddr, usize>,
}

/// Where a region begins: in the order in which they are grown.
pub(super) fn seeds(leaders: &Leaders<'_>) -> Vec<CodeAddr> {
    let program = leaders.program;
    let class = |at: &CodeAddr| {
        if leaders.called.contains(at) {
            0
        } else if program.indirect(*at) > 0 && !leaders.returns.contains(at) {
            1
        } else {
            2
        }
    };
    let mut seeds: Vec<CodeAddr> = leaders.set.iter().copied().filter(|&at| leaders.is_hot(at)).collect();
    seeds.sort_by_key(|at| (class(at), std::cmp::Reverse(program.count(*at)), *at));
    seeds
}

/// Grows a region from `seed`. Blocks that it has no room for are appended to `rest`.
pub(super) fn grow(
    leaders: &Leaders<'_>,
    claims: &mut Claims,
    seed: CodeAddr,
    number: usize,
    rest: &mut VecDeque<CodeAddr>,
) -> Option<Grown> {
    let program = leaders.program;
    let start = i32::from(seed.offset);
    let mut region = Grown {
        mode: program.pages[seed.page].mode,
        seed: start,
        pages: BTreeMap::from([(0, seed.page)]),
        blocks: BTreeMap::new(),
    };
    let mut insns = 0;
    // Hottest first, then by address.
    let mut heap = BinaryHeap::from([(program.count(seed), std::cmp::Reverse(start))]);
    while let Some((_, std::cmp::Reverse(address))) = heap.pop() {
        let Some(at) = program.step(seed, address - start) else { continue };
        if !REACH.contains(&address.div_euclid(PAGE)) {
            rest.push_back(at);
            continue;
        }
        if region.blocks.contains_key(&address) || claims.owner.contains_key(&at) || !leaders.is_hot(at) {
            continue;
        }
        let Some(block) = block(program, &leaders.set, at, address) else { continue };
        // An empty block is of no use: its only instruction is not lifted.
        if block.insns.is_empty() {
            continue;
        }
        if !region.blocks.is_empty() && insns + block.insns.len() > leaders.limits.insns {
            rest.push_back(at);
            continue;
        }
        insns += block.insns.len();
        region.pages.insert(address.div_euclid(PAGE), at.page);
        if block.straddles() {
            let second = program.step(at, PAGE - i32::from(at.offset))?;
            region.pages.insert(address.div_euclid(PAGE) + 1, second.page);
        }
        for next in block.successors() {
            if let Some(place) = program.step(seed, next - start) {
                heap.push((program.count(place), std::cmp::Reverse(next)));
            }
        }
        if block.terminator == Flow::JumpRegister {
            for (place, delta) in leaders.jump_targets(at) {
                heap.push((program.count(place), std::cmp::Reverse(address + delta)));
            }
        }
        claims.owner.insert(at, number);
        region.blocks.insert(address, block);
    }
    region.blocks.contains_key(&start).then_some(region)
}

pub(super) fn place(region: &Grown, address: i32) -> CodeAddr {
    let page = region.pages.get(&address.div_euclid(PAGE)).copied().unwrap_or(usize::MAX);
    CodeAddr { page, offset: address.rem_euclid(PAGE) as u16 }
}

/// The place of an address that may lie outside of the region's pages.
pub(super) fn target(program: &Program, region: &Grown, address: i32) -> Option<CodeAddr> {
    let seed = place(region, region.seed);
    program.step(seed, address - region.seed)
}
