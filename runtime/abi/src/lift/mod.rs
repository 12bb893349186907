//! The contract between the translator, the runtime and the packer: what a lifted function is, where it finds
//! the CPU's state, and how the runtime finds the function.
//!
//! | file | what it holds |
//! |---|---|
//! | [`guest`](Guest) | what is each guest architecture's own: tag, alignment of code, modes, helpers |
//! | [`layout`](Layout) | addresses that are folded into lifted code |
//! | [`index`](Index) | which function begins where, by the contents of pages |
//! | [`rv64`], [`x86`] | the guests |
//!
//! # A lifted function
//! `f(va, value, depth) -> next`: runs from the guest virtual address `va`, which is the function's entry
//! point number `value >> FUNCTION_BITS`; the lower bits are the function's own number, or [`UNTOLD`]. All
//! architectural state is in the CPU's memory when it is called and when it returns; the instruction budget
//! is the CPU's `left`. `next` is where the guest goes on:
//!
//! * without the guest's [`Tag`]: the function ran a return instruction to this address, and the caller
//!   compares it with the address it called from;
//! * with the tag: every caller returns, up to the dispatcher, which goes on at the address without it.
//!
//! `depth` bounds the nesting of calls. A WebAssembly frame is nothing but a cached return address.
//!
//! # Found by content
//! Lifted code belongs to a page's contents, not to its address: [`page_hash`] names them. The runtime hashes
//! a page when it is first executed and looks it up in the [`Index`].

mod guest;
mod guests;
mod index;
mod layout;
pub mod rv64;
pub mod x86;

pub use guest::{DISPATCH, Guest, HelperSpec, Mode, Tag, Value};
pub use index::{Index, Page, page_hash};
pub use layout::{Exported, GUEST_WORDS, Layout, State};

/// Version of everything in this module, of lifted code and of what it expects from the runtime.
pub const VERSION: u32 = 4;

/// Deepest nesting of lifted functions.
pub const MAX_DEPTH: u32 = 128;
/// Bits of an entry's value that hold the function's number; the number of the entry point is above them.
pub const FUNCTION_BITS: u32 = 20;

/// The value of a call that goes directly to a function's first entry point, without knowing the function's
/// number.
pub const UNTOLD: u32 = (1 << FUNCTION_BITS) - 1;

/// Entries that each table of the data TLB has for RAM of `ram_len` bytes: they must reach over twice the RAM
/// (see `runtime/src/cpu/tlb.rs`).
pub const fn dtlb_entries(ram_len: u64) -> u64 {
    ram_len.next_power_of_two() * 2 / crate::layout::PAGE_SIZE
}

/// Bytes that the data TLB takes for RAM of `ram_len` bytes: read and write tables for user mode, kernel
/// mode, and kernel mode with access to user pages.
pub const fn dtlb_bytes(ram_len: u64) -> u64 {
    dtlb_entries(ram_len) * 8 * 6
}
