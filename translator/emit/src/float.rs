//! Floating point arithmetic, conversions and bit casts.

use crate::tree::{Builder, Result};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{Inst, Opcode, Type, Value, types};
use wasm_encoder::Instruction as I;

impl Builder<'_> {
    /// Emits a floating point instruction; false if the opcode is not one.
    pub(crate) fn float(&mut self, inst: Inst, opcode: Opcode) -> Result<bool> {
        let Some(&result) = self.func.dfg.inst_results(inst).first() else {
            return Ok(false);
        };
        let ty = self.ty(result);
        let args = self.func.dfg.inst_args(inst);
        let args: Vec<Value> = args.iter().map(|&v| self.func.dfg.resolve_aliases(v)).collect();
        let from = args.first().map_or(types::INVALID, |&v| self.ty(v));
        let Some(op) = arithmetic(opcode, ty).or_else(|| conversion(opcode, from, ty)) else {
            return Ok(false);
        };
        for &value in &args {
            match opcode {
                Opcode::FcvtFromSint => self.sign_extended(value)?,
                Opcode::FcvtFromUint => self.zero_extended(value)?,
                _ => self.value(value)?,
            }
        }
        self.plain(op);
        Ok(true)
    }

    pub(crate) fn bitcast(&mut self, inst: Inst) -> Result {
        let [a] = self.args(inst)?;
        let to = self.ty(self.func.dfg.inst_results(inst)[0]);
        let op = match (self.ty(a), to) {
            (types::I32, types::F32) => Some(I::F32ReinterpretI32),
            (types::F32, types::I32) => Some(I::I32ReinterpretF32),
            (types::I64, types::F64) => Some(I::F64ReinterpretI64),
            (types::F64, types::I64) => Some(I::I64ReinterpretF64),
            (from, to) if from == to => None,
            _ => return Err(self.unsupported(inst)),
        };
        self.value(a)?;
        self.ops.extend(op.map(crate::code::Op::Plain));
        Ok(())
    }

    pub(crate) fn fcmp(&mut self, inst: Inst) -> Result {
        let [a, b] = self.args(inst)?;
        let Some(cc) = self.func.dfg.insts[inst].fp_cond_code() else {
            return Err(self.unsupported(inst));
        };
        let wide = match self.ty(a) {
            types::F32 => false,
            types::F64 => true,
            _ => return Err(self.unsupported(inst)),
        };
        let ops = |narrow_form, wide_form| if wide { wide_form } else { narrow_form };
        let eq = ops(I::F32Eq, I::F64Eq);
        let ne = ops(I::F32Ne, I::F64Ne);
        let (lt, gt) = (ops(I::F32Lt, I::F64Lt), ops(I::F32Gt, I::F64Gt));
        let (le, ge) = (ops(I::F32Le, I::F64Le), ops(I::F32Ge, I::F64Ge));
        let (op, negate) = match cc {
            FloatCC::Equal => (eq, false),
            FloatCC::NotEqual => (ne, false),
            FloatCC::LessThan => (lt, false),
            FloatCC::LessThanOrEqual => (le, false),
            FloatCC::GreaterThan => (gt, false),
            FloatCC::GreaterThanOrEqual => (ge, false),
            // Unordered or x is the opposite of the comparison that excludes both.
            FloatCC::UnorderedOrLessThan => (ge, true),
            FloatCC::UnorderedOrLessThanOrEqual => (gt, true),
            FloatCC::UnorderedOrGreaterThan => (le, true),
            FloatCC::UnorderedOrGreaterThanOrEqual => (lt, true),
            FloatCC::Ordered => return self.fcmp_each(a, b, eq, I::I32And),
            FloatCC::Unordered => return self.fcmp_each(a, b, ne, I::I32Or),
            FloatCC::OrderedNotEqual => return self.fcmp_both(a, b, lt, gt, false),
            FloatCC::UnorderedOrEqual => return self.fcmp_both(a, b, lt, gt, true),
        };
        self.value(a)?;
        self.value(b)?;
        self.plain(op);
        if negate {
            self.plain(I::I32Eqz);
        }
        Ok(())
    }

    /// Compares each operand with itself.
    fn fcmp_each(&mut self, a: Value, b: Value, op: I<'static>, join: I<'static>) -> Result {
        for value in [a, b] {
            let again = self.value_twice(value)?;
            self.ops.push(again);
            self.plain(op.clone());
        }
        self.plain(join);
        Ok(())
    }

    fn fcmp_both(&mut self, a: Value, b: Value, lt: I<'static>, gt: I<'static>, negate: bool) -> Result {
        let a = self.value_twice(a)?;
        let b = self.value_twice(b)?;
        self.plain(lt);
        self.ops.extend([a, b]);
        self.plain(gt);
        self.plain(I::I32Or);
        if negate {
            self.plain(I::I32Eqz);
        }
        Ok(())
    }
}

fn arithmetic(opcode: Opcode, ty: Type) -> Option<I<'static>> {
    let (narrow_form, wide_form) = match opcode {
        Opcode::Fadd => (I::F32Add, I::F64Add),
        Opcode::Fsub => (I::F32Sub, I::F64Sub),
        Opcode::Fmul => (I::F32Mul, I::F64Mul),
        Opcode::Fdiv => (I::F32Div, I::F64Div),
        Opcode::Fmin => (I::F32Min, I::F64Min),
        Opcode::Fmax => (I::F32Max, I::F64Max),
        Opcode::Fcopysign => (I::F32Copysign, I::F64Copysign),
        Opcode::Sqrt => (I::F32Sqrt, I::F64Sqrt),
        Opcode::Fneg => (I::F32Neg, I::F64Neg),
        Opcode::Fabs => (I::F32Abs, I::F64Abs),
        Opcode::Ceil => (I::F32Ceil, I::F64Ceil),
        Opcode::Floor => (I::F32Floor, I::F64Floor),
        Opcode::Trunc => (I::F32Trunc, I::F64Trunc),
        Opcode::Nearest => (I::F32Nearest, I::F64Nearest),
        _ => return None,
    };
    match ty {
        types::F32 => Some(narrow_form),
        types::F64 => Some(wide_form),
        _ => None,
    }
}

fn conversion(opcode: Opcode, from: Type, to: Type) -> Option<I<'static>> {
    // `i8` and `i16` have been extended.
    let narrow = matches!(from, types::I8 | types::I16 | types::I32);
    Some(match (opcode, from, to) {
        (Opcode::Fpromote, types::F32, types::F64) => I::F64PromoteF32,
        (Opcode::Fdemote, types::F64, types::F32) => I::F32DemoteF64,
        (Opcode::FcvtFromSint, _, types::F32) if narrow => I::F32ConvertI32S,
        (Opcode::FcvtFromSint, _, types::F64) if narrow => I::F64ConvertI32S,
        (Opcode::FcvtFromUint, _, types::F32) if narrow => I::F32ConvertI32U,
        (Opcode::FcvtFromUint, _, types::F64) if narrow => I::F64ConvertI32U,
        (Opcode::FcvtFromSint, types::I64, types::F32) => I::F32ConvertI64S,
        (Opcode::FcvtFromSint, types::I64, types::F64) => I::F64ConvertI64S,
        (Opcode::FcvtFromUint, types::I64, types::F32) => I::F32ConvertI64U,
        (Opcode::FcvtFromUint, types::I64, types::F64) => I::F64ConvertI64U,
        (Opcode::FcvtToSint, types::F32, types::I32) => I::I32TruncF32S,
        (Opcode::FcvtToSint, types::F64, types::I32) => I::I32TruncF64S,
        (Opcode::FcvtToUint, types::F32, types::I32) => I::I32TruncF32U,
        (Opcode::FcvtToUint, types::F64, types::I32) => I::I32TruncF64U,
        (Opcode::FcvtToSint, types::F32, types::I64) => I::I64TruncF32S,
        (Opcode::FcvtToSint, types::F64, types::I64) => I::I64TruncF64S,
        (Opcode::FcvtToUint, types::F32, types::I64) => I::I64TruncF32U,
        (Opcode::FcvtToUint, types::F64, types::I64) => I::I64TruncF64U,
        (Opcode::FcvtToSintSat, types::F32, types::I32) => I::I32TruncSatF32S,
        (Opcode::FcvtToSintSat, types::F64, types::I32) => I::I32TruncSatF64S,
        (Opcode::FcvtToUintSat, types::F32, types::I32) => I::I32TruncSatF32U,
        (Opcode::FcvtToUintSat, types::F64, types::I32) => I::I32TruncSatF64U,
        (Opcode::FcvtToSintSat, types::F32, types::I64) => I::I64TruncSatF32S,
        (Opcode::FcvtToSintSat, types::F64, types::I64) => I::I64TruncSatF64S,
        (Opcode::FcvtToUintSat, types::F32, types::I64) => I::I64TruncSatF32U,
        (Opcode::FcvtToUintSat, types::F64, types::I64) => I::I64TruncSatF64U,
        _ => return None,
    })
}
