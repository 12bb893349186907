//! The control word during one instruction: rounding, precision and exceptions.

use super::value::Operand;
use crate::format::{Format, Kind, Unpacked};
use crate::soft::Context;
use crate::soft::Outside;
use crate::soft::context::UP;
use crate::x86::{self, DE, IE, OE, UE, ZE};
use crate::{NV, NX, OF, Round, UF};

/// Control word: where the precision control begins.
const PC: u32 = 8;
/// Control word: where the rounding control begins.
const RC: u32 = 10;
/// What an exponent is changed by if an unmasked exception says that it did not fit (SDM vol. 1, 8.5.4,
/// 8.5.5).
const BIAS_ADJUSTMENT: i32 = 0x6000;

/// The control word, and what one instruction raises.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    pub(super) control: u16,
    pub(super) raised: u8,
    pub(super) up: bool,
}

impl Env {
    /// The environment of an instruction.
    #[inline]
    pub fn new(control: u16) -> Self {
        Self { control, raised: 0, up: false }
    }

    /// The exceptions raised, in the status word's order.
    #[inline]
    pub fn raised(&self) -> u8 {
        self.raised
    }

    /// C1: the result was rounded up in magnitude.
    #[inline]
    pub fn rounded_up(&self) -> bool {
        self.up
    }

    /// The exceptions raised that are not masked.
    #[inline]
    pub fn unmasked(&self) -> u8 {
        self.raised & !(self.control as u8)
    }

    /// No unmasked exception was raised that is detected before the operation: there are results.
    #[inline]
    pub fn completes(&self) -> bool {
        self.unmasked() & (IE | DE | ZE) == 0
    }

    /// The rounding mode.
    #[inline]
    pub fn rounding(&self) -> Round {
        x86::rounding(u32::from(self.control) >> RC)
    }

    /// Bits that addition, subtraction, multiplication, division and square root round to.
    pub(super) fn precision(&self) -> u32 {
        match self.control >> PC & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        }
    }

    /// Calls an operation that rounds to `precision` bits, if to the double extended format.
    pub(super) fn call<T, const N: usize>(
        &mut self,
        operands: [Operand; N],
        precision: u32,
        op: impl FnOnce([Unpacked; N], &mut Extended) -> T,
    ) -> Option<T> {
        let operands = operands.map(|x| x.0);
        let mut cx = Extended { env: *self, rounding: self.rounding(), precision, raised: 0 };
        let result = op(operands, &mut cx);
        self.raised |= x86::flags(cx.raised) | x86::denormal(&operands, cx.raised);
        self.up = cx.raised & UP != 0;
        self.before_operation()?;
        Some(result)
    }

    /// `None` if an unmasked exception that is detected before the operation was raised: then there is no
    /// operation, and nothing that would be detected after it.
    fn before_operation(&mut self) -> Option<()> {
        if !self.completes() {
            self.raised &= IE | DE | ZE;
            self.up = false;
            return None;
        }
        Some(())
    }
}

/// The context of one operation.
pub(super) struct Extended {
    env: Env,
    pub(super) rounding: Round,
    precision: u32,
    raised: u8,
}

impl Extended {
    fn is_masked(&self, flag: u8) -> bool {
        self.env.control & u16::from(flag) != 0
    }

    /// The unmasked response: the result with its exponent changed, if it goes to a register.
    fn adjusted<F: Format>(&mut self, flag: u8, result: Outside, by: i32) -> F::Bits {
        let inexact = if result.inexact { NX } else { 0 };
        self.raise(flag | inexact | if result.up { UP } else { 0 });
        let exp = result.exp + by;
        // Only FSCALE gets farther: then the result is rounded after all (SDM vol. 1, 8.5.4).
        if exp > F::EMAX {
            self.raise(NX | UP);
            F::inf(result.sign)
        } else if exp < F::EMIN {
            self.raise(NX);
            F::zero(result.sign)
        } else {
            F::pack(result.sign, (exp + F::EMAX) as u32, result.sig)
        }
    }
}

impl Context for Extended {
    fn rounding(&self) -> Round {
        self.rounding
    }

    fn raise(&mut self, flags: u8) {
        self.raised |= flags;
    }

    fn precision<F: Format>(&self) -> u32 {
        if F::PREC == 64 { self.precision } else { F::PREC }
    }

    /// Of two NaNs a quiet one, if the other signals; else the one of the larger significand, and if they are
    /// equal, the positive one (SDM vol. 1, table 4-7).
    fn nan<F: Format>(&mut self, operands: &[Unpacked]) -> F::Bits {
        if operands.iter().any(|x| x.kind == Kind::Unsupported) {
            return self.invalid::<F>();
        }
        let nans = || operands.iter().filter(|x| x.is_nan());
        if nans().any(|x| x.kind == Kind::SignallingNan) {
            self.raise(NV);
        }
        match nans().max_by_key(|x| (x.kind == Kind::QuietNan, x.sig, !x.sign)) {
            Some(x) => F::quiet(x.sign, x.sig),
            None => F::quiet(true, 0),
        }
    }

    fn invalid<F: Format>(&mut self) -> F::Bits {
        self.raise(NV);
        F::quiet(true, 0)
    }

    fn huge<F: Format>(&mut self, result: Outside) -> Option<F::Bits> {
        if self.is_masked(OE) {
            return None;
        }
        Some(self.adjusted::<F>(OF, result, -BIAS_ADJUSTMENT))
    }

    fn tiny<F: Format>(&mut self, result: Outside) -> Option<F::Bits> {
        if self.is_masked(UE) {
            return None;
        }
        Some(self.adjusted::<F>(UF, result, BIAS_ADJUSTMENT))
    }
}
