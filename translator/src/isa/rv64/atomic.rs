//! LR, SC and AMO (unprivileged manual, "A"). There is one hart: an instruction is atomic as it is.

use super::Lowerer;
use crate::lift::Frame;
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};
use forelift_isa::rv64::{Access, Insn, Op};

impl Lowerer {
    pub(super) fn atomic(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        let va = self.get_x(f, insn.rs1);
        let source = self.get_x(f, insn.rs2);
        match insn.access() {
            Access::Reserve { bytes } => {
                let offset = f.translate(va, bytes, false, at);
                let old = Self::load_ram(f, offset, bytes);
                let pa = f.b.ins().iadd_imm_s(offset, f.layout.ram_base as i64);
                f.store_cpu(self.state.reservation, pa);
                self.set_x(f, insn.rd, old);
            }
            Access::Conditional { bytes } => {
                let offset = f.translate(va, bytes, true, at);
                let pa = f.b.ins().iadd_imm_s(offset, f.layout.ram_base as i64);
                let reservation = f.load_cpu(types::I64, self.state.reservation);
                let none = f.iconst(-1);
                f.store_cpu(self.state.reservation, none);
                let failed = f.b.ins().icmp(IntCC::NotEqual, reservation, pa);
                let (keep, write) = (f.b.create_block(), f.b.create_block());
                f.b.ins().brif(failed, keep, &[], write, &[]);
                f.b.switch_to_block(write);
                Self::store_ram(f, offset, bytes, source);
                f.b.ins().jump(keep, &[]);
                f.b.switch_to_block(keep);
                let result = f.b.ins().uextend(types::I64, failed);
                self.set_x(f, insn.rd, result);
            }
            Access::Amo { bytes } => {
                let offset = f.translate(va, bytes, true, at);
                let old = Self::load_ram(f, offset, bytes);
                let new = self.amo(f, insn.op, bytes, old, source);
                Self::store_ram(f, offset, bytes, new);
                self.set_x(f, insn.rd, old);
            }
            _ => {}
        }
    }

    fn load_ram(f: &mut Frame<'_>, offset: Value, bytes: u8) -> Value {
        let place = f.ram(offset);
        f.load_at(place, bytes, true)
    }

    fn store_ram(f: &mut Frame<'_>, offset: Value, bytes: u8, value: Value) {
        let place = f.ram(offset);
        f.store_at(place, bytes, value);
    }

    /// What an AMO writes; of a word the low half counts.
    fn amo(&mut self, f: &mut Frame<'_>, op: Op, bytes: u8, old: Value, source: Value) -> Value {
        // Minima and maxima of words compare words; `old` is sign-extended already, which keeps the unsigned
        // order of words, too.
        let source = if bytes == 4 {
            let low = f.b.ins().ireduce(types::I32, source);
            f.b.ins().sextend(types::I64, low)
        } else {
            source
        };
        let ins = f.b.ins();
        match op {
            Op::AmoswapW | Op::AmoswapD => source,
            Op::AmoaddW | Op::AmoaddD => ins.iadd(old, source),
            Op::AmoxorW | Op::AmoxorD => ins.bxor(old, source),
            Op::AmoandW | Op::AmoandD => ins.band(old, source),
            Op::AmoorW | Op::AmoorD => ins.bor(old, source),
            Op::AmominW | Op::AmominD => ins.smin(old, source),
            Op::AmomaxW | Op::AmomaxD => ins.smax(old, source),
            Op::AmominuW | Op::AmominuD => ins.umin(old, source),
            _ => ins.umax(old, source),
        }
    }
}
