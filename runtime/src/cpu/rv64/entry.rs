//! The predecoded form of an instruction: what the interpreter's switch runs on.
//!
//! Register numbers are stored as byte offsets into the register file, immediates are final, a branch knows
//! its target's entry. Blocks never span pages, so addresses are offsets from the page's virtual address: the
//! same entries serve a physical page wherever it is mapped.

/// One predecoded instruction.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Entry {
    /// What to do.
    pub op: Kind,
    /// Byte offset of `rd`; of `rs2` for stores and branches.
    pub rd: u8,
    /// Byte offset of `rs1`; CSR immediates and link lengths are plain numbers.
    pub rs1: u8,
    /// Immediate; byte offset of `rs2` in the low byte for register forms; page offset of a branch's target.
    pub imm: i32,
    /// Branches: index of the target's entry. Others: a second immediate.
    pub target: u32,
    /// Instructions of the block before this one; for branches including this one.
    pub count: u16,
    /// Offset of the instruction in its page.
    pub offset: u16,
}

/// Operations of the interpreter. Operations that cannot have `rd = x0` are never given it: predecoding turns
/// those into [`Kind::Nop`] or a form of their own.
#[allow(missing_docs, reason = "the names are the manual's mnemonics; the exceptions are documented")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Entry 0 of the arena: a branch whose target has not been looked up yet.
    Unlinked,
    /// End of a block that goes on at `imm` in the same page.
    Next,
    /// An entry point of lifted code: to the dispatcher. `target` is the first entry of the same place for
    /// the interpreter, 0 when it was not decoded yet.
    Lifted,
    /// No architectural effect.
    Nop,
    /// `rd = imm`.
    Li,
    /// `rd = rs1`.
    Mv,
    /// `rd = page + imm`.
    Auipc,
    Addi,
    Slti,
    Sltiu,
    Xori,
    Ori,
    Andi,
    Slli,
    Srli,
    Srai,
    Addiw,
    Slliw,
    Srliw,
    Sraiw,
    Add,
    Sub,
    Sll,
    Slt,
    Sltu,
    Xor,
    Srl,
    Sra,
    Or,
    And,
    Addw,
    Subw,
    Sllw,
    Srlw,
    Sraw,
    Mul,
    Mulh,
    Mulhsu,
    Mulhu,
    Div,
    Divu,
    Rem,
    Remu,
    Mulw,
    Divw,
    Divuw,
    Remw,
    Remuw,
    Lb,
    Lh,
    Lw,
    Ld,
    Lbu,
    Lhu,
    Lwu,
    /// A load to x0: only its faults count. `target` is the size.
    LoadDiscard,
    Sb,
    Sh,
    Sw,
    Sd,
    Beq,
    Bne,
    Blt,
    Bge,
    Bltu,
    Bgeu,
    Beqz,
    Bnez,
    Blez,
    Bgez,
    Bltz,
    Bgtz,
    /// `jal x0`.
    J,
    /// `jal`; `rs1` is the length of the instruction.
    Jal,
    /// `jalr x0`.
    Jr,
    /// `jalr`; `target` is the length of the instruction.
    Jalr,
    /// `lr.w`, `lr.d`; `target` is the size.
    Lr,
    /// `sc.w`, `sc.d`; `target` is the size.
    Sc,
    /// AMO on a word; `target` is the operation.
    AmoW,
    /// AMO on a doubleword; `target` is the operation.
    AmoD,
    Flw,
    Fld,
    Fsw,
    Fsd,
    FaddD,
    FsubD,
    FmulD,
    FdivD,
    FmaddD,
    FmvXD,
    FmvDX,
    FsgnjD,
    /// Any other floating-point operation; `target` is the raw instruction.
    Float,
    /// Zicsr; `imm` is the CSR, `target` is funct3.
    Csr,
    FenceI,
    Ecall,
    Ebreak,
    Sret,
    Wfi,
    SfenceVma,
    /// Illegal instruction; `target` is its bits.
    Illegal,
}

/// Number of entries that a block has at most, its end included.
pub const MAX_BLOCK: usize = 96;

impl Entry {
    /// The shared target of branches that are not linked yet.
    pub const UNLINKED: Entry =
        Entry { op: Kind::Unlinked, rd: 0, rs1: 0, imm: 0, target: 0, count: 0, offset: 0 };
}
