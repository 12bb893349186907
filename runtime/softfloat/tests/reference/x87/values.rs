//! Operands where x87 goes wrong: the ends of the range, patterns that are no numbers, neighbours of powers
//! of two and of integers, and operands that depend on each other.

use forelift_softfloat::x87::F80;
use std::sync::LazyLock;

pub(crate) use crate::values::{DOUBLE, Random, SINGLE, integer, operand as other_operand};

/// A number of these parts.
pub(crate) fn f80(sign_exp: u16, mantissa: u64) -> F80 {
    F80 { sign_exp, mantissa }
}

const ONE: u16 = 16383;
const INTEGER: u64 = 1 << 63;

/// Values to be tried in all combinations, both signs.
pub(crate) fn specials() -> Vec<F80> {
    let mut all = vec![
        f80(0, 0),
        f80(0, 1),
        f80(0, 2),
        f80(0, INTEGER >> 1),
        f80(0, INTEGER - 1),
        // Pseudo-denormals.
        f80(0, INTEGER),
        f80(0, INTEGER + 1),
        f80(0, u64::MAX),
        f80(1, INTEGER),
        f80(1, INTEGER + 1),
        f80(1, u64::MAX),
        f80(2, INTEGER),
        // Unnormals, a pseudo-infinity, pseudo-NaNs.
        f80(1, 1),
        f80(ONE, 0),
        f80(ONE, INTEGER - 1),
        f80(0x7ffe, 1),
        f80(0x7fff, 0),
        f80(0x7fff, 1),
        f80(0x7fff, INTEGER - 1),
        // Infinity and NaNs.
        f80(0x7fff, INTEGER),
        f80(0x7fff, INTEGER + 1),
        f80(0x7fff, INTEGER + 0x1234_5678),
        f80(0x7fff, 3 << 62),
        f80(0x7fff, 3 << 62 | 1),
        f80(0x7fff, u64::MAX),
        f80(0x7ffe, u64::MAX),
        f80(0x7ffe, INTEGER),
        f80(0x7ffd, u64::MAX),
    ];
    for field in
        [ONE - 65, ONE - 64, ONE - 63, ONE - 1, ONE, ONE + 1, ONE + 2, ONE + 15, ONE + 31, ONE + 62, ONE + 63]
    {
        all.extend([INTEGER, INTEGER + 1, 3 << 62, u64::MAX].map(|m| f80(field, m)));
    }
    // Ends of the ranges of binary32 and binary64, halves of their last places.
    for field in [
        ONE - 150,
        ONE - 149,
        ONE - 127,
        ONE - 126,
        ONE + 127,
        ONE - 1075,
        ONE - 1074,
        ONE - 1023,
        ONE - 1022,
        ONE + 1023,
    ] {
        all.extend([INTEGER, u64::MAX, !0 << 40, !0 << 39, !0 << 11, !0 << 10].map(|m| f80(field, m)));
    }
    let negative: Vec<F80> = all.iter().map(|x| f80(x.sign_exp | 0x8000, x.mantissa)).collect();
    all.extend(negative);
    all
}

/// A significand: random, sparse at either end, or a run of ones.
fn significand(random: &mut Random) -> u64 {
    let cut = random.below(64);
    INTEGER
        | match random.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => random.next() >> cut << cut,
            3 => random.next() >> cut,
            4 => u64::MAX << cut,
            5 => (u64::MAX >> cut) ^ random.below(4),
            6 => 1 << cut,
            _ => random.next(),
        }
}

/// A number of the exponent field nearest to `field`.
pub(crate) fn of_field(random: &mut Random, field: i64) -> F80 {
    let sign = (random.next() & 0x8000) as u16;
    let significand = significand(random);
    match field {
        1..0x7fff => f80(sign | field as u16, significand),
        0x7fff.. => f80(sign | 0x7ffe, significand),
        _ => f80(sign, significand & !INTEGER >> (-field).min(63)),
    }
}

/// An operand on its own.
pub(crate) fn operand(random: &mut Random) -> F80 {
    let one = i64::from(ONE);
    match random.below(20) {
        0 | 1 => {
            static SPECIALS: LazyLock<Vec<F80>> = LazyLock::new(specials);
            random.pick(&SPECIALS)
        }
        2 => {
            let around = random.around(3);
            of_field(random, around)
        }
        3 => {
            let field = 0x7ffe - random.below(4) as i64;
            of_field(random, field)
        }
        4 => f80(random.next() as u16, random.next()),
        5..=9 => {
            let field = one + random.around(70);
            of_field(random, field)
        }
        10 | 11 => near_integer(random),
        12 => near_format(random),
        _ => {
            let field = random.below(0x7fff) as i64;
            of_field(random, field)
        }
    }
}

/// An integer or half of one, or next to it; often at a bound of an integer type.
pub(crate) fn near_integer(random: &mut Random) -> F80 {
    let bits = random.pick(&[1, 7, 8, 14, 15, 16, 17, 30, 31, 32, 33, 59, 60, 61, 62, 63, 64]);
    let mut significand = significand(random);
    let cut = 63_u32.saturating_sub(bits).saturating_sub(random.below(2) as u32);
    if random.below(3) != 0 {
        significand = significand >> cut << cut;
    }
    significand = significand.wrapping_add(random.around(1) as u64) | INTEGER;
    f80((ONE + bits as u16) | (random.next() & 0x8000) as u16, significand)
}

/// A number near one of binary32 or binary64, or near the middle between two.
fn near_format(random: &mut Random) -> F80 {
    let (fraction, lowest, highest) = random.pick(&[(40, -150, 128), (11, -1076, 1024)]);
    let range = (highest - lowest) as u64;
    let exponent = match random.below(4) {
        0 => lowest + random.below(60) as i64,
        1 => highest - random.below(3) as i64,
        _ => lowest + random.below(range) as i64,
    };
    let cut = fraction - 1 + random.below(2) + if random.below(4) == 0 { random.below(24) } else { 0 };
    let moved = (significand(random) >> cut << cut).wrapping_add(random.around(1) as u64);
    f80((i64::from(ONE) + exponent) as u16 | (random.next() & 0x8000) as u16, moved | INTEGER)
}

fn field(x: F80) -> i64 {
    i64::from(x.field())
}

/// The other term of a sum: cancels, or meets the last places.
pub(crate) fn partner_in_sum(random: &mut Random, a: F80) -> F80 {
    match random.below(4) {
        0 => {
            let moved = a.mantissa.wrapping_add(random.around(2) as u64);
            f80(a.sign_exp ^ (random.next() & 0x8000) as u16, moved | a.mantissa & INTEGER)
        }
        1 => {
            let target = field(a) - 63 + random.around(3);
            of_field(random, target)
        }
        2 => {
            let target = field(a) + random.around(2);
            of_field(random, target)
        }
        _ => {
            let target = field(a) + random.around(66);
            of_field(random, target)
        }
    }
}

/// A factor (or a divisor, if `divides`) that puts the result at underflow, at overflow, or near one.
pub(crate) fn partner_in_product(random: &mut Random, a: F80, divides: bool) -> F80 {
    let one = i64::from(ONE);
    let target = match random.below(4) {
        0 => 1 + random.around(3),
        1 => random.around(66),
        2 => 2 * one + random.around(2),
        _ => one + random.around(66),
    };
    let wanted = if divides { field(a) - target + one } else { target + one - field(a) };
    of_field(random, wanted)
}

/// A square, or a number next to one.
pub(crate) fn square(random: &mut Random) -> F80 {
    let root = random.next() >> 32 | 1 << 31;
    let square = root * root;
    let zeros = square.leading_zeros() as u64;
    let exponent = 2 * random.around(4000) + 63 - zeros as i64;
    let moved = (square << zeros).wrapping_add(random.pick(&[0, 0, 1, u64::MAX]));
    f80((i64::from(ONE) + exponent) as u16, moved | INTEGER)
}
