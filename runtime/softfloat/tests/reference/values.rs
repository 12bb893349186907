//! Operands where arithmetic goes wrong: the ends of the range, neighbours of powers of two, sparse
//! significands, NaNs, integer bounds; and operands that depend on each other: cancellation, half-way cases,
//! results at the edge of underflow and overflow.

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `n`, near enough to uniform.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// From `-n` to `n`.
    pub(crate) fn around(&mut self, n: u64) -> i64 {
        self.below(2 * n + 1) as i64 - n as i64
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The numbers that describe a format.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Bits of the fraction field.
    pub(crate) fraction: u32,
    /// The exponent field of 1.0.
    pub(crate) bias: i64,
    /// Bits in all.
    pub(crate) width: u32,
}

pub(crate) const SINGLE: Shape = Shape { fraction: 23, bias: 127, width: 32 };
pub(crate) const DOUBLE: Shape = Shape { fraction: 52, bias: 1023, width: 64 };

impl Shape {
    pub(crate) fn of(double: bool) -> Self {
        if double { DOUBLE } else { SINGLE }
    }

    pub(crate) fn mask(self) -> u64 {
        u64::MAX >> (64 - self.width)
    }

    pub(crate) fn sign(self) -> u64 {
        1 << (self.width - 1)
    }

    fn infinity(self) -> u64 {
        self.mask() >> 1 >> self.fraction << self.fraction
    }

    fn one(self) -> u64 {
        (self.bias as u64) << self.fraction
    }

    fn exponent(self, x: u64) -> i64 {
        (x >> self.fraction) as i64 & (2 * self.bias + 1)
    }

    /// A positive finite number of the exponent field nearest to `field`.
    fn with_exponent(self, field: i64, fraction: u64) -> u64 {
        let field = field.clamp(0, 2 * self.bias) as u64;
        field << self.fraction | fraction & ((1 << self.fraction) - 1)
    }

    fn decode(self, x: u64) -> f64 {
        if self.width == 64 { f64::from_bits(x) } else { f64::from(f32::from_bits(x as u32)) }
    }

    fn encode(self, x: f64) -> u64 {
        if self.width == 64 { x.to_bits() } else { u64::from((x as f32).to_bits()) }
    }

    /// Values to be tried in all combinations, both signs.
    pub(crate) fn specials(self) -> Vec<u64> {
        let one = self.one();
        let normal = 1 << self.fraction;
        let infinity = self.infinity();
        let quiet = infinity | normal >> 1;
        let half = one - normal;
        let mut all =
            vec![0, 1, 2, 3, normal >> 1, normal - 1, normal, normal + 1, 2 * normal - 1, 2 * normal];
        all.extend([one - 1, one, one + 1, half, half - 1, half + 1, one | normal >> 1, one + normal]);
        all.extend([infinity - 1, infinity - 2, infinity - normal, infinity - normal + 1, infinity]);
        all.extend([quiet, quiet | 1, quiet | 0x1234, infinity | 1, quiet - 1]);
        // Small integers and halves, the epsilon, numbers whose product or square is at the ends of the
        // range.
        all.extend([2.5, 3.0, 1.5, 7.0, 10.0, 0.1].map(|x| self.encode(x)));
        for field in [self.bias - i64::from(self.fraction), self.bias / 2, self.bias + self.bias / 2, 2] {
            let x = self.with_exponent(field, 0);
            all.extend([x, x + 1, x - 1]);
        }
        let negative: Vec<u64> = all.iter().map(|x| x | self.sign()).collect();
        all.extend(negative);
        all
    }

    /// A few of [`Shape::specials`], for combinations of three.
    pub(crate) fn few_specials(self) -> Vec<u64> {
        let one = self.one();
        let normal = 1 << self.fraction;
        let infinity = self.infinity();
        let mut all = vec![0, 1, normal - 1, normal, one, one + 1, one - 1, infinity - 1, infinity];
        all.extend([infinity | normal >> 1, infinity | 1]);
        let negative: Vec<u64> = all.iter().map(|x| x | self.sign()).collect();
        all.extend(negative);
        all
    }
}

/// A fraction field: random, sparse at either end, or a run of ones.
pub(crate) fn fraction(random: &mut Random, shape: Shape) -> u64 {
    let bits = u64::from(shape.fraction);
    let all = (1 << bits) - 1;
    let cut = random.below(bits + 1);
    match random.below(8) {
        0 => 0,
        1 => all,
        2 => random.next() & all >> cut << cut,
        3 => random.next() & all >> cut,
        4 => all >> cut << cut,
        5 => (all >> cut) ^ random.below(4),
        6 => 1 << random.below(bits),
        _ => random.next() & all,
    }
}

/// An operand on its own.
pub(crate) fn operand(random: &mut Random, shape: Shape) -> u64 {
    let range = 2 * shape.bias as u64 + 1;
    let magnitude = match random.below(16) {
        0 => random.pick(&shape.specials()),
        1 => fraction(random, shape),
        2 => shape.with_exponent(random.below(4) as i64, fraction(random, shape)),
        3 => shape.with_exponent(2 * shape.bias - random.below(4) as i64, fraction(random, shape)),
        4 => shape.infinity() | fraction(random, shape),
        5 => shape.with_exponent(random.below(range) as i64, 0).wrapping_add_signed(random.around(3)),
        6..=8 => shape.with_exponent(shape.bias + random.around(70), fraction(random, shape)),
        9 => shape.encode(random.around(1000) as f64),
        10 => near_integer_bound(random, shape),
        11 => random.next(),
        _ => shape.with_exponent(random.below(range) as i64, fraction(random, shape)),
    };
    (magnitude ^ random.next() & shape.sign()) & shape.mask()
}

/// A number near a bound of an integer type, or near a half.
pub(crate) fn near_integer_bound(random: &mut Random, shape: Shape) -> u64 {
    let bound = random.pick(&[0, 1, 7, 8, 15, 16, 23, 24, 31, 32, 51, 52, 53, 62, 63, 64]);
    let bound = f64::exp2(f64::from(bound));
    let halves = random.around(6) as f64 / 2.0;
    let near = shape.encode(bound + halves);
    near.wrapping_add_signed(if random.below(2) == 0 { random.around(2) } else { 0 })
}

/// An integer operand, as a 64-bit register holds it.
pub(crate) fn integer(random: &mut Random) -> u64 {
    let power = 1u64 << random.below(64);
    let low = random.next() >> random.below(64);
    let value = match random.below(6) {
        0 => random.around(40) as u64,
        1 => power.wrapping_add(random.around(3) as u64),
        2 => low,
        // A significand with a half, or nearly, below its last place.
        3 => (random.next() >> 11 | 1 << 52) << 11 | 1 << 10,
        4 => {
            ((random.next() >> 40 | 1 << 23) << 24 | 1 << 23).wrapping_add(random.around(1) as u64)
                >> random.below(20)
        }
        _ => random.next() & random.next() & random.next(),
    };
    if random.below(2) == 0 { value } else { value.wrapping_neg() }
}

/// A few units in the last place away, and perhaps of the other sign.
pub(crate) fn perturbed(random: &mut Random, shape: Shape, x: u64) -> u64 {
    let moved = (x & !shape.sign()).saturating_add_signed(random.around(2));
    (moved | random.next() & shape.sign()) & shape.mask()
}

pub(crate) fn partner_in_sum(random: &mut Random, shape: Shape, a: u64) -> u64 {
    let bits = u64::from(shape.fraction);
    let sign = random.next() & shape.sign();
    match random.below(4) {
        0 => perturbed(random, shape, a),
        1 => {
            sign | shape
                .with_exponent(shape.exponent(a) - bits as i64 + random.around(3), fraction(random, shape))
        }
        2 => sign | shape.with_exponent(shape.exponent(a) + random.around(2), fraction(random, shape)),
        _ => sign | shape.with_exponent(shape.exponent(a) + random.around(bits + 4), fraction(random, shape)),
    }
}

/// A factor that puts the product anywhere of interest: at underflow, at overflow, near one.
pub(crate) fn partner_in_product(random: &mut Random, shape: Shape, a: u64) -> u64 {
    let bits = u64::from(shape.fraction);
    let target = match random.below(4) {
        0 => 1 + random.around(3),
        1 => random.around(bits + 4),
        2 => 2 * shape.bias + random.around(2),
        _ => shape.bias + random.around(bits),
    };
    let field = target + shape.bias - shape.exponent(a);
    shape.with_exponent(field, fraction(random, shape)) | random.next() & shape.sign()
}

/// An addend that nearly cancels the product of `a` and `b`, or meets its last places.
pub(crate) fn addend(random: &mut Random, shape: Shape, a: u64, b: u64) -> u64 {
    let bits = i64::from(shape.fraction);
    let product = shape.encode(shape.decode(a) * shape.decode(b));
    let sign = random.next() & shape.sign();
    let exponent = shape.exponent(product);
    match random.below(5) {
        0 => perturbed(random, shape, product),
        1 => sign | shape.with_exponent(exponent - bits + random.around(3), fraction(random, shape)),
        2 => sign | shape.with_exponent(exponent + bits + random.around(3), fraction(random, shape)),
        3 => {
            sign | shape.with_exponent(exponent + random.around(2 * bits as u64 + 6), fraction(random, shape))
        }
        _ => sign | shape.with_exponent(random.below(3) as i64, fraction(random, shape)),
    }
}

/// Operands of a fused multiply-add whose exact result lies half way between two numbers, or next to it:
/// rounding twice shows here.
pub(crate) fn nearly_half_way(random: &mut Random, shape: Shape) -> [u64; 3] {
    let bits = shape.fraction;
    let parts = if random.below(2) == 0 {
        // A product of two odd numbers of `first` and `bits + 3 - first` bits, one bit too long or nearly so;
        // the addend is far below it.
        let first = 2 + random.below(u64::from(bits)) as u32;
        let mut odd = |length: u32| {
            let length = length.clamp(2, bits + 1);
            (random.next() | 1) << (bits + 1 - length)
        };
        let (a, b) = (odd(first), odd(bits + 3 - first));
        let down = i64::from(bits) + random.below(2 * u64::from(bits)) as i64;
        let c = fraction(random, shape);
        [(shape.bias, a), (shape.bias, b), (shape.bias - down, c)]
    } else {
        // The product is about half a unit of the addend's last place.
        let c = fraction(random, shape);
        let (a, b) = (random.below(3), random.below(3));
        let all = (1 << bits) - 1;
        let a = random.pick(&[0, a, all - a]);
        let b = random.pick(&[0, b, all - b]);
        [(shape.bias - i64::from(bits) - 1 + random.around(1), a), (shape.bias, b), (shape.bias, c)]
    };
    parts.map(|(field, fraction)| shape.with_exponent(field, fraction) | random.next() & shape.sign())
}

/// Often a dividend that is an exact multiple or nearly so, or a quotient at the ends of the range.
pub(crate) fn dividend_and_divisor(random: &mut Random, shape: Shape) -> [u64; 3] {
    let b = operand(random, shape);
    let sign = random.next() & shape.sign();
    let a = match random.below(3) {
        0 => {
            let quotient = random.around(1 << 12) as f64;
            shape.encode(shape.decode(b) * quotient)
        }
        1 => {
            let target = random.pick(&[1, 0, -10, 2 * shape.bias]) + random.around(2);
            sign | shape.with_exponent(target + shape.exponent(b) - shape.bias, fraction(random, shape))
        }
        _ => perturbed(random, shape, b),
    };
    [a, b, 0]
}

/// A square, or a number next to one.
pub(crate) fn square(random: &mut Random, shape: Shape) -> u64 {
    let half = u64::from(shape.fraction) / 2;
    let root = shape.decode(shape.with_exponent(shape.bias + random.around(60), random.next() >> 1));
    let keep = shape.width - shape.fraction - 1 + random.below(half + 2) as u32;
    let root = shape.encode(root) & !(shape.mask() >> keep);
    let root = shape.decode(root);
    let moved = shape.encode(root * root).wrapping_add_signed(random.pick(&[0, 0, 1, -1, 2]));
    moved & shape.mask()
}

/// A binary64 near a binary32, or near the middle between two.
pub(crate) fn near_single(random: &mut Random) -> u64 {
    let single = operand(random, SINGLE);
    let x = f64::from(f32::from_bits(single as u32)).to_bits();
    let middle = random.pick(&[0, 1 << 28, 1 << 29, 3 << 28]);
    // Below the normal numbers of binary32 the middle moves up.
    let up = random.below(24);
    let middle = middle << random.pick(&[0, 0, up]);
    x.wrapping_add(middle).wrapping_add(random.around(1) as u64)
}
