//! Encoder: an instruction and its fields to a word, by the table. For test generators; no assembler.

use super::decode::{CRow, compressed_row, decode};
use super::format::{Reg, scatter};
use super::op::Op;

/// Operands to encode, with the meaning that they have in [`Insn`](super::Insn). What the format does not
/// have is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Destination register.
    pub rd: u8,
    /// First source register or 5-bit immediate of the CSR instructions.
    pub rs1: u8,
    /// Second source register.
    pub rs2: u8,
    /// Third source register.
    pub rs3: u8,
    /// Rounding mode.
    pub rm: u8,
    /// Immediate.
    pub imm: i32,
    /// Acquire bit of the A extension.
    pub aq: bool,
    /// Release bit of the A extension.
    pub rl: bool,
}

/// Encodes `op`. Bits of a field beyond its width are dropped: `decode(encode(op, f))` gives back fields that
/// fit.
pub fn encode(op: Op, fields: &Fields) -> u32 {
    let row = op.row();
    let layout = row.format.layout();
    let field = |used: Reg, value: u8, low: u32| if used == Reg::No { 0 } else { (value as u32 & 31) << low };
    let mut word = row.matches
        | field(layout.rd, fields.rd, 7)
        | field(layout.rs1, fields.rs1, 15)
        | field(layout.rs2, fields.rs2, 20)
        | field(layout.rs3, fields.rs3, 27)
        | scatter(fields.imm, layout.imm);
    if layout.rm {
        word |= (fields.rm as u32 & 7) << 12;
    }
    if row.access.must_align() {
        word |= (fields.aq as u32) << 26 | (fields.rl as u32) << 25;
    }
    word
}

/// Encodes a compressed instruction, `fields` being those of its expansion. `None` when this row cannot
/// express them: a register outside its three bits, an immediate out of range or a reserved one, another row
/// for this case.
pub fn encode_compressed(row: &CRow, fields: &Fields) -> Option<u16> {
    let (_, format) = row.expands?;
    let layout = format.layout();
    let half = row.matches
        | layout.rd.put(fields.rd)?
        | layout.rs1.put(fields.rs1)?
        | layout.rs2.put(fields.rs2)?
        | scatter(fields.imm, layout.imm) as u16;
    if compressed_row(half)? != row {
        return None;
    }
    // Two fields may share bits (rd = rs1), and the immediate may not fit: the way back tells.
    let back = decode(half as u32)?;
    let same =
        back.rd == fields.rd && back.rs1 == fields.rs1 && back.rs2 == fields.rs2 && back.imm == fields.imm;
    same.then_some(half)
}
