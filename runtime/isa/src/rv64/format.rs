//! Operand formats: where an instruction keeps its operands, and in which register file they are.
//!
//! A format is plain data ([`Layout`]); decoder, encoder, disassembler and the questions about registers read
//! and written are all answered from it.

/// A run of immediate bits: `len` bits of the word from bit `from` are the immediate's bits from bit `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Lowest bit in the instruction word.
    pub from: u8,
    /// Number of bits.
    pub len: u8,
    /// Lowest bit in the immediate.
    pub to: u8,
}

const fn p(from: u8, len: u8, to: u8) -> Piece {
    Piece { from, len, to }
}

/// How an instruction uses a register field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reg {
    /// Not at all: decodes to 0.
    No,
    /// An integer register.
    X,
    /// A floating-point register.
    F,
    /// A 5-bit number, no register (`uimm` of the CSR instructions).
    Number,
}

/// Operand format of a 32-bit instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `rd, imm20`.
    U,
    /// `rd, target`.
    J,
    /// `rs1, rs2, target`.
    B,
    /// `rd, rs1, imm12`.
    I,
    /// `rd, imm12(rs1)`; jalr too.
    Load,
    /// `rs2, imm12(rs1)`.
    Store,
    /// `rd, rs1, shamt` with 6 bits.
    Shift6,
    /// `rd, rs1, shamt` with 5 bits.
    Shift5,
    /// `rd, rs1, rs2`.
    R,
    /// `pred, succ`: the immediate is the 12 bits fm, pred, succ.
    Fence,
    /// No operands.
    Bare,
    /// `rd, rs2, (rs1)`.
    Amo,
    /// `rd, (rs1)`.
    Lr,
    /// `frd, imm12(rs1)`.
    FLoad,
    /// `frs2, imm12(rs1)`.
    FStore,
    /// `frd, frs1, frs2, frs3, rm`.
    F4,
    /// `frd, frs1, frs2, rm`.
    F2Rm,
    /// `frd, frs1, frs2`.
    F2,
    /// `frd, frs1, rm`.
    F1Rm,
    /// `rd, frs1, frs2`.
    FCmp,
    /// `rd, frs1, rm`.
    XFRm,
    /// `rd, frs1`.
    XF,
    /// `frd, rs1, rm`.
    FXRm,
    /// `frd, rs1`.
    FX,
    /// `rd, csr, rs1`.
    Csr,
    /// `rd, csr, uimm5`.
    CsrI,
    /// `rs1, rs2`.
    Sfence,
}

/// What a [`Format`] means. The fields sit where the manual has them: rd 11:7, rs1 19:15, rs2 24:20, rs3
/// 31:27, rm 14:12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Destination.
    pub rd: Reg,
    /// First source.
    pub rs1: Reg,
    /// Second source.
    pub rs2: Reg,
    /// Third source.
    pub rs3: Reg,
    /// Whether funct3 is the rounding mode.
    pub rm: bool,
    /// The immediate's bits; empty for none.
    pub imm: &'static [Piece],
    /// Width to sign-extend the immediate from; 0: it is unsigned.
    pub sign: u8,
}

const fn layout(rd: Reg, rs1: Reg, rs2: Reg, rm: bool, imm: &'static [Piece], sign: u8) -> Layout {
    Layout { rd, rs1, rs2, rs3: Reg::No, rm, imm, sign }
}

const IMM_I: &[Piece] = &[p(20, 12, 0)];
const IMM_S: &[Piece] = &[p(7, 5, 0), p(25, 7, 5)];
const IMM_B: &[Piece] = &[p(8, 4, 1), p(25, 6, 5), p(7, 1, 11), p(31, 1, 12)];
const IMM_U: &[Piece] = &[p(12, 20, 12)];
const SHAMT6: &[Piece] = &[p(20, 6, 0)];
const SHAMT5: &[Piece] = &[p(20, 5, 0)];
const IMM_J: &[Piece] = &[p(21, 10, 1), p(20, 1, 11), p(12, 8, 12), p(31, 1, 20)];

impl Format {
    /// The format's description.
    #[inline]
    pub const fn layout(self) -> Layout {
        use Reg::{F, No, Number, X};
        match self {
            Format::U => layout(X, No, No, false, IMM_U, 32),
            Format::J => layout(X, No, No, false, IMM_J, 21),
            Format::B => layout(No, X, X, false, IMM_B, 13),
            Format::I | Format::Load => layout(X, X, No, false, IMM_I, 12),
            Format::Store => layout(No, X, X, false, IMM_S, 12),
            Format::Shift6 => layout(X, X, No, false, SHAMT6, 0),
            Format::Shift5 => layout(X, X, No, false, SHAMT5, 0),
            Format::R | Format::Amo => layout(X, X, X, false, &[], 0),
            Format::Fence => layout(No, No, No, false, IMM_I, 0),
            Format::Bare => layout(No, No, No, false, &[], 0),
            Format::Lr => layout(X, X, No, false, &[], 0),
            Format::FLoad => layout(F, X, No, false, IMM_I, 12),
            Format::FStore => layout(No, X, F, false, IMM_S, 12),
            Format::F4 => Layout { rd: F, rs1: F, rs2: F, rs3: F, rm: true, imm: &[], sign: 0 },
            Format::F2Rm => layout(F, F, F, true, &[], 0),
            Format::F2 => layout(F, F, F, false, &[], 0),
            Format::F1Rm => layout(F, F, No, true, &[], 0),
            Format::FCmp => layout(X, F, F, false, &[], 0),
            Format::XFRm => layout(X, F, No, true, &[], 0),
            Format::XF => layout(X, F, No, false, &[], 0),
            Format::FXRm => layout(F, X, No, true, &[], 0),
            Format::FX => layout(F, X, No, false, &[], 0),
            Format::Csr => layout(X, X, No, false, IMM_I, 0),
            Format::CsrI => layout(X, Number, No, false, IMM_I, 0),
            Format::Sfence => layout(No, X, X, false, &[], 0),
        }
    }
}

/// Where a compressed instruction keeps a register number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CReg {
    /// This register always.
    Is(u8),
    /// Five bits from bit 7.
    Wide7,
    /// Five bits from bit 2.
    Wide2,
    /// Three bits from bit 7: x8 to x15 (`rs1'`).
    Narrow7,
    /// Three bits from bit 2: x8 to x15 (`rs2'`, `rd'`).
    Narrow2,
}

impl CReg {
    /// The register that `half` names.
    #[inline]
    pub const fn get(self, half: u16) -> u8 {
        match self {
            CReg::Is(n) => n,
            CReg::Wide7 => (half >> 7 & 31) as u8,
            CReg::Wide2 => (half >> 2 & 31) as u8,
            CReg::Narrow7 => (half >> 7 & 7) as u8 + 8,
            CReg::Narrow2 => (half >> 2 & 7) as u8 + 8,
        }
    }

    /// The bits that name register `n`, or `None` when this field cannot name it.
    pub const fn put(self, n: u8) -> Option<u16> {
        match self {
            CReg::Is(m) if m == n => Some(0),
            CReg::Wide7 if n < 32 => Some((n as u16) << 7),
            CReg::Wide2 if n < 32 => Some((n as u16) << 2),
            CReg::Narrow7 if n >= 8 && n < 16 => Some((n as u16 - 8) << 7),
            CReg::Narrow2 if n >= 8 && n < 16 => Some((n as u16 - 8) << 2),
            _ => None,
        }
    }
}

/// Operand format of a compressed instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CFormat {
    /// c.addi4spn.
    Addi4spn,
    /// c.lw.
    LoadW,
    /// c.ld, c.fld.
    LoadD,
    /// c.sw.
    StoreW,
    /// c.sd, c.fsd.
    StoreD,
    /// `rd/rs1, imm6`.
    Imm,
    /// c.li.
    Li,
    /// c.addi16sp.
    Addi16sp,
    /// c.lui.
    Lui,
    /// c.srli, c.srai.
    ShiftP,
    /// c.andi.
    ImmP,
    /// `rd'/rs1', rs2'`.
    RegP,
    /// c.j.
    Jump,
    /// c.beqz, c.bnez.
    Branch,
    /// c.slli.
    Shift,
    /// c.lwsp.
    LoadSpW,
    /// c.ldsp, c.fldsp.
    LoadSpD,
    /// c.jr.
    JumpReg,
    /// c.jalr.
    CallReg,
    /// c.mv.
    Move,
    /// c.add.
    Reg,
    /// c.ebreak.
    Bare,
    /// c.swsp.
    StoreSpW,
    /// c.sdsp, c.fsdsp.
    StoreSpD,
}

/// What a [`CFormat`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CLayout {
    /// Destination of the expansion.
    pub rd: CReg,
    /// First source of the expansion.
    pub rs1: CReg,
    /// Second source of the expansion.
    pub rs2: CReg,
    /// The immediate's bits; empty for none.
    pub imm: &'static [Piece],
    /// Width to sign-extend the immediate from; 0: it is unsigned.
    pub sign: u8,
}

const fn c(rd: CReg, rs1: CReg, rs2: CReg, imm: &'static [Piece], sign: u8) -> CLayout {
    CLayout { rd, rs1, rs2, imm, sign }
}

const CIMM6: &[Piece] = &[p(2, 5, 0), p(12, 1, 5)];
const CIMM_LUI: &[Piece] = &[p(2, 5, 12), p(12, 1, 17)];
const CIMM_LWSP: &[Piece] = &[p(4, 3, 2), p(12, 1, 5), p(2, 2, 6)];
const CIMM_LDSP: &[Piece] = &[p(5, 2, 3), p(12, 1, 5), p(2, 3, 6)];
const CIMM_SWSP: &[Piece] = &[p(9, 4, 2), p(7, 2, 6)];
const CIMM_SDSP: &[Piece] = &[p(10, 3, 3), p(7, 3, 6)];
const CIMM_W: &[Piece] = &[p(10, 3, 3), p(6, 1, 2), p(5, 1, 6)];
const CIMM_D: &[Piece] = &[p(10, 3, 3), p(5, 2, 6)];
const CIMM_4SPN: &[Piece] = &[p(11, 2, 4), p(7, 4, 6), p(6, 1, 2), p(5, 1, 3)];
const CIMM_16SP: &[Piece] = &[p(6, 1, 4), p(2, 1, 5), p(5, 1, 6), p(3, 2, 7), p(12, 1, 9)];
const CIMM_J: &[Piece] =
    &[p(3, 3, 1), p(11, 1, 4), p(2, 1, 5), p(7, 1, 6), p(6, 1, 7), p(9, 2, 8), p(8, 1, 10), p(12, 1, 11)];
const CIMM_B: &[Piece] = &[p(3, 2, 1), p(10, 2, 3), p(2, 1, 5), p(5, 2, 6), p(12, 1, 8)];

impl CFormat {
    /// The format's description.
    #[inline]
    pub const fn layout(self) -> CLayout {
        use CReg::{Is, Narrow2, Narrow7, Wide2, Wide7};
        const NO: CReg = Is(0);
        const SP: CReg = Is(2);
        match self {
            CFormat::Addi4spn => c(Narrow2, SP, NO, CIMM_4SPN, 0),
            CFormat::LoadW => c(Narrow2, Narrow7, NO, CIMM_W, 0),
            CFormat::LoadD => c(Narrow2, Narrow7, NO, CIMM_D, 0),
            CFormat::StoreW => c(NO, Narrow7, Narrow2, CIMM_W, 0),
            CFormat::StoreD => c(NO, Narrow7, Narrow2, CIMM_D, 0),
            CFormat::Imm => c(Wide7, Wide7, NO, CIMM6, 6),
            CFormat::Li => c(Wide7, NO, NO, CIMM6, 6),
            CFormat::Addi16sp => c(SP, SP, NO, CIMM_16SP, 10),
            CFormat::Lui => c(Wide7, NO, NO, CIMM_LUI, 18),
            CFormat::ShiftP => c(Narrow7, Narrow7, NO, CIMM6, 0),
            CFormat::ImmP => c(Narrow7, Narrow7, NO, CIMM6, 6),
            CFormat::RegP => c(Narrow7, Narrow7, Narrow2, &[], 0),
            CFormat::Jump => c(NO, NO, NO, CIMM_J, 12),
            CFormat::Branch => c(NO, Narrow7, NO, CIMM_B, 9),
            CFormat::Shift => c(Wide7, Wide7, NO, CIMM6, 0),
            CFormat::LoadSpW => c(Wide7, SP, NO, CIMM_LWSP, 0),
            CFormat::LoadSpD => c(Wide7, SP, NO, CIMM_LDSP, 0),
            CFormat::JumpReg => c(NO, Wide7, NO, &[], 0),
            CFormat::CallReg => c(Is(1), Wide7, NO, &[], 0),
            CFormat::Move => c(Wide7, NO, Wide2, &[], 0),
            CFormat::Reg => c(Wide7, Wide7, Wide2, &[], 0),
            CFormat::Bare => c(NO, NO, NO, &[], 0),
            CFormat::StoreSpW => c(NO, SP, Wide2, CIMM_SWSP, 0),
            CFormat::StoreSpD => c(NO, SP, Wide2, CIMM_SDSP, 0),
        }
    }
}

/// Collects the immediate from `word` and sign-extends it from `sign` bits (0: not at all).
#[inline]
pub(crate) const fn gather(word: u32, pieces: &[Piece], sign: u8) -> i32 {
    let mut imm = 0u32;
    let mut i = 0;
    while i < pieces.len() {
        let Piece { from, len, to } = pieces[i];
        imm |= (word >> from & ((1 << len) - 1)) << to;
        i += 1;
    }
    if sign == 0 {
        return imm as i32;
    }
    let shift = 32 - sign as u32;
    (imm << shift) as i32 >> shift
}

/// Spreads `imm` over an instruction word; bits that no piece takes are dropped.
pub(crate) const fn scatter(imm: i32, pieces: &[Piece]) -> u32 {
    let mut word = 0u32;
    let mut i = 0;
    while i < pieces.len() {
        let Piece { from, len, to } = pieces[i];
        word |= (imm as u32 >> to & ((1 << len) - 1)) << from;
        i += 1;
    }
    word
}
