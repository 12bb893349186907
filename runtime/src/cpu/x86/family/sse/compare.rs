//! Floating-point comparisons.

use super::float::{packed, scalar, settle};
use super::{Lane, check_sse, destination, operand, run};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{CF, PF, ZF};
use crate::cpu::x86::handler::{Flow, Handler};
use core::cmp::Ordering;
use forelift_softfloat::x86::{self, Env, Predicate};
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Cmpps => run!(|cx, i| packed(cx, i, |a, b, env| mask32(x86::f32_test(a, b, predicate(i), env)))),
        M::Cmppd => run!(|cx, i| packed(cx, i, |a, b, env| mask64(x86::f64_test(a, b, predicate(i), env)))),
        M::Cmpss => run!(|cx, i| scalar(cx, i, |a, b, env| mask32(x86::f32_test(a, b, predicate(i), env)))),
        // The other one is a string instruction.
        M::Cmpsd if i.op0_register().is_xmm() => {
            run!(|cx, i| scalar(cx, i, |a, b, env| mask64(x86::f64_test(a, b, predicate(i), env))))
        }
        M::Comiss => run!(|cx, i| ordered(cx, i, |a, b, env| x86::f32_compare(a, b, true, env))),
        M::Comisd => run!(|cx, i| ordered(cx, i, |a, b, env| x86::f64_compare(a, b, true, env))),
        M::Ucomiss => run!(|cx, i| ordered(cx, i, |a, b, env| x86::f32_compare(a, b, false, env))),
        M::Ucomisd => run!(|cx, i| ordered(cx, i, |a, b, env| x86::f64_compare(a, b, false, env))),
        _ => return None,
    })
}

#[inline]
fn predicate(i: &Instruction) -> Predicate {
    Predicate::new(i.immediate8())
}

#[inline]
fn mask32(holds: bool) -> u32 {
    u32::from(holds).wrapping_neg()
}

#[inline]
fn mask64(holds: bool) -> u64 {
    u64::from(holds).wrapping_neg()
}

/// The flags that `comisd` and its like set.
#[inline]
pub(crate) fn comparison_flags(order: Option<Ordering>) -> u64 {
    match order {
        None => ZF | PF | CF,
        Some(Ordering::Less) => CF,
        Some(Ordering::Equal) => ZF,
        Some(Ordering::Greater) => 0,
    }
}

#[inline(always)]
fn ordered<T: Lane>(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: impl Fn(T, T, &mut Env) -> Option<Ordering>,
) -> Res<Flow> {
    check_sse(cx)?;
    let b = operand::<16>(cx, i, 1)?;
    let a = destination::<16>(cx, i);
    let mut env = Env::new(cx.vcpu.mxcsr);
    let order = f(T::get(&a, 0), T::get(&b, 0), &mut env);
    settle(cx, env)?;
    cx.vcpu.flags.set(comparison_flags(order));
    Ok(Flow::Next)
}
