//! MMX, SSE to SSE4.2, AES-NI, PCLMULQDQ and SHA, in their legacy encodings.
//!
//! What an instruction computes is a pure function of byte arrays, generic over their length where MMX and
//! SSE share it: 8 bytes are an MMX register, 16 an XMM register, elements lie in them in little-endian
//! order. This module fetches operands and checks whether the instruction may be executed (SDM vol. 2 2.4,
//! vol. 3 2.5).

pub(crate) mod aes;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod float;
pub(crate) mod moves;
pub(crate) mod packed_int;
pub(crate) mod polynomial;
pub(crate) mod sha;
pub(crate) mod shuffle;
pub(crate) mod string;

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{Fault, MF, NM, Res};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::state::{CR0_EM, CR0_TS, CR4_OSFXSR, Vcpu};
use iced_x86::{Instruction, OpKind, Register};

/// The function for an instruction, if it is one of these.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    moves::handler(i)
        .or_else(|| packed_int::handler(i))
        .or_else(|| shuffle::handler(i))
        .or_else(|| float::handler(i))
        .or_else(|| compare::handler(i))
        .or_else(|| convert::handler(i))
        .or_else(|| string::handler(i))
        .or_else(|| aes::handler(i))
        .or_else(|| polynomial::handler(i))
        .or_else(|| sha::handler(i))
}

/// A handler that is a closure without captures.
macro_rules! run {
    ($execute:expr) => {{
        const HANDLER: $crate::cpu::x86::handler::Handler = $execute;
        HANDLER
    }};
}
use run;

/// A function of two operands, for the XMM registers.
macro_rules! xmm {
    ($f:expr) => {
        run!(|cx, i| binary::<16>(cx, i, $f))
    };
}
use xmm;

/// A generic function of two operands, for the kind of registers that the instruction names.
macro_rules! both {
    ($i:expr, $f:ident) => {
        if $i.op0_register().is_mm() {
            run!(|cx, i| binary::<8>(cx, i, $f::<8>))
        } else {
            run!(|cx, i| binary::<16>(cx, i, $f::<16>))
        }
    };
}
use both;

/// An element of a vector.
pub(crate) trait Lane: Copy {
    /// Size in bytes.
    const SIZE: usize;
    /// Element `n` of a vector.
    fn get(bytes: &[u8], n: usize) -> Self;
    /// Writes element `n` of a vector.
    fn put(self, bytes: &mut [u8], n: usize);
}

macro_rules! lane {
    ($($int:ty)+) => {
        $(impl Lane for $int {
            const SIZE: usize = size_of::<$int>();
            #[inline(always)]
            fn get(bytes: &[u8], n: usize) -> Self {
                let mut element = [0; size_of::<$int>()];
                element.copy_from_slice(&bytes[n * Self::SIZE..][..Self::SIZE]);
                Self::from_le_bytes(element)
            }
            #[inline(always)]
            fn put(self, bytes: &mut [u8], n: usize) {
                bytes[n * Self::SIZE..][..Self::SIZE].copy_from_slice(&self.to_le_bytes());
            }
        })+
    };
}
lane!(u8 i8 u16 i16 u32 i32 u64 i64);

/// `f` of each element.
#[inline(always)]
pub(crate) fn map<T: Lane, const N: usize>(a: [u8; N], mut f: impl FnMut(T) -> T) -> [u8; N] {
    let mut result = [0; N];
    for n in 0..N / T::SIZE {
        f(T::get(&a, n)).put(&mut result, n);
    }
    result
}

/// `f` of each pair of elements at the same place.
#[inline(always)]
pub(crate) fn zip<T: Lane, const N: usize>(a: [u8; N], b: [u8; N], mut f: impl FnMut(T, T) -> T) -> [u8; N] {
    let mut result = [0; N];
    for n in 0..N / T::SIZE {
        f(T::get(&a, n), T::get(&b, n)).put(&mut result, n);
    }
    result
}

/// `f` of each pair of neighbours, first in `a`, then in `b`.
#[inline(always)]
pub(crate) fn neighbours<T: Lane, const N: usize>(
    a: [u8; N],
    b: [u8; N],
    mut f: impl FnMut(T, T) -> T,
) -> [u8; N] {
    let mut result = [0; N];
    let half = N / T::SIZE / 2;
    for (source, at) in [(&a, 0), (&b, half)] {
        for n in 0..half {
            f(T::get(source, 2 * n), T::get(source, 2 * n + 1)).put(&mut result, at + n);
        }
    }
    result
}

/// The low `N` bytes.
#[inline(always)]
fn cut<const N: usize>(value: u128) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&value.to_le_bytes()[..N]);
    bytes
}

/// Zero-extended.
#[inline(always)]
fn widen<const N: usize>(bytes: [u8; N]) -> u128 {
    let mut all = [0; 16];
    all[..N].copy_from_slice(&bytes);
    u128::from_le_bytes(all)
}

impl Vcpu {
    /// Value of an MMX register.
    pub(crate) fn mm(&self, register: Register) -> u64 {
        self.fpu.registers[register.number() & 7].mantissa
    }

    /// Writes an MMX register: its exponent becomes all ones (SDM vol. 3 12.2).
    pub(crate) fn set_mm(&mut self, register: Register, value: u64) {
        let slot = &mut self.fpu.registers[register.number() & 7];
        slot.mantissa = value;
        slot.sign_exponent = 0xffff;
    }

    /// The bits of MXCSR that exist.
    pub(crate) const MXCSR_MASK: u32 = 0xffff;

    /// What every MMX instruction but `emms` does to the FPU: TOP is 0, no register is empty (SDM vol. 3
    /// 12.2.1).
    pub(crate) fn enter_mmx(&mut self) {
        self.fpu.top = 0;
        self.fpu.valid = 0xff;
    }
}

/// Whether instructions with XMM registers may be executed (SDM vol. 3 2.5, 13.1).
#[inline]
pub(crate) fn check_sse(cx: &Context<'_>) -> Res<()> {
    let vcpu = &cx.vcpu;
    if vcpu.cr0 & (CR0_EM | CR0_TS) == 0 && vcpu.cr4 & CR4_OSFXSR != 0 {
        return Ok(());
    }
    let undefined = vcpu.cr0 & CR0_EM != 0 || vcpu.cr4 & CR4_OSFXSR == 0;
    Err(if undefined { Fault::ud() } else { Fault::plain(NM) })
}

/// Whether instructions with MMX registers may be executed: a pending x87 exception comes first.
#[inline]
pub(crate) fn check_mmx(cx: &Context<'_>) -> Res<()> {
    let vcpu = &cx.vcpu;
    if vcpu.cr0 & CR0_EM != 0 {
        return Err(Fault::ud());
    }
    if vcpu.cr0 & CR0_TS != 0 {
        return Err(Fault::plain(NM));
    }
    if vcpu.fpu.status & !vcpu.fpu.control & 0x3f != 0 {
        return Err(Fault::plain(MF));
    }
    Ok(())
}

/// [`check_sse`] for 16 bytes, [`check_mmx`] for 8.
#[inline(always)]
fn check<const N: usize>(cx: &Context<'_>) -> Res<()> {
    if N == 8 { check_mmx(cx) } else { check_sse(cx) }
}

/// 16 bytes at any address.
#[inline]
pub(crate) fn load_unaligned(cx: &mut Context<'_>, address: u64) -> Res<u128> {
    if address & 0xfff > 0xff0 {
        return cx.load128(address);
    }
    let low = cx.load(address, 8)?;
    let high = cx.load(address + 8, 8)?;
    Ok(u128::from(low) | u128::from(high) << 64)
}

/// Writes 16 bytes to any address, all or nothing.
#[inline]
pub(crate) fn store_unaligned(cx: &mut Context<'_>, address: u64, value: u128) -> Res<()> {
    if address & 0xfff > 0xff0 {
        return cx.store128(address, value);
    }
    cx.store(address, 8, value as u64)?;
    cx.store(address + 8, 8, (value >> 64) as u64)
}

/// Address of a memory operand of 16 bytes: #GP(0) unless aligned.
#[inline]
fn aligned_address(cx: &Context<'_>, i: &Instruction) -> Res<u64> {
    let address = cx.linear_address(i)?;
    if address & 15 == 0 { Ok(address) } else { Err(Fault::gp()) }
}

/// Operand `n`: an XMM register, or memory of up to 16 bytes, zero-extended. 16 bytes have to be aligned.
#[inline]
fn source(cx: &mut Context<'_>, i: &Instruction, n: u32) -> Res<u128> {
    match i.op_kind(n) {
        OpKind::Register => Ok(cx.vcpu.xmm(i.op_register(n))),
        _ => match i.memory_size().size() {
            16 => {
                let address = aligned_address(cx, i)?;
                load_unaligned(cx, address)
            }
            size => {
                let address = cx.linear_address(i)?;
                Ok(cx.load(address, size)?.into())
            }
        },
    }
}

/// Operand `n`: an MMX register, or memory of up to 8 bytes, zero-extended.
#[inline]
fn source_mmx(cx: &mut Context<'_>, i: &Instruction, n: u32) -> Res<u64> {
    match i.op_kind(n) {
        OpKind::Register => Ok(cx.vcpu.mm(i.op_register(n))),
        _ => {
            let address = cx.linear_address(i)?;
            cx.load(address, i.memory_size().size())
        }
    }
}

/// [`source`] for 16 bytes, [`source_mmx`] for 8.
#[inline(always)]
fn operand<const N: usize>(cx: &mut Context<'_>, i: &Instruction, n: u32) -> Res<[u8; N]> {
    Ok(cut(if N == 8 { source_mmx(cx, i, n)?.into() } else { source(cx, i, n)? }))
}

/// The register that is operand 0.
#[inline(always)]
fn destination<const N: usize>(cx: &Context<'_>, i: &Instruction) -> [u8; N] {
    let register = i.op0_register();
    cut(if N == 8 { cx.vcpu.mm(register).into() } else { cx.vcpu.xmm(register) })
}

/// Writes the register that is operand 0.
#[inline(always)]
fn set_destination<const N: usize>(cx: &mut Context<'_>, i: &Instruction, value: [u8; N]) {
    if N == 8 {
        cx.vcpu.enter_mmx();
        cx.vcpu.set_mm(i.op0_register(), widen(value) as u64);
    } else {
        cx.vcpu.set_xmm(i.op0_register(), widen(value));
    }
}

/// Replaces the first operand by `f` of both.
#[inline(always)]
fn binary<const N: usize>(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: impl Fn([u8; N], [u8; N]) -> [u8; N],
) -> Res<Flow> {
    check::<N>(cx)?;
    let b = operand::<N>(cx, i, 1)?;
    let a = destination::<N>(cx, i);
    set_destination(cx, i, f(a, b));
    Ok(Flow::Next)
}

/// The same with an immediate.
#[inline(always)]
fn binary_imm<const N: usize>(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: impl Fn([u8; N], [u8; N], u8) -> [u8; N],
) -> Res<Flow> {
    binary::<N>(cx, i, |a, b| f(a, b, i.immediate8()))
}

#[cfg(all(test, target_arch = "x86_64", unix))]
mod tests;
