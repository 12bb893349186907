//! x87's arithmetic: what its instructions compute from operands and the control word (SDM vol. 1, chapter
//! 8).
//!
//! An instruction makes an [`Env`] of the control word and calls one function. `None` for a result says that
//! an unmasked exception keeps the instruction from storing it; the flags raised and C1 are then in the
//! environment all the same. Stack faults, tags and TOP are the processor's business.

mod arith;
mod compare;
mod convert;
mod env;
mod explog;
mod trig;
mod value;
mod wide;

pub use arith::{Remainder, add, div, extract, mul, remainder, round_to_integral, scale, sqrt, sub};
pub use compare::{Class, compare};
pub use convert::{BCD_INDEFINITE, from_bcd, load, to_bcd, to_f32, to_f64, to_i16, to_i32, to_i64};
pub use env::Env;
pub use explog::{exp2m1, y_log2_x, y_log2_x_plus_1};
pub use trig::{Trig, atan2, cos, sin, sin_cos, tan};
pub use value::{F80, Operand};
