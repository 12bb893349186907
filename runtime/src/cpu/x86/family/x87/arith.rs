//! Addition, subtraction, multiplication and division.

use super::{INDEFINITE, memory, run, st};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::handler::Handler;
use forelift_softfloat::x87::{self, Env, F80, Operand};
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Fadd | Mnemonic::Fiadd => run!(|cx, i| binary(cx, i, x87::add, false)),
        Mnemonic::Faddp => run!(|cx, i| binary(cx, i, x87::add, true)),
        Mnemonic::Fmul | Mnemonic::Fimul => run!(|cx, i| binary(cx, i, x87::mul, false)),
        Mnemonic::Fmulp => run!(|cx, i| binary(cx, i, x87::mul, true)),
        Mnemonic::Fsub | Mnemonic::Fisub => run!(|cx, i| binary(cx, i, x87::sub, false)),
        Mnemonic::Fsubp => run!(|cx, i| binary(cx, i, x87::sub, true)),
        Mnemonic::Fsubr | Mnemonic::Fisubr => {
            run!(|cx, i| binary(cx, i, |a, b, env| x87::sub(b, a, env), false))
        }
        Mnemonic::Fsubrp => run!(|cx, i| binary(cx, i, |a, b, env| x87::sub(b, a, env), true)),
        Mnemonic::Fdiv | Mnemonic::Fidiv => run!(|cx, i| binary(cx, i, x87::div, false)),
        Mnemonic::Fdivp => run!(|cx, i| binary(cx, i, x87::div, true)),
        Mnemonic::Fdivr | Mnemonic::Fidivr => {
            run!(|cx, i| binary(cx, i, |a, b, env| x87::div(b, a, env), false))
        }
        Mnemonic::Fdivrp => run!(|cx, i| binary(cx, i, |a, b, env| x87::div(b, a, env), true)),
        _ => return None,
    })
}

/// An operation of the destination and a source, which is in memory or another register.
fn binary(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: fn(Operand, Operand, &mut Env) -> Option<F80>,
    pop: bool,
) -> Res<()> {
    let in_memory = memory(cx, i)?;
    let fpu = &mut cx.vcpu.fpu;
    let to = if in_memory.is_some() { 0 } else { st(i.op0_register()) };
    let source = in_memory.or_else(|| fpu.get(st(i.op1_register())).map(Operand::from));
    let result = match (fpu.get(to), source) {
        (Some(a), Some(b)) => {
            let mut env = fpu.env();
            let result = f(a.into(), b, &mut env);
            fpu.finish(&env);
            result
        }
        _ => fpu.underflow().then_some(INDEFINITE),
    };
    if let Some(result) = result {
        fpu.set(to, result);
        if pop {
            fpu.pop();
        }
    }
    Ok(())
}
