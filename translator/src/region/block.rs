//! Basic blocks: from a leader to a control transfer, the next leader or the page's end.

use super::function::{Block, MAX_BLOCK};
use crate::isa::{Decoded, Flow};
use crate::program::{CodeAddr, ILLEGAL, Program};
use std::collections::BTreeSet;

/// The block at `at`, whose address in its region is `start`.
pub(super) fn block(
    program: &Program,
    leaders: &BTreeSet<CodeAddr>,
    at: CodeAddr,
    start: i32,
) -> Option<Block> {
    let mut insns = Vec::new();
    let mut here = at;
    let mut address = start;
    let terminator = loop {
        let insn = match program.decode(here)? {
            Decoded::Insn(insn) => insn,
            Decoded::Illegal(_) => break Flow::Unlifted(ILLEGAL),
            Decoded::Truncated => return None,
        };
        if let Flow::Unlifted(why) = insn.flow {
            break Flow::Unlifted(why);
        }
        let pair = insns.last().and_then(|(_, before)| program.isa.pair(before, &insn));
        insns.push((address, insn));
        address += i32::from(insn.len);
        match pair.unwrap_or(insn.flow) {
            Flow::Next => {}
            flow => break flow,
        }
        match program.step(here, i32::from(insn.len)) {
            Some(next) if !leaders.contains(&next) && next.page == at.page && insns.len() < MAX_BLOCK => {
                here = next
            }
            _ => break Flow::Next,
        }
    };
    let count = program.count(at);
    Some(Block { start, end_address: address, insns, skips: Vec::new(), terminator, count })
}
