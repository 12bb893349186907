//! Comparisons, minimum and maximum, classification. None of them rounds; the host's comparison is exact.

use crate::format::{Format, Kind};
use crate::{F32, F64, NV};

/// The comparisons of one format.
macro_rules! comparisons {
    ($format:ident, $float:ident, $bits:ident, $name:literal,
     $eq:ident, $lt:ident, $le:ident, $min:ident, $max:ident, $classify:ident) => {
        #[doc = concat!("Quiet ", $name, " `a == b`: invalid only for a signalling NaN.")]
        #[inline]
        pub fn $eq(a: $bits, b: $bits, flags: &mut u8) -> bool {
            let (x, y) = ($float::from_bits(a), $float::from_bits(b));
            if x.is_nan() || y.is_nan() {
                invalid_if_signalling::<$format>(a, b, flags);
            }
            x == y
        }

        #[doc = concat!("Signalling ", $name, " `a < b`: invalid and false for any NaN.")]
        #[inline]
        pub fn $lt(a: $bits, b: $bits, flags: &mut u8) -> bool {
            let (x, y) = ($float::from_bits(a), $float::from_bits(b));
            if x.is_nan() || y.is_nan() {
                *flags |= NV;
            }
            x < y
        }

        #[doc = concat!("Signalling ", $name, " `a <= b`: invalid and false for any NaN.")]
        #[inline]
        pub fn $le(a: $bits, b: $bits, flags: &mut u8) -> bool {
            let (x, y) = ($float::from_bits(a), $float::from_bits(b));
            if x.is_nan() || y.is_nan() {
                *flags |= NV;
            }
            x <= y
        }

        #[doc = concat!("The lesser ", $name, ": -0 is below +0, a number is preferred to a NaN.")]
        #[inline]
        pub fn $min(a: $bits, b: $bits, flags: &mut u8) -> $bits {
            let (x, y) = ($float::from_bits(a), $float::from_bits(b));
            if x.is_nan() || y.is_nan() {
                return number_of::<$format>(a, b, flags);
            }
            if x < y || (x == y && x.is_sign_negative()) { a } else { b }
        }

        #[doc = concat!("The greater ", $name, ": +0 is above -0, a number is preferred to a NaN.")]
        #[inline]
        pub fn $max(a: $bits, b: $bits, flags: &mut u8) -> $bits {
            let (x, y) = ($float::from_bits(a), $float::from_bits(b));
            if x.is_nan() || y.is_nan() {
                return number_of::<$format>(a, b, flags);
            }
            if x > y || (x == y && x.is_sign_positive()) { a } else { b }
        }

        #[doc = concat!("The ", $name, " `fclass` mask, one bit of ten.")]
        ///
        /// From bit 0: negative infinity, normal, subnormal, zero; positive zero, subnormal, normal,
        /// infinity; signalling NaN, quiet NaN.
        #[inline]
        pub fn $classify(a: $bits) -> u32 {
            classify::<$format>(a)
        }
    };
}

comparisons!(F32, f32, u32, "binary32", f32_eq, f32_lt, f32_le, f32_min, f32_max, f32_classify);
comparisons!(F64, f64, u64, "binary64", f64_eq, f64_lt, f64_le, f64_min, f64_max, f64_classify);

#[cold]
fn invalid_if_signalling<F: Format>(a: F::Bits, b: F::Bits, flags: &mut u8) {
    if [a, b].into_iter().any(|x| F::unpack(x).kind == Kind::SignallingNan) {
        *flags |= NV;
    }
}

/// The operand that is not a NaN, of two of which one at least is.
#[cold]
fn number_of<F: Format>(a: F::Bits, b: F::Bits, flags: &mut u8) -> F::Bits {
    invalid_if_signalling::<F>(a, b, flags);
    match (F::unpack(a).is_nan(), F::unpack(b).is_nan()) {
        (true, true) => F::NAN,
        (true, false) => b,
        _ => a,
    }
}

fn classify<F: Format>(a: F::Bits) -> u32 {
    let x = F::unpack(a);
    let positive = match x.kind {
        Kind::SignallingNan | Kind::Unsupported => return 1 << 8,
        Kind::QuietNan => return 1 << 9,
        Kind::Zero => 4,
        Kind::Finite if x.exp < F::EMIN => 5,
        Kind::Finite => 6,
        Kind::Inf => 7,
    };
    1 << if x.sign { 7 - positive } else { positive }
}
