//! Decoded blocks, kept by physical page.
//!
//! A page that code was executed from has a [`CodePage`]: for each of its 2048 halfwords the index of the entry where a
//! block that starts there was decoded to. Entries live in one arena that only grows; dropping a page zeroes its table and
//! leaves the entries. When the arena or the page pool is full, everything is dropped at once: that is rare
//! ([`ARENA_ENTRIES`] hold about 100 000 blocks) and costs the time to decode again.
//!
//! Branches are linked directly to their target's entry only within a page: such a link holds wherever the page is mapped,
//! so no change of a mapping ever has to undo one.

use super::entry::{Entry, MAX_BLOCK};
use crate::memory::GuestMemory;
use forelift_abi::layout::{PAGE_SIZE, RAM_BASE, ROOT_BASE};

/// Size of the arena in entries of 16 bytes.
pub const ARENA_ENTRIES: usize = 1 << 20;
/// Number of code pages at most, 8 KiB each.
pub const MAX_PAGES: usize = 4096;

/// Blocks of one physical page: entry index by halfword, 0 where nothing was decoded.
pub(crate) struct CodePage {
    pub(crate) blocks: [u32; (PAGE_SIZE / 2) as usize],
    pub(crate) pa: u64,
}

pub(crate) struct Cache {
    arena: Vec<Entry>,
    pages: Vec<Box<CodePage>>,
    /// Physical page (RAM first, then the root window) to index of its code page plus one.
    index: Vec<u16>,
    ram_pages: usize,
}

impl Cache {
    pub(crate) fn new(mem: &GuestMemory) -> Self {
        let ram_pages = mem.ram_len() / PAGE_SIZE as usize;
        let root_pages = mem.root_len() / PAGE_SIZE as usize;
        // Never reallocated: the interpreter holds a pointer into it. Untouched memory costs nothing.
        let mut arena = Vec::with_capacity(ARENA_ENTRIES);
        arena.push(Entry::UNLINKED);
        Cache { arena, pages: Vec::new(), index: vec![0; ram_pages + root_pages], ram_pages }
    }

    /// Address of entry 0.
    pub(crate) fn arena(&self) -> *const Entry {
        self.arena.as_ptr()
    }

    fn slot(&self, mem: &GuestMemory, pa: u64) -> usize {
        let ram = pa.wrapping_sub(RAM_BASE);
        if ram < mem.ram_len() as u64 {
            (ram / PAGE_SIZE) as usize
        } else {
            self.ram_pages + (pa.wrapping_sub(ROOT_BASE) / PAGE_SIZE) as usize
        }
    }

    /// The code page at `pa`, which must be memory.
    pub(crate) fn find_page(&self, mem: &GuestMemory, pa: u64) -> Option<u32> {
        let index = self.index[self.slot(mem, pa)];
        (index != 0).then(|| u32::from(index) - 1)
    }

    /// Adds the code page at `pa`, which must be memory and not be there yet; tells whether everything had to be dropped.
    pub(crate) fn add_page(&mut self, mem: &GuestMemory, pa: u64) -> (u32, bool) {
        let emptied = self.pages.len() == MAX_PAGES;
        if emptied {
            self.clear();
        }
        let slot = self.slot(mem, pa);
        self.pages.push(Box::new(CodePage { blocks: [0; (PAGE_SIZE / 2) as usize], pa }));
        self.index[slot] = self.pages.len() as u16;
        (self.pages.len() as u32 - 1, emptied)
    }

    /// The code page with index `page`.
    #[inline]
    pub(crate) fn page(&self, page: u32) -> &CodePage {
        &self.pages[page as usize]
    }

    /// Whether a block of any length still fits.
    pub(crate) fn has_room(&self) -> bool {
        ARENA_ENTRIES - self.arena.len() >= MAX_BLOCK
    }

    /// Adds a decoded block at `offset` of `page` and gives its entry's index. There must be room.
    pub(crate) fn add_block(&mut self, page: u32, offset: u16, block: &[Entry]) -> u32 {
        let at = self.arena.len() as u32;
        debug_assert!(self.has_room() && block.len() <= MAX_BLOCK);
        self.arena.extend_from_slice(block);
        self.pages[page as usize].blocks[usize::from(offset / 2)] = at;
        at
    }

    /// Links a branch to its target.
    pub(crate) fn link(&mut self, branch: u32, target: u32) {
        self.arena[branch as usize].target = target;
    }

    /// Drops what was decoded from a page of RAM.
    pub(crate) fn drop_ram_page(&mut self, page: u32) {
        if let Some(&index) = self.index.get(page as usize)
            && index != 0
        {
            self.pages[usize::from(index) - 1].blocks.fill(0);
        }
    }

    /// Drops everything; pointers to entries stay readable until the next block is added.
    pub(crate) fn clear(&mut self) {
        self.arena.truncate(1);
        self.pages.clear();
        self.index.fill(0);
    }
}
