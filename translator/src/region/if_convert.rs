//! If-conversion: a short piece of arithmetic that an unpredictable branch skips is computed always, and its
//! results are selected. Then blocks that have become each other's only neighbours are joined, so that what
//! they have in registers stays there.

use super::function::{Block, MAX_BLOCK};
use crate::isa::Flow;
use crate::program::PAGE;
use std::collections::{BTreeMap, BTreeSet};

/// Instructions that are computed in vain at most.
const SKIPPED: usize = 4;
/// A branch is unpredictable when both ways make up at least one part in this many.
const RARE: u64 = 16;

/// The blocks of a function with entry points at `entries`, on their way to fewer.
pub(super) struct IfConversion<'a> {
    blocks: &'a mut BTreeMap<i32, Block>,
    entries: &'a [i32],
    cuts: &'a BTreeSet<(i32, i32)>,
    /// How many edges lead to each block.
    edges: BTreeMap<i32, usize>,
}

impl<'a> IfConversion<'a> {
    pub(super) fn new(
        blocks: &'a mut BTreeMap<i32, Block>,
        entries: &'a [i32],
        cuts: &'a BTreeSet<(i32, i32)>,
    ) -> Self {
        let mut edges = BTreeMap::new();
        for next in blocks.values().flat_map(Block::successors) {
            *edges.entry(next).or_insert(0) += 1;
        }
        IfConversion { blocks, entries, cuts, edges }
    }

    pub(super) fn run(mut self) {
        let starts: Vec<i32> = self.blocks.keys().copied().collect();
        for start in starts {
            while self.blocks.contains_key(&start) && (self.convert(start) || self.append(start)) {}
        }
    }

    /// Whether control comes to `to` from the block at `from` only, in the same page.
    fn is_private(&self, from: i32, to: i32) -> bool {
        self.edges.get(&to) == Some(&1)
            && !self.entries.contains(&to)
            && from.div_euclid(PAGE) == to.div_euclid(PAGE)
            && self.blocks.get(&to).is_some_and(|block| !block.straddles())
            && !self.blocks[&from].straddles()
            && !self.cuts.contains(&(from, to))
    }

    /// Takes over what the branch at the end of the block at `start` skips.
    fn convert(&mut self, start: i32) -> bool {
        let block = &self.blocks[&start];
        let (Flow::Branch(delta), Some(&(at, _))) = (block.terminator, block.insns.last()) else {
            return false;
        };
        let (skipped, join) = (block.end_address, at + delta);
        let Some(other) = self.blocks.get(&skipped) else { return false };
        let fits = other.terminator == Flow::Next
            && other.end_address == join
            && other.insns.len() <= SKIPPED
            && other.skips.is_empty()
            && other.insns.iter().all(|(_, insn)| insn.speculative)
            && block.insns.len() + other.insns.len() <= MAX_BLOCK;
        let (all, some) = (u64::from(block.count), u64::from(other.count));
        let unpredictable = some * RARE >= all && all.saturating_sub(some) * RARE >= all;
        let cut = [(start, join), (skipped, join)].iter().any(|edge| self.cuts.contains(edge));
        if !fits || !unpredictable || cut || !self.is_private(start, skipped) {
            return false;
        }
        let Some(other) = self.blocks.remove(&skipped) else { return false };
        let Some(block) = self.blocks.get_mut(&start) else { return false };
        block.skips.push((block.insns.len() - 1, other.insns.len()));
        block.insns.extend(other.insns);
        (block.terminator, block.end_address) = (Flow::Next, join);
        if let Some(edges) = self.edges.get_mut(&join) {
            *edges -= 1;
        }
        true
    }

    /// Appends the block that follows the one at `start`, if nothing else leads there.
    fn append(&mut self, start: i32) -> bool {
        let block = &self.blocks[&start];
        let next = block.end_address;
        let cut = self.cuts.range((next, i32::MIN)..=(next, i32::MAX)).next().is_some();
        if block.terminator != Flow::Next || next == start || cut || !self.is_private(start, next) {
            return false;
        }
        if block.insns.len() + self.blocks[&next].insns.len() > MAX_BLOCK {
            return false;
        }
        let Some(other) = self.blocks.remove(&next) else { return false };
        let Some(block) = self.blocks.get_mut(&start) else { return false };
        let before = block.insns.len();
        block.skips.extend(other.skips.into_iter().map(|(branch, count)| (branch + before, count)));
        block.insns.extend(other.insns);
        (block.terminator, block.end_address) = (other.terminator, other.end_address);
        true
    }
}
