//! Comparisons, classification, conditional moves.

use super::stack::{C0, C1, C2, C3};
use super::{INDEFINITE, memory, run, st};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{ARITHMETIC, CF, PF, ZF};
use crate::cpu::x86::handler::Handler;
use core::cmp::Ordering;
use forelift_softfloat::x87::{Class, F80, Operand, compare};
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Fcom | Mnemonic::Ficom => run!(|cx, i| to_conditions(cx, i, false, 0)),
        Mnemonic::Fcomp | Mnemonic::Ficomp => run!(|cx, i| to_conditions(cx, i, false, 1)),
        Mnemonic::Fcompp => run!(|cx, i| to_conditions(cx, i, false, 2)),
        Mnemonic::Fucom => run!(|cx, i| to_conditions(cx, i, true, 0)),
        Mnemonic::Fucomp => run!(|cx, i| to_conditions(cx, i, true, 1)),
        Mnemonic::Fucompp => run!(|cx, i| to_conditions(cx, i, true, 2)),
        Mnemonic::Fcomi => run!(|cx, i| to_flags(cx, i, false, false)),
        Mnemonic::Fcomip => run!(|cx, i| to_flags(cx, i, false, true)),
        Mnemonic::Fucomi => run!(|cx, i| to_flags(cx, i, true, false)),
        Mnemonic::Fucomip => run!(|cx, i| to_flags(cx, i, true, true)),
        Mnemonic::Ftst => run!(|cx, _| {
            conditions(cx, Some(F80::default().into()), false, 0);
            Ok(())
        }),
        Mnemonic::Fxam => run!(|cx, _| {
            examine(cx);
            Ok(())
        }),
        // Numbered as the conditions of Jcc: CF, ZF, CF or ZF, PF.
        Mnemonic::Fcmovb => run!(|cx, i| move_if(cx, i, 2)),
        Mnemonic::Fcmovnb => run!(|cx, i| move_if(cx, i, 3)),
        Mnemonic::Fcmove => run!(|cx, i| move_if(cx, i, 4)),
        Mnemonic::Fcmovne => run!(|cx, i| move_if(cx, i, 5)),
        Mnemonic::Fcmovbe => run!(|cx, i| move_if(cx, i, 6)),
        Mnemonic::Fcmovnbe => run!(|cx, i| move_if(cx, i, 7)),
        Mnemonic::Fcmovu => run!(|cx, i| move_if(cx, i, 10)),
        Mnemonic::Fcmovnu => run!(|cx, i| move_if(cx, i, 11)),
        _ => return None,
    })
}

/// Compares ST(0) with another operand, and whether that completes the instruction.
fn order(cx: &mut Context<'_>, other: Option<Operand>, quiet: bool) -> (Option<Ordering>, bool) {
    let fpu = &mut cx.vcpu.fpu;
    match (fpu.get(0), other) {
        (Some(a), Some(b)) => {
            let mut env = fpu.env();
            let order = compare(a.into(), b, quiet, &mut env);
            fpu.finish(&env);
            (order, env.completes())
        }
        _ => (None, fpu.underflow()),
    }
}

/// The register that ST(0) is compared with.
fn other(i: &Instruction) -> usize {
    match i.op_count() {
        0 => 1,
        n => st(i.op_register(n - 1)),
    }
}

fn to_conditions(cx: &mut Context<'_>, i: &Instruction, quiet: bool, pops: u8) -> Res<()> {
    let operand = match memory(cx, i)? {
        Some(operand) => Some(operand),
        None => cx.vcpu.fpu.get(other(i)).map(Operand::from),
    };
    conditions(cx, operand, quiet, pops);
    Ok(())
}

fn conditions(cx: &mut Context<'_>, operand: Option<Operand>, quiet: bool, pops: u8) {
    let (order, completes) = order(cx, operand, quiet);
    let bits = match order {
        None => C3 | C2 | C0,
        Some(Ordering::Less) => C0,
        Some(Ordering::Equal) => C3,
        Some(Ordering::Greater) => 0,
    };
    let fpu = &mut cx.vcpu.fpu;
    fpu.set_conditions(C3 | C2 | C0, bits);
    if completes {
        for _ in 0..pops {
            fpu.pop();
        }
    }
}

fn to_flags(cx: &mut Context<'_>, i: &Instruction, quiet: bool, pop: bool) -> Res<()> {
    let operand = cx.vcpu.fpu.get(other(i)).map(Operand::from);
    // C1 says something of the stack only.
    let c1 = if cx.vcpu.fpu.get(0).and(operand).is_some() { cx.vcpu.fpu.status & C1 } else { 0 };
    let (order, completes) = order(cx, operand, quiet);
    cx.vcpu.fpu.set_conditions(C1, c1);
    let bits = match order {
        None => ZF | PF | CF,
        Some(Ordering::Less) => CF,
        Some(Ordering::Equal) => ZF,
        Some(Ordering::Greater) => 0,
    };
    cx.vcpu.flags.change(ARITHMETIC, bits);
    if pop && completes {
        cx.vcpu.fpu.pop();
    }
    Ok(())
}

fn examine(cx: &mut Context<'_>) {
    let fpu = &mut cx.vcpu.fpu;
    let class = match fpu.get(0).map(Class::of) {
        Some(Class::Unsupported) => 0,
        Some(Class::Nan) => C0,
        Some(Class::Normal) => C2,
        Some(Class::Infinity) => C2 | C0,
        Some(Class::Zero) => C3,
        None => C3 | C0,
        Some(Class::Denormal) => C3 | C2,
    };
    let sign = if fpu.raw(0).sign() { C1 } else { 0 };
    fpu.set_conditions(C3 | C2 | C1 | C0, class | sign);
}

fn move_if(cx: &mut Context<'_>, i: &Instruction, condition: u8) -> Res<()> {
    let moves = cx.vcpu.flags.condition(condition);
    let fpu = &mut cx.vcpu.fpu;
    match (fpu.get(0), fpu.get(st(i.op1_register()))) {
        (Some(_), Some(value)) => {
            if moves {
                fpu.set(0, value);
            }
        }
        _ => {
            if fpu.underflow() {
                fpu.set(0, INDEFINITE);
            }
        }
    }
    Ok(())
}
