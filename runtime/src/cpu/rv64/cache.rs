//! Decoded blocks, kept by physical page.
//!
//! A page that code was executed from has a `CodePage`: for each of its 2048 halfwords the index of the
//! entry where a block that starts there was decoded to. Entries live in one arena that only grows; dropping
//! a page zeroes its table and leaves the entries. When the arena or the page pool is full, everything is
//! dropped at once: that is rare ([`ARENA_ENTRIES`] hold about 100 000 blocks) and costs the time to decode
//! again.
//!
//! Branches are linked directly to their target's entry only within a page: such a link holds wherever the
//! page is mapped, so no change of a mapping ever has to undo one.

use super::entry::{Entry, Kind, MAX_BLOCK};
use super::state::Privilege;
use crate::memory::GuestMemory;
use forelift_abi::layout::{PAGE_SIZE, RAM_BASE, ROOT_BASE};

/// Size of the arena in entries of 16 bytes.
pub const ARENA_ENTRIES: usize = 1 << 20;
/// Number of code pages at most, 8 KiB each.
pub const MAX_PAGES: usize = 4096;

/// Stands for the page index of code that is not in the cache.
pub(super) const NO_PAGE: u32 = u32::MAX;

/// Blocks of one physical page: entry index by halfword, 0 where nothing was decoded.
pub(crate) struct CodePage {
    pub(crate) blocks: [u32; HALFWORDS],
    pub(crate) pa: u64,
    /// Whether the contents were looked up since they last changed: for U and S mode.
    pub(crate) looked_up: [bool; 2],
    /// Number of the contents that lifted code knows, 0 for none: for U and S mode.
    pub(crate) content: [u32; 2],
    /// Values of entry points by halfword (see [`forelift_abi::lift::Page::entries`]), 0 where there is none.
    lifted: [Option<Box<[u32; HALFWORDS]>>; 2],
}

/// Places in a page where an instruction can begin.
pub(crate) const HALFWORDS: usize = (PAGE_SIZE / 2) as usize;

/// Stands for the lifted code of pages without.
static NOTHING_LIFTED: [u32; HALFWORDS] = [0; HALFWORDS];

impl CodePage {
    fn new(pa: u64) -> Self {
        CodePage { blocks: [0; HALFWORDS], pa, looked_up: [false; 2], content: [0; 2], lifted: [None, None] }
    }

    /// The table of entry points for a privilege.
    pub(crate) fn lifted(&self, privilege: Privilege) -> *const u32 {
        self.lifted[privilege as usize].as_deref().unwrap_or(&NOTHING_LIFTED).as_ptr()
    }

    /// Whether there is an entry point at byte `offset` in any privilege.
    pub(crate) fn is_entry(&self, offset: u16) -> bool {
        self.lifted.iter().flatten().any(|table| table[usize::from(offset / 2)] != 0)
    }

    fn forget(&mut self) {
        *self = CodePage::new(self.pa);
    }
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

    /// Adds the code page at `pa`, which must be memory and not be there yet; tells whether everything had to
    /// be dropped.
    pub(crate) fn add_page(&mut self, mem: &GuestMemory, pa: u64) -> (u32, bool) {
        let emptied = self.pages.len() == MAX_PAGES;
        if emptied {
            self.clear();
        }
        let slot = self.slot(mem, pa);
        self.pages.push(Box::new(CodePage::new(pa)));
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

    /// Adds a decoded block, noted at `offset` of `page` if given, and gives its entry's index. There must be
    /// room.
    pub(crate) fn add_block(&mut self, page: u32, offset: Option<u16>, block: &[Entry]) -> u32 {
        let at = self.arena.len() as u32;
        debug_assert!(self.has_room() && block.len() <= MAX_BLOCK);
        self.arena.extend_from_slice(block);
        if let Some(offset) = offset {
            self.pages[page as usize].blocks[usize::from(offset / 2)] = at;
        }
        at
    }

    /// Links a branch to its target.
    pub(crate) fn link(&mut self, branch: u32, target: u32) {
        self.arena[branch as usize].target = target;
    }

    /// Drops what is known of a page of RAM, whose contents changed; gives its number when there was
    /// something.
    pub(crate) fn drop_ram_page(&mut self, page: u32) -> Option<u32> {
        let index = self.index.get(page as usize).copied().filter(|&index| index != 0)? - 1;
        self.pages[usize::from(index)].forget();
        Some(u32::from(index))
    }

    /// Notes the lifted code of page `page`, which the contents with number `content` have in `privilege`.
    /// Blocks that were decoded before are dropped: they run past the entry points.
    pub(crate) fn set_lifted(
        &mut self,
        page: u32,
        privilege: Privilege,
        content: u32,
        entries: &[(u16, u32)],
    ) {
        let page = &mut *self.pages[page as usize];
        let mut table = Box::new([0; HALFWORDS]);
        for &(offset, value) in entries {
            table[usize::from(offset / 2) % HALFWORDS] = value;
        }
        page.content[privilege as usize] = content;
        page.lifted[privilege as usize] = Some(table);
        page.blocks.fill(0);
    }

    /// Notes that page `page` was looked up for `privilege`; tells whether it had been already.
    pub(crate) fn set_looked_up(&mut self, page: u32, privilege: Privilege) -> bool {
        core::mem::replace(&mut self.pages[page as usize].looked_up[privilege as usize], true)
    }

    /// The first entry past the mark of lifted code that `at` is, decoded by the caller if 0.
    pub(crate) fn past_mark(&self, at: u32) -> Option<u32> {
        let entry = self.arena[at as usize];
        (entry.op == Kind::Lifted).then_some(entry.target)
    }

    /// All pages, for the profile.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &CodePage> {
        self.pages.iter().map(|page| &**page)
    }

    /// Entries from `at` to the end of the arena.
    pub(crate) fn entries(&self, at: u32) -> &[Entry] {
        self.arena.get(at as usize..).unwrap_or(&[])
    }

    /// Drops everything; pointers to entries stay readable until the next block is added.
    pub(crate) fn clear(&mut self) {
        self.arena.truncate(1);
        self.pages.clear();
        self.index.fill(0);
    }
}
