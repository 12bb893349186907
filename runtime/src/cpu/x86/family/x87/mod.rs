//! x87: everything from D8 to DF, `wait`, and the instructions that save and restore the FPU.
//!
//! The arithmetic is [`forelift_softfloat::x87`]'s. An instruction reads memory first, then checks the stack,
//! computes, writes memory, and only then changes the FPU. An unmasked exception is noted and comes as #MF
//! with the next instruction that waits (SDM vol. 1, 8.7).

mod arith;
mod compare;
mod environment;
mod functions;
mod fxsave;
mod moves;
mod stack;
#[cfg(test)]
mod tests;

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{Fault, MF, NM, Res};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::state::{CR0_EM, CR0_MP, CR0_NE, CR0_TS};
use forelift_softfloat::x87::{F80, Operand};
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind, Register};

/// The function for an instruction, if it is one of these.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    arith::handler(i)
        .or_else(|| compare::handler(i))
        .or_else(|| functions::handler(i))
        .or_else(|| moves::handler(i))
        .or_else(|| environment::handler(i))
        .or_else(|| fxsave::handler(i))
        .or_else(|| match i.mnemonic() {
            Mnemonic::Wait => Some(wait as Handler),
            _ => None,
        })
}

/// A handler for an instruction that waits for pending exceptions and is remembered as the last one.
macro_rules! run {
    ($execute:expr) => {{
        const HANDLER: $crate::cpu::x86::handler::Handler = |cx, i| {
            $crate::cpu::x86::family::x87::check_waiting(cx)?;
            let execute: fn(
                &mut $crate::cpu::x86::Context<'_>,
                &iced_x86::Instruction,
            ) -> $crate::cpu::x86::fault::Res<()> = $execute;
            execute(cx, i)?;
            $crate::cpu::x86::family::x87::note(cx, i);
            Ok($crate::cpu::x86::handler::Flow::Next)
        };
        HANDLER
    }};
}
use run;

/// Whether FPU instructions may be executed.
fn check_available(cx: &Context<'_>) -> Res<()> {
    if cx.vcpu.cr0 & (CR0_EM | CR0_TS) != 0 {
        return Err(Fault::plain(NM));
    }
    Ok(())
}

/// [`check_available`], and whether an exception is pending. Without `CR0.NE` it would be an external
/// interrupt, which this machine has not.
fn check_waiting(cx: &Context<'_>) -> Res<()> {
    check_available(cx)?;
    if cx.vcpu.fpu.pending() && cx.vcpu.cr0 & CR0_NE != 0 {
        return Err(Fault::plain(MF));
    }
    Ok(())
}

/// `wait`: pays heed to TS only with MP (SDM vol. 3, 2.5).
fn wait(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    const BOTH: u64 = CR0_MP | CR0_TS;
    if cx.vcpu.cr0 & BOTH == BOTH {
        return Err(Fault::plain(NM));
    }
    if cx.vcpu.fpu.pending() && cx.vcpu.cr0 & CR0_NE != 0 {
        return Err(Fault::plain(MF));
    }
    Ok(Flow::Next)
}

/// Remembers the instruction, for a handler of its exception. The opcode is kept only if there is one (SDM
/// vol. 1, 8.1.9.1).
fn note(cx: &mut Context<'_>, i: &Instruction) {
    cx.vcpu.fpu.instruction = cx.vcpu.rip;
    if (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory) {
        cx.vcpu.fpu.data = cx.effective_address(i);
    }
    if cx.vcpu.fpu.pending()
        && let Ok((bytes, ..)) = cx.fetch(cx.vcpu.rip)
    {
        // After the prefixes.
        let opcode = bytes.windows(2).find(|w| w[0] & 0xf8 == 0xd8);
        if let Some(&[first, second]) = opcode {
            cx.vcpu.fpu.opcode = u16::from(first & 7) << 8 | u16::from(second);
        }
    }
}

/// Number of a stack register.
fn st(register: Register) -> usize {
    register.number() & 7
}

/// The operand in memory, if there is one.
fn memory(cx: &mut Context<'_>, i: &Instruction) -> Res<Option<Operand>> {
    if i.op_kind(0) != OpKind::Memory || i.op_count() == 0 {
        return Ok(None);
    }
    let address = cx.linear_address(i)?;
    Ok(Some(match i.memory_size() {
        MemorySize::Float32 => Operand::from_f32(cx.load(address, 4)? as u32),
        MemorySize::Float64 => Operand::from_f64(cx.load(address, 8)?),
        _ => Operand::from_int(integer(cx, address, i.memory_size())?),
    }))
}

/// An integer in memory.
fn integer(cx: &mut Context<'_>, address: u64, size: MemorySize) -> Res<i64> {
    Ok(match size {
        MemorySize::Int16 => i64::from(cx.load(address, 2)? as i16),
        MemorySize::Int32 => i64::from(cx.load(address, 4)? as i32),
        _ => cx.load(address, 8)? as i64,
    })
}

/// Ten bytes in memory.
fn load_extended(cx: &mut Context<'_>, i: &Instruction) -> Res<[u8; 10]> {
    let address = cx.linear_address(i)?;
    let mut bytes = [0; 10];
    cx.load_bytes(address, &mut bytes)?;
    Ok(bytes)
}

/// What an instruction of the stack does for a register that is empty, if that is masked.
const INDEFINITE: F80 = F80::INDEFINITE;
