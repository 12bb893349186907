//! Operands that test something.

use super::Rng;

/// Integers at which something changes.
const INTEGERS: &[u64] = &[
    0,
    1,
    2,
    u64::MAX,
    u64::MAX - 1,
    i64::MAX as u64,
    i64::MIN as u64,
    i64::MIN as u64 + 1,
    i32::MAX as u64,
    i32::MIN as i64 as u64,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    0x7fff,
    0x8000,
    0xff,
    0x5555_5555_5555_5555,
    0xaaaa_aaaa_aaaa_aaaa,
];

/// Doubles at which something changes.
const DOUBLES: &[u64] = &[
    0,
    1 << 63,
    0x3ff0_0000_0000_0000, // 1
    0xbff0_0000_0000_0000,
    0x3ff0_0000_0000_0001,
    0x3fef_ffff_ffff_ffff,
    0x4000_0000_0000_0000,
    0x3fe0_0000_0000_0000,
    0x4008_0000_0000_0000,
    0x7ff0_0000_0000_0000, // infinities
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000, // quiet NaNs
    0xfff8_0000_0000_1234,
    0x7ff0_0000_0000_0001, // signalling NaNs
    0xfff4_0000_0000_0000,
    0x0000_0000_0000_0001, // denormals
    0x800f_ffff_ffff_ffff,
    0x0010_0000_0000_0000, // smallest normal
    0x7fef_ffff_ffff_ffff, // largest
    0xffef_ffff_ffff_ffff,
    0x41df_ffff_ffc0_0000, // 2^31 - 1
    0xc1e0_0000_0020_0000, // -2^31 - 1
    0x43e0_0000_0000_0000, // 2^63
    0x43ef_ffff_ffff_ffff, // below 2^64
    0x47ef_ffff_f000_0000, // rounds beyond the largest single
    0x3690_0000_0000_0000, // half of the smallest single denormal
];

/// Singles at which something changes.
const SINGLES: &[u32] = &[
    0,
    1 << 31,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x3f7f_ffff,
    0x4000_0000,
    0x3f00_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_1234,
    0x7f80_0001,
    0xffa0_0000,
    0x0000_0001,
    0x807f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x4eff_ffff,
    0xcf00_0001,
    0x5f00_0000,
    0x5f7f_ffff,
];

/// An edge, a number of random length, or any bits.
pub(super) fn integer(rng: &mut Rng) -> u64 {
    let any = rng.next_u64();
    match rng.below(3) {
        0 => rng.pick(INTEGERS),
        1 => (any as i64 >> (any & 63)) as u64,
        _ => any,
    }
}

/// An edge; or one of like size with few or many bits set, so that sums cancel, products stay in range and
/// quotients come out exact; or one of any size.
pub(super) fn double(rng: &mut Rng) -> u64 {
    let any = rng.next_u64();
    let sparse = rng.next_u64() & 0xffff << 36;
    let near = (0x3f0 | any & 0x1f) << 52 | any & 1 << 63;
    match rng.below(5) {
        0 => rng.pick(DOUBLES),
        1 => near | any >> 12,
        2 | 3 => near | sparse,
        _ => any,
    }
}

/// As [`double`], boxed (high half all ones); one in 16 is not boxed and so counts as NaN.
pub(super) fn single(rng: &mut Rng) -> u64 {
    let any = rng.next_u64();
    let sparse = rng.next_u64() as u32 & 0xff << 15;
    let near = (0x70 | any as u32 & 0x1f) << 23 | any as u32 & 1 << 31;
    let bits = match rng.below(5) {
        0 => rng.pick(SINGLES),
        1 => near | any as u32 >> 9,
        2 | 3 => near | sparse,
        _ => any as u32,
    };
    if rng.one_in(16) { u64::from(bits) } else { u64::from(bits) | 0xffff_ffff << 32 }
}

/// Any of the three.
pub(super) fn value(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 | 1 => integer(rng),
        2 => double(rng),
        _ => single(rng),
    }
}
