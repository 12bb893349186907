//! Zicsr instructions. Registers that are nothing but a place in the hart are read and written there; all
//! others are the runtime's.

use super::{Lowerer, x_bit};
use crate::lift::Frame;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use forelift_abi::lift::rv64::Helper;
use forelift_isa::rv64::{Insn, Op, csr};

impl Lowerer {
    pub(super) fn csr(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        let state = self.state;
        let supervisor = f.function.mode.is_kernel();
        match (insn.imm & 0xfff) as u16 {
            csr::FFLAGS => {
                self.need_fpu(f, at);
                let old = f.load_cpu(types::I8, state.fflags);
                let old = f.b.ins().uextend(types::I64, old);
                if let Some(new) = self.written(f, insn, old) {
                    let new = f.b.ins().band_imm_u(new, 0x1f);
                    let new = f.b.ins().ireduce(types::I8, new);
                    f.store_cpu(state.fflags, new);
                }
                self.set_x(f, insn.rd, old);
            }
            csr::SSTATUS if supervisor => self.status(f, at, insn),
            csr::SSCRATCH if supervisor => self.plain(f, insn, state.sscratch, -1),
            csr::SEPC if supervisor => self.plain(f, insn, state.sepc, -2),
            csr::SCAUSE if supervisor => self.plain(f, insn, state.scause, -1),
            csr::STVAL if supervisor => self.plain(f, insn, state.stval, -1),
            _ => self.csr_by_helper(f, at, insn),
        }
    }

    /// `sstatus`. What reads it or clears bits never makes an interrupt due, and never fails.
    fn status(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        const SIE: u8 = 1 << 1;
        let immediate = insn.op == Op::Csrrci;
        match insn.op {
            Op::Csrrci if insn.rd == 0 && insn.rs1 == SIE => {
                let off = f.b.ins().iconst(types::I8, 0);
                f.store_cpu(self.state.sie_enabled, off);
            }
            Op::Csrrc | Op::Csrrci | Op::Csrrs | Op::Csrrsi
                if insn.rs1 == 0 || matches!(insn.op, Op::Csrrc | Op::Csrrci) =>
            {
                let clear = match insn.rs1 {
                    0 => f.iconst(0),
                    n if immediate => f.iconst(i64::from(n)),
                    n => self.get_x(f, n),
                };
                let old = f.call_helper(Helper::Status.number(), &[clear]);
                self.set_x(f, insn.rd, old);
                // SUM and FS are beyond an immediate's reach.
                if insn.rs1 != 0 && !immediate {
                    f.load_tlb();
                    self.fpu_on = false;
                }
            }
            _ => self.csr_by_helper(f, at, insn),
        }
    }

    /// A register that keeps what is written to it, but for the bits that `mask` lacks.
    fn plain(&mut self, f: &mut Frame<'_>, insn: &Insn, address: u64, mask: i64) {
        let old = f.load_cpu(types::I64, address);
        if let Some(new) = self.written(f, insn, old) {
            let new = if mask == -1 { new } else { f.b.ins().band_imm_s(new, mask) };
            f.store_cpu(address, new);
        }
        self.set_x(f, insn.rd, old);
    }

    /// What an instruction writes to a register that holds `old`, if it writes.
    fn written(&mut self, f: &mut Frame<'_>, insn: &Insn, old: Value) -> Option<Value> {
        let source = match insn.op {
            Op::Csrrw | Op::Csrrs | Op::Csrrc => self.get_x(f, insn.rs1),
            _ => f.iconst(i64::from(insn.rs1)),
        };
        match insn.op {
            Op::Csrrw | Op::Csrrwi => Some(source),
            // A set or clear of nothing does not write.
            _ if insn.rs1 == 0 => None,
            Op::Csrrs | Op::Csrrsi => Some(f.b.ins().bor(old, source)),
            _ => Some(f.b.ins().band_not(old, source)),
        }
    }

    fn csr_by_helper(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        f.flush();
        let pc = f.pc(at);
        let bits = f.b.ins().iconst(types::I32, i64::from(insn.raw));
        let left = f.left_now();
        let leaves = f.call_helper(Helper::Csr.number(), &[pc, bits, left]);
        let (gone, on) = (f.b.create_block(), f.b.create_block());
        f.b.set_cold_block(gone);
        f.b.ins().brif(leaves, gone, &[], on, &[]);
        f.b.switch_to_block(gone);
        let next = f.load_cpu(types::I64, f.layout.pc);
        let next = f.tagged(next);
        f.b.ins().return_(&[next]);
        f.b.switch_to_block(on);
        f.load_tlb();
        self.fpu_on = false;
        f.load_registers(x_bit(insn.rd));
    }
}
