//! Fused multiply-add.

use super::arith::sign_of_cancelled;
use super::context::Context;
use super::round::{round, shift_right_sticky};
use crate::format::{Format, Kind, Unpacked};

/// `a * b + c`, rounded once. For formats of at most 62 bits of precision.
///
/// Infinity times zero is invalid whatever `c` is (unprivileged ISA, "Single-Precision Floating-Point
/// Computational Instructions").
pub(crate) fn fma<F: Format, C: Context>(a: F::Bits, b: F::Bits, c: F::Bits, cx: &mut C) -> F::Bits {
    const { assert!(F::PREC <= 62) };
    let (x, y, z) = (F::unpack(a), F::unpack(b), F::unpack(c));
    let sign = x.sign != y.sign;
    match (x.kind, y.kind, z.kind) {
        (Kind::Finite, Kind::Finite, Kind::Finite) => finite::<F, C>(x, y, z, cx),
        (Kind::Inf, Kind::Zero, _) | (Kind::Zero, Kind::Inf, _) => cx.invalid::<F>(),
        _ if x.is_nan() || y.is_nan() || z.is_nan() => cx.nan::<F>(&[x, y, z]),
        (Kind::Inf, _, _) | (_, Kind::Inf, _) => {
            if z.kind == Kind::Inf && z.sign != sign {
                return cx.invalid::<F>();
            }
            F::inf(sign)
        }
        (_, _, Kind::Inf) => F::inf(z.sign),
        (Kind::Finite, Kind::Finite, _) => {
            let (exp, product) = product(x, y);
            round::<F, C>(sign, exp, (product >> 63) as u64, (product << 65 >> 64) as u64, cx)
        }
        // The product is zero.
        (_, _, Kind::Finite) => round::<F, C>(z.sign, z.exp, z.sig, 0, cx),
        _ => F::zero(if sign == z.sign { sign } else { sign_of_cancelled(cx.rounding()) }),
    }
}

/// The exponent and exact significand of a product, leading one in bit 126.
#[inline]
fn product(x: Unpacked, y: Unpacked) -> (i32, u128) {
    // At least 2 * (64 - 62) low bits are zero: nothing is lost.
    let product = u128::from(x.sig) * u128::from(y.sig);
    if product >> 127 != 0 { (x.exp + y.exp + 1, product >> 1) } else { (x.exp + y.exp, product) }
}

fn finite<F: Format, C: Context>(x: Unpacked, y: Unpacked, z: Unpacked, cx: &mut C) -> F::Bits {
    let mut sign = x.sign != y.sign;
    let (mut exp, mut large) = product(x, y);
    let mut small = u128::from(z.sig) << 63;
    let mut distance = exp - z.exp;
    let same_sign = sign == z.sign;
    if distance < 0 || (distance == 0 && large < small) {
        core::mem::swap(&mut large, &mut small);
        (exp, sign, distance) = (z.exp, z.sign, -distance);
    }
    // The product has 3 spare low bits, so a shift by one loses nothing; after a longer one a difference
    // cancels at most one bit, and the sticky bit stays below the rounding position.
    let small = shift_right_sticky(small, distance as u32);
    let total = if same_sign { large + small } else { large - small };
    if total == 0 {
        return F::zero(sign_of_cancelled(cx.rounding()));
    }
    let zeros = total.leading_zeros();
    let total = total << zeros;
    round::<F, C>(sign, exp + 1 - zeros as i32, (total >> 64) as u64, total as u64, cx)
}
