//! The cases of RV64GC.

use crate::isa::{BASE, Isa};
use forelift_isa::rv64::{Flow, Op, decode};
use forelift_translator::fixed::{self, Piece};
use forelift_translator::program::Program;
use std::collections::BTreeSet;

/// RV64GC.
pub(crate) const ISA: Isa = Isa {
    name: "rv64",
    modes: &[("user", 0), ("supervisor", 1)],
    layout: fixed::layout,
    disassemble,
    program,
    lifted,
};

fn disassemble(bytes: &[u8], address: u64) -> Option<String> {
    let piece = Piece { address, bytes };
    let (bits, _) = piece.insn(address).filter(|&(_, len)| len == bytes.len() as u64)?;
    Some(decode(bits)?.disassemble(address).to_string().replace('\t', " "))
}

fn program(bytes: &[u8], mode: u8) -> Program {
    let pieces = [Piece { address: BASE, bytes }];
    fixed::program(&pieces, &fixed::all(&pieces), &BTreeSet::from([BASE]), mode)
}

fn lifted() -> Vec<&'static str> {
    let lifted: Vec<_> =
        Op::ALL.iter().filter(|op| op.flow() != Flow::System).map(|op| op.mnemonic()).collect();
    assert!(lifted.len() >= 150, "{}", lifted.len());
    lifted
}
