//! Addition, subtraction, multiplication, division and square root.

use super::context::Context;
use super::round::{round, shift_right_sticky};
use crate::format::{Format, Kind, Unpacked};
use crate::{DZ, Round};

/// `x + y`.
pub(crate) fn add<F: Format, C: Context>(x: Unpacked, y: Unpacked, cx: &mut C) -> F::Bits {
    sum::<F, C>(x, y, cx)
}

/// `x - y`.
pub(crate) fn sub<F: Format, C: Context>(x: Unpacked, y: Unpacked, cx: &mut C) -> F::Bits {
    let mut y = y;
    // A NaN's sign is part of what is propagated.
    y.sign ^= !y.is_nan();
    sum::<F, C>(x, y, cx)
}

/// The sign of a sum that is exactly zero while its terms' signs differ (IEEE 754-2019 6.3).
#[inline]
pub(super) fn sign_of_cancelled(rm: Round) -> bool {
    rm == Round::Rdn
}

fn sum<F: Format, C: Context>(x: Unpacked, y: Unpacked, cx: &mut C) -> F::Bits {
    match (x.kind, y.kind) {
        (Kind::Finite, Kind::Finite) => sum_finite::<F, C>(x, y, cx),
        _ if x.is_nan() || y.is_nan() => cx.nan::<F>(&[x, y]),
        (Kind::Inf, Kind::Inf) if x.sign != y.sign => cx.invalid::<F>(),
        (Kind::Inf, _) => F::inf(x.sign),
        (_, Kind::Inf) => F::inf(y.sign),
        (Kind::Finite, _) => round::<F, C>(x.sign, x.exp, x.sig, 0, cx),
        (_, Kind::Finite) => round::<F, C>(y.sign, y.exp, y.sig, 0, cx),
        _ => F::zero(if x.sign == y.sign { x.sign } else { sign_of_cancelled(cx.rounding()) }),
    }
}

fn sum_finite<F: Format, C: Context>(x: Unpacked, y: Unpacked, cx: &mut C) -> F::Bits {
    let (x, y) = if (x.exp, x.sig) >= (y.exp, y.sig) { (x, y) } else { (y, x) };
    // One bit of headroom above, 63 below. Bits go lost below those only if the exponents differ by 64 or
    // more, and then the sum is within one bit of `x`, so that the sticky bit stays far below the last place.
    let large = u128::from(x.sig) << 63;
    let small = shift_right_sticky(u128::from(y.sig) << 63, (x.exp - y.exp) as u32);
    let total = if x.sign == y.sign { large + small } else { large - small };
    if total == 0 {
        return F::zero(sign_of_cancelled(cx.rounding()));
    }
    let zeros = total.leading_zeros();
    let total = total << zeros;
    round::<F, C>(x.sign, x.exp + 1 - zeros as i32, (total >> 64) as u64, total as u64, cx)
}

/// `x * y`.
pub(crate) fn mul<F: Format, C: Context>(x: Unpacked, y: Unpacked, cx: &mut C) -> F::Bits {
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Finite, Kind::Finite) => {
            let product = u128::from(x.sig) * u128::from(y.sig);
            let zeros = product.leading_zeros();
            let product = product << zeros;
            let exp = x.exp + y.exp + 1 - zeros as i32;
            round::<F, C>(sign, exp, (product >> 64) as u64, product as u64, cx)
        }
        _ if x.is_nan() || y.is_nan() => cx.nan::<F>(&[x, y]),
        (Kind::Inf, Kind::Zero) | (Kind::Zero, Kind::Inf) => cx.invalid::<F>(),
        (Kind::Inf, _) | (_, Kind::Inf) => F::inf(sign),
        _ => F::zero(sign),
    }
}

/// `x / y`.
pub(crate) fn div<F: Format, C: Context>(x: Unpacked, y: Unpacked, cx: &mut C) -> F::Bits {
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Finite, Kind::Finite) => {
            // Scale the dividend so that the quotient has exactly 64 bits.
            let below = x.sig < y.sig;
            let (hi, lo) = if below { (x.sig, 0) } else { (x.sig >> 1, x.sig << 63) };
            let (quotient, remainder) = divide(hi, lo, y.sig);
            let half = u64::from(remainder >= y.sig - remainder) << 63;
            let rest = if remainder == 0 { 0 } else { half | u64::from(remainder != y.sig - remainder) };
            round::<F, C>(sign, x.exp - y.exp - i32::from(below), quotient, rest, cx)
        }
        _ if x.is_nan() || y.is_nan() => cx.nan::<F>(&[x, y]),
        (Kind::Inf, Kind::Inf) | (Kind::Zero, Kind::Zero) => cx.invalid::<F>(),
        (Kind::Inf, _) => F::inf(sign),
        (_, Kind::Inf) | (Kind::Zero, _) => F::zero(sign),
        _ => {
            cx.raise(DZ);
            F::inf(sign)
        }
    }
}

/// Quotient and remainder of `hi:lo` by `d`, which has bit 63 set and is above `hi`.
///
/// Schoolbook division with 32-bit digits (Knuth, TAOCP vol. 2, 4.3.1, algorithm D): WASM divides 64 bits by
/// 64 at most, and the general 128-bit routine of the compiler's runtime is several times slower.
fn divide(hi: u64, lo: u64, d: u64) -> (u64, u64) {
    let (first, rest) = divide_digit(hi, lo >> 32, d);
    let (second, rest) = divide_digit(rest, lo & 0xffff_ffff, d);
    (first << 32 | second, rest)
}

/// One digit: quotient (below 2^32) and remainder of `high * 2^32 + digit` by `d`, `high` being below `d`.
#[inline]
fn divide_digit(high: u64, digit: u64, d: u64) -> (u64, u64) {
    let (d1, d0) = (d >> 32, d & 0xffff_ffff);
    let (mut q, mut rest) = (high / d1, high % d1);
    // The estimate is at most 2 too large; the second digit of the divisor corrects it.
    while q >> 32 != 0 || q * d0 > (rest << 32 | digit) {
        q -= 1;
        rest += d1;
        if rest >> 32 != 0 {
            break;
        }
    }
    // The true remainder is below `d`, so the arithmetic modulo 2^64 gives it.
    (q, (high << 32 | digit).wrapping_sub(q.wrapping_mul(d)))
}

/// The square root of `x`.
pub(crate) fn sqrt<F: Format, C: Context>(x: Unpacked, cx: &mut C) -> F::Bits {
    match x.kind {
        Kind::Zero => F::zero(x.sign),
        _ if x.is_nan() => cx.nan::<F>(&[x]),
        _ if x.sign => cx.invalid::<F>(),
        Kind::Inf => F::inf(false),
        _ => {
            // An even exponent halves; the radicand is scaled so that the root has 64 bits.
            let radicand = u128::from(x.sig) << (63 + (x.exp & 1));
            let root = radicand.isqrt();
            let remainder = radicand - root * root;
            // (root + 1/2)^2 is root^2 + root + 1/4: no root lies exactly half way.
            let rest = u64::from(remainder > root) << 63 | u64::from(remainder != 0);
            round::<F, C>(false, x.exp >> 1, root as u64, rest, cx)
        }
    }
}
