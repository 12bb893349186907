//! Model-specific registers and the time-stamp counter.

use super::{go_on, privileged};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{Fault, Res};
use crate::cpu::x86::handler::Flow;
use crate::cpu::x86::mmu::is_canonical;
use crate::cpu::x86::state::{CR4_TSD, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, FS_BASE, GS_BASE};
use iced_x86::{Instruction, Mnemonic};

// Numbers of the registers (SDM vol. 4 table 2-2).
const TIME_STAMP_COUNTER: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const BIOS_SIGN_ID: u32 = 0x8b;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
const MISC_ENABLE: u32 = 0x1a0;
const PAT: u32 = 0x277;
const EFER: u32 = 0xc000_0080;
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const FMASK: u32 = 0xc000_0084;
const FS_BASE_MSR: u32 = 0xc000_0100;
const GS_BASE_MSR: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const TSC_AUX: u32 = 0xc000_0103;
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

pub(super) fn rdmsr(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let msr = cx.vcpu.r[1] as u32;
    let m = &cx.vcpu.msr;
    let value = match msr {
        TIME_STAMP_COUNTER => time_stamp(cx),
        // Platform, microcode revision: there is none.
        PLATFORM_ID | BIOS_SIGN_ID => 0,
        SYSENTER_CS => m.sysenter_cs,
        SYSENTER_ESP => m.sysenter_esp,
        SYSENTER_EIP => m.sysenter_eip,
        MISC_ENABLE => m.misc_enable,
        PAT => m.pat,
        EFER => m.efer,
        STAR => m.star,
        LSTAR => m.lstar,
        CSTAR => m.cstar,
        FMASK => m.fmask,
        FS_BASE_MSR => cx.vcpu.r[FS_BASE],
        GS_BASE_MSR => cx.vcpu.r[GS_BASE],
        KERNEL_GS_BASE => m.kernel_gs_base,
        TSC_AUX => m.tsc_aux,
        TSC_DEADLINE => deadline(cx)?,
        _ => cx.bus.msr_read(msr).ok_or(Fault::gp())?,
    };
    cx.vcpu.r[0] = value & 0xffff_ffff;
    cx.vcpu.r[2] = value >> 32;
    Ok(Flow::Next)
}

pub(super) fn wrmsr(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    privileged(cx)?;
    let msr = cx.vcpu.r[1] as u32;
    let value = cx.vcpu.r[0] & 0xffff_ffff | cx.vcpu.r[2] << 32;
    let canonical = if is_canonical(value) { Ok(value) } else { Err(Fault::gp()) };
    match msr {
        TIME_STAMP_COUNTER => {
            let now = cx.bus.tsc(cx.vcpu.instret);
            let deadline = deadline(cx);
            cx.vcpu.msr.tsc_offset = value.wrapping_sub(now);
            if let Ok(deadline) = deadline {
                set_deadline(cx, deadline);
            }
        }
        BIOS_SIGN_ID => {}
        SYSENTER_CS => cx.vcpu.msr.sysenter_cs = value & 0xffff_ffff,
        SYSENTER_ESP => cx.vcpu.msr.sysenter_esp = canonical?,
        SYSENTER_EIP => cx.vcpu.msr.sysenter_eip = canonical?,
        MISC_ENABLE => cx.vcpu.msr.misc_enable = value,
        PAT => {
            // Each byte is one of the memory types 0, 1, 4 to 7.
            if value.to_le_bytes().iter().any(|t| !matches!(t, 0 | 1 | 4..=7)) {
                return Err(Fault::gp());
            }
            cx.vcpu.msr.pat = value;
        }
        EFER => {
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
        STAR => cx.vcpu.msr.star = value,
        LSTAR => cx.vcpu.msr.lstar = canonical?,
        CSTAR => cx.vcpu.msr.cstar = canonical?,
        FMASK => cx.vcpu.msr.fmask = value & 0xffff_ffff,
        FS_BASE_MSR => cx.vcpu.r[FS_BASE] = canonical?,
        GS_BASE_MSR => cx.vcpu.r[GS_BASE] = canonical?,
        KERNEL_GS_BASE => cx.vcpu.msr.kernel_gs_base = canonical?,
        TSC_AUX if value >> 32 == 0 => cx.vcpu.msr.tsc_aux = value,
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

pub(super) fn rdtsc(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
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
