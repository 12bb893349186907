//! Fused multiply-add. WASM has no instruction for it.

use crate::fast::{is_safe_f32, slow, two_sum_error};
use crate::{NX, Round};

/// Binary32 `a * b + c`, rounded once.
///
/// The product is exact in binary64. The sum rounded to binary64 and then to binary32 is wrong only if the
/// first rounding lands on a point half way between two binary32 numbers without having been exact.
#[inline]
pub fn f32_fma(a: u32, b: u32, c: u32, rm: Round, flags: &mut u8) -> u32 {
    if rm == Round::Rne {
        let (x, y, z) = (f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
        let (product, z) = (f64::from(x) * f64::from(y), f64::from(z));
        let sum = product + z;
        let r = sum as f32;
        if is_safe_f32(r) {
            let half_way = sum.to_bits() & 0x1fff_ffff == 0x1000_0000;
            if *flags & NX != 0 && !half_way {
                return r.to_bits();
            }
            let exact_sum = two_sum_error!(product, z, sum) == 0.0;
            if exact_sum || !half_way {
                *flags |= u8::from(!exact_sum || f64::from(r) != sum) * NX;
                return r.to_bits();
            }
        } else if sum == 0.0 {
            // Neither the product nor the sum can underflow in binary64: an exact zero, with its sign.
            return r.to_bits();
        }
    }
    slow!(fma, F32, u32, rm, flags, a, b, c)
}

/// Binary64 `a * b + c`, rounded once.
#[inline]
pub fn f64_fma(a: u64, b: u64, c: u64, rm: Round, flags: &mut u8) -> u64 {
    if rm == Round::Rne
        && *flags & NX != 0
        && is_moderate(a)
        && is_moderate(b)
        && (is_moderate(c) || c << 1 == 0)
    {
        return fma_nearest(f64::from_bits(a), f64::from_bits(b), f64::from_bits(c)).to_bits();
    }
    slow!(fma, F64, u64, rm, flags, a, b, c)
}

/// Whether the magnitude is between 2^-300 and 2^301.
#[inline]
fn is_moderate(bits: u64) -> bool {
    const LEAST: u64 = 1023 - 300;
    ((bits >> 52) & 0x7ff).wrapping_sub(LEAST) <= 600
}

/// The fused multiply-add of moderate numbers (`z` may be zero): nothing in it overflows, and no last place
/// is below 2^-706, so that nothing underflows either.
///
/// The result is `sum` plus `tail` but for the tail's rounding error, which is at most 2^-53 of it. Where a
/// tail that is larger, and one that is smaller, by 2^-51 of it give the same, that is the result, because
/// rounding is monotonic (Ziv, *Fast evaluation of elementary mathematical functions with correctly rounded
/// last bit*, ACM TOMS 17(3), 1991).
#[inline]
fn fma_nearest(x: f64, y: f64, z: f64) -> f64 {
    const LESS: f64 = 1.0 - 2.0 * f64::EPSILON;
    const MORE: f64 = 1.0 + 2.0 * f64::EPSILON;
    let product = x * y;
    let sum = product + z;
    let tail = two_sum_error!(product, z, sum) + exact_product_error(x, y, product);
    let (one, other) = (sum + tail * LESS, sum + tail * MORE);
    if one.to_bits() == other.to_bits() { one } else { fma_in_full(x, y, z) }
}

/// The same, always.
///
/// Boldo and Melquiond, *Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to
/// odd*, IEEE Trans. Comput. 57(4), 2008, figure 4: the product and two sums are taken apart without error;
/// what is left below the leading term is summed with rounding to odd, so that the last rounding sees on
/// which side of a half it lies. An exact zero comes out as +0, as it must.
#[cold]
#[inline(never)]
fn fma_in_full(x: f64, y: f64, z: f64) -> f64 {
    let product = x * y;
    let product_error = exact_product_error(x, y, product);
    let low = z + product_error;
    let low_error = two_sum_error!(z, product_error, low);
    let high = product + low;
    let high_error = two_sum_error!(product, low, high);
    high + sum_to_odd(low_error, high_error)
}

/// `x * y - product` for the rounded product, by Dekker's splitting (*Handbook of Floating-Point Arithmetic*,
/// 2nd ed., 4.4.2).
#[inline]
fn exact_product_error(x: f64, y: f64, product: f64) -> f64 {
    /// The high half, of 26 bits; what is left has 26 and a sign.
    #[inline]
    fn high_half(x: f64) -> f64 {
        let scaled = x * 134_217_729.0; // 2^27 + 1
        scaled - (scaled - x)
    }
    let (x1, y1) = (high_half(x), high_half(y));
    let (x0, y0) = (x - x1, y - y1);
    ((x1 * y1 - product) + x1 * y0 + x0 * y1) + x0 * y0
}

/// The sum rounded to odd: if inexact, the one of the two neighbours whose last bit is 1.
#[inline]
fn sum_to_odd(x: f64, y: f64) -> f64 {
    let sum = x + y;
    let error = two_sum_error!(x, y, sum);
    if error != 0.0 && sum.to_bits() & 1 == 0 {
        // Away from zero if the error has the sign of the sum, else towards it. An inexact sum is not zero.
        let away = (error.to_bits() ^ sum.to_bits()) >> 63 == 0;
        return f64::from_bits(sum.to_bits().wrapping_add_signed(if away { 1 } else { -1 }));
    }
    sum
}
