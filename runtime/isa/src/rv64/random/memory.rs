//! Items that load and store.

use alloc::vec::Vec;

use super::{Generator, SP, put};
use crate::rv64::encode::Fields;
use crate::rv64::format::Format;
use crate::rv64::op::Op;

impl Generator {
    /// Whether an access of `bytes` at this distance from `base` is allowed.
    pub(super) fn offset_ok(&self, base: u8, offset: i32, bytes: usize) -> bool {
        let Some((sp, pointer)) = self.cross else { return true };
        let address = (if base == SP { sp } else { pointer }).wrapping_add_signed(offset as i64);
        address % 4096 + bytes as u64 <= 4096
    }

    /// An offset for an access of `bytes` from `base`: half of them aligned, many small.
    fn offset(&mut self, base: u8, bytes: usize) -> i32 {
        loop {
            let mut offset = self.rng.between(-2048, 2047);
            if self.rng.one_in(3) {
                offset %= 64;
            }
            if self.rng.one_in(2) {
                offset &= -(bytes as i32);
            }
            if self.offset_ok(base, offset, bytes) {
                return offset;
            }
        }
    }

    fn base(&mut self) -> u8 {
        if self.rng.one_in(3) { SP } else { self.pointer }
    }

    pub(super) fn memory(&mut self, code: &mut Vec<u8>) {
        let op = self.rng.pick(&self.families.memory);
        let mut fields = self.fields();
        if op.format() == Format::FLoad {
            fields.rd = self.any();
        }
        fields.rs1 = self.base();
        fields.imm = self.offset(fields.rs1, op.access().bytes());
        put(code, op, fields);
    }

    /// Makes `t` point to an aligned place in the window.
    fn aligned(&mut self, code: &mut Vec<u8>, t: u8, bytes: usize) {
        let rs1 = self.base();
        // Both pointers are multiples of 16.
        let imm = self.offset(rs1, 1) & -(bytes as i32);
        put(code, Op::Addi, Fields { rd: t, rs1, imm, ..Fields::default() });
    }

    pub(super) fn amo(&mut self, code: &mut Vec<u8>) {
        let op = self.rng.pick(&self.families.amo);
        let t = self.scratch(&[]);
        self.aligned(code, t, op.access().bytes());
        let fields = self.fields();
        put(code, op, Fields { rs1: t, ..fields });
    }

    /// lr, a few harmless instructions, sc to the same place: "constrained LR/SC loop" but for the loop
    /// (unprivileged manual, "Eventual Success of Store-Conditional Instructions"). Sometimes a second sc,
    /// which must fail.
    pub(super) fn reservation(&mut self, code: &mut Vec<u8>) {
        let (lr, sc, bytes) = if self.rng.one_in(2) { (Op::LrW, Op::ScW, 4) } else { (Op::LrD, Op::ScD, 8) };
        let t = self.scratch(&[]);
        let outer = self.kept;
        self.kept |= 1 << t;
        self.aligned(code, t, bytes);
        let fields = self.fields();
        put(code, lr, Fields { rs1: t, ..fields });
        for _ in 0..self.rng.below(4) {
            let op = self.rng.pick(&[Op::Add, Op::Xor, Op::Addi, Op::Sltu, Op::Sub, Op::Andi]);
            let fields = self.fields();
            put(code, op, fields);
        }
        for _ in 0..1 + self.rng.one_in(4) as usize {
            let fields = self.fields();
            put(code, sc, Fields { rs1: t, ..fields });
        }
        self.kept = outer;
    }
}
