//! The memory that the tests and the process with the cases share: one file, mapped by both.

use crate::case::State;
use crate::layout::{CODE_SIZE, MEMORY_SIZE, PAGE};
use std::sync::atomic::AtomicU32;

/// Cases in a batch.
pub(super) const SLOTS: usize = 64;

/// Where the process that executes the cases sees [`Shared`]: far from anything that a case uses.
pub(super) const SHARED_AT: u64 = 0x6f00_0000_0000;

/// One case, and what came of it.
#[repr(C)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) steps: u32,
    pub(super) patience: u32,
    pub(super) code_at: u32,
    pub(super) code_len: u32,
    /// Signal that ended it, 0 for the timer.
    pub(super) signal: u32,
    /// What the kernel says of the exception.
    pub(super) trap: u64,
    pub(super) error: u64,
    pub(super) address: u64,
    pub(super) out: State,
    pub(super) code: [u8; CODE_SIZE],
    pub(super) memory: [u8; MEMORY_SIZE],
    pub(super) memory_out: [u8; MEMORY_SIZE],
}

/// Everything.
#[repr(C)]
pub(super) struct Shared {
    /// The number of the batch that is to be done, and of the last that is done.
    pub(super) posted: AtomicU32,
    pub(super) done: AtomicU32,
    /// Slots of the batch.
    pub(super) count: AtomicU32,
    /// The slot that is being executed.
    pub(super) at: AtomicU32,
    /// The executing side's own: whether it has started, and has a batch, steps and ticks of the timer that
    /// the case has left, and the code that was there before.
    pub(super) started: u32,
    pub(super) busy: u32,
    pub(super) steps_left: u32,
    pub(super) ticks_left: u32,
    pub(super) old_code: (u32, u32),
    pub(super) slots: [Slot; SLOTS],
}

const fn pages(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE as usize)
}

/// Offsets in the file.
pub(super) const CODE_IN_FILE: usize = pages(size_of::<Shared>());
pub(super) const MEMORY_IN_FILE: usize = CODE_IN_FILE + CODE_SIZE;
pub(super) const READ_ONLY_IN_FILE: usize = MEMORY_IN_FILE + pages(MEMORY_SIZE);
pub(super) const FILE_SIZE: usize = READ_ONLY_IN_FILE + PAGE as usize;
