//! System instructions: control registers, model-specific registers, descriptor tables, segments, ports,
//! `syscall` and its like.

use super::stack;
use crate::cpu::x86::debug::{DR6, DR6_BD, DR7, DR7_GD};
use crate::cpu::x86::fault::{DB, Fault, GP, NP, Res};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::mmu::{Access, PHYSICAL_BITS, is_canonical};
use crate::cpu::x86::operand::{number, segment};
use crate::cpu::x86::segment::Descriptor;
use crate::cpu::x86::state::{
    CR0_EM, CR0_ET, CR0_MP, CR0_PE, CR0_PG, CR0_TS, CR0_WP, CR4_DE, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_PAE,
    CR4_PGE, CR4_TSD, DS, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, ES, FS, FS_BASE, GS, GS_BASE, SS, Segment,
};
use crate::cpu::x86::{Context, Exit, cpuid, flags};
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

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

impl Context<'_> {
    /// #GP unless ports from `port` to `port + size - 1` may be used: by I/O privilege level, or by the task's bitmap
    /// (SDM vol. 1 19.5).
    pub(crate) fn io_permitted(&mut self, port: u16, size: u8) -> Res<()> {
        if self.vcpu.has_io_privilege() {
            return Ok(());
        }
        let (base, limit) = (self.vcpu.tr.base, u64::from(self.vcpu.tr.limit));
        if limit < 0x67 {
            return Err(Fault::gp());
        }
        let at = self.as_system(|cx| cx.load(base.wrapping_add(0x66), 2))? + u64::from(port / 8);
        if at + 1 > limit {
            return Err(Fault::gp());
        }
        let map = self.as_system(|cx| cx.load(base.wrapping_add(at), 2))?;
        let wanted = ((1u64 << size) - 1) << (port & 7);
        if map & wanted == 0 { Ok(()) } else { Err(Fault::gp()) }
    }

    fn write_cr0(&mut self, value: u64) -> Res<()> {
        const KEPT: u64 = CR0_PE | CR0_PG;
        const KNOWN: u64 = 0xe005_003f;
        const NW_CD: u64 = 3 << 29;
        const NW: u64 = 1 << 29;
        // Leaving protected mode or paging is for those who boot other systems.
        if value >> 32 != 0
            || value & NW_CD == NW
            || value & CR0_PE == 0
            || (value ^ self.vcpu.cr0) & CR0_PG != 0 && value & CR0_PG == 0
        {
            return Err(Fault::gp());
        }
        // Reserved bits of the lower half stay 0 (SDM vol. 3 2.5).
        let value = value & KNOWN | CR0_ET;
        let changed = value ^ self.vcpu.cr0;
        self.vcpu.cr0 = value;
        self.vcpu.update_controls();
        if changed & (KEPT | CR0_WP) != 0 {
            self.vcpu.flush_tlb();
        }
        Ok(())
    }

    fn write_cr4(&mut self, value: u64) -> Res<()> {
        /// VME to MCE, PGE, PCE, OSFXSR, OSXMMEXCPT: what goes with the features that `cpuid` tells.
        const KNOWN: u64 = 0x7f | CR4_PGE | 1 << 8 | CR4_OSFXSR | CR4_OSXMMEXCPT;
        if value & !KNOWN != 0 || value & CR4_PAE == 0 {
            return Err(Fault::gp());
        }
        self.vcpu.cr4 = value;
        self.vcpu.update_controls();
        self.vcpu.flush_tlb();
        self.vcpu.update_breakpoints();
        Ok(())
    }
}

fn mov_control(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let (to, from) = (i.op0_register(), i.op1_register());
    if from.is_cr() {
        let value = match from {
            Register::CR0 => cx.vcpu.cr0,
            Register::CR2 => cx.vcpu.cr2,
            Register::CR3 => cx.vcpu.cr3,
            Register::CR4 => cx.vcpu.cr4,
            Register::CR8 => u64::from(cx.bus.task_priority()),
            _ => return Err(Fault::ud()),
        };
        cx.vcpu.set_gpr(to, value);
        return go_on(cx, i);
    }
    let value = cx.vcpu.gpr(from);
    match to {
        Register::CR0 => cx.write_cr0(value)?,
        Register::CR2 => cx.vcpu.cr2 = value,
        Register::CR3 => {
            if value >> PHYSICAL_BITS != 0 {
                return Err(Fault::gp());
            }
            cx.vcpu.cr3 = value;
            cx.vcpu.flush_tlb_local();
        }
        Register::CR4 => cx.write_cr4(value)?,
        Register::CR8 if value < 16 => cx.bus.set_task_priority(value as u8),
        Register::CR8 => return Err(Fault::gp()),
        _ => return Err(Fault::ud()),
    }
    go_on(cx, i)
}

/// Goes on behind the instruction, after what changes the meaning of the code behind it.
fn go_on(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    cx.vcpu.rip = cx.next_rip(i);
    Ok(Flow::Goto)
}

fn mov_debug(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let (to, from) = (i.op0_register(), i.op1_register());
    let debug = if to.is_dr() { to } else { from };
    let place = match debug.number() {
        n @ 0..=3 => n,
        4 | 5 if cx.vcpu.cr4 & CR4_DE != 0 => return Err(Fault::ud()),
        4 | 6 => DR6,
        5 | 7 => DR7,
        _ => return Err(Fault::ud()),
    };
    if cx.vcpu.dr[DR7] & DR7_GD != 0 {
        // A fault, not of a breakpoint: behind the handler the instruction is executed.
        cx.vcpu.dr[DR6] |= DR6_BD;
        cx.vcpu.rflags |= flags::RF;
        return Err(Fault::plain(DB));
    }
    if from.is_dr() {
        let value = cx.vcpu.dr[place];
        cx.vcpu.set_gpr(to, value);
        return Ok(Flow::Next);
    }
    let value = cx.vcpu.gpr(from);
    if place >= DR6 && value >> 32 != 0 {
        return Err(Fault::gp());
    }
    cx.vcpu.dr[place] = match place {
        DR6 => value & 0xe00f | 0xffff_0ff0,
        DR7 => value & 0xffff_2bff | 0x400,
        _ => value,
    };
    cx.vcpu.update_breakpoints();
    go_on(cx, i)
}

fn mov_segment(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
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

/// Loads a segment register; behind a load of SS interrupts wait for one instruction.
fn load_segment(cx: &mut Context<'_>, i: &Instruction, number: usize, selector: u16) -> Res<Flow> {
    cx.load_segment(number, selector)?;
    if number == SS {
        (cx.vcpu.inhibit, cx.vcpu.shadow) = (true, true);
        return go_on(cx, i);
    }
    Ok(Flow::Next)
}

fn push_segment(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let selector = cx.vcpu.segments[segment(i.op0_register())].selector;
    cx.push_word(stack::word(i), selector.into())?;
    Ok(Flow::Next)
}

fn pop_segment(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = stack::word(i);
    let rsp = cx.vcpu.r[4];
    let selector = cx.peek(0, size)? as u16;
    let flow = load_segment(cx, i, segment(i.op0_register()), selector)?;
    cx.set_stack_pointer(rsp.wrapping_add(size as u64));
    Ok(flow)
}

fn load_far_pointer(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
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

fn clts(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    cx.vcpu.cr0 &= !CR0_TS;
    cx.vcpu.update_controls();
    Ok(Flow::Next)
}

fn lmsw(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let value = cx.read(i, 0)? & 0xffff;
    // PE can be set, but not cleared.
    const MASK: u64 = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    cx.vcpu.cr0 = cx.vcpu.cr0 & !(MASK & !CR0_PE) | value & MASK;
    cx.vcpu.update_controls();
    go_on(cx, i)
}

fn smsw(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.vcpu.cr0;
    cx.write(i, 0, value)?;
    Ok(Flow::Next)
}

fn load_table(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
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

fn store_table(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let at = cx.linear_address(i)?;
    let size = if cx.vcpu.long { 8 } else { 4 };
    let table = if i.mnemonic() == Mnemonic::Sgdt { cx.vcpu.gdtr } else { cx.vcpu.idtr };
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    cx.store_bytes(at, &bytes[..2 + size])?;
    Ok(Flow::Next)
}

fn lldt(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
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

fn ltr(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
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

fn store_selector(cx: &mut Context<'_>, i: &Instruction, selector: u16) -> Res<Flow> {
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

fn lar(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let selector = cx.read(i, 1)? as u16;
    // LDT, TSS and call gate, which are the ones of long mode.
    let known = |d: &Descriptor| d.system_type().is_none_or(|t| matches!(t, 2 | 9 | 11 | 12));
    let found = cx.descriptor(selector)?.filter(|d| visible(cx, d, selector) && known(d));
    answer(cx, i, found.map(|d| d.rights()))
}

fn lsl(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let selector = cx.read(i, 1)? as u16;
    let known = |d: &Descriptor| d.system_type().is_none_or(|t| matches!(t, 2 | 9 | 11));
    let found = cx.descriptor(selector)?.filter(|d| visible(cx, d, selector) && known(d));
    answer(cx, i, found.map(|d| u64::from(d.limit())))
}

fn verify(cx: &mut Context<'_>, i: &Instruction, test: fn(&Descriptor) -> bool) -> Res<Flow> {
    let selector = cx.read(i, 0)? as u16;
    let found =
        cx.descriptor(selector)?.filter(|d| d.system_type().is_none() && visible(cx, d, selector) && test(d));
    cx.vcpu.flags.change(flags::ZF, if found.is_some() { flags::ZF } else { 0 });
    Ok(Flow::Next)
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

/// IA32_TSC_DEADLINE: compared with the time-stamp counter, offset included. The machine's counter has none.
const TSC_DEADLINE: u32 = 0x6e0;

fn deadline(cx: &mut Context<'_>) -> Res<u64> {
    let value = cx.bus.msr_read(TSC_DEADLINE).ok_or(Fault::gp())?;
    Ok(if value == 0 { 0 } else { value.wrapping_add(cx.vcpu.msr.tsc_offset) })
}

fn set_deadline(cx: &mut Context<'_>, value: u64) -> bool {
    // 0 disarms, so a deadline that becomes 0 without its offset is another that has passed.
    let value = if value == 0 { 0 } else { value.wrapping_sub(cx.vcpu.msr.tsc_offset).max(1) };
    cx.bus.advance(cx.vcpu.instret);
    cx.bus.msr_write(TSC_DEADLINE, value)
}

fn rdmsr(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let msr = cx.vcpu.r[1] as u32;
    let m = &cx.vcpu.msr;
    let value = match msr {
        0x10 => time_stamp(cx),
        // Platform, microcode revision: there is none.
        0x17 | 0x8b => 0,
        0x174 => m.sysenter_cs,
        0x175 => m.sysenter_esp,
        0x176 => m.sysenter_eip,
        0x1a0 => m.misc_enable,
        0x277 => m.pat,
        0xc000_0080 => m.efer,
        0xc000_0081 => m.star,
        0xc000_0082 => m.lstar,
        0xc000_0083 => m.cstar,
        0xc000_0084 => m.fmask,
        0xc000_0100 => cx.vcpu.r[FS_BASE],
        0xc000_0101 => cx.vcpu.r[GS_BASE],
        0xc000_0102 => m.kernel_gs_base,
        0xc000_0103 => m.tsc_aux,
        TSC_DEADLINE => deadline(cx)?,
        _ => cx.bus.msr_read(msr).ok_or(Fault::gp())?,
    };
    cx.vcpu.r[0] = value & 0xffff_ffff;
    cx.vcpu.r[2] = value >> 32;
    Ok(Flow::Next)
}

fn wrmsr(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let msr = cx.vcpu.r[1] as u32;
    let value = cx.vcpu.r[0] & 0xffff_ffff | cx.vcpu.r[2] << 32;
    let canonical = if is_canonical(value) { Ok(value) } else { Err(Fault::gp()) };
    match msr {
        0x10 => {
            let now = cx.bus.tsc(cx.vcpu.instret);
            let deadline = deadline(cx);
            cx.vcpu.msr.tsc_offset = value.wrapping_sub(now);
            if let Ok(deadline) = deadline {
                set_deadline(cx, deadline);
            }
        }
        0x8b => {}
        0x174 => cx.vcpu.msr.sysenter_cs = value & 0xffff_ffff,
        0x175 => cx.vcpu.msr.sysenter_esp = canonical?,
        0x176 => cx.vcpu.msr.sysenter_eip = canonical?,
        0x1a0 => cx.vcpu.msr.misc_enable = value,
        0x277 => {
            // Each byte is one of the memory types 0, 1, 4 to 7.
            if value.to_le_bytes().iter().any(|t| !matches!(t, 0 | 1 | 4..=7)) {
                return Err(Fault::gp());
            }
            cx.vcpu.msr.pat = value;
        }
        0xc000_0080 => {
            const KNOWN: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
            // Long mode stays: without it there would be nothing to run in.
            if value & !KNOWN != 0 || value & EFER_LME == 0 {
                return Err(Fault::gp());
            }
            let changed = value ^ cx.vcpu.msr.efer;
            cx.vcpu.msr.efer = value | EFER_LMA;
            if changed & EFER_NXE != 0 {
                cx.vcpu.flush_tlb();
            }
        }
        0xc000_0081 => cx.vcpu.msr.star = value,
        0xc000_0082 => cx.vcpu.msr.lstar = canonical?,
        0xc000_0083 => cx.vcpu.msr.cstar = canonical?,
        0xc000_0084 => cx.vcpu.msr.fmask = value & 0xffff_ffff,
        0xc000_0100 => cx.vcpu.r[FS_BASE] = canonical?,
        0xc000_0101 => cx.vcpu.r[GS_BASE] = canonical?,
        0xc000_0102 => cx.vcpu.msr.kernel_gs_base = canonical?,
        0xc000_0103 if value >> 32 == 0 => cx.vcpu.msr.tsc_aux = value,
        TSC_DEADLINE if set_deadline(cx, value) => {}
        _ if msr != TSC_DEADLINE && cx.bus.msr_write(msr, value) => {}
        _ => return Err(Fault::gp()),
    }
    go_on(cx, i)
}

/// The time-stamp counter as programs see it.
fn time_stamp(cx: &mut Context<'_>) -> u64 {
    cx.bus.tsc(cx.vcpu.instret).wrapping_add(cx.vcpu.msr.tsc_offset)
}

fn rdtsc(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    if cx.vcpu.cr4 & CR4_TSD != 0 && cx.vcpu.cpl != 0 {
        return Err(Fault::gp());
    }
    let value = time_stamp(cx);
    cx.vcpu.r[0] = value & 0xffff_ffff;
    cx.vcpu.r[2] = value >> 32;
    if i.mnemonic() == Mnemonic::Rdtscp {
        cx.vcpu.r[1] = cx.vcpu.msr.tsc_aux;
    }
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
    // The instruction behind is executed before any interrupt: `sti; hlt` must not lose one.
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

/// Port number: an immediate or DX.
fn port(cx: &Context<'_>, i: &Instruction, n: u32) -> u16 {
    if i.op_kind(n) == OpKind::Register {
        cx.vcpu.r[number(Register::DX)] as u16
    } else {
        i.immediate8().into()
    }
}

fn port_in(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (port, to) = (port(cx, i, 1), i.op0_register());
    cx.io_permitted(port, to.size() as u8)?;
    cx.bus.advance(cx.vcpu.instret);
    let value = cx.bus.port_in(port, to.size() as u8);
    cx.vcpu.note_port(port, to.size());
    cx.vcpu.set_gpr(to, value.into());
    Ok(Flow::Next)
}

fn port_out(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (port, from) = (port(cx, i, 0), i.op1_register());
    cx.io_permitted(port, from.size() as u8)?;
    let value = cx.vcpu.gpr(from) as u32;
    cx.bus.advance(cx.vcpu.instret);
    let exit = cx.bus.port_out(port, from.size() as u8, value);
    cx.vcpu.note_port(port, from.size());
    cx.drop_dirty_code();
    match exit {
        Some(exit) => {
            cx.vcpu.rip = cx.next_rip(i);
            Ok(Flow::Exit(exit))
        }
        None => Ok(Flow::Next),
    }
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
