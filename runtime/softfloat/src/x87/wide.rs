//! Numbers of 128 bits of precision, for the functions that are not rounded exactly: results are off by a few
//! units in the last of 128 places before they are rounded to 64.

use super::value::F80;
use crate::format::Unpacked;
use crate::soft::{Context, round::round};

/// `(-1)^sign * sig * 2^(exp - 127)`, with bit 127 of `sig` set; zero if `sig` is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub(super) sign: bool,
    pub(super) exp: i32,
    pub(super) sig: u128,
}

impl Wide {
    pub(super) const ZERO: Self = Self { sign: false, exp: 0, sig: 0 };
    pub(super) const ONE: Self = Self::positive(0, 1 << 127);

    pub(super) const fn positive(exp: i32, sig: u128) -> Self {
        Self { sign: false, exp, sig }
    }

    /// `n * 2^exp`.
    pub(super) const fn scaled(n: u128, exp: i32) -> Self {
        if n == 0 {
            return Self::ZERO;
        }
        let zeros = n.leading_zeros();
        Self::positive(exp + 127 - zeros as i32, n << zeros)
    }

    /// A finite number.
    pub(super) fn new(x: Unpacked) -> Self {
        Self { sign: x.sign, exp: x.exp, sig: (x.sig as u128) << 64 }
    }

    pub(super) fn from_int(x: i32) -> Self {
        Self { sign: x < 0, ..Self::scaled(x.unsigned_abs().into(), 0) }
    }

    pub(super) const fn neg(self) -> Self {
        Self { sign: !self.sign, ..self }
    }

    /// Negated, if `condition` holds.
    pub(super) const fn neg_if(self, condition: bool) -> Self {
        Self { sign: self.sign ^ condition, ..self }
    }

    pub(super) const fn abs(self) -> Self {
        Self { sign: false, ..self }
    }

    /// Times `2^by`.
    pub(super) const fn shifted(self, by: i32) -> Self {
        Self { exp: self.exp + by, ..self }
    }

    fn is_below_in_magnitude(self, other: Self) -> bool {
        if self.sig == 0 || other.sig == 0 {
            return self.sig < other.sig;
        }
        (self.exp, self.sig) < (other.exp, other.sig)
    }

    pub(super) fn add(self, other: Self) -> Self {
        let (large, small) = if self.is_below_in_magnitude(other) { (other, self) } else { (self, other) };
        if small.sig == 0 {
            return large;
        }
        let distance = (large.exp - small.exp) as u32;
        let aligned = if distance < 128 { small.sig >> distance } else { 0 };
        if large.sign == small.sign {
            return match large.sig.checked_add(aligned) {
                Some(sig) => Self { sig, ..large },
                None => {
                    let sig = large.sig.wrapping_add(aligned) >> 1 | 1 << 127;
                    Self { sig, exp: large.exp + 1, ..large }
                }
            };
        }
        let sig = large.sig - aligned;
        if sig == 0 {
            return Self::ZERO;
        }
        let zeros = sig.leading_zeros();
        // What was shifted out of a near neighbour comes back.
        let back = if distance == 1 && zeros > 0 { u128::from(small.sig & 1 != 0) << (zeros - 1) } else { 0 };
        Self { sign: large.sign, exp: large.exp - zeros as i32, sig: (sig << zeros).wrapping_sub(back) }
            .normal()
    }

    fn normal(self) -> Self {
        if self.sig == 0 {
            return Self::ZERO;
        }
        let zeros = self.sig.leading_zeros();
        Self { exp: self.exp - zeros as i32, sig: self.sig << zeros, ..self }
    }

    pub(super) fn sub(self, other: Self) -> Self {
        self.add(other.neg())
    }

    pub(super) fn mul(self, other: Self) -> Self {
        if self.sig == 0 || other.sig == 0 {
            return Self::ZERO;
        }
        let low = |x: u128| x & u128::from(u64::MAX);
        let (a1, a0, b1, b0) = (self.sig >> 64, low(self.sig), other.sig >> 64, low(other.sig));
        let (middle, other_middle) = (a1 * b0, a0 * b1);
        let carry = (low(middle) + low(other_middle) + ((a0 * b0) >> 64)) >> 64;
        let sig = a1 * b1 + (middle >> 64) + (other_middle >> 64) + carry;
        let zeros = sig.leading_zeros();
        Self {
            sign: self.sign != other.sign,
            exp: self.exp + other.exp + 1 - zeros as i32,
            sig: sig << zeros,
        }
    }

    /// The quotient, bit by bit, by a number that is not zero.
    pub(super) const fn div(self, other: Self) -> Self {
        if self.sig == 0 {
            return Self::ZERO;
        }
        let below = self.sig < other.sig;
        // The remainder is below the divisor before each step, and below twice that after it is shifted.
        let mut rest = if below { self.sig } else { self.sig - other.sig };
        let mut quotient: u128 = if below { 0 } else { 1 };
        let mut bits = if below { 128 } else { 127 };
        while bits > 0 {
            let over = rest >> 127 != 0;
            rest <<= 1;
            quotient <<= 1;
            if over || rest >= other.sig {
                rest = rest.wrapping_sub(other.sig);
                quotient |= 1;
            }
            bits -= 1;
        }
        Self { sign: self.sign != other.sign, exp: self.exp - other.exp - below as i32, sig: quotient }
    }

    /// Rounds what is an approximation of a number that no [`F80`] is equal to.
    pub(super) fn round<C: Context>(self, cx: &mut C) -> F80 {
        round::<F80, C>(self.sign, self.exp, (self.sig >> 64) as u64, self.sig as u64 | 1, cx)
    }
}

/// The value of a polynomial with these coefficients, that of the highest power last.
pub(super) fn polynomial(x: Wide, coefficients: &[Wide]) -> Wide {
    coefficients.iter().rev().fold(Wide::ZERO, |sum, &c| sum.mul(x).add(c))
}

/// `1 / (2 k + 1)`.
pub(super) const ODD_RECIPROCALS: [Wide; 26] = {
    let mut all = [Wide::ONE; 26];
    let mut k = 0;
    while k < all.len() {
        all[k] = Wide::ONE.div(Wide::scaled(2 * k as u128 + 1, 0));
        k += 1;
    }
    all
};

/// `1 / (FIRST + STEP k)!`.
pub(super) const fn inverse_factorials<const FIRST: u128, const STEP: u128, const N: usize>() -> [Wide; N] {
    let mut all = [Wide::ONE; N];
    let mut k = 0;
    // 33! has 123 bits.
    let mut factorial: u128 = 1;
    let mut n = 1;
    while n <= FIRST {
        factorial *= n;
        n += 1;
    }
    while k < N {
        all[k] = Wide::ONE.div(Wide::scaled(factorial, 0));
        k += 1;
        let mut step = 0;
        while step < STEP && k < N {
            factorial *= n;
            n += 1;
            step += 1;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_f64(x: Wide) -> f64 {
        let magnitude = (x.sig >> 64) as f64 * f64::powi(2.0, x.exp - 63);
        if x.sign { -magnitude } else { magnitude }
    }

    #[test]
    fn arithmetic() {
        let seven = Wide::from_int(7);
        let third = Wide::ONE.div(Wide::from_int(-3));
        assert_eq!(to_f64(third), -1.0 / 3.0);
        assert_eq!(third.sig, 0xaaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa);
        assert_eq!(to_f64(seven.mul(third)), -7.0 / 3.0);
        assert_eq!(to_f64(seven.add(third)), 7.0 - 1.0 / 3.0);
        assert_eq!(to_f64(third.sub(seven)), -1.0 / 3.0 - 7.0);
        assert_eq!(seven.sub(seven).sig, 0);
        // 1 - (1 - 2^-128) is exact.
        let below_one = Wide::positive(-1, u128::MAX);
        assert_eq!(Wide::ONE.sub(below_one).exp, -128);
        assert_eq!(to_f64(below_one.add(below_one)), 2.0);
        assert_eq!(to_f64(polynomial(Wide::from_int(2), &[Wide::ONE, seven, third])), 15.0 - 4.0 / 3.0);
        assert_eq!(to_f64(inverse_factorials::<1, 2, 3>()[2]), 1.0 / 120.0);
    }
}
