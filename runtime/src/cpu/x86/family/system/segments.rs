//! Segment registers, descriptor tables, and what programs may know of descriptors.

use super::super::stack;
use super::{go_on, privileged};
use crate::cpu::x86::fault::{Fault, GP, NP, Res};
use crate::cpu::x86::handler::Flow;
use crate::cpu::x86::mmu::is_canonical;
use crate::cpu::x86::operand::segment;
use crate::cpu::x86::segment::Descriptor;
use crate::cpu::x86::state::{DS, ES, FS, GS, SS, Segment};
use crate::cpu::x86::{Context, flags};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

pub(super) fn mov_segment(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    if i.op_kind(1) == OpKind::Register && i.op1_register().is_segment_register() {
        let selector = cx.vcpu.segments[segment(i.op1_register())].selector;
        // A wide register gets the selector zero-extended, memory 16 bits.
        if i.op_kind(0) == OpKind::Memory {
            let address = cx.linear_address(i)?;
            cx.store(address, 2, selector.into())?;
        } else {
            cx.vcpu.set_gpr(i.op0_register(), selector.into());
        }
        return Ok(Flow::Next);
    }
    if i.op0_register() == Register::CS {
        return Err(Fault::ud());
    }
    let selector = cx.read(i, 1)? as u16;
    load_segment(cx, i, segment(i.op0_register()), selector)
}

/// Loads a segment register; after a load of SS interrupts wait for one instruction.
fn load_segment(cx: &mut Context<'_>, i: &Instruction, number: usize, selector: u16) -> Res<Flow> {
    cx.load_segment(number, selector)?;
    if number == SS {
        (cx.vcpu.inhibit, cx.vcpu.shadow) = (true, true);
        return go_on(cx, i);
    }
    Ok(Flow::Next)
}

pub(super) fn push_segment(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let selector = cx.vcpu.segments[segment(i.op0_register())].selector;
    cx.push_word(stack::word(i), selector.into())?;
    Ok(Flow::Next)
}

pub(super) fn pop_segment(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = stack::word(i);
    let rsp = cx.vcpu.r[4];
    let selector = cx.peek(0, size)? as u16;
    let flow = load_segment(cx, i, segment(i.op0_register()), selector)?;
    cx.set_stack_pointer(rsp.wrapping_add(size as u64));
    Ok(flow)
}

pub(super) fn load_far_pointer(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let number = match i.mnemonic() {
        Mnemonic::Lds => DS,
        Mnemonic::Les => ES,
        Mnemonic::Lfs => FS,
        Mnemonic::Lgs => GS,
        _ => SS,
    };
    let size = i.op0_register().size();
    let at = cx.linear_address(i)?;
    let offset = cx.load(at, size)?;
    let selector = cx.load(at.wrapping_add(size as u64), 2)? as u16;
    let flow = load_segment(cx, i, number, selector)?;
    cx.vcpu.set_gpr(i.op0_register(), offset);
    Ok(flow)
}

pub(super) fn load_table(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let at = cx.linear_address(i)?;
    let size = if cx.vcpu.long { 8 } else { 4 };
    let limit = cx.load(at, 2)? as u16;
    let base = cx.load(at.wrapping_add(2), size)?;
    if !is_canonical(base) {
        return Err(Fault::gp());
    }
    let table = if i.mnemonic() == Mnemonic::Lgdt { &mut cx.vcpu.gdtr } else { &mut cx.vcpu.idtr };
    (table.base, table.limit) = (base, limit);
    go_on(cx, i)
}

pub(super) fn store_table(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let at = cx.linear_address(i)?;
    let size = if cx.vcpu.long { 8 } else { 4 };
    let table = if i.mnemonic() == Mnemonic::Sgdt { cx.vcpu.gdtr } else { cx.vcpu.idtr };
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    cx.store_bytes(at, &bytes[..2 + size])?;
    Ok(Flow::Next)
}

pub(super) fn lldt(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let selector = cx.read(i, 0)? as u16;
    if selector & !3 == 0 {
        cx.vcpu.ldtr = Segment { selector, ..Segment::default() };
        return Ok(Flow::Next);
    }
    cx.vcpu.ldtr = system_segment(cx, selector, &[2])?.segment(selector);
    Ok(Flow::Next)
}

/// The descriptor of a system segment of one of these types in the GDT, present.
fn system_segment(cx: &mut Context<'_>, selector: u16, types: &[u8]) -> Res<Descriptor> {
    let code = u32::from(selector & !3);
    let found = if selector & 4 == 0 { cx.descriptor(selector)? } else { None };
    let descriptor = found
        .filter(|d| d.is_whole() && d.system_type().is_some_and(|t| types.contains(&t)))
        .ok_or(Fault::with_code(GP, code))?;
    if descriptor.is_present() { Ok(descriptor) } else { Err(Fault::with_code(NP, code)) }
}

pub(super) fn ltr(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    /// Available and busy 64-bit task-state segment.
    const AVAILABLE: u8 = 9;
    let selector = cx.read(i, 0)? as u16;
    let descriptor = system_segment(cx, selector, &[AVAILABLE])?;
    let at = cx.vcpu.gdtr.base.wrapping_add(u64::from(selector & !7) + 5);
    cx.as_system(|cx| {
        let access = cx.load(at, 1)?;
        cx.store(at, 1, access | 2)
    })?;
    let mut segment = descriptor.segment(selector);
    segment.attributes |= 2;
    cx.vcpu.tr = segment;
    Ok(Flow::Next)
}

pub(super) fn store_selector(cx: &mut Context<'_>, i: &Instruction, selector: u16) -> Res<Flow> {
    cx.write(i, 0, selector.into())?;
    Ok(Flow::Next)
}

/// Whether the program may know of a descriptor (`lar`, `lsl`, `verr`, `verw`).
fn visible(cx: &Context<'_>, descriptor: &Descriptor, selector: u16) -> bool {
    let conforming = descriptor.system_type().is_none() && descriptor.is_conforming();
    conforming || descriptor.dpl() >= cx.vcpu.cpl.max((selector & 3) as u8)
}

/// Answers with ZF, and with a register when there is an answer.
fn answer(cx: &mut Context<'_>, i: &Instruction, value: Option<u64>) -> Res<Flow> {
    if let Some(value) = value {
        cx.vcpu.set_gpr(i.op0_register(), value);
    }
    cx.vcpu.flags.change(flags::ZF, if value.is_some() { flags::ZF } else { 0 });
    Ok(Flow::Next)
}

pub(super) fn lar(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let selector = cx.read(i, 1)? as u16;
    // LDT, TSS and call gate, which are the ones of long mode.
    let known = |d: &Descriptor| d.system_type().is_none_or(|t| matches!(t, 2 | 9 | 11 | 12));
    let found = cx.descriptor(selector)?.filter(|d| visible(cx, d, selector) && known(d));
    answer(cx, i, found.map(|d| d.rights()))
}

pub(super) fn lsl(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let selector = cx.read(i, 1)? as u16;
    let known = |d: &Descriptor| d.system_type().is_none_or(|t| matches!(t, 2 | 9 | 11));
    let found = cx.descriptor(selector)?.filter(|d| visible(cx, d, selector) && known(d));
    answer(cx, i, found.map(|d| u64::from(d.limit())))
}

pub(super) fn verify(cx: &mut Context<'_>, i: &Instruction, test: fn(&Descriptor) -> bool) -> Res<Flow> {
    let selector = cx.read(i, 0)? as u16;
    let found =
        cx.descriptor(selector)?.filter(|d| d.system_type().is_none() && visible(cx, d, selector) && test(d));
    cx.vcpu.flags.change(flags::ZF, if found.is_some() { flags::ZF } else { 0 });
    Ok(Flow::Next)
}
