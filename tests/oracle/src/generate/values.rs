//! Operand values: corner cases of each type, and random ones.

use crate::case::{Fx, Mode, State, flag};
use crate::random::Random;

/// An integer: near the ends of a width, a few bits, small, or any.
pub fn integer(r: &mut Random) -> u64 {
    match r.below(8) {
        0 => r.below(5),
        1 => u64::MAX - r.below(3),
        2 => {
            let end = 1u64 << r.pick(&[7, 8, 15, 16, 31, 32, 63]);
            end.wrapping_add(r.below(3)).wrapping_sub(1)
        }
        3 => {
            let end = 1u64 << r.pick(&[7, 8, 15, 16, 31, 32, 63]);
            end.wrapping_neg().wrapping_add(r.below(3)).wrapping_sub(1)
        }
        4 => 1 << r.below(64),
        5 => r.bits() >> r.below(64),
        6 => {
            r.bits()
                & r.pick(&[0x00ff_00ff_00ff_00ff, 0xffff_0000_ffff_0000, 0x8080_8080_8080_8080, 0xffff_ffff])
        }
        _ => r.bits(),
    }
}

/// An IEEE number of `exponent` and `fraction` bits.
fn float(r: &mut Random, exponent: u32, fraction: u32) -> u64 {
    let max = (1u64 << exponent) - 1;
    let bias = max >> 1;
    let any = r.bits() & ((1 << fraction) - 1);
    let few = match r.below(4) {
        0 => 0,
        1 => (1 << fraction) - 1 - r.below(2),
        2 => 1 << r.below(fraction.into()),
        _ => any,
    };
    let (e, f) = match r.below(16) {
        0 => (0, 0),
        1 => (0, few.max(1)),
        2 => (max, 0),
        3 => (max, 1 << (fraction - 1) | any),
        4 => (max, (any & ((1 << (fraction - 1)) - 1)).max(1)),
        5 => (1 + r.below(3), few),
        6 => (max - 1 - r.below(3), few),
        7 => (r.below(max + 1), few),
        8 => (bias, 0),
        // Near the ends of integers.
        9 => (bias + r.pick(&[14, 15, 16, 30, 31, 32, 62, 63, 64]).min(bias), few),
        // Near what fractions remain.
        10 => (bias + u64::from(fraction) - 2 + r.below(4), few),
        11 => (bias.wrapping_sub(1), few),
        _ => (bias - 8 + r.below(16), few),
    };
    let sign = r.below(2);
    sign << (exponent + fraction) | e.min(max) << fraction | f
}

/// An IEEE single.
pub fn single(r: &mut Random) -> u32 {
    float(r, 8, 23) as u32
}

/// An IEEE double.
pub fn double(r: &mut Random) -> u64 {
    float(r, 11, 52)
}

/// An x87 register's 80 bits, unsupported operands included (Intel SDM vol. 1, 8.2.2).
pub fn extended(r: &mut Random) -> u128 {
    let any = r.bits();
    let few = match r.below(4) {
        0 => 1 << 63,
        1 => u64::MAX << r.below(12),
        2 => 1 << 63 | 1 << r.below(63),
        _ => any | 1 << 63,
    };
    let sign = r.below(2) << 15;
    let (e, m) = match r.below(20) {
        0 => (0, 0),
        1 => (0, few & !(1 << 63)),
        2 => (0, few),
        3 => (0x7fff, 1 << 63),
        4 => (0x7fff, any | 3 << 62),
        5 => (0x7fff, (any & !(1 << 62)) | 1 << 63 | 1),
        6 => (0x7fff, any & !(1 << 63)),
        7 => (1 + r.below(0x7ffd), any & !(1 << 63)),
        8 => (1 + r.below(3), few),
        9 => (0x7ffe - r.below(3), few),
        10 => (r.below(0x7fff), few),
        11 => (0x3fff, 1 << 63),
        // Near the ranges of double and single.
        12 => (0x3fff - 1023 - 54 + r.below(60), few),
        13 => (0x3fff + 1020 + r.below(8), few),
        14 => (0x3fff - 127 - 26 + r.below(30), few),
        15 => (0x3fff + 124 + r.below(8), few),
        16 => (0x3fff + r.pick(&[14, 15, 16, 30, 31, 32, 58, 59, 60, 62, 63, 64]), few),
        _ => (0x3fff - 4 + r.below(8), few),
    };
    u128::from(sign | e) << 64 | u128::from(m)
}

/// 128 bits with singles, doubles or integers of some width in them.
pub fn vector(r: &mut Random) -> u128 {
    let two = |low: u64, high: u64| u128::from(high) << 64 | u128::from(low);
    match r.below(4) {
        0 => {
            let pair = |r: &mut Random| u64::from(single(r)) | u64::from(single(r)) << 32;
            let low = pair(r);
            two(low, pair(r))
        }
        1 => {
            let low = double(r);
            two(low, double(r))
        }
        2 => {
            let low = integer(r);
            two(low, integer(r))
        }
        _ => (0..16).fold(0, |v, _| {
            v << 8 | u128::from(r.pick(&[0, 1, 0x7f, 0x80, 0xff, 0x0f, r.clone().bits() as u8]))
        }),
    }
}

/// x87 and SSE state.
pub fn fx(r: &mut Random) -> Fx {
    let mut fx = Fx::default();
    for x in &mut fx.xmm {
        *x = vector(r);
    }
    let integers = r.chance(20);
    for st in &mut fx.st {
        // After MMX instructions the exponents are all ones.
        *st = if integers { 0xffff << 64 | u128::from(integer(r)) } else { extended(r) };
    }
    fx.tag = match r.below(4) {
        0 => r.bits() as u8,
        1 => 0,
        _ => 0xff,
    };
    let masks = if r.chance(70) { 0x3f } else { r.bits() as u16 & 0x3f };
    let precision = r.pick(&[3, 3, 3, 2, 0]);
    fx.cw = 0x40 | masks | precision << 8 | (r.below(4) as u16) << 10;
    let mut raised = if r.chance(50) { 0 } else { r.bits() as u16 & 0x7f };
    if !r.chance(10) {
        raised &= masks | 0x40;
    }
    let summary = if raised & !masks & 0x3f != 0 { 0x8080 } else { 0 };
    fx.sw = raised | summary | (r.below(8) as u16) << 11 | (r.bits() as u16 & 0x4700);
    let masks = if r.chance(70) { 0x1f80 } else { r.bits() as u32 & 0x1f80 };
    let raised = if r.chance(50) { 0 } else { r.bits() as u32 & 0x3f };
    let zeros = if r.chance(70) { 0 } else { r.bits() as u32 & 0x8040 };
    fx.mxcsr = masks | raised | zeros | (r.below(4) as u32) << 13;
    fx
}

/// Registers: all but those that have to point somewhere.
pub fn state(mode: Mode, r: &mut Random) -> State {
    let mut state = State::new(mode);
    let (count, mask) = if mode == Mode::Long { (16, u64::MAX) } else { (8, u64::from(u32::MAX)) };
    for x in state.r.iter_mut().take(count) {
        *x = integer(r) & mask;
    }
    state.flags |= r.bits() & flag::ARITHMETIC;
    if r.chance(15) {
        state.flags |= flag::DF;
    }
    state.fx = fx(r);
    state
}
