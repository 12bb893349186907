//! Conversions by the host's instructions where they are exact or their error is known, else by
//! [`crate::soft`].

use crate::soft::{self, Limits};
use crate::{F32, F64, NX, Round};

/// Rounds to an integer value as `rm` says; `None` for ties away from zero, which WASM has no instruction
/// for.
#[inline]
fn to_integral(x: f64, rm: Round) -> Option<f64> {
    match rm {
        Round::Rne => Some(x.round_ties_even()),
        Round::Rtz => Some(x.trunc()),
        Round::Rdn => Some(x.floor()),
        Round::Rup => Some(x.ceil()),
        Round::Rmm => None,
    }
}

/// A conversion to an integer type, from both formats. The ends of `$range` are exact as `f64`.
macro_rules! to_integer {
    ($int:ident, $limits:ident, $from64:ident, $from32:ident, $range:expr) => {
        #[doc = concat!("Rounds a binary64 to `", stringify!($int), "`; saturates, invalid, if out of range.")]
        #[inline]
        pub fn $from64(a: u64, rm: Round, flags: &mut u8) -> $int {
            let x = f64::from_bits(a);
            if let Some(integral) = to_integral(x, rm)
                && $range.contains(&integral)
            {
                if integral != x {
                    *flags |= NX;
                }
                return integral as $int;
            }
            #[cold]
            #[inline(never)]
            fn slow(a: u64, rm: Round, flags: &mut u8) -> $int {
                soft::to_int::<F64>(a, Limits::$limits, rm, flags) as $int
            }
            slow(a, rm, flags)
        }

        #[doc = concat!("Rounds a binary32 to `", stringify!($int), "`; saturates, invalid, if out of range.")]
        #[inline]
        pub fn $from32(a: u32, rm: Round, flags: &mut u8) -> $int {
            // Exact, and any NaN is as invalid as another.
            $from64(f64::from(f32::from_bits(a)).to_bits(), rm, flags)
        }
    };
}

to_integer!(i32, I32, f64_to_i32, f32_to_i32, (-2_147_483_648.0..2_147_483_648.0));
to_integer!(u32, U32, f64_to_u32, f32_to_u32, (0.0..4_294_967_296.0));
to_integer!(i64, I64, f64_to_i64, f32_to_i64, (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0));
to_integer!(u64, U64, f64_to_u64, f32_to_u64, (0.0..18_446_744_073_709_551_616.0));

/// A conversion from a signed and an unsigned integer type that may be wider than the format. An `as` cast
/// rounds to nearest even; it is exact if the bits from the first to the last that is set are no more than
/// the precision.
macro_rules! from_wide_integer {
    ($format:ident, $float:ident, $bits:ident, $prec:literal, $int:ident, $unsigned:ident,
     $from_int:ident, $from_unsigned:ident) => {
        #[doc = concat!("The ", stringify!($float), " nearest to a `", stringify!($int), "`, as `rm` says.")]
        #[inline]
        pub fn $from_int(a: $int, rm: Round, flags: &mut u8) -> $bits {
            let magnitude = a.unsigned_abs();
            let exact = $unsigned::BITS - magnitude.leading_zeros() <= $prec + magnitude.trailing_zeros();
            if exact || rm == Round::Rne {
                *flags |= if exact { 0 } else { NX };
                return (a as $float).to_bits();
            }
            soft::from_int::<$format>(a < 0, u64::from(magnitude), rm, flags)
        }

        #[doc = concat!("The ", stringify!($float), " nearest to a `", stringify!($unsigned), "`, as `rm` says.")]
        #[inline]
        pub fn $from_unsigned(a: $unsigned, rm: Round, flags: &mut u8) -> $bits {
            let exact = $unsigned::BITS - a.leading_zeros() <= $prec + a.trailing_zeros();
            if exact || rm == Round::Rne {
                *flags |= if exact { 0 } else { NX };
                return (a as $float).to_bits();
            }
            soft::from_int::<$format>(false, u64::from(a), rm, flags)
        }
    };
}

from_wide_integer!(F32, f32, u32, 24, i32, u32, f32_from_i32, f32_from_u32);
from_wide_integer!(F32, f32, u32, 24, i64, u64, f32_from_i64, f32_from_u64);
from_wide_integer!(F64, f64, u64, 53, i64, u64, f64_from_i64, f64_from_u64);

/// The binary64 of an `i32`: exact.
#[inline]
pub fn f64_from_i32(a: i32) -> u64 {
    f64::from(a).to_bits()
}

/// The binary64 of a `u32`: exact.
#[inline]
pub fn f64_from_u32(a: u32) -> u64 {
    f64::from(a).to_bits()
}

/// Rounds a binary64 to binary32.
#[inline]
pub fn f64_to_f32(a: u64, rm: Round, flags: &mut u8) -> u32 {
    let x = f64::from_bits(a);
    let nearest = x as f32;
    if f64::from(nearest) == x {
        return nearest.to_bits();
    }
    if rm == Round::Rne && crate::fast::is_safe_f32(nearest) {
        *flags |= NX;
        return nearest.to_bits();
    }
    #[cold]
    #[inline(never)]
    fn slow(a: u64, rm: Round, flags: &mut u8) -> u32 {
        soft::convert::<F64, F32>(a, rm, flags)
    }
    slow(a, rm, flags)
}

/// The binary64 of a binary32: exact; a NaN becomes the canonical one.
#[inline]
pub fn f32_to_f64(a: u32, flags: &mut u8) -> u64 {
    let x = f32::from_bits(a);
    if x.is_nan() {
        return soft::convert::<F32, F64>(a, Round::Rne, flags);
    }
    f64::from(x).to_bits()
}
