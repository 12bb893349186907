//! Floating-point arithmetic on elements, with MXCSR.

use super::{Lane, binary, check_sse, destination, map, neighbours, operand, run, set_destination, zip};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{Fault, Res, XM};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::state::CR4_OSXMMEXCPT;
use forelift_softfloat::x86::{self, Env};
use forelift_softfloat::{F32_NAN, Round};
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Addps => run!(|cx, i| packed(cx, i, x86::f32_add)),
        M::Addpd => run!(|cx, i| packed(cx, i, x86::f64_add)),
        M::Addss => run!(|cx, i| scalar(cx, i, x86::f32_add)),
        M::Addsd => run!(|cx, i| scalar(cx, i, x86::f64_add)),
        M::Subps => run!(|cx, i| packed(cx, i, x86::f32_sub)),
        M::Subpd => run!(|cx, i| packed(cx, i, x86::f64_sub)),
        M::Subss => run!(|cx, i| scalar(cx, i, x86::f32_sub)),
        M::Subsd => run!(|cx, i| scalar(cx, i, x86::f64_sub)),
        M::Mulps => run!(|cx, i| packed(cx, i, x86::f32_mul)),
        M::Mulpd => run!(|cx, i| packed(cx, i, x86::f64_mul)),
        M::Mulss => run!(|cx, i| scalar(cx, i, x86::f32_mul)),
        M::Mulsd => run!(|cx, i| scalar(cx, i, x86::f64_mul)),
        M::Divps => run!(|cx, i| packed(cx, i, x86::f32_div)),
        M::Divpd => run!(|cx, i| packed(cx, i, x86::f64_div)),
        M::Divss => run!(|cx, i| scalar(cx, i, x86::f32_div)),
        M::Divsd => run!(|cx, i| scalar(cx, i, x86::f64_div)),
        M::Minps => run!(|cx, i| packed(cx, i, x86::f32_min)),
        M::Minpd => run!(|cx, i| packed(cx, i, x86::f64_min)),
        M::Minss => run!(|cx, i| scalar(cx, i, x86::f32_min)),
        M::Minsd => run!(|cx, i| scalar(cx, i, x86::f64_min)),
        M::Maxps => run!(|cx, i| packed(cx, i, x86::f32_max)),
        M::Maxpd => run!(|cx, i| packed(cx, i, x86::f64_max)),
        M::Maxss => run!(|cx, i| scalar(cx, i, x86::f32_max)),
        M::Maxsd => run!(|cx, i| scalar(cx, i, x86::f64_max)),
        M::Sqrtps => run!(|cx, i| packed(cx, i, |_, b, env| x86::f32_sqrt(b, env))),
        M::Sqrtpd => run!(|cx, i| packed(cx, i, |_, b, env| x86::f64_sqrt(b, env))),
        M::Sqrtss => run!(|cx, i| scalar(cx, i, |_, b, env| x86::f32_sqrt(b, env))),
        M::Sqrtsd => run!(|cx, i| scalar(cx, i, |_, b, env| x86::f64_sqrt(b, env))),
        M::Rcpps => run!(|cx, i| binary::<16>(cx, i, |_, b| map(b, rcp))),
        M::Rcpss => run!(|cx, i| binary::<16>(cx, i, |a, b| with_lowest(a, rcp(u32::get(&b, 0))))),
        M::Rsqrtps => run!(|cx, i| binary::<16>(cx, i, |_, b| map(b, rsqrt))),
        M::Rsqrtss => run!(|cx, i| binary::<16>(cx, i, |a, b| with_lowest(a, rsqrt(u32::get(&b, 0))))),
        M::Roundps => run!(|cx, i| packed(cx, i, |_, b, env| {
            x86::f32_round(b, rounding(i, env), is_precise(i), env)
        })),
        M::Roundpd => run!(|cx, i| packed(cx, i, |_, b, env| {
            x86::f64_round(b, rounding(i, env), is_precise(i), env)
        })),
        M::Roundss => run!(|cx, i| scalar(cx, i, |_, b, env| {
            x86::f32_round(b, rounding(i, env), is_precise(i), env)
        })),
        M::Roundsd => run!(|cx, i| scalar(cx, i, |_, b, env| {
            x86::f64_round(b, rounding(i, env), is_precise(i), env)
        })),
        M::Addsubps => {
            run!(|cx, i| execute(cx, i, |a, b, env| alternating(a, b, x86::f32_sub, x86::f32_add, env)))
        }
        M::Addsubpd => {
            run!(|cx, i| execute(cx, i, |a, b, env| alternating(a, b, x86::f64_sub, x86::f64_add, env)))
        }
        M::Haddps => {
            run!(|cx, i| execute(cx, i, |a, b, env| neighbours(a, b, |x, y| x86::f32_add(x, y, env))))
        }
        M::Haddpd => {
            run!(|cx, i| execute(cx, i, |a, b, env| neighbours(a, b, |x, y| x86::f64_add(x, y, env))))
        }
        M::Hsubps => {
            run!(|cx, i| execute(cx, i, |a, b, env| neighbours(a, b, |x, y| x86::f32_sub(x, y, env))))
        }
        M::Hsubpd => {
            run!(|cx, i| execute(cx, i, |a, b, env| neighbours(a, b, |x, y| x86::f64_sub(x, y, env))))
        }
        M::Dpps => dpps,
        M::Dppd => dppd,
        _ => return None,
    })
}

/// Sets MXCSR's flags; #XM, or #UD if the system does not know that, for an unmasked one (SDM vol. 1 11.5.1).
#[inline]
pub(crate) fn settle(cx: &mut Context<'_>, env: Env) -> Res<()> {
    let (mxcsr, unmasked) = env.finish();
    cx.vcpu.mxcsr = mxcsr;
    if !unmasked {
        return Ok(());
    }
    Err(if cx.vcpu.cr4 & CR4_OSXMMEXCPT != 0 { Fault::plain(XM) } else { Fault::ud() })
}

/// Replaces the first operand by `f` of both.
#[inline(always)]
fn execute(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: impl FnOnce([u8; 16], [u8; 16], &mut Env) -> [u8; 16],
) -> Res<Flow> {
    check_sse(cx)?;
    let b = operand(cx, i, 1)?;
    let a = destination(cx, i);
    let mut env = Env::new(cx.vcpu.mxcsr);
    let result = f(a, b, &mut env);
    settle(cx, env)?;
    set_destination(cx, i, result);
    Ok(Flow::Next)
}

/// `f` of each pair of elements.
#[inline(always)]
pub(super) fn packed<T: Lane>(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: impl Fn(T, T, &mut Env) -> T,
) -> Res<Flow> {
    execute(cx, i, |a, b, env| zip(a, b, |x, y| f(x, y, env)))
}

/// `f` of the lowest elements; the first operand's rest stays.
#[inline(always)]
pub(super) fn scalar<T: Lane>(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: impl Fn(T, T, &mut Env) -> T,
) -> Res<Flow> {
    execute(cx, i, |a, b, env| with_lowest(a, f(T::get(&a, 0), T::get(&b, 0), env)))
}

/// Replaces the lowest element.
#[inline(always)]
pub(super) fn with_lowest<T: Lane>(mut a: [u8; 16], element: T) -> [u8; 16] {
    element.put(&mut a, 0);
    a
}

/// `even` and `odd` in turn.
#[inline(always)]
fn alternating<T: Lane>(
    a: [u8; 16],
    b: [u8; 16],
    even: impl Fn(T, T, &mut Env) -> T,
    odd: impl Fn(T, T, &mut Env) -> T,
    env: &mut Env,
) -> [u8; 16] {
    let mut n = 0;
    zip(a, b, |x, y| {
        n += 1;
        if n % 2 == 1 { even(x, y, env) } else { odd(x, y, env) }
    })
}

/// The immediate's rounding mode, or MXCSR's (SDM vol. 2, ROUNDPD, figure 4-24).
#[inline]
fn rounding(i: &Instruction, env: &Env) -> Round {
    match i.immediate8() {
        imm if imm & 4 != 0 => env.rounding(),
        imm => x86::rounding(imm.into()),
    }
}

#[inline]
fn is_precise(i: &Instruction) -> bool {
    i.immediate8() & 8 == 0
}

/// Zeros for denormals and for tiny results, quiet NaNs: what the approximations do without any flag.
#[inline]
fn approximate(a: u32, f: impl Fn(f32) -> f32) -> u32 {
    const SIGN: u32 = 1 << 31;
    let x = f32::from_bits(a);
    if x.is_nan() {
        return a | F32_NAN;
    }
    let r = f(if x.is_subnormal() { f32::from_bits(a & SIGN) } else { x });
    match r.is_subnormal() {
        _ if r.is_nan() => F32_NAN | SIGN,
        true => r.to_bits() & SIGN,
        false => r.to_bits(),
    }
}

/// An approximation of `1 / a`: the nearest number, where 12 bits are asked for.
#[inline]
pub(crate) fn rcp(a: u32) -> u32 {
    approximate(a, |x| 1.0 / x)
}

/// An approximation of `1 / sqrt(a)`.
#[inline]
pub(crate) fn rsqrt(a: u32) -> u32 {
    approximate(a, |x| 1.0 / x.sqrt())
}

/// Products of the elements that the immediate's high bits name, 0 for the others.
#[inline(always)]
fn products<T: Lane + Default, const N: usize>(
    a: [u8; 16],
    b: [u8; 16],
    imm: u8,
    mut mul: impl FnMut(T, T) -> T,
) -> [T; N] {
    core::array::from_fn(|n| {
        if imm >> (4 + n) & 1 != 0 { mul(T::get(&a, n), T::get(&b, n)) } else { T::default() }
    })
}

/// `sum` where the immediate's low bits are ones.
fn spread<T: Lane>(sum: T, imm: u8) -> [u8; 16] {
    let mut result = [0; 16];
    for n in 0..16 / T::SIZE {
        if imm >> n & 1 != 0 {
            sum.put(&mut result, n);
        }
    }
    result
}

/// Each step, the products and two levels of sums, has its exceptions before the next one begins (SDM vol. 2,
/// DPPS).
fn dpps(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    let b = operand(cx, i, 1)?;
    let (a, imm) = (destination(cx, i), i.immediate8());
    let mut env = Env::new(cx.vcpu.mxcsr);
    let [p, q, r, s] = products(a, b, imm, |x, y| x86::f32_mul(x, y, &mut env));
    settle(cx, env)?;
    let mut env = Env::new(cx.vcpu.mxcsr);
    let (low, high) = (x86::f32_add(p, q, &mut env), x86::f32_add(r, s, &mut env));
    settle(cx, env)?;
    let mut env = Env::new(cx.vcpu.mxcsr);
    let sum = x86::f32_add(low, high, &mut env);
    settle(cx, env)?;
    set_destination(cx, i, spread(sum, imm));
    Ok(Flow::Next)
}

/// As [`dpps`], with one sum.
fn dppd(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    let b = operand(cx, i, 1)?;
    let (a, imm) = (destination(cx, i), i.immediate8());
    let mut env = Env::new(cx.vcpu.mxcsr);
    let [p, q] = products(a, b, imm, |x, y| x86::f64_mul(x, y, &mut env));
    settle(cx, env)?;
    let mut env = Env::new(cx.vcpu.mxcsr);
    let sum = x86::f64_add(p, q, &mut env);
    settle(cx, env)?;
    set_destination(cx, i, spread(sum, imm));
    Ok(Flow::Next)
}
