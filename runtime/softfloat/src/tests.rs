//! Edge values whose results the standard or the ISA manual states, and the fast paths against the integers.
//! What every instruction does with everything else is tested in `tests/reference`.

use crate::*;

const INF: u32 = 0x7f80_0000;
const SIGNALLING: u32 = 0x7f80_0001;
const MINUS_ZERO: u32 = 0x8000_0000;
const ONE: u32 = 0x3f80_0000;
const LEAST_NORMAL: u32 = 0x0080_0000;

/// The result and the flags raised.
fn flagged<T>(op: impl FnOnce(&mut u8) -> T) -> (T, u8) {
    let mut flags = 0;
    let result = op(&mut flags);
    (result, flags)
}

#[test]
fn reserved_rounding_modes_are_none() {
    assert_eq!((0..=255).filter_map(Round::from_rm).collect::<Vec<_>>(), Round::ALL);
}

#[test]
fn only_boxed_singles_unbox() {
    assert_eq!(f32_unbox(f32_box(ONE)), ONE);
    assert_eq!(f32_unbox(u64::from(ONE)), F32_NAN);
    assert_eq!(f32_unbox(0xffff_fffe_0000_0000), F32_NAN);
}

#[test]
fn flags_accrue() {
    let mut flags = DZ;
    f32_mul(ONE + 1, ONE + 1, Round::Rne, &mut flags);
    assert_eq!(flags, DZ | NX);
    f32_add(ONE, ONE, Round::Rne, &mut flags);
    assert_eq!(flags, DZ | NX);
}

#[test]
fn invalid_operations_give_the_canonical_nan() {
    for rm in Round::ALL {
        assert_eq!(flagged(|f| f32_sub(INF, INF, rm, f)), (F32_NAN, NV));
        assert_eq!(flagged(|f| f32_mul(INF, 0, rm, f)), (F32_NAN, NV));
        assert_eq!(flagged(|f| f32_div(0, 0, rm, f)), (F32_NAN, NV));
        assert_eq!(flagged(|f| f32_sqrt(ONE | 1 << 31, rm, f)), (F32_NAN, NV));
        assert_eq!(flagged(|f| f32_fma(INF, 0, F32_NAN, rm, f)), (F32_NAN, NV));
        assert_eq!(flagged(|f| f32_add(0xffff_ffff, ONE, rm, f)), (F32_NAN, 0));
        assert_eq!(flagged(|f| f32_add(SIGNALLING, ONE, rm, f)), (F32_NAN, NV));
        assert_eq!(flagged(|f| f32_div(ONE, MINUS_ZERO, rm, f)), (INF | 1 << 31, DZ));
        assert_eq!(flagged(|f| f32_to_f64(SIGNALLING, f)), (F64_NAN, NV));
    }
}

#[test]
fn zeros_have_signs() {
    for rm in Round::ALL {
        let cancelled = if rm == Round::Rdn { MINUS_ZERO } else { 0 };
        assert_eq!(flagged(|f| f32_sub(ONE, ONE, rm, f)), (cancelled, 0));
        assert_eq!(flagged(|f| f32_fma(ONE, ONE, ONE | 1 << 31, rm, f)), (cancelled, 0));
        assert_eq!(flagged(|f| f32_add(MINUS_ZERO, MINUS_ZERO, rm, f)), (MINUS_ZERO, 0));
        assert_eq!(flagged(|f| f32_sqrt(MINUS_ZERO, rm, f)), (MINUS_ZERO, 0));
    }
    assert_eq!(flagged(|f| f32_min(0, MINUS_ZERO, f)), (MINUS_ZERO, 0));
    assert_eq!(flagged(|f| f32_max(MINUS_ZERO, 0, f)), (0, 0));
    assert_eq!(flagged(|f| f32_eq(MINUS_ZERO, 0, f)), (true, 0));
}

#[test]
fn minimum_and_maximum_prefer_numbers() {
    assert_eq!(flagged(|f| f32_min(F32_NAN, ONE, f)), (ONE, 0));
    assert_eq!(flagged(|f| f32_max(ONE, SIGNALLING, f)), (ONE, NV));
    assert_eq!(flagged(|f| f32_min(0xffff_ffff, 0x7fff_ffff, f)), (F32_NAN, 0));
}

#[test]
fn comparisons_of_nans() {
    assert_eq!(flagged(|f| f32_eq(F32_NAN, ONE, f)), (false, 0));
    assert_eq!(flagged(|f| f32_eq(SIGNALLING, ONE, f)), (false, NV));
    assert_eq!(flagged(|f| f32_lt(F32_NAN, ONE, f)), (false, NV));
    assert_eq!(flagged(|f| f32_le(ONE, F32_NAN, f)), (false, NV));
}

#[test]
fn tininess_is_detected_after_rounding() {
    // 2^-126 * (1 - 2^-24) has 24 bits, so that it stays below 2^-126 if the exponent is unbounded: tiny,
    // although the result is the least normal number.
    let below_one = ONE - 1;
    assert_eq!(flagged(|f| f32_mul(LEAST_NORMAL, below_one, Round::Rne, f)), (LEAST_NORMAL, NX | UF));
    // 2^-126 * (1 - 2^-26) rounds up to 2^-126 even so: not tiny.
    let nearer =
        (f64::from_bits(0x3810_0000_0000_0000) * (1.0 - f64::from_bits(0x3e50_0000_0000_0000))).to_bits();
    assert_eq!(flagged(|f| f64_to_f32(nearer, Round::Rne, f)), (LEAST_NORMAL, NX));
    assert_eq!(flagged(|f| f64_to_f32(nearer, Round::Rtz, f)), (LEAST_NORMAL - 1, NX | UF));
    // An exact subnormal does not underflow.
    assert_eq!(flagged(|f| f32_mul(LEAST_NORMAL, 0x3f00_0000, Round::Rne, f)), (LEAST_NORMAL / 2, 0));
}

#[test]
fn overflow_goes_where_the_mode_says() {
    let largest = INF - 1;
    let results = Round::ALL.map(|rm| flagged(|f| f32_add(largest, largest, rm, f)));
    assert_eq!(results, [INF, largest, largest, INF, INF].map(|result| (result, OF | NX)));
}

#[test]
fn conversions_to_integers_saturate() {
    let to_f64 = |x: f64| x.to_bits();
    assert_eq!(flagged(|f| f64_to_i32(to_f64(2_147_483_647.5), Round::Rtz, f)), (i32::MAX, NX));
    assert_eq!(flagged(|f| f64_to_i32(to_f64(2_147_483_647.5), Round::Rne, f)), (i32::MAX, NV));
    assert_eq!(flagged(|f| f64_to_i32(to_f64(-2_147_483_648.9), Round::Rtz, f)), (i32::MIN, NX));
    assert_eq!(flagged(|f| f64_to_u32(to_f64(-0.9), Round::Rtz, f)), (0, NX));
    assert_eq!(flagged(|f| f64_to_u32(to_f64(-0.9), Round::Rdn, f)), (0, NV));
    assert_eq!(flagged(|f| f64_to_u64(F64_NAN | 1 << 63, Round::Rne, f)), (u64::MAX, NV));
    assert_eq!(flagged(|f| f64_to_i64(F64_NAN, Round::Rne, f)), (i64::MAX, NV));
    assert_eq!(flagged(|f| f32_to_i64(INF | 1 << 31, Round::Rne, f)), (i64::MIN, NV));
    assert_eq!(flagged(|f| f64_to_i32(to_f64(2.5), Round::Rmm, f)), (3, NX));
}

#[test]
fn conversions_from_integers_round() {
    assert_eq!(flagged(|f| f64_from_i64(i64::MAX, Round::Rne, f)), (0x43e0_0000_0000_0000, NX));
    assert_eq!(flagged(|f| f64_from_i64(i64::MAX, Round::Rtz, f)), (0x43df_ffff_ffff_ffff, NX));
    assert_eq!(flagged(|f| f32_from_u32(u32::MAX, Round::Rne, f)), (0x4f80_0000, NX));
    assert_eq!(flagged(|f| f64_from_i64(i64::MIN, Round::Rup, f)), (0xc3e0_0000_0000_0000, 0));
    assert_eq!(flagged(|f| f32_from_i32(0, Round::Rdn, f)), (0, 0));
}

#[test]
fn classes() {
    let values = [INF, ONE, 1, 0].map(|x| x | 1 << 31);
    let values = values.into_iter().chain([0, 1, ONE, INF, SIGNALLING, F32_NAN]);
    for (bit, value) in values.enumerate() {
        assert_eq!(f32_classify(value), 1 << bit, "{value:#x}");
    }
}

/// Operands of few significand bits around 1, or of any kind, from a linear congruential generator.
fn operand(state: &mut u64) -> u64 {
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 32
    };
    let (kind, high, low) = (next(), next(), next());
    let bits = high << 32 | low;
    match kind % 4 {
        0 => bits,
        1 => 0x3f00_0000_0000_0000 ^ bits & 0x81ff_ffff_ffff_ffff,
        2 => 0x3fe0_0000_0000_0000 ^ bits & (0x803f_ffff_ffff_ffff << (kind / 4 % 50)),
        _ => bits & 0x800f_ffff_ffff_ffff | u64::from(kind & 4 != 0) << 62,
    }
}

/// The same on every target: run in WASM it shows that the host's arithmetic keeps what the fast paths
/// assume.
#[test]
fn fast_paths_agree_with_the_integers() {
    let mut state = 1;
    for case in 0..200_000 {
        let [a, b, c] = [(); 3].map(|()| operand(&mut state));
        let [s, t, u] = [a, b, c].map(|x| f64_to_f32(x, Round::Rne, &mut 0));
        let before = if case % 2 == 0 { NX } else { 0 };
        let rm = if case % 8 < 6 { Round::Rne } else { Round::ALL[case % 5] };
        macro_rules! agree {
            ($fast:expr, $soft:expr, $($arg:expr),+) => {{
                let (mut fast_flags, mut soft_flags) = (before, before);
                let fast = $fast($($arg,)+ rm, &mut fast_flags);
                let soft = $soft($($arg,)+ rm, &mut soft_flags);
                assert_eq!((fast, fast_flags), (soft, soft_flags), "{} {:x?} {rm:?}", stringify!($fast), [$($arg),+]);
            }};
        }
        agree!(f64_add, soft::add::<F64>, a, b);
        agree!(f64_sub, soft::sub::<F64>, a, b);
        agree!(f64_mul, soft::mul::<F64>, a, b);
        agree!(f64_div, soft::div::<F64>, a, b);
        agree!(f64_sqrt, soft::sqrt::<F64>, a);
        agree!(f64_fma, soft::fma::<F64>, a, b, c);
        agree!(f32_add, soft::add::<F32>, s, t);
        agree!(f32_sub, soft::sub::<F32>, s, t);
        agree!(f32_mul, soft::mul::<F32>, s, t);
        agree!(f32_div, soft::div::<F32>, s, t);
        agree!(f32_sqrt, soft::sqrt::<F32>, s);
        agree!(f32_fma, soft::fma::<F32>, s, t, u);
        agree!(f64_to_f32, soft::convert::<F64, F32>, a);
        let to_int = |a, rm, flags: &mut u8| soft::to_int::<F64>(a, soft::Limits::I64, rm, flags) as i64;
        agree!(f64_to_i64, to_int, a);
        let from_int = |a, rm, flags: &mut u8| soft::from_int::<F64>(false, a, rm, flags);
        agree!(f64_from_u64, from_int, a);
    }
}

/// Sums of a product and what nearly cancels it, or nearly is half of its last place, or twice that.
#[test]
fn fused_sums_round_once_where_it_is_close() {
    let mut state = 2;
    let mut next = || operand(&mut state);
    for case in 0..300_000_u64 {
        let (a, b) = (next() & !(0x3ff << 52) | 0x3ff << 52, next() & !(0x3ff << 52) | 0x3ff << 52);
        // Factors of few bits make sums that are exact, or exactly between two numbers.
        let few = |x: u64| if case % 3 == 0 { x } else { x & (u64::MAX << (20 + case % 32)) };
        let (a, b) = (few(a), few(b));
        let product = f64::from_bits(a) * f64::from_bits(b);
        let ulps = (case / 8 % 5) as i64 - 2;
        let near = (-product).to_bits().wrapping_add_signed(ulps);
        let exponent = [0, -52, -53, -54, 52, 53, 54, -106][case as usize % 8];
        let c = (f64::from_bits(near) * f64::powi(2.0, exponent)).to_bits() ^ (case / 40 % 2) << 63;
        let (mut fast_flags, mut soft_flags) = (NX, NX);
        let fast = f64_fma(a, b, c, Round::Rne, &mut fast_flags);
        let soft = soft::fma::<F64>(a, b, c, Round::Rne, &mut soft_flags);
        assert_eq!((fast, fast_flags), (soft, soft_flags), "{a:#x} * {b:#x} + {c:#x}");
    }
}

/// RISC-V's rules over the double extended format.
#[test]
fn sixty_four_bits_of_precision_round() {
    let f80 = |sign_exp, mantissa| x87::F80 { sign_exp, mantissa };
    let one = f80(0x3fff, 1 << 63);
    let two = f80(0x4000, 1 << 63);
    let three = f80(0x4000, 3 << 62);
    let (rne, rtz) = (Round::Rne, Round::Rtz);
    let third = |rm| flagged(|f| soft::div::<x87::F80>(one, three, rm, f));
    assert_eq!(third(rne), (f80(0x3ffd, 0xaaaa_aaaa_aaaa_aaab), NX));
    assert_eq!(third(rtz), (f80(0x3ffd, 0xaaaa_aaaa_aaaa_aaaa), NX));
    // 2^63.5 is 0xb504f333f9de6484.597d...
    let root = |rm| flagged(|f| soft::sqrt::<x87::F80>(two, rm, f));
    assert_eq!(root(rne), (f80(0x3fff, 0xb504_f333_f9de_6484), NX));
    assert_eq!(root(Round::Rup), (f80(0x3fff, 0xb504_f333_f9de_6485), NX));
    // A tie, a carry out of all 64 bits, overflow, underflow.
    let sum = |a, b, rm| flagged(|f| soft::add::<x87::F80>(a, b, rm, f));
    assert_eq!(sum(one, f80(0x3fff - 64, 1 << 63), rne), (one, NX));
    assert_eq!(sum(one, f80(0x3fff - 64, 1 << 63), Round::Rmm), (f80(0x3fff, 1 << 63 | 1), NX));
    assert_eq!(sum(f80(0x3fff, u64::MAX), f80(0x3fff - 64, 1 << 63), rne), (two, NX));
    assert_eq!(sum(f80(0x7ffe, u64::MAX), f80(0x7ffe, u64::MAX), rne), (f80(0x7fff, 1 << 63), OF | NX));
    assert_eq!(sum(f80(0x7ffe, u64::MAX), f80(0x7ffe, u64::MAX), rtz), (f80(0x7ffe, u64::MAX), OF | NX));
    let product = |a, b, rm| flagged(|f| soft::mul::<x87::F80>(a, b, rm, f));
    assert_eq!(product(f80(1, 1 << 63), f80(0x3ffe, 1 << 63 | 1), rne), (f80(0, 1 << 62), NX | UF));
    assert_eq!(product(f80(1, 1 << 63), f80(0x3ffe, u64::MAX), rne), (f80(1, 1 << 63), NX | UF));
}
