//! Items made of compressed instructions.

use alloc::vec::Vec;

use super::{Generator, SP, put_short};
use crate::rv64::decode::{CROWS, CRow, Insn, compressed_row, decode};
use crate::rv64::encode::{Fields, encode_compressed};
use crate::rv64::format::CFormat;
use crate::rv64::op::{Access, Flow, Op};

impl Generator {
    /// A random instruction of a row that satisfies `accept`.
    fn crow(&mut self, accept: impl Fn(&CRow, Op, CFormat) -> bool) -> (&'static CRow, Insn) {
        loop {
            let row = &CROWS[self.rng.below(CROWS.len())];
            let Some((op, format)) = row.expands else { continue };
            if !accept(row, op, format) {
                continue;
            }
            let half = row.matches | self.rng.next_u64() as u16 & !row.mask;
            let same = compressed_row(half) == Some(row);
            if let Some(insn) = decode(half as u32).filter(|_| same) {
                return (row, insn);
            }
        }
    }

    pub(super) fn compressed(&mut self, code: &mut Vec<u8>) {
        loop {
            let (_, insn) = self.crow(|_, op, _| op.flow() == Flow::Next && op.access() == Access::None);
            if insn.writes().x & self.kept == 0 {
                code.extend((insn.raw as u16).to_le_bytes());
                return;
            }
        }
    }

    pub(super) fn compressed_memory(&mut self, code: &mut Vec<u8>) {
        loop {
            let (row, insn) = self.crow(|_, op, _| op.access() != Access::None);
            if insn.writes().x & self.kept != 0 {
                continue;
            }
            let rs1 = if insn.rs1 == SP { SP } else { self.pointer };
            if !self.offset_ok(rs1, insn.imm, insn.access().bytes()) {
                continue;
            }
            let fields = Fields { rd: insn.rd, rs1, rs2: insn.rs2, imm: insn.imm, ..Fields::default() };
            if let Some(half) = encode_compressed(row, &fields) {
                code.extend(half.to_le_bytes());
                return;
            }
        }
    }

    /// Moves sp, looks at it, and moves it back.
    pub(super) fn move_sp(&mut self, code: &mut Vec<u8>) {
        let imm = 16 * self.rng.pick(&[-31, -5, -1, 1, 2, 15, 30, 31]);
        let rd = self.scratch(&[]);
        let fields = Fields { rd: SP, rs1: SP, imm, ..Fields::default() };
        put_short(code, Op::Addi, fields);
        put_short(code, Op::Add, Fields { rd, rs2: SP, ..Fields::default() });
        put_short(code, Op::Addi, Fields { imm: -imm, ..fields });
    }
}
