//! One SSE instruction executed by the host, with MXCSR set before and read after.

use std::arch::asm;

/// What an instruction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The destination, or 0 if the instruction faulted.
    pub(crate) result: u64,
    pub(crate) mxcsr: u32,
    pub(crate) faulted: bool,
}

/// Where a result may be.
struct Registers {
    xmm: u64,
    rax: u64,
}

/// The bits of MXCSR that mask exceptions.
pub(crate) const MASKS: u32 = 0x1f80;

/// The fault handler: makes the faulting instruction go on at the address in R14, everything masked.
extern "C" fn resume(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context, which is the handler's to change, to a handler with
    // SA_SIGINFO.
    unsafe {
        let context = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        context.gregs[libc::REG_RIP as usize] = context.gregs[libc::REG_R14 as usize];
        (*context.fpregs).mxcsr |= MASKS;
    }
}

/// Lets unmasked exceptions be survived, in this whole process.
pub(crate) fn catch_faults() {
    // SAFETY: a zeroed sigaction is valid; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = resume as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGFPE, &action, std::ptr::null_mut()), 0);
    }
}

/// Executes an instruction. In its text XMM1 is the first operand, and the destination, XMM2 the second, RAX
/// an integer, in and out.
macro_rules! execute {
    ($a:expr, $b:expr, $mxcsr:expr, $($text:literal),+) => {{
        let (mxcsr, mut after, mut saved): (u32, u32, u32) = ($mxcsr, 0, 0);
        let (mut low, mut rax): (u64, u64) = ($a, $a);
        // SAFETY: the text changes the registers named and MXCSR, which is put back; a fault goes on at the
        // label.
        unsafe {
            asm!(
                "stmxcsr [{saved}]",
                "lea r14, [rip + 2f]",
                "movq xmm1, {low}",
                "movq xmm2, {b}",
                "ldmxcsr [{mxcsr}]",
                $($text,)+
                "2:",
                "stmxcsr [{after}]",
                "ldmxcsr [{saved}]",
                "movq {low}, xmm1",
                saved = in(reg) &raw mut saved, mxcsr = in(reg) &raw const mxcsr, after = in(reg) &raw mut after,
                low = inout(reg) low, b = in(reg) $b, inout("rax") rax,
                out("r14") _, out("xmm1") _, out("xmm2") _,
            );
        }
        (Registers { xmm: low, rax }, after)
    }};
}

/// One function for an instruction; `$mask` are the bits of the result that count, `$register` where it is.
macro_rules! instruction {
    ($($name:ident: $register:ident & $mask:literal = $($text:literal),+;)+) => {
        $(pub(crate) fn $name(a: u64, b: u64, mxcsr: u32) -> Answer {
            let (registers, after) = execute!(a, b, mxcsr, $($text),+);
            let faulted = after & MASKS != mxcsr & MASKS;
            let result = if faulted { 0 } else { registers.$register & $mask };
            Answer { result, mxcsr: after & !MASKS | mxcsr & MASKS, faulted }
        })+
    };
}

instruction! {
    addss: xmm & 0xffff_ffff = "addss xmm1, xmm2";
    addsd: xmm & 0xffff_ffff_ffff_ffff = "addsd xmm1, xmm2";
    subss: xmm & 0xffff_ffff = "subss xmm1, xmm2";
    subsd: xmm & 0xffff_ffff_ffff_ffff = "subsd xmm1, xmm2";
    mulss: xmm & 0xffff_ffff = "mulss xmm1, xmm2";
    mulsd: xmm & 0xffff_ffff_ffff_ffff = "mulsd xmm1, xmm2";
    divss: xmm & 0xffff_ffff = "divss xmm1, xmm2";
    divsd: xmm & 0xffff_ffff_ffff_ffff = "divsd xmm1, xmm2";
    minss: xmm & 0xffff_ffff = "minss xmm1, xmm2";
    minsd: xmm & 0xffff_ffff_ffff_ffff = "minsd xmm1, xmm2";
    maxss: xmm & 0xffff_ffff = "maxss xmm1, xmm2";
    maxsd: xmm & 0xffff_ffff_ffff_ffff = "maxsd xmm1, xmm2";
    sqrtss: xmm & 0xffff_ffff = "sqrtss xmm1, xmm1";
    sqrtsd: xmm & 0xffff_ffff_ffff_ffff = "sqrtsd xmm1, xmm1";
    cvtss2sd: xmm & 0xffff_ffff_ffff_ffff = "cvtss2sd xmm1, xmm1";
    cvtsd2ss: xmm & 0xffff_ffff = "cvtsd2ss xmm1, xmm1";
    cvtss2si32: rax & 0xffff_ffff = "cvtss2si eax, xmm1";
    cvtss2si64: rax & 0xffff_ffff_ffff_ffff = "cvtss2si rax, xmm1";
    cvtsd2si32: rax & 0xffff_ffff = "cvtsd2si eax, xmm1";
    cvtsd2si64: rax & 0xffff_ffff_ffff_ffff = "cvtsd2si rax, xmm1";
    cvttss2si32: rax & 0xffff_ffff = "cvttss2si eax, xmm1";
    cvttss2si64: rax & 0xffff_ffff_ffff_ffff = "cvttss2si rax, xmm1";
    cvttsd2si32: rax & 0xffff_ffff = "cvttsd2si eax, xmm1";
    cvttsd2si64: rax & 0xffff_ffff_ffff_ffff = "cvttsd2si rax, xmm1";
    cvtsi2ss32: xmm & 0xffff_ffff = "cvtsi2ss xmm1, eax";
    cvtsi2ss64: xmm & 0xffff_ffff = "cvtsi2ss xmm1, rax";
    cvtsi2sd32: xmm & 0xffff_ffff_ffff_ffff = "cvtsi2sd xmm1, eax";
    cvtsi2sd64: xmm & 0xffff_ffff_ffff_ffff = "cvtsi2sd xmm1, rax";
    roundss_nearest: xmm & 0xffff_ffff = "roundss xmm1, xmm1, 0";
    roundss_up_quiet: xmm & 0xffff_ffff = "roundss xmm1, xmm1, 10";
    roundss_mxcsr: xmm & 0xffff_ffff = "roundss xmm1, xmm1, 4";
    roundsd_down: xmm & 0xffff_ffff_ffff_ffff = "roundsd xmm1, xmm1, 1";
    roundsd_zero_quiet: xmm & 0xffff_ffff_ffff_ffff = "roundsd xmm1, xmm1, 11";
    roundsd_mxcsr: xmm & 0xffff_ffff_ffff_ffff = "roundsd xmm1, xmm1, 4";
    // ZF, PF and CF.
    comiss: rax & 0x4500 = "comiss xmm1, xmm2", "lahf";
    comisd: rax & 0x4500 = "comisd xmm1, xmm2", "lahf";
    ucomiss: rax & 0x4500 = "ucomiss xmm1, xmm2", "lahf";
    ucomisd: rax & 0x4500 = "ucomisd xmm1, xmm2", "lahf";
    cmpss0: xmm & 1 = "cmpss xmm1, xmm2, 0";
    cmpss1: xmm & 1 = "cmpss xmm1, xmm2, 1";
    cmpss2: xmm & 1 = "cmpss xmm1, xmm2, 2";
    cmpss3: xmm & 1 = "cmpss xmm1, xmm2, 3";
    cmpss4: xmm & 1 = "cmpss xmm1, xmm2, 4";
    cmpss5: xmm & 1 = "cmpss xmm1, xmm2, 5";
    cmpss6: xmm & 1 = "cmpss xmm1, xmm2, 6";
    cmpss7: xmm & 1 = "cmpss xmm1, xmm2, 7";
    cmpsd0: xmm & 1 = "cmpsd xmm1, xmm2, 0";
    cmpsd1: xmm & 1 = "cmpsd xmm1, xmm2, 1";
    cmpsd2: xmm & 1 = "cmpsd xmm1, xmm2, 2";
    cmpsd3: xmm & 1 = "cmpsd xmm1, xmm2, 3";
    cmpsd4: xmm & 1 = "cmpsd xmm1, xmm2, 4";
    cmpsd5: xmm & 1 = "cmpsd xmm1, xmm2, 5";
    cmpsd6: xmm & 1 = "cmpsd xmm1, xmm2, 6";
    cmpsd7: xmm & 1 = "cmpsd xmm1, xmm2, 7";
}
