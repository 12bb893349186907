//! Instruction to [`Entry`], and block decoding.
//!
//! A block starts at any byte of a page and ends at an unconditional transfer of control, at an instruction
//! that may change how the following ones are fetched, at [`MAX_BLOCK`] entries or at the end of the page.
//! Conditional branches do not end it.

use super::Context;
use super::cache::{Cache, Straddling};
use super::entry::{Entry, Kind, MAX_BLOCK};
use super::exec::NO_PAGE;
use super::family::{self, LONGEST};
use super::fault::Res;
use super::operand::touches_memory;
use super::quick::{AFTER_LOGIC, AFTER_SUB, FUSED, quick};
use forelift_abi::layout::PAGE_SIZE;
use iced_x86::{
    Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register, RflagsBits,
};

/// Where a block is.
pub(crate) enum Block {
    /// In the arena.
    At(u32),
    /// Its first instruction goes on in the next page.
    Straddles,
}

/// Whether nothing behind the instruction can belong to its block: control leaves it, or it may change what
/// follows.
fn ends_block(i: &Instruction) -> bool {
    match i.flow_control() {
        FlowControl::Next => {
            matches!(
                i.mnemonic(),
                Mnemonic::Sti
                    | Mnemonic::Cli
                    | Mnemonic::Popf
                    | Mnemonic::Popfd
                    | Mnemonic::Popfq
                    | Mnemonic::Wrmsr
                    | Mnemonic::Invlpg
                    | Mnemonic::Hlt
                    | Mnemonic::Lgdt
                    | Mnemonic::Lidt
                    | Mnemonic::Lmsw
            ) || i.mnemonic() == Mnemonic::Mov && (0..2).any(|n| i.op_register(n).is_cr())
        }
        FlowControl::ConditionalBranch => false,
        _ => true,
    }
}

impl Context<'_> {
    /// The block at `offset` of page `page` of the cache, decoded if need be. `emptied` is set when the cache
    /// had to be emptied: then the page has index 0.
    pub(crate) fn block(&mut self, page: u32, offset: u16, emptied: &mut bool) -> Block {
        let long = self.hart.long;
        let known = self.cache.block(page, long, offset);
        if known != 0 {
            return Block::At(known);
        }
        let pa = self.cache.pa(page);
        let mut page = page;
        if !self.cache.has_room() {
            self.cache.clear();
            self.hart.flush_itlb();
            page = self.cache.add_page(self.mem, pa).0;
            *emptied = true;
        }
        let Some(bytes) = self.mem.slice(pa + u64::from(offset), PAGE_SIZE as usize - usize::from(offset))
        else {
            return Block::Straddles;
        };
        let mut entries = core::mem::take(&mut self.cache.scratch);
        entries.clear();
        decode(self.cache, long, bytes, offset, &mut entries);
        let at = if entries.is_empty() {
            None
        } else {
            Some(self.cache.add_block(Some((page, long, offset)), &entries))
        };
        self.cache.scratch = entries;
        let Some(at) = at else { return Block::Straddles };
        if !self.mem.is_code(pa) {
            self.mem.mark_code(pa);
            if let Some(offset) = self.mem.ram_offset(pa) {
                self.hart.dtlb.protect(offset);
            }
        }
        Block::At(at)
    }

    /// The entries of the instruction at `va`, which may straddle two pages.
    pub(crate) fn single(&mut self, va: u64) -> Res<[Entry; 2]> {
        let (bytes, length, fault) = self.fetch(va)?;
        let (offset, long) = ((va & (PAGE_SIZE - 1)) as u16, self.hart.long);
        if let Some(known) = self.cache.straddling(va)
            && (known.offset, known.long, known.bytes) == (offset, long, bytes)
            && fault.is_none()
        {
            return Ok(known.entries);
        }
        if !self.cache.has_room() {
            self.cache.clear();
            self.hart.flush_itlb();
        }
        let bitness = if long { 64 } else { 32 };
        let mut decoder = Decoder::with_ip(bitness, &bytes[..length], offset.into(), DecoderOptions::NONE);
        let i = decoder.decode();
        if i.is_invalid()
            && decoder.last_error() == DecoderError::NoMoreBytes
            && let Some(fault) = fault
        {
            return Err(fault);
        }
        let entry = entry_of(self.cache, long, &i);
        let counted = u16::from(entry.op.is_branch());
        let entry = Entry { count: counted, offset, length: i.len() as u8, ..entry };
        let behind = offset + i.len() as u16;
        let end = Entry::next(behind, 1);
        if fault.is_none() {
            *self.cache.straddling(va) = Some(Straddling { offset, long, bytes, entries: [entry, end] });
        }
        Ok([entry, end])
    }

    /// Decodes again the instruction of an entry that cannot do it: that is rarer than decoding is. It is not
    /// fetched again, but for one that straddles pages.
    pub(crate) fn decode_again(&mut self, e: &Entry) -> Res<(family::Handler, Instruction)> {
        let (offset, length) = (u64::from(e.offset), usize::from(e.length));
        let mut bytes = [0; LONGEST];
        if self.hart.page == NO_PAGE {
            bytes = self.fetch(self.hart.rip)?.0;
        } else if let Some(memory) = self.mem.slice(self.cache.pa(self.hart.page) + offset, length) {
            bytes[..length].copy_from_slice(memory);
        }
        let bitness = if self.hart.long { 64 } else { 32 };
        let i = Decoder::with_ip(bitness, &bytes[..length], offset, DecoderOptions::NONE).decode();
        Ok((family::handler(&i), i))
    }
}

/// Decodes a block from `bytes`, which are those from `start` on in a page, to the page's end. Nothing when
/// its first instruction goes on in the next page.
fn decode(cache: &mut Cache, long: bool, bytes: &[u8], start: u16, entries: &mut Vec<Entry>) {
    let bitness = if long { 64 } else { 32 };
    let end = usize::from(start) + bytes.len();
    let mut decoder = Decoder::with_ip(bitness, bytes, u64::from(start), DecoderOptions::NONE);
    let mut i = Instruction::default();
    let (mut offset, mut count) = (start, 0);
    let mut known = Known::Nothing;
    let mut rotations = Rotations::default();
    loop {
        decoder.decode_out(&mut i);
        let straddles = i.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes;
        // Two entries are kept for the instruction and the end.
        if straddles || usize::from(offset) >= end || entries.len() + 2 > MAX_BLOCK {
            if !entries.is_empty() {
                entries.push(Entry::next(offset, count));
            }
            return;
        }
        let mut entry = entry_of(cache, long, &i);
        if entry.op == Kind::Jcc {
            entry.op = after(known, entry.s).unwrap_or(Kind::Jcc);
            if let Some((kind, last)) =
                entries.last().and_then(|last| Some((fused(last.op, entry.s)?, *last)))
            {
                entry = Entry { op: kind, d: last.d, s: last.s, disp: last.imm, ..entry };
                entries.pop();
            }
        }
        known = known.behind(&i, entry.op);
        // What transfers control counts itself: its charge is made when it is taken.
        count += 1;
        let counted = if entry.op.is_branch() { count } else { count - 1 };
        entries.push(Entry { count: counted, offset, length: i.len() as u8, ..entry });
        rotations.note(&i, entries);
        offset += i.len() as u16;
        if ends_block(&i) {
            // A family may go on all the same.
            if entry.op == Kind::Family {
                entries.push(Entry::next(offset, count));
            }
            return;
        }
    }
}

/// The entry for an instruction; `count`, `offset` and `length` are left at 0.
fn entry_of(cache: &mut Cache, long: bool, i: &Instruction) -> Entry {
    quick(i, long).unwrap_or_else(|| {
        let index = cache.add_instruction(family::handler(i), *i);
        Entry { op: Kind::Family, imm: index, ..Entry::UNLINKED }
    })
}

/// Whether the entry may have to leave its work to the family.
fn needs_family(i: &Instruction, op: Kind) -> bool {
    let memory = touches_memory(i) && i.mnemonic() != Mnemonic::Lea;
    let stack = i.is_stack_instruction() || matches!(op, Kind::JmpR | Kind::Leave);
    memory || stack || (0..i.op_count()).any(|n| i.op_register(n).is_xmm())
}

/// What is known, while a block is decoded, of the flags' form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// They come from a subtraction or comparison.
    Sub,
    /// They come from a logical operation.
    Logic,
    /// Nothing.
    Nothing,
}

impl Known {
    /// What is known behind an instruction.
    fn behind(self, i: &Instruction, op: Kind) -> Self {
        match i.mnemonic() {
            _ if op == Kind::Family && i.rflags_modified() != 0 => Known::Nothing,
            Mnemonic::Cmp | Mnemonic::Sub | Mnemonic::Neg => Known::Sub,
            Mnemonic::And | Mnemonic::Or | Mnemonic::Xor | Mnemonic::Test => Known::Logic,
            _ if i.rflags_modified() != 0 => Known::Nothing,
            _ => self,
        }
    }
}

/// The conditional jump that profits from what is known of the flags.
fn after(known: Known, condition: u8) -> Option<Kind> {
    let table = match known {
        Known::Sub => &AFTER_SUB,
        Known::Logic => &AFTER_LOGIC,
        Known::Nothing => return None,
    };
    *table.get(usize::from(condition).checked_sub(2)?)?
}

/// The entry that is both the comparison `op` and a conditional jump.
fn fused(op: Kind, condition: u8) -> Option<Kind> {
    let (_, table) = FUSED.iter().find(|(first, _)| *first == op)?;
    *table.get(usize::from(condition).checked_sub(2)?)?
}

/// Whether an instruction leaves all flags as they are when CL is 0, and else sets them.
fn shifts_by_cl(i: &Instruction) -> bool {
    i.op_count() > 1
        && i.op_kind(i.op_count() - 1) == OpKind::Register
        && i.op_register(i.op_count() - 1) == Register::CL
}

/// Finds the rotations of a block whose flags nobody reads.
#[derive(Default)]
struct Rotations {
    /// Those that may still turn out to be.
    open: Vec<usize>,
}

impl Rotations {
    /// Looks at the instruction whose entry is the last one.
    fn note(&mut self, i: &Instruction, entries: &mut [Entry]) {
        const ALL: u32 = RflagsBits::CF
            | RflagsBits::OF
            | RflagsBits::SF
            | RflagsBits::ZF
            | RflagsBits::PF
            | RflagsBits::AF;
        let Some((at, last)) = entries.len().checked_sub(1).map(|at| (at, entries[at])) else { return };
        if !self.open.is_empty() {
            if last.op.is_branch()
                || last.op == Kind::Family
                || needs_family(i, last.op)
                || i.rflags_read() & ALL != 0
                || shifts_by_cl(i)
            {
                self.open.clear();
            } else if i.rflags_modified() & ALL == ALL {
                for rotation in self.open.drain(..) {
                    let op = &mut entries[rotation].op;
                    *op = match *op {
                        Kind::RolRi32 => Kind::RolRi32Quiet,
                        Kind::RolRi64 => Kind::RolRi64Quiet,
                        Kind::RorRi32 => Kind::RorRi32Quiet,
                        Kind::RorRi64 => Kind::RorRi64Quiet,
                        other => other,
                    };
                }
            }
        }
        if matches!(last.op, Kind::RolRi32 | Kind::RolRi64 | Kind::RorRi32 | Kind::RorRi64) {
            self.open.push(at);
        }
    }
}
