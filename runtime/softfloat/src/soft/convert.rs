//! Conversions between formats, and to and from integers.

use super::context::{Context, UP};
use super::round::{round, rounds_up};
use crate::format::{Format, Kind, Unpacked};
use crate::{NX, Round};

/// Converts to another format.
pub(crate) fn convert<B: Format, C: Context>(x: Unpacked, cx: &mut C) -> B::Bits {
    match x.kind {
        Kind::Finite => round::<B, C>(x.sign, x.exp, x.sig, 0, cx),
        Kind::Zero => B::zero(x.sign),
        Kind::Inf => B::inf(x.sign),
        _ => cx.nan::<B>(&[x]),
    }
}

/// The number with this sign and magnitude.
pub(crate) fn from_int<F: Format, C: Context>(sign: bool, magnitude: u64, cx: &mut C) -> F::Bits {
    if magnitude == 0 {
        return F::zero(false);
    }
    let zeros = magnitude.leading_zeros();
    round::<F, C>(sign, 63 - zeros as i32, magnitude << zeros, 0, cx)
}

/// The magnitudes of the greatest and the least integer of a type.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    greatest: u64,
    least: u64,
}

impl Limits {
    /// `i16`
    pub const I16: Self = Self { greatest: i16::MAX as u64, least: 1 << 15 };
    /// `i32`
    pub const I32: Self = Self { greatest: i32::MAX as u64, least: 1 << 31 };
    /// `u32`
    pub const U32: Self = Self { greatest: u32::MAX as u64, least: 0 };
    /// `i64`
    pub const I64: Self = Self { greatest: i64::MAX as u64, least: 1 << 63 };
    /// `u64`
    pub const U64: Self = Self { greatest: u64::MAX, least: 0 };

    /// 18 decimal digits and a sign.
    pub(crate) const BCD: Self = Self { greatest: 999_999_999_999_999_999, least: 999_999_999_999_999_999 };

    /// The greatest, or the least if `sign`, in two's complement.
    pub(super) fn saturated(self, sign: bool) -> u64 {
        if sign { self.least.wrapping_neg() } else { self.greatest }
    }
}

/// A finite number or zero of exponent below 64, rounded to an integer: its magnitude, and what rounding did
/// ([`NX`] and [`UP`]).
#[inline]
fn rounded(x: Unpacked, rm: Round) -> (u64, u8) {
    let (magnitude, rest) = match 63 - x.exp {
        _ if x.kind == Kind::Zero => (0, 0),
        0 => (x.sig, 0),
        drop @ 1..=63 => (x.sig >> drop, x.sig << (64 - drop)),
        64 => (0, x.sig),
        _ => (0, 1),
    };
    if rest == 0 {
        return (magnitude, 0);
    }
    // No carry out of 64 bits: a fraction implies that the highest bit is clear.
    let up = rounds_up(rm, x.sign, magnitude & 1 != 0, rest);
    (magnitude + u64::from(up), if up { NX | UP } else { NX })
}

/// Rounds to an integer: its sign and magnitude. Without result, and without a flag, if it is out of range or
/// a NaN.
#[inline]
pub(crate) fn to_int<C: Context>(x: Unpacked, limits: Limits, cx: &mut C) -> Option<(bool, u64)> {
    if x.is_nan() || x.kind == Kind::Inf || x.exp >= 64 {
        return None;
    }
    let (magnitude, flags) = rounded(x, cx.rounding());
    if magnitude > if x.sign { limits.least } else { limits.greatest } {
        return None;
    }
    if flags != 0 {
        cx.raise(flags);
    }
    Some((x.sign, magnitude))
}

/// Rounds to an integer in the same format.
pub(crate) fn to_integral<F: Format, C: Context>(x: Unpacked, cx: &mut C) -> F::Bits {
    match x.kind {
        Kind::Finite => {
            let (magnitude, exp) = if x.exp < 63 {
                let (magnitude, flags) = rounded(x, cx.rounding());
                if flags != 0 {
                    cx.raise(flags);
                }
                (magnitude, 63)
            } else {
                (x.sig, x.exp)
            };
            if magnitude == 0 {
                return F::zero(x.sign);
            }
            // Exact: the significand is no longer than it was, or a power of two.
            let zeros = magnitude.leading_zeros();
            let field = (exp - zeros as i32 + F::EMAX) as u32;
            F::pack(x.sign, field, magnitude << zeros >> (64 - F::PREC))
        }
        Kind::Zero => F::zero(x.sign),
        Kind::Inf => F::inf(x.sign),
        _ => cx.nan::<F>(&[x]),
    }
}
