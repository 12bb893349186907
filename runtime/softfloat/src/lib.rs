//! IEEE 754 arithmetic, exact in every bit and flag: binary32 and binary64 as RISC-V defines it here, as SSE
//! does in [`x86`], and x87's double extended format in [`x87`].
//!
//! Values are bit patterns (`u32`, `u64`). Every function that can raise a flag takes the accrued flags
//! (`fcsr.fflags`) as `&mut u8` and ORs its own into them; flags are never cleared.
//!
//! # Layers
//! * `format`: a format is a type with a precision and an exponent range; taking a number apart and putting
//!   it together is the format's business.
//! * [`soft`]: the arithmetic, written once over the format and over the instruction set's [`soft::Context`]
//!   (NaNs, traps), in integers only. It is right for every operand, rounding mode and flag, and takes 10 to
//!   50 ns.
//! * `fast` and `convert`: what the root of the crate exports as `f32_add`, `f64_mul`, ... These use the
//!   host's own floating point where a few tests prove that it gives the same bits *and* that the flags are
//!   known, and else call [`soft`]. Flags that are already set tell that the inexact test can be spared,
//!   which is the common case in a running program (the idea is that of QEMU's hardfloat, Cota and Carloni,
//!   VEE 2019).
//!
//! # RISC-V choices (unprivileged ISA, chapter "F")
//! * A NaN result is always the canonical NaN; payloads are not propagated.
//! * Tininess is detected after rounding.
//! * A fused multiply-add of infinity times zero is invalid even if the addend is a quiet NaN.
//! * `min` and `max` are IEEE 754-2019 `minimumNumber` and `maximumNumber`, with -0 less than +0.
//! * A conversion to an integer saturates and raises only NV; a NaN converts to the greatest integer.
//!
//! # Limits
//! The fast paths assume that the host's arithmetic is IEEE 754 rounding to nearest even with subnormals,
//! which WebAssembly guarantees and Rust assumes of its targets. `fma` needs two spare bits in 64, which the
//! double extended format has not.
#![forbid(unsafe_code)]

mod compare;
mod convert;
mod fast;
mod fma;
mod format;
pub mod soft;
pub mod x86;
pub mod x87;

pub use compare::{
    f32_classify, f32_eq, f32_le, f32_lt, f32_max, f32_min, f64_classify, f64_eq, f64_le, f64_lt, f64_max,
    f64_min,
};
pub use convert::{
    f32_from_i32, f32_from_i64, f32_from_u32, f32_from_u64, f32_to_f64, f32_to_i32, f32_to_i64, f32_to_u32,
    f32_to_u64, f64_from_i32, f64_from_i64, f64_from_u32, f64_from_u64, f64_to_f32, f64_to_i32, f64_to_i64,
    f64_to_u32, f64_to_u64,
};
pub use fast::{f32_add, f32_div, f32_mul, f32_sqrt, f32_sub, f64_add, f64_div, f64_mul, f64_sqrt, f64_sub};
pub use fma::{f32_fma, f64_fma};
pub use format::{F32, F64, Format};

/// Inexact: the result was rounded.
pub const NX: u8 = 1;
/// Underflow: the result is tiny (after rounding) and inexact.
pub const UF: u8 = 2;
/// Overflow: the rounded result is beyond the largest finite number.
pub const OF: u8 = 4;
/// Division of a finite non-zero number by zero.
pub const DZ: u8 = 8;
/// Invalid operation: a signalling NaN, or no result exists.
pub const NV: u8 = 16;

/// The canonical NaN of binary32.
pub const F32_NAN: u32 = 0x7fc0_0000;
/// The canonical NaN of binary64.
pub const F64_NAN: u64 = 0x7ff8_0000_0000_0000;

/// A rounding mode, numbered as in the `rm` field of a RISC-V instruction and in `fcsr.frm`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To nearest, ties to even.
    Rne = 0,
    /// Towards zero.
    Rtz = 1,
    /// Down, towards minus infinity.
    Rdn = 2,
    /// Up, towards plus infinity.
    Rup = 3,
    /// To nearest, ties away from zero.
    Rmm = 4,
}

impl Round {
    /// All modes, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Rne, Self::Rtz, Self::Rdn, Self::Rup, Self::Rmm];

    /// The mode of an `rm` or `frm` value; `None` for the reserved 5 and 6 and for 7 (dynamic), which the
    /// caller replaces by `frm` first.
    #[inline]
    pub fn from_rm(rm: u8) -> Option<Self> {
        Self::ALL.get(usize::from(rm)).copied()
    }
}

/// The binary32 in a 64-bit register: the low half if the high half is all ones, else the canonical NaN
/// (unprivileged ISA, "NaN Boxing of Narrower Values").
#[inline]
pub fn f32_unbox(register: u64) -> u32 {
    if register >> 32 == 0xffff_ffff { register as u32 } else { F32_NAN }
}

/// A binary32 as a 64-bit register holds it.
#[inline]
pub fn f32_box(bits: u32) -> u64 {
    0xffff_ffff_0000_0000 | u64::from(bits)
}

#[cfg(test)]
mod tests;
