//! SSE's scalar floating point as MXCSR says (SDM vol. 1, 10.2.3 and 11.5): what the SSE instructions do with
//! one element, packed or not, on bit patterns.
//!
//! Against RISC-V: NaNs keep their payload, and the first operand's comes first; the default NaN is negative;
//! a conversion to an integer that has no result gives the integer indefinite; denormal operands raise DE or
//! count as zero (DAZ); tiny results may be flushed to zero (FTZ); exceptions may be unmasked.
//!
//! An instruction makes an [`Env`] of MXCSR, computes all of its elements in it, and asks [`Env::finish`] if
//! it is to fault. The fast paths are those of the crate's root, where no operand is denormal and the result
//! is an ordinary number or an exact zero.

mod arith;
mod compare;
mod convert;
mod env;

pub use arith::{f32_add, f32_div, f32_mul, f32_sqrt, f32_sub, f64_add, f64_div, f64_mul, f64_sqrt, f64_sub};
pub use compare::{
    Predicate, f32_compare, f32_max, f32_min, f32_test, f64_compare, f64_max, f64_min, f64_test,
};
pub use convert::{
    f32_from_i32, f32_from_i64, f32_round, f32_to_f64, f32_to_i32, f32_to_i64, f64_from_i32, f64_from_i64,
    f64_round, f64_to_f32, f64_to_i32, f64_to_i64,
};
pub use env::{DE, Env, IE, OE, PE, UE, ZE, rounding};
pub(crate) use env::{denormal, flags};
