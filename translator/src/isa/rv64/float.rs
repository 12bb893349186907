//! Floating point (F, D).
//!
//! The idea is QEMU's hardfloat (Cota and Carloni, VEE 2019): while the inexact flag is set and rounding is
//! to nearest, an operation of the host's whose result is an ordinary number needs nothing more
//! (`runtime/softfloat/src/fast.rs` has the proof). Everything else is the runtime's, which is exact in every
//! bit and flag.

use super::Lowerer;
use crate::lift::Frame;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, condcodes::FloatCC, condcodes::IntCC, types};
use forelift_abi::lift::rv64::Helper;
use forelift_isa::rv64::{Access, Insn, Op, Reg};

const SIGN: i64 = i64::MIN;

impl Lowerer {
    pub(super) fn float(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        self.need_fpu(f, at);
        match insn.access() {
            Access::Load { .. } => return self.load(f, at, insn),
            Access::Store { .. } => return self.store(f, at, insn),
            _ => {}
        }
        // What is done on numbers stays in floating-point registers of the host.
        let number = match insn.op {
            Op::FaddD | Op::FsubD | Op::FmulD | Op::FdivD | Op::FsqrtD if matches!(insn.rm, 0 | 7) => {
                Some(self.ordinary(f, at, insn))
            }
            Op::FmaddD | Op::FmsubD | Op::FnmsubD | Op::FnmaddD if matches!(insn.rm, 0 | 7) => {
                Some(self.fused(f, at, insn))
            }
            Op::FsgnjD | Op::FsgnjnD | Op::FsgnjxD if insn.rs1 == insn.rs2 => {
                let a = self.get_number(f, insn.rs1);
                Some(match insn.op {
                    Op::FsgnjD => a,
                    Op::FsgnjnD => f.b.ins().fneg(a),
                    _ => f.b.ins().fabs(a),
                })
            }
            Op::FsgnjD => {
                let (a, b) = (self.get_number(f, insn.rs1), self.get_number(f, insn.rs2));
                Some(f.b.ins().fcopysign(a, b))
            }
            Op::FsgnjnD => {
                let (a, b) = (self.get_number(f, insn.rs1), self.get_number(f, insn.rs2));
                let b = f.b.ins().fneg(b);
                Some(f.b.ins().fcopysign(a, b))
            }
            Op::FcvtDW | Op::FcvtDWu => {
                // Exact whatever the rounding mode; but a reserved one is illegal.
                self.need_rounding(f, at, insn);
                let a = self.get_x(f, insn.rs1);
                let low = f.b.ins().ireduce(types::I32, a);
                Some(match insn.op {
                    Op::FcvtDW => f.b.ins().fcvt_from_sint(types::F64, low),
                    _ => f.b.ins().fcvt_from_uint(types::F64, low),
                })
            }
            _ => None,
        };
        if let Some(number) = number {
            return self.set_number(f, insn.rd, number);
        }
        let value = match insn.op {
            Op::FeqD | Op::FltD | Op::FleD => self.float_compare(f, at, insn),
            _ => {
                let (a, b) = self.operands(f, insn);
                match insn.op {
                    Op::FsgnjxD => {
                        let sign = f.b.ins().band_imm_s(b, SIGN);
                        f.b.ins().bxor(a, sign)
                    }
                    Op::FmvXD | Op::FmvDX => a,
                    Op::FmvXW => {
                        let low = f.b.ins().ireduce(types::I32, a);
                        f.b.ins().sextend(types::I64, low)
                    }
                    Op::FmvWX => f.b.ins().bor_imm_s(a, -1 << 32),
                    _ => self.by_helper(f, at, insn),
                }
            }
        };
        match insn.op.format().layout().rd {
            Reg::F => self.set_f(f, insn.rd, value),
            _ => self.set_x(f, insn.rd, value),
        }
    }

    /// Bits of the first two operands; of an operation with one operand, that twice.
    fn operands(&mut self, f: &mut Frame<'_>, insn: &Insn) -> (Value, Value) {
        let layout = insn.op.format().layout();
        let a = if layout.rs1 == Reg::X { self.get_x(f, insn.rs1) } else { self.get_f(f, insn.rs1) };
        let b = if layout.rs2 == Reg::F { self.get_f(f, insn.rs2) } else { a };
        (a, b)
    }

    /// Leaves unless the FPU is on and its state dirty: `sstatus.FS` is 3.
    pub(super) fn need_fpu(&mut self, f: &mut Frame<'_>, at: i32) {
        if self.fpu_on {
            return;
        }
        let fs = f.load_cpu(types::I8, self.state.fs);
        let on = f.b.ins().icmp_imm_s(IntCC::Equal, fs, 3);
        f.leave_unless(on, at);
        self.fpu_on = true;
    }

    /// Leaves when the dynamic rounding mode is wanted and reserved.
    fn need_rounding(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        if insn.op.uses_rm() && insn.rm == 7 {
            let frm = f.load_cpu(types::I8, self.state.fflags + 1);
            let valid = f.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, frm, 5);
            f.leave_unless(valid, at);
        }
    }

    fn bits(&mut self, f: &mut Frame<'_>, number: Value) -> Value {
        f.b.ins().bitcast(types::I64, MemFlagsData::new(), number)
    }

    /// The runtime's arithmetic, on bits. The third operand is the instruction's, if there is one.
    fn by_helper(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) -> Value {
        self.need_rounding(f, at, insn);
        let (a, b) = self.operands(f, insn);
        let c = if insn.op.format().layout().rs3 == Reg::F { self.get_f(f, insn.rs3) } else { a };
        let op = insn.op as i64 | i64::from(insn.rm) << 8;
        let op = f.b.ins().iconst(types::I32, op);
        f.call_helper(Helper::Float.number(), &[op, a, b, c])
    }

    /// As [`Self::by_helper`], as a number.
    fn number_by_helper(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) -> Value {
        let bits = self.by_helper(f, at, insn);
        f.b.ins().bitcast(types::F64, MemFlagsData::new(), bits)
    }

    /// A fused multiply-add: WebAssembly has none. The four differ in the signs of what is multiplied and
    /// added.
    fn fused(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) -> Value {
        self.need_rounding(f, at, insn);
        let [mut a, b, mut c] = [insn.rs1, insn.rs2, insn.rs3].map(|n| self.get_number(f, n));
        if matches!(insn.op, Op::FnmsubD | Op::FnmaddD) {
            a = f.b.ins().fneg(a);
        }
        if matches!(insn.op, Op::FmsubD | Op::FnmaddD) {
            c = f.b.ins().fneg(c);
        }
        // The mode of the instruction is to nearest, or the dynamic one: the helper goes by that.
        if insn.rm == 0 {
            let frm = f.load_cpu(types::I8, self.state.fflags + 1);
            let nearest = f.b.ins().icmp_imm_s(IntCC::Equal, frm, 0);
            f.leave_unless(nearest, at);
        }
        f.call_helper(Helper::Fma.number(), &[a, b, c])
    }

    /// An operation of the host's where that is exact, else the runtime's.
    fn ordinary(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) -> Value {
        // The helper may leave: what is pending must be stored on both ways.
        f.flush();
        let (quick, slow, done) = (f.b.create_block(), f.b.create_block(), f.b.create_block());
        let result = f.b.append_block_param(done, types::F64);
        f.b.set_cold_block(slow);
        let state = f.load_cpu(types::I16, self.state.fflags);
        // Bit 0 is NX; the upper byte is frm, 0 is to nearest.
        let mask = if insn.rm == 7 { 0x0701 } else { 0x0001 };
        let state = f.b.ins().band_imm_u(state, mask);
        let usual = f.b.ins().icmp_imm_s(IntCC::Equal, state, 1);
        f.b.ins().brif(usual, quick, &[], slow, &[]);

        f.b.switch_to_block(quick);
        let x = self.get_number(f, insn.rs1);
        let y = if insn.op == Op::FsqrtD { x } else { self.get_number(f, insn.rs2) };
        let ins = f.b.ins();
        let number = match insn.op {
            Op::FaddD => ins.fadd(x, y),
            Op::FsubD => ins.fsub(x, y),
            Op::FmulD => ins.fmul(x, y),
            Op::FdivD => ins.fdiv(x, y),
            _ => ins.sqrt(x),
        };
        let bits = self.bits(f, number);
        let shifted = f.b.ins().ishl_imm_u(bits, 1);
        // The exponent field is the upper 11 bits now. Sums: anything finite. Others: above the smallest
        // normal number, too.
        let safe = if matches!(insn.op, Op::FaddD | Op::FsubD) {
            let infinite = f.iconst(0x7ff << 53);
            f.b.ins().icmp(IntCC::UnsignedLessThan, shifted, infinite)
        } else {
            let low = f.b.ins().iadd_imm_s(shifted, -(2 << 53));
            let span = f.iconst((0x7ff - 2) << 53);
            f.b.ins().icmp(IntCC::UnsignedLessThan, low, span)
        };
        f.b.ins().brif(safe, done, &[number.into()], slow, &[]);

        f.b.switch_to_block(slow);
        let value = self.number_by_helper(f, at, insn);
        f.b.ins().jump(done, &[value.into()]);
        f.b.switch_to_block(done);
        result
    }

    fn float_compare(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) -> Value {
        let (quick, slow, done) = (f.b.create_block(), f.b.create_block(), f.b.create_block());
        let result = f.b.append_block_param(done, types::I64);
        f.b.set_cold_block(slow);
        let (x, y) = (self.get_number(f, insn.rs1), self.get_number(f, insn.rs2));
        let ordered = f.b.ins().fcmp(FloatCC::Ordered, x, y);
        f.b.ins().brif(ordered, quick, &[], slow, &[]);
        f.b.switch_to_block(quick);
        let condition = match insn.op {
            Op::FeqD => FloatCC::Equal,
            Op::FltD => FloatCC::LessThan,
            _ => FloatCC::LessThanOrEqual,
        };
        let holds = f.b.ins().fcmp(condition, x, y);
        let holds = f.b.ins().uextend(types::I64, holds);
        f.b.ins().jump(done, &[holds.into()]);
        f.b.switch_to_block(slow);
        let value = self.by_helper(f, at, insn);
        f.b.ins().jump(done, &[value.into()]);
        f.b.switch_to_block(done);
        result
    }
}
