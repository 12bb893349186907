//! The predecoded form of an instruction, which the interpreter's switch executes.
//!
//! Registers are byte offsets into the register file (AH is at 1), immediates are sign-extended, and a branch
//! knows its target's entry. Blocks never span pages, so addresses are offsets from the page's virtual
//! address: the same entries serve a physical page wherever it is mapped.

use super::kind::Kind;

/// One predecoded instruction.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Entry {
    /// What to do.
    pub op: Kind,
    /// Byte offset of the register operand that is written (first operand).
    pub d: u8,
    /// Byte offset of the second register operand; number of a condition; a shift's count.
    pub s: u8,
    /// Memory operand: byte offset of its base, one of the register file's special slots for none.
    pub base: u8,
    /// Memory operand: byte offset of its index, the zero slot for none.
    pub index: u8,
    /// Memory operand: log2 of its scale.
    pub scale: u8,
    /// Length of the instruction in bytes.
    pub length: u8,
    /// Memory operand: displacement.
    pub disp: i32,
    /// Immediate; page offset of a branch's target; index of the instruction for `Kind::Family`.
    pub imm: i32,
    /// Branches: index of the target's entry.
    pub target: u32,
    /// Instructions of the block before this one; for branches including this one.
    pub count: u16,
    /// Offset of the instruction in its page.
    pub offset: u16,
}

/// Number of entries that a block has at most, its end included.
pub const MAX_BLOCK: usize = 96;

impl Entry {
    /// The shared target of branches that are not linked yet.
    pub const UNLINKED: Entry = Entry {
        op: Kind::Unlinked,
        d: 0,
        s: 0,
        base: 0,
        index: 0,
        scale: 0,
        length: 0,
        disp: 0,
        imm: 0,
        target: 0,
        count: 0,
        offset: 0,
    };
}

impl Entry {
    /// The end of a block of `count` instructions that goes on at `offset`.
    pub(crate) fn next(offset: u16, count: u16) -> Self {
        Entry { op: Kind::Next, imm: offset.into(), count, offset, ..Entry::UNLINKED }
    }
}
