//! Rounding an exact result to a format (IEEE 754-2019 4.3, 7.4 to 7.6), tininess detected after rounding.

use crate::format::Format;
use crate::{NX, OF, Round, UF};

/// Whether to add one unit in the last place: `odd` is that place's bit, `rest` the fraction of a unit below it as a
/// 64-bit number, sticky in its lowest bit.
#[inline]
pub(super) fn rounds_up(rm: Round, sign: bool, odd: bool, rest: u64) -> bool {
    const HALF: u64 = 1 << 63;
    match rm {
        Round::Rne => rest > HALF || (rest == HALF && odd),
        Round::Rmm => rest >= HALF,
        Round::Rtz => false,
        Round::Rdn => sign && rest != 0,
        Round::Rup => !sign && rest != 0,
    }
}

/// Splits `hi:lo` after the `prec` highest bits of `hi`: the significand, and the fraction of a unit below it.
#[inline]
fn split(hi: u64, lo: u64, prec: u32) -> (u64, u64) {
    match 64 - prec {
        0 => (hi, lo),
        drop => (hi >> drop, hi << prec | u64::from(lo != 0)),
    }
}

/// Rounds `(-1)^sign * hi.lo * 2^(exp - 63)`, `hi` having bit 63 set and `lo` being the 64 bits below the point.
#[inline]
pub(super) fn round<F: Format>(sign: bool, exp: i32, hi: u64, lo: u64, rm: Round, flags: &mut u8) -> F::Bits {
    round_to::<F>(F::PREC, sign, exp, hi, lo, rm, flags)
}

/// [`round`] to `prec` bits of precision, at most the format's own, with the format's exponent range: what x87's
/// precision control asks for.
#[inline(always)]
fn round_to<F: Format>(
    prec: u32,
    sign: bool,
    exp: i32,
    hi: u64,
    lo: u64,
    rm: Round,
    flags: &mut u8,
) -> F::Bits {
    if exp < F::EMIN {
        return round_tiny::<F>(prec, sign, exp, hi, lo, rm, flags);
    }
    let (mut sig, rest) = split(hi, lo, prec);
    let mut exp = exp;
    if rest != 0 {
        *flags |= NX;
        if rounds_up(rm, sign, sig & 1 != 0, rest) {
            sig = sig.wrapping_add(1);
            // A carry out leaves 100...0, one bit longer (or 0, if the precision is 64).
            if sig & (u64::MAX >> (64 - prec)) == 0 {
                sig = 1 << (prec - 1);
                exp += 1;
            }
        }
    }
    if exp > F::EMAX {
        *flags |= OF | NX;
        // Overflow rounds as if any finite excess lay above the largest number.
        return if rounds_up(rm, sign, true, u64::MAX) {
            F::inf(sign)
        } else {
            F::pack(sign, (2 * F::EMAX) as u32, (u64::MAX >> (64 - prec)) << (F::PREC - prec))
        };
    }
    F::pack(sign, (exp + F::EMAX) as u32, sig << (F::PREC - prec))
}

/// [`round_to`] for what lies below the smallest normal number.
#[cold]
fn round_tiny<F: Format>(
    prec: u32,
    sign: bool,
    exp: i32,
    hi: u64,
    lo: u64,
    rm: Round,
    flags: &mut u8,
) -> F::Bits {
    // Tiny after rounding: still below the smallest normal number if rounded with an unbounded exponent.
    let (unbounded, rest) = split(hi, lo, prec);
    let carries = unbounded == u64::MAX >> (64 - prec) && rounds_up(rm, sign, true, rest);
    let tiny = !(carries && exp == F::EMIN - 1);

    let wide = (u128::from(hi) << 64) | u128::from(lo);
    let wide = super::shift_right_sticky(wide, (F::EMIN - exp) as u32);
    let (mut sig, rest) = split((wide >> 64) as u64, wide as u64, prec);
    if rest != 0 {
        *flags |= if tiny { NX | UF } else { NX };
        sig += u64::from(rounds_up(rm, sign, sig & 1 != 0, rest));
    }
    // Rounding up may have reached the smallest normal number, whose exponent field is 1.
    let field = (sig >> (prec - 1)) as u32;
    F::pack(sign, field, sig << (F::PREC - prec))
}
