//! Which regions are taken: the hottest first, until an allowance is used up.

use super::function::Region;
use std::cmp::Reverse;

/// What may still be taken, in any unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    left: u64,
}

impl Allowance {
    /// So much in all.
    pub fn new(limit: u64) -> Self {
        Allowance { left: limit }
    }

    /// Takes `cost`; false: there is not so much left, and nothing is from now on.
    pub fn take(&mut self, cost: u64) -> bool {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                false
            }
        }
    }
}

/// The regions that stand for most executed instructions, of at most `insns` instructions together.
pub fn hottest(mut regions: Vec<Region>, insns: usize) -> Vec<Region> {
    regions.sort_by_key(|region| Reverse(region.weight()));
    let mut allowance = Allowance::new(insns as u64);
    let fits = regions.iter().take_while(|region| allowance.take(region.insns() as u64)).count();
    regions.truncate(fits);
    regions
}

/// Sorts regions by the executed instructions that each of their instructions stands for: the best use of an
/// allowance, as long as no region is a large part of it.
pub fn hottest_by_instruction(regions: &mut [Region]) {
    const PARTS: u128 = 1 << 10;
    let density = |region: &Region| {
        let insns = region.insns().max(1) as u128;
        u64::try_from(u128::from(region.weight()) * PARTS / insns).unwrap_or(u64::MAX)
    };
    regions.sort_by_cached_key(|region| Reverse(density(region)));
}

#[cfg(test)]
mod tests {
    use super::super::function::{Block, Function};
    use super::*;
    use crate::isa::{Flow, Insn};
    use forelift_abi::lift::Mode;
    use std::collections::BTreeMap;

    fn region(weight: u64, insns: usize) -> Region {
        let insns = vec![(0, Insn::new(&[0])); insns];
        let block =
            Block { start: 0, end_address: 1, insns, skips: Vec::new(), terminator: Flow::Return, count: 1 };
        let blocks = BTreeMap::from([(0, block)]);
        Region { functions: vec![Function { weight, blocks, ..Function::empty(Mode::User) }] }
    }

    #[test]
    fn the_hottest_are_taken_until_one_does_not_fit() {
        let all = || vec![region(10, 5), region(30, 6), region(20, 4), region(1, 1)];
        let weights = |regions: Vec<Region>| regions.iter().map(Region::weight).collect::<Vec<_>>();
        assert_eq!(weights(hottest(all(), 10)), [30, 20]);
        assert_eq!(weights(hottest(all(), 14)), [30, 20], "nothing after what did not fit");
        assert_eq!(weights(hottest(all(), 16)), [30, 20, 10, 1]);
        let mut regions = all();
        hottest_by_instruction(&mut regions);
        assert_eq!(weights(regions), [30, 20, 10, 1]);
        let mut regions = vec![region(100, 100), region(3, 1)];
        hottest_by_instruction(&mut regions);
        assert_eq!(weights(regions), [3, 100]);
    }
}
