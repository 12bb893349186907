//! Items with branches, jumps, calls and loops.

use alloc::vec::Vec;

use super::{Generator, MAX_SKIP, put, put_short, shorten};
use crate::rv64::encode::Fields;
use crate::rv64::op::Op;

impl Generator {
    /// A conditional branch over a block.
    pub(super) fn skip(&mut self, code: &mut Vec<u8>, depth: usize) {
        let body = self.nested(depth, 0);
        if body.len() > MAX_SKIP {
            return code.extend(body);
        }
        let op = self.rng.pick(&[Op::Beq, Op::Bne, Op::Blt, Op::Bge, Op::Bltu, Op::Bgeu]);
        let mut fields = self.fields();
        if self.rng.one_in(3) {
            let short = Fields { rs1: 8 + self.rng.below(8) as u8, rs2: 0, ..Fields::default() };
            let op = self.rng.pick(&[Op::Beq, Op::Bne]);
            let short = Fields { imm: body.len() as i32 + 2, ..short };
            if let Some(half) = shorten(op, &short) {
                code.extend(half.to_le_bytes());
                return code.extend(body);
            }
        }
        fields.imm = body.len() as i32 + 4;
        put(code, op, fields);
        code.extend(body);
    }

    /// A jump over a block that never runs. Its bytes are code, so that a decoder that runs ahead has
    /// something to chew on.
    pub(super) fn jump(&mut self, code: &mut Vec<u8>, depth: usize) {
        let body = self.nested(depth, 0);
        let rd = self.rd();
        let short = Fields { imm: body.len() as i32 + 2, ..Fields::default() };
        match shorten(Op::Jal, &short) {
            Some(half) if self.rng.one_in(2) => code.extend(half.to_le_bytes()),
            _ => put(code, Op::Jal, Fields { rd, imm: body.len() as i32 + 4, ..Fields::default() }),
        }
        code.extend(body);
    }

    /// A jump through a register over a block.
    pub(super) fn jump_register(&mut self, code: &mut Vec<u8>, depth: usize) {
        let body = self.nested(depth, 0);
        if body.len() > MAX_SKIP {
            return code.extend(body);
        }
        let t = self.scratch(&[]);
        let none = Fields::default();
        let len = body.len() as i32;
        put(code, Op::Auipc, Fields { rd: t, ..none });
        match self.rng.below(4) {
            0 => {
                // c.jr; bit 0 of the target is dropped.
                put_far(code, t, 4, len + 2, self.rng.one_in(2));
                put_short(code, Op::Jalr, Fields { rs1: t, ..none });
            }
            1 if self.kept >> 1 & 1 == 0 => {
                // c.jalr writes ra, and may jump through it.
                put_far(code, t, 4, len + 2, self.rng.one_in(2));
                put_short(code, Op::Jalr, Fields { rd: 1, rs1: t, ..none });
            }
            _ => {
                let rd = self.rd();
                put_far(code, t, 4, len + 4 - 5, self.rng.one_in(2));
                put(code, Op::Jalr, Fields { rd, rs1: t, imm: 5, ..none });
            }
        }
        code.extend(body);
    }

    /// A call of a block that returns through its link register: `jal l, f; jal x0, end; f: block; jalr x0,
    /// l; end:`.
    pub(super) fn call(&mut self, code: &mut Vec<u8>, depth: usize) {
        let link = if self.kept >> 1 & 1 == 0 && self.rng.one_in(2) { 1 } else { self.scratch(&[]) };
        let body = self.nested(depth, 1 << link);
        let none = Fields::default();
        put(code, Op::Jal, Fields { rd: link, imm: 8, ..none });
        put(code, Op::Jal, Fields { imm: body.len() as i32 + 8, ..none });
        code.extend(body);
        put(code, Op::Jalr, Fields { rs1: link, ..none });
    }

    /// A block that runs 1 to 6 times.
    pub(super) fn counted_loop(&mut self, code: &mut Vec<u8>, depth: usize) {
        let counter = self.scratch(&[]);
        let body = self.nested(depth, 1 << counter);
        if body.len() > MAX_SKIP {
            return code.extend(body);
        }
        let none = Fields::default();
        let rounds = self.rng.between(1, 6);
        put(code, Op::Addi, Fields { rd: counter, imm: rounds, ..none });
        let head = code.len();
        code.extend(body);
        let step = Fields { rd: counter, rs1: counter, imm: -1, ..none };
        if self.rng.one_in(2) {
            put_short(code, Op::Addi, step)
        } else {
            put(code, Op::Addi, step)
        }
        let back = Fields { rs1: counter, imm: -((code.len() - head) as i32), ..none };
        match shorten(Op::Bne, &back) {
            Some(half) if self.rng.one_in(2) => code.extend(half.to_le_bytes()),
            _ => put(code, Op::Bne, back),
        }
    }
}

/// Adds to `t`, which holds an address `before` bytes back, so that it points `ahead` bytes past this
/// addition; odd on request. Always 8 bytes, whatever the distance.
fn put_far(code: &mut Vec<u8>, t: u8, before: i32, ahead: i32, odd: bool) {
    let delta = before + 8 + ahead;
    let first = (delta / 2).min(2047);
    let none = Fields::default();
    put(code, Op::Addi, Fields { rd: t, rs1: t, imm: first, ..none });
    put(code, Op::Addi, Fields { rd: t, rs1: t, imm: delta - first + odd as i32, ..none });
}
