//! Integer arithmetic.
//!
//! `i8` and `i16` are computed as `i32` with undefined upper bits; see the crate's documentation. What
//! WebAssembly lacks is expanded: high halves of products from four products (Warren, "Hacker's Delight", 2nd
//! ed., 8-2), byte and bit reversal by exchanging neighbouring groups (7-1).

use crate::code::Op;
use crate::demand::{def, int_const};
use crate::tree::{Builder, Result};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Inst, Opcode, Type, Value, types};
use wasm_encoder::{Instruction as I, ValType};

/// How deep [`Builder::is_clean`] and [`Builder::is_narrowable`] search a tree.
const LOOK: u32 = 4;

impl Builder<'_> {
    /// Emits an integer instruction; false if the opcode is not one.
    pub(crate) fn int(&mut self, inst: Inst, opcode: Opcode) -> Result<bool> {
        let Some(&result) = self.func.dfg.inst_results(inst).first() else {
            return Ok(false);
        };
        let ty = self.ty(result);
        if !matches!(ty, types::I8 | types::I16 | types::I32 | types::I64) {
            return Ok(false);
        }
        let wide = ty == types::I64;
        match opcode {
            Opcode::Iadd | Opcode::Isub | Opcode::Imul | Opcode::Band | Opcode::Bor | Opcode::Bxor => {
                let [a, b] = self.args(inst)?;
                self.value(a)?;
                self.value(b)?;
                self.plain(arithmetic(opcode, wide));
            }
            Opcode::Bnot => {
                let [a] = self.args(inst)?;
                self.value(a)?;
                self.int_const(wide, -1);
                self.plain(pick(wide, I::I32Xor, I::I64Xor));
            }
            Opcode::Ineg => {
                let [a] = self.args(inst)?;
                self.int_const(wide, 0);
                self.value(a)?;
                self.plain(pick(wide, I::I32Sub, I::I64Sub));
            }
            Opcode::Ishl | Opcode::Ushr | Opcode::Sshr => self.shift(inst, opcode, wide)?,
            Opcode::Rotl | Opcode::Rotr => self.rotate(inst, opcode, ty)?,
            Opcode::Udiv | Opcode::Sdiv | Opcode::Urem | Opcode::Srem => self.divide(inst, opcode, ty)?,
            Opcode::Umulhi => self.multiply_high(inst, ty, false)?,
            Opcode::Smulhi => self.multiply_high(inst, ty, true)?,
            Opcode::Smin => self.extremum(inst, IntCC::SignedLessThan, wide)?,
            Opcode::Smax => self.extremum(inst, IntCC::SignedGreaterThan, wide)?,
            Opcode::Umin => self.extremum(inst, IntCC::UnsignedLessThan, wide)?,
            Opcode::Umax => self.extremum(inst, IntCC::UnsignedGreaterThan, wide)?,
            Opcode::Iabs => self.absolute(inst, wide)?,
            Opcode::Bitselect => self.bitselect(inst, wide)?,
            Opcode::Bmask => self.bmask(inst, wide)?,
            Opcode::Clz | Opcode::Ctz | Opcode::Popcnt | Opcode::Cls => self.count(inst, opcode, ty)?,
            Opcode::Bswap => self.reverse(inst, ty, 8)?,
            Opcode::Bitrev => self.reverse(inst, ty, 1)?,
            Opcode::Uextend | Opcode::Sextend => self.extend(inst, opcode == Opcode::Sextend, wide)?,
            Opcode::Ireduce => {
                let [a] = self.args(inst)?;
                if self.ty(a) == types::I64 {
                    self.low32(a)?;
                } else {
                    self.value(a)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn int_const(&mut self, wide: bool, value: i64) {
        self.plain(if wide { I::I64Const(value) } else { I::I32Const(value as i32) });
    }

    /// The bits of the type for `i8` and `i16`, whose upper bits are undefined.
    pub(crate) fn mask(&self, value: Value) -> Option<i32> {
        match self.ty(value) {
            types::I8 => Some(0xff),
            types::I16 => Some(0xffff),
            _ => None,
        }
    }

    /// Whether the bits above the type are known to be 0.
    pub(crate) fn is_clean(&self, value: Value) -> bool {
        self.mask(value).is_none() || self.is_clean_to(value, LOOK)
    }

    fn is_clean_to(&self, value: Value, depth: u32) -> bool {
        if let Some(bits) = int_const(self.func, value) {
            return bits >= 0;
        }
        let (Some(inst), Some(depth)) = (def(self.func, value), depth.checked_sub(1)) else {
            return false;
        };
        let args = self.func.dfg.inst_args(inst);
        let arg = |i: usize| {
            args.get(i).is_some_and(|&v| self.is_clean_to(self.func.dfg.resolve_aliases(v), depth))
        };
        match self.func.dfg.insts[inst].opcode() {
            Opcode::Icmp | Opcode::Fcmp | Opcode::Load | Opcode::Uload8 | Opcode::Uload16 => true,
            Opcode::Uextend | Opcode::Ushr | Opcode::Udiv | Opcode::Urem => true,
            Opcode::Umin | Opcode::Umax | Opcode::Clz | Opcode::Ctz | Opcode::Popcnt => true,
            Opcode::Band => arg(0) || arg(1),
            Opcode::Bor | Opcode::Bxor => arg(0) && arg(1),
            Opcode::Select | Opcode::SelectSpectreGuard => arg(1) && arg(2),
            _ => false,
        }
    }

    /// Pushes a value with the bits above its type 0.
    pub(crate) fn zero_extended(&mut self, value: Value) -> Result {
        let Some(mask) = self.mask(value) else {
            return self.value(value);
        };
        if let Some(bits) = int_const(self.func, value) {
            self.plain(I::I32Const(bits as i32 & mask));
            return Ok(());
        }
        let clean = self.is_clean(value);
        self.value(value)?;
        if !clean {
            self.plain(I::I32Const(mask));
            self.plain(I::I32And);
        }
        Ok(())
    }

    /// Pushes a value with the bits above its type equal to its sign.
    pub(crate) fn sign_extended(&mut self, value: Value) -> Result {
        if self.mask(value).is_none() || int_const(self.func, value).is_some() {
            return self.value(value);
        }
        if let Some(load) = self.take(value, Opcode::Load) {
            return self.load(load, true, None);
        }
        self.value(value)?;
        self.plain(if self.ty(value) == types::I8 { I::I32Extend8S } else { I::I32Extend16S });
        Ok(())
    }

    /// Pushes the low 32 bits of a 64-bit value.
    pub(crate) fn low32(&mut self, value: Value) -> Result {
        if let Some(bits) = int_const(self.func, value) {
            self.plain(I::I32Const(bits as i32));
            return Ok(());
        }
        if let Some(inst) = self.narrowable(value, LOOK) {
            let opcode = self.func.dfg.insts[inst].opcode();
            self.take(value, opcode);
            if let Opcode::Uextend | Opcode::Sextend = opcode {
                let [a] = self.args(inst)?;
                return if opcode == Opcode::Sextend { self.sign_extended(a) } else { self.zero_extended(a) };
            }
            let [a, b] = self.args(inst)?;
            self.low32(a)?;
            self.low32(b)?;
            self.plain(arithmetic(opcode, false));
            return Ok(());
        }
        self.value(value)?;
        self.plain(I::I32WrapI64);
        Ok(())
    }

    /// A pending 64-bit operation that is shorter when done in 32 bits: an extension, or arithmetic on such.
    fn narrowable(&self, value: Value, depth: u32) -> Option<Inst> {
        let depth = depth.checked_sub(1)?;
        let inst = self.peek_any(value)?;
        match self.func.dfg.insts[inst].opcode() {
            Opcode::Uextend | Opcode::Sextend => Some(inst),
            Opcode::Iadd | Opcode::Isub | Opcode::Imul | Opcode::Band | Opcode::Bor | Opcode::Bxor => {
                let [a, b] = self.args(inst).ok()?;
                let short = |v: Value| self.narrowable(v, depth).is_some();
                let constant = |v: Value| int_const(self.func, v).is_some();
                (short(a) || short(b) || constant(a) || constant(b)).then_some(inst)
            }
            _ => None,
        }
    }

    fn extend(&mut self, inst: Inst, signed: bool, wide: bool) -> Result {
        let [a] = self.args(inst)?;
        if let Some(load) = self.take(a, Opcode::Load) {
            return self.load(load, signed, Some(wide));
        }
        let narrow = self.ty(a);
        if !signed {
            self.zero_extended(a)?;
            if wide {
                self.plain(I::I64ExtendI32U);
            }
            return Ok(());
        }
        if !wide || narrow == types::I32 {
            // `sextend(ireduce x)` needs no change of the type.
            if wide && let Some(x) = self.reduced(a) {
                self.value(x)?;
                self.plain(I::I64Extend32S);
                return Ok(());
            }
            self.sign_extended(a)?;
            if wide {
                self.plain(I::I64ExtendI32S);
            }
            return Ok(());
        }
        match self.reduced(a) {
            Some(x) => self.value(x)?,
            None => {
                self.value(a)?;
                self.plain(I::I64ExtendI32U);
            }
        }
        self.plain(if narrow == types::I8 { I::I64Extend8S } else { I::I64Extend16S });
        Ok(())
    }

    /// Takes over a pending reduction of a 64-bit value unless that is better done in 32 bits.
    pub(crate) fn reduced(&mut self, value: Value) -> Option<Value> {
        let inst = self.peek(value, Opcode::Ireduce)?;
        let [x] = self.args(inst).ok()?;
        let extension = self.narrowable(x, LOOK).is_some() && self.has_extension(x, LOOK);
        if self.ty(x) != types::I64 || extension {
            return None;
        }
        self.take(value, Opcode::Ireduce);
        Some(x)
    }

    /// Whether a narrowable tree contains an extension, which it saves.
    fn has_extension(&self, value: Value, depth: u32) -> bool {
        let (Some(inst), Some(depth)) = (self.peek_any(value), depth.checked_sub(1)) else {
            return false;
        };
        match self.func.dfg.insts[inst].opcode() {
            Opcode::Uextend | Opcode::Sextend => true,
            _ => match self.args::<2>(inst) {
                Ok(args) => args.iter().any(|&v| self.has_extension(v, depth)),
                Err(_) => false,
            },
        }
    }

    /// Pushes a shift amount as the type of the shifted value, reduced modulo the width.
    fn amount(&mut self, amount: Value, ty: Type) -> Result {
        let wide = ty == types::I64;
        let modulus = i64::from(ty.bits()) - 1;
        if let Some(bits) = int_const(self.func, amount) {
            self.int_const(wide, bits & modulus);
            return Ok(());
        }
        match (self.ty(amount) == types::I64, wide) {
            (true, false) => self.low32(amount)?,
            (false, true) => {
                self.value(amount)?;
                self.plain(I::I64ExtendI32U);
            }
            _ => self.value(amount)?,
        }
        // WebAssembly reduces modulo 32 and 64 itself.
        if modulus < 31 {
            self.plain(I::I32Const(modulus as i32));
            self.plain(I::I32And);
        }
        Ok(())
    }

    fn shift(&mut self, inst: Inst, opcode: Opcode, wide: bool) -> Result {
        let [a, amount] = self.args(inst)?;
        match opcode {
            Opcode::Ishl => self.value(a)?,
            Opcode::Ushr => self.zero_extended(a)?,
            _ => self.sign_extended(a)?,
        }
        self.amount(amount, self.ty(a))?;
        self.plain(match opcode {
            Opcode::Ishl => pick(wide, I::I32Shl, I::I64Shl),
            Opcode::Ushr => pick(wide, I::I32ShrU, I::I64ShrU),
            _ => pick(wide, I::I32ShrS, I::I64ShrS),
        });
        Ok(())
    }

    fn rotate(&mut self, inst: Inst, opcode: Opcode, ty: Type) -> Result {
        let [a, amount] = self.args(inst)?;
        let left = opcode == Opcode::Rotl;
        let wide = ty == types::I64;
        if ty.bits() >= 32 {
            self.value(a)?;
            self.amount(amount, ty)?;
            self.plain(match left {
                true => pick(wide, I::I32Rotl, I::I64Rotl),
                false => pick(wide, I::I32Rotr, I::I64Rotr),
            });
            return Ok(());
        }
        self.zero_extended(a)?;
        let again = self.keep(ValType::I32);
        self.amount(amount, ty)?;
        let count = self.keep(ValType::I32);
        self.plain(if left { I::I32Shl } else { I::I32ShrU });
        self.ops.push(again);
        self.plain(I::I32Const(ty.bits() as i32));
        self.ops.push(count);
        self.plain(I::I32Sub);
        self.plain(if left { I::I32ShrU } else { I::I32Shl });
        self.plain(I::I32Or);
        Ok(())
    }

    fn divide(&mut self, inst: Inst, opcode: Opcode, ty: Type) -> Result {
        let [a, b] = self.args(inst)?;
        let wide = ty == types::I64;
        for value in [a, b] {
            match opcode {
                Opcode::Udiv | Opcode::Urem => self.zero_extended(value)?,
                _ => self.sign_extended(value)?,
            }
        }
        self.plain(match opcode {
            Opcode::Udiv => pick(wide, I::I32DivU, I::I64DivU),
            Opcode::Sdiv => pick(wide, I::I32DivS, I::I64DivS),
            Opcode::Urem => pick(wide, I::I32RemU, I::I64RemU),
            _ => pick(wide, I::I32RemS, I::I64RemS),
        });
        if opcode == Opcode::Sdiv && ty.bits() < 32 && int_const(self.func, b).is_none_or(|d| d == -1) {
            // The smallest number divided by -1 traps.
            let quotient = self.keep(ValType::I32);
            self.plain(I::I32Const(1 << (ty.bits() - 1)));
            self.plain(I::I32Eq);
            self.trap_if();
            self.ops.push(quotient);
        }
        Ok(())
    }

    fn multiply_high(&mut self, inst: Inst, ty: Type, signed: bool) -> Result {
        let [a, b] = self.args(inst)?;
        if ty == types::I64 {
            return self.multiply_high64(a, b, signed);
        }
        let extend = |builder: &mut Self, v: Value| match signed {
            true => builder.sign_extended(v),
            false => builder.zero_extended(v),
        };
        if ty != types::I32 {
            extend(self, a)?;
            extend(self, b)?;
            self.plain(I::I32Mul);
            self.plain(I::I32Const(ty.bits() as i32));
            self.plain(if signed { I::I32ShrS } else { I::I32ShrU });
            return Ok(());
        }
        for value in [a, b] {
            self.value(value)?;
            self.plain(if signed { I::I64ExtendI32S } else { I::I64ExtendI32U });
        }
        self.plain(I::I64Mul);
        self.plain(I::I64Const(32));
        self.plain(I::I64ShrU);
        self.plain(I::I32WrapI64);
        Ok(())
    }

    /// With halves a = a1·2³² + a0: t = a1·b0 + (a0·b0 >> 32), w = a0·b1 + (t mod 2³²); the result is
    /// a1·b1 + (t >> 32) + (w >> 32). Upper halves, and the shifts of t and w, are signed or not.
    fn multiply_high64(&mut self, a: Value, b: Value, signed: bool) -> Result {
        let [a0, a1] = self.split(a, signed)?;
        let [b0, b1] = self.split(b, signed)?;
        let high = if signed { I::I64ShrS } else { I::I64ShrU };
        self.ops.extend([a1.clone(), b0.clone()]);
        self.plain(I::I64Mul);
        self.ops.extend([a0.clone(), b0]);
        for op in [I::I64Mul, I::I64Const(32), I::I64ShrU, I::I64Add] {
            self.plain(op);
        }
        let t = self.vreg(ValType::I64);
        self.ops.extend([Op::Set(t), a1, b1.clone()]);
        self.plain(I::I64Mul);
        self.ops.push(Op::Get(t));
        for op in [I::I64Const(32), high.clone(), I::I64Add] {
            self.plain(op);
        }
        self.ops.extend([a0, b1]);
        self.plain(I::I64Mul);
        self.ops.push(Op::Get(t));
        for op in [I::I64Const(0xffff_ffff), I::I64And, I::I64Add, I::I64Const(32), high, I::I64Add] {
            self.plain(op);
        }
        Ok(())
    }

    /// Instructions that push the low and the high half of a value.
    fn split(&mut self, value: Value, signed: bool) -> Result<[Op; 2]> {
        if let Some(bits) = int_const(self.func, value) {
            let high = if signed { bits >> 32 } else { (bits as u64 >> 32) as i64 };
            return Ok([bits & 0xffff_ffff, high].map(|half| Op::Plain(I::I64Const(half))));
        }
        let low = self.vreg(ValType::I64);
        let high = self.vreg(ValType::I64);
        let again = self.value_twice(value)?;
        self.plain(I::I64Const(0xffff_ffff));
        self.plain(I::I64And);
        self.ops.extend([Op::Set(low), again]);
        self.plain(I::I64Const(32));
        self.plain(if signed { I::I64ShrS } else { I::I64ShrU });
        self.ops.push(Op::Set(high));
        Ok([Op::Get(low), Op::Get(high)])
    }

    fn extremum(&mut self, inst: Inst, cc: IntCC, wide: bool) -> Result {
        let mut again = Vec::new();
        for value in self.args::<2>(inst)? {
            let signed = matches!(cc, IntCC::SignedLessThan | IntCC::SignedGreaterThan);
            again.push(if self.mask(value).is_none() {
                self.value_twice(value)?
            } else {
                if signed {
                    self.sign_extended(value)?;
                } else {
                    self.zero_extended(value)?;
                }
                self.keep(ValType::I32)
            });
        }
        self.ops.extend(again);
        self.plain(crate::cond::int_compare(cc, wide));
        self.plain(I::Select);
        Ok(())
    }

    fn absolute(&mut self, inst: Inst, wide: bool) -> Result {
        let [a] = self.args(inst)?;
        let again = if self.mask(a).is_some() {
            self.sign_extended(a)?;
            self.keep(ValType::I32)
        } else {
            self.value_twice(a)?
        };
        self.int_const(wide, 0);
        self.ops.push(again.clone());
        self.plain(pick(wide, I::I32Sub, I::I64Sub));
        self.ops.push(again);
        self.int_const(wide, 0);
        self.plain(crate::cond::int_compare(IntCC::SignedGreaterThanOrEqual, wide));
        self.plain(I::Select);
        Ok(())
    }

    /// ((x ^ y) & c) ^ y
    fn bitselect(&mut self, inst: Inst, wide: bool) -> Result {
        let [c, x, y] = self.args(inst)?;
        self.value(x)?;
        let again = self.value_twice(y)?;
        self.plain(pick(wide, I::I32Xor, I::I64Xor));
        self.value(c)?;
        self.plain(pick(wide, I::I32And, I::I64And));
        self.ops.push(again);
        self.plain(pick(wide, I::I32Xor, I::I64Xor));
        Ok(())
    }

    fn bmask(&mut self, inst: Inst, wide: bool) -> Result {
        let [a] = self.args(inst)?;
        self.int_const(wide, 0);
        self.zero_extended(a)?;
        let wide_operand = self.ty(a) == types::I64;
        self.int_const(wide_operand, 0);
        self.plain(crate::cond::int_compare(IntCC::NotEqual, wide_operand));
        if wide {
            self.plain(I::I64ExtendI32U);
        }
        self.plain(pick(wide, I::I32Sub, I::I64Sub));
        Ok(())
    }

    fn count(&mut self, inst: Inst, opcode: Opcode, ty: Type) -> Result {
        let [a] = self.args(inst)?;
        let wide = ty == types::I64;
        let spare = 32u32.saturating_sub(ty.bits()) as i32;
        match opcode {
            Opcode::Popcnt => {
                self.zero_extended(a)?;
                self.plain(pick(wide, I::I32Popcnt, I::I64Popcnt));
            }
            Opcode::Ctz => {
                self.value(a)?;
                if spare > 0 {
                    // A bit above the type ends the count.
                    self.plain(I::I32Const(1 << ty.bits()));
                    self.plain(I::I32Or);
                }
                self.plain(pick(wide, I::I32Ctz, I::I64Ctz));
            }
            Opcode::Clz => {
                self.zero_extended(a)?;
                self.plain(pick(wide, I::I32Clz, I::I64Clz));
                self.subtract(spare, wide);
            }
            _ => {
                // The leading bits equal to the sign are zeros of x ^ (x >> sign).
                self.sign_extended(a)?;
                let again = self.keep(if wide { ValType::I64 } else { ValType::I32 });
                self.ops.push(again);
                self.int_const(wide, i64::from(ty.bits().max(32)) - 1);
                self.plain(pick(wide, I::I32ShrS, I::I64ShrS));
                self.plain(pick(wide, I::I32Xor, I::I64Xor));
                self.plain(pick(wide, I::I32Clz, I::I64Clz));
                self.subtract(spare + 1, wide);
            }
        }
        Ok(())
    }

    fn subtract(&mut self, n: i32, wide: bool) {
        if n != 0 {
            self.int_const(wide, i64::from(n));
            self.plain(pick(wide, I::I32Sub, I::I64Sub));
        }
    }

    /// Exchanges neighbouring groups of `group` bits, then of twice as many and so on.
    fn reverse(&mut self, inst: Inst, ty: Type, mut group: u32) -> Result {
        let [a] = self.args(inst)?;
        let wide = ty == types::I64;
        self.value(a)?;
        while group * 2 < ty.bits() {
            self.exchange(group, ty);
            group *= 2;
        }
        if group * 2 == ty.bits() {
            if ty.bits() >= 32 {
                self.int_const(wide, i64::from(group));
                self.plain(pick(wide, I::I32Rotl, I::I64Rotl));
            } else {
                self.exchange(group, ty);
            }
        }
        Ok(())
    }

    fn exchange(&mut self, group: u32, ty: Type) {
        let wide = ty == types::I64;
        // The lower group of each pair: `group` is at most 16 here.
        let pairs = u64::MAX / ((1u64 << (2 * group)) - 1);
        let mask = (pairs * ((1 << group) - 1)) & (u64::MAX >> (64 - ty.bits()));
        let mask = if wide { mask as i64 } else { i64::from(mask as u32) };
        let again = self.keep(if wide { ValType::I64 } else { ValType::I32 });
        self.int_const(wide, i64::from(group));
        self.plain(pick(wide, I::I32ShrU, I::I64ShrU));
        self.int_const(wide, mask);
        self.plain(pick(wide, I::I32And, I::I64And));
        self.ops.push(again);
        self.int_const(wide, mask);
        self.plain(pick(wide, I::I32And, I::I64And));
        self.int_const(wide, i64::from(group));
        self.plain(pick(wide, I::I32Shl, I::I64Shl));
        self.plain(pick(wide, I::I32Or, I::I64Or));
    }
}

fn pick<T>(wide: bool, narrow_form: T, wide_form: T) -> T {
    if wide { wide_form } else { narrow_form }
}

/// The instruction for arithmetic that does not depend on signs.
fn arithmetic(opcode: Opcode, wide: bool) -> I<'static> {
    match opcode {
        Opcode::Iadd => pick(wide, I::I32Add, I::I64Add),
        Opcode::Isub => pick(wide, I::I32Sub, I::I64Sub),
        Opcode::Imul => pick(wide, I::I32Mul, I::I64Mul),
        Opcode::Band => pick(wide, I::I32And, I::I64And),
        Opcode::Bor => pick(wide, I::I32Or, I::I64Or),
        _ => pick(wide, I::I32Xor, I::I64Xor),
    }
}
