//! What regions are made of.

/// Limits of regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Executions from which on an instruction is hot.
    pub threshold: u32,
    /// Instructions of a region at most.
    pub insns: usize,
    /// Rounds of resume functions at most.
    pub rounds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { threshold: 16, insns: 4000, rounds: 4 }
    }
}
