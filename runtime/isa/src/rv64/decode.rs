//! Decoder: a word to an [`Insn`].
//!
//! Two indexes are built from the tables at compile time. A 32-bit word is looked up by its major opcode,
//! funct7 and funct3 (15 bits): that gives the first row that can match, and rows that share the same key
//! (told apart by rs2) are chained. A compressed one is looked up by bits 15:10, 6:5 and 1:0 in the same way.
//! The compiler refuses a table whose rows do not fit this scheme.

use super::format::{CFormat, Reg, gather};
use super::op::{Access, Flow, Op, ROWS, ROWS_CONST};

/// A decoded instruction. Fields that the instruction does not have are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// What it does; for a compressed instruction, what it expands to.
    pub op: Op,
    /// Destination register.
    pub rd: u8,
    /// First source register; the 5-bit immediate of csrrwi, csrrsi and csrrci.
    pub rs1: u8,
    /// Second source register.
    pub rs2: u8,
    /// Third source register.
    pub rs3: u8,
    /// Rounding mode: 0 to 4, or 7 for the one in `frm`.
    pub rm: u8,
    /// Length in bytes: 2 or 4.
    pub len: u8,
    /// The immediate, sign-extended: shift amount, CSR number (0 to 4095), fence fields (fm, pred, succ),
    /// branch and jump offset in bytes, `lui` and `auipc` already shifted left by 12.
    pub imm: i32,
    /// The instruction's own bits: 32 or 16 of them, the rest is 0.
    pub raw: u32,
}

/// A row of the compressed table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CRow {
    /// The assembler's name; `reserved` when [`CRow::expands`] is `None`.
    pub mnemonic: &'static str,
    /// The bits that identify the instruction.
    pub mask: u16,
    /// Their values.
    pub matches: u16,
    /// What it expands to, and its operands; `None` for a reserved code point.
    pub expands: Option<(Op, CFormat)>,
}

macro_rules! expands {
    (reserved) => {
        None
    };
    ($op:ident $format:ident) => {
        Some((Op::$op, CFormat::$format))
    };
}

macro_rules! compressed {
    ($($mnemonic:literal $mask:literal $match:literal => $($to:ident)+;)*) => {
        const CROWS_CONST: [CRow; [$($mask),*].len()] = [$(CRow {
            mnemonic: $mnemonic,
            mask: $mask,
            matches: $match,
            expands: expands!($($to)+),
        }),*];
    };
}
crate::for_each_rvc!(compressed);

/// The compressed table, in the order in which rows are tried.
pub static CROWS: [CRow; CROWS_CONST.len()] = CROWS_CONST;

/// No row.
const NONE: u8 = u8::MAX;

/// For every key the first row that can match; for every row the next one with the same keys.
struct Index<const KEYS: usize, const N: usize> {
    first: [u8; KEYS],
    next: [u8; N],
}

/// Bits of a 32-bit word that make its key.
const KEY_BITS: u32 = 0xfe00_707c;

#[inline]
const fn key(word: u32) -> usize {
    ((word >> 2 & 31) | (word >> 12 & 7) << 5 | (word >> 25) << 8) as usize
}

static INDEX: Index<{ 1 << 15 }, { ROWS_CONST.len() }> = {
    let mut first = [NONE; 1 << 15];
    let mut next = [NONE; ROWS_CONST.len()];
    assert!(ROWS_CONST.len() < NONE as usize);
    let mut row = ROWS_CONST.len();
    while row > 0 {
        row -= 1;
        let (mask, matches) = (ROWS_CONST[row].mask, ROWS_CONST[row].matches);
        assert!(matches & !mask == 0 && mask & 3 == 3 && matches & 3 == 3);
        // All keys that the row can have: walk the subsets of the free key bits.
        let free = KEY_BITS & !mask;
        next[row] = first[key(matches)];
        let mut subset = 0u32;
        loop {
            let k = key(matches | subset);
            assert!(first[k] == next[row], "rows that share one key must share all");
            first[k] = row as u8;
            subset = subset.wrapping_sub(free) & free;
            if subset == 0 {
                break;
            }
        }
    }
    Index { first, next }
};

/// Bits of a compressed instruction that make its key.
const CKEY_BITS: u16 = 0xfc63;

#[inline]
const fn ckey(half: u16) -> usize {
    ((half & 3) | (half >> 5 & 3) << 2 | (half >> 10) << 4) as usize
}

/// Here rows overlap (the first match decides), so a chain is searched in the table's order from its first
/// row.
static CINDEX: [u8; 1 << 10] = {
    let mut first = [NONE; 1 << 10];
    let mut row = CROWS_CONST.len();
    while row > 0 {
        row -= 1;
        let (mask, matches) = (CROWS_CONST[row].mask, CROWS_CONST[row].matches);
        assert!(matches & !mask == 0 && mask & 3 == 3 && matches & 3 != 3);
        let free = CKEY_BITS & !mask;
        let mut subset = 0u16;
        loop {
            first[ckey(matches & CKEY_BITS | subset)] = row as u8;
            subset = subset.wrapping_sub(free) & free;
            if subset == 0 {
                break;
            }
        }
    }
    first
};

/// Length in bytes of the instruction that begins with these 16 bits: 2 or 4.
///
/// Longer encodings (low five bits all ones) are not part of RV64GC; they count as 4 and decode to nothing.
#[inline]
pub const fn length(low: u16) -> usize {
    if low & 3 == 3 { 4 } else { 2 }
}

/// Decodes the instruction in `word`: the 32 bits at the pc, little endian. Of a compressed one (the low two
/// bits are not 11) only the low 16 bits are looked at. `None`: illegal or not part of the machine's ISA.
#[inline]
pub fn decode(word: u32) -> Option<Insn> {
    if word & 3 == 3 { decode_wide(word) } else { decode_compressed(word as u16) }
}

fn decode_wide(word: u32) -> Option<Insn> {
    let mut index = INDEX.first[key(word)];
    let row = loop {
        let row = ROWS.get(index as usize)?;
        if word & row.mask == row.matches {
            break row;
        }
        index = INDEX.next[index as usize];
    };
    let layout = row.format.layout();
    let field = |used: Reg, low: u32| if used == Reg::No { 0 } else { (word >> low & 31) as u8 };
    let rm = if layout.rm { (word >> 12 & 7) as u8 } else { 0 };
    // "5, 6: reserved" (unprivileged manual, "F", table of rounding modes).
    if matches!(rm, 5 | 6) {
        return None;
    }
    Some(Insn {
        op: row.op,
        rd: field(layout.rd, 7),
        rs1: field(layout.rs1, 15),
        rs2: field(layout.rs2, 20),
        rs3: field(layout.rs3, 27),
        rm,
        len: 4,
        imm: gather(word, layout.imm, layout.sign),
        raw: word,
    })
}

/// The row of a compressed instruction, `None` for a reserved code point that has no row.
pub fn compressed_row(half: u16) -> Option<&'static CRow> {
    let first = CINDEX[ckey(half)] as usize;
    CROWS.get(first..)?.iter().find(|row| half & row.mask == row.matches)
}

fn decode_compressed(half: u16) -> Option<Insn> {
    let (op, format) = compressed_row(half)?.expands?;
    let layout = format.layout();
    Some(Insn {
        op,
        rd: layout.rd.get(half),
        rs1: layout.rs1.get(half),
        rs2: layout.rs2.get(half),
        rs3: 0,
        rm: 0,
        len: 2,
        imm: gather(half as u32, layout.imm, layout.sign),
        raw: half as u32,
    })
}

/// Registers in one instruction's operands, as sets: bit n is register n. x0 is in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regs {
    /// Integer registers.
    pub x: u32,
    /// Floating-point registers.
    pub f: u32,
}

impl Regs {
    fn add(&mut self, kind: Reg, n: u8) {
        match kind {
            Reg::X => self.x |= (1u32 << (n & 31)) & !1,
            Reg::F => self.f |= 1 << (n & 31),
            Reg::No | Reg::Number => {}
        }
    }
}

impl Insn {
    /// Registers that it reads.
    pub fn reads(&self) -> Regs {
        let layout = self.op.format().layout();
        let mut regs = Regs::default();
        regs.add(layout.rs1, self.rs1);
        regs.add(layout.rs2, self.rs2);
        regs.add(layout.rs3, self.rs3);
        regs
    }

    /// Registers that it writes.
    pub fn writes(&self) -> Regs {
        let mut regs = Regs::default();
        regs.add(self.op.format().layout().rd, self.rd);
        regs
    }

    /// Control flow.
    pub fn flow(&self) -> Flow {
        self.op.flow()
    }

    /// Memory access.
    pub fn access(&self) -> Access {
        self.op.access()
    }

    /// Whether a basic block must end after it. Sharper than [`Op::ends_block`]: accesses to fflags, frm and
    /// fcsr change nothing but floating point, so they do not end one.
    pub fn ends_block(&self) -> bool {
        match self.flow() {
            Flow::Next => false,
            Flow::Csr => !matches!(self.imm, 1..=3),
            Flow::Branch | Flow::Jump | Flow::System => true,
        }
    }

    /// Whether it can trap (see [`Op::may_fault`]).
    pub fn may_fault(&self) -> bool {
        self.op.may_fault()
    }

    /// Target of a branch or direct jump at `pc`; `None` for everything else.
    pub fn target(&self, pc: u64) -> Option<u64> {
        match self.flow() {
            Flow::Branch => Some(pc.wrapping_add_signed(self.imm as i64)),
            Flow::Jump if self.op == Op::Jal => Some(pc.wrapping_add_signed(self.imm as i64)),
            _ => None,
        }
    }

    /// Acquire and release bits of an instruction of the A extension.
    pub fn aq_rl(&self) -> (bool, bool) {
        (self.raw >> 26 & 1 != 0, self.raw >> 25 & 1 != 0)
    }
}
