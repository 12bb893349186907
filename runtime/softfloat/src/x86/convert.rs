//! Conversions, and rounding to an integral value. Conversions to integers do not raise DE.

use super::env::{Env, Fast, IE, PE, flags};
use crate::fast::is_safe_f32;
use crate::soft::convert;
use crate::{F32, F64, NV, NX, Round};

/// A conversion to an integer: `rm` is [`Env::rounding`], or [`Round::Rtz`] for the truncating instructions.
macro_rules! to_integer {
    ($name:ident, $format:ident, $bits:ident, $int:ident) => {
        #[doc = concat!("Rounds to `", stringify!($int), "`; the integer indefinite, invalid, if out of range.")]
        #[inline]
        pub fn $name(a: $bits, rm: Round, env: &mut Env) -> $int {
            if <$format as Fast>::is_subnormal(a) && env.is_daz() {
                return 0;
            }
            let mut raised = 0;
            let result = crate::$name(a, rm, &mut raised);
            env.raised |= flags(raised);
            if raised & NV != 0 { $int::MIN } else { result }
        }
    };
}

to_integer!(f32_to_i32, F32, u32, i32);
to_integer!(f32_to_i64, F32, u32, i64);
to_integer!(f64_to_i32, F64, u64, i32);
to_integer!(f64_to_i64, F64, u64, i64);

macro_rules! from_integer {
    ($name:ident, $bits:ident, $int:ident) => {
        #[doc = concat!("The number nearest to an `", stringify!($int), "`.")]
        #[inline]
        pub fn $name(a: $int, env: &mut Env) -> $bits {
            let mut raised = 0;
            let result = crate::$name(a, env.rounding(), &mut raised);
            env.raised |= u8::from(raised & NX != 0) * PE;
            result
        }
    };
}

from_integer!(f32_from_i32, u32, i32);
from_integer!(f32_from_i64, u32, i64);
from_integer!(f64_from_i64, u64, i64);
pub use crate::f64_from_i32;

/// Rounds a binary64 to binary32.
#[inline]
pub fn f64_to_f32(a: u64, env: &mut Env) -> u32 {
    let x = f64::from_bits(a);
    let nearest = x as f32;
    if x == 0.0 || env.is_nearest() && is_safe_f32(nearest) {
        env.raised |= u8::from(f64::from(nearest) != x) * PE;
        return nearest.to_bits();
    }
    #[cold]
    #[inline(never)]
    fn slow(a: u64, env: &mut Env) -> u32 {
        let operands = env.unpack::<F64, 1>([a]);
        env.call(operands, |[x], cx| convert::convert::<F32, _>(x, cx))
    }
    slow(a, env)
}

/// The binary64 of a binary32.
#[inline]
pub fn f32_to_f64(a: u32, env: &mut Env) -> u64 {
    let x = f32::from_bits(a);
    if !x.is_nan() && !F32::is_subnormal(a) {
        return f64::from(x).to_bits();
    }
    #[cold]
    #[inline(never)]
    fn slow(a: u32, env: &mut Env) -> u64 {
        let operands = env.unpack::<F32, 1>([a]);
        env.call(operands, |[x], cx| convert::convert::<F64, _>(x, cx))
    }
    slow(a, env)
}

macro_rules! round {
    ($name:ident, $format:ident, $float:ident, $bits:ident) => {
        #[doc = concat!("Rounds to an integral ", stringify!($float), "; raises PE only if it is `precise`.")]
        #[inline]
        pub fn $name(a: $bits, rm: Round, precise: bool, env: &mut Env) -> $bits {
            if <$format as Fast>::is_nan(a) {
                let quiet = a | 1 << ($float::MANTISSA_DIGITS - 2);
                env.raised |= u8::from(a != quiet) * IE;
                return quiet;
            }
            let a = if <$format as Fast>::is_subnormal(a) { env.operand::<$format>(a) } else { a };
            let x = $float::from_bits(a);
            let integral = match rm {
                Round::Rne => x.round_ties_even(),
                Round::Rtz => x.trunc(),
                Round::Rdn => x.floor(),
                Round::Rup => x.ceil(),
                Round::Rmm => x.round(),
            };
            env.raised |= u8::from(precise && integral != x) * PE;
            integral.to_bits()
        }
    };
}

round!(f32_round, F32, f32, u32);
round!(f64_round, F64, f64, u64);
