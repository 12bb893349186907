//! The arithmetic in integers, over any [`Format`].
//!
//! Every operation computes enough of the exact result to round it: 64 bits (`hi`, leading one in bit 63) and a
//! second word (`lo`) with the 64 bits that follow, the lowest of which is sticky, that is, set if anything is lost
//! below it. `round` does the rest.

mod arith;
mod convert;
mod fma;
mod round;

pub use arith::{add, div, mul, sqrt, sub};
pub use convert::{Limits, convert, from_int, to_int};
pub use fma::fma;

use crate::NV;
use crate::format::{Format, Kind, Unpacked};

/// The result if an operand is a NaN: the canonical NaN, invalid if one of them signals.
///
/// The one place that knows what becomes of NaNs: an ISA that propagates payloads replaces it.
#[cold]
fn nan<F: Format>(operands: &[Unpacked], flags: &mut u8) -> F::Bits {
    if operands.iter().any(|x| x.kind == Kind::SignallingNan) {
        *flags |= NV;
    }
    F::NAN
}

/// The result of an operation that has none.
#[cold]
fn invalid<F: Format>(flags: &mut u8) -> F::Bits {
    *flags |= NV;
    F::NAN
}

/// Shifts right; bits lost set the lowest bit of the result.
#[inline]
fn shift_right_sticky(x: u128, by: u32) -> u128 {
    match by {
        0 => x,
        1..=127 => x >> by | u128::from(x << (128 - by) != 0),
        _ => u128::from(x != 0),
    }
}
