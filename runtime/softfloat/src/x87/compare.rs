//! Comparison and classification.

use super::env::Env;
use super::value::{F80, Operand};
use crate::NV;
use crate::format::{Format, Kind, Unpacked};
use crate::soft::Context;
use core::cmp::Ordering;

/// Compares; `None` if the operands are unordered. FUCOM and its like are `quiet`: invalid for signalling
/// NaNs and unsupported operands only; FCOM and FTST for any NaN. The result is told even if an unmasked
/// exception was raised, but then it is the only one ([`Env::completes`]): nothing is popped.
pub fn compare(a: Operand, b: Operand, quiet: bool, env: &mut Env) -> Option<Ordering> {
    let mut order = None;
    env.call([a, b], 64, |[x, y], cx| {
        if !x.is_nan() && !y.is_nan() {
            order = Some(key(x).cmp(&key(y)));
        } else if !quiet || [x, y].iter().any(|x| matches!(x.kind, Kind::SignallingNan | Kind::Unsupported)) {
            cx.raise(NV);
        }
    });
    order
}

/// Orders as the numbers are ordered.
fn key(x: Unpacked) -> (i32, i128) {
    let (class, magnitude) = match x.kind {
        Kind::Zero => (0, 0),
        Kind::Finite => (1, i128::from(x.exp + (1 << 20)) << 64 | i128::from(x.sig)),
        _ => (2, 0),
    };
    if x.sign { (-class, -magnitude) } else { (class, magnitude) }
}

/// What FXAM tells of a register that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No number at all.
    Unsupported,
    /// Quiet or signalling.
    Nan,
    /// A normal finite number.
    Normal,
    /// Infinity.
    Infinity,
    /// Zero.
    Zero,
    /// A denormal number, or a pseudo-denormal.
    Denormal,
}

impl Class {
    /// The class of a number.
    pub fn of(x: F80) -> Self {
        let x = F80::unpack(x);
        match x.kind {
            Kind::Unsupported => Self::Unsupported,
            Kind::QuietNan | Kind::SignallingNan => Self::Nan,
            Kind::Inf => Self::Infinity,
            Kind::Zero => Self::Zero,
            Kind::Finite if x.subnormal => Self::Denormal,
            Kind::Finite => Self::Normal,
        }
    }
}
