//! Formats: how a number is taken apart into sign, exponent and significand, and put together again.

/// What kind of number a bit pattern is. `Finite` is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Zero,
    Finite,
    Inf,
    QuietNan,
    SignallingNan,
    /// A pattern of the double extended format that no operation yields (SDM vol. 1, 8.2.2).
    Unsupported,
}

/// A number taken apart. A `Finite` one is `sig * 2^(exp - 63)` with bit 63 of `sig` set, whatever the
/// format, subnormals included. A NaN's `sig` has the payload below bit 62, left-aligned, whatever the
/// format. Of the other kinds only the sign counts.
#[derive(Clone, Copy, Debug)]
pub struct Unpacked {
    pub(crate) kind: Kind,
    pub(crate) sign: bool,
    pub(crate) exp: i32,
    pub(crate) sig: u64,
    /// The exponent field is zero, the significand is not.
    pub(crate) subnormal: bool,
}

impl Unpacked {
    /// A NaN, or no number either.
    #[inline]
    pub(crate) fn is_nan(self) -> bool {
        matches!(self.kind, Kind::QuietNan | Kind::SignallingNan | Kind::Unsupported)
    }
}

/// A binary floating-point format of at most 64 bits of precision.
pub trait Format {
    /// The bit pattern.
    type Bits: Copy + PartialEq + core::fmt::Debug;
    /// Bits of the significand, with the leading one.
    const PREC: u32;
    /// The greatest exponent, which is also the bias.
    const EMAX: i32;
    /// The smallest exponent of a normal number.
    const EMIN: i32 = 1 - Self::EMAX;
    /// The canonical NaN.
    const NAN: Self::Bits;

    /// Takes a number apart.
    fn unpack(bits: Self::Bits) -> Unpacked;

    /// Puts a number together from the exponent field and the significand, leading one included, in the low
    /// [`Format::PREC`] bits. Field 0 is a zero or subnormal, `2 * EMAX + 1` an infinity.
    fn pack(sign: bool, field: u32, sig: u64) -> Self::Bits;

    /// Zero with this sign.
    #[inline]
    fn zero(sign: bool) -> Self::Bits {
        Self::pack(sign, 0, 0)
    }

    /// Infinity with this sign.
    #[inline]
    fn inf(sign: bool) -> Self::Bits {
        Self::pack(sign, (2 * Self::EMAX + 1) as u32, 1 << (Self::PREC - 1))
    }

    /// The quiet NaN with this sign and the payload of an `Unpacked` significand.
    #[inline]
    fn quiet(sign: bool, sig: u64) -> Self::Bits {
        Self::pack(sign, (2 * Self::EMAX + 1) as u32, (sig | 3 << 62) >> (64 - Self::PREC))
    }

    /// The largest finite number with this sign.
    #[inline]
    fn largest(sign: bool) -> Self::Bits {
        Self::pack(sign, (2 * Self::EMAX) as u32, u64::MAX >> (64 - Self::PREC))
    }
}

/// Takes an interchange format (IEEE 754-2019 3.4) of `prec` bits of precision and bias `emax` apart.
#[inline(always)]
fn unpack_interchange(bits: u64, prec: u32, emax: i32) -> Unpacked {
    let fraction_bits = prec - 1;
    let top = (2 * emax + 1) as u64;
    let fraction = bits & ((1 << fraction_bits) - 1);
    let rest = bits >> fraction_bits;
    let field = rest & top;
    let sign = rest > top;
    let (kind, exp, sig) = if field == top {
        let kind = match (fraction, fraction >> (fraction_bits - 1)) {
            (0, _) => Kind::Inf,
            (_, 0) => Kind::SignallingNan,
            _ => Kind::QuietNan,
        };
        (kind, 0, 1 << 63 | fraction << (64 - prec))
    } else if field != 0 {
        (Kind::Finite, field as i32 - emax, 1 << 63 | fraction << (64 - prec))
    } else if fraction != 0 {
        let zeros = fraction.leading_zeros();
        (Kind::Finite, 64 - prec as i32 - zeros as i32 + 1 - emax, fraction << zeros)
    } else {
        (Kind::Zero, 0, 0)
    };
    Unpacked { kind, sign, exp, sig, subnormal: field == 0 && fraction != 0 }
}

/// IEEE 754 binary32.
#[derive(Clone, Copy, Debug)]
pub struct F32;

impl Format for F32 {
    type Bits = u32;
    const PREC: u32 = 24;
    const EMAX: i32 = 127;
    const NAN: u32 = crate::F32_NAN;

    #[inline]
    fn unpack(bits: u32) -> Unpacked {
        unpack_interchange(u64::from(bits), Self::PREC, Self::EMAX)
    }

    #[inline]
    fn pack(sign: bool, field: u32, sig: u64) -> u32 {
        u32::from(sign) << 31 | field << 23 | (sig as u32 & 0x7f_ffff)
    }
}

/// IEEE 754 binary64.
#[derive(Clone, Copy, Debug)]
pub struct F64;

impl Format for F64 {
    type Bits = u64;
    const PREC: u32 = 53;
    const EMAX: i32 = 1023;
    const NAN: u64 = crate::F64_NAN;

    #[inline]
    fn unpack(bits: u64) -> Unpacked {
        unpack_interchange(bits, Self::PREC, Self::EMAX)
    }

    #[inline]
    fn pack(sign: bool, field: u32, sig: u64) -> u64 {
        u64::from(sign) << 63 | u64::from(field) << 52 | (sig & 0xf_ffff_ffff_ffff)
    }
}
