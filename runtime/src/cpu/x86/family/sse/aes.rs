//! AES-NI: rounds of FIPS 197, a column of the state at a time by tables.

use super::{Lane, binary, binary_imm, run, xmm};
use crate::cpu::x86::handler::Handler;
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Aesenc => xmm!(|state, key| xor(mix(state, &ENCRYPTION, 1), key)),
        M::Aesenclast => xmm!(|state, key| xor(substitute(state, &SBOX, 1), key)),
        M::Aesdec => xmm!(|state, key| xor(mix(state, &DECRYPTION, 3), key)),
        M::Aesdeclast => xmm!(|state, key| xor(substitute(state, &INVERSE_SBOX, 3), key)),
        M::Aesimc => xmm!(|_, key| aesimc(key)),
        M::Aeskeygenassist => run!(|cx, i| binary_imm::<16>(cx, i, |_, b, imm| aeskeygenassist(b, imm))),
        _ => return None,
    })
}

/// The product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197 4.2).
const fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = (a << 1) ^ ((a >> 7) * 0x1b);
        b >>= 1;
    }
    product
}

/// FIPS 197 5.1.1: the inverse, then an affine transformation.
const SBOX: [u8; 256] = {
    let mut table = [0; 256];
    // 3 generates the multiplicative group, and 0xf6 is its inverse.
    let (mut x, mut inverse) = (1u8, 1u8);
    let mut n = 0;
    while n < 255 {
        let i = inverse;
        table[x as usize] =
            i ^ i.rotate_left(1) ^ i.rotate_left(2) ^ i.rotate_left(3) ^ i.rotate_left(4) ^ 0x63;
        x = multiply(x, 3);
        inverse = multiply(inverse, 0xf6);
        n += 1;
    }
    table[0] = 0x63;
    table
};

const INVERSE_SBOX: [u8; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        table[SBOX[n] as usize] = n as u8;
        n += 1;
    }
    table
};

/// What a byte in row 0 adds to its column: its substitute times a column of the matrix.
const fn columns(sbox: &[u8; 256], matrix: [u8; 4]) -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let s = sbox[n];
        table[n] = u32::from_le_bytes([
            multiply(s, matrix[0]),
            multiply(s, matrix[1]),
            multiply(s, matrix[2]),
            multiply(s, matrix[3]),
        ]);
        n += 1;
    }
    table
}

/// SubBytes and MixColumns.
static ENCRYPTION: [u32; 256] = columns(&SBOX, [2, 1, 1, 3]);
/// InvSubBytes and InvMixColumns.
static DECRYPTION: [u32; 256] = columns(&INVERSE_SBOX, [14, 9, 13, 11]);

/// Columns whose row `r` comes from the column that is `r * step` to the right, by a table for row 0.
///
/// ShiftRows is a step of 1; its inverse, one to the left, one of 3.
#[inline(always)]
fn mix(state: [u8; 16], table: &[u32; 256], step: usize) -> [u8; 16] {
    let mut result = [0; 16];
    for c in 0..4 {
        let column = (0..4).fold(0, |column, r| {
            let byte = state[(c + r * step) % 4 * 4 + r];
            column ^ table[usize::from(byte)].rotate_left(8 * r as u32)
        });
        column.put(&mut result, c);
    }
    result
}

/// Shifts rows and substitutes bytes, as [`mix`] without MixColumns.
#[inline]
fn substitute(state: [u8; 16], sbox: &[u8; 256], step: usize) -> [u8; 16] {
    core::array::from_fn(|n| {
        let (c, r) = (n / 4, n % 4);
        sbox[usize::from(state[(c + r * step) % 4 * 4 + r])]
    })
}

#[inline]
fn xor(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
    (u128::from_le_bytes(a) ^ u128::from_le_bytes(b)).to_le_bytes()
}

/// InvMixColumns: [`DECRYPTION`] without its substitution.
fn aesimc(key: [u8; 16]) -> [u8; 16] {
    mix(key.map(|byte| SBOX[usize::from(byte)]), &DECRYPTION, 0)
}

/// Steps of the key expansion for the second and the fourth word.
fn aeskeygenassist(b: [u8; 16], rcon: u8) -> [u8; 16] {
    let b = b.map(|byte| SBOX[usize::from(byte)]);
    let mut result = [0; 16];
    for n in [0, 2] {
        let word = u32::get(&b, n + 1);
        word.put(&mut result, n);
        (word.rotate_right(8) ^ u32::from(rcon)).put(&mut result, n + 1);
    }
    result
}
