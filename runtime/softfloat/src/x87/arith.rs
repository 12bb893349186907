//! The arithmetic that rounds exactly.

use super::env::{Env, Extended};
use super::value::{F80, Operand};
use crate::DZ;
use crate::format::{Format, Kind, Unpacked};
use crate::soft::{Context, arith, convert, round::round};

/// `a + b`.
pub fn add(a: Operand, b: Operand, env: &mut Env) -> Option<F80> {
    env.call([a, b], env.precision(), |[x, y], cx| arith::add::<F80, _>(x, y, cx))
}

/// `a - b`.
pub fn sub(a: Operand, b: Operand, env: &mut Env) -> Option<F80> {
    env.call([a, b], env.precision(), |[x, y], cx| arith::sub::<F80, _>(x, y, cx))
}

/// `a * b`.
pub fn mul(a: Operand, b: Operand, env: &mut Env) -> Option<F80> {
    env.call([a, b], env.precision(), |[x, y], cx| arith::mul::<F80, _>(x, y, cx))
}

/// `a / b`.
pub fn div(a: Operand, b: Operand, env: &mut Env) -> Option<F80> {
    env.call([a, b], env.precision(), |[x, y], cx| arith::div::<F80, _>(x, y, cx))
}

/// The square root.
pub fn sqrt(a: F80, env: &mut Env) -> Option<F80> {
    env.call([a.into()], env.precision(), |[x], cx| arith::sqrt::<F80, _>(x, cx))
}

/// FRNDINT.
pub fn round_to_integral(a: F80, env: &mut Env) -> Option<F80> {
    env.call([a.into()], 64, |[x], cx| convert::to_integral::<F80, _>(x, cx))
}

/// FSCALE: `a * 2^trunc(b)`.
pub fn scale(a: F80, b: F80, env: &mut Env) -> Option<F80> {
    env.call([a.into(), b.into()], 64, |[x, y], cx| match (x.kind, y.kind) {
        _ if x.is_nan() || y.is_nan() => cx.nan::<F80>(&[x, y]),
        (Kind::Zero, Kind::Inf) if !y.sign => cx.invalid::<F80>(),
        (Kind::Inf, Kind::Inf) if y.sign => cx.invalid::<F80>(),
        (_, Kind::Inf) => {
            if y.sign {
                F80::zero(x.sign)
            } else {
                F80::inf(x.sign)
            }
        }
        (Kind::Finite, Kind::Finite) => {
            // Anything beyond 2^16 is out of range by far, whatever is scaled.
            let by = match y.exp {
                ..0 => 0,
                exp @ 0..=16 => (y.sig >> (63 - exp)) as i32,
                _ => 1 << 17,
            };
            round::<F80, _>(x.sign, x.exp + if y.sign { -by } else { by }, x.sig, 0, cx)
        }
        (Kind::Finite, _) => round::<F80, _>(x.sign, x.exp, x.sig, 0, cx),
        (Kind::Inf, _) => F80::inf(x.sign),
        _ => F80::zero(x.sign),
    })
}

/// FXTRACT: the exponent and the significand.
pub fn extract(a: F80, env: &mut Env) -> Option<(F80, F80)> {
    env.call([a.into()], 64, |[x], cx| match x.kind {
        Kind::Finite => (F80::from_int(i64::from(x.exp)), F80::pack(x.sign, F80::EMAX as u32, x.sig)),
        Kind::Zero => {
            cx.raise(DZ);
            (F80::inf(true), F80::zero(x.sign))
        }
        Kind::Inf => (F80::inf(false), F80::inf(x.sign)),
        _ => {
            let nan = cx.nan::<F80>(&[x]);
            (nan, nan)
        }
    })
}

/// The result of a step towards a remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The remainder, or what the next step goes on from.
    pub value: F80,
    /// The low bits of the quotient; `None` if the reduction is not complete (C2).
    pub quotient: Option<u8>,
}

/// FPREM, which truncates the quotient, and FPREM1, which rounds it to `nearest`: `a` by `b`.
pub fn remainder(a: F80, b: F80, nearest: bool, env: &mut Env) -> Option<Remainder> {
    env.call([a.into(), b.into()], 64, |[x, y], cx| {
        let complete = |value| Remainder { value, quotient: Some(0) };
        match (x.kind, y.kind) {
            _ if x.is_nan() || y.is_nan() => complete(cx.nan::<F80>(&[x, y])),
            (Kind::Inf, _) | (_, Kind::Zero) => complete(cx.invalid::<F80>()),
            (Kind::Zero, _) => complete(F80::zero(x.sign)),
            (_, Kind::Inf) => complete(round::<F80, _>(x.sign, x.exp, x.sig, 0, cx)),
            _ => reduce(x, y, nearest, cx),
        }
    })
}

/// A step of the reduction of finite numbers.
fn reduce(x: Unpacked, y: Unpacked, nearest: bool, cx: &mut Extended) -> Remainder {
    let distance = x.exp - y.exp;
    if distance < -1 || distance == -1 && !nearest {
        return Remainder { value: round::<F80, _>(x.sign, x.exp, x.sig, 0, cx), quotient: Some(0) };
    }
    // A step that is not the last leaves a difference of the exponents of 1 to 32 at least: 32 to 63 bits of
    // quotient.
    let (steps, complete) = if distance < 64 { (distance, true) } else { (32 + distance % 32, false) };
    let mut rest = u128::from(x.sig);
    let mut quotient = 0_u64;
    if steps < 0 {
        // Only the comparison with half of the divisor is left.
    } else {
        let divisor = u128::from(y.sig);
        // rest < 2 * divisor here and after every shift.
        for step in 0..=steps {
            if step > 0 {
                rest <<= 1;
                quotient <<= 1;
            }
            if rest >= divisor {
                rest -= divisor;
                quotient |= 1;
            }
        }
    }
    // What is left of x, in units of the divisor's last place, or of half of it if no step was made.
    let unit = x.exp - steps.max(0) - 63;
    let mut sign = x.sign;
    if complete && nearest {
        let divisor = if steps < 0 { u128::from(y.sig) << 1 } else { u128::from(y.sig) };
        let twice = rest << 1;
        if twice > divisor || twice == divisor && quotient & 1 != 0 {
            rest = divisor - rest;
            quotient += 1;
            sign = !sign;
        }
    }
    if rest == 0 {
        return Remainder { value: F80::zero(x.sign), quotient: complete.then_some(quotient as u8 & 7) };
    }
    let zeros = rest.leading_zeros();
    let rest = rest << zeros;
    let exp = unit + 127 - zeros as i32;
    let value = round::<F80, _>(sign, exp, (rest >> 64) as u64, rest as u64, cx);
    Remainder { value, quotient: complete.then_some(quotient as u8 & 7) }
}
