//! FXSAVE and FXRSTOR (SDM vol. 1, 10.5; vol. 2, FXSAVE).

use super::check_available;
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{Fault, Res};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::state::{CR4_OSFXSR, Vcpu};
use forelift_softfloat::x87::F80;
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Fxsave => |cx, i| fxsave(cx, i, false),
        Mnemonic::Fxsave64 => |cx, i| fxsave(cx, i, true),
        Mnemonic::Fxrstor => |cx, i| fxrstor(cx, i, false),
        Mnemonic::Fxrstor64 => |cx, i| fxrstor(cx, i, true),
        _ => return None,
    })
}

/// Offsets in the area.
const DATA: usize = 16;
const MXCSR: usize = 24;
const REGISTERS: usize = 32;
const XMM: usize = 160;
/// Offset past the last byte that is used.
const USED: usize = XMM + 16 * 16;

/// How many XMM registers take part: none if the system has not said that it saves them.
fn xmm_registers(vcpu: &Vcpu) -> usize {
    match (vcpu.cr4 & CR4_OSFXSR != 0, vcpu.long) {
        (false, _) => 0,
        (_, true) => 16,
        (_, false) => 8,
    }
}

fn address(cx: &mut Context<'_>, i: &Instruction) -> Res<u64> {
    check_available(cx)?;
    let address = cx.linear_address(i)?;
    if address & 15 == 0 { Ok(address) } else { Err(Fault::gp()) }
}

fn fxsave(cx: &mut Context<'_>, i: &Instruction, wide: bool) -> Res<Flow> {
    let address = address(cx, i)?;
    let vcpu = &cx.vcpu;
    let fpu = &vcpu.fpu;
    let mut area = [0; USED];
    let mut put = |at: usize, bytes: &[u8]| area[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &fpu.control.to_le_bytes());
    put(2, &fpu.status_word().to_le_bytes());
    put(4, &[fpu.valid]);
    put(6, &(fpu.opcode & 0x7ff).to_le_bytes());
    // Without the prefix for 64 bits there are offsets of 32, and selectors, which are not kept.
    let size = if wide { 8 } else { 4 };
    put(8, &fpu.instruction.to_le_bytes()[..size]);
    put(DATA, &fpu.data.to_le_bytes()[..size]);
    put(MXCSR, &vcpu.mxcsr.to_le_bytes());
    put(MXCSR + 4, &Vcpu::MXCSR_MASK.to_le_bytes());
    for n in 0..8 {
        put(REGISTERS + 16 * n, &fpu.raw(n).to_bytes());
    }
    let count = xmm_registers(vcpu);
    for (n, [low, high]) in vcpu.xmm[..count].iter().enumerate() {
        put(XMM + 16 * n, &low.to_le_bytes());
        put(XMM + 16 * n + 8, &high.to_le_bytes());
    }
    cx.store_long(address, &area[..XMM + 16 * count])?;
    Ok(Flow::Next)
}

fn fxrstor(cx: &mut Context<'_>, i: &Instruction, wide: bool) -> Res<Flow> {
    let address = address(cx, i)?;
    let mut area = [0; USED];
    cx.load_long(address, &mut area)?;
    let word = |at: usize, size: usize| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&area[at..at + size]);
        u64::from_le_bytes(bytes)
    };
    let count = xmm_registers(cx.vcpu);
    let mxcsr = word(MXCSR, 4) as u32;
    if mxcsr & !Vcpu::MXCSR_MASK != 0 {
        return Err(Fault::gp());
    }
    let vcpu = &mut cx.vcpu;
    if count != 0 {
        vcpu.mxcsr = mxcsr;
    }
    for (n, register) in vcpu.xmm[..count].iter_mut().enumerate() {
        *register = [word(XMM + 16 * n, 8), word(XMM + 16 * n + 8, 8)];
    }
    let fpu = &mut vcpu.fpu;
    fpu.set_control_word(word(0, 2) as u16);
    fpu.set_status_word(word(2, 2) as u16);
    fpu.opcode = word(6, 2) as u16 & 0x7ff;
    let size = if wide { 8 } else { 4 };
    fpu.instruction = word(8, size);
    fpu.data = word(DATA, size);
    for n in 0..8 {
        let at = REGISTERS + 16 * n;
        fpu.set(n, F80 { mantissa: word(at, 8), sign_exp: word(at + 8, 2) as u16 });
    }
    fpu.valid = area[4];
    Ok(Flow::Next)
}
