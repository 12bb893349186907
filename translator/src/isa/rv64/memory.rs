//! Loads and stores, of floating-point registers too.

use super::Lowerer;
use crate::lift::Frame;
use cranelift_codegen::ir::{InstBuilder, Value};
use forelift_isa::rv64::{Access, Insn, Op};

impl Lowerer {
    /// The virtual address of an access.
    fn address(&mut self, f: &mut Frame<'_>, insn: &Insn) -> Value {
        let base = self.get_x(f, insn.rs1);
        f.b.ins().iadd_imm_s(base, i64::from(insn.imm))
    }

    pub(super) fn load(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        let Access::Load { bytes, signed } = insn.access() else { return };
        let place = f.locate(at, bytes, false, &mut |f| self.address(f, insn));
        match insn.op {
            Op::Fld => {
                let number = f.load_number_at(place);
                self.set_number(f, insn.rd, number);
            }
            Op::Flw => {
                let value = f.load_at(place, bytes, signed);
                let boxed = f.b.ins().bor_imm_s(value, -1 << 32);
                self.set_f(f, insn.rd, boxed);
            }
            _ => {
                let value = f.load_at(place, bytes, signed);
                self.set_x(f, insn.rd, value);
            }
        }
    }

    pub(super) fn store(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        let bytes = insn.access().bytes() as u8;
        let value = match insn.op {
            Op::Fsd => self.get_number(f, insn.rs2),
            Op::Fsw => self.get_f(f, insn.rs2),
            _ => self.get_x(f, insn.rs2),
        };
        let place = f.locate(at, bytes, true, &mut |f| self.address(f, insn));
        f.store_at(place, bytes, value);
    }
}
