//! The 80-bit format (SDM vol. 1, 4.2.2): the significand's leading bit is written out, so that there are
//! patterns that mean nothing.

use crate::format::{Format, Kind, Unpacked};
use crate::{F32, F64};

/// A double extended number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct F80 {
    /// Sign and biased exponent.
    pub sign_exp: u16,
    /// The significand, with the integer bit in bit 63.
    pub mantissa: u64,
}

impl F80 {
    /// The QNaN floating-point indefinite: the default NaN.
    pub const INDEFINITE: Self = Self { sign_exp: 0xffff, mantissa: 3 << 62 };

    /// From the format's ten bytes in memory.
    #[inline]
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        let [m @ .., low, high] = bytes;
        Self { sign_exp: u16::from_le_bytes([low, high]), mantissa: u64::from_le_bytes(m) }
    }

    /// The format's ten bytes in memory.
    #[inline]
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.mantissa.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sign_exp.to_le_bytes());
        bytes
    }

    /// The sign bit.
    #[inline]
    pub fn sign(self) -> bool {
        self.sign_exp >> 15 != 0
    }

    /// The biased exponent.
    #[inline]
    pub fn field(self) -> u16 {
        self.sign_exp & 0x7fff
    }
}

impl Format for F80 {
    type Bits = Self;
    const PREC: u32 = 64;
    const EMAX: i32 = 16383;
    /// RISC-V's rule for the canonical NaN, which x87 does not use.
    const NAN: Self = Self { sign_exp: 0x7fff, mantissa: 3 << 62 };

    #[inline]
    fn unpack(bits: Self) -> Unpacked {
        let (field, sig) = (i32::from(bits.field()), bits.mantissa);
        let integer = sig >> 63 != 0;
        let (kind, exp, sig) = match field {
            0 if sig == 0 => (Kind::Zero, 0, 0),
            // With the integer bit set it is a pseudo-denormal, of the smallest normal number's exponent.
            0 => (Kind::Finite, Self::EMIN - sig.leading_zeros() as i32, sig << sig.leading_zeros()),
            _ if !integer => (Kind::Unsupported, 0, sig),
            0x7fff => match sig << 1 {
                0 => (Kind::Inf, 0, 0),
                fraction if fraction >> 63 == 0 => (Kind::SignallingNan, 0, sig),
                _ => (Kind::QuietNan, 0, sig),
            },
            _ => (Kind::Finite, field - Self::EMAX, sig),
        };
        Unpacked { kind, sign: bits.sign(), exp, sig, subnormal: field == 0 && kind == Kind::Finite }
    }

    #[inline]
    fn pack(sign: bool, field: u32, sig: u64) -> Self {
        Self { sign_exp: u16::from(sign) << 15 | field as u16, mantissa: sig }
    }
}

/// An operand: a register's number, or one of another type in memory, which is not rounded, and raises
/// nothing, on its way.
#[derive(Clone, Copy, Debug)]
pub struct Operand(pub(crate) Unpacked);

impl From<F80> for Operand {
    #[inline]
    fn from(x: F80) -> Self {
        Self(F80::unpack(x))
    }
}

impl Operand {
    /// A binary32.
    #[inline]
    pub fn from_f32(bits: u32) -> Self {
        Self(F32::unpack(bits))
    }

    /// A binary64.
    #[inline]
    pub fn from_f64(bits: u64) -> Self {
        Self(F64::unpack(bits))
    }

    /// An integer.
    #[inline]
    pub fn from_int(x: i64) -> Self {
        F80::from_int(x).into()
    }
}

impl F80 {
    /// The number that is equal to an integer.
    #[inline]
    pub fn from_int(x: i64) -> Self {
        match x.unsigned_abs() {
            0 => Self::default(),
            magnitude => {
                let zeros = magnitude.leading_zeros();
                Self::pack(x < 0, (Self::EMAX + 63) as u32 - zeros, magnitude << zeros)
            }
        }
    }
}
