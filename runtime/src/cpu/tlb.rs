//! The data TLB: tables of the difference between where a page is in RAM and its virtual address.
//!
//! There are three sets (U mode, S mode, S mode with `sstatus.SUM`), each with a table for reads and one for
//! writes. The entry of a page is found by the low bits of its number. With `e` from the table, `a = va + e`
//! is the offset in RAM if `a < ram_len`; a misaligned access is told from that by the same comparison,
//! `a.rotate_right(k) < ram_len >> k`. One load, one addition and one comparison stand for tag, permission,
//! alignment and address.
//!
//! # Why this is sound
//! Let a table have `n` entries of 4 KiB with `n * 4096 >= 2 * ram_len`, a power of two. All virtual
//! addresses of slot `s` are `s * 4096 + o + k * n * 4096` with `o < 4096`.
//! * A valid entry was made for the page with some `k0`, so an address with another `k` gives `r + o + (k -
//!   k0) * n * 4096` with `r + o < ram_len`, modulo 2^64: not below `n * 4096`, hence not below `ram_len`.
//! * An invalid entry is `n * 2048 - s * 4096`: every address gives `n * 2048 + o` modulo `n * 4096`, and
//!   that is not below `n * 2048 >= ram_len`.
//! * Lifted code takes equal entries `e` of two neighbouring pages for valid when `b + e`, with `b` in the
//!   second page, is in RAM and not below the distance from some `a` in the first page to `b`. Then `a + e`
//!   is in RAM, too, so both entries were made for their pages.
//!
//! A page that is shared or copied on write has a valid entry for reads and none for writes, and so has a
//! page that holds decoded code. Pages outside of RAM have none.
//!
//! The pages that were entered are kept in a list for each set, so that a flush touches only those.

use crate::memory::GuestMemory;
use forelift_abi::layout::PAGE_SIZE;
use forelift_abi::lift::{dtlb_bytes, dtlb_entries};

/// The set that a new table has in force for the kernel.
const KERNEL: usize = 1;
/// Number of sets.
pub(crate) const SETS: usize = 3;
/// Longest list of a set: then it is flushed.
const MAX_FILLED: usize = 16384;
/// Longest list of the kernel's pages that are not global: if it is longer, all of the kernel's are forgotten
/// with them.
const MAX_LOCAL: usize = 1024;

/// The data TLB. See the module's documentation. Part of each hart, hence its layout.
#[repr(C)]
pub struct DataTlb {
    /// Address of the read table for S mode that is in force, as lifted code reads it.
    pub(crate) supervisor: u64,
    /// Read and write table of each set, one after the other.
    tables: *mut u64,
    /// Entries of one table minus one.
    pub(crate) mask: u64,
    /// Size of RAM in bytes.
    pub(crate) ram_len: u64,
    /// Start of RAM.
    pub(crate) ram: *mut u8,
    filled: [Vec<u64>; SETS],
    /// Pages of the kernel's set that are not global.
    local: Vec<u64>,
    owner: Vec<u64>,
    /// Pages entered so far: accesses that no table answered.
    pub(crate) misses: u64,
}

impl DataTlb {
    /// No tables: what a hart has before [`DataTlb::attach`].
    pub(crate) const NONE: DataTlb = DataTlb {
        supervisor: 0,
        tables: core::ptr::null_mut(),
        mask: 0,
        ram_len: 0,
        ram: core::ptr::null_mut(),
        filled: [const { Vec::new() }; SETS],
        local: Vec::new(),
        owner: Vec::new(),
        misses: 0,
    };

    /// Makes the tables of the first `sets` sets, which are those that the processor uses, for RAM of
    /// `ram_len` bytes at `ram`, in `area` if there is one, else in memory of their own.
    ///
    /// # Safety
    /// `area` is null or has [`dtlb_bytes`] bytes, aligned to 8, that are nobody else's.
    pub(crate) unsafe fn attach(&mut self, ram: *mut u8, ram_len: usize, area: *mut u64, sets: usize) {
        debug_assert!(KERNEL < sets && sets <= SETS);
        let ram_len = ram_len as u64;
        self.ram = ram;
        self.ram_len = ram_len;
        self.mask = dtlb_entries(ram_len) - 1;
        self.tables = if area.is_null() {
            self.owner = vec![0; dtlb_bytes(ram_len) as usize / 8];
            self.owner.as_mut_ptr()
        } else {
            area
        };
        let entries = self.entries();
        for table in 0..2 * sets {
            for slot in 0..entries {
                // SAFETY: attach's area, or a vector, of 2 * SETS * entries.
                unsafe { *self.tables.add(table * entries + slot) = self.filler(slot) };
            }
        }
        self.select_supervisor(KERNEL);
    }

    fn entries(&self) -> usize {
        self.mask as usize + 1
    }

    /// The entry that makes slot `slot` invalid.
    fn filler(&self, slot: usize) -> u64 {
        ((self.mask + 1) * (PAGE_SIZE / 2)).wrapping_sub(slot as u64 * PAGE_SIZE)
    }

    fn slot(&self, va: u64) -> usize {
        ((va / PAGE_SIZE) & self.mask) as usize
    }

    /// The read table of a set; its write table begins `mask + 1` entries after it.
    #[inline]
    pub(crate) fn read_table(&self, set: usize) -> *mut u64 {
        self.tables.wrapping_add(set * 2 * self.entries())
    }

    pub(crate) fn select_supervisor(&mut self, set: usize) {
        self.supervisor = self.read_table(set) as usize as u64;
    }

    fn entry(&mut self, set: usize, write: bool, slot: usize) -> &mut u64 {
        let at = (set * 2 + usize::from(write)) * self.entries() + slot;
        debug_assert!(!self.tables.is_null() && slot < self.entries());
        // SAFETY: inside the tables of `attach`: every caller's slot comes from `slot`, and there is none
        // before `attach`, because no page is in a list.
        unsafe { &mut *self.tables.add(at) }
    }

    /// Offset in RAM of `va` if its page is in a set, for reads or for writes.
    #[inline]
    pub(crate) fn lookup(&self, set: usize, write: bool, va: u64) -> Option<u64> {
        if self.tables.is_null() {
            return None;
        }
        let at = (set * 2 + usize::from(write)) * self.entries() + self.slot(va);
        // SAFETY: as for `entry`.
        let offset = va.wrapping_add(unsafe { *self.tables.add(at) });
        (offset < self.ram_len).then_some(offset)
    }

    /// Enters the page `va`, which is at `offset` in RAM and may be `global`, in every address space.
    pub(crate) fn fill(
        &mut self,
        set: usize,
        va: u64,
        offset: u64,
        (readable, writable): (bool, bool),
        global: bool,
    ) {
        self.misses = self.misses.wrapping_add(1);
        let slot = self.slot(va);
        if self.lookup(set, false, va).or(self.lookup(set, true, va)).is_none() {
            if self.filled[set].len() == MAX_FILLED {
                self.flush(set);
            }
            self.filled[set].push(va);
        }
        if set == KERNEL && !global && self.local.len() <= MAX_LOCAL {
            self.local.push(va);
        }
        let (entry, filler) = (offset.wrapping_sub(va), self.filler(slot));
        *self.entry(set, false, slot) = if readable { entry } else { filler };
        *self.entry(set, true, slot) = if writable { entry } else { filler };
    }

    fn clear(&mut self, set: usize, va: u64) {
        let slot = self.slot(va);
        let filler = self.filler(slot);
        *self.entry(set, false, slot) = filler;
        *self.entry(set, true, slot) = filler;
    }

    /// Forgets the pages that belong to one address space.
    pub(crate) fn flush_local(&mut self) {
        for set in (0..SETS).filter(|&set| set != KERNEL) {
            self.flush(set);
        }
        if self.local.len() > MAX_LOCAL {
            self.flush(KERNEL);
        }
        while let Some(va) = self.local.pop() {
            self.clear(KERNEL, va);
        }
    }

    /// Forgets all pages of a set.
    pub(crate) fn flush(&mut self, set: usize) {
        if set == KERNEL {
            self.local.clear();
        }
        while let Some(va) = self.filled[set].pop() {
            self.clear(set, va);
        }
    }

    /// Forgets the page `va` in all sets.
    pub(crate) fn flush_page(&mut self, va: u64) {
        for set in 0..SETS {
            if !self.filled[set].is_empty()
                && self.lookup(set, false, va).or(self.lookup(set, true, va)).is_some()
            {
                self.clear(set, va);
            }
        }
    }

    /// Forgets the pages that `which` names.
    pub(crate) fn flush_where(&mut self, which: impl Fn(u64) -> bool) {
        for set in 0..SETS {
            let pages = core::mem::take(&mut self.filled[set]);
            let (gone, kept) = pages.into_iter().partition(|&va| which(va));
            self.filled[set] = kept;
            // A page of the same slot that came later is forgotten too: it comes back with its next miss. It
            // stays in the list.
            for va in Vec::<u64>::into_iter(gone) {
                self.clear(set, va);
            }
        }
    }

    /// Makes the page at `offset` in RAM unwritable in all sets.
    pub(crate) fn protect(&mut self, offset: u64) {
        for set in 0..SETS {
            for i in 0..self.filled[set].len() {
                let va = self.filled[set][i];
                if self.lookup(set, true, va) == Some(offset) {
                    let slot = self.slot(va);
                    *self.entry(set, true, slot) = self.filler(slot);
                }
            }
        }
    }

    /// Has `mem` note from now on which pages of RAM may be written: those that can be already, too.
    pub(crate) fn track_writes(&self, mem: &mut GuestMemory) {
        mem.track_writes();
        for set in 0..SETS {
            for &va in &self.filled[set] {
                if let Some(offset) = self.lookup(set, true, va) {
                    mem.note_writable(offset);
                }
            }
        }
    }

    /// Whether no page is entered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.filled.iter().all(Vec::is_empty)
    }
}

/// An entry of an instruction TLB: what is common to those of the two processors.
pub(crate) trait CodeTranslation: Copy {
    /// No translation: no page has its tag.
    const EMPTY: Self;
    /// Page's virtual address.
    fn tag(&self) -> u64;
    /// Index of the page in the block cache.
    fn page(&self) -> u32;
}

/// Log2 of the largest page above 4 KiB that a TLB holds a part of, 0 for none: of the lower half of the
/// address space, and of the upper one. A large page is held in parts of 4 KiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct LargePages([u8; 2]);

impl LargePages {
    pub(crate) const NONE: LargePages = LargePages([0; 2]);

    /// Notes that a TLB is about to hold a part of a page of `1 << shift` bytes at `va`.
    pub(crate) fn note(&mut self, va: u64, shift: u8) {
        let largest = &mut self.0[(va >> 63) as usize];
        if shift > 12 {
            *largest = shift.max(*largest);
        }
    }
}

/// Forgets the translations of the page of `va`, whatever its size.
pub(crate) fn flush_page<E: CodeTranslation, const N: usize>(
    dtlb: &mut DataTlb,
    itlbs: &mut [[E; N]; 2],
    large: LargePages,
    va: u64,
) {
    let shift = large.0[(va >> 63) as usize];
    if shift != 0 {
        let inside = move |tag: u64| (tag ^ va) >> shift == 0;
        dtlb.flush_where(inside);
        for entry in itlbs.iter_mut().flatten().filter(|e| inside(e.tag())) {
            *entry = E::EMPTY;
        }
        return;
    }
    let page = va & !(PAGE_SIZE - 1);
    dtlb.flush_page(page);
    for itlb in itlbs {
        let entry = &mut itlb[(va / PAGE_SIZE) as usize % N];
        if entry.tag() == page {
            *entry = E::EMPTY;
        }
    }
}

/// Forgets the code translations that lead to page `page` of the block cache.
pub(crate) fn flush_code_page<E: CodeTranslation, const N: usize>(itlbs: &mut [[E; N]; 2], page: u32) {
    for entry in itlbs.iter_mut().flatten().filter(|e| e.page() == page) {
        *entry = E::EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: usize = 3 << 20;

    fn tlb() -> DataTlb {
        let mut tlb = DataTlb::NONE;
        // SAFETY: no area is given.
        unsafe { tlb.attach(core::ptr::null_mut(), RAM, core::ptr::null_mut(), SETS) };
        tlb
    }

    fn lookup(tlb: &DataTlb, set: usize, write: bool, va: u64, size: u32) -> Option<u64> {
        let table = tlb.read_table(set).wrapping_add(if write { tlb.mask as usize + 1 } else { 0 });
        // SAFETY: inside the table, by the mask.
        let a = va.wrapping_add(unsafe { *table.add(((va / PAGE_SIZE) & tlb.mask) as usize) });
        (a.rotate_right(size.trailing_zeros()) < tlb.ram_len / u64::from(size)).then_some(a)
    }

    /// Addresses all over the place, many of them in the same slot as `page`.
    fn wild(page: u64, tlb: &DataTlb) -> impl Iterator<Item = u64> {
        let reach = (tlb.mask + 1) * PAGE_SIZE;
        let near =
            (0..64).flat_map(move |bit| [page.wrapping_add(reach << bit), page.wrapping_sub(reach << bit)]);
        let ends = [0, RAM as u64, 1 << 63, u64::MAX - 0xfff, 1 << 38, u64::MAX << 38];
        near.chain(ends).flat_map(|va| (0..4096).step_by(511).map(move |o| va.wrapping_add(o)))
    }

    #[test]
    fn only_the_page_that_was_entered_is_found() {
        let mut tlb = tlb();
        let pages = [0x1000, 0x7fff_f000, 0x3f_ffff_f000, 0xffff_ffd8_0020_3000, 0];
        for set in 0..SETS {
            for (n, &va) in pages.iter().enumerate() {
                let offset = n as u64 * 0x5000;
                for w in wild(va, &tlb) {
                    assert_eq!(lookup(&tlb, set, false, w, 1), None, "{w:#x}");
                }
                tlb.fill(set, va, offset, (true, n % 2 == 0), false);
                for w in wild(va, &tlb).filter(|w| w & !0xfff != va) {
                    assert_eq!(lookup(&tlb, set, false, w, 1), None, "{w:#x} with {va:#x}");
                }
                assert_eq!(lookup(&tlb, set, false, va + 8, 8), Some(offset + 8));
                assert_eq!(lookup(&tlb, set, false, va + 4, 8), None, "misaligned");
                assert_eq!(lookup(&tlb, set, false, va + 4, 4), Some(offset + 4));
                assert_eq!(lookup(&tlb, set, true, va, 8), (n % 2 == 0).then_some(offset));
                tlb.protect(offset);
                assert_eq!(lookup(&tlb, set, true, va, 8), None);
                assert_eq!(lookup(&tlb, set, false, va + 4095, 1), Some(offset + 4095));
                tlb.flush_page(va);
                assert_eq!(lookup(&tlb, set, false, va, 1), None);
            }
            tlb.flush(set);
        }
        assert!(tlb.is_empty());
    }

    #[test]
    fn a_change_of_address_space_keeps_global_pages() {
        let mut tlb = tlb();
        let page = |n: u64| n * PAGE_SIZE;
        for few in [3, 2 * MAX_LOCAL as u64] {
            for n in 0..few {
                // Some are entered twice, and some take the place of a global page.
                tlb.fill(KERNEL, page(n), 0, (true, false), n % 3 == 0);
                tlb.fill(KERNEL, page(n), 0, (true, true), n % 2 == 0);
                tlb.fill(0, page(n), 0, (true, true), true);
            }
            tlb.flush_local();
            assert!(tlb.local.is_empty() && tlb.filled[0].is_empty());
            for n in 0..few {
                let kept = lookup(&tlb, KERNEL, false, page(n), 8).is_some();
                assert_eq!(kept, few == 3 && n == 0, "{n} of {few}");
                assert_eq!(lookup(&tlb, 0, false, page(n), 8), None);
            }
            tlb.flush(KERNEL);
        }
    }

    #[test]
    fn lists_stay_short_and_flushes_are_whole() {
        let mut tlb = tlb();
        for n in 0..3 * MAX_FILLED as u64 {
            tlb.fill(0, n * PAGE_SIZE, n % 700 * PAGE_SIZE, (true, true), false);
            assert!(tlb.filled[0].len() <= MAX_FILLED);
        }
        tlb.flush_where(|va| (va / PAGE_SIZE).is_multiple_of(2));
        let last = 3 * MAX_FILLED as u64 - 1;
        assert!(lookup(&tlb, 0, true, last * PAGE_SIZE, 8).is_some());
        assert!(lookup(&tlb, 0, true, (last - 1) * PAGE_SIZE, 8).is_none());
        tlb.flush(0);
        for n in 0..3 * MAX_FILLED as u64 {
            assert_eq!(lookup(&tlb, 0, false, n * PAGE_SIZE, 1), None);
        }
    }
}
