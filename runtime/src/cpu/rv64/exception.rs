//! Exceptions as values (Privileged 4.1.8, table of `scause`).

/// An exception: code and `stval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// `scause`.
    pub cause: u64,
    /// `stval`.
    pub value: u64,
}
