//! The SHA extensions: rounds and message schedules of SHA-1 and SHA-256 (FIPS 180-4; SDM vol. 2, SHA1RNDS4
//! and so on).

use super::{binary, binary_imm, run, xmm};
use crate::cpu::x86::handler::Handler;
use iced_x86::{Instruction, Mnemonic, Register};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Sha1msg1 => xmm!(sha1msg1),
        M::Sha1msg2 => xmm!(sha1msg2),
        M::Sha1nexte => xmm!(sha1nexte),
        M::Sha1rnds4 => run!(|cx, i| binary_imm::<16>(cx, i, sha1rnds4)),
        M::Sha256msg1 => xmm!(sha256msg1),
        M::Sha256msg2 => xmm!(sha256msg2),
        // Two words of the message, their constants added, are in XMM0.
        M::Sha256rnds2 => run!(|cx, i| {
            let words = words(cx.vcpu.xmm(Register::XMM0).to_le_bytes());
            binary::<16>(cx, i, |a, b| sha256rnds2(a, b, words))
        }),
        _ => return None,
    })
}

/// Elements, lowest first.
fn words(bytes: [u8; 16]) -> [u32; 4] {
    let word = |n: usize| u32::from_le_bytes([bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]]);
    [word(0), word(4), word(8), word(12)]
}

fn bytes(words: [u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn choose(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ !x & z
}

fn majority(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ x & z ^ y & z
}

/// FIPS 180-4 4.2.1: the constant of each twenty rounds.
const SHA1_CONSTANTS: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Exclusive or of the words that are two and eight places apart.
fn sha1msg1(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
    let ([w3, w2, w1, w0], [_, _, w5, w4]) = (words(a), words(b));
    bytes([w5 ^ w3, w4 ^ w2, w3 ^ w1, w2 ^ w0])
}

/// The last step for four words of the schedule.
fn sha1msg2(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
    let ([a0, a1, a2, a3], [w15, w14, w13, _]) = (words(a), words(b));
    let w16 = (a3 ^ w13).rotate_left(1);
    bytes([(a0 ^ w16).rotate_left(1), (a1 ^ w15).rotate_left(1), (a2 ^ w14).rotate_left(1), w16])
}

/// `e` of four rounds on, added to the first word.
fn sha1nexte(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
    let ([_, _, _, a3], [b0, b1, b2, b3]) = (words(a), words(b));
    bytes([b0, b1, b2, b3.wrapping_add(a3.rotate_left(30))])
}

/// Four rounds. `e` of the first is in its word already.
fn sha1rnds4(state: [u8; 16], message: [u8; 16], imm: u8) -> [u8; 16] {
    let [mut d, mut c, mut b, mut a] = words(state);
    let mut e = 0;
    let step = usize::from(imm & 3);
    for word in words(message).into_iter().rev() {
        let f = match step {
            0 => choose(b, c, d),
            2 => majority(b, c, d),
            _ => b ^ c ^ d,
        };
        let next =
            [f, a.rotate_left(5), word, e, SHA1_CONSTANTS[step]].into_iter().fold(0, u32::wrapping_add);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    bytes([d, c, b, a])
}

/// FIPS 180-4 4.1.2: the small sigmas.
fn sigma(x: u32, [first, second, shift]: [u32; 3]) -> u32 {
    x.rotate_right(first) ^ x.rotate_right(second) ^ x >> shift
}

fn sha256msg1(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
    let ([w0, w1, w2, w3], [w4, ..]) = (words(a), words(b));
    let step = |x: u32, next| x.wrapping_add(sigma(next, [7, 18, 3]));
    bytes([step(w0, w1), step(w1, w2), step(w2, w3), step(w3, w4)])
}

fn sha256msg2(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
    let ([a0, a1, a2, a3], [_, _, w14, w15]) = (words(a), words(b));
    let step = |x: u32, before| x.wrapping_add(sigma(before, [17, 19, 10]));
    let (w16, w17) = (step(a0, w14), step(a1, w15));
    bytes([w16, w17, step(a2, w16), step(a3, w17)])
}

/// Two rounds: `c`, `d`, `g` and `h` are in the first operand, the others in the second.
fn sha256rnds2(first: [u8; 16], second: [u8; 16], message: [u32; 4]) -> [u8; 16] {
    let ([mut h, mut g, mut d, mut c], [mut f, mut e, mut b, mut a]) = (words(first), words(second));
    for word in &message[..2] {
        let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t = [choose(e, f, g), sum1, *word, h].into_iter().fold(0, u32::wrapping_add);
        let next = t.wrapping_add(majority(a, b, c)).wrapping_add(sum0);
        (a, b, c, d, e, f, g, h) = (next, a, b, c, d.wrapping_add(t), e, f, g);
    }
    let _ = (c, d, g, h);
    bytes([f, e, b, a])
}
