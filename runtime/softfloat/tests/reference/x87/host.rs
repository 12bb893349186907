//! One x87 instruction executed by the host, on a fresh FPU with ST(0) and ST(1) loaded.

use forelift_softfloat::x87::F80;
use std::arch::asm;

/// What FNSAVE writes in 64-bit mode.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Image([u8; 112]);

/// The FPU after an instruction, and the memory that it had for its operand.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    image: Image,
    pub(crate) memory: [u8; 16],
}

impl Answer {
    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.image.0[at], self.image.0[at + 1]])
    }

    pub(crate) fn status(&self) -> u16 {
        self.word(4)
    }

    /// The exception flags.
    pub(crate) fn flags(&self) -> u8 {
        self.status() as u8 & 0x3f
    }

    /// C0, C1, C2 or C3.
    pub(crate) fn condition(&self, number: usize) -> bool {
        self.status() >> [8, 9, 10, 14][number] & 1 != 0
    }

    pub(crate) fn st(&self, number: usize) -> F80 {
        F80::from_bytes(self.image.0[28 + 10 * number..][..10].try_into().unwrap())
    }
}

/// Executes an instruction that may have an operand in memory, at RCX. The operands and the control word are
/// read first; nothing waits for an exception that comes up.
macro_rules! execute {
    ($st0:expr, $st1:expr, $memory:expr, $control:expr, $text:literal) => {{
        let (st0, st1, control): ([u8; 10], [u8; 10], u16) = ($st0.to_bytes(), $st1.to_bytes(), $control);
        let mut answer = Answer { image: Image([0; 112]), memory: $memory };
        // SAFETY: FNSAVE leaves the FPU as the ABI wants it, with an empty stack and the default control word
        // (FNINIT's, which is Linux's).
        unsafe {
            asm!(
                "fninit",
                "fld tbyte ptr [{st1}]",
                "fld tbyte ptr [{st0}]",
                "fldcw [{control}]",
                $text,
                "fnsave [{image}]",
                st0 = in(reg) &raw const st0, st1 = in(reg) &raw const st1, control = in(reg) &raw const control,
                image = in(reg) &raw mut answer.image, in("rcx") &raw mut answer.memory,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        answer
    }};
}

macro_rules! instructions {
    ($($name:ident = $text:literal;)+) => {
        $(pub(crate) fn $name(st0: F80, st1: F80, memory: [u8; 16], control: u16) -> Answer {
            execute!(st0, st1, memory, control, $text)
        })+
    };
}

instructions! {
    fadd = "fadd st(0), st(1)";
    fsub = "fsub st(0), st(1)";
    fmul = "fmul st(0), st(1)";
    fdiv = "fdiv st(0), st(1)";
    fsqrt = "fsqrt";
    frndint = "frndint";
    fscale = "fscale";
    fxtract = "fxtract";
    fprem = "fprem";
    fprem1 = "fprem1";
    fcom = "fcom st(1)";
    fucom = "fucom st(1)";
    fxam = "fxam";
    fadd_m32 = "fadd dword ptr [rcx]";
    fmul_m64 = "fmul qword ptr [rcx]";
    fcom_m64 = "fcom qword ptr [rcx]";
    fdivr_m32 = "fdivr dword ptr [rcx]";
    fiadd_m16 = "fiadd word ptr [rcx]";
    fidiv_m32 = "fidiv dword ptr [rcx]";
    fld_m32 = "fld dword ptr [rcx]";
    fld_m64 = "fld qword ptr [rcx]";
    fild_m16 = "fild word ptr [rcx]";
    fild_m32 = "fild dword ptr [rcx]";
    fild_m64 = "fild qword ptr [rcx]";
    fbld = "fbld tbyte ptr [rcx]";
    fst_m32 = "fst dword ptr [rcx]";
    fst_m64 = "fst qword ptr [rcx]";
    fist_m16 = "fist word ptr [rcx]";
    fist_m32 = "fist dword ptr [rcx]";
    fistp_m64 = "fistp qword ptr [rcx]";
    fisttp_m16 = "fisttp word ptr [rcx]";
    fisttp_m32 = "fisttp dword ptr [rcx]";
    fisttp_m64 = "fisttp qword ptr [rcx]";
    fbstp = "fbstp tbyte ptr [rcx]";
    f2xm1 = "f2xm1";
    fyl2x = "fyl2x";
    fyl2xp1 = "fyl2xp1";
    fptan = "fptan";
    fpatan = "fpatan";
    fsin = "fsin";
    fcos = "fcos";
    fsincos = "fsincos";
}
