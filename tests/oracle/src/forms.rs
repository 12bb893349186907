//! The instructions that the guest's processor has, as iced-x86 numbers their forms, and those that are not
//! compared.

use crate::case::Mode;
use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic};

/// What the guest's processor advertises: x86-64-v2, and what is beside it.
const FEATURES: &[CpuidFeature] = {
    use CpuidFeature::*;
    &[
        INTEL8086,
        INTEL186,
        INTEL286,
        INTEL386,
        INTEL486,
        X64,
        CMOV,
        CX8,
        CMPXCHG16B,
        FPU,
        FPU287,
        FPU387,
        FXSR,
        MMX,
        SSE,
        SSE2,
        SSE3,
        SSSE3,
        SSE4_1,
        SSE4_2,
        POPCNT,
        MOVBE,
        BMI1,
        BMI2,
        LZCNT,
        AES,
        PCLMULQDQ,
        SHA,
        PAUSE,
        MULTIBYTENOP,
        CLFSH,
        MSR,
        PREFETCHW,
    ]
};

/// Why an instruction is left out.
fn excluded_mnemonic(mnemonic: Mnemonic) -> Option<&'static str> {
    use Mnemonic::*;
    Some(match mnemonic {
        Rdtsc | Rdtscp | Rdpmc | Rdrand | Rdseed | Cpuid | Xgetbv => {
            "gives something else each time, or elsewhere"
        }
        Syscall | Sysenter | Sysexit | Sysret | Sysretq | Sysexitq | Int | Int1 => {
            "goes to the host's kernel"
        }
        Sgdt | Sidt | Sldt | Str | Smsw => "the host has UMIP, and its kernel emulates them",
        Lar | Lsl | Verr | Verw => "tells of the host's descriptor table",
        Iret | Iretd | Iretq => "leaves for anywhere",
        Hlt | Clts | Invd | Wbinvd | Invlpg | Lgdt | Lidt | Lldt | Ltr | Lmsw | Swapgs | Rdmsr | Wrmsr => {
            return None;
        }
        Getsec | Rsm | Montmul | Loadall | Umov | Ibts | Xbts | Fnstdw | Fnstsg | Fstdw | Fstsg => {
            "not of this processor"
        }
        _ => return None,
    })
}

/// Forms that processors of different makers have, or take differently.
fn excluded_form(code: Code) -> Option<&'static str> {
    let info = code.op_code();
    if info.amd_decoder64() != info.intel_decoder64() || info.amd_decoder32() != info.intel_decoder32() {
        return Some("only one maker has it");
    }
    Some(match code {
        Code::Jmp_m1664
        | Code::Call_m1664
        | Code::Lss_r64_m1664
        | Code::Lfs_r64_m1664
        | Code::Lgs_r64_m1664 => "AMD has no 64-bit far pointers",
        Code::Reservednop_rm16_r16_0F0D
        | Code::Reservednop_rm32_r32_0F0D
        | Code::Reservednop_rm64_r64_0F0D => "AMD has no registers for PREFETCHW's opcode",
        _ if matches!(code.mnemonic(), Mnemonic::Ud0 | Mnemonic::Ud1) => {
            "AMD reads no ModRM byte, Intel does: differs where that byte cannot be fetched"
        }
        _ if code.is_jmp_far()
            || code.is_call_far()
            || code.is_jmp_far_indirect()
            || code.is_call_far_indirect() =>
        {
            "goes to any descriptor of the host"
        }
        _ if matches!(code.mnemonic(), Mnemonic::Retf) => "goes to any descriptor of the host",
        _ => return None,
    })
}

/// Why a form is not compared with the host, of those that the guest's processor has.
pub fn excluded(code: Code) -> Option<&'static str> {
    excluded_mnemonic(code.mnemonic()).or_else(|| excluded_form(code))
}

/// Whether the guest's processor has a form.
pub fn is_of_the_guest(code: Code) -> bool {
    code.cpuid_features().iter().all(|feature| FEATURES.contains(feature))
}

/// All forms that exist in a mode and can be compared.
pub fn forms(mode: Mode) -> Vec<Code> {
    Code::values()
        .filter(|&code| {
            let info = code.op_code();
            info.is_instruction()
                && info.is_available_in_mode(mode.bits())
                && info.decoder_option() == 0
                && matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
                && !info.fwait()
                && is_of_the_guest(code)
                && excluded(code).is_none()
        })
        .collect()
}
