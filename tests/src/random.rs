//! Pseudo-random bytes, the same in each run, and the seeds that a run is made with.

use std::{env, ops::Range};

/// Xorshift64*: for tests that want many different bytes, not unpredictable ones.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; equal seeds give equal sequences.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next_u64() >> 16) as usize % n
    }

    /// `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut out: Vec<u8> = (0..n.div_ceil(8)).flat_map(|_| self.next_u64().to_le_bytes()).collect();
        out.truncate(n);
        out
    }
}

/// The seeds of a run and whether they are the `ordinary` ones: `FORELIFT_SEEDS=FROM..TO`, or one seed, names
/// others.
///
/// # Panics
/// When it names none.
pub fn seeds(ordinary: Range<u64>) -> (Range<u64>, bool) {
    let Ok(text) = env::var("FORELIFT_SEEDS") else { return (ordinary, true) };
    let parse = |s: &str| s.trim().parse::<u64>().unwrap_or_else(|e| panic!("FORELIFT_SEEDS={text}: {e}"));
    let range = match text.split_once("..") {
        Some((from, to)) => parse(from)..parse(to),
        None => parse(&text)..parse(&text) + 1,
    };
    assert!(!range.is_empty(), "FORELIFT_SEEDS={text}: no seed in it");
    (range, false)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn every_byte_value_occurs_and_seeds_differ() {
        let bytes = Random::new(1).bytes(10_000);
        assert_eq!(bytes.len(), 10_000);
        assert!((0..=255).all(|b| bytes.contains(&b)));
        assert_ne!(bytes[..100], Random::new(2).bytes(100));
    }
}
