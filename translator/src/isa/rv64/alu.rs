//! Integer arithmetic (RV64I, M).

use super::Lowerer;
use crate::lift::Frame;
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};
use forelift_isa::rv64::{Insn, Op};

/// The condition that a branch goes by.
pub(super) fn condition(op: Op) -> IntCC {
    match op {
        Op::Beq => IntCC::Equal,
        Op::Bne => IntCC::NotEqual,
        Op::Blt => IntCC::SignedLessThan,
        Op::Bge => IntCC::SignedGreaterThanOrEqual,
        Op::Bltu => IntCC::UnsignedLessThan,
        _ => IntCC::UnsignedGreaterThanOrEqual,
    }
}

impl Lowerer {
    pub(super) fn alu(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        if insn.rd == 0 {
            return;
        }
        let imm = i64::from(insn.imm);
        let value = match insn.op {
            Op::Lui => f.iconst(imm),
            Op::Auipc => {
                let pc = f.pc(at);
                f.b.ins().iadd_imm_s(pc, imm)
            }
            Op::Addi | Op::Slti | Op::Sltiu | Op::Xori | Op::Ori | Op::Andi => {
                let a = self.get_x(f, insn.rs1);
                let b = f.iconst(imm);
                self.binary(f, register_form(insn.op), a, b)
            }
            Op::Slli | Op::Srli | Op::Srai => {
                let a = self.get_x(f, insn.rs1);
                let b = f.iconst(imm);
                self.binary(f, register_form(insn.op), a, b)
            }
            Op::Addiw | Op::Slliw | Op::Srliw | Op::Sraiw => {
                let a = self.get_x(f, insn.rs1);
                let b = f.iconst(imm);
                self.word(f, register_form(insn.op), a, b)
            }
            Op::Addw | Op::Subw | Op::Sllw | Op::Srlw | Op::Sraw | Op::Mulw => {
                let (a, b) = (self.get_x(f, insn.rs1), self.get_x(f, insn.rs2));
                self.word(f, insn.op, a, b)
            }
            Op::Div | Op::Divu | Op::Rem | Op::Remu => {
                let (a, b) = (self.get_x(f, insn.rs1), self.get_x(f, insn.rs2));
                self.divide(f, insn.op, a, b)
            }
            Op::Divw | Op::Divuw | Op::Remw | Op::Remuw => {
                let (a, b) = (self.get_x(f, insn.rs1), self.get_x(f, insn.rs2));
                let (a, b) = (f.b.ins().ireduce(types::I32, a), f.b.ins().ireduce(types::I32, b));
                let result = self.divide(f, insn.op, a, b);
                f.b.ins().sextend(types::I64, result)
            }
            _ => {
                let (a, b) = (self.get_x(f, insn.rs1), self.get_x(f, insn.rs2));
                self.binary(f, insn.op, a, b)
            }
        };
        self.set_x(f, insn.rd, value);
    }

    fn compare(&mut self, f: &mut Frame<'_>, condition: IntCC, a: Value, b: Value) -> Value {
        let bit = f.b.ins().icmp(condition, a, b);
        f.b.ins().uextend(types::I64, bit)
    }

    fn binary(&mut self, f: &mut Frame<'_>, op: Op, a: Value, b: Value) -> Value {
        match op {
            Op::Slt => return self.compare(f, IntCC::SignedLessThan, a, b),
            Op::Sltu => return self.compare(f, IntCC::UnsignedLessThan, a, b),
            Op::Mulhsu => {
                // a is signed: its sign bit weighs -2^63 instead of 2^63.
                let high = f.b.ins().umulhi(a, b);
                let sign = f.b.ins().sshr_imm_u(a, 63);
                let excess = f.b.ins().band(sign, b);
                return f.b.ins().isub(high, excess);
            }
            _ => {}
        }
        let ins = f.b.ins();
        match op {
            Op::Add => ins.iadd(a, b),
            Op::Sub => ins.isub(a, b),
            Op::Sll => ins.ishl(a, b),
            Op::Srl => ins.ushr(a, b),
            Op::Sra => ins.sshr(a, b),
            Op::Xor => ins.bxor(a, b),
            Op::Or => ins.bor(a, b),
            Op::And => ins.band(a, b),
            Op::Mul => ins.imul(a, b),
            Op::Mulh => ins.smulhi(a, b),
            Op::Mulhu => ins.umulhi(a, b),
            other => unreachable!("{other:?} has a case of its own"),
        }
    }

    /// A 32-bit operation whose result is sign-extended. (Shift amounts are taken modulo the width, in CLIF
    /// too.)
    fn word(&mut self, f: &mut Frame<'_>, op: Op, a: Value, b: Value) -> Value {
        let (a, b) = (f.b.ins().ireduce(types::I32, a), f.b.ins().ireduce(types::I32, b));
        let ins = f.b.ins();
        let result = match op {
            Op::Addw => ins.iadd(a, b),
            Op::Subw => ins.isub(a, b),
            Op::Sllw => ins.ishl(a, b),
            Op::Srlw => ins.ushr(a, b),
            Op::Sraw => ins.sshr(a, b),
            _ => ins.imul(a, b),
        };
        f.b.ins().sextend(types::I64, result)
    }

    /// Division and remainder without traps (unprivileged manual, "M", table of division by zero and
    /// overflow): the divisor is replaced by 1 where the host would trap.
    fn divide(&mut self, f: &mut Frame<'_>, op: Op, a: Value, b: Value) -> Value {
        let ty = f.b.func.dfg.value_type(a);
        let one = f.b.ins().iconst(ty, 1);
        let by_zero = f.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let signed = matches!(op, Op::Div | Op::Rem | Op::Divw | Op::Remw);
        let mut replaced = by_zero;
        if signed {
            let least = if ty == types::I64 { i64::MIN } else { i64::from(i32::MIN) };
            let is_least = f.b.ins().icmp_imm_s(IntCC::Equal, a, least);
            let is_minus_one = f.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
            let overflows = f.b.ins().band(is_least, is_minus_one);
            replaced = f.b.ins().bor(by_zero, overflows);
        }
        let divisor = f.b.ins().select(replaced, one, b);
        match op {
            Op::Rem | Op::Remw => {
                let rest = f.b.ins().srem(a, divisor);
                f.b.ins().select(by_zero, a, rest)
            }
            Op::Remu | Op::Remuw => {
                let rest = f.b.ins().urem(a, divisor);
                f.b.ins().select(by_zero, a, rest)
            }
            _ => {
                let quotient = if signed { f.b.ins().sdiv(a, divisor) } else { f.b.ins().udiv(a, divisor) };
                let ones = f.b.ins().iconst(ty, if ty == types::I64 { -1 } else { 0xffff_ffff });
                f.b.ins().select(by_zero, ones, quotient)
            }
        }
    }
}

/// The operation of an instruction with an immediate.
fn register_form(op: Op) -> Op {
    match op {
        Op::Addi => Op::Add,
        Op::Slti => Op::Slt,
        Op::Sltiu => Op::Sltu,
        Op::Xori => Op::Xor,
        Op::Ori => Op::Or,
        Op::Andi => Op::And,
        Op::Slli => Op::Sll,
        Op::Srli => Op::Srl,
        Op::Srai => Op::Sra,
        Op::Addiw => Op::Addw,
        Op::Slliw => Op::Sllw,
        Op::Srliw => Op::Srlw,
        _ => Op::Sraw,
    }
}
