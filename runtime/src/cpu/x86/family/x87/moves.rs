//! Loads, stores, constants, and what moves the stack.

use super::stack::C1;
use super::{INDEFINITE, integer, load_extended, memory, run, st};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::handler::Handler;
use forelift_softfloat::Round;
use forelift_softfloat::x87::{self, BCD_INDEFINITE, Env, F80};
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Fld => run!(fld),
        Mnemonic::Fild => run!(|cx, i| {
            let address = cx.linear_address(i)?;
            let value = integer(cx, address, i.memory_size())?;
            push(cx, |_| Some(F80::from_int(value)));
            Ok(())
        }),
        Mnemonic::Fbld => run!(|cx, i| {
            let bytes = load_extended(cx, i)?;
            push(cx, |_| Some(x87::from_bcd(bytes)));
            Ok(())
        }),
        Mnemonic::Fst => run!(|cx, i| fst(cx, i, false)),
        Mnemonic::Fstp => run!(|cx, i| fst(cx, i, true)),
        Mnemonic::Fstpnce => run!(fstpnce),
        Mnemonic::Fist => run!(|cx, i| store_integer(cx, i, None, false)),
        Mnemonic::Fistp => run!(|cx, i| store_integer(cx, i, None, true)),
        Mnemonic::Fisttp => run!(|cx, i| store_integer(cx, i, Some(Round::Rtz), true)),
        Mnemonic::Fbstp => run!(|cx, i| store(cx, i, BCD_INDEFINITE, x87::to_bcd, true)),
        Mnemonic::Fxch => run!(fxch),
        Mnemonic::Ffree => run!(|cx, i| free(cx, i, false)),
        Mnemonic::Ffreep => run!(|cx, i| free(cx, i, true)),
        Mnemonic::Fincstp => run!(|cx, _| rotate(cx, 1)),
        Mnemonic::Fdecstp => run!(|cx, _| rotate(cx, 7)),
        Mnemonic::Fnop => run!(|_, _| Ok(())),
        // Significands rounded down, and whether the nearest is one above.
        Mnemonic::Fld1 => run!(|cx, _| constant(cx, 0x3fff, 1 << 63, None)),
        Mnemonic::Fldl2t => run!(|cx, _| constant(cx, 0x4000, 0xd49a_784b_cd1b_8afe, Some(false))),
        Mnemonic::Fldl2e => run!(|cx, _| constant(cx, 0x3fff, 0xb8aa_3b29_5c17_f0bb, Some(true))),
        Mnemonic::Fldpi => run!(|cx, _| constant(cx, 0x4000, 0xc90f_daa2_2168_c234, Some(true))),
        Mnemonic::Fldlg2 => run!(|cx, _| constant(cx, 0x3ffd, 0x9a20_9a84_fbcf_f798, Some(true))),
        Mnemonic::Fldln2 => run!(|cx, _| constant(cx, 0x3ffe, 0xb172_17f7_d1cf_79ab, Some(true))),
        Mnemonic::Fldz => run!(|cx, _| constant(cx, 0, 0, None)),
        _ => return None,
    })
}

/// Pushes what `value` gives, unless the stack is full.
fn push(cx: &mut Context<'_>, value: impl FnOnce(&mut Env) -> Option<F80>) {
    let fpu = &mut cx.vcpu.fpu;
    if fpu.get(7).is_some() {
        if fpu.overflow() {
            fpu.push(INDEFINITE);
        }
        return;
    }
    let mut env = fpu.env();
    let result = value(&mut env);
    fpu.finish(&env);
    if let Some(result) = result {
        fpu.push(result);
    }
}

fn fld(cx: &mut Context<'_>, i: &Instruction) -> Res<()> {
    if i.op_kind(0) == OpKind::Register {
        let value = cx.vcpu.fpu.get(st(i.op0_register()));
        let fpu = &mut cx.vcpu.fpu;
        if value.is_some() {
            push(cx, |_| value);
        } else if fpu.underflow() {
            fpu.push(INDEFINITE);
        }
    } else if i.memory_size() == MemorySize::Float80 {
        let value = F80::from_bytes(load_extended(cx, i)?);
        push(cx, |_| Some(value));
    } else if let Some(operand) = memory(cx, i)? {
        push(cx, |env| x87::load(operand, env));
    }
    Ok(())
}

/// Stores ST(0) as `N` bytes.
fn store<const N: usize>(
    cx: &mut Context<'_>,
    i: &Instruction,
    indefinite: [u8; N],
    convert: impl FnOnce(F80, &mut Env) -> Option<[u8; N]>,
    pop: bool,
) -> Res<()> {
    // The FPU as it will be, if the store does not fault.
    let mut fpu = cx.vcpu.fpu;
    let bytes = match fpu.get(0) {
        Some(x) => {
            let mut env = fpu.env();
            let bytes = convert(x, &mut env);
            fpu.finish(&env);
            bytes
        }
        None => fpu.underflow().then_some(indefinite),
    };
    let address = cx.linear_address(i)?;
    if let Some(bytes) = bytes {
        cx.store_bytes(address, &bytes)?;
        if pop {
            fpu.pop();
        }
    } else {
        // The place must be writable also when an unmasked exception keeps the value: its fault comes first.
        cx.probe_store(address, N)?;
    }
    cx.vcpu.fpu = fpu;
    Ok(())
}

fn fst(cx: &mut Context<'_>, i: &Instruction, pop: bool) -> Res<()> {
    if i.op_kind(0) == OpKind::Register {
        let fpu = &mut cx.vcpu.fpu;
        let value = match fpu.get(0) {
            Some(value) => {
                fpu.set_conditions(C1, 0);
                Some(value)
            }
            None => fpu.underflow().then_some(INDEFINITE),
        };
        if let Some(value) = value {
            fpu.set(st(i.op0_register()), value);
            if pop {
                fpu.pop();
            }
        }
        return Ok(());
    }
    match i.memory_size() {
        MemorySize::Float32 => {
            let indefinite = 0xffc0_0000_u32.to_le_bytes();
            store(cx, i, indefinite, |x, env| x87::to_f32(x, env).map(u32::to_le_bytes), pop)
        }
        MemorySize::Float64 => {
            let indefinite = 0xfff8_0000_0000_0000_u64.to_le_bytes();
            store(cx, i, indefinite, |x, env| x87::to_f64(x, env).map(u64::to_le_bytes), pop)
        }
        _ => store(cx, i, INDEFINITE.to_bytes(), |x, _| Some(x.to_bytes()), pop),
    }
}

/// An alias of `fstp` that pops an empty register without storing it.
fn fstpnce(cx: &mut Context<'_>, i: &Instruction) -> Res<()> {
    let fpu = &mut cx.vcpu.fpu;
    if let Some(value) = fpu.get(0) {
        fpu.set(st(i.op0_register()), value);
    }
    fpu.pop();
    fpu.set_conditions(C1, 0);
    Ok(())
}

fn free(cx: &mut Context<'_>, i: &Instruction, pop: bool) -> Res<()> {
    let fpu = &mut cx.vcpu.fpu;
    fpu.free(st(i.op0_register()));
    if pop {
        fpu.pop();
    }
    fpu.set_conditions(C1, 0);
    Ok(())
}

/// `fist` and `fistp`, and with a rounding of its own `fisttp`.
fn store_integer(cx: &mut Context<'_>, i: &Instruction, rm: Option<Round>, pop: bool) -> Res<()> {
    let rm = rm.unwrap_or(cx.vcpu.fpu.env().rounding());
    match i.memory_size() {
        MemorySize::Int16 => {
            let convert = |x, env: &mut Env| x87::to_i16(x, rm, env).map(i16::to_le_bytes);
            store(cx, i, i16::MIN.to_le_bytes(), convert, pop)
        }
        MemorySize::Int32 => {
            let convert = |x, env: &mut Env| x87::to_i32(x, rm, env).map(i32::to_le_bytes);
            store(cx, i, i32::MIN.to_le_bytes(), convert, pop)
        }
        _ => {
            let convert = |x, env: &mut Env| x87::to_i64(x, rm, env).map(i64::to_le_bytes);
            store(cx, i, i64::MIN.to_le_bytes(), convert, pop)
        }
    }
}

fn fxch(cx: &mut Context<'_>, i: &Instruction) -> Res<()> {
    let fpu = &mut cx.vcpu.fpu;
    let with = st(i.op1_register());
    let (a, b) = (fpu.get(0), fpu.get(with));
    let exchanges = if a.is_some() && b.is_some() {
        fpu.set_conditions(C1, 0);
        true
    } else {
        fpu.underflow()
    };
    if exchanges {
        fpu.set(with, a.unwrap_or(INDEFINITE));
        fpu.set(0, b.unwrap_or(INDEFINITE));
    }
    Ok(())
}

fn rotate(cx: &mut Context<'_>, by: u8) -> Res<()> {
    cx.vcpu.fpu.rotate(by);
    cx.vcpu.fpu.set_conditions(C1, 0);
    Ok(())
}

/// Pushes a constant, rounded as the control word says if it is not exact.
fn constant(cx: &mut Context<'_>, sign_exp: u16, mantissa: u64, nearest_is_above: Option<bool>) -> Res<()> {
    push(cx, |env| {
        let up = match (nearest_is_above, env.rounding()) {
            (None, _) => false,
            (Some(above), Round::Rne | Round::Rmm) => above,
            (Some(_), rm) => rm == Round::Rup,
        };
        Some(F80 { sign_exp, mantissa: mantissa + u64::from(up) })
    });
    Ok(())
}
