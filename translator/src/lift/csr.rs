//! Zicsr instructions. Registers that are nothing but a place in the hart are read and written there; all
//! others are the runtime's.

use super::{Lifter, x_bit};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use forelift_abi::lift::Helper;
use forelift_isa::rv64::{Insn, Op, csr};

impl Lifter<'_> {
    pub(super) fn csr(&mut self, at: i32, insn: &Insn) {
        let layout = self.layout;
        let supervisor = self.function.privilege != 0;
        match (insn.imm & 0xfff) as u16 {
            csr::FFLAGS => {
                self.need_fpu(at);
                let old = self.load_hart(types::I8, layout.fflags);
                let old = self.b.ins().uextend(types::I64, old);
                if let Some(new) = self.written(insn, old) {
                    let new = self.b.ins().band_imm_u(new, 0x1f);
                    let new = self.b.ins().ireduce(types::I8, new);
                    self.store_hart(layout.fflags, new);
                }
                self.set_x(insn.rd, old);
            }
            csr::SSTATUS if supervisor => self.status(at, insn),
            csr::SSCRATCH if supervisor => self.plain(insn, layout.sscratch, -1),
            csr::SEPC if supervisor => self.plain(insn, layout.sepc, -2),
            csr::SCAUSE if supervisor => self.plain(insn, layout.scause, -1),
            csr::STVAL if supervisor => self.plain(insn, layout.stval, -1),
            _ => self.csr_by_helper(at, insn),
        }
    }

    /// `sstatus`. What reads it or clears bits never makes an interrupt due, and never fails.
    fn status(&mut self, at: i32, insn: &Insn) {
        const SIE: u8 = 1 << 1;
        let immediate = insn.op == Op::Csrrci;
        match insn.op {
            Op::Csrrci if insn.rd == 0 && insn.rs1 == SIE => {
                let off = self.b.ins().iconst(types::I8, 0);
                self.store_hart(self.layout.sie_enabled, off);
            }
            Op::Csrrc | Op::Csrrci | Op::Csrrs | Op::Csrrsi
                if insn.rs1 == 0 || matches!(insn.op, Op::Csrrc | Op::Csrrci) =>
            {
                let clear = match insn.rs1 {
                    0 => self.iconst(0),
                    n if immediate => self.iconst(i64::from(n)),
                    n => self.get_x(n),
                };
                let old = self.call_helper(Helper::Status, &[clear]);
                self.set_x(insn.rd, old);
                // SUM and FS are beyond an immediate's reach.
                if insn.rs1 != 0 && !immediate {
                    self.load_tlb();
                    self.fpu_on = false;
                }
            }
            _ => self.csr_by_helper(at, insn),
        }
    }

    /// A register that keeps what is written to it, but for the bits that `mask` lacks.
    fn plain(&mut self, insn: &Insn, address: u64, mask: i64) {
        let old = self.load_hart(types::I64, address);
        if let Some(new) = self.written(insn, old) {
            let new = if mask == -1 { new } else { self.b.ins().band_imm_s(new, mask) };
            self.store_hart(address, new);
        }
        self.set_x(insn.rd, old);
    }

    /// What an instruction writes to a register that holds `old`, if it writes.
    fn written(&mut self, insn: &Insn, old: Value) -> Option<Value> {
        let source = match insn.op {
            Op::Csrrw | Op::Csrrs | Op::Csrrc => self.get_x(insn.rs1),
            _ => self.iconst(i64::from(insn.rs1)),
        };
        match insn.op {
            Op::Csrrw | Op::Csrrwi => Some(source),
            // A set or clear of nothing does not write.
            _ if insn.rs1 == 0 => None,
            Op::Csrrs | Op::Csrrsi => Some(self.b.ins().bor(old, source)),
            _ => Some(self.b.ins().band_not(old, source)),
        }
    }

    fn csr_by_helper(&mut self, at: i32, insn: &Insn) {
        self.flush();
        let pc = self.pc(at);
        let bits = self.b.ins().iconst(types::I32, i64::from(insn.raw));
        let left = self.left_now();
        let leaves = self.call_helper(Helper::Csr, &[pc, bits, left]);
        let (gone, on) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(gone);
        self.b.ins().brif(leaves, gone, &[], on, &[]);
        self.b.switch_to_block(gone);
        let next = self.load_hart(types::I64, self.layout.pc);
        let next = self.b.ins().bor_imm_u(next, 1);
        self.b.ins().return_(&[next]);
        self.b.switch_to_block(on);
        self.load_tlb();
        self.fpu_on = false;
        self.load_registers(x_bit(insn.rd));
    }
}
