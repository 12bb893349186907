//! Addition, subtraction, multiplication, division and square root by the host's floating point.
//!
//! Only rounding to nearest even, which is what the host does. A result is *safe* if it is finite and above
//! the smallest normal number in magnitude: then nothing overflowed, nothing is tiny before or after
//! rounding, no operand was a NaN or an infinity that mattered, and the only flag in question is NX. If NX is
//! set already, the host's result is all there is to do. Else a test that is exact in the host's own
//! arithmetic tells it:
//!
//! * sums: the error of a rounded sum is itself a floating-point number, and six additions yield it (TwoSum;
//!   Muller et al., *Handbook of Floating-Point Arithmetic*, 2nd ed., 4.3.2). A sum that lies in the
//!   subnormal range is exact, so that finite is safe enough;
//! * binary32: products are exact in binary64, and `a / b` is exactly `r`, or the root of `a`, if `r * b`, or
//!   `r * r`, is exactly `a`;
//! * binary64: a product of significands ends in as many zero bits as both together, which tells if it fits.

use crate::{NX, Round};

/// Finite and above the smallest normal number: the exponent field is neither 0, nor 1, nor all ones.
#[inline]
pub(crate) fn is_safe_f32(x: f32) -> bool {
    ((x.to_bits() >> 23) & 0xff).wrapping_sub(2) <= 0xfe - 2
}

/// As [`is_safe_f32`].
#[inline]
pub(crate) fn is_safe_f64(x: f64) -> bool {
    ((x.to_bits() >> 52) & 0x7ff).wrapping_sub(2) <= 0x7fe - 2
}

/// Calls the integer arithmetic, out of line.
macro_rules! slow {
    ($op:ident, $format:ident, $bits:ident, $rm:expr, $flags:expr, $($arg:ident),+) => {{
        #[cold]
        #[inline(never)]
        fn slow($($arg: $bits,)+ rm: Round, flags: &mut u8) -> $bits {
            crate::soft::$op::<crate::$format>($($arg,)+ rm, flags)
        }
        slow($($arg,)+ $rm, $flags)
    }};
}
pub(crate) use slow;

/// The exact error of `s`, the rounded sum of `x` and `y`. If it is finite, no step overflowed and it is
/// right.
macro_rules! two_sum_error {
    ($x:expr, $y:expr, $s:expr) => {{
        let (x, y, s) = ($x, $y, $s);
        let y_part = s - x;
        (x - (s - y_part)) + (y - y_part)
    }};
}
pub(crate) use two_sum_error;

/// Addition and subtraction; `$sign` is the bit to flip in `b`.
macro_rules! sum {
    ($name:ident, $op:ident, $format:ident, $float:ident, $bits:ident, $sign:expr, $text:literal) => {
        #[doc = $text]
        #[inline]
        pub fn $name(a: $bits, b: $bits, rm: Round, flags: &mut u8) -> $bits {
            if rm == Round::Rne {
                let (x, y) = ($float::from_bits(a), $float::from_bits(b ^ $sign));
                let s = x + y;
                if *flags & NX != 0 {
                    if s.is_finite() {
                        return s.to_bits();
                    }
                } else {
                    let error = two_sum_error!(x, y, s);
                    if error.is_finite() {
                        *flags |= u8::from(error != 0.0) * NX;
                        return s.to_bits();
                    }
                }
            }
            slow!($op, $format, $bits, rm, flags, a, b)
        }
    };
}

sum!(f32_add, add, F32, f32, u32, 0, "Binary32 `a + b`.");
sum!(f32_sub, sub, F32, f32, u32, 1 << 31, "Binary32 `a - b`.");
sum!(f64_add, add, F64, f64, u64, 0, "Binary64 `a + b`.");
sum!(f64_sub, sub, F64, f64, u64, 1 << 63, "Binary64 `a - b`.");

/// Trailing zero bits of a normal number's significand.
#[inline]
fn trailing_zeros(bits: u64) -> u32 {
    (bits | 1 << 52).trailing_zeros()
}

#[inline]
fn exponent_field(bits: u64) -> u32 {
    (bits >> 52) as u32 & 0x7ff
}

/// Whether `x * y` is exactly `product`, the host's rounded product, all three being normal.
///
/// The product of the significands has 105 bits, or 106 if the exponent of the product is one above the sum
/// of the exponents, and as many trailing zeros as both factors together; it fits if 53 bits are left. (If
/// rounding carried into the exponent, the 105 bits began with 53 ones and had a one below: the stricter
/// bound refuses them as the other would.)
#[inline]
fn is_exact_product(x: f64, y: f64, product: f64) -> bool {
    let (a, b, p) = (x.to_bits(), y.to_bits(), product.to_bits());
    let carry = exponent_field(p) + 1023 - exponent_field(a) - exponent_field(b);
    trailing_zeros(a) + trailing_zeros(b) >= 52 + carry
}

/// Binary32 `a * b`.
#[inline]
pub fn f32_mul(a: u32, b: u32, rm: Round, flags: &mut u8) -> u32 {
    if rm == Round::Rne {
        let (x, y) = (f32::from_bits(a), f32::from_bits(b));
        let r = x * y;
        if is_safe_f32(r) {
            if *flags & NX == 0 {
                *flags |= u8::from(f64::from(x) * f64::from(y) != f64::from(r)) * NX;
            }
            return r.to_bits();
        }
        // Zero of a zero: exact. (Infinity or NaN times zero is not zero.)
        if r == 0.0 && (x == 0.0 || y == 0.0) {
            return r.to_bits();
        }
    }
    slow!(mul, F32, u32, rm, flags, a, b)
}

/// Binary64 `a * b`.
#[inline]
pub fn f64_mul(a: u64, b: u64, rm: Round, flags: &mut u8) -> u64 {
    if rm == Round::Rne {
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        let r = x * y;
        if is_safe_f64(r) {
            if *flags & NX != 0 {
                return r.to_bits();
            }
            if is_safe_f64(x) && is_safe_f64(y) {
                *flags |= u8::from(!is_exact_product(x, y, r)) * NX;
                return r.to_bits();
            }
        } else if r == 0.0 && (x == 0.0 || y == 0.0) {
            return r.to_bits();
        }
    }
    slow!(mul, F64, u64, rm, flags, a, b)
}

/// Binary32 `a / b`.
#[inline]
pub fn f32_div(a: u32, b: u32, rm: Round, flags: &mut u8) -> u32 {
    if rm == Round::Rne {
        let (x, y) = (f32::from_bits(a), f32::from_bits(b));
        let r = x / y;
        if is_safe_f32(r) {
            if *flags & NX == 0 {
                *flags |= u8::from(f64::from(r) * f64::from(y) != f64::from(x)) * NX;
            }
            return r.to_bits();
        }
        // Zero by anything but zero and NaN: exact.
        if r == 0.0 && x == 0.0 {
            return r.to_bits();
        }
    }
    slow!(div, F32, u32, rm, flags, a, b)
}

/// Binary64 `a / b`.
#[inline]
pub fn f64_div(a: u64, b: u64, rm: Round, flags: &mut u8) -> u64 {
    if rm == Round::Rne {
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        let r = x / y;
        if is_safe_f64(r) {
            if *flags & NX != 0 {
                return r.to_bits();
            }
            if is_safe_f64(x) && is_safe_f64(y) {
                let back = r * y;
                *flags |= u8::from(back != x || !is_exact_product(r, y, back)) * NX;
                return r.to_bits();
            }
        } else if r == 0.0 && x == 0.0 {
            return r.to_bits();
        }
    }
    slow!(div, F64, u64, rm, flags, a, b)
}

/// The square root of a binary32.
#[inline]
pub fn f32_sqrt(a: u32, rm: Round, flags: &mut u8) -> u32 {
    if rm == Round::Rne {
        let x = f32::from_bits(a);
        let r = x.sqrt();
        // The root of a positive number is never near the ends of the range.
        if is_safe_f32(r) {
            if *flags & NX == 0 {
                *flags |= u8::from(f64::from(r) * f64::from(r) != f64::from(x)) * NX;
            }
            return r.to_bits();
        }
        if x == 0.0 {
            return a;
        }
    }
    slow!(sqrt, F32, u32, rm, flags, a)
}

/// The square root of a binary64.
#[inline]
pub fn f64_sqrt(a: u64, rm: Round, flags: &mut u8) -> u64 {
    if rm == Round::Rne {
        let x = f64::from_bits(a);
        let r = x.sqrt();
        if is_safe_f64(r) {
            if *flags & NX != 0 {
                return r.to_bits();
            }
            if is_safe_f64(x) {
                let back = r * r;
                *flags |= u8::from(back != x || !is_exact_product(r, r, back)) * NX;
                return r.to_bits();
            }
        } else if x == 0.0 {
            return a;
        }
    }
    slow!(sqrt, F64, u64, rm, flags, a)
}
