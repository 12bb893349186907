//! What the translator is given: pages of guest code, as a training run saw them.
//!
//! Code is named by page and offset, never by address: a page of a shared library is mapped anywhere. Pages
//! that were mapped side by side form chains, along which code goes on from one page to the next.

use forelift_abi::{lift::page_hash, profile::Page};
use forelift_isa::rv64::{self, Insn};
use std::collections::BTreeMap;

/// Size of a page in bytes.
pub const PAGE: i32 = 4096;

/// Pages of one training run, each contents once.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The pages.
    pub pages: Vec<Page>,
    hashes: Vec<u128>,
    previous: Vec<Option<usize>>,
    /// Chain of each page, and its place in it.
    chains: Vec<(usize, i32)>,
    /// The page that control went to from each page, by the distance in pages.
    links: Vec<BTreeMap<i32, usize>>,
}

/// A place in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// Number of the page.
    pub page: usize,
    /// Byte offset in it.
    pub offset: u16,
}

impl Program {
    /// A program of these pages. Pages with the same contents and privilege become one, whose counts are the
    /// sums; a page that has no whole contents is left out.
    pub fn new(pages: Vec<Page>) -> Self {
        let whole =
            |p: &Page| p.bytes.len() == PAGE as usize && p.counts.len() == 2048 && p.indirect.len() == 2048;
        let mut known: BTreeMap<(u128, u8), usize> = BTreeMap::new();
        let mut place: Vec<Option<usize>> = Vec::with_capacity(pages.len());
        let mut out: Vec<Page> = Vec::new();
        let mut hashes = Vec::new();
        for page in &pages {
            if !whole(page) {
                place.push(None);
                continue;
            }
            let hash = page_hash(&page.bytes);
            let at = *known.entry((hash, page.privilege)).or_insert_with(|| {
                hashes.push(hash);
                out.push(Page {
                    counts: vec![0; 2048],
                    indirect: vec![0; 2048],
                    next: None,
                    links: Vec::new(),
                    ..page.clone()
                });
                out.len() - 1
            });
            for (sum, n) in out[at].counts.iter_mut().zip(&page.counts) {
                *sum = sum.saturating_add(*n);
            }
            for (sum, n) in out[at].indirect.iter_mut().zip(&page.indirect) {
                *sum = sum.saturating_add(*n);
            }
            place.push(Some(at));
        }
        let mut previous = vec![None; out.len()];
        for (n, page) in pages.iter().enumerate() {
            let behind = page.next.and_then(|next| place.get(next).copied().flatten());
            if let (Some(at), Some(next)) = (place[n], behind)
                && out[at].next.is_none()
                && previous[next].is_none()
                && next != at
            {
                out[at].next = Some(next);
                previous[next] = Some(at);
            }
        }
        let mut links = vec![BTreeMap::new(); out.len()];
        for (n, page) in pages.iter().enumerate() {
            for &(distance, to) in &page.links {
                if let (Some(at), Some(&Some(to))) = (place[n], place.get(to)) {
                    links[at].entry(distance).or_insert(to);
                }
            }
        }
        let chains = chains(&out, &previous);
        Program { pages: out, hashes, previous, chains, links }
    }

    /// The name of a page's contents.
    pub fn hash(&self, page: usize) -> u128 {
        self.hashes[page]
    }

    /// The number that lifted code knows a page's contents by: a part of their hash, so that it is the same
    /// in every image.
    pub fn content(&self, page: usize) -> u32 {
        content_number(self.hashes[page])
    }

    /// The place `delta` bytes from `at`, if the pages on the way are known.
    pub fn step(&self, at: At, delta: i32) -> Option<At> {
        let mut page = at.page;
        let mut offset = i32::from(at.offset).checked_add(delta)?;
        // Branches reach 4 KiB and jumps 1 MiB; a chain that long is a function no more.
        if offset.abs() > 64 * PAGE {
            return None;
        }
        while offset >= PAGE {
            page = self.pages[page].next?;
            offset -= PAGE;
        }
        while offset < 0 {
            page = self.previous[page]?;
            offset += PAGE;
        }
        Some(At { page, offset: offset as u16 })
    }

    /// As [`Program::step`], also to pages that control went to from this one without the pages between being
    /// known.
    pub fn jump(&self, at: At, delta: i32) -> Option<At> {
        self.step(at, delta).or_else(|| {
            let to = i32::from(at.offset).checked_add(delta)?;
            let page = *self.links[at.page].get(&to.div_euclid(PAGE))?;
            Some(At { page, offset: to.rem_euclid(PAGE) as u16 })
        })
    }

    /// The chain of `at`, and its distance in bytes from the chain's beginning.
    pub fn position(&self, at: At) -> (usize, i32) {
        let (chain, page) = self.chains[at.page];
        (chain, page * PAGE + i32::from(at.offset))
    }

    /// The instruction at `at`: decoded, or its bits when they are none. `None` when it runs into an unknown
    /// page.
    pub fn insn(&self, at: At) -> Option<Result<Insn, u32>> {
        let low = self.half(at)?;
        let high = if rv64::length(low) == 4 { self.half(self.step(at, 2)?)? } else { 0 };
        let bits = u32::from(low) | u32::from(high) << 16;
        Some(rv64::decode(bits).ok_or(bits))
    }

    fn half(&self, at: At) -> Option<u16> {
        let bytes = self.pages[at.page].bytes.get(usize::from(at.offset)..usize::from(at.offset) + 2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// How often the instruction at `at` was executed.
    pub fn count(&self, at: At) -> u32 {
        self.pages[at.page].counts[usize::from(at.offset / 2)]
    }

    /// How often control came to `at` from another page or by a jump to a register's value.
    pub fn indirect(&self, at: At) -> u32 {
        self.pages[at.page].indirect[usize::from(at.offset / 2)]
    }
}

/// The chain of each page, named by one of its pages, and the page's place in it.
fn chains(pages: &[Page], previous: &[Option<usize>]) -> Vec<(usize, i32)> {
    let mut chains = vec![None; pages.len()];
    // First those with a beginning; what is left then is circular.
    let begins = (0..pages.len()).filter(|&page| previous[page].is_none());
    for first in begins.chain(0..pages.len()) {
        let (mut page, mut place) = (first, 0);
        while chains[page].is_none() {
            chains[page] = Some((first, place));
            place += 1;
            let Some(next) = pages[page].next else { break };
            page = next;
        }
    }
    chains.into_iter().map(|chain| chain.unwrap_or_default()).collect()
}

/// See [`Program::content`].
pub fn content_number(hash: u128) -> u32 {
    (hash as u32).max(1)
}
