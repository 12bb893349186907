//! Packed integers: arithmetic, comparisons, logic, shifts.

use super::{Lane, binary, binary_imm, both, check, check_sse, destination, map, neighbours, operand, run};
use super::{set_destination, source, xmm, zip};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{CF, ZF};
use crate::cpu::x86::handler::{Flow, Handler};
use iced_x86::{Instruction, Mnemonic, OpKind};

/// The function for an instruction, if it is one of these.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Paddb => both!(i, paddb),
        M::Paddw => both!(i, paddw),
        M::Paddd => both!(i, paddd),
        M::Paddq => both!(i, paddq),
        M::Psubb => both!(i, psubb),
        M::Psubw => both!(i, psubw),
        M::Psubd => both!(i, psubd),
        M::Psubq => both!(i, psubq),
        M::Paddsb => both!(i, paddsb),
        M::Paddsw => both!(i, paddsw),
        M::Paddusb => both!(i, paddusb),
        M::Paddusw => both!(i, paddusw),
        M::Psubsb => both!(i, psubsb),
        M::Psubsw => both!(i, psubsw),
        M::Psubusb => both!(i, psubusb),
        M::Psubusw => both!(i, psubusw),
        M::Pmullw => both!(i, pmullw),
        M::Pmulhw => both!(i, pmulhw),
        M::Pmulhuw => both!(i, pmulhuw),
        M::Pmulhrsw => both!(i, pmulhrsw),
        M::Pmulld => xmm!(pmulld),
        M::Pmuludq => both!(i, pmuludq),
        M::Pmuldq => xmm!(pmuldq),
        M::Pmaddwd => both!(i, pmaddwd),
        M::Pmaddubsw => both!(i, pmaddubsw),
        M::Pavgb => both!(i, pavgb),
        M::Pavgw => both!(i, pavgw),
        M::Pminub => both!(i, pminub),
        M::Pmaxub => both!(i, pmaxub),
        M::Pminsw => both!(i, pminsw),
        M::Pmaxsw => both!(i, pmaxsw),
        M::Pminsb => xmm!(pminsb),
        M::Pmaxsb => xmm!(pmaxsb),
        M::Pminuw => xmm!(pminuw),
        M::Pmaxuw => xmm!(pmaxuw),
        M::Pminsd => xmm!(pminsd),
        M::Pmaxsd => xmm!(pmaxsd),
        M::Pminud => xmm!(pminud),
        M::Pmaxud => xmm!(pmaxud),
        M::Psadbw => both!(i, psadbw),
        M::Pabsb => both!(i, pabsb),
        M::Pabsw => both!(i, pabsw),
        M::Pabsd => both!(i, pabsd),
        M::Psignb => both!(i, psignb),
        M::Psignw => both!(i, psignw),
        M::Psignd => both!(i, psignd),
        M::Phaddw => both!(i, phaddw),
        M::Phaddd => both!(i, phaddd),
        M::Phaddsw => both!(i, phaddsw),
        M::Phsubw => both!(i, phsubw),
        M::Phsubd => both!(i, phsubd),
        M::Phsubsw => both!(i, phsubsw),
        M::Pand => both!(i, pand),
        M::Pandn => both!(i, pandn),
        M::Por => both!(i, por),
        M::Pxor => both!(i, pxor),
        M::Andps | M::Andpd => xmm!(pand),
        M::Andnps | M::Andnpd => xmm!(pandn),
        M::Orps | M::Orpd => xmm!(por),
        M::Xorps | M::Xorpd => xmm!(pxor),
        M::Pcmpeqb => both!(i, pcmpeqb),
        M::Pcmpeqw => both!(i, pcmpeqw),
        M::Pcmpeqd => both!(i, pcmpeqd),
        M::Pcmpeqq => xmm!(pcmpeqq),
        M::Pcmpgtb => both!(i, pcmpgtb),
        M::Pcmpgtw => both!(i, pcmpgtw),
        M::Pcmpgtd => both!(i, pcmpgtd),
        M::Pcmpgtq => xmm!(pcmpgtq),
        M::Psllw => shifts!(i, psllw),
        M::Pslld => shifts!(i, pslld),
        M::Psllq => shifts!(i, psllq),
        M::Psrlw => shifts!(i, psrlw),
        M::Psrld => shifts!(i, psrld),
        M::Psrlq => shifts!(i, psrlq),
        M::Psraw => shifts!(i, psraw),
        M::Psrad => shifts!(i, psrad),
        M::Pslldq => run!(|cx, i| shift::<16>(cx, i, pslldq)),
        M::Psrldq => run!(|cx, i| shift::<16>(cx, i, psrldq)),
        M::Mpsadbw => run!(|cx, i| binary_imm::<16>(cx, i, mpsadbw)),
        M::Phminposuw => xmm!(|_, b| phminposuw(b)),
        M::Ptest => ptest,
        _ => return None,
    })
}

/// A generic function of a vector and a count.
macro_rules! shifts {
    ($i:expr, $f:ident) => {
        if $i.op0_register().is_mm() {
            run!(|cx, i| shift::<8>(cx, i, $f::<8>))
        } else {
            run!(|cx, i| shift::<16>(cx, i, $f::<16>))
        }
    };
}
use shifts;

/// Functions of the elements at the same place.
macro_rules! elementwise {
    ($($name:ident $int:ident |$a:ident, $b:ident| $f:expr;)+) => {
        $(#[inline]
        pub(crate) fn $name<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
            zip::<$int, N>(a, b, |$a, $b| $f)
        })+
    };
}

elementwise! {
    paddb u8 |a, b| a.wrapping_add(b);
    paddw u16 |a, b| a.wrapping_add(b);
    paddd u32 |a, b| a.wrapping_add(b);
    paddq u64 |a, b| a.wrapping_add(b);
    psubb u8 |a, b| a.wrapping_sub(b);
    psubw u16 |a, b| a.wrapping_sub(b);
    psubd u32 |a, b| a.wrapping_sub(b);
    psubq u64 |a, b| a.wrapping_sub(b);
    paddsb i8 |a, b| a.saturating_add(b);
    paddsw i16 |a, b| a.saturating_add(b);
    paddusb u8 |a, b| a.saturating_add(b);
    paddusw u16 |a, b| a.saturating_add(b);
    psubsb i8 |a, b| a.saturating_sub(b);
    psubsw i16 |a, b| a.saturating_sub(b);
    psubusb u8 |a, b| a.saturating_sub(b);
    psubusw u16 |a, b| a.saturating_sub(b);
    pmullw u16 |a, b| a.wrapping_mul(b);
    pmulhw i16 |a, b| ((i32::from(a) * i32::from(b)) >> 16) as i16;
    pmulhuw u16 |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16;
    pmulhrsw i16 |a, b| ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as i16;
    pmulld u32 |a, b| a.wrapping_mul(b);
    pmuludq u64 |a, b| (a & 0xffff_ffff) * (b & 0xffff_ffff);
    pmuldq i64 |a, b| i64::from(a as i32) * i64::from(b as i32);
    pavgb u8 |a, b| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8;
    pavgw u16 |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16;
    pminub u8 |a, b| a.min(b);
    pmaxub u8 |a, b| a.max(b);
    pminsb i8 |a, b| a.min(b);
    pmaxsb i8 |a, b| a.max(b);
    pminuw u16 |a, b| a.min(b);
    pmaxuw u16 |a, b| a.max(b);
    pminsw i16 |a, b| a.min(b);
    pmaxsw i16 |a, b| a.max(b);
    pminud u32 |a, b| a.min(b);
    pmaxud u32 |a, b| a.max(b);
    pminsd i32 |a, b| a.min(b);
    pmaxsd i32 |a, b| a.max(b);
    pabsb i8 |_a, b| b.wrapping_abs();
    pabsw i16 |_a, b| b.wrapping_abs();
    pabsd i32 |_a, b| b.wrapping_abs();
    psignb i8 |a, b| a.wrapping_mul(b.signum());
    psignw i16 |a, b| a.wrapping_mul(b.signum());
    psignd i32 |a, b| a.wrapping_mul(b.signum());
    pand u64 |a, b| a & b;
    pandn u64 |a, b| !a & b;
    por u64 |a, b| a | b;
    pxor u64 |a, b| a ^ b;
    pcmpeqb u8 |a, b| u8::from(a == b).wrapping_neg();
    pcmpeqw u16 |a, b| u16::from(a == b).wrapping_neg();
    pcmpeqd u32 |a, b| u32::from(a == b).wrapping_neg();
    pcmpeqq u64 |a, b| u64::from(a == b).wrapping_neg();
    pcmpgtb i8 |a, b| -i8::from(a > b);
    pcmpgtw i16 |a, b| -i16::from(a > b);
    pcmpgtd i32 |a, b| -i32::from(a > b);
    pcmpgtq i64 |a, b| -i64::from(a > b);
    // Pairs of words, sums of products: only 0x8000 four times overflows.
    pmaddwd u32 |a, b| product(a as i16, b as i16)
        .wrapping_add(product((a >> 16) as i16, (b >> 16) as i16)) as u32;
    // Unsigned bytes by signed ones.
    pmaddubsw u16 |a, b| (i16::from(a as u8) * i16::from(b as i8))
        .saturating_add(i16::from((a >> 8) as u8) * i16::from((b >> 8) as i8)) as u16;
    psadbw u64 |a, b| a.to_le_bytes().into_iter().zip(b.to_le_bytes()).map(|(x, y)| u64::from(x.abs_diff(y))).sum();
}

#[inline(always)]
fn product(a: i16, b: i16) -> i32 {
    i32::from(a) * i32::from(b)
}

/// Functions of neighbours.
macro_rules! horizontal {
    ($($name:ident $int:ident |$a:ident, $b:ident| $f:expr;)+) => {
        $(#[inline]
        pub(crate) fn $name<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
            neighbours::<$int, N>(a, b, |$a, $b| $f)
        })+
    };
}

horizontal! {
    phaddw u16 |a, b| a.wrapping_add(b);
    phaddd u32 |a, b| a.wrapping_add(b);
    phaddsw i16 |a, b| a.saturating_add(b);
    phsubw u16 |a, b| a.wrapping_sub(b);
    phsubd u32 |a, b| a.wrapping_sub(b);
    phsubsw i16 |a, b| a.saturating_sub(b);
}

/// Shifts of each element; a count beyond the element's size clears it, or fills it with the sign.
macro_rules! shift_functions {
    ($($name:ident $int:ident |$a:ident, $count:ident| $f:expr;)+) => {
        $(#[inline]
        pub(crate) fn $name<const N: usize>(a: [u8; N], count: u64) -> [u8; N] {
            let $count = count.min(8 * size_of::<$int>() as u64) as u32;
            map::<$int, N>(a, |$a| $f)
        })+
    };
}

shift_functions! {
    psllw u16 |a, count| a.unbounded_shl(count);
    pslld u32 |a, count| a.unbounded_shl(count);
    psllq u64 |a, count| a.unbounded_shl(count);
    psrlw u16 |a, count| a.unbounded_shr(count);
    psrld u32 |a, count| a.unbounded_shr(count);
    psrlq u64 |a, count| a.unbounded_shr(count);
    psraw i16 |a, count| a.unbounded_shr(count);
    psrad i32 |a, count| a.unbounded_shr(count);
}

/// Shifts the whole register left by bytes.
#[inline]
pub(crate) fn pslldq(a: [u8; 16], count: u64) -> [u8; 16] {
    u128::from_le_bytes(a).unbounded_shl(8 * count.min(16) as u32).to_le_bytes()
}

/// Shifts the whole register right by bytes.
#[inline]
pub(crate) fn psrldq(a: [u8; 16], count: u64) -> [u8; 16] {
    u128::from_le_bytes(a).unbounded_shr(8 * count.min(16) as u32).to_le_bytes()
}

/// Sums of absolute differences of four bytes of `b` and of `a` at eight places.
pub(crate) fn mpsadbw(a: [u8; 16], b: [u8; 16], imm: u8) -> [u8; 16] {
    let (from_a, from_b) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
    let mut result = [0; 16];
    for n in 0..8 {
        let sum: u16 = (0..4).map(|k| u16::from(a[from_a + n + k].abs_diff(b[from_b + k]))).sum();
        sum.put(&mut result, n);
    }
    result
}

/// The least word and its index.
pub(crate) fn phminposuw(b: [u8; 16]) -> [u8; 16] {
    let (least, at) = (0..8u16).map(|n| (u16::get(&b, n.into()), n)).min().unwrap_or_default();
    let mut result = [0; 16];
    least.put(&mut result, 0);
    at.put(&mut result, 1);
    result
}

/// By an immediate, or by the low half of a register or of memory.
#[inline(always)]
fn shift<const N: usize>(
    cx: &mut Context<'_>,
    i: &Instruction,
    f: impl Fn([u8; N], u64) -> [u8; N],
) -> Res<Flow> {
    check::<N>(cx)?;
    let count = match i.op1_kind() {
        OpKind::Immediate8 => i.immediate8().into(),
        _ => u64::get(&operand::<N>(cx, i, 1)?, 0),
    };
    let a = destination::<N>(cx, i);
    set_destination(cx, i, f(a, count));
    Ok(Flow::Next)
}

fn ptest(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    let b = source(cx, i, 1)?;
    let a = cx.vcpu.xmm(i.op0_register());
    let zero = if a & b == 0 { ZF } else { 0 };
    let carry = if !a & b == 0 { CF } else { 0 };
    cx.vcpu.flags.set(zero | carry);
    Ok(Flow::Next)
}
