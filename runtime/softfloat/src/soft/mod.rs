//! The arithmetic in integers, over any [`Format`].
//!
//! Every operation computes enough of the exact result to round it: 64 bits (`hi`, leading one in bit 63) and
//! a second word (`lo`) with the 64 bits that follow, the lowest of which is sticky, that is, set if anything
//! is lost below it. `round` does the rest.
//!
//! The modules' functions are generic over the [`Context`], which is the instruction set's; the functions of
//! this module are RISC-V's.

pub(crate) mod arith;
pub(crate) mod context;
pub(crate) mod convert;
mod fma;
pub(crate) mod round;

pub use context::{Context, Outside};
pub use convert::Limits;

use crate::format::{Format, Kind};
use crate::{NV, Round};
use context::RiscV;

/// `a + b`.
pub fn add<F: Format>(a: F::Bits, b: F::Bits, rm: Round, flags: &mut u8) -> F::Bits {
    arith::add::<F, _>(F::unpack(a), F::unpack(b), &mut RiscV { rm, flags })
}

/// `a - b`.
pub fn sub<F: Format>(a: F::Bits, b: F::Bits, rm: Round, flags: &mut u8) -> F::Bits {
    arith::sub::<F, _>(F::unpack(a), F::unpack(b), &mut RiscV { rm, flags })
}

/// `a * b`.
pub fn mul<F: Format>(a: F::Bits, b: F::Bits, rm: Round, flags: &mut u8) -> F::Bits {
    arith::mul::<F, _>(F::unpack(a), F::unpack(b), &mut RiscV { rm, flags })
}

/// `a / b`.
pub fn div<F: Format>(a: F::Bits, b: F::Bits, rm: Round, flags: &mut u8) -> F::Bits {
    arith::div::<F, _>(F::unpack(a), F::unpack(b), &mut RiscV { rm, flags })
}

/// The square root of `a`.
pub fn sqrt<F: Format>(a: F::Bits, rm: Round, flags: &mut u8) -> F::Bits {
    arith::sqrt::<F, _>(F::unpack(a), &mut RiscV { rm, flags })
}

/// `a * b + c`, rounded once. For formats of at most 62 bits of precision.
///
/// Infinity times zero is invalid whatever `c` is (unprivileged ISA, "Single-Precision Floating-Point
/// Computational Instructions").
pub fn fma<F: Format>(a: F::Bits, b: F::Bits, c: F::Bits, rm: Round, flags: &mut u8) -> F::Bits {
    fma::fma::<F, _>(a, b, c, &mut RiscV { rm, flags })
}

/// Converts between formats.
pub fn convert<A: Format, B: Format>(a: A::Bits, rm: Round, flags: &mut u8) -> B::Bits {
    convert::convert::<B, _>(A::unpack(a), &mut RiscV { rm, flags })
}

/// The number with this sign and magnitude.
pub fn from_int<F: Format>(sign: bool, magnitude: u64, rm: Round, flags: &mut u8) -> F::Bits {
    convert::from_int::<F, _>(sign, magnitude, &mut RiscV { rm, flags })
}

/// Rounds to an integer, in two's complement. Out of range: saturates and is invalid, not inexact; a NaN
/// counts as plus infinity (unprivileged ISA, "Single-Precision Floating-Point Conversion and Move
/// Instructions").
pub fn to_int<F: Format>(a: F::Bits, limits: Limits, rm: Round, flags: &mut u8) -> u64 {
    let x = F::unpack(a);
    match convert::to_int(x, limits, &mut RiscV { rm, flags }) {
        Some((sign, magnitude)) => {
            if sign {
                magnitude.wrapping_neg()
            } else {
                magnitude
            }
        }
        None => saturate(x, limits, flags),
    }
}

#[cold]
fn saturate(x: crate::format::Unpacked, limits: Limits, flags: &mut u8) -> u64 {
    *flags |= NV;
    limits.saturated(x.sign && matches!(x.kind, Kind::Finite | Kind::Inf))
}
