//! F2XM1, FYL2X and FYL2XP1.

use super::env::{Env, Extended};
use super::value::F80;
use super::wide::{ODD_RECIPROCALS, Wide, inverse_factorials, polynomial};
use crate::DZ;
use crate::format::{Format, Kind, Unpacked};
use crate::soft::{Context, arith};

const LN_2: Wide = Wide::positive(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
/// `2 / ln 2`
const TWICE_LOG2_E: Wide = Wide::positive(1, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89);
/// The last term is below 2^-127 for arguments up to ln 2.
const EXPONENTIAL: [Wide; 32] = inverse_factorials::<1, 1, 32>();

/// `2^a - 1`, for `a` from -1 to 1; other arguments, for which the result is undefined, are returned.
pub fn exp2m1(a: F80, env: &mut Env) -> Option<F80> {
    env.call([a.into()], 64, |[x], cx| match x.kind {
        Kind::Zero => a,
        Kind::Inf => {
            if x.sign {
                F80::pack(true, F80::EMAX as u32, 1 << 63)
            } else {
                a
            }
        }
        Kind::Finite if x.exp > 0 || x.exp == 0 && x.sig << 1 != 0 => a,
        Kind::Finite if x.exp == 0 => {
            // 1 and -1/2
            F80::pack(x.sign, (F80::EMAX - i32::from(x.sign)) as u32, 1 << 63)
        }
        Kind::Finite => {
            let y = Wide::new(x).mul(LN_2);
            y.mul(polynomial(y, &EXPONENTIAL)).round(cx)
        }
        _ => cx.nan::<F80>(&[x]),
    })
}

/// `log2((1 + s) / (1 - s))` for `s` up to 0.172 in magnitude: `2 / ln 2` times the area tangent.
fn log2_of_ratio(s: Wide) -> Wide {
    s.mul(polynomial(s.mul(s), &ODD_RECIPROCALS)).mul(TWICE_LOG2_E)
}

/// `log2 m` for `m` between the root of 1/2 and that of 2.
fn log2_near_one(m: Wide) -> Wide {
    log2_of_ratio(m.sub(Wide::ONE).div(m.add(Wide::ONE)))
}

/// `log2 x` of a positive number.
fn log2(x: Wide) -> Wide {
    /// The root of 2, to 16 bits.
    const ROOT: u128 = 0xb505 << 112;
    let exp = x.exp + i32::from(x.sig >= ROOT);
    Wide::from_int(exp).add(log2_near_one(x.shifted(-exp)))
}

/// FYL2X: `y * log2 x`.
pub fn y_log2_x(x: F80, y: F80, env: &mut Env) -> Option<F80> {
    env.call([x.into(), y.into()], 64, |[x, y], cx| {
        if x.is_nan() || y.is_nan() {
            return cx.nan::<F80>(&[x, y]);
        }
        match x.kind {
            Kind::Zero => log_of_zero(y, cx),
            _ if x.sign => cx.invalid::<F80>(),
            Kind::Inf => match y.kind {
                Kind::Zero => cx.invalid::<F80>(),
                _ => F80::inf(y.sign),
            },
            // An integer: the product is rounded exactly.
            _ if x.sig << 1 == 0 => {
                let log = F80::unpack(F80::from_int(x.exp.into()));
                arith::mul::<F80, _>(y, log, cx)
            }
            _ => times(y, log2(Wide::new(x)), cx),
        }
    })
}

/// `y * log2 0`
fn log_of_zero(y: Unpacked, cx: &mut Extended) -> F80 {
    match y.kind {
        Kind::Zero => cx.invalid::<F80>(),
        Kind::Inf => F80::inf(!y.sign),
        _ => {
            cx.raise(DZ);
            F80::inf(!y.sign)
        }
    }
}

/// The product with a logarithm that is not zero.
fn times(y: Unpacked, log: Wide, cx: &mut Extended) -> F80 {
    let sign = y.sign != log.sign;
    match y.kind {
        Kind::Zero => F80::zero(sign),
        Kind::Inf => F80::inf(sign),
        _ => Wide::new(y).mul(log).round(cx),
    }
}

/// FYL2XP1: `y * log2(x + 1)`. The result is undefined for `x` beyond `sqrt(2) - 1` or below `sqrt(1/2) - 1`;
/// here it is the logarithm nevertheless, and invalid if that does not exist.
pub fn y_log2_x_plus_1(x: F80, y: F80, env: &mut Env) -> Option<F80> {
    env.call([x.into(), y.into()], 64, |[x, y], cx| {
        if x.is_nan() || y.is_nan() {
            return cx.nan::<F80>(&[x, y]);
        }
        match x.kind {
            Kind::Zero if y.kind == Kind::Inf => cx.invalid::<F80>(),
            Kind::Zero => F80::zero(x.sign != y.sign),
            Kind::Inf if x.sign || y.kind == Kind::Zero => cx.invalid::<F80>(),
            Kind::Inf => F80::inf(y.sign),
            _ if x.exp < -2 => {
                let x = Wide::new(x);
                times(y, log2_of_ratio(x.div(x.add(Wide::from_int(2)))), cx)
            }
            _ => {
                let sum = Wide::new(x).add(Wide::ONE);
                if sum.sig == 0 {
                    log_of_zero(y, cx)
                } else if sum.sign {
                    cx.invalid::<F80>()
                } else if sum.sig << 1 == 0 {
                    let log = F80::unpack(F80::from_int(sum.exp.into()));
                    arith::mul::<F80, _>(y, log, cx)
                } else {
                    times(y, log2(sum), cx)
                }
            }
        }
    })
}
