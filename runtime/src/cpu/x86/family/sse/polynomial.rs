//! Polynomials over GF(2): PCLMULQDQ and SSE4.2's CRC32.

use super::{Lane, binary_imm, run};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::handler::{Flow, Handler};
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Pclmulqdq => run!(|cx, i| binary_imm::<16>(cx, i, pclmulqdq)),
        Mnemonic::Crc32 => crc32,
        _ => return None,
    })
}

/// The product of a half of `a` and a half of `b`.
pub(crate) fn pclmulqdq(a: [u8; 16], b: [u8; 16], imm: u8) -> [u8; 16] {
    let a = u64::get(&a, usize::from(imm & 1));
    let b = u64::get(&b, usize::from(imm >> 4 & 1));
    // Multiples of `a` by all polynomials of four bits.
    let mut multiples = [0; 16];
    for n in 0..4 {
        for m in 0..1 << n {
            multiples[1 << n | m] = multiples[m] ^ u128::from(a) << n;
        }
    }
    let product =
        (0..16).rev().fold(0u128, |product, n| product << 4 ^ multiples[(b >> (4 * n) & 15) as usize]);
    product.to_le_bytes()
}

/// The remainders of a byte by 0x1edc6f41, bits reversed.
static CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78);
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

/// Adds the low `size` bytes of `value` to a CRC32C.
#[inline]
pub(crate) fn crc32c(crc: u32, value: u64, size: usize) -> u32 {
    let bytes = value.to_le_bytes();
    bytes.iter().take(size).fold(crc, |crc, byte| crc >> 8 ^ CRC[usize::from(crc as u8 ^ byte)])
}

fn crc32(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    let crc = cx.vcpu.gpr(i.op0_register()) as u32;
    cx.vcpu.set_gpr(i.op0_register(), crc32c(crc, value, Context::operand_size(i, 1)).into());
    Ok(Flow::Next)
}
