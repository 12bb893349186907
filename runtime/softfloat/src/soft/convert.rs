//! Conversions between formats, and to and from integers.

use super::nan;
use super::round::{round, rounds_up};
use crate::format::{Format, Kind};
use crate::{NV, NX, Round};

/// Converts between formats.
pub fn convert<A: Format, B: Format>(a: A::Bits, rm: Round, flags: &mut u8) -> B::Bits {
    let x = A::unpack(a);
    match x.kind {
        Kind::Finite => round::<B>(x.sign, x.exp, x.sig, 0, rm, flags),
        Kind::Zero => B::zero(x.sign),
        Kind::Inf => B::inf(x.sign),
        _ => nan::<B>(&[x], flags),
    }
}

/// The number with this sign and magnitude.
pub fn from_int<F: Format>(sign: bool, magnitude: u64, rm: Round, flags: &mut u8) -> F::Bits {
    if magnitude == 0 {
        return F::zero(false);
    }
    let zeros = magnitude.leading_zeros();
    round::<F>(sign, 63 - zeros as i32, magnitude << zeros, 0, rm, flags)
}

/// The magnitudes of the greatest and the least integer of a type.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    greatest: u64,
    least: u64,
}

impl Limits {
    /// `i32`
    pub const I32: Self = Self { greatest: i32::MAX as u64, least: 1 << 31 };
    /// `u32`
    pub const U32: Self = Self { greatest: u32::MAX as u64, least: 0 };
    /// `i64`
    pub const I64: Self = Self { greatest: i64::MAX as u64, least: 1 << 63 };
    /// `u64`
    pub const U64: Self = Self { greatest: u64::MAX, least: 0 };
}

/// Rounds to an integer, in two's complement. Out of range: saturates and is invalid, not inexact; a NaN counts as
/// plus infinity (unprivileged ISA, "Single-Precision Floating-Point Conversion and Move Instructions").
pub fn to_int<F: Format>(a: F::Bits, limits: Limits, rm: Round, flags: &mut u8) -> u64 {
    let x = F::unpack(a);
    let (magnitude, rest) = match x.kind {
        Kind::Zero => return 0,
        Kind::Finite if x.exp < 64 => match 63 - x.exp {
            0 => (x.sig, 0),
            drop @ 1..=63 => (x.sig >> drop, x.sig << (64 - drop)),
            64 => (0, x.sig),
            _ => (0, 1),
        },
        Kind::Finite | Kind::Inf => return saturate(x.sign, limits, flags),
        _ => return saturate(false, limits, flags),
    };
    // No carry out of 64 bits: a fraction implies that the highest bit is clear.
    let magnitude = magnitude + u64::from(rounds_up(rm, x.sign, magnitude & 1 != 0, rest));
    if magnitude > if x.sign { limits.least } else { limits.greatest } {
        return saturate(x.sign, limits, flags);
    }
    if rest != 0 {
        *flags |= NX;
    }
    if x.sign { magnitude.wrapping_neg() } else { magnitude }
}

#[cold]
fn saturate(sign: bool, limits: Limits, flags: &mut u8) -> u64 {
    *flags |= NV;
    if sign { limits.least.wrapping_neg() } else { limits.greatest }
}
