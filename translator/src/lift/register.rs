//! Registers of the guest, as the frame holds them.

use cranelift_codegen::ir::Type;

/// A register of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Type of the variable that it is inside of a function.
    pub ty: Type,
    /// Where it is between functions.
    pub address: u64,
}
