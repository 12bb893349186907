//! Loads and stores, through the data TLB (`runtime/src/rv64/tlb.rs` says why one comparison is enough).

use super::Lifter;
use super::state::Place;
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};
use forelift_isa::rv64::{Access, Insn, Op};

impl Lifter<'_> {
    /// The virtual address of an access.
    fn address(&mut self, insn: &Insn) -> Value {
        let base = self.get_x(insn.rs1);
        self.b.ins().iadd_imm_s(base, i64::from(insn.imm))
    }

    /// The offset in RAM of an aligned access of `bytes` at `va`; leaves for `at` when the TLB does not tell.
    pub(super) fn translate(&mut self, va: Value, bytes: u8, write: bool, at: i32) -> Value {
        let layout = self.layout;
        let table = if write { layout.dtlb_entries * 8 } else { 0 };
        let index = self.b.ins().ushr_imm_u(va, 9);
        let index = self.b.ins().band_imm_u(index, ((layout.dtlb_entries - 1) * 8) as i64);
        let Place { base, offset } = if self.function.privilege == 0 {
            self.indexed(layout.dtlb_user + table, index)
        } else {
            let tlb = self.b.use_var(self.tlb);
            Place { base: self.b.ins().iadd(tlb, index), offset: table as i32 }
        };
        let entry = self.b.ins().load(types::I64, self.flags.tlb, base, offset);
        let place = self.b.ins().iadd(va, entry);
        let shift = bytes.trailing_zeros();
        let rotated = if shift == 0 { place } else { self.b.ins().rotr_imm_u(place, i64::from(shift)) };
        let limit = (layout.ram_len >> shift) as i64;
        let found = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, rotated, limit);
        self.leave_unless(found, at);
        place
    }

    /// The host's address of an offset in RAM.
    pub(super) fn ram(&mut self, offset: Value) -> Place {
        self.indexed(self.layout.ram, offset)
    }

    pub(super) fn load(&mut self, at: i32, insn: &Insn) {
        let Access::Load { bytes, signed } = insn.access() else { return };
        let va = self.address(insn);
        let offset = self.translate(va, bytes, false, at);
        let Place { base, offset } = self.ram(offset);
        let flags = self.flags.ram;
        let ins = self.b.ins();
        let value = match (bytes, signed) {
            _ if insn.op == Op::Fld => ins.load(types::F64, flags, base, offset),
            (1, true) => ins.sload8(types::I64, flags, base, offset),
            (1, false) => ins.uload8(types::I64, flags, base, offset),
            (2, true) => ins.sload16(types::I64, flags, base, offset),
            (2, false) => ins.uload16(types::I64, flags, base, offset),
            (4, true) => ins.sload32(flags, base, offset),
            (4, false) => ins.uload32(flags, base, offset),
            _ => ins.load(types::I64, flags, base, offset),
        };
        match insn.op {
            Op::Flw => {
                let boxed = self.b.ins().bor_imm_s(value, -1 << 32);
                self.set_f(insn.rd, boxed);
            }
            Op::Fld => self.set_number(insn.rd, value),
            _ => self.set_x(insn.rd, value),
        }
    }

    pub(super) fn store(&mut self, at: i32, insn: &Insn) {
        let bytes = insn.access().bytes() as u8;
        let va = self.address(insn);
        let value = match insn.op {
            Op::Fsd => self.get_number(insn.rs2),
            Op::Fsw => self.get_f(insn.rs2),
            _ => self.get_x(insn.rs2),
        };
        let offset = self.translate(va, bytes, true, at);
        self.store_ram(offset, bytes, value);
    }

    pub(super) fn store_ram(&mut self, offset: Value, bytes: u8, value: Value) {
        let Place { base, offset } = self.ram(offset);
        let flags = self.flags.ram;
        let ins = self.b.ins();
        match bytes {
            1 => ins.istore8(flags, value, base, offset),
            2 => ins.istore16(flags, value, base, offset),
            4 => ins.istore32(flags, value, base, offset),
            _ => ins.store(flags, value, base, offset),
        };
    }
}
