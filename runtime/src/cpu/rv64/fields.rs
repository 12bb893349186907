//! Fields of control and status registers, and what they take (Privileged 4.1).

/// `sip.SSIP`, `sie.SSIE`.
pub const SSIP: u64 = 1 << 1;
/// `sip.STIP`, `sie.STIE`.
pub const STIP: u64 = 1 << 5;
/// `sip.SEIP`, `sie.SEIE`.
pub const SEIP: u64 = 1 << 9;
/// The interrupts there are.
pub const INTERRUPTS: u64 = SSIP | STIP | SEIP;

/// Bits of `scounteren`: `cycle`, `time`, `instret`.
pub(crate) const COUNTERS: u64 = 7;
/// The one bit of `senvcfg` that there is.
pub(crate) const FIOM: u64 = 1;

/// What a write of `stvec` leaves: direct or vectored; reserved modes become direct.
pub(crate) fn legal_stvec(value: u64) -> u64 {
    if value & 2 != 0 { value & !3 } else { value }
}
