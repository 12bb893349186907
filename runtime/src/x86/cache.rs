//! Decoded blocks, kept by physical page.
//!
//! As the RISC-V hart's, with two differences: an instruction can begin at any byte, and the same bytes mean different things in 64-bit
//! and in compatibility mode, so a page has a table of blocks for each. Instructions without a form of their own are kept as decoded
//! by iced-x86, with the function that executes them.

use super::entry::{Entry, MAX_BLOCK};
use super::family::Handler;
use crate::memory::GuestMemory;
use forelift_abi::layout::PAGE_SIZE;
use iced_x86::Instruction;

/// Size of the arena in entries of 24 bytes.
pub const ARENA_ENTRIES: usize = 1 << 20;
/// Number of code pages at most.
pub const MAX_PAGES: usize = 4096;

/// Instructions kept at most.
const MAX_INSTRUCTIONS: usize = ARENA_ENTRIES + (1 << 18);
/// Places for instructions that straddle pages.
const STRADDLING: usize = 256;

/// Blocks of a page in one mode: entry index by byte, 0 where nothing was decoded.
type Blocks = Box<[u32; PAGE_SIZE as usize]>;

/// An instruction that straddles two pages, by its bytes: pages that change, or are mapped elsewhere, do not matter.
#[derive(Clone, Copy)]
pub(crate) struct Straddling {
    /// Where it begins in its page.
    pub(crate) offset: u16,
    /// In 64-bit mode.
    pub(crate) long: bool,
    /// Its bytes and those behind it.
    pub(crate) bytes: [u8; 15],
    /// The instruction, and the way on.
    pub(crate) entries: [Entry; 2],
}

struct CodePage {
    pa: u64,
    /// In compatibility mode, in 64-bit mode.
    blocks: [Option<Blocks>; 2],
}

pub(crate) struct Cache {
    arena: Vec<Entry>,
    instructions: Vec<(Handler, Instruction)>,
    pages: Vec<CodePage>,
    /// Page of RAM to index of its code page plus one.
    index: Vec<u16>,
    straddling: Box<[Option<Straddling>; STRADDLING]>,
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
            straddling: Box::new([None; STRADDLING]),
            scratch: Vec::with_capacity(MAX_BLOCK),
        }
    }

    /// Address of entry 0.
    pub(crate) fn arena(&self) -> *const Entry {
        self.arena.as_ptr()
    }

    /// The code page at `pa`.
    pub(crate) fn find_page(&self, mem: &GuestMemory, pa: u64) -> Option<u32> {
        let index = *self.index.get((mem.ram_offset(pa)? / PAGE_SIZE) as usize)?;
        (index != 0).then(|| u32::from(index) - 1)
    }

    /// Adds the code page at `pa`, which must be RAM and not be there yet; tells whether everything had to be dropped.
    pub(crate) fn add_page(&mut self, mem: &GuestMemory, pa: u64) -> (u32, bool) {
        let emptied = self.pages.len() == MAX_PAGES;
        if emptied {
            self.clear();
        }
        self.pages.push(CodePage { pa, blocks: [None, None] });
        if let Some(offset) = mem.ram_offset(pa) {
            self.index[(offset / PAGE_SIZE) as usize] = self.pages.len() as u16;
        }
        (self.pages.len() as u32 - 1, emptied)
    }

    /// Physical address of page `page`.
    pub(crate) fn pa(&self, page: u32) -> u64 {
        self.pages[page as usize].pa
    }

    /// The table of blocks of page `page`. It stays where it is until the page is dropped.
    pub(crate) fn blocks(&mut self, page: u32, long: bool) -> *const u32 {
        self.table(page, long).as_ptr()
    }

    fn table(&mut self, page: u32, long: bool) -> &mut [u32; PAGE_SIZE as usize] {
        self.pages[page as usize].blocks[usize::from(long)]
            .get_or_insert_with(|| Box::new([0; PAGE_SIZE as usize]))
    }

    /// Index of the entry where the block at `offset` of page `page` begins, 0 if it was not decoded yet.
    pub(crate) fn block(&mut self, page: u32, long: bool, offset: u16) -> u32 {
        self.table(page, long)[usize::from(offset) % PAGE_SIZE as usize]
    }

    /// Whether a block of any length still fits.
    pub(crate) fn has_room(&self) -> bool {
        ARENA_ENTRIES - self.arena.len() >= MAX_BLOCK
            && self.instructions.len() + MAX_BLOCK <= MAX_INSTRUCTIONS
    }

    /// Adds a decoded block, noted at `place` (page, mode, offset) if given, and gives its entry's index. There must be room.
    pub(crate) fn add_block(&mut self, place: Option<(u32, bool, u16)>, block: &[Entry]) -> u32 {
        let at = self.arena.len() as u32;
        debug_assert!(self.has_room() && block.len() <= MAX_BLOCK);
        self.arena.extend_from_slice(block);
        if let Some((page, long, offset)) = place {
            self.table(page, long)[usize::from(offset) % PAGE_SIZE as usize] = at;
        }
        at
    }

    /// Keeps an instruction; gives its index.
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

    /// Drops what is known of a page of RAM, whose contents changed; gives its number when there was something.
    pub(crate) fn drop_ram_page(&mut self, page: u32) -> Option<u32> {
        let index = self.index.get(page as usize).copied().filter(|&index| index != 0)? - 1;
        self.pages[usize::from(index)].blocks = [None, None];
        Some(u32::from(index))
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
        self.pages.clear();
        self.index.fill(0);
    }
}
