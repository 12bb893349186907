//! Comparisons, minimum and maximum.

use super::env::{DE, Env, Fast, IE};
use crate::format::{Format, Kind};
use crate::{F32, F64};
use core::cmp::Ordering;

/// The predicates of CMPPS and its like, numbered as in the immediate's low three bits.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// Equal.
    Eq = 0,
    /// Less.
    Lt = 1,
    /// Less or equal.
    Le = 2,
    /// One at least is a NaN.
    Unord = 3,
    /// Not equal, or unordered.
    Neq = 4,
    /// Not less, or unordered.
    Nlt = 5,
    /// Greater, or unordered.
    Nle = 6,
    /// None is a NaN.
    Ord = 7,
}

impl Predicate {
    /// The predicate of an immediate, of which the low three bits count.
    #[inline]
    pub fn new(immediate: u8) -> Self {
        match immediate & 7 {
            0 => Self::Eq,
            1 => Self::Lt,
            2 => Self::Le,
            3 => Self::Unord,
            4 => Self::Neq,
            5 => Self::Nlt,
            6 => Self::Nle,
            _ => Self::Ord,
        }
    }

    /// Invalid for quiet NaNs too.
    #[inline]
    fn is_signalling(self) -> bool {
        matches!(self, Self::Lt | Self::Le | Self::Nlt | Self::Nle)
    }

    #[inline]
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Eq => order == Some(Ordering::Equal),
            Self::Lt => order == Some(Ordering::Less),
            Self::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Unord => order.is_none(),
            Self::Neq => order != Some(Ordering::Equal),
            Self::Nlt => order != Some(Ordering::Less),
            Self::Nle => !matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Ord => order.is_some(),
        }
    }
}

macro_rules! comparisons {
    ($format:ident, $float:ident, $bits:ident, $name:literal,
     $compare:ident, $test:ident, $min:ident, $max:ident) => {
        #[doc = concat!("Compares two ", $name, "; `None` if they are unordered.")]
        ///
        /// COMISS and COMISD are `signalling`: invalid for any NaN; UCOMISS and UCOMISD for signalling ones
        /// only.
        #[inline]
        pub fn $compare(a: $bits, b: $bits, signalling: bool, env: &mut Env) -> Option<Ordering> {
            let (mut x, mut y) = ($float::from_bits(a), $float::from_bits(b));
            if <$format as Fast>::is_subnormal(a) || <$format as Fast>::is_subnormal(b) {
                x = $float::from_bits(env.operand::<$format>(a));
                y = $float::from_bits(env.operand::<$format>(b));
                if !x.is_nan() && !y.is_nan() && !env.is_daz() {
                    env.raised |= DE;
                }
            }
            let order = x.partial_cmp(&y);
            if order.is_none() && (signalling || has_signalling::<$format>(a, b)) {
                env.raised |= IE;
            }
            order
        }

        #[doc = concat!("Tests a predicate of two ", $name, ".")]
        #[inline]
        pub fn $test(a: $bits, b: $bits, predicate: Predicate, env: &mut Env) -> bool {
            predicate.holds($compare(a, b, predicate.is_signalling(), env))
        }

        #[doc = concat!("`a` if it is the lesser ", $name, ", else `b`: also if both are zero, or one is a NaN.")]
        #[inline]
        pub fn $min(a: $bits, b: $bits, env: &mut Env) -> $bits {
            match $compare(a, b, true, env) {
                Some(Ordering::Less) => flushed::<$format>(a, env),
                _ => flushed::<$format>(b, env),
            }
        }

        #[doc = concat!("`a` if it is the greater ", $name, ", else `b`: also if both are zero, or one is a NaN.")]
        #[inline]
        pub fn $max(a: $bits, b: $bits, env: &mut Env) -> $bits {
            match $compare(a, b, true, env) {
                Some(Ordering::Greater) => flushed::<$format>(a, env),
                _ => flushed::<$format>(b, env),
            }
        }
    };
}

comparisons!(F32, f32, u32, "binary32", f32_compare, f32_test, f32_min, f32_max);
comparisons!(F64, f64, u64, "binary64", f64_compare, f64_test, f64_min, f64_max);

/// The operand as DAZ has it.
#[inline]
fn flushed<F: Fast>(bits: F::Bits, env: &Env) -> F::Bits {
    if F::is_subnormal(bits) { env.operand::<F>(bits) } else { bits }
}

#[cold]
fn has_signalling<F: Format>(a: F::Bits, b: F::Bits) -> bool {
    [a, b].into_iter().any(|x| F::unpack(x).kind == Kind::SignallingNan)
}
