//! MXCSR during one instruction: rounding, denormals and exceptions.

use crate::format::{Format, Kind, Unpacked};
use crate::soft::{Context, Outside};
use crate::{DZ, NV, NX, OF, Round, UF};

/// Invalid operation.
pub const IE: u8 = 1;
/// Denormal operand.
pub const DE: u8 = 2;
/// Division of a finite non-zero number by zero.
pub const ZE: u8 = 4;
/// Overflow.
pub const OE: u8 = 8;
/// Underflow.
pub const UE: u8 = 16;
/// Precision: the result was rounded.
pub const PE: u8 = 32;

/// MXCSR: denormals are zeros.
const DAZ: u32 = 1 << 6;
/// MXCSR: where the masks begin, in the order of the flags.
const MASKS: u32 = 7;
/// MXCSR: where the rounding control begins.
const RC: u32 = 13;
/// MXCSR: flush to zero.
const FTZ: u32 = 1 << 15;

/// The rounding mode of a two-bit field as MXCSR, the x87 control word and ROUNDSD's immediate have it.
#[inline]
pub fn rounding(field: u32) -> Round {
    match field & 3 {
        0 => Round::Rne,
        1 => Round::Rdn,
        2 => Round::Rup,
        _ => Round::Rtz,
    }
}

/// The crate's flags as MXCSR and the x87 status word have them.
#[inline]
pub(crate) fn flags(ieee: u8) -> u8 {
    (ieee & NX) << 5 | (ieee & UF) << 3 | (ieee & OF) << 1 | (ieee & DZ) >> 1 | (ieee & NV) >> 4
}

/// MXCSR, and what one instruction raises.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    pub(super) mxcsr: u32,
    pub(super) raised: u8,
}

impl Env {
    /// The environment of an instruction.
    #[inline]
    pub fn new(mxcsr: u32) -> Self {
        Self { mxcsr, raised: 0 }
    }

    /// MXCSR's rounding mode.
    #[inline]
    pub fn rounding(&self) -> Round {
        rounding(self.mxcsr >> RC)
    }

    /// What has been raised so far, in MXCSR's order: what the instruction would do if nothing were masked.
    #[inline]
    pub fn raised(&self) -> u8 {
        self.raised
    }

    /// Raises exceptions, in MXCSR's order.
    #[inline]
    pub fn raise(&mut self, flags: u8) {
        self.raised |= flags;
    }

    /// The new MXCSR, and whether an unmasked exception was raised: then the instruction has no other effect
    /// than on MXCSR, and faults (#XM).
    ///
    /// An unmasked exception that is detected before the operation keeps those that are detected after it
    /// from being found in any element (SDM vol. 1, 11.5.2, 11.5.3).
    #[inline]
    pub fn finish(self) -> (u32, bool) {
        let unmasked = self.raised & !((self.mxcsr >> MASKS) as u8);
        let seen = if unmasked & (IE | DE | ZE) != 0 { self.raised & (IE | DE | ZE) } else { self.raised };
        (self.mxcsr | u32::from(seen), unmasked != 0)
    }

    /// Rounding is to nearest even.
    #[inline]
    pub(super) fn is_nearest(&self) -> bool {
        self.mxcsr >> RC & 3 == 0
    }

    /// PE is set, and masked: there is no need to find out if it is raised again.
    #[inline]
    pub(super) fn is_inexact_settled(&self) -> bool {
        const SETTLED: u32 = PE as u32 | (PE as u32) << MASKS;
        self.mxcsr & SETTLED == SETTLED
    }

    #[inline]
    pub(super) fn is_daz(&self) -> bool {
        self.mxcsr & DAZ != 0
    }

    pub(super) fn is_masked(&self, flag: u8) -> bool {
        self.mxcsr >> MASKS & u32::from(flag) != 0
    }

    /// The operand as DAZ has it.
    pub(super) fn operand<F: Format>(&self, bits: F::Bits) -> F::Bits {
        let x = F::unpack(bits);
        if x.subnormal && self.is_daz() { F::zero(x.sign) } else { bits }
    }

    /// The operands as DAZ has them, taken apart.
    pub(super) fn unpack<F: Format, const N: usize>(&self, operands: [F::Bits; N]) -> [Unpacked; N] {
        operands.map(|bits| F::unpack(self.operand::<F>(bits)))
    }

    /// Calls an operation of [`crate::soft`].
    pub(super) fn call<T, const N: usize>(
        &mut self,
        operands: [Unpacked; N],
        op: impl FnOnce([Unpacked; N], &mut Sse) -> T,
    ) -> T {
        let mut cx = Sse { env: *self, raised: 0 };
        let result = op(operands, &mut cx);
        self.raised |= flags(cx.raised) | denormal(&operands, cx.raised);
        result
    }
}

/// DE, if an operand is denormal: but what keeps the operation from being done comes first (SDM vol. 1,
/// 4.9.2).
pub(crate) fn denormal(operands: &[Unpacked], ieee: u8) -> u8 {
    let any =
        ieee & (NV | DZ) == 0 && operands.iter().any(|x| x.subnormal) && !operands.iter().any(|x| x.is_nan());
    u8::from(any) * DE
}

/// The context of one operation on one element.
pub(super) struct Sse {
    env: Env,
    raised: u8,
}

impl Context for Sse {
    fn rounding(&self) -> Round {
        self.env.rounding()
    }

    fn raise(&mut self, flags: u8) {
        self.raised |= flags;
    }

    /// The first operand that is a NaN, quieted (SDM vol. 1, table 4-7).
    fn nan<F: Format>(&mut self, operands: &[Unpacked]) -> F::Bits {
        if operands.iter().any(|x| x.kind == Kind::SignallingNan) {
            self.raise(NV);
        }
        match operands.iter().find(|x| x.is_nan()) {
            Some(x) => F::quiet(x.sign, x.sig),
            None => F::quiet(true, 0),
        }
    }

    /// The QNaN floating-point indefinite.
    fn invalid<F: Format>(&mut self) -> F::Bits {
        self.raise(NV);
        F::quiet(true, 0)
    }

    /// Unmasked overflow: the result goes nowhere, and need not be inexact.
    fn huge<F: Format>(&mut self, result: Outside) -> Option<F::Bits> {
        if self.env.is_masked(OE) {
            return None;
        }
        self.raise(if result.inexact { OF | NX } else { OF });
        Some(F::inf(result.sign))
    }

    /// Unmasked underflow, or FTZ (SDM vol. 1, 10.2.3.3).
    fn tiny<F: Format>(&mut self, result: Outside) -> Option<F::Bits> {
        if !self.env.is_masked(UE) {
            self.raise(if result.inexact { UF | NX } else { UF });
        } else if self.env.mxcsr & FTZ != 0 {
            self.raise(UF | NX);
        } else {
            return None;
        }
        Some(F::zero(result.sign))
    }
}

/// What the fast paths have to know of a format.
pub(super) trait Fast: Format {
    /// The exponent field is zero, the fraction is not.
    fn is_subnormal(bits: Self::Bits) -> bool;
    fn is_nan(bits: Self::Bits) -> bool;
}

impl Fast for crate::F32 {
    #[inline]
    fn is_subnormal(bits: u32) -> bool {
        (bits << 1).wrapping_sub(1) < (1 << 24) - 1
    }

    #[inline]
    fn is_nan(bits: u32) -> bool {
        f32::from_bits(bits).is_nan()
    }
}

impl Fast for crate::F64 {
    #[inline]
    fn is_subnormal(bits: u64) -> bool {
        (bits << 1).wrapping_sub(1) < (1 << 53) - 1
    }

    #[inline]
    fn is_nan(bits: u64) -> bool {
        f64::from_bits(bits).is_nan()
    }
}
