//! What is known at the beginning of each block: registers whose values are used, and pages that were
//! checked.

use crate::isa::Registers;
use crate::program::PAGE;
use crate::region::{Block, Function};
use std::collections::BTreeMap;

/// Registers read in a block before they are written, and registers written.
fn uses(block: &Block) -> (Registers, Registers) {
    let mut skips = block.skips.iter().peekable();
    let mut skipped = 0;
    block.insns.iter().enumerate().fold((0, 0), |(used, written), (n, (_, insn))| {
        // What may be skipped keeps the value from before.
        let kept = if n < skipped { insn.writes } else { 0 };
        if let Some((_, count)) = skips.next_if(|(branch, _)| *branch == n) {
            skipped = n + 1 + count;
        }
        (used | (insn.reads | kept) & !written, written | insn.writes)
    })
}

/// Registers whose value at the beginning of each block is used in the function.
pub(super) fn live_in(function: &Function) -> BTreeMap<i32, Registers> {
    let sums: BTreeMap<i32, (Registers, Registers)> =
        function.blocks.iter().map(|(a, b)| (*a, uses(b))).collect();
    let mut live: BTreeMap<i32, Registers> = sums.iter().map(|(a, s)| (*a, s.0)).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for (address, block) in function.blocks.iter().rev() {
            if block.calls() {
                continue;
            }
            let out = block.successors().filter_map(|next| live.get(&next)).fold(0, |a, b| a | b);
            let (used, written) = sums[address];
            let new = used | out & !written;
            if live[address] != new {
                live.insert(*address, new);
                changed = true;
            }
        }
    }
    live
}

/// Bit of a page of the region.
pub(super) fn page_bit(page: i32) -> u64 {
    1 << (page.rem_euclid(64))
}

/// The page that a block's first instruction begins in.
pub(super) fn page_of(address: i32) -> i32 {
    address.div_euclid(PAGE)
}

/// Pages that a block needs when it is entered: the one after it, too, if its instruction lies across the
/// end.
pub(super) fn needed(block: &Block) -> u64 {
    let first = page_bit(page_of(block.start));
    if block.straddles() { first | page_bit(page_of(block.start) + 1) } else { first }
}

/// Pages that were checked on every path to each block. An entry point's own page is known.
pub(super) fn checked_pages(function: &Function) -> BTreeMap<i32, u64> {
    let mut checked: BTreeMap<i32, u64> = function.blocks.keys().map(|&a| (a, u64::MAX)).collect();
    for entry in &function.entries {
        checked.insert(*entry, page_bit(page_of(*entry)));
    }
    let mut changed = true;
    while changed {
        changed = false;
        for (address, block) in &function.blocks {
            let out = checked[address] | needed(block);
            for next in block.successors() {
                let Some(known) = checked.get_mut(&next) else { continue };
                // The edge checks the page that it goes to.
                let new = *known & (out | page_bit(page_of(next)));
                changed |= new != *known;
                *known = new;
            }
        }
    }
    checked
}
