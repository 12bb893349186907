//! Exceptions as values: what an instruction returns instead of its result (Intel SDM vol. 3 6.3-6.15).

/// An exception that is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Vector, 0-31.
    pub vector: u8,
    /// Error code, for the vectors that have one.
    pub code: Option<u32>,
    /// Faulting linear address, for page faults (`cr2`).
    pub address: u64,
}

/// Divide error.
pub const DE: u8 = 0;
/// Debug.
pub const DB: u8 = 1;
/// Breakpoint.
pub const BP: u8 = 3;
/// Overflow.
pub const OF: u8 = 4;
/// Bound range exceeded.
pub const BR: u8 = 5;
/// Invalid opcode.
pub const UD: u8 = 6;
/// Device not available: the FPU is switched off.
pub const NM: u8 = 7;
/// Double fault.
pub const DF: u8 = 8;
/// Invalid TSS.
pub const TS: u8 = 10;
/// Segment not present.
pub const NP: u8 = 11;
/// Stack fault.
pub const SS: u8 = 12;
/// General protection.
pub const GP: u8 = 13;
/// Page fault.
pub const PF: u8 = 14;
/// x87 floating-point error.
pub const MF: u8 = 16;
/// Alignment check.
pub const AC: u8 = 17;
/// SIMD floating-point error.
pub const XM: u8 = 19;

/// What an instruction returns.
pub type Res<T> = Result<T, Fault>;

impl Fault {
    /// An exception without error code.
    pub const fn plain(vector: u8) -> Self {
        Fault { vector, code: None, address: 0 }
    }

    /// An exception with an error code.
    pub const fn with_code(vector: u8, code: u32) -> Self {
        Fault { vector, code: Some(code), address: 0 }
    }

    /// Invalid opcode.
    pub const fn ud() -> Self {
        Fault::plain(UD)
    }

    /// General protection, with error code 0.
    pub const fn gp() -> Self {
        Fault::with_code(GP, 0)
    }

    /// Page fault at `address`.
    pub const fn page(address: u64, code: u32) -> Self {
        Fault { vector: PF, code: Some(code), address }
    }

    /// Whether the saved `rip` is the next instruction's: a trap.
    pub const fn is_trap(&self) -> bool {
        matches!(self.vector, BP | OF)
    }
}
