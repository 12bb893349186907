//! Instruction to [`Entry`], and block decoding.
//!
//! A block starts at any byte of a page and ends at an unconditional transfer of control, at an instruction that may change how
//! the following ones are fetched, at [`MAX_BLOCK`] entries or at the end of the page. Conditional branches do not end it.

use super::Context;
use super::entry::{Entry, Kind, MAX_BLOCK};
use super::family;
use super::fault::Res;
use forelift_abi::layout::PAGE_SIZE;
use iced_x86::{Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic};

/// Where a block is.
pub(crate) enum Block {
    /// In the arena.
    At(u32),
    /// Its first instruction goes on in the next page.
    Straddles,
}

/// Whether nothing behind the instruction can belong to its block: control leaves it, or it may change what follows.
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
    /// The block at `offset` of page `page` of the cache, decoded if need be. `emptied` is set when the cache had to be emptied: then
    /// the page has index 0.
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
        let mut bytes = [0; PAGE_SIZE as usize];
        match self.mem.slice(pa, PAGE_SIZE as usize) {
            Some(memory) => bytes.copy_from_slice(memory),
            None => return Block::Straddles,
        }
        let mut entries = Vec::with_capacity(MAX_BLOCK);
        self.decode(&bytes, offset, &mut entries);
        if entries.is_empty() {
            return Block::Straddles;
        }
        if !self.mem.is_code(pa) {
            self.mem.mark_code(pa);
            if let Some(offset) = self.mem.ram_offset(pa) {
                self.hart.dtlb.protect(offset);
            }
        }
        Block::At(self.cache.add_block(Some((page, long, offset)), &entries))
    }

    /// Decodes a block from `bytes`, a page. Nothing when its first instruction goes on in the next page.
    fn decode(&mut self, bytes: &[u8], start: u16, entries: &mut Vec<Entry>) {
        let bitness = if self.hart.long { 64 } else { 32 };
        let from = usize::from(start).min(bytes.len());
        let mut decoder = Decoder::with_ip(bitness, &bytes[from..], u64::from(start), DecoderOptions::NONE);
        let mut i = Instruction::default();
        let mut offset = start;
        let mut count = 0;
        loop {
            decoder.decode_out(&mut i);
            let straddles = i.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes;
            // Two entries are kept for the instruction and the end.
            if straddles || usize::from(offset) >= bytes.len() || entries.len() + 2 > MAX_BLOCK {
                if !entries.is_empty() {
                    let end = Entry { op: Kind::Next, imm: offset.into(), count, offset, ..Entry::UNLINKED };
                    entries.push(end);
                }
                return;
            }
            let entry = self.entry(&i, offset);
            // What transfers control counts itself: its charge is made when it is taken.
            count += 1;
            let counted = if entry.op.is_branch() { count } else { count - 1 };
            entries.push(Entry { count: counted, offset, length: i.len() as u8, ..entry });
            if ends_block(&i) {
                return;
            }
            offset += i.len() as u16;
        }
    }

    /// The entries of the instruction at `va`, which may straddle two pages.
    pub(crate) fn single(&mut self, va: u64) -> Res<[Entry; 2]> {
        let (bytes, length, fault) = self.fetch(va)?;
        let bitness = if self.hart.long { 64 } else { 32 };
        let offset = (va & (PAGE_SIZE - 1)) as u16;
        let mut decoder = Decoder::with_ip(bitness, &bytes[..length], offset.into(), DecoderOptions::NONE);
        let i = decoder.decode();
        if i.is_invalid()
            && decoder.last_error() == DecoderError::NoMoreBytes
            && let Some(fault) = fault
        {
            return Err(fault);
        }
        let entry = self.entry(&i, offset);
        let counted = u16::from(entry.op.is_branch());
        let entry = Entry { count: counted, offset, length: i.len() as u8, ..entry };
        let behind = offset + i.len() as u16;
        Ok([entry, Entry { op: Kind::Next, imm: behind.into(), count: 1, offset: behind, ..Entry::UNLINKED }])
    }

    /// The entry for an instruction at `offset` of its page; `count` is left at 0.
    fn entry(&mut self, i: &Instruction, _offset: u16) -> Entry {
        let index = self.cache.add_instruction(family::handler(i), *i);
        Entry { op: Kind::Family, imm: index, ..Entry::UNLINKED }
    }
}
