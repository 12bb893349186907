//! Conversions between floating-point formats and integers.

use super::float::{scalar, settle, with_lowest};
use super::{Lane, check_mmx, check_sse, cut, destination, operand, run, set_destination, source_mmx};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::handler::{Flow, Handler};
use forelift_softfloat::Round;
use forelift_softfloat::x86::{self, Env};
use iced_x86::{Instruction, Mnemonic, OpKind};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Cvtdq2ps => run!(|cx, i| vector::<i32, u32>(cx, i, x86::f32_from_i32)),
        M::Cvtdq2pd => run!(|cx, i| vector::<i32, u64>(cx, i, |a, _| x86::f64_from_i32(a))),
        M::Cvtps2dq => run!(|cx, i| vector(cx, i, to_nearest::<u32, i32>)),
        M::Cvttps2dq => run!(|cx, i| vector(cx, i, truncated::<u32, i32>)),
        M::Cvtpd2dq => run!(|cx, i| vector(cx, i, to_nearest::<u64, i32>)),
        M::Cvttpd2dq => run!(|cx, i| vector(cx, i, truncated::<u64, i32>)),
        M::Cvtps2pd => run!(|cx, i| vector(cx, i, x86::f32_to_f64)),
        M::Cvtpd2ps => run!(|cx, i| vector(cx, i, x86::f64_to_f32)),
        M::Cvtss2sd => run!(|cx, i| scalar(cx, i, |_, b: u64, env| x86::f32_to_f64(b as u32, env))),
        M::Cvtsd2ss => cvtsd2ss,
        M::Cvtsi2ss => run!(|cx, i| from_general(cx, i, x86::f32_from_i32, x86::f32_from_i64)),
        M::Cvtsi2sd => {
            run!(|cx, i| from_general(cx, i, |a, _| x86::f64_from_i32(a), x86::f64_from_i64))
        }
        M::Cvtss2si => run!(|cx, i| to_general::<u32>(cx, i, to_nearest, to_nearest)),
        M::Cvttss2si => run!(|cx, i| to_general::<u32>(cx, i, truncated, truncated)),
        M::Cvtsd2si => run!(|cx, i| to_general::<u64>(cx, i, to_nearest, to_nearest)),
        M::Cvttsd2si => run!(|cx, i| to_general::<u64>(cx, i, truncated, truncated)),
        M::Cvtpi2ps => cvtpi2ps,
        M::Cvtpi2pd => cvtpi2pd,
        M::Cvtps2pi => run!(|cx, i| to_mmx(cx, i, to_nearest::<u32, i32>)),
        M::Cvttps2pi => run!(|cx, i| to_mmx(cx, i, truncated::<u32, i32>)),
        M::Cvtpd2pi => run!(|cx, i| to_mmx(cx, i, to_nearest::<u64, i32>)),
        M::Cvttpd2pi => run!(|cx, i| to_mmx(cx, i, truncated::<u64, i32>)),
        _ => return None,
    })
}

/// A floating-point format that converts to integers of type `I`.
trait ToInteger<I>: Lane {
    fn to_integer(self, rm: Round, env: &mut Env) -> I;
}

macro_rules! to_integer {
    ($($bits:ident $int:ident $f:ident;)+) => {
        $(impl ToInteger<$int> for $bits {
            #[inline(always)]
            fn to_integer(self, rm: Round, env: &mut Env) -> $int {
                x86::$f(self, rm, env)
            }
        })+
    };
}

to_integer! {
    u32 i32 f32_to_i32;
    u32 i64 f32_to_i64;
    u64 i32 f64_to_i32;
    u64 i64 f64_to_i64;
}

/// As MXCSR rounds.
#[inline(always)]
fn to_nearest<T: ToInteger<I>, I>(a: T, env: &mut Env) -> I {
    a.to_integer(env.rounding(), env)
}

#[inline(always)]
fn truncated<T: ToInteger<I>, I>(a: T, env: &mut Env) -> I {
    a.to_integer(Round::Rtz, env)
}

/// As many elements as both types have room for; zeros after them.
#[inline(always)]
fn converted<S: Lane, D: Lane>(b: [u8; 16], env: &mut Env, f: impl Fn(S, &mut Env) -> D) -> [u8; 16] {
    let mut result = [0; 16];
    for n in 0..16 / S::SIZE.max(D::SIZE) {
        f(S::get(&b, n), env).put(&mut result, n);
    }
    result
}

#[inline(always)]
fn vector<S: Lane, D: Lane>(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: impl Fn(S, &mut Env) -> D,
) -> Res<Flow> {
    check_sse(cx)?;
    let b = operand::<16>(cx, i, 1)?;
    let mut env = Env::new(cx.vcpu.mxcsr);
    let result = converted(b, &mut env, f);
    settle(cx, env)?;
    set_destination(cx, i, result);
    Ok(Flow::Next)
}

fn cvtsd2ss(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    let b = operand::<16>(cx, i, 1)?;
    let mut env = Env::new(cx.vcpu.mxcsr);
    let result = x86::f64_to_f32(u64::get(&b, 0), &mut env);
    settle(cx, env)?;
    let a = destination(cx, i);
    set_destination(cx, i, with_lowest(a, result));
    Ok(Flow::Next)
}

/// From a general-purpose register or memory, of 4 or 8 bytes.
#[inline(always)]
fn from_general<T: Lane>(
    cx: &mut Context<'_>,
    i: &Instruction,
    narrow: impl Fn(i32, &mut Env) -> T,
    wide: impl Fn(i64, &mut Env) -> T,
) -> Res<Flow> {
    check_sse(cx)?;
    let value = cx.read(i, 1)?;
    let mut env = Env::new(cx.vcpu.mxcsr);
    let result = match Context::operand_size(i, 1) {
        8 => wide(value as i64, &mut env),
        _ => narrow(value as i32, &mut env),
    };
    settle(cx, env)?;
    let a = destination(cx, i);
    set_destination(cx, i, with_lowest(a, result));
    Ok(Flow::Next)
}

/// To a general-purpose register of 4 or 8 bytes.
#[inline(always)]
fn to_general<T: Lane>(
    cx: &mut Context<'_>,
    i: &Instruction,
    narrow: impl Fn(T, &mut Env) -> i32,
    wide: impl Fn(T, &mut Env) -> i64,
) -> Res<Flow> {
    check_sse(cx)?;
    let b = T::get(&operand::<16>(cx, i, 1)?, 0);
    let mut env = Env::new(cx.vcpu.mxcsr);
    let result = match i.op0_register().size() {
        8 => wide(b, &mut env) as u64,
        _ => narrow(b, &mut env) as u64,
    };
    settle(cx, env)?;
    cx.vcpu.set_gpr(i.op0_register(), result);
    Ok(Flow::Next)
}

fn cvtpi2ps(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    check_mmx(cx)?;
    let b = cut(source_mmx(cx, i, 1)?.into());
    let mut env = Env::new(cx.vcpu.mxcsr);
    let low = converted(b, &mut env, x86::f32_from_i32);
    settle(cx, env)?;
    cx.vcpu.enter_mmx();
    let a = destination(cx, i);
    set_destination(cx, i, with_lowest(a, u64::get(&low, 0)));
    Ok(Flow::Next)
}

/// With a memory operand it has nothing to do with MMX (SDM vol. 2, CVTPI2PD).
fn cvtpi2pd(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    let mmx = i.op1_kind() == OpKind::Register;
    if mmx {
        check_mmx(cx)?;
    }
    let b = cut(source_mmx(cx, i, 1)?.into());
    if mmx {
        cx.vcpu.enter_mmx();
    }
    let mut env = Env::new(cx.vcpu.mxcsr);
    let result = converted(b, &mut env, |a: i32, _| x86::f64_from_i32(a));
    set_destination(cx, i, result);
    Ok(Flow::Next)
}

/// Two elements to an MMX register.
#[inline(always)]
fn to_mmx<T: Lane>(cx: &mut Context<'_>, i: &Instruction, f: impl Fn(T, &mut Env) -> i32) -> Res<Flow> {
    check_sse(cx)?;
    check_mmx(cx)?;
    let b = operand::<16>(cx, i, 1)?;
    let mut env = Env::new(cx.vcpu.mxcsr);
    let mut result = [0; 8];
    for n in 0..2 {
        f(T::get(&b, n), &mut env).put(&mut result, n);
    }
    settle(cx, env)?;
    set_destination::<8>(cx, i, result);
    Ok(Flow::Next)
}
