//! Arithmetic flags, computed lazily: an instruction leaves its operands or its result, and whatever reads
//! flags computes those it needs.
//!
//! | form | `a` | `b` |
//! |---|---|---|
//! | [`RAW`] | the six flags at their places in `rflags` | - |
//! | [`LOGIC`] | result | - |
//! | [`RESULT`] | result, for ZF, SF and PF | CF, OF and AF at their places in `rflags` |
//! | [`ADD`] + log2 of the size in bytes | first operand | second operand |
//! | [`SUB`] + log2 of the size in bytes | first operand | second operand |
//!
//! `a` and `b` are sign-extended from the operation's size to 64 bits, so that comparisons need not know the
//! size.

/// Carry.
pub const CF: u64 = 1;
/// Parity of the low byte.
pub const PF: u64 = 1 << 2;
/// Auxiliary carry.
pub const AF: u64 = 1 << 4;
/// Zero.
pub const ZF: u64 = 1 << 6;
/// Sign.
pub const SF: u64 = 1 << 7;
/// Trap: single step.
pub const TF: u64 = 1 << 8;
/// Interrupts are enabled.
pub const IF: u64 = 1 << 9;
/// Direction of string instructions.
pub const DF: u64 = 1 << 10;
/// Overflow.
pub const OF: u64 = 1 << 11;
/// I/O privilege level, two bits.
pub const IOPL: u64 = 3 << 12;
/// Nested task.
pub const NT: u64 = 1 << 14;
/// Resume.
pub const RF: u64 = 1 << 16;
/// Alignment check.
pub const AC: u64 = 1 << 18;
/// CPUID can be used.
pub const ID: u64 = 1 << 21;
/// The six flags that are kept lazily.
pub const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;
/// Bit 1 is always set.
pub const ALWAYS: u64 = 2;

/// Conditions by their number (the low four bits of `jcc`'s opcode, SDM vol. 2 B.1.4.7).
#[allow(missing_docs, reason = "the manual's names")]
pub mod cc {
    pub const O: u8 = 0;
    pub const NO: u8 = 1;
    pub const B: u8 = 2;
    pub const AE: u8 = 3;
    pub const E: u8 = 4;
    pub const NE: u8 = 5;
    pub const BE: u8 = 6;
    pub const A: u8 = 7;
    pub const S: u8 = 8;
    pub const NS: u8 = 9;
    pub const P: u8 = 10;
    pub const NP: u8 = 11;
    pub const L: u8 = 12;
    pub const GE: u8 = 13;
    pub const LE: u8 = 14;
    pub const G: u8 = 15;
}

/// See the module's documentation.
pub const RAW: u32 = 0;
/// See the module's documentation.
pub const LOGIC: u32 = 1;
/// See the module's documentation.
pub const RESULT: u32 = 2;
/// See the module's documentation.
pub const ADD: u32 = 4;
/// See the module's documentation.
pub const SUB: u32 = 8;

/// An operand's type: sizes of 1, 2, 4 and 8 bytes.
pub trait Int: Copy + Eq {
    /// Size in bytes.
    const BYTES: u32;
    /// Log2 of the size.
    const LOG2: u32;
    /// Size in bits.
    const BITS: u32 = 8 * Self::BYTES;
    /// The low bits of `value`.
    fn of(value: u64) -> Self;
    /// Zero-extended.
    fn zx(self) -> u64;
    /// Sign-extended.
    fn sx(self) -> u64;
}

macro_rules! int {
    ($u:ty, $i:ty, $log2:literal) => {
        impl Int for $u {
            const BYTES: u32 = 1 << $log2;
            const LOG2: u32 = $log2;
            #[inline(always)]
            fn of(value: u64) -> Self {
                value as $u
            }
            #[inline(always)]
            fn zx(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn sx(self) -> u64 {
                self as $i as i64 as u64
            }
        }
    };
}
int!(u8, i8, 0);
int!(u16, i16, 1);
int!(u32, i32, 2);
int!(u64, i64, 3);

/// `value` sign-extended from `1 << log2` bytes.
#[inline(always)]
pub fn sign_extend(value: u64, log2: u32) -> u64 {
    let unused = 64 - (8 << log2);
    ((value << unused) as i64 >> unused) as u64
}

/// ZF, SF and PF of a sign-extended result.
#[inline(always)]
pub fn of_result(result: u64) -> u64 {
    let parity = u64::from((result as u8).count_ones() & 1 == 0) << 2;
    let zero = u64::from(result == 0) << 6;
    parity | zero | result >> 63 << 7
}

/// All six flags of an addition of sign-extended operands of `1 << log2` bytes, with the carry that came in.
pub fn of_add(a: u64, b: u64, carry: u64, log2: u32) -> u64 {
    let sum = sign_extend(a.wrapping_add(b).wrapping_add(carry), log2);
    let carries = a & b | (a | b) & !sum;
    let cf = carries >> 63;
    let af = (a ^ b ^ sum) & AF;
    let of = ((a ^ sum) & (b ^ sum)) >> 63 << 11;
    cf | af | of | of_result(sum)
}

/// All six flags of a subtraction, with the borrow that came in.
pub fn of_sub(a: u64, b: u64, borrow: u64, log2: u32) -> u64 {
    let difference = sign_extend(a.wrapping_sub(b).wrapping_sub(borrow), log2);
    let borrows = !a & b | (!a | b) & difference;
    let cf = borrows >> 63;
    let af = (a ^ b ^ difference) & AF;
    let of = ((a ^ b) & (a ^ difference)) >> 63 << 11;
    cf | af | of | of_result(difference)
}

/// The six arithmetic flags: see the module's documentation.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LazyFlags {
    /// Form of the other two: [`RAW`] and so on.
    pub form: u32,
    /// First word, as its form has it.
    pub a: u64,
    /// Second word, as its form has it.
    pub b: u64,
}

impl LazyFlags {
    /// All clear.
    pub const CLEAR: LazyFlags = LazyFlags { form: RAW, a: 0, b: 0 };

    /// Flags of a form with its two words.
    pub fn new(form: u32, a: u64, b: u64) -> Self {
        LazyFlags { form, a, b }
    }

    /// The six arithmetic flags.
    pub fn arithmetic(&self) -> u64 {
        let (a, b, log2) = (self.a, self.b, self.form & 3);
        match self.form {
            RAW => a,
            LOGIC => of_result(a),
            RESULT => of_result(a) | b,
            _ if self.form < SUB => of_add(a, b, 0, log2),
            _ => of_sub(a, b, 0, log2),
        }
    }

    /// CF: 0 or 1.
    #[inline]
    pub fn carry(&self) -> u64 {
        let (a, b) = (self.a, self.b);
        match self.form {
            RAW => a & 1,
            LOGIC => 0,
            RESULT => b & 1,
            _ if self.form < SUB => u64::from(sign_extend(a.wrapping_add(b), self.form & 3) < a),
            _ => u64::from(a < b),
        }
    }

    /// Sets the six arithmetic flags (others in `flags` are ignored).
    #[inline]
    pub fn set(&mut self, flags: u64) {
        self.form = RAW;
        self.a = flags & ARITHMETIC;
    }

    /// Replaces those of the arithmetic flags that `mask` names.
    pub fn change(&mut self, mask: u64, flags: u64) {
        let old = self.arithmetic();
        self.set(old & !mask | flags & mask);
    }

    /// Replaces CF, OF or both, which `mask` names: cheap unless the flags come from an addition or a
    /// subtraction.
    #[inline]
    pub fn set_carry_overflow(&mut self, mask: u64, flags: u64) {
        match self.form {
            LOGIC => self.set_result(self.a, flags),
            RESULT => self.b = self.b & !mask | flags,
            _ => self.change(mask, flags),
        }
    }

    /// Flags of a logical operation with this sign-extended result.
    #[inline(always)]
    pub fn set_logic(&mut self, result: u64) {
        self.form = LOGIC;
        self.a = result;
    }

    /// Flags of a sign-extended result, with CF, OF and AF given.
    #[inline(always)]
    pub fn set_result(&mut self, result: u64, others: u64) {
        self.form = RESULT;
        self.a = result;
        self.b = others;
    }

    /// Flags of the addition of sign-extended operands.
    #[inline(always)]
    pub fn set_add<T: Int>(&mut self, a: u64, b: u64) {
        self.form = ADD + T::LOG2;
        self.a = a;
        self.b = b;
    }

    /// Flags of the subtraction (or comparison) of sign-extended operands.
    #[inline(always)]
    pub fn set_sub<T: Int>(&mut self, a: u64, b: u64) {
        self.form = SUB + T::LOG2;
        self.a = a;
        self.b = b;
    }

    /// Whether the condition with this number (the low four bits of `jcc`'s opcode, SDM vol. 2 B.1.4.7)
    /// holds.
    #[inline]
    pub fn condition(&self, number: u8) -> bool {
        let (a, b) = (self.a, self.b);
        let holds = match (self.form, number >> 1) {
            (SUB.., 1) => a < b,
            (SUB.., 2) => a == b,
            (SUB.., 3) => a <= b,
            (SUB.., 6) => (a as i64) < b as i64,
            (SUB.., 7) => a as i64 <= b as i64,
            (LOGIC, 0 | 1) => false,
            (LOGIC | RESULT, 2) => a == 0,
            (LOGIC, 3) => a == 0,
            (LOGIC | RESULT, 4) => (a as i64) < 0,
            (LOGIC, 6) => (a as i64) < 0,
            (LOGIC, 7) => a as i64 <= 0,
            (_, kind) => condition_of(self.arithmetic(), kind),
        };
        holds != (number & 1 != 0)
    }
}

/// The condition pair `kind` (0 overflow, 1 below, 2 equal, 3 below or equal, 4 sign, 5 parity, 6 less, 7
/// less or equal) of computed flags.
fn condition_of(flags: u64, kind: u8) -> bool {
    let less = (flags >> 7 ^ flags >> 11) & 1 != 0;
    match kind {
        0 => flags & OF != 0,
        1 => flags & CF != 0,
        2 => flags & ZF != 0,
        3 => flags & (CF | ZF) != 0,
        4 => flags & SF != 0,
        5 => flags & PF != 0,
        6 => less,
        _ => less || flags & ZF != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags of an addition by its definition, bit by bit.
    fn add_by_bits(a: u64, b: u64, log2: u32) -> u64 {
        let bits = 8u32 << log2;
        let (mut carry, mut sum, mut flags, mut into_top) = (0, 0u64, 0, 0);
        for n in 0..bits {
            let (x, y) = (a >> n & 1, b >> n & 1);
            if n == bits - 1 {
                into_top = carry;
            }
            sum |= (x ^ y ^ carry) << n;
            carry = x & y | x & carry | y & carry;
            if n == 3 && carry != 0 {
                flags |= AF;
            }
        }
        flags |= carry | (carry ^ into_top) << 11;
        flags | of_result(sign_extend(sum, log2))
    }

    #[test]
    fn lazy_flags_are_those_of_the_bits() {
        let values = [
            0,
            1,
            2,
            7,
            8,
            0xf,
            0x10,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            0x7fff_ffff,
            0x8000_0000,
            1 << 63,
            !0,
        ];
        let mut lazy;
        for log2 in 0..4 {
            for a in values.map(|v| sign_extend(v, log2)) {
                for b in values.map(|v| sign_extend(v, log2)) {
                    lazy = LazyFlags::new(ADD + log2, a, b);
                    let expected = add_by_bits(a, b, log2);
                    assert_eq!(lazy.arithmetic(), expected, "{a:x} + {b:x}, {log2}");
                    assert_eq!(lazy.carry(), expected & 1);
                    lazy = LazyFlags::new(SUB + log2, a, b);
                    let flags = lazy.arithmetic();
                    assert_eq!(lazy.carry(), flags & 1);
                    assert_eq!(flags & CF != 0, a < b, "{a:x} - {b:x}, {log2}");
                    assert_eq!(flags & ZF != 0, a == b);
                    assert_eq!((flags >> 7 ^ flags >> 11) & 1 != 0, (a as i64) < b as i64);
                    for number in 0..16 {
                        let holds = lazy.condition(number);
                        assert_eq!(holds, condition_of(flags, number >> 1) != (number & 1 != 0), "{number}");
                    }
                    lazy.set_logic(a);
                    let flags = lazy.arithmetic();
                    for number in 0..16 {
                        let holds = lazy.condition(number);
                        assert_eq!(
                            holds,
                            condition_of(flags, number >> 1) != (number & 1 != 0),
                            "logic {number}"
                        );
                    }
                }
            }
        }
    }
}
