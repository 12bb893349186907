//! The cache of decoded blocks, by physical page.
//!
//! It is that of the RISC-V interpreter with two differences. The same bytes mean different things in 64-bit
//! and in compatibility mode, so a page has blocks of both modes. And an instruction can begin at any byte: a
//! table by offset would take 16 KiB for each page, most of the memory that a short run touches. So a page
//! has a sorted list of its blocks, and one direct-mapped table for all pages (`Front`) serves the
//! interpreter.
//!
//! Instructions without a kind of their own are kept as iced-x86 decoded them, with the function that
//! executes them.

use super::entry::{Entry, MAX_BLOCK};
use super::handler::Handler;
use crate::memory::GuestMemory;
use forelift_abi::layout::PAGE_SIZE;
use iced_x86::Instruction;

/// Size of the arena in entries of 24 bytes.
pub const ARENA_ENTRIES: usize = 1 << 20;
/// Number of code pages at most.
pub const MAX_PAGES: usize = 4096;

/// Stands for the page index of code that is not in the cache.
pub(super) const NO_PAGE: u32 = u32::MAX;

/// Instructions kept at most.
const MAX_INSTRUCTIONS: usize = ARENA_ENTRIES + (1 << 18);
/// Places for instructions that straddle pages.
const STRADDLING: usize = 256;

/// A slot of the direct-mapped table of blocks: the block that was looked up last among those that share the
/// slot.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Front {
    /// Page, mode and offset: [`key`] and the offset in the low 12 bits.
    pub(crate) key: u32,
    /// Index of the block's first entry.
    pub(crate) block: u32,
}

impl Front {
    /// Log2 of the number of slots: 1 MiB.
    const BITS: u32 = 17;
    /// An empty slot: no page has this key.
    const EMPTY: Front = Front { key: 0, block: 0 };

    /// The slot for a key: blocks of a page are near each other, pages are spread.
    #[inline]
    pub(crate) const fn slot(key: u32) -> usize {
        let page = (key >> 12).wrapping_mul(0x9e37_79b1) >> (32 - Self::BITS);
        ((page + (key >> 1 & 0x7ff)) & ((1 << Self::BITS) - 1)) as usize
    }
}

/// The part of the key that all blocks of a page in one mode share.
pub(crate) const fn key(page: u32, long: bool) -> u32 {
    (page * 2 + long as u32 + 1) << 12
}

/// An instruction across two pages, identified by its bytes: so it does not matter whether a page changes or
/// is mapped elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Straddling {
    /// Where it begins in its page.
    pub(crate) offset: u16,
    /// In 64-bit mode.
    pub(crate) long: bool,
    /// Its bytes, and the bytes after it.
    pub(crate) bytes: [u8; 15],
    /// The instruction, and the end of its block.
    pub(crate) entries: [Entry; 2],
}

struct CodePage {
    pa: u64,
    /// Offset and entry index of each block, by offset: in compatibility mode, in 64-bit mode.
    blocks: [Vec<(u16, u32)>; 2],
}

pub(crate) struct Cache {
    arena: Vec<Entry>,
    instructions: Vec<(Handler, Instruction)>,
    pages: Vec<CodePage>,
    /// Page of RAM to index of its code page plus one.
    index: Vec<u16>,
    front: Box<[Front]>,
    straddling: Box<[Option<Straddling>; STRADDLING]>,
    /// Instructions decoded into blocks.
    pub(crate) decoded: u64,
    /// Room for a block that is being decoded.
    pub(crate) scratch: Vec<Entry>,
}

impl Cache {
    pub(crate) fn new(mem: &GuestMemory) -> Self {
        // Never reallocated: the interpreter holds a pointer into it. Untouched memory costs nothing.
        let mut arena = Vec::with_capacity(ARENA_ENTRIES);
        arena.push(Entry::UNLINKED);
        let index = vec![0; mem.ram_len() / PAGE_SIZE as usize];
        Cache {
            arena,
            instructions: Vec::new(),
            pages: Vec::new(),
            index,
            front: vec![Front::EMPTY; 1 << Front::BITS].into_boxed_slice(),
            straddling: Box::new([None; STRADDLING]),
            decoded: 0,
            scratch: Vec::with_capacity(MAX_BLOCK),
        }
    }

    /// Address of entry 0.
    pub(crate) fn arena(&self) -> *const Entry {
        self.arena.as_ptr()
    }

    /// Slot 0 of the table that the interpreter probes.
    pub(crate) fn front(&self) -> *const Front {
        self.front.as_ptr()
    }

    /// The code page at `pa`.
    pub(crate) fn find_page(&self, mem: &GuestMemory, pa: u64) -> Option<u32> {
        let index = *self.index.get((mem.ram_offset(pa)? / PAGE_SIZE) as usize)?;
        (index != 0).then(|| u32::from(index) - 1)
    }

    /// Adds the code page at `pa`, which must be RAM and not be there yet; returns also whether everything
    /// had to be dropped.
    pub(crate) fn add_page(&mut self, mem: &GuestMemory, pa: u64) -> (u32, bool) {
        let emptied = self.pages.len() == MAX_PAGES;
        if emptied {
            self.clear();
        }
        self.pages.push(CodePage { pa, blocks: [Vec::new(), Vec::new()] });
        if let Some(offset) = mem.ram_offset(pa) {
            self.index[(offset / PAGE_SIZE) as usize] = self.pages.len() as u16;
        }
        (self.pages.len() as u32 - 1, emptied)
    }

    /// Physical address of page `page`.
    pub(crate) fn pa(&self, page: u32) -> u64 {
        self.pages[page as usize].pa
    }

    /// Index of the entry where the block at `offset` of page `page` begins, 0 if it was not decoded yet.
    pub(crate) fn block(&mut self, page: u32, long: bool, offset: u16) -> u32 {
        let key = key(page, long) | u32::from(offset);
        let front = &mut self.front[Front::slot(key)];
        if front.key != key {
            let blocks = &self.pages[page as usize].blocks[usize::from(long)];
            let Ok(at) = blocks.binary_search_by_key(&offset, |&(offset, _)| offset) else { return 0 };
            *front = Front { key, block: blocks[at].1 };
        }
        front.block
    }

    /// Whether a block of any length still fits.
    pub(crate) fn has_room(&self) -> bool {
        ARENA_ENTRIES - self.arena.len() >= MAX_BLOCK
            && self.instructions.len() + MAX_BLOCK <= MAX_INSTRUCTIONS
    }

    /// Adds a decoded block, noted at `place` (page, mode, offset) if given, and returns its entry's index.
    /// There must be room.
    pub(crate) fn add_block(&mut self, place: Option<(u32, bool, u16)>, block: &[Entry]) -> u32 {
        let at = self.arena.len() as u32;
        debug_assert!(self.has_room() && block.len() <= MAX_BLOCK);
        self.arena.extend_from_slice(block);
        self.decoded += block.len() as u64;
        if let Some((page, long, offset)) = place {
            let blocks = &mut self.pages[page as usize].blocks[usize::from(long)];
            match blocks.binary_search_by_key(&offset, |&(offset, _)| offset) {
                Ok(known) => blocks[known].1 = at,
                Err(place) => blocks.insert(place, (offset, at)),
            }
            let key = key(page, long) | u32::from(offset);
            self.front[Front::slot(key)] = Front { key, block: at };
        }
        at
    }

    /// Keeps an instruction; returns its index.
    pub(crate) fn add_instruction(&mut self, handler: Handler, instruction: Instruction) -> i32 {
        self.instructions.push((handler, instruction));
        self.instructions.len() as i32 - 1
    }

    /// A kept instruction.
    #[inline]
    pub(crate) fn instruction(&self, index: i32) -> &(Handler, Instruction) {
        &self.instructions[index as usize]
    }

    /// Links a branch to its target.
    pub(crate) fn link(&mut self, branch: u32, target: u32) {
        self.arena[branch as usize].target = target;
    }

    /// Drops the blocks of a page of RAM, whose contents changed; returns the code page's index if there was
    /// one.
    pub(crate) fn drop_ram_page(&mut self, page: u32) -> Option<u32> {
        let index = self.index.get(page as usize).copied().filter(|&index| index != 0)? - 1;
        self.drop_blocks(usize::from(index));
        Some(u32::from(index))
    }

    /// Forgets the blocks of a page.
    fn drop_blocks(&mut self, page: usize) {
        for long in [false, true] {
            for (offset, _) in core::mem::take(&mut self.pages[page].blocks[usize::from(long)]) {
                let key = key(page as u32, long) | u32::from(offset);
                let front = &mut self.front[Front::slot(key)];
                if front.key == key {
                    *front = Front::EMPTY;
                }
            }
        }
    }

    /// Place of the straddling instruction at `va`.
    pub(crate) fn straddling(&mut self, va: u64) -> &mut Option<Straddling> {
        &mut self.straddling[(va >> 12) as usize % STRADDLING]
    }

    /// Drops everything; pointers to entries stay readable until the next block is added.
    pub(crate) fn clear(&mut self) {
        self.arena.truncate(1);
        self.instructions.clear();
        self.straddling.fill(None);
        for page in 0..self.pages.len() {
            self.drop_blocks(page);
        }
        self.pages.clear();
        self.index.fill(0);
    }
}
