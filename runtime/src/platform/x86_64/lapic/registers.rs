//! Offsets of the local APIC's registers in its page (SDM vol. 3 table 11-1).

/// Identification.
pub(super) const ID: u64 = 0x20;
/// Version.
pub(super) const VERSION: u64 = 0x30;
/// Task priority.
pub(super) const TPR: u64 = 0x80;
/// Arbitration priority.
pub(super) const APR: u64 = 0x90;
/// Processor priority.
pub(super) const PPR: u64 = 0xa0;
/// End of interrupt.
pub(super) const EOI: u64 = 0xb0;
/// Logical destination.
pub(super) const LDR: u64 = 0xd0;
/// Destination format.
pub(super) const DFR: u64 = 0xe0;
/// Spurious-interrupt vector.
pub(super) const SVR: u64 = 0xf0;
/// Vectors in service: the first of eight registers.
pub(super) const ISR: u64 = 0x100;
/// Vectors triggered by a level: the first of eight.
pub(super) const TMR: u64 = 0x180;
/// Vectors requested: the first of eight.
pub(super) const IRR: u64 = 0x200;
/// Error status.
pub(super) const ESR: u64 = 0x280;
/// Interrupt command, low half: a write sends it.
pub(super) const ICR_LOW: u64 = 0x300;
/// Interrupt command, high half: the destination.
pub(super) const ICR_HIGH: u64 = 0x310;
/// Local vector table: the first of [`LVTS`](super::LVTS).
pub(super) const LVT: u64 = 0x320;
/// The timer's initial count.
pub(super) const INITIAL_COUNT: u64 = 0x380;
/// The timer's current count.
pub(super) const CURRENT_COUNT: u64 = 0x390;
/// The timer's divide configuration.
pub(super) const DIVIDE: u64 = 0x3e0;

/// End of the vectors in service.
pub(super) const ISR_END: u64 = TMR;
/// End of the vectors triggered by a level.
pub(super) const TMR_END: u64 = IRR;
/// End of the vectors requested.
pub(super) const IRR_END: u64 = ESR;
/// End of the local vector table.
pub(super) const LVT_END: u64 = INITIAL_COUNT;
