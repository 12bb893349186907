//! Rounding an exact result to a format (IEEE 754-2019 4.3, 7.4 to 7.6), tininess detected after rounding.

use super::context::{Context, Outside, UP};
use crate::format::Format;
use crate::{NX, OF, Round, UF};

/// Whether to add one unit in the last place: `odd` is that place's bit, `rest` the fraction of a unit below
/// it as a 64-bit number, sticky in its lowest bit.
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

/// Splits `hi:lo` after the `prec` highest bits of `hi`: the significand, and the fraction of a unit below
/// it.
#[inline]
fn split(hi: u64, lo: u64, prec: u32) -> (u64, u64) {
    match 64 - prec {
        0 => (hi, lo),
        drop => (hi >> drop, hi << prec | u64::from(lo != 0)),
    }
}

/// A significand of `prec` bits with a unit in the last place added, if `up`; and its exponent.
#[inline]
fn increment(sig: u64, exp: i32, prec: u32, up: bool) -> (u64, i32) {
    let sig = sig.wrapping_add(u64::from(up));
    // A carry out leaves 100...0, one bit longer (or 0, if the precision is 64).
    if up && sig & (u64::MAX >> (64 - prec)) == 0 { (1 << (prec - 1), exp + 1) } else { (sig, exp) }
}

/// Rounds `(-1)^sign * hi.lo * 2^(exp - 63)`, `hi` having bit 63 set and `lo` being the 64 bits below the
/// point, to the context's precision, with the format's exponent range.
#[inline]
pub(crate) fn round<F: Format, C: Context>(sign: bool, exp: i32, hi: u64, lo: u64, cx: &mut C) -> F::Bits {
    if exp < F::EMIN {
        return round_tiny::<F, C>(sign, exp, hi, lo, cx);
    }
    let (prec, rm) = (cx.precision::<F>(), cx.rounding());
    let (sig, rest) = split(hi, lo, prec);
    let up = rest != 0 && rounds_up(rm, sign, sig & 1 != 0, rest);
    let (sig, exp) = increment(sig, exp, prec, up);
    if exp > F::EMAX {
        let sig = sig << (F::PREC - prec);
        return overflow::<F, C>(Outside { sign, exp, sig, inexact: rest != 0, up }, cx);
    }
    if rest != 0 {
        cx.raise(if up { NX | UP } else { NX });
    }
    F::pack(sign, (exp + F::EMAX) as u32, sig << (F::PREC - prec))
}

#[cold]
fn overflow<F: Format, C: Context>(result: Outside, cx: &mut C) -> F::Bits {
    if let Some(bits) = cx.huge::<F>(result) {
        return bits;
    }
    // Overflow rounds as if any finite excess lay above the largest number.
    if rounds_up(cx.rounding(), result.sign, true, u64::MAX) {
        cx.raise(OF | NX | UP);
        F::inf(result.sign)
    } else {
        cx.raise(OF | NX);
        let prec = cx.precision::<F>();
        F::pack(result.sign, (2 * F::EMAX) as u32, (u64::MAX >> (64 - prec)) << (F::PREC - prec))
    }
}

/// [`round`] for what lies below the smallest normal number.
#[cold]
fn round_tiny<F: Format, C: Context>(sign: bool, exp: i32, hi: u64, lo: u64, cx: &mut C) -> F::Bits {
    let (prec, rm) = (cx.precision::<F>(), cx.rounding());
    // Tiny after rounding: still below the smallest normal number if rounded with an unbounded exponent.
    let (unbounded, rest) = split(hi, lo, prec);
    let up = rest != 0 && rounds_up(rm, sign, unbounded & 1 != 0, rest);
    let (unbounded, unbounded_exp) = increment(unbounded, exp, prec, up);
    let tiny = unbounded_exp < F::EMIN;
    if tiny {
        let sig = unbounded << (F::PREC - prec);
        let result = Outside { sign, exp: unbounded_exp, sig, inexact: rest != 0, up };
        if let Some(bits) = cx.tiny::<F>(result) {
            return bits;
        }
    }

    let wide = (u128::from(hi) << 64) | u128::from(lo);
    let wide = shift_right_sticky(wide, (F::EMIN - exp) as u32);
    let (mut sig, rest) = split((wide >> 64) as u64, wide as u64, prec);
    if rest != 0 {
        let up = rounds_up(rm, sign, sig & 1 != 0, rest);
        sig += u64::from(up);
        cx.raise(NX | if tiny { UF } else { 0 } | if up { UP } else { 0 });
    }
    // Rounding up may have reached the smallest normal number, whose exponent field is 1.
    let field = (sig >> (prec - 1)) as u32;
    F::pack(sign, field, sig << (F::PREC - prec))
}

/// Shifts right; bits lost set the lowest bit of the result.
#[inline]
pub(super) fn shift_right_sticky(x: u128, by: u32) -> u128 {
    match by {
        0 => x,
        1..=127 => x >> by | u128::from(x << (128 - by) != 0),
        _ => u128::from(x != 0),
    }
}
