//! FSIN, FCOS, FSINCOS, FPTAN and FPATAN.
//!
//! Arguments are reduced by a value of pi that has 66 bits, exactly (SDM vol. 1, 8.3.8).

use super::env::{Env, Extended};
use super::value::F80;
use super::wide::{ODD_RECIPROCALS, Wide, inverse_factorials, polynomial};
use crate::format::{Format, Kind, Unpacked};
use crate::soft::Context;

const PI: Wide = Wide::positive(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);

/// The atan of `(k + 1) / 16`.
const ATAN: [Wide; 16] = [
    Wide::positive(-5, 0xffaa_ddb9_67ef_4e36_cb27_92dc_0e2e_0d51),
    Wide::positive(-4, 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8),
    Wide::positive(-3, 0xbdcb_da5e_72d8_1134_7b0b_4f88_1c9c_7488),
    Wide::positive(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6),
    Wide::positive(-2, 0x9b13_b9b8_3f5e_5e69_c5ab_b498_d27a_f328),
    Wide::positive(-2, 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483),
    Wide::positive(-2, 0xd327_761e_611f_e5b6_427c_95e9_001e_7136),
    Wide::positive(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    Wide::positive(-1, 0x832b_f4a6_d986_7e2a_4b6a_09cb_61a5_15c1),
    Wide::positive(-1, 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748),
    Wide::positive(-1, 0x9a2f_80e6_71bd_da20_4226_f8e2_204f_f3bd),
    Wide::positive(-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f),
    Wide::positive(-1, 0xaeac_4c38_b4d8_c080_1472_5e2f_3e52_070a),
    Wide::positive(-1, 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d),
    Wide::positive(-1, 0xc0ce_85b8_ac52_6640_89dd_62c4_6e92_fa25),
    Wide::positive(-1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1),
];

// The last terms are below 2^-127 for arguments up to pi/4.
const SINE: [Wide; 17] = inverse_factorials::<1, 2, 17>();
const COSINE: [Wide; 17] = inverse_factorials::<0, 2, 17>();

/// The result of an instruction that reduces its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trig<T> {
    /// The function's value.
    Value(T),
    /// The argument is 2^63 or more in magnitude (C2); nothing changes.
    OutOfRange,
}

/// An argument between -pi/4 and pi/4, and the number of quarter turns that were taken away.
fn reduce(x: Unpacked) -> (Wide, u32) {
    /// Half of pi in units of 2^-65.
    const HALF_PI: u128 = 0xc_90fd_aa22_168c_234c >> 2;
    if x.exp < -1 {
        return (Wide::new(x), 0);
    }
    let units = u128::from(x.sig) << (x.exp + 2);
    let (quarters, rest) = ((units / HALF_PI) as u32, units % HALF_PI);
    let (quarters, reduced) = if rest > HALF_PI / 2 {
        (quarters.wrapping_add(1), Wide::scaled(HALF_PI - rest, -65).neg())
    } else {
        (quarters, Wide::scaled(rest, -65))
    };
    (reduced.neg_if(x.sign), if x.sign { quarters.wrapping_neg() } else { quarters })
}

fn sine(x: Wide) -> Wide {
    x.mul(polynomial(x.mul(x).neg(), &SINE))
}

fn cosine(x: Wide) -> Wide {
    polynomial(x.mul(x).neg(), &COSINE)
}

/// The sine of a reduced argument, `quarters` quarter turns on.
fn sine_of((x, quarters): (Wide, u32)) -> Wide {
    let value = if quarters & 1 == 0 { sine(x) } else { cosine(x) };
    value.neg_if(quarters & 2 != 0)
}

/// Calls `finite` for arguments that need computing, `zero` for zeros.
fn function<T>(
    a: F80,
    env: &mut Env,
    zero: impl FnOnce(bool) -> T,
    finite: impl FnOnce((Wide, u32), &mut Extended) -> T,
    special: impl FnOnce(F80) -> T,
) -> Option<Trig<T>> {
    env.call([a.into()], 64, |[x], cx| match x.kind {
        Kind::Finite if x.exp >= 63 => Trig::OutOfRange,
        Kind::Finite => Trig::Value(finite(reduce(x), cx)),
        Kind::Zero => Trig::Value(zero(x.sign)),
        Kind::Inf => Trig::Value(special(cx.invalid::<F80>())),
        _ => Trig::Value(special(cx.nan::<F80>(&[x]))),
    })
}

/// `1.0`
const ONE: F80 = F80 { sign_exp: 0x3fff, mantissa: 1 << 63 };

/// FSIN.
pub fn sin(a: F80, env: &mut Env) -> Option<Trig<F80>> {
    function(a, env, F80::zero, |r, cx| sine_of(r).round(cx), |x| x)
}

/// FCOS.
pub fn cos(a: F80, env: &mut Env) -> Option<Trig<F80>> {
    function(a, env, |_| ONE, |(x, quarters), cx| sine_of((x, quarters.wrapping_add(1))).round(cx), |x| x)
}

/// FSINCOS: the sine and the cosine.
pub fn sin_cos(a: F80, env: &mut Env) -> Option<Trig<(F80, F80)>> {
    function(
        a,
        env,
        |sign| (F80::zero(sign), ONE),
        |(x, quarters), cx| {
            let cosine = sine_of((x, quarters.wrapping_add(1))).round(cx);
            (sine_of((x, quarters)).round(cx), cosine)
        },
        |x| (x, x),
    )
}

/// FPTAN: the tangent, and what is pushed on top of it.
pub fn tan(a: F80, env: &mut Env) -> Option<Trig<(F80, F80)>> {
    function(
        a,
        env,
        |sign| (F80::zero(sign), ONE),
        |(x, quarters), cx| {
            let (sine, cosine) = (sine(x), cosine(x));
            let tangent = if quarters & 1 == 0 { sine.div(cosine) } else { cosine.div(sine).neg() };
            (tangent.round(cx), ONE)
        },
        |x| (x, x),
    )
}

/// The angle of a vector in the first quadrant whose `y` is not above `x`.
fn atan_of_ratio(y: Wide, x: Wide) -> Wide {
    // The nearest sixteenth, to about ten bits.
    let leading = |v: Wide| (v.sig >> 113) as u32;
    let distance = x.exp - y.exp;
    let sixteenths = if distance > 5 {
        0
    } else {
        let scaled = leading(x) << distance;
        (16 * leading(y) + scaled / 2) / scaled
    };
    let (turned, known) = match sixteenths {
        0 => (y.div(x), Wide::ZERO),
        n => {
            let c = Wide::scaled(n.into(), -4);
            (y.sub(c.mul(x)).div(x.add(c.mul(y))), ATAN[n.min(16) as usize - 1])
        }
    };
    // At most 1/31: 13 terms.
    let series = polynomial(turned.mul(turned).neg(), &ODD_RECIPROCALS[..14]);
    known.add(turned.mul(series))
}

/// FPATAN: the angle of the vector `(x, y)`.
pub fn atan2(y: F80, x: F80, env: &mut Env) -> Option<F80> {
    env.call([y.into(), x.into()], 64, |[y, x], cx| {
        let angle = match (y.kind, x.kind) {
            _ if y.is_nan() || x.is_nan() => return cx.nan::<F80>(&[y, x]),
            (Kind::Zero, _) | (Kind::Finite, Kind::Inf) if !x.sign => return F80::zero(y.sign),
            (Kind::Zero, _) | (Kind::Finite, Kind::Inf) => PI,
            (Kind::Inf, Kind::Inf) if x.sign => PI.shifted(-1).add(PI.shifted(-2)),
            (Kind::Inf, Kind::Inf) => PI.shifted(-2),
            (Kind::Inf, _) | (_, Kind::Zero) => PI.shifted(-1),
            _ => {
                let (height, width) = (Wide::new(y).abs(), Wide::new(x).abs());
                if (y.exp, y.sig) <= (x.exp, x.sig) {
                    let angle = atan_of_ratio(height, width);
                    if x.sign { PI.sub(angle) } else { angle }
                } else {
                    let angle = atan_of_ratio(width, height);
                    PI.shifted(-1).add(angle.neg_if(!x.sign))
                }
            }
        };
        angle.neg_if(y.sign).round(cx)
    })
}
