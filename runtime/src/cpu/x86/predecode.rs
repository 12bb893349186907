//! Decoding of blocks: bytes to instructions to [entries](Entry).
//!
//! A block starts at any byte of a page and ends at an unconditional transfer of control, at an instruction
//! that may change how the following ones are fetched, at [`MAX_BLOCK`] entries or at the end of the page.
//! Conditional branches do not end it. While it decodes, a comparison and the conditional jump after it
//! become one entry, and entries whose flags are dead get a kind that does not compute them.

use super::Context;
use super::cache::{Cache, NO_PAGE, Straddling};
use super::entry::{Entry, MAX_BLOCK};
use super::family::{self, LONGEST};
use super::fault::Res;
use super::flags::ARITHMETIC;
use super::handler::Handler;
use super::kind::{Kind, Leaves, Then};
use super::select::select;
use forelift_abi::layout::PAGE_SIZE;
use iced_x86::{Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic};

/// Where a block is.
pub(crate) enum Block {
    /// In the arena.
    At(u32),
    /// Its first instruction goes on in the next page.
    Straddles,
}

/// Whether nothing after the instruction can belong to its block: control leaves it, or it may change what
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
        let long = self.vcpu.long;
        let known = self.cache.block(page, long, offset);
        if known != 0 {
            return Block::At(known);
        }
        let pa = self.cache.pa(page);
        let mut page = page;
        if !self.cache.has_room() {
            self.cache.clear();
            self.vcpu.flush_itlb();
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
                self.vcpu.dtlb.protect(offset);
            }
        }
        Block::At(at)
    }

    /// The entries of the instruction at `va`, which may straddle two pages.
    pub(crate) fn single(&mut self, va: u64) -> Res<[Entry; 2]> {
        let (bytes, length, fault) = self.fetch(va)?;
        let (offset, long) = ((va & (PAGE_SIZE - 1)) as u16, self.vcpu.long);
        if let Some(known) = self.cache.straddling(va)
            && (known.offset, known.long, known.bytes) == (offset, long, bytes)
            && fault.is_none()
        {
            return Ok(known.entries);
        }
        if !self.cache.has_room() {
            self.cache.clear();
            self.vcpu.flush_itlb();
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
        let end = Entry::next(offset + i.len() as u16, 1);
        if fault.is_none() {
            *self.cache.straddling(va) = Some(Straddling { offset, long, bytes, entries: [entry, end] });
        }
        Ok([entry, end])
    }

    /// Decodes the instruction of an entry again, for its family's function: that is rare. Its bytes are
    /// taken from its page, and only fetched again if it straddles pages.
    pub(crate) fn decode_again(&mut self, e: &Entry) -> Res<(Handler, Instruction)> {
        let (offset, length) = (u64::from(e.offset), usize::from(e.length));
        let mut bytes = [0; LONGEST];
        if self.vcpu.page == NO_PAGE {
            bytes = self.fetch(self.vcpu.rip)?.0;
        } else if let Some(memory) = self.mem.slice(self.cache.pa(self.vcpu.page) + offset, length) {
            bytes[..length].copy_from_slice(memory);
        }
        let bitness = if self.vcpu.long { 64 } else { 32 };
        let i = Decoder::with_ip(bitness, &bytes[..length], offset, DecoderOptions::NONE).decode();
        Ok((family::handler(&i), i))
    }
}

/// Decodes a block from `bytes`, which are those from `start` on in a page, to the page's end. Nothing when
/// its first instruction goes on in the next page.
pub(super) fn decode(cache: &mut Cache, long: bool, bytes: &[u8], start: u16, entries: &mut Vec<Entry>) {
    let bitness = if long { 64 } else { 32 };
    let end = usize::from(start) + bytes.len();
    let mut decoder = Decoder::with_ip(bitness, bytes, u64::from(start), DecoderOptions::NONE);
    let mut i = Instruction::default();
    let (mut offset, mut count) = (start, 0);
    let mut known = Leaves::Other;
    let mut replaceable = Replaceable::default();
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
            let condition = entry.s;
            entry.op = known.jump(condition).unwrap_or(Kind::Jcc);
            if let Some((kind, last)) =
                entries.last().and_then(|last| Some((last.op.fused(condition)?, *last)))
            {
                entry = Entry { op: kind, d: last.d, s: last.s, disp: last.imm, ..entry };
                entries.pop();
            }
        }
        known = match entry.op {
            Kind::Family if i.rflags_modified() == 0 => known,
            Kind::Family => Leaves::Other,
            kind if kind.facts().leaves == Leaves::Kept => known,
            kind => kind.facts().leaves,
        };
        // A branch counts itself: it is charged when it is taken.
        count += 1;
        let counted = if entry.op.is_branch() { count } else { count - 1 };
        entries.push(Entry { count: counted, offset, length: i.len() as u8, ..entry });
        replaceable.note(entries);
        offset += i.len() as u16;
        match entry.op {
            // The function may still go on with the next instruction.
            Kind::Family if ends_block(&i) => entries.push(Entry::next(offset, count)),
            Kind::Family => continue,
            kind if kind.facts().then == Then::End => {}
            _ => continue,
        }
        return;
    }
}

/// The entry for an instruction; `count`, `offset` and `length` are left at 0.
fn entry_of(cache: &mut Cache, long: bool, i: &Instruction) -> Entry {
    select(i, long).unwrap_or_else(|| {
        let index = cache.add_instruction(family::handler(i), *i);
        Entry { op: Kind::Family, imm: index, ..Entry::UNLINKED }
    })
}

/// The entries of a block that a quiet kind can replace, if their flags turn out to be dead: overwritten
/// before anything can look at them.
#[derive(Default)]
struct Replaceable {
    /// Those whose flags nothing has read or overwritten yet.
    open: Vec<usize>,
}

impl Replaceable {
    /// Looks at the last entry.
    fn note(&mut self, entries: &mut [Entry]) {
        let Some((at, op)) = entries.len().checked_sub(1).map(|at| (at, entries[at].op)) else { return };
        if !self.open.is_empty() {
            let facts = op.facts();
            if op.is_branch() || facts.faults || facts.reads != 0 {
                self.open.clear();
            } else if facts.writes == ARITHMETIC {
                for replaced in self.open.drain(..) {
                    let op = &mut entries[replaced].op;
                    *op = op.quiet().unwrap_or(*op);
                }
            }
        }
        if op.quiet().is_some() {
            self.open.push(at);
        }
    }
}
