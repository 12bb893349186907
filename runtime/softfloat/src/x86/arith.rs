//! Addition, subtraction, multiplication, division and square root.

use super::env::{Env, Fast, flags};
use crate::fast::{is_safe_f32, is_safe_f64};
use crate::soft::arith;
use crate::{F32, F64, Round};

/// An operation of two operands. `$zero` tells if a result of zero is exact.
macro_rules! binary {
    ($name:ident, $soft:ident, $format:ident, $float:ident, $bits:ident, $safe:ident,
     |$x:ident, $y:ident| $host:expr, $zero:expr, $text:literal) => {
        #[doc = $text]
        #[inline]
        pub fn $name(a: $bits, b: $bits, env: &mut Env) -> $bits {
            if env.is_nearest() && !<$format as Fast>::is_subnormal(a) && !<$format as Fast>::is_subnormal(b)
            {
                let ($x, $y) = ($float::from_bits(a), $float::from_bits(b));
                let r = $host;
                if $safe(r) || r == 0.0 && $zero {
                    if !env.is_inexact_settled() {
                        let mut raised = 0;
                        crate::$name(a, b, Round::Rne, &mut raised);
                        env.raised |= flags(raised);
                    }
                    return r.to_bits();
                }
            }
            #[cold]
            #[inline(never)]
            fn slow(a: $bits, b: $bits, env: &mut Env) -> $bits {
                let operands = env.unpack::<$format, 2>([a, b]);
                env.call(operands, |[x, y], cx| arith::$soft::<$format, _>(x, y, cx))
            }
            slow(a, b, env)
        }
    };
}

binary!(f32_add, add, F32, f32, u32, is_safe_f32, |x, y| x + y, true, "Binary32 `a + b`.");
binary!(f64_add, add, F64, f64, u64, is_safe_f64, |x, y| x + y, true, "Binary64 `a + b`.");
binary!(f32_sub, sub, F32, f32, u32, is_safe_f32, |x, y| x - y, true, "Binary32 `a - b`.");
binary!(f64_sub, sub, F64, f64, u64, is_safe_f64, |x, y| x - y, true, "Binary64 `a - b`.");
binary!(f32_mul, mul, F32, f32, u32, is_safe_f32, |x, y| x * y, (x == 0.0 || y == 0.0), "Binary32 `a * b`.");
binary!(f64_mul, mul, F64, f64, u64, is_safe_f64, |x, y| x * y, (x == 0.0 || y == 0.0), "Binary64 `a * b`.");
binary!(f32_div, div, F32, f32, u32, is_safe_f32, |x, y| x / y, x == 0.0, "Binary32 `a / b`.");
binary!(f64_div, div, F64, f64, u64, is_safe_f64, |x, y| x / y, x == 0.0, "Binary64 `a / b`.");

macro_rules! root {
    ($name:ident, $format:ident, $float:ident, $bits:ident, $safe:ident, $text:literal) => {
        #[doc = $text]
        #[inline]
        pub fn $name(a: $bits, env: &mut Env) -> $bits {
            if env.is_nearest() && !<$format as Fast>::is_subnormal(a) {
                let r = $float::from_bits(a).sqrt();
                if $safe(r) || r == 0.0 {
                    if !env.is_inexact_settled() {
                        let mut raised = 0;
                        crate::$name(a, Round::Rne, &mut raised);
                        env.raised |= flags(raised);
                    }
                    return r.to_bits();
                }
            }
            #[cold]
            #[inline(never)]
            fn slow(a: $bits, env: &mut Env) -> $bits {
                let operands = env.unpack::<$format, 1>([a]);
                env.call(operands, |[x], cx| arith::sqrt::<$format, _>(x, cx))
            }
            slow(a, env)
        }
    };
}

root!(f32_sqrt, F32, f32, u32, is_safe_f32, "The square root of a binary32.");
root!(f64_sqrt, F64, f64, u64, is_safe_f64, "The square root of a binary64.");
