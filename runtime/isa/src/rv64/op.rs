//! [`Op`]: the instructions by name, with what the table says about each.

use super::format::{Format, Reg};

/// Where control can go after an instruction that does not fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next instruction.
    Next,
    /// To the next instruction or to the target.
    Branch,
    /// To the target.
    Jump,
    /// The instruction accesses a CSR: mostly to the next one, but CSRs hold translation, interrupt enables
    /// and modes.
    Csr,
    /// The instruction traps, returns from a trap, waits, or makes earlier stores or page tables visible to
    /// fetch.
    System,
}

/// What an instruction does to memory. `bytes` is the access size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    None,
    /// Reads.
    Load {
        /// Size: 1, 2, 4 or 8.
        bytes: u8,
        /// Whether the value is sign-extended.
        signed: bool,
    },
    /// Writes.
    Store {
        /// Size: 1, 2, 4 or 8.
        bytes: u8,
    },
    /// lr: reads and reserves; must be aligned.
    Reserve {
        /// Size: 4 or 8.
        bytes: u8,
    },
    /// sc: writes if the reservation holds; must be aligned.
    Conditional {
        /// Size: 4 or 8.
        bytes: u8,
    },
    /// amo: reads, then writes; must be aligned.
    Amo {
        /// Size: 4 or 8.
        bytes: u8,
    },
}

impl Access {
    /// Size in bytes; 0 for none.
    pub const fn bytes(self) -> usize {
        match self {
            Access::None => 0,
            Access::Load { bytes, .. }
            | Access::Store { bytes }
            | Access::Reserve { bytes }
            | Access::Conditional { bytes }
            | Access::Amo { bytes } => bytes as usize,
        }
    }

    /// Whether memory is read.
    pub const fn reads(self) -> bool {
        matches!(self, Access::Load { .. } | Access::Reserve { .. } | Access::Amo { .. })
    }

    /// Whether memory may be written.
    pub const fn writes(self) -> bool {
        matches!(self, Access::Store { .. } | Access::Conditional { .. } | Access::Amo { .. })
    }

    /// Whether the access must be naturally aligned (A extension; ordinary loads and stores need not be).
    pub const fn must_align(self) -> bool {
        matches!(self, Access::Reserve { .. } | Access::Conditional { .. } | Access::Amo { .. })
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The instruction.
    pub op: Op,
    /// The assembler's name.
    pub mnemonic: &'static str,
    /// The bits that identify the instruction.
    pub mask: u32,
    /// Their values.
    pub matches: u32,
    /// The operands.
    pub format: Format,
    /// Control flow.
    pub flow: Flow,
    /// Memory access.
    pub access: Access,
}

macro_rules! flow {
    (branch) => {
        Flow::Branch
    };
    (jump) => {
        Flow::Jump
    };
    (csr) => {
        Flow::Csr
    };
    (system) => {
        Flow::System
    };
    ($($other:tt)*) => {
        Flow::Next
    };
}

macro_rules! access {
    (load $bytes:literal signed) => {
        Access::Load { bytes: $bytes, signed: true }
    };
    (load $bytes:literal unsigned) => {
        Access::Load { bytes: $bytes, signed: false }
    };
    (store $bytes:literal) => {
        Access::Store { bytes: $bytes }
    };
    (reserve $bytes:literal) => {
        Access::Reserve { bytes: $bytes }
    };
    (conditional $bytes:literal) => {
        Access::Conditional { bytes: $bytes }
    };
    (amo $bytes:literal) => {
        Access::Amo { bytes: $bytes }
    };
    ($($other:tt)*) => {
        Access::None
    };
}

macro_rules! define {
    ($($op:ident $mnemonic:literal $mask:literal $match:literal $format:ident ($($facts:tt)*);)*) => {
        /// An instruction of RV64GC or of the supervisor level. Compressed ones are told by what they expand
        /// to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Op {
            $(#[doc = concat!("`", $mnemonic, "`")] $op,)*
        }

        impl Op {
            /// All instructions in the table's order: `ALL[i] as usize == i`.
            pub const ALL: &'static [Op] = &[$(Op::$op),*];
        }

        /// The table, indexed by `Op as usize`.
        pub static ROWS: [Row; Op::ALL.len()] = ROWS_CONST;

        pub(super) const ROWS_CONST: [Row; Op::ALL.len()] = [$(Row {
            op: Op::$op,
            mnemonic: $mnemonic,
            mask: $mask,
            matches: $match,
            format: Format::$format,
            flow: flow!($($facts)*),
            access: access!($($facts)*),
        }),*];
    };
}
crate::for_each_rv64!(define);

impl Op {
    /// The instruction's row.
    #[inline]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The assembler's name.
    pub fn mnemonic(self) -> &'static str {
        self.row().mnemonic
    }

    /// Operand format.
    #[inline]
    pub fn format(self) -> Format {
        self.row().format
    }

    /// Control flow.
    pub fn flow(self) -> Flow {
        self.row().flow
    }

    /// Memory access.
    pub fn access(self) -> Access {
        self.row().access
    }

    /// Whether it belongs to F or D: illegal while `sstatus.FS` is off.
    pub fn needs_fp(self) -> bool {
        let l = self.format().layout();
        l.rd == Reg::F || l.rs1 == Reg::F || l.rs2 == Reg::F
    }

    /// Whether funct3 is a rounding mode; the dynamic one (7) is illegal while `frm` holds a reserved value.
    pub fn uses_rm(self) -> bool {
        self.format().layout().rm
    }

    /// Whether a basic block must end after it.
    pub fn ends_block(self) -> bool {
        self.flow() != Flow::Next
    }

    /// Whether it can trap: by its memory access, by its purpose, by privilege, or because the FPU is off.
    ///
    /// Jumps and branches cannot: with the C extension every even target is aligned (unprivileged manual,
    /// "C").
    pub fn may_fault(self) -> bool {
        self.access() != Access::None || matches!(self.flow(), Flow::Csr | Flow::System) || self.needs_fp()
    }
}
