//! Facts about an instruction, as data: all that the neutral stages know of it.
//!
//! An instruction set decodes bytes to an [`Insn`] once; regions, if-conversion, liveness and the coalescing
//! of TLB probes work on nothing else. What the instruction computes is known to the instruction set's
//! [`Lowering`](crate::lift::Lowering) only, which decodes the bytes again.

/// Registers as bits. Addresses are made of the first [`ADDRESS_REGISTERS`] only.
pub type Registers = u64;

/// See [`Registers`].
pub const ADDRESS_REGISTERS: usize = 32;

/// Longest instruction in bytes.
pub const MAX_LEN: usize = 15;

/// Where control goes after an instruction. Distances are from its own first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next instruction.
    Next,
    /// To the next instruction, or this far.
    Branch(i32),
    /// This far.
    Jump(i32),
    /// This far, and back to the next instruction.
    Call(i32),
    /// To an address that is computed, and back.
    CallRegister,
    /// To an address that is computed: where the function was called from.
    Return,
    /// To another address that is computed.
    JumpRegister,
    /// Into the kernel, and back to the next instruction.
    Trap,
    /// Out of the kernel's handler.
    TrapReturn,
    /// The instruction is not lifted: its name.
    Unlifted(&'static str),
}

/// A load or store of one size at the sum of a register and a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The register.
    pub base: u8,
    /// The constant.
    pub offset: i32,
    /// Size in bytes, a power of two.
    pub bytes: u8,
    /// Whether memory is written.
    pub write: bool,
}

/// What an instruction writes to its only destination: a register plus a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The register.
    pub register: u8,
    /// The constant.
    pub constant: i32,
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    bytes: [u8; MAX_LEN],
    /// Length in bytes.
    pub len: u8,
    /// Control flow.
    pub flow: Flow,
    /// Its memory access, if TLB probes may be coalesced with others for it.
    pub access: Option<Access>,
    /// Registers that it reads.
    pub reads: Registers,
    /// Registers that it writes.
    pub writes: Registers,
    /// What it writes, if that is a sum.
    pub sum: Option<Sum>,
    /// Whether it can be executed in vain: it cannot fault, has no effect but on registers, and costs little.
    pub speculative: bool,
    /// Whether the translation of addresses may change by it.
    pub remaps: bool,
    /// Whether a call keeps the return address where returns look for it: what follows begins a block then,
    /// and the target a function.
    pub links: bool,
    /// Whether it and the next instruction may have a control flow that neither has alone
    /// ([`Isa::pair`](crate::isa::Isa::pair)).
    pub pairs: bool,
}

impl Insn {
    /// An instruction of these bytes, at most [`MAX_LEN`], that does nothing.
    pub fn new(code: &[u8]) -> Self {
        let mut bytes = [0; MAX_LEN];
        bytes[..code.len()].copy_from_slice(code);
        Insn {
            bytes,
            len: code.len() as u8,
            flow: Flow::Next,
            access: None,
            reads: 0,
            writes: 0,
            sum: None,
            speculative: false,
            remaps: false,
            links: false,
            pairs: false,
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The numbers of the bits of a set.
pub fn bits(set: Registers) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| set >> bit & 1 != 0)
}
