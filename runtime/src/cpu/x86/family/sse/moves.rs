//! Moves between registers and memory, single elements, masks, MXCSR.

use super::{
    Lane, aligned_address, binary, binary_imm, check, check_mmx, check_sse, load_unaligned, operand,
};
use super::{run, store_unaligned};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{Fault, Res};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::mmu::Access;
use crate::cpu::x86::operand::{mask, segment};
use crate::cpu::x86::state::Vcpu;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Movups | M::Movupd | M::Movdqu | M::Lddqu => full::<false>,
        M::Movaps | M::Movapd | M::Movdqa | M::Movntps | M::Movntpd | M::Movntdq | M::Movntdqa => {
            full::<true>
        }
        M::Movss => scalar::<4>,
        // The other one is a string instruction.
        M::Movsd if i.op0_register().is_xmm() || i.op1_register().is_xmm() => scalar::<8>,
        M::Movlps | M::Movlpd => half::<0>,
        M::Movhps | M::Movhpd => half::<1>,
        M::Movhlps => run!(|cx, i| binary::<16>(cx, i, |a, b| pick(b, 1, a, 1))),
        M::Movlhps => run!(|cx, i| binary::<16>(cx, i, |a, b| pick(a, 0, b, 0))),
        M::Movd | M::Movq | M::Movq2dq | M::Movdq2q | M::Movntq => low,
        M::Movnti => movnti,
        M::Maskmovdqu => maskmov::<16>,
        M::Maskmovq => maskmov::<8>,
        M::Movmskps => run!(|cx, i| signs::<u32, 16>(cx, i)),
        M::Movmskpd => run!(|cx, i| signs::<u64, 16>(cx, i)),
        M::Pmovmskb if i.op1_register().is_mm() => run!(|cx, i| signs::<u8, 8>(cx, i)),
        M::Pmovmskb => run!(|cx, i| signs::<u8, 16>(cx, i)),
        M::Pinsrw if i.op0_register().is_mm() => run!(|cx, i| insert::<u16, 8>(cx, i)),
        M::Pinsrb => run!(|cx, i| insert::<u8, 16>(cx, i)),
        M::Pinsrw => run!(|cx, i| insert::<u16, 16>(cx, i)),
        M::Pinsrd => run!(|cx, i| insert::<u32, 16>(cx, i)),
        M::Pinsrq => run!(|cx, i| insert::<u64, 16>(cx, i)),
        M::Pextrw if i.op1_register().is_mm() => run!(|cx, i| extract::<u16, 8>(cx, i)),
        M::Pextrb => run!(|cx, i| extract::<u8, 16>(cx, i)),
        M::Pextrw => run!(|cx, i| extract::<u16, 16>(cx, i)),
        M::Pextrd | M::Extractps => run!(|cx, i| extract::<u32, 16>(cx, i)),
        M::Pextrq => run!(|cx, i| extract::<u64, 16>(cx, i)),
        M::Insertps if i.op1_kind() == OpKind::Register => run!(|cx, i| {
            let imm = i.immediate8();
            binary::<16>(cx, i, |a, b| insertps(a, u32::get(&b, usize::from(imm >> 6)), imm))
        }),
        M::Insertps => run!(|cx, i| binary_imm::<16>(cx, i, |a, b, imm| insertps(a, u32::get(&b, 0), imm))),
        M::Ldmxcsr => ldmxcsr,
        M::Stmxcsr => stmxcsr,
        M::Emms => emms,
        _ => return None,
    })
}

/// Moves of 16 bytes; in memory at any address, or at an aligned one.
fn full<const ALIGNED: bool>(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    if i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Register {
        let value = cx.vcpu.xmm(i.op1_register());
        cx.vcpu.set_xmm(i.op0_register(), value);
        return Ok(Flow::Next);
    }
    let address = if ALIGNED { aligned_address(cx, i)? } else { cx.linear_address(i)? };
    if i.op0_kind() == OpKind::Register {
        let value = load_unaligned(cx, address)?;
        cx.vcpu.set_xmm(i.op0_register(), value);
    } else {
        let value = cx.vcpu.xmm(i.op1_register());
        store_unaligned(cx, address, value)?;
    }
    Ok(Flow::Next)
}

/// `movss`, `movsd`: between registers the rest stays, a load clears it.
fn scalar<const SIZE: usize>(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    match (i.op0_kind(), i.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            let mask = u128::from(mask(SIZE));
            let value = cx.vcpu.xmm(i.op0_register()) & !mask | cx.vcpu.xmm(i.op1_register()) & mask;
            cx.vcpu.set_xmm(i.op0_register(), value);
        }
        (OpKind::Register, _) => {
            let address = cx.linear_address(i)?;
            let value = cx.load(address, SIZE)?;
            cx.vcpu.set_xmm(i.op0_register(), value.into());
        }
        _ => {
            let value = cx.vcpu.xmm(i.op1_register()) as u64;
            let address = cx.linear_address(i)?;
            cx.store(address, SIZE, value)?;
        }
    }
    Ok(Flow::Next)
}

/// Moves between a half of a register and memory.
fn half<const HALF: usize>(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    let address = cx.linear_address(i)?;
    if i.op0_kind() == OpKind::Register {
        let value = cx.load(address, 8)?;
        cx.vcpu.xmm[i.op0_register().number() & 15][HALF] = value;
    } else {
        let value = cx.vcpu.xmm[i.op1_register().number() & 15][HALF];
        cx.store(address, 8, value)?;
    }
    Ok(Flow::Next)
}

/// Half `m` of `a`, then half `n` of `b`.
#[inline]
fn pick(a: [u8; 16], m: usize, b: [u8; 16], n: usize) -> [u8; 16] {
    let mut result = [0; 16];
    u64::get(&a, m).put(&mut result, 0);
    u64::get(&b, n).put(&mut result, 1);
    result
}

/// Moves of the low 4 or 8 bytes between all kinds of registers and memory; an XMM register's rest is
/// cleared.
fn low(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (to, from) = (i.op0_register(), i.op1_register());
    if to.is_xmm() || from.is_xmm() {
        check_sse(cx)?;
    }
    let mmx = to.is_mm() || from.is_mm();
    if mmx {
        check_mmx(cx)?;
    }
    let value = match i.op1_kind() {
        OpKind::Register if from.is_xmm() => cx.vcpu.xmm(from) as u64,
        OpKind::Register if from.is_mm() => cx.vcpu.mm(from),
        _ => cx.read(i, 1)?,
    };
    match i.op0_kind() {
        OpKind::Register if to.is_xmm() => cx.vcpu.set_xmm(to, value.into()),
        OpKind::Register if to.is_mm() => cx.vcpu.set_mm(to, value),
        _ => cx.write(i, 0, value)?,
    }
    if mmx {
        cx.vcpu.enter_mmx();
    }
    Ok(Flow::Next)
}

fn movnti(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    cx.write(i, 0, value)?;
    Ok(Flow::Next)
}

/// Stores the bytes whose mask is negative, all or none.
fn maskmov<const N: usize>(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check::<N>(cx)?;
    let (value, mask) = (operand::<N>(cx, i, 1)?, operand::<N>(cx, i, 2)?);
    let offset = match i.op0_kind() {
        OpKind::MemorySegRDI => cx.vcpu.gpr(Register::RDI),
        OpKind::MemorySegEDI => cx.vcpu.gpr(Register::EDI),
        _ => cx.vcpu.gpr(Register::DI),
    };
    let address = cx.linear(segment(i.memory_segment()), offset, 1)?;
    let selected = |from: usize, to: usize| (from..to).filter(|&n| mask[n] & 0x80 != 0);
    // A page is accessed as a whole, if at all: what it faults with is the access's own address, or its
    // beginning.
    let split = N.min(0x1000 - (address & 0xfff) as usize);
    for (from, to) in [(0, split), (split, N)] {
        if selected(from, to).next().is_some() {
            cx.translate_data(address.wrapping_add(from as u64), Access::Store)?;
        }
    }
    for n in selected(0, N) {
        cx.store(address.wrapping_add(n as u64), 1, value[n].into())?;
    }
    if N == 8 {
        cx.vcpu.enter_mmx();
    }
    Ok(Flow::Next)
}

/// The elements' signs as bits.
#[inline]
pub(crate) fn sign_bits<T: Lane, const N: usize>(a: [u8; N]) -> u32 {
    if T::SIZE > 1 {
        return (0..N / T::SIZE).fold(0, |bits, n| bits | u32::from(a[n * T::SIZE + T::SIZE - 1] >> 7) << n);
    }
    // Eight at once: the product moves each byte's sign to a place of its own in the top byte.
    a.as_chunks().0.iter().rev().fold(0, |bits, &eight| {
        let signs = u64::from_le_bytes(eight) >> 7 & 0x0101_0101_0101_0101;
        bits << 8 | (signs.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    })
}

#[inline(always)]
fn signs<T: Lane, const N: usize>(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check::<N>(cx)?;
    let bits = sign_bits::<T, N>(operand(cx, i, 1)?);
    if N == 8 {
        cx.vcpu.enter_mmx();
    }
    cx.vcpu.set_gpr(i.op0_register(), bits.into());
    Ok(Flow::Next)
}

/// Replaces the element that the immediate names.
#[inline(always)]
fn insert<T: Lane + Narrow, const N: usize>(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check::<N>(cx)?;
    let element = T::narrow(cx.read(i, 1)?);
    let mut value = super::destination::<N>(cx, i);
    element.put(&mut value, usize::from(i.immediate8()) % (N / T::SIZE));
    super::set_destination(cx, i, value);
    Ok(Flow::Next)
}

/// Gives the element that the immediate names, zero-extended.
#[inline(always)]
fn extract<T: Lane + Into<u64>, const N: usize>(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check::<N>(cx)?;
    let value = operand::<N>(cx, i, 1)?;
    let element = T::get(&value, usize::from(i.immediate8()) % (N / T::SIZE)).into();
    cx.write(i, 0, element)?;
    if N == 8 {
        cx.vcpu.enter_mmx();
    }
    Ok(Flow::Next)
}

/// The low part of a 64-bit value.
trait Narrow {
    fn narrow(value: u64) -> Self;
}

macro_rules! narrow {
    ($($int:ident)+) => {
        $(impl Narrow for $int {
            #[inline(always)]
            fn narrow(value: u64) -> Self {
                value as $int
            }
        })+
    };
}
narrow!(u8 u16 u32 u64);

/// Replaces a doubleword of `a`, then clears those that the immediate's low bits name.
#[inline]
pub(crate) fn insertps(a: [u8; 16], element: u32, imm: u8) -> [u8; 16] {
    let mut result = a;
    element.put(&mut result, usize::from(imm >> 4 & 3));
    for n in 0..4 {
        if imm >> n & 1 != 0 {
            0u32.put(&mut result, n);
        }
    }
    result
}

fn ldmxcsr(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    let value = cx.read(i, 0)? as u32;
    if value & !Vcpu::MXCSR_MASK != 0 {
        return Err(Fault::gp());
    }
    cx.vcpu.mxcsr = value;
    Ok(Flow::Next)
}

fn stmxcsr(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_sse(cx)?;
    let value = cx.vcpu.mxcsr.into();
    cx.write(i, 0, value)?;
    Ok(Flow::Next)
}

/// All registers are empty; TOP becomes 0 as with the other MMX instructions (SDM vol. 3 12.2.1).
fn emms(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    check_mmx(cx)?;
    cx.vcpu.fpu.top = 0;
    cx.vcpu.fpu.valid = 0;
    Ok(Flow::Next)
}
