//! Counts of a training run from the interpreter's blocks.

use super::cache::{Cache, HALFWORDS};
use super::entry::Kind;
use super::predecode;
use crate::cpu::profile::{Counts, Profile};
use crate::memory::GuestMemory;
use forelift_abi::profile::Page;
use std::collections::BTreeMap;

/// The pages that were executed, in a fixed order.
pub(super) fn pages(profile: &Profile, cache: &Cache, mem: &GuestMemory) -> Vec<Page> {
    let counts: BTreeMap<u64, Counts> =
        cache.pages().map(|page| (page.pa, counts(profile, cache, &page.blocks))).collect();
    profile.pages(&counts, mem)
}

fn counts(profile: &Profile, cache: &Cache, blocks: &[u32; HALFWORDS]) -> Counts {
    let mut counts = Counts::default();
    for (halfword, &at) in blocks.iter().enumerate().filter(|(_, at)| **at != 0) {
        let slot = &mut counts.indirect[2 * halfword];
        *slot = slot.saturating_add(profile.indirect[at as usize]);
        let mut times = profile.arrivals[at as usize];
        let entries = cache.entries(at);
        // A block that was decoded later begins in the middle of this one as a copy of its own: nothing
        // is counted twice.
        for (n, entry) in entries.iter().enumerate() {
            if entry.op == Kind::Next || entry.op == Kind::Lifted {
                break;
            }
            let slot = &mut counts.executed[usize::from(entry.offset)];
            *slot = slot.saturating_add(times);
            if predecode::ends_block(entry.op) {
                break;
            }
            times = times.saturating_sub(profile.taken[at as usize + n]);
        }
    }
    counts
}
