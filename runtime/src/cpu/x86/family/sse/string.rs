//! SSE4.2's comparisons of strings (SDM vol. 2 4.1).

use super::{Lane, check_sse, load_unaligned, run};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{CF, OF, SF, ZF};
use crate::cpu::x86::handler::{Flow, Handler};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Pcmpestri | M::Pcmpestri64 => run!(|cx, i| execute(cx, i, true, index)),
        M::Pcmpestrm | M::Pcmpestrm64 => run!(|cx, i| execute(cx, i, true, mask)),
        M::Pcmpistri => run!(|cx, i| execute(cx, i, false, index)),
        M::Pcmpistrm => run!(|cx, i| execute(cx, i, false, mask)),
        _ => return None,
    })
}

/// A string: its elements, sign- or zero-extended, and how many of them are valid.
struct Elements {
    values: [i32; 16],
    length: usize,
}

impl Elements {
    /// Takes a vector apart as the immediate's low bits tell; it ends before the first zero.
    fn new(bytes: [u8; 16], imm: u8) -> Self {
        let count = count(imm);
        let mut values = [0; 16];
        for (n, value) in values.iter_mut().enumerate().take(count) {
            *value = match imm & 3 {
                0 => u8::get(&bytes, n).into(),
                1 => u16::get(&bytes, n).into(),
                2 => i8::get(&bytes, n).into(),
                _ => i16::get(&bytes, n).into(),
            };
        }
        let length = values[..count].iter().position(|&value| value == 0).unwrap_or(count);
        Elements { values, length }
    }

    fn valid(&self) -> &[i32] {
        &self.values[..self.length]
    }
}

/// Elements of a vector: 16 bytes or 8 words.
fn count(imm: u8) -> usize {
    if imm & 1 != 0 { 8 } else { 16 }
}

/// Result and flags of a comparison: `IntRes2`, one bit for each element of `b`.
fn compare(a: &Elements, b: &Elements, imm: u8) -> u32 {
    let count = count(imm);
    let all = (1 << count) - 1;
    let set = |n: usize, holds: bool| u32::from(holds) << n;
    let aggregated: u32 = match imm >> 2 & 3 {
        // Equal any: a set of characters.
        0 => b.valid().iter().enumerate().map(|(n, y)| set(n, a.valid().contains(y))).sum(),
        // Ranges: pairs of bounds; one without a partner does not count.
        1 => {
            let inside = |y| a.valid().chunks_exact(2).any(|bounds| bounds[0] <= y && y <= bounds[1]);
            b.valid().iter().enumerate().map(|(n, &y)| set(n, inside(y))).sum()
        }
        // Equal each: past the end of both, equal.
        2 => {
            let equal = |n: usize| match (n < a.length, n < b.length) {
                (true, true) => a.values[n] == b.values[n],
                (x, y) => x == y,
            };
            (0..count).map(|n| set(n, equal(n))).sum()
        }
        // Equal ordered: where `a` begins in `b`, as far as the vector reaches.
        _ => {
            let begins = |n: usize| {
                (0..a.length.min(count - n)).all(|k| n + k < b.length && a.values[k] == b.values[n + k])
            };
            (0..count).map(|n| set(n, begins(n))).sum()
        }
    };
    match imm >> 4 & 3 {
        1 => aggregated ^ all,
        3 => aggregated ^ ((1 << b.length) - 1),
        _ => aggregated,
    }
}

/// Writes ECX: index of the first or last element, or their number.
fn index(cx: &mut Context<'_>, bits: u32, imm: u8) {
    let at = match bits {
        0 => count(imm) as u32,
        _ if imm & 0x40 != 0 => bits.ilog2(),
        _ => bits.trailing_zeros(),
    };
    cx.vcpu.set_gpr(Register::ECX, at.into());
}

/// Writes XMM0: bits, or a mask of elements.
fn mask(cx: &mut Context<'_>, bits: u32, imm: u8) {
    let mut result = u128::from(bits).to_le_bytes();
    if imm & 0x40 != 0 {
        let size = 16 / count(imm);
        result = core::array::from_fn(|n| (bits >> (n / size) & 1) as u8 * 0xff);
    }
    cx.vcpu.set_xmm(Register::XMM0, u128::from_le_bytes(result));
}

/// Length of a string in a register: its magnitude, `count` at most.
fn explicit(value: u64, wide: bool, count: usize) -> usize {
    let value = if wide { value as i64 } else { i64::from(value as i32) };
    value.unsigned_abs().min(count as u64) as usize
}

#[inline(always)]
fn execute(
    cx: &mut Context<'_>,
    i: &Instruction,
    is_explicit: bool,
    result: fn(&mut Context<'_>, u32, u8),
) -> Res<Flow> {
    check_sse(cx)?;
    let b = match i.op1_kind() {
        OpKind::Register => cx.vcpu.xmm(i.op1_register()),
        // Needs no alignment.
        _ => {
            let address = cx.linear_address(i)?;
            load_unaligned(cx, address)?
        }
    };
    let imm = i.immediate8();
    let count = count(imm);
    let mut a = Elements::new(cx.vcpu.xmm(i.op0_register()).to_le_bytes(), imm);
    let mut b = Elements::new(b.to_le_bytes(), imm);
    if is_explicit {
        // REX.W.
        let wide = matches!(i.mnemonic(), Mnemonic::Pcmpestri64 | Mnemonic::Pcmpestrm64);
        a.length = explicit(cx.vcpu.gpr(Register::RAX), wide, count);
        b.length = explicit(cx.vcpu.gpr(Register::RDX), wide, count);
    }
    let bits = compare(&a, &b, imm);
    result(cx, bits, imm);
    let flag = |flag: u64, holds: bool| if holds { flag } else { 0 };
    cx.vcpu.flags.set(
        flag(CF, bits != 0)
            | flag(ZF, b.length < count)
            | flag(SF, a.length < count)
            | flag(OF, bits & 1 != 0),
    );
    Ok(Flow::Next)
}
