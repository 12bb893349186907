//! Instruction to [`Entry`], and block decoding.
//!
//! A block starts at any halfword of a page and ends at an unconditional transfer of control, at an
//! instruction that may change how the following ones are fetched, at [`MAX_BLOCK`] entries or at the end of
//! the page. Conditional branches do not end it.

use super::Context;
use super::entry::{Entry, Kind, MAX_BLOCK};
use forelift_abi::layout::PAGE_SIZE;
use forelift_isa::rv64::{Insn, Op, decode};

/// Byte offset of a register in the register file.
const fn reg(number: u8) -> u8 {
    number * 8
}

/// An instruction that computes `rd` and does nothing else.
fn pure(kind: Kind, insn: &Insn, imm: i32) -> Entry {
    let op = if insn.rd == 0 { Kind::Nop } else { kind };
    Entry { op, rd: reg(insn.rd), rs1: reg(insn.rs1), imm, ..Entry::UNLINKED }
}

fn register(kind: Kind, insn: &Insn) -> Entry {
    pure(kind, insn, i32::from(reg(insn.rs2)))
}

fn immediate(kind: Kind, insn: &Insn) -> Entry {
    pure(kind, insn, insn.imm)
}

fn load(kind: Kind, size: u32, insn: &Insn) -> Entry {
    let op = if insn.rd == 0 { Kind::LoadDiscard } else { kind };
    Entry { op, rd: reg(insn.rd), rs1: reg(insn.rs1), imm: insn.imm, target: size, ..Entry::UNLINKED }
}

/// `target` is the raw instruction, for the exception when the FPU is off.
fn float_load(kind: Kind, insn: &Insn) -> Entry {
    Entry {
        op: kind,
        rd: reg(insn.rd),
        rs1: reg(insn.rs1),
        imm: insn.imm,
        target: insn.raw,
        ..Entry::UNLINKED
    }
}

fn float_store(kind: Kind, insn: &Insn) -> Entry {
    Entry { target: insn.raw, ..store(kind, insn) }
}

fn store(kind: Kind, insn: &Insn) -> Entry {
    Entry { op: kind, rd: reg(insn.rs2), rs1: reg(insn.rs1), imm: insn.imm, ..Entry::UNLINKED }
}

/// A conditional branch; comparisons with x0 have forms of their own.
fn branch(insn: &Insn, offset: u16) -> Entry {
    let kind = match (insn.op, insn.rs1, insn.rs2) {
        (Op::Beq, _, 0) => Kind::Beqz,
        (Op::Bne, _, 0) => Kind::Bnez,
        (Op::Blt, _, 0) => Kind::Bltz,
        (Op::Bge, _, 0) => Kind::Bgez,
        (Op::Blt, 0, _) => Kind::Bgtz,
        (Op::Bge, 0, _) => Kind::Blez,
        (Op::Beq, ..) => Kind::Beq,
        (Op::Bne, ..) => Kind::Bne,
        (Op::Blt, ..) => Kind::Blt,
        (Op::Bge, ..) => Kind::Bge,
        (Op::Bltu, ..) => Kind::Bltu,
        _ => Kind::Bgeu,
    };
    // The forms against zero read the register from rs1.
    let rs1 = if matches!(kind, Kind::Bgtz | Kind::Blez) { insn.rs2 } else { insn.rs1 };
    Entry { op: kind, rd: reg(insn.rs2), rs1: reg(rs1), imm: i32::from(offset) + insn.imm, ..Entry::UNLINKED }
}

fn atomic(kind: Kind, insn: &Insn, target: u32) -> Entry {
    Entry {
        op: kind,
        rd: reg(insn.rd),
        rs1: reg(insn.rs1),
        imm: i32::from(reg(insn.rs2)),
        target,
        ..Entry::UNLINKED
    }
}

fn float(kind: Kind, insn: &Insn) -> Entry {
    let imm = i32::from(reg(insn.rs2))
        | i32::from(reg(insn.rs3)) << 8
        | i32::from(insn.rm) << 16
        | (insn.op as i32) << 24;
    Entry { op: kind, rd: reg(insn.rd), rs1: reg(insn.rs1), imm, target: insn.raw, ..Entry::UNLINKED }
}

fn csr(insn: &Insn, funct3: u32) -> Entry {
    // The immediate forms keep the number that they encode in rs1.
    let rs1 = if funct3 >= 5 { insn.rs1 } else { reg(insn.rs1) };
    Entry { op: Kind::Csr, rd: reg(insn.rd), rs1, imm: insn.imm, target: funct3, ..Entry::UNLINKED }
}

/// The entry for the Zicsr instruction `bits`.
pub(crate) fn csr_entry(bits: u32) -> Entry {
    let field = |shift: u32| (bits >> shift & 31) as u8;
    let funct3 = bits >> 12 & 7;
    let rs1 = if funct3 >= 5 { field(15) } else { reg(field(15)) };
    Entry {
        op: Kind::Csr,
        rd: reg(field(7)),
        rs1,
        imm: (bits >> 20) as i32,
        target: funct3,
        ..Entry::UNLINKED
    }
}

fn system(kind: Kind, insn: &Insn) -> Entry {
    Entry { op: kind, rd: insn.len, rs1: reg(insn.rs1), imm: i32::from(reg(insn.rs2)), ..Entry::UNLINKED }
}

/// The entry for an instruction at `offset` of its page; `count` is left at 0.
pub(crate) fn entry(insn: &Insn, offset: u16) -> Entry {
    let mut entry = match insn.op {
        Op::Lui => Entry { rs1: 0, ..immediate(Kind::Li, insn) },
        Op::Auipc => pure(Kind::Auipc, insn, insn.imm.wrapping_add(i32::from(offset))),
        Op::Jal if insn.rd == 0 => {
            Entry { op: Kind::J, imm: i32::from(offset) + insn.imm, ..Entry::UNLINKED }
        }
        Op::Jal => Entry {
            op: Kind::Jal,
            rd: reg(insn.rd),
            rs1: insn.len,
            imm: i32::from(offset) + insn.imm,
            ..Entry::UNLINKED
        },
        Op::Jalr => Entry {
            op: if insn.rd == 0 { Kind::Jr } else { Kind::Jalr },
            rd: reg(insn.rd),
            rs1: reg(insn.rs1),
            imm: insn.imm,
            target: u32::from(insn.len),
            ..Entry::UNLINKED
        },
        Op::Beq | Op::Bne | Op::Blt | Op::Bge | Op::Bltu | Op::Bgeu => branch(insn, offset),
        Op::Lb => load(Kind::Lb, 1, insn),
        Op::Lh => load(Kind::Lh, 2, insn),
        Op::Lw => load(Kind::Lw, 4, insn),
        Op::Ld => load(Kind::Ld, 8, insn),
        Op::Lbu => load(Kind::Lbu, 1, insn),
        Op::Lhu => load(Kind::Lhu, 2, insn),
        Op::Lwu => load(Kind::Lwu, 4, insn),
        Op::Sb => store(Kind::Sb, insn),
        Op::Sh => store(Kind::Sh, insn),
        Op::Sw => store(Kind::Sw, insn),
        Op::Sd => store(Kind::Sd, insn),
        Op::Addi if insn.rs1 == 0 => immediate(Kind::Li, insn),
        Op::Addi if insn.imm == 0 => immediate(Kind::Mv, insn),
        Op::Addi => immediate(Kind::Addi, insn),
        Op::Slti => immediate(Kind::Slti, insn),
        Op::Sltiu => immediate(Kind::Sltiu, insn),
        Op::Xori => immediate(Kind::Xori, insn),
        Op::Ori => immediate(Kind::Ori, insn),
        Op::Andi => immediate(Kind::Andi, insn),
        Op::Slli => immediate(Kind::Slli, insn),
        Op::Srli => immediate(Kind::Srli, insn),
        Op::Srai => immediate(Kind::Srai, insn),
        Op::Addiw => immediate(Kind::Addiw, insn),
        Op::Slliw => immediate(Kind::Slliw, insn),
        Op::Srliw => immediate(Kind::Srliw, insn),
        Op::Sraiw => immediate(Kind::Sraiw, insn),
        Op::Add if insn.rs1 == 0 && insn.rs2 != 0 => Entry { rs1: reg(insn.rs2), ..register(Kind::Mv, insn) },
        Op::Add => register(Kind::Add, insn),
        Op::Sub => register(Kind::Sub, insn),
        Op::Sll => register(Kind::Sll, insn),
        Op::Slt => register(Kind::Slt, insn),
        Op::Sltu => register(Kind::Sltu, insn),
        Op::Xor => register(Kind::Xor, insn),
        Op::Srl => register(Kind::Srl, insn),
        Op::Sra => register(Kind::Sra, insn),
        Op::Or => register(Kind::Or, insn),
        Op::And => register(Kind::And, insn),
        Op::Addw => register(Kind::Addw, insn),
        Op::Subw => register(Kind::Subw, insn),
        Op::Sllw => register(Kind::Sllw, insn),
        Op::Srlw => register(Kind::Srlw, insn),
        Op::Sraw => register(Kind::Sraw, insn),
        Op::Mul => register(Kind::Mul, insn),
        Op::Mulh => register(Kind::Mulh, insn),
        Op::Mulhsu => register(Kind::Mulhsu, insn),
        Op::Mulhu => register(Kind::Mulhu, insn),
        Op::Div => register(Kind::Div, insn),
        Op::Divu => register(Kind::Divu, insn),
        Op::Rem => register(Kind::Rem, insn),
        Op::Remu => register(Kind::Remu, insn),
        Op::Mulw => register(Kind::Mulw, insn),
        Op::Divw => register(Kind::Divw, insn),
        Op::Divuw => register(Kind::Divuw, insn),
        Op::Remw => register(Kind::Remw, insn),
        Op::Remuw => register(Kind::Remuw, insn),
        Op::Fence => Entry { op: Kind::Nop, ..Entry::UNLINKED },
        Op::LrW => atomic(Kind::Lr, insn, 4),
        Op::LrD => atomic(Kind::Lr, insn, 8),
        Op::ScW => atomic(Kind::Sc, insn, 4),
        Op::ScD => atomic(Kind::Sc, insn, 8),
        Op::AmoswapW
        | Op::AmoaddW
        | Op::AmoxorW
        | Op::AmoandW
        | Op::AmoorW
        | Op::AmominW
        | Op::AmomaxW
        | Op::AmominuW
        | Op::AmomaxuW => atomic(Kind::AmoW, insn, insn.raw >> 27),
        Op::AmoswapD
        | Op::AmoaddD
        | Op::AmoxorD
        | Op::AmoandD
        | Op::AmoorD
        | Op::AmominD
        | Op::AmomaxD
        | Op::AmominuD
        | Op::AmomaxuD => atomic(Kind::AmoD, insn, insn.raw >> 27),
        Op::Flw => float_load(Kind::Flw, insn),
        Op::Fld => float_load(Kind::Fld, insn),
        Op::Fsw => float_store(Kind::Fsw, insn),
        Op::Fsd => float_store(Kind::Fsd, insn),
        Op::FaddD => float(Kind::FaddD, insn),
        Op::FsubD => float(Kind::FsubD, insn),
        Op::FmulD => float(Kind::FmulD, insn),
        Op::FdivD => float(Kind::FdivD, insn),
        Op::FmaddD => float(Kind::FmaddD, insn),
        Op::FmvXD if insn.rd != 0 => float(Kind::FmvXD, insn),
        Op::FmvDX => float(Kind::FmvDX, insn),
        Op::FsgnjD => float(Kind::FsgnjD, insn),
        Op::Csrrw => csr(insn, 1),
        Op::Csrrs => csr(insn, 2),
        Op::Csrrc => csr(insn, 3),
        Op::Csrrwi => csr(insn, 5),
        Op::Csrrsi => csr(insn, 6),
        Op::Csrrci => csr(insn, 7),
        Op::FenceI => system(Kind::FenceI, insn),
        Op::Ecall => system(Kind::Ecall, insn),
        Op::Ebreak => system(Kind::Ebreak, insn),
        Op::Sret => Entry { target: insn.raw, ..system(Kind::Sret, insn) },
        Op::Wfi => Entry { target: insn.raw, ..system(Kind::Wfi, insn) },
        Op::SfenceVma => Entry { target: insn.raw, ..system(Kind::SfenceVma, insn) },
        _ => float(Kind::Float, insn),
    };
    entry.offset = offset;
    entry
}

/// The entry for bits that are no instruction.
pub(crate) fn illegal(bits: u32, offset: u16) -> Entry {
    let bits = if bits & 3 == 3 { bits } else { bits & 0xffff };
    Entry { op: Kind::Illegal, target: bits, offset, ..Entry::UNLINKED }
}

pub(crate) fn ends_block(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::J
            | Kind::Jal
            | Kind::Jr
            | Kind::Jalr
            | Kind::FenceI
            | Kind::Ecall
            | Kind::Ebreak
            | Kind::Sret
            | Kind::Wfi
            | Kind::SfenceVma
            | Kind::Illegal
    )
}

/// Whether `count` of this kind includes the instruction itself.
fn counts_itself(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Beq
            | Kind::Bne
            | Kind::Blt
            | Kind::Bge
            | Kind::Bltu
            | Kind::Bgeu
            | Kind::Beqz
            | Kind::Bnez
            | Kind::Blez
            | Kind::Bgez
            | Kind::Bltz
            | Kind::Bgtz
            | Kind::J
            | Kind::Jal
            | Kind::Jr
            | Kind::Jalr
    )
}

fn next(offset: usize, count: u16) -> Entry {
    Entry { op: Kind::Next, imm: offset as i32, count, offset: offset as u16, ..Entry::UNLINKED }
}

/// Decodes the block at `offset` of the page whose bytes are `code` into `out`. It ends where lifted code can
/// be entered.
///
/// `None` when the first instruction itself runs over the page's end.
fn decode_block(
    code: &[u8],
    start: u16,
    is_entry: impl Fn(u16) -> bool,
    out: &mut [Entry; MAX_BLOCK],
) -> Option<usize> {
    let mut offset = usize::from(start);
    let mut len = 0;
    while len < MAX_BLOCK - 1 && offset < PAGE_SIZE as usize && (len == 0 || !is_entry(offset as u16)) {
        let low = u16::from_le_bytes([code[offset], code[offset + 1]]);
        let wide = low & 3 == 3;
        if wide && offset + 4 > PAGE_SIZE as usize {
            break;
        }
        let high = if wide { u16::from_le_bytes([code[offset + 2], code[offset + 3]]) } else { 0 };
        let bits = u32::from(low) | u32::from(high) << 16;
        let mut e = match decode(bits) {
            Some(insn) => entry(&insn, offset as u16),
            None => illegal(bits, offset as u16),
        };
        e.count = len as u16 + u16::from(counts_itself(e.op));
        out[len] = e;
        len += 1;
        offset += if wide { 4 } else { 2 };
        if ends_block(e.op) {
            return Some(len);
        }
    }
    if len == 0 {
        return None;
    }
    out[len] = next(offset, len as u16);
    Some(len + 1)
}

/// What [`Context::block`] found.
pub(crate) enum Block {
    /// Index of the block's first entry.
    At(u32),
    /// The instruction straddles the page's end: it is fetched anew each time.
    Straddles,
}

impl Context<'_> {
    /// The block at `offset` (even) of code page `page`, decoded if need be: where lifted code can be
    /// entered, a mark that leads to the dispatcher. `emptied` is set when the cache had to be emptied for
    /// it: indices known before are void then, `page` included.
    pub(crate) fn block(&mut self, page: u32, offset: u16, emptied: &mut bool) -> Block {
        let known = self.cache.page(page).blocks[usize::from(offset / 2)];
        if known != 0 {
            return Block::At(known);
        }
        if !self.cache.page(page).is_entry(offset) {
            return self.decode(page, offset, true, emptied);
        }
        let page = self.make_room(page, emptied);
        let mark = Entry { op: Kind::Lifted, offset, ..Entry::UNLINKED };
        Block::At(self.cache.add_block(page, Some(offset), &[mark]))
    }

    /// The block at `offset` for the interpreter, also where lifted code can be entered.
    pub(crate) fn block_past_mark(&mut self, page: u32, offset: u16, emptied: &mut bool) -> Block {
        let at = match self.block(page, offset, emptied) {
            Block::At(at) => at,
            Block::Straddles => return Block::Straddles,
        };
        match self.cache.past_mark(at) {
            None => Block::At(at),
            Some(0) => {
                let page = if *emptied { 0 } else { page };
                let mut again = false;
                let block = self.decode(page, offset, false, &mut again);
                *emptied |= again;
                if let (Block::At(past), false) = (&block, again) {
                    self.cache.link(at, *past);
                }
                block
            }
            Some(past) => Block::At(past),
        }
    }

    /// Makes room for a block; gives the number that `page` has then.
    fn make_room(&mut self, page: u32, emptied: &mut bool) -> u32 {
        if self.cache.has_room() {
            return page;
        }
        let pa = self.cache.page(page).pa;
        self.cache.clear();
        self.hart.flush_itlb();
        self.forget_profile();
        *emptied = true;
        self.cache.add_page(self.mem, pa).0
    }

    /// Decodes the block at `offset` of page `page`, and notes it in the page's table if `noted`.
    fn decode(&mut self, page: u32, offset: u16, noted: bool, emptied: &mut bool) -> Block {
        let pa = self.cache.page(page).pa;
        let Some(code) = self.mem.slice(pa, PAGE_SIZE as usize) else { return Block::Straddles };
        let mut entries = [Entry::UNLINKED; MAX_BLOCK];
        let is_entry = |offset| self.cache.page(page).is_entry(offset);
        let Some(len) = decode_block(code, offset, is_entry, &mut entries) else { return Block::Straddles };
        self.protect_code(pa);
        let page = self.make_room(page, emptied);
        Block::At(self.cache.add_block(page, noted.then_some(offset), &entries[..len]))
    }

    /// Decodes the instruction at `pc`, for one execution.
    pub(crate) fn single(&mut self, pc: u64) -> Result<[Entry; 2], super::exception::Exception> {
        let offset = (pc & (PAGE_SIZE - 1)) as u16;
        let bits = self.fetch(pc)?;
        let mut e = match decode(bits) {
            Some(insn) => entry(&insn, offset),
            None => illegal(bits, offset),
        };
        e.count = u16::from(counts_itself(e.op));
        let length = if bits & 3 == 3 { 4 } else { 2 };
        Ok([e, next(usize::from(offset) + length, 1)])
    }
}
