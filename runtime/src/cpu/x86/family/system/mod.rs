//! System instructions: control registers, model-specific registers, descriptor tables, segments, ports,
//! `syscall` and its like.

mod control;
mod msr;
mod ports;
mod segments;

use crate::cpu::x86::fault::{Fault, Res};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::mmu::{Access, is_canonical};
use crate::cpu::x86::operand::segment;
use crate::cpu::x86::segment::Descriptor;
use crate::cpu::x86::state::GS_BASE;
use crate::cpu::x86::{Context, Exit, cpuid, flags};
use control::{clts, lmsw, mov_control, mov_debug, smsw};
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};
use msr::{rdmsr, rdtsc, wrmsr};
use ports::{port_in, port_out};
use segments::{
    lar, lldt, load_far_pointer, load_table, lsl, ltr, mov_segment, pop_segment, push_segment,
    store_selector, store_table, verify,
};

/// The function for a system instruction.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    let is = |test: fn(Register) -> bool| {
        (0..2).any(|n| i.op_kind(n) == OpKind::Register && test(i.op_register(n)))
    };
    Some(match i.mnemonic() {
        Mnemonic::Mov if is(Register::is_cr) => mov_control,
        Mnemonic::Mov if is(Register::is_dr) => mov_debug,
        Mnemonic::Mov if is(Register::is_segment_register) => mov_segment,
        Mnemonic::Push if is(Register::is_segment_register) => push_segment,
        Mnemonic::Pop if is(Register::is_segment_register) => pop_segment,
        Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs | Mnemonic::Lss => load_far_pointer,
        Mnemonic::Clts => clts,
        Mnemonic::Lmsw => lmsw,
        Mnemonic::Smsw => smsw,
        Mnemonic::Lgdt | Mnemonic::Lidt => load_table,
        Mnemonic::Sgdt | Mnemonic::Sidt => store_table,
        Mnemonic::Lldt => lldt,
        Mnemonic::Ltr => ltr,
        Mnemonic::Sldt => |cx, i| store_selector(cx, i, cx.vcpu.ldtr.selector),
        Mnemonic::Str => |cx, i| store_selector(cx, i, cx.vcpu.tr.selector),
        Mnemonic::Lar => lar,
        Mnemonic::Lsl => lsl,
        Mnemonic::Verr => |cx, i| verify(cx, i, Descriptor::is_readable),
        Mnemonic::Verw => |cx, i| verify(cx, i, Descriptor::is_writable_data),
        Mnemonic::Invlpg => invlpg,
        Mnemonic::Invd | Mnemonic::Wbinvd => |cx, _| privileged(cx).map(|()| Flow::Next),
        Mnemonic::Clflush => clflush,
        Mnemonic::Rdmsr => rdmsr,
        Mnemonic::Wrmsr => wrmsr,
        Mnemonic::Rdtsc | Mnemonic::Rdtscp => rdtsc,
        Mnemonic::Rdpmc => |_, _| Err(Fault::gp()),
        Mnemonic::Cpuid => cpuid,
        Mnemonic::Hlt => hlt,
        Mnemonic::Cli => cli,
        Mnemonic::Sti => sti,
        Mnemonic::Swapgs => swapgs,
        Mnemonic::In => port_in,
        Mnemonic::Out => port_out,
        Mnemonic::Syscall => |cx, i| cx.system_call(cx.next_rip(i)),
        Mnemonic::Sysret => |cx, _| cx.system_return(false),
        Mnemonic::Sysretq => |cx, _| cx.system_return(true),
        Mnemonic::Sysenter => |cx, _| cx.system_enter(),
        Mnemonic::Sysexit => |cx, _| cx.system_exit(false),
        Mnemonic::Sysexitq => |cx, _| cx.system_exit(true),
        Mnemonic::Iret => |cx, _| cx.interrupt_return(2),
        Mnemonic::Iretd => |cx, _| cx.interrupt_return(4),
        Mnemonic::Iretq => |cx, _| cx.interrupt_return(8),
        Mnemonic::Retf => far_return,
        Mnemonic::Jmp if is_far(i) => far_transfer,
        Mnemonic::Call if is_far(i) => far_transfer,
        _ => return None,
    })
}

fn is_far(i: &Instruction) -> bool {
    i.is_jmp_far() || i.is_jmp_far_indirect() || i.is_call_far() || i.is_call_far_indirect()
}

/// #GP unless the system runs.
fn privileged(cx: &Context<'_>) -> Res<()> {
    if cx.vcpu.cpl == 0 { Ok(()) } else { Err(Fault::gp()) }
}

/// Goes on with the next instruction after one that changes what the following code means.
fn go_on(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    cx.vcpu.rip = cx.next_rip(i);
    Ok(Flow::Goto)
}

fn invlpg(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let segment = segment(i.memory_segment());
    let address = cx.vcpu.segment_base(segment).wrapping_add(cx.effective_address(i));
    if is_canonical(address) {
        cx.vcpu.flush_tlb_page(address);
    }
    go_on(cx, i)
}

/// There are no caches, but the address has to be one that can be read.
fn clflush(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let address = cx.linear_address(i)?;
    cx.translate(address, Access::Load)?;
    Ok(Flow::Next)
}

fn cpuid(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    let [a, b, c, d] = cpuid::leaf(cx.vcpu.r[0] as u32, cx.vcpu.r[1] as u32);
    for (register, value) in [(0, a), (3, b), (1, c), (2, d)] {
        cx.vcpu.r[register] = value.into();
    }
    Ok(Flow::Next)
}

fn hlt(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    cx.vcpu.rip = cx.next_rip(i);
    let wakes = cx.vcpu.rflags & flags::IF != 0 && cx.bus.interrupt();
    Ok(if wakes { Flow::Goto } else { Flow::Exit(Exit::Halt) })
}

/// #GP unless the program may change the interrupt flag.
fn interrupt_flag(cx: &Context<'_>) -> Res<()> {
    if cx.vcpu.has_io_privilege() { Ok(()) } else { Err(Fault::gp()) }
}

fn cli(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    interrupt_flag(cx)?;
    cx.vcpu.rflags &= !flags::IF;
    go_on(cx, i)
}

fn sti(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    interrupt_flag(cx)?;
    // The next instruction is executed before any interrupt: `sti; hlt` must not lose one.
    cx.vcpu.inhibit = cx.vcpu.rflags & flags::IF == 0;
    cx.vcpu.rflags |= flags::IF;
    go_on(cx, i)
}

fn swapgs(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let vcpu = &mut *cx.vcpu;
    core::mem::swap(&mut vcpu.r[GS_BASE], &mut vcpu.msr.kernel_gs_base);
    Ok(Flow::Next)
}

fn far_return(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = match i.code() {
        Code::Retfq | Code::Retfq_imm16 => 8,
        Code::Retfd | Code::Retfd_imm16 => 4,
        _ => 2,
    };
    let release = if i.op_count() > 0 { u64::from(i.immediate16()) } else { 0 };
    cx.far_return(size, release)
}

fn far_transfer(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (selector, target, size) = match i.op_kind(0) {
        OpKind::FarBranch16 => (i.far_branch_selector(), u64::from(i.far_branch16()), 2),
        OpKind::FarBranch32 => (i.far_branch_selector(), u64::from(i.far_branch32()), 4),
        _ => {
            let size = i.memory_size().size() - 2;
            let at = cx.linear_address(i)?;
            let target = cx.load(at, size)?;
            (cx.load(at.wrapping_add(size as u64), 2)? as u16, target, size)
        }
    };
    if i.mnemonic() == Mnemonic::Jmp {
        return cx.far_jump(selector, target);
    }
    let next = cx.next_rip(i);
    cx.far_call(selector, target, size, next)
}
