//! What is not compared: what the manual leaves undefined, or vendors do differently.

use crate::case::{Case, Mode, RCX, flag, number};
use crate::layout::{DATA, DATA_SIZE, HIGH, STACK, STACK_SIZE};
use iced_x86::{Instruction, Mnemonic, OpKind, RflagsBits};
use std::ops::Range;

/// Parts of an outcome that are not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undefined {
    /// Bits of RFLAGS.
    pub flags: u64,
    /// Bits of the x87 status word.
    pub fsw: u16,
    /// General registers, as bits.
    pub registers: u32,
    /// The operand in memory.
    pub memory: bool,
    /// x87 and MMX registers with their tags and TOP: where makers disagree when MMX's use of them begins.
    pub x87: bool,
    /// General registers, as bits, of which the upper half is not compared.
    pub upper_halves: u32,
    /// Bytes of the case's memory.
    pub bytes: Vec<Range<usize>>,
    /// Which NaN a NaN in an XMM register is.
    pub nans: bool,
    /// Results are approximations: bits at the end of each 32-bit lane, or of each x87 register, that may
    /// differ.
    pub approximate: Approximate,
}

/// Results that are approximations by definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approximate {
    /// None.
    #[default]
    Exact,
    /// Singles with a relative error of at most 1.5 * 2^-12 (`rcpps`, `rsqrtps`).
    Reciprocal,
    /// Within a unit in the last place (x87 transcendental instructions).
    UnitInLastPlace,
}

/// x87 condition codes.
pub const C0: u16 = 1 << 8;
/// Rounded up, or stack overflow.
pub const C1: u16 = 1 << 9;
/// Incomplete.
pub const C2: u16 = 1 << 10;
/// Equal.
pub const C3: u16 = 1 << 14;

/// Precision exception.
const PE: u16 = 1 << 5;
/// Underflow exception, and its mask.
const UE: u16 = 1 << 4;
/// Summary of exceptions, twice.
const SUMMARY: u16 = 0x8080;

/// Whether an operand is one for which an instruction has no defined result.
fn out_of_range(mnemonic: Mnemonic, st0: u128) -> bool {
    let (exponent, mantissa) = ((st0 >> 64) as u32 & 0x7fff, st0 as u64);
    match mnemonic {
        // More than 1 in magnitude, infinities and NaNs apart.
        Mnemonic::F2xm1 => {
            exponent < 0x7fff && (exponent > 0x3fff || exponent == 0x3fff && mantissa != 1 << 63)
        }
        // About 1 - sqrt(2)/2 and more.
        Mnemonic::Fyl2xp1 => (0x3ffd..0x7fff).contains(&exponent),
        _ => false,
    }
}

/// iced-x86's flags as RFLAGS bits.
fn rflags(bits: u32) -> u64 {
    [
        (RflagsBits::OF, flag::OF),
        (RflagsBits::SF, flag::SF),
        (RflagsBits::ZF, flag::ZF),
        (RflagsBits::AF, flag::AF),
        (RflagsBits::CF, flag::CF),
        (RflagsBits::PF, flag::PF),
    ]
    .into_iter()
    .filter(|(iced, _)| bits & iced != 0)
    .map(|(_, flag)| flag)
    .sum()
}

/// What is undefined when `i` is executed from the state of `case`.
pub fn undefined(i: &Instruction, case: &Case) -> Undefined {
    use Mnemonic::*;
    let mut out = Undefined { flags: rflags(i.rflags_undefined()), ..Undefined::default() };
    let width = match i.op0_kind() {
        OpKind::Register => 8 * i.op0_register().size() as u64,
        _ => 8 * i.memory_size().size() as u64,
    };
    match i.mnemonic() {
        Shl | Sal | Shr | Sar | Rol | Ror | Rcl | Rcr => {
            let count = count(i, case, 1);
            let masked = count & if width == 64 { 63 } else { 31 };
            let rotates = matches!(i.mnemonic(), Rol | Ror | Rcl | Rcr);
            out.flags = match masked {
                0 => 0,
                // SDM vol. 2 SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR: OF is defined for counts of 1.
                1 => {
                    if rotates {
                        0
                    } else {
                        flag::AF
                    }
                }
                _ if rotates => flag::OF,
                // CF is undefined for shl and shr by the operand's width and more.
                n if n >= width && i.mnemonic() != Sar => flag::AF | flag::OF | flag::CF,
                _ => flag::AF | flag::OF,
            };
        }
        Shld | Shrd => {
            let masked = count(i, case, 2) & if width == 64 { 63 } else { 31 };
            out.flags = match masked {
                0 => 0,
                1 => flag::AF,
                _ => flag::AF | flag::OF,
            };
            if masked > width {
                // SDM vol. 2 SHLD: a count beyond the operand's width leaves result and flags undefined.
                out.flags = flag::ARITHMETIC;
                match i.op0_kind() {
                    OpKind::Register => out.registers |= 1 << number(i.op0_register()),
                    _ => out.memory = true,
                }
            }
        }
        Rcpps | Rcpss | Rsqrtps | Rsqrtss => out.approximate = Approximate::Reciprocal,
        F2xm1 | Fyl2x | Fyl2xp1 | Fptan | Fpatan | Fsin | Fcos | Fsincos => {
            out.approximate = Approximate::UnitInLastPlace;
            // Whether an approximation is exact is up to the maker, too.
            out.fsw = C0 | C3 | C1 | PE | UE | SUMMARY;
            // SDM vol. 2 F2XM1, FYL2XP1, FSIN, ...: results outside of the source's range are undefined.
            // An underflow that is not masked scales the result, if it is one.
            out.x87 = out_of_range(i.mnemonic(), case.state.fx.st[0]) || case.state.fx.cw & UE == 0;
        }
        _ => {}
    }
    out.fsw |= x87_conditions(i.mnemonic());
    out
}

/// A shift's count.
fn count(i: &Instruction, case: &Case, operand: u32) -> u64 {
    match i.op_kind(operand) {
        OpKind::Register => case.state.r[RCX] & 0xff,
        _ => i.immediate(operand) & 0xff,
    }
}

/// Condition codes that an x87 instruction leaves undefined (SDM vol. 1 table 8-1 and each instruction's
/// page).
fn x87_conditions(mnemonic: Mnemonic) -> u16 {
    use Mnemonic::*;
    match mnemonic {
        Fcom | Fcomp | Fcompp | Fucom | Fucomp | Fucompp | Ftst | Fxam | Ficom | Ficomp | Fprem | Fprem1 => 0,
        Fadd | Faddp | Fiadd | Fsub | Fsubp | Fsubr | Fsubrp | Fisub | Fisubr | Fmul | Fmulp | Fimul
        | Fdiv | Fdivp | Fdivr | Fdivrp | Fidiv | Fidivr | Fsqrt | Fscale | Frndint | Fxtract | Fabs
        | Fchs | Fld | Fild | Fbld | Fst | Fstp | Fist | Fistp | Fisttp | Fbstp | Fxch | Fld1 | Fldz
        | Fldpi | Fldl2e | Fldl2t | Fldlg2 | Fldln2 | Fcmovb | Fcmovbe | Fcmove | Fcmovnb | Fcmovnbe
        | Fcmovne | Fcmovnu | Fcmovu | Fincstp | Fdecstp | Fcomi | Fcomip | Fucomi | Fucomip => C0 | C2 | C3,
        Fldcw | Fnstcw | Ffree | Fnop | Ffreep | Fnclex => C0 | C1 | C2 | C3,
        _ => 0,
    }
}

/// The bytes of memory that hold addresses of x87 instructions and operands, which AMD's processors only keep
/// for instructions that raised an exception (AMD APM vol. 2, 11.4.4), and bytes that are reserved: from and
/// to, in the operand.
pub fn unspecified_bytes(i: &Instruction, mode: Mode) -> &'static [(usize, usize)] {
    use Mnemonic::*;
    match i.mnemonic() {
        Fnstenv | Fnsave if i.memory_size().size() % 4 == 2 => &[(6, 14)],
        Fnstenv | Fnsave => &[(12, 28)],
        // Beyond the registers of a mode, and what software may use, nothing need be written.
        Fxsave | Fxsave64 if mode == Mode::Long => &[(5, 24), (28, 32), (416, 512)],
        Fxsave | Fxsave64 => &[(5, 24), (28, 32), (288, 512)],
        _ => &[],
    }
}

/// Where an address is in the memory of a case.
pub fn offset(address: u64) -> Option<usize> {
    let within = |base: u64, size: usize| address.wrapping_sub(base) < size as u64;
    if within(DATA, DATA_SIZE) {
        Some((address - DATA) as usize)
    } else if within(HIGH, DATA_SIZE) {
        Some((address - HIGH) as usize)
    } else {
        within(STACK, STACK_SIZE).then(|| (address - STACK) as usize + DATA_SIZE)
    }
}
