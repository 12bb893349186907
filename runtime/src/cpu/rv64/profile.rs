//! What a training run learns: how often each instruction was executed, and where control came in from
//! elsewhere.
//!
//! The interpreter counts arrivals at entries of its arena and branches taken; what lies between follows from
//! the blocks.

use super::cache::{ARENA_ENTRIES, Cache, HALFWORDS};
use super::entry::Kind;
use super::state::Privilege;
use crate::memory::GuestMemory;
use forelift_abi::{layout::PAGE_SIZE, profile::Page};
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
    /// Where physical pages were executed last: page's physical address and privilege to virtual address.
    seen: BTreeMap<(u64, u8), u64>,
    /// Physical page by virtual address, privilege and `satp`.
    mapped: BTreeMap<(u64, u8, u64), u64>,
    /// The physical page that was mapped behind a page.
    behind: BTreeMap<(u64, u8), u64>,
    /// The page that control went to from a page, by the distance in pages.
    links: BTreeMap<(u64, u8, i32), u64>,
    /// Links that were noted a short while ago: physical addresses of the two pages.
    recent: Vec<(u64, u64)>,
}

/// Entries of [`Profile::recent`].
const RECENT: usize = 4096;

impl Default for Profile {
    fn default() -> Self {
        let zeros = || vec![0; ARENA_ENTRIES];
        Profile {
            arrivals: zeros(),
            taken: zeros(),
            indirect: zeros(),
            seen: BTreeMap::new(),
            mapped: BTreeMap::new(),
            behind: BTreeMap::new(),
            links: BTreeMap::new(),
            recent: vec![(u64::MAX, u64::MAX); RECENT],
        }
    }
}

impl Profile {
    pub(crate) fn note_page(&mut self, pa: u64, va: u64, privilege: Privilege, satp: u64) {
        // The kernel is the same in all address spaces.
        let satp = if privilege == Privilege::User { satp } else { 0 };
        let privilege = privilege as u8;
        self.seen.insert((pa, privilege), va);
        self.mapped.insert((va, privilege, satp), pa);
        // At once, while both are mapped: the same pages turn up in many address spaces, not always side by
        // side.
        if let Some(&next) = self.mapped.get(&(va.wrapping_add(PAGE_SIZE), privilege, satp)) {
            self.behind.insert((pa, privilege), next);
        }
        if let Some(&before) = self.mapped.get(&(va.wrapping_sub(PAGE_SIZE), privilege, satp)) {
            self.behind.insert((before, privilege), pa);
        }
    }

    /// Notes that control went from one page to another, both given by physical address, `distance` bytes
    /// away.
    #[inline]
    pub(crate) fn note_link(&mut self, from: u64, to: u64, privilege: Privilege, distance: u64) {
        let slot = &mut self.recent[((from >> 12).wrapping_mul(31) ^ (to >> 12)) as usize % RECENT];
        if *slot != (from, to) {
            *slot = (from, to);
            let pages = (distance as i64) >> 12;
            if let Ok(pages) = i32::try_from(pages)
                && pages.unsigned_abs() > 1
            {
                self.links.insert((from, privilege as u8, pages), to);
            }
        }
    }

    /// Zeroes the counters. They stay where they are: the interpreter holds pointers to them.
    pub(crate) fn forget(&mut self) {
        self.arrivals.fill(0);
        self.taken.fill(0);
        self.indirect.fill(0);
    }

    /// Decoded entries that control came to at least `times` times: a measure of how much is hot that costs
    /// little.
    pub(crate) fn hot(&self, cache: &Cache, times: u32) -> usize {
        let used = cache.entries(0).len();
        self.arrivals.iter().take(used).filter(|&&arrivals| arrivals >= times).count()
    }

    /// The pages that were executed, in a fixed order.
    pub(crate) fn pages(&self, cache: &Cache, mem: &GuestMemory) -> Vec<Page> {
        let mut counts = BTreeMap::new();
        for page in cache.pages() {
            counts.insert(page.pa, self.counts(cache, &page.blocks));
        }
        let keys: Vec<(u64, u8)> =
            self.seen.keys().copied().filter(|(pa, _)| counts.contains_key(pa)).collect();
        let place = |pa, privilege| keys.binary_search(&(pa, privilege)).ok();
        let page = |&(pa, privilege): &(u64, u8)| {
            let va = self.seen[&(pa, privilege)];
            let next = self.behind.get(&(pa, privilege));
            let (counts, indirect) = counts[&pa].clone();
            Page {
                bytes: mem.slice(pa, PAGE_SIZE as usize).unwrap_or(&[]).to_vec(),
                privilege,
                va,
                next: next.and_then(|&pa| place(pa, privilege)),
                counts,
                indirect,
                links: self
                    .links
                    .range((pa, privilege, i32::MIN)..=(pa, privilege, i32::MAX))
                    .filter_map(|(&(_, _, pages), &to)| Some((pages, place(to, privilege)?)))
                    .collect(),
            }
        };
        keys.iter().map(page).collect()
    }

    fn counts(&self, cache: &Cache, blocks: &[u32; HALFWORDS]) -> (Vec<u32>, Vec<u32>) {
        let mut counts = vec![0u32; HALFWORDS];
        let mut indirect = vec![0u32; HALFWORDS];
        for (halfword, &at) in blocks.iter().enumerate().filter(|(_, at)| **at != 0) {
            indirect[halfword] = indirect[halfword].saturating_add(self.indirect[at as usize]);
            let mut times = self.arrivals[at as usize];
            let entries = cache.entries(at);
            // A block that was decoded later begins in the middle of this one as a copy of its own: nothing
            // is counted twice.
            for (n, entry) in entries.iter().enumerate() {
                if entry.op == Kind::Next || entry.op == Kind::Lifted {
                    break;
                }
                let slot = &mut counts[usize::from(entry.offset / 2)];
                *slot = slot.saturating_add(times);
                if super::predecode::ends_block(entry.op) {
                    break;
                }
                times = times.saturating_sub(self.taken[at as usize + n]);
            }
        }
        (counts, indirect)
    }
}
