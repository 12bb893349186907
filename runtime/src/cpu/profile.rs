//! What a training run learns: how often each instruction was executed, and where control came in from
//! elsewhere.
//!
//! An interpreter counts arrivals at entries of its arena of decoded code, and branches taken; what lies
//! between follows from its blocks, which it knows itself.

use crate::memory::GuestMemory;
use forelift_abi::{layout::PAGE_SIZE, lift::Mode, profile::Page};
use std::collections::BTreeMap;

/// Counters of a training run.
pub struct Profile {
    /// By entry of the arena: how often control came to it.
    pub(crate) arrivals: Vec<u32>,
    /// By entry of the arena: how often this branch was taken.
    pub(crate) taken: Vec<u32>,
    /// By entry of the arena: how often control came to it from another page or by a jump to a register's
    /// value.
    pub(crate) indirect: Vec<u32>,
    /// Where physical pages were executed last: page's physical address and mode to virtual address.
    seen: BTreeMap<(u64, Mode), u64>,
    /// Physical page by virtual address, mode and address space.
    mapped: BTreeMap<(u64, Mode, u64), u64>,
    /// The physical page that was mapped after a page.
    following: BTreeMap<(u64, Mode), u64>,
    /// The page that control went to from a page, by the distance in pages.
    links: BTreeMap<(u64, Mode, i32), u64>,
    /// Links that were noted a short while ago: physical addresses of the two pages.
    recent: Vec<(u64, u64)>,
}

/// Entries of [`Profile::recent`].
const RECENT: usize = 4096;

impl Profile {
    /// A profile of a CPU whose arena has so many entries.
    pub(crate) fn new(entries: usize) -> Self {
        let zeros = || vec![0; entries];
        Profile {
            arrivals: zeros(),
            taken: zeros(),
            indirect: zeros(),
            seen: BTreeMap::new(),
            mapped: BTreeMap::new(),
            following: BTreeMap::new(),
            links: BTreeMap::new(),
            recent: vec![(u64::MAX, u64::MAX); RECENT],
        }
    }
}

impl Profile {
    /// Notes that the page at `pa` is executed at `va`, in the address space `space`.
    pub(crate) fn note_page(&mut self, pa: u64, va: u64, mode: Mode, space: u64) {
        // The kernel is the same in all address spaces.
        let space = if mode.is_kernel() { 0 } else { space };
        self.seen.insert((pa, mode), va);
        self.mapped.insert((va, mode, space), pa);
        // At once, while both are mapped: the same pages turn up in many address spaces, not always side by
        // side.
        if let Some(&next) = self.mapped.get(&(va.wrapping_add(PAGE_SIZE), mode, space)) {
            self.following.insert((pa, mode), next);
        }
        if let Some(&before) = self.mapped.get(&(va.wrapping_sub(PAGE_SIZE), mode, space)) {
            self.following.insert((before, mode), pa);
        }
    }

    /// Notes that control went from one page to another, both given by physical address, `distance` bytes
    /// away.
    #[inline]
    pub(crate) fn note_link(&mut self, from: u64, to: u64, mode: Mode, distance: u64) {
        let slot = &mut self.recent[((from >> 12).wrapping_mul(31) ^ (to >> 12)) as usize % RECENT];
        if *slot != (from, to) {
            *slot = (from, to);
            let pages = (distance as i64) >> 12;
            if let Ok(pages) = i32::try_from(pages)
                && pages.unsigned_abs() > 1
            {
                self.links.insert((from, mode, pages), to);
            }
        }
    }

    /// Zeroes the counters. They stay where they are: the interpreter holds pointers to them.
    pub(crate) fn forget(&mut self) {
        self.arrivals.fill(0);
        self.taken.fill(0);
        self.indirect.fill(0);
    }

    /// Places that control came to at least `times` times, among the first `used` entries: a measure of how
    /// much is hot that costs little.
    pub(crate) fn hot(&self, used: usize, times: u32) -> usize {
        self.arrivals.iter().take(used).filter(|&&arrivals| arrivals >= times).count()
    }

    /// The pages that were executed, in a fixed order; `counts` has executions and arrivals by physical page.
    pub(crate) fn pages(&self, counts: &BTreeMap<u64, Counts>, mem: &GuestMemory) -> Vec<Page> {
        let keys: Vec<(u64, Mode)> =
            self.seen.keys().copied().filter(|(pa, _)| counts.contains_key(pa)).collect();
        let place = |pa, mode| keys.binary_search(&(pa, mode)).ok();
        let page = |&(pa, mode): &(u64, Mode)| {
            let next = self.following.get(&(pa, mode));
            let Counts { executed, indirect } = counts[&pa].clone();
            Page {
                bytes: mem.slice(pa, PAGE_SIZE as usize).unwrap_or(&[]).to_vec(),
                mode,
                va: self.seen[&(pa, mode)],
                next: next.and_then(|&pa| place(pa, mode)),
                counts: executed,
                indirect,
                links: self
                    .links
                    .range((pa, mode, i32::MIN)..=(pa, mode, i32::MAX))
                    .filter_map(|(&(_, _, pages), &to)| Some((pages, place(to, mode)?)))
                    .collect(),
            }
        };
        keys.iter().map(page).collect()
    }
}

/// Counters of a page, by byte.
#[derive(Clone)]
pub(crate) struct Counts {
    /// Executions of the instruction there.
    pub(crate) executed: Vec<u32>,
    /// Arrivals from other pages or by jumps to a register's value.
    pub(crate) indirect: Vec<u32>,
}

impl Default for Counts {
    fn default() -> Self {
        let zeros = || vec![0; PAGE_SIZE as usize];
        Counts { executed: zeros(), indirect: zeros() }
    }
}
