//! Where code and data of a case lie, on the host and in the guest alike.
//!
//! All of it is below 2 GiB, for 32-bit code and short addresses, but for a second view of the data. Pages
//! beside these are not mapped.

/// Bytes in a page.
pub const PAGE: u64 = 4096;
/// Code: readable and executable. What a case does not fill is int3.
pub const CODE: u64 = 0x1000_0000;
/// Bytes of code.
pub const CODE_SIZE: usize = 2 * PAGE as usize;
/// Data: readable and writable.
pub const DATA: u64 = 0x2000_0000;
/// Bytes of data.
pub const DATA_SIZE: usize = 2 * PAGE as usize;
/// The same data once more, above 4 GiB.
pub const HIGH: u64 = 0x1234_5678_9000;
/// The stack: one page, readable and writable.
pub const STACK: u64 = 0x3000_0000;
/// Bytes of stack.
pub const STACK_SIZE: usize = PAGE as usize;
/// A page that can only be read; each byte is the low byte of its address times [`READ_ONLY_STEP`].
pub const READ_ONLY: u64 = 0x2800_0000;
/// See [`READ_ONLY`].
pub const READ_ONLY_STEP: u8 = 7;
/// What a case's memory comprises: data, then stack.
pub const MEMORY_SIZE: usize = DATA_SIZE + STACK_SIZE;

/// Selector of 64-bit code, as Linux has it in its GDT.
pub const CS_LONG: u16 = 0x33;
/// Selector of 32-bit code.
pub const CS_COMPAT: u16 = 0x23;
/// Selector of data.
pub const DS: u16 = 0x2b;

/// The content of the page that can only be read.
pub fn read_only_page() -> Vec<u8> {
    (0..PAGE).map(|i| (i as u8).wrapping_mul(READ_ONLY_STEP)).collect()
}
