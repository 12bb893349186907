//! LR, SC and AMO (unprivileged manual, "A"). There is one hart: an instruction is atomic as it is.

use super::Lifter;
use super::frame::Place;
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};
use forelift_isa::rv64::{Access, Insn, Op};

impl Lifter<'_> {
    pub(super) fn atomic(&mut self, at: i32, insn: &Insn) {
        let va = self.get_x(insn.rs1);
        let source = self.get_x(insn.rs2);
        match insn.access() {
            Access::Reserve { bytes } => {
                let offset = self.translate(va, bytes, false, at);
                let old = self.load_ram(offset, bytes);
                let pa = self.b.ins().iadd_imm_s(offset, self.layout.ram_base as i64);
                self.store_hart(self.layout.reservation, pa);
                self.set_x(insn.rd, old);
            }
            Access::Conditional { bytes } => {
                let offset = self.translate(va, bytes, true, at);
                let pa = self.b.ins().iadd_imm_s(offset, self.layout.ram_base as i64);
                let reservation = self.load_hart(types::I64, self.layout.reservation);
                let none = self.iconst(-1);
                self.store_hart(self.layout.reservation, none);
                let failed = self.b.ins().icmp(IntCC::NotEqual, reservation, pa);
                let (keep, write) = (self.b.create_block(), self.b.create_block());
                self.b.ins().brif(failed, keep, &[], write, &[]);
                self.b.switch_to_block(write);
                self.store_ram(offset, bytes, source);
                self.b.ins().jump(keep, &[]);
                self.b.switch_to_block(keep);
                let result = self.b.ins().uextend(types::I64, failed);
                self.set_x(insn.rd, result);
            }
            Access::Amo { bytes } => {
                let offset = self.translate(va, bytes, true, at);
                let old = self.load_ram(offset, bytes);
                let new = self.amo(insn.op, bytes, old, source);
                self.store_ram(offset, bytes, new);
                self.set_x(insn.rd, old);
            }
            _ => {}
        }
    }

    /// A word is sign-extended.
    fn load_ram(&mut self, offset: Value, bytes: u8) -> Value {
        let Place { base, offset } = self.ram(offset);
        let flags = self.flags.ram;
        match bytes {
            4 => self.b.ins().sload32(flags, base, offset),
            _ => self.b.ins().load(types::I64, flags, base, offset),
        }
    }

    /// What an AMO writes; of a word the low half counts.
    fn amo(&mut self, op: Op, bytes: u8, old: Value, source: Value) -> Value {
        // Minima and maxima of words compare words; `old` is sign-extended already, which keeps the unsigned
        // order of words, too.
        let source = if bytes == 4 {
            let low = self.b.ins().ireduce(types::I32, source);
            self.b.ins().sextend(types::I64, low)
        } else {
            source
        };
        let ins = self.b.ins();
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
