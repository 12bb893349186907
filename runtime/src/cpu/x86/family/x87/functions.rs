//! Functions of the top of the stack, and of the two registers there.

use super::stack::{C0, C1, C2, C3};
use super::{INDEFINITE, run};
use crate::cpu::x86::Context;
use crate::cpu::x86::handler::Handler;
use forelift_softfloat::x87::{self, Class, Env, F80, Trig};
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    /// A handler that has no operands and does not fault.
    macro_rules! on_stack {
        ($execute:expr) => {
            run!(|cx, _| {
                let execute: fn(&mut Context<'_>) = $execute;
                execute(cx);
                Ok(())
            })
        };
    }
    Some(match i.mnemonic() {
        Mnemonic::Fabs => on_stack!(|cx| unary(cx, |x, _| Some(F80 { sign_exp: x.sign_exp & 0x7fff, ..x }))),
        Mnemonic::Fchs => on_stack!(|cx| unary(cx, |x, _| Some(F80 { sign_exp: x.sign_exp ^ 0x8000, ..x }))),
        Mnemonic::Fsqrt => on_stack!(|cx| unary(cx, x87::sqrt)),
        Mnemonic::Frndint => on_stack!(|cx| unary(cx, x87::round_to_integral)),
        Mnemonic::F2xm1 => on_stack!(|cx| unary(cx, x87::exp2m1)),
        Mnemonic::Fscale => on_stack!(|cx| binary(cx, x87::scale, false)),
        Mnemonic::Fyl2x => on_stack!(|cx| binary(cx, x87::y_log2_x, true)),
        Mnemonic::Fyl2xp1 => on_stack!(|cx| binary(cx, x87::y_log2_x_plus_1, true)),
        Mnemonic::Fpatan => on_stack!(|cx| binary(cx, |x, y, env| x87::atan2(y, x, env), true)),
        Mnemonic::Fprem => on_stack!(|cx| remainder(cx, false)),
        Mnemonic::Fprem1 => on_stack!(|cx| remainder(cx, true)),
        Mnemonic::Fxtract => on_stack!(|cx| pair(cx, x87::extract)),
        Mnemonic::Fsin => on_stack!(|cx| reducing(cx, x87::sin)),
        Mnemonic::Fcos => on_stack!(|cx| reducing(cx, x87::cos)),
        Mnemonic::Fptan => on_stack!(|cx| reducing_pair(cx, x87::tan)),
        Mnemonic::Fsincos => on_stack!(|cx| reducing_pair(cx, x87::sin_cos)),
        _ => return None,
    })
}

/// Replaces ST(0).
fn unary(cx: &mut Context<'_>, f: fn(F80, &mut Env) -> Option<F80>) {
    let fpu = &mut cx.vcpu.fpu;
    let result = match fpu.get(0) {
        Some(x) => {
            let mut env = fpu.env();
            let result = f(x, &mut env);
            fpu.finish(&env);
            result
        }
        None => fpu.underflow().then_some(INDEFINITE),
    };
    if let Some(result) = result {
        fpu.set(0, result);
    }
}

/// A function of ST(0) and ST(1): replaces ST(0), or both by one.
fn binary(cx: &mut Context<'_>, f: fn(F80, F80, &mut Env) -> Option<F80>, pop: bool) {
    let fpu = &mut cx.vcpu.fpu;
    let result = match (fpu.get(0), fpu.get(1)) {
        (Some(a), Some(b)) => {
            let mut env = fpu.env();
            let result = f(a, b, &mut env);
            fpu.finish(&env);
            result
        }
        _ => fpu.underflow().then_some(INDEFINITE),
    };
    if let Some(result) = result {
        if pop {
            fpu.pop();
        }
        fpu.set(0, result);
    }
}

fn remainder(cx: &mut Context<'_>, nearest: bool) {
    let fpu = &mut cx.vcpu.fpu;
    let (Some(a), Some(b)) = (fpu.get(0), fpu.get(1)) else {
        fpu.set_conditions(C2, 0);
        if fpu.underflow() {
            fpu.set(0, INDEFINITE);
        }
        return;
    };
    let mut env = fpu.env();
    let result = x87::remainder(a, b, nearest, &mut env);
    fpu.finish(&env);
    fpu.set_conditions(C2, 0);
    let Some(result) = result else { return };
    fpu.set(0, result.value);
    // Without quotient C0 and C3 stay.
    if matches!(Class::of(result.value), Class::Nan) {
        return;
    }
    let bits = match result.quotient {
        None => C2,
        Some(quotient) => {
            let bit = |n: u8, condition| if quotient >> n & 1 != 0 { condition } else { 0 };
            bit(2, C0) | bit(1, C3) | bit(0, C1)
        }
    };
    fpu.set_conditions(C0 | C1 | C2 | C3, bits);
}

/// A function that reduces its argument, or says that it has not (C2).
fn reducing(cx: &mut Context<'_>, f: fn(F80, &mut Env) -> Option<Trig<F80>>) {
    let fpu = &mut cx.vcpu.fpu;
    fpu.set_conditions(C2, 0);
    let Some(x) = fpu.get(0) else {
        if fpu.underflow() {
            fpu.set(0, INDEFINITE);
        }
        return;
    };
    let mut env = fpu.env();
    let result = f(x, &mut env);
    fpu.finish(&env);
    match result {
        Some(Trig::Value(value)) => fpu.set(0, value),
        Some(Trig::OutOfRange) => fpu.set_conditions(C2, C2),
        None => {}
    }
}

/// The same with two results: the first replaces ST(0), the second is pushed.
fn reducing_pair(cx: &mut Context<'_>, f: impl FnOnce(F80, &mut Env) -> Option<Trig<(F80, F80)>>) {
    cx.vcpu.fpu.set_conditions(C2, 0);
    let mut out_of_range = false;
    pair(cx, |x, env| match f(x, env) {
        Some(Trig::Value(results)) => Some(results),
        result => {
            out_of_range = result.is_some();
            None
        }
    });
    if out_of_range {
        cx.vcpu.fpu.set_conditions(C2, C2);
    }
}

/// A function of ST(0) with two results: the first replaces it, the second is pushed.
fn pair(cx: &mut Context<'_>, f: impl FnOnce(F80, &mut Env) -> Option<(F80, F80)>) {
    let fpu = &mut cx.vcpu.fpu;
    let (x, room) = (fpu.get(0), fpu.get(7).is_none());
    let results = match x {
        Some(x) if room => {
            let mut env = fpu.env();
            let results = f(x, &mut env);
            fpu.finish(&env);
            results
        }
        Some(_) => fpu.overflow().then_some((INDEFINITE, INDEFINITE)),
        None => fpu.underflow().then_some((INDEFINITE, INDEFINITE)),
    };
    if let Some((below, top)) = results {
        fpu.set(0, below);
        fpu.push(top);
    }
}
