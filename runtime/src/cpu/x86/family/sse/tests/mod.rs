//! Each instruction against the host's own, on registers and on memory; and what the host cannot tell:
//! faults.

mod faults;
mod float;
mod host;
mod integer;
mod other;

use crate::cpu::x86::family::testing::direct::{Machine, Random};
use iced_x86::{Code, CpuidFeature as F, EncodingKind, Instruction, Register};

fn new_machine() -> Machine {
    Machine::new(super::handler)
}

impl Random {
    /// A vector: random bytes, bytes at the ends of their ranges, few different ones, or a small number.
    fn vector(&mut self) -> u128 {
        let any = u128::from(self.next()) | u128::from(self.next()) << 64;
        let mut bytes = any.to_le_bytes();
        match self.below(5) {
            0 => return any & u128::from(u64::MAX >> self.below(64)),
            1 => bytes.fill_with(|| self.choose(&[0, 1, 0x7f, 0x80, 0x81, 0xff])),
            2 => bytes.fill_with(|| self.choose(&[0x61, 0x62, 0x63, 0xe1, 0])),
            3 => bytes.fill_with(|| self.below(20) as u8),
            _ => {}
        }
        u128::from_le_bytes(bytes)
    }
    /// A vector of numbers of 4 or 8 bytes.
    fn floats(&mut self) -> u128 {
        match self.below(2) {
            0 => (0..4).fold(0, |all, n| all | u128::from(self.float32()) << (32 * n)),
            _ => (0..2).fold(0, |all, n| all | u128::from(self.float64()) << (64 * n)),
        }
    }

    /// Special values, whole numbers and their halves, numbers near 1, at the ends of the range, or any.
    fn float32(&mut self) -> u32 {
        const SPECIAL: [u32; 10] = [
            0,
            1,
            0x7f_ffff,
            0x80_0000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7f80_0001,
            0x7fc0_0000,
            0x7fc1_2345,
            0x4f00_0000,
        ];
        let random = self.next() as u32;
        let sign = random & 1 << 31;
        match self.below(6) {
            0 => sign | self.choose(&SPECIAL),
            1 => sign | (self.below(64) as f32 / 2.0).to_bits(),
            2 => sign | 0x3f00_0000 | random & 0xff_ffff,
            3 => sign | random & 0x81ff_ffff,
            4 => sign | (0x4e80_0000 + (random & 0xff_ffff)),
            _ => random,
        }
    }

    fn float64(&mut self) -> u64 {
        const SPECIAL: [u64; 8] = [
            0,
            1,
            (1 << 52) - 1,
            1 << 52,
            (0x7ff << 52) - 1,
            0x7ff << 52,
            0x7ff << 52 | 1,
            0xfff << 51 | 0x12345,
        ];
        let random = self.next();
        let sign = random & 1 << 63;
        match self.below(6) {
            0 => sign | self.choose(&SPECIAL),
            1 => sign | (self.below(64) as f64 / 2.0).to_bits(),
            2 => sign | 0x3fe << 52 | random & ((1 << 53) - 1),
            3 => sign | f64::from(f32::from_bits(self.float32())).to_bits() & !sign,
            4 => sign | ((self.choose(&[0x41d, 0x43c, 0x380, 0x47d, 0]) << 52) + (random & ((1 << 54) - 1))),
            _ => random,
        }
    }
}

/// Every instruction of these extensions has a function, but those that have nothing to do with vectors:
/// `fisttp` is the FPU's, fences and prefetches do nothing.
#[test]
fn nothing_is_missing() {
    const ELSEWHERE: [&str; 5] = ["Fisttp", "Prefetch", "Lfence", "Mfence", "Sfence"];
    let extensions = [F::MMX, F::SSE, F::SSE2, F::SSE3, F::SSSE3, F::SSE4_1, F::SSE4_2, F::AES, F::PCLMULQDQ];
    let codes: Vec<_> = Code::values()
        .filter(|code| code.encoding() == EncodingKind::Legacy)
        .filter(|code| code.cpuid_features().iter().any(|feature| extensions.contains(feature)))
        .filter(|code| !ELSEWHERE.iter().any(|name| format!("{code:?}").starts_with(name)))
        .collect();
    let missing = |&&code: &&Code| {
        let mut i = Instruction::default();
        i.set_code(code);
        i.set_op0_register(Register::XMM0);
        super::handler(&i).is_none()
    };
    assert_eq!(codes.iter().filter(missing).collect::<Vec<_>>(), [&Code::INVALID; 0]);
    assert!(codes.len() > 390, "{}", codes.len());
}
