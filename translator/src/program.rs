//! What the translator is given: pages of guest code, as a training run saw them.
//!
//! Code is named by page and offset, never by address: a page of a shared library is mapped anywhere. Pages
//! that were mapped side by side form chains, along which code goes on from one page to the next.

use crate::isa::{Decoded, Flow, Insn, Isa, MAX_LEN};
use forelift_abi::{
    lift::{Mode, page_hash},
    profile::Page,
};
use std::collections::BTreeMap;

/// Why bytes that are no instruction are not lifted.
pub const ILLEGAL: &str = "illegal";
/// Size of a page in bytes.
pub const PAGE: i32 = 4096;

/// Pages of one training run, each contents once.
#[derive(Clone, Debug)]
pub struct Program {
    /// Whose code it is.
    pub isa: &'static dyn Isa,
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
pub struct CodeAddr {
    /// Number of the page.
    pub page: usize,
    /// Byte offset in it.
    pub offset: u16,
}

impl Program {
    /// A program of these pages. Pages with the same contents and mode become one, whose counts are the sums;
    /// a page that has no whole contents is left out.
    pub fn new(isa: &'static dyn Isa, pages: Vec<Page>) -> Self {
        const LEN: usize = PAGE as usize;
        let whole = |p: &Page| [p.bytes.len(), p.counts.len(), p.indirect.len()] == [LEN; 3];
        let mut known: BTreeMap<(u128, Mode), usize> = BTreeMap::new();
        let mut place: Vec<Option<usize>> = Vec::with_capacity(pages.len());
        let mut out: Vec<Page> = Vec::new();
        let mut hashes = Vec::new();
        for page in &pages {
            if !whole(page) {
                place.push(None);
                continue;
            }
            let hash = page_hash(&page.bytes);
            let at = *known.entry((hash, page.mode)).or_insert_with(|| {
                hashes.push(hash);
                out.push(Page {
                    counts: vec![0; LEN],
                    indirect: vec![0; LEN],
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
            let next = page.next.and_then(|next| place.get(next).copied().flatten());
            if let (Some(at), Some(next)) = (place[n], next)
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
        Program { isa, pages: out, hashes, previous, chains, links }
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
    pub fn step(&self, at: CodeAddr, delta: i32) -> Option<CodeAddr> {
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
        Some(CodeAddr { page, offset: offset as u16 })
    }

    /// As [`Program::step`], also to pages that control went to from this one without the pages between being
    /// known.
    pub fn jump(&self, at: CodeAddr, delta: i32) -> Option<CodeAddr> {
        self.step(at, delta).or_else(|| {
            let to = i32::from(at.offset).checked_add(delta)?;
            let page = *self.links[at.page].get(&to.div_euclid(PAGE))?;
            Some(CodeAddr { page, offset: to.rem_euclid(PAGE) as u16 })
        })
    }

    /// The chain of `at`, and its distance in bytes from the chain's beginning.
    pub fn position(&self, at: CodeAddr) -> (usize, i32) {
        let (chain, page) = self.chains[at.page];
        (chain, page * PAGE + i32::from(at.offset))
    }

    /// What is at `at`; [`Decoded::Truncated`] where it runs into an unknown page.
    pub fn decode(&self, at: CodeAddr) -> Option<Decoded> {
        let page = self.pages.get(at.page)?;
        let code = page.bytes.get(usize::from(at.offset)..)?;
        match self.isa.decode(&code[..code.len().min(MAX_LEN)], page.mode) {
            Decoded::Truncated => {}
            decoded => return Some(decoded),
        }
        let mut across = code.to_vec();
        if let Some(next) = page.next {
            across.extend(self.pages[next].bytes.iter().take(MAX_LEN - code.len().min(MAX_LEN)));
        }
        Some(self.isa.decode(&across, page.mode))
    }

    /// The instruction at `at`, if there is one.
    pub fn insn(&self, at: CodeAddr) -> Option<Insn> {
        match self.decode(at)? {
            Decoded::Insn(insn) => Some(insn),
            Decoded::Illegal(_) | Decoded::Truncated => None,
        }
    }

    /// Why what is at `at` is not lifted, if it is not, for people.
    pub fn unlifted(&self, at: CodeAddr) -> Option<&'static str> {
        match self.decode(at)? {
            Decoded::Insn(Insn { flow: Flow::Unlifted(why), .. }) => Some(why),
            Decoded::Insn(_) | Decoded::Truncated => None,
            Decoded::Illegal(_) => Some(ILLEGAL),
        }
    }

    /// The rest of the page at `at`, and the mode that it runs in.
    pub fn code(&self, at: CodeAddr) -> Option<(&[u8], Mode)> {
        let page = self.pages.get(at.page)?;
        Some((page.bytes.get(usize::from(at.offset)..)?, page.mode))
    }

    /// How often the instruction at `at` was executed.
    pub fn count(&self, at: CodeAddr) -> u32 {
        self.pages[at.page].counts[usize::from(at.offset)]
    }

    /// How often control came to `at` from another page or by a jump to a register's value.
    pub fn indirect(&self, at: CodeAddr) -> u32 {
        self.pages[at.page].indirect[usize::from(at.offset)]
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
