//! What surrounds an operation: rounding, and the instruction set's choices where IEEE 754 leaves one.

use crate::Round;
use crate::format::{Format, Kind, Unpacked};
use crate::{NV, NX, OF, UF};

/// Not a flag of IEEE 754: the magnitude was rounded up (x87's C1).
pub(crate) const UP: u8 = 1 << 7;

/// A result that was rounded with an unbounded exponent and does not fit.
#[derive(Clone, Copy, Debug)]
pub struct Outside {
    /// The sign.
    pub sign: bool,
    /// The exponent.
    pub exp: i32,
    /// The significand, in the low bits that [`Format::pack`] takes.
    pub sig: u64,
    /// Rounding changed the value.
    pub inexact: bool,
    /// Rounding increased the magnitude.
    pub up: bool,
}

/// How an instruction set rounds, where its exceptions go, and what it makes of NaNs.
pub trait Context {
    /// The rounding mode.
    fn rounding(&self) -> Round;

    /// Accrues flags.
    fn raise(&mut self, flags: u8);

    /// Bits that results are rounded to, at most the format's own.
    #[inline]
    fn precision<F: Format>(&self) -> u32 {
        F::PREC
    }

    /// The result of an operation on these operands, one of which at least is a NaN (or no number at all).
    fn nan<F: Format>(&mut self, operands: &[Unpacked]) -> F::Bits;

    /// The result of an operation that has none.
    fn invalid<F: Format>(&mut self) -> F::Bits;

    /// The result if the exponent is too large, with the flags that it raises; `None` for that of IEEE 754's
    /// default exception handling.
    #[inline]
    fn huge<F: Format>(&mut self, _result: Outside) -> Option<F::Bits> {
        None
    }

    /// As [`Context::huge`], if the exponent is too small.
    #[inline]
    fn tiny<F: Format>(&mut self, _result: Outside) -> Option<F::Bits> {
        None
    }
}

/// RISC-V: NaNs are canonical, exceptions only set flags.
pub(super) struct RiscV<'a> {
    pub(super) rm: Round,
    pub(super) flags: &'a mut u8,
}

impl Context for RiscV<'_> {
    #[inline]
    fn rounding(&self) -> Round {
        self.rm
    }

    #[inline]
    fn raise(&mut self, flags: u8) {
        *self.flags |= flags & (NV | OF | UF | NX | crate::DZ);
    }

    #[cold]
    fn nan<F: Format>(&mut self, operands: &[Unpacked]) -> F::Bits {
        if operands.iter().any(|x| x.kind == Kind::SignallingNan) {
            self.raise(NV);
        }
        F::NAN
    }

    #[cold]
    fn invalid<F: Format>(&mut self) -> F::Bits {
        self.raise(NV);
        F::NAN
    }
}
