//! Control registers and debug registers.

use super::{go_on, privileged};
use crate::cpu::x86::debug::{DR6, DR6_BD, DR7, DR7_GD};
use crate::cpu::x86::fault::{DB, Fault, Res};
use crate::cpu::x86::handler::Flow;
use crate::cpu::x86::mmu::PHYSICAL_BITS;
use crate::cpu::x86::state::{
    CR0_EM, CR0_ET, CR0_MP, CR0_PE, CR0_PG, CR0_TS, CR0_WP, CR4_DE, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_PAE,
    CR4_PGE,
};
use crate::cpu::x86::{Context, flags};
use iced_x86::{Instruction, Register};

impl Context<'_> {
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

pub(super) fn mov_control(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
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

pub(super) fn mov_debug(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
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
        // A fault, not a breakpoint: after the handler the instruction is executed.
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

pub(super) fn clts(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    cx.vcpu.cr0 &= !CR0_TS;
    cx.vcpu.update_controls();
    Ok(Flow::Next)
}

pub(super) fn lmsw(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let value = cx.read(i, 0)? & 0xffff;
    // PE can be set, but not cleared.
    const MASK: u64 = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    cx.vcpu.cr0 = cx.vcpu.cr0 & !(MASK & !CR0_PE) | value & MASK;
    cx.vcpu.update_controls();
    go_on(cx, i)
}

pub(super) fn smsw(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.vcpu.cr0;
    cx.write(i, 0, value)?;
    Ok(Flow::Next)
}
