//! What an instruction set tells the translator about its code, as data.
//!
//! A guest instruction set is a directory here: it implements [`Isa`] (facts), and
//! [`Target`](crate::lift::Target) and [`Lowering`](crate::lift::Lowering) (meaning), and has a line in
//! [`guests`](crate::guests). The stages know no other thing about it; `translator/tests/toy.rs` has the
//! smallest complete one.

mod facts;
pub mod rv64;

pub use facts::{ADDRESS_REGISTERS, Access, Flow, Insn, MAX_LEN, Registers, Sum, bits};

use forelift_abi::lift::{Guest, Mode};

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// An instruction.
    Insn(Insn),
    /// None, in this many bytes.
    Illegal(u8),
    /// The beginning of something longer.
    Truncated,
}

/// The entries of a procedure linkage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plt {
    /// Size of an entry in bytes.
    pub entry: usize,
    /// Types of the relocations of the pointers that entries load.
    pub relocations: &'static [u32],
}

/// An instruction set.
pub trait Isa: Sync {
    /// Name, as the field has it.
    fn name(&self) -> &'static str;

    /// Its part of the contract with the runtime.
    fn guest(&self) -> &'static Guest;

    /// The first instruction of `code`, which runs in `mode`.
    fn decode(&self, code: &[u8], mode: Mode) -> Decoded;

    /// Where control goes after `second`, which follows `first`, if only the two together tell; from the
    /// first byte of `second`.
    fn pair(&self, first: &Insn, second: &Insn) -> Option<Flow> {
        let _ = (first, second);
        None
    }

    /// The first instructions of `code`, if they are a stub that jumps to where a pointer says, as a
    /// procedure linkage table has them. The last one is the jump.
    fn stub(&self, code: &[u8], mode: Mode) -> Option<Vec<Insn>> {
        let _ = (code, mode);
        None
    }

    /// What procedure linkage tables look like.
    fn plt(&self) -> Option<Plt> {
        None
    }

    /// The address of the pointer that the table's entry `code` at `address` loads.
    fn plt_pointer(&self, code: &[u8], address: u64) -> Option<u64> {
        let _ = (code, address);
        None
    }

    /// The first instruction of `code` at `address` as text.
    fn disassemble(&self, code: &[u8], address: u64) -> Option<String>;

    /// An instruction that differs from this one in nothing but a constant that it adds, to try out the
    /// comparison with the interpreter; `None`: it adds none.
    fn spoil(&self, insn: &Insn) -> Option<Insn> {
        let _ = insn;
        None
    }
}

impl std::fmt::Debug for dyn Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
