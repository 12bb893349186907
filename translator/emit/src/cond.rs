//! Comparisons, conditions and selection.

use crate::code::Op;
use crate::demand::int_const;
use crate::tree::{Builder, Result};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Inst, Opcode, Value, types};
use wasm_encoder::Instruction as I;

impl Builder<'_> {
    /// Pushes an `i32` that is 0 if the value is 0, and something else if not.
    pub(crate) fn truthy(&mut self, value: Value) -> Result {
        if let Some((x, false)) = self.zero_test(value) {
            self.take(value, Opcode::Icmp);
            return self.truthy(x);
        }
        self.zero_extended(value)?;
        if self.ty(value) == types::I64 {
            self.plain(I::I64Const(0));
            self.plain(I::I64Ne);
        }
        Ok(())
    }

    /// For a pending comparison with 0: its operand, and whether it is an `eq`. `None` for anything else.
    fn zero_test(&self, value: Value) -> Option<(Value, bool)> {
        let inst = self.peek(value, Opcode::Icmp)?;
        let [a, b] = self.args(inst).ok()?;
        let x = match (int_const(self.func, a), int_const(self.func, b)) {
            (_, Some(0)) => a,
            (Some(0), _) => b,
            _ => return None,
        };
        match self.func.dfg.insts[inst].cond_code() {
            Some(IntCC::Equal) => Some((x, true)),
            Some(IntCC::NotEqual) => Some((x, false)),
            _ => None,
        }
    }

    /// Pushes `value cc other` as 0 or 1.
    pub(crate) fn compare(&mut self, cc: IntCC, a: Value, b: Value) -> Result {
        let wide = self.ty(a) == types::I64;
        let equality = matches!(cc, IntCC::Equal | IntCC::NotEqual);
        let constant = int_const(self.func, b);
        if cc == IntCC::Equal && constant == Some(0) {
            self.zero_extended(a)?;
            self.plain(if wide { I::I64Eqz } else { I::I32Eqz });
            return Ok(());
        }
        if equality && self.mask(a).is_some() && constant.is_none() && !(self.is_clean(a) && self.is_clean(b))
        {
            // One mask instead of two.
            self.value(a)?;
            self.value(b)?;
            self.plain(I::I32Xor);
            self.plain(I::I32Const(self.mask(a).unwrap_or(-1)));
            self.plain(I::I32And);
            self.plain(I::I32Eqz);
            if cc == IntCC::NotEqual {
                self.plain(I::I32Eqz);
            }
            return Ok(());
        }
        let signed = !equality && cc == cc_signed(cc);
        for value in [a, b] {
            if signed {
                self.sign_extended(value)?;
            } else {
                self.zero_extended(value)?;
            }
        }
        self.plain(int_compare(cc, wide));
        Ok(())
    }

    /// `select`: the condition is tested against 0 whichever way is shorter.
    ///
    /// For an `i32` that is never `i32.eqz`, which wasmi 2.0.0 gets wrong before a `select`.
    pub(crate) fn select(&mut self, inst: Inst) -> Result {
        let [c, mut a, mut b] = self.args(inst)?;
        crate::code::val_type(self.ty(a))?;
        let (tested, is_eq) = match self.zero_test(c) {
            Some((x, is_eq)) => (Some(x), is_eq),
            None => (None, false),
        };
        let wide = self.ty(tested.unwrap_or(c)) == types::I64;
        // `i64.eqz` tests a wide value; a narrow one is its own truth value.
        let swap = is_eq != wide;
        let special = tested.is_some() || wide;
        if special && swap {
            std::mem::swap(&mut a, &mut b);
        }
        self.value(a)?;
        self.value(b)?;
        if !special {
            self.truthy(c)?;
        } else {
            let x = tested.unwrap_or(c);
            if tested.is_some() {
                self.take(c, Opcode::Icmp);
            }
            if wide {
                self.value(x)?;
                self.plain(I::I64Eqz);
            } else {
                self.truthy(x)?;
            }
        }
        self.plain(I::Select);
        Ok(())
    }
}

/// The signed form of a condition.
fn cc_signed(cc: IntCC) -> IntCC {
    match cc {
        IntCC::UnsignedLessThan => IntCC::SignedLessThan,
        IntCC::UnsignedLessThanOrEqual => IntCC::SignedLessThanOrEqual,
        IntCC::UnsignedGreaterThan => IntCC::SignedGreaterThan,
        IntCC::UnsignedGreaterThanOrEqual => IntCC::SignedGreaterThanOrEqual,
        _ => cc,
    }
}

/// The instruction that compares two integers.
pub(crate) fn int_compare(cc: IntCC, wide: bool) -> I<'static> {
    let (narrow_form, wide_form) = match cc {
        IntCC::Equal => (I::I32Eq, I::I64Eq),
        IntCC::NotEqual => (I::I32Ne, I::I64Ne),
        IntCC::SignedLessThan => (I::I32LtS, I::I64LtS),
        IntCC::SignedLessThanOrEqual => (I::I32LeS, I::I64LeS),
        IntCC::SignedGreaterThan => (I::I32GtS, I::I64GtS),
        IntCC::SignedGreaterThanOrEqual => (I::I32GeS, I::I64GeS),
        IntCC::UnsignedLessThan => (I::I32LtU, I::I64LtU),
        IntCC::UnsignedLessThanOrEqual => (I::I32LeU, I::I64LeU),
        IntCC::UnsignedGreaterThan => (I::I32GtU, I::I64GtU),
        IntCC::UnsignedGreaterThanOrEqual => (I::I32GeU, I::I64GeU),
    };
    if wide { wide_form } else { narrow_form }
}

/// The comparison with the opposite result. Floating point comparisons other than equality have none.
fn opposite(op: &I<'static>) -> Option<I<'static>> {
    Some(match op {
        I::I32Eq => I::I32Ne,
        I::I32Ne => I::I32Eq,
        I::I32LtS => I::I32GeS,
        I::I32GeS => I::I32LtS,
        I::I32LeS => I::I32GtS,
        I::I32GtS => I::I32LeS,
        I::I32LtU => I::I32GeU,
        I::I32GeU => I::I32LtU,
        I::I32LeU => I::I32GtU,
        I::I32GtU => I::I32LeU,
        I::I64Eq => I::I64Ne,
        I::I64Ne => I::I64Eq,
        I::I64LtS => I::I64GeS,
        I::I64GeS => I::I64LtS,
        I::I64LeS => I::I64GtS,
        I::I64GtS => I::I64LeS,
        I::I64LtU => I::I64GeU,
        I::I64GeU => I::I64LtU,
        I::I64LeU => I::I64GtU,
        I::I64GtU => I::I64LeU,
        I::F32Eq => I::F32Ne,
        I::F32Ne => I::F32Eq,
        I::F64Eq => I::F64Ne,
        I::F64Ne => I::F64Eq,
        _ => return None,
    })
}

/// Changes code that leaves a condition into code that leaves the opposite one.
pub(crate) fn inverted(mut ops: Vec<Op>) -> Vec<Op> {
    match ops.as_slice() {
        [.., Op::Plain(I::I32Eqz)] => {
            ops.pop();
        }
        [.., Op::Plain(I::I64Const(0)), Op::Plain(I::I64Ne)] => {
            ops.truncate(ops.len() - 2);
            ops.push(Op::Plain(I::I64Eqz));
        }
        [.., Op::Plain(I::I64Eqz)] => {
            ops.pop();
            ops.extend([Op::Plain(I::I64Const(0)), Op::Plain(I::I64Ne)]);
        }
        [.., Op::Plain(last)] => match opposite(last) {
            Some(op) => {
                ops.pop();
                ops.push(Op::Plain(op));
            }
            None => ops.push(Op::Plain(I::I32Eqz)),
        },
        _ => ops.push(Op::Plain(I::I32Eqz)),
    }
    ops
}
