//! Which lifted function begins where.

use super::{FUNCTION_BITS, Guest, Mode, VERSION};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

extern crate alloc;

/// The name of a page's contents: XXH3, 128 bits. A guest that finds a collision deceives only itself.
pub fn page_hash(page: &[u8]) -> u128 {
    twox_hash::XxHash3_128::oneshot(page)
}

/// Lifted code of one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// [`page_hash`] of its contents.
    pub hash: u128,
    /// The mode that it is executed in.
    pub mode: Mode,
    /// Number that lifted code knows these contents by; never 0.
    pub content: u32,
    /// Entry points: byte offset in the page; number of the function and of its entry point (see
    /// [`FUNCTION_BITS`]). In WebAssembly a function's number is its index in the module's table.
    pub entries: Vec<(u16, u32)>,
}

/// All lifted code of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// [`VERSION`].
    pub version: u32,
    /// Pages, sorted by hash and mode.
    pub pages: Vec<Page>,
    /// Functions there are: first number, count.
    pub functions: (u32, u32),
}

impl Index {
    /// Whether the index is consistent: sorted, with entry points inside their page where code of `guest` can
    /// begin, and functions in range.
    pub fn is_valid(&self, guest: &Guest) -> bool {
        let key = |p: &Page| (p.hash, p.mode);
        let (first, count) = self.functions;
        self.version == VERSION
            && self.pages.windows(2).all(|w| key(&w[0]) < key(&w[1]))
            && self.pages.iter().all(|p| {
                guest.modes.contains(&p.mode)
                    && p.content != 0
                    && p.entries.iter().all(|&(offset, value)| {
                        let number = value & ((1 << FUNCTION_BITS) - 1);
                        u64::from(offset) < crate::layout::PAGE_SIZE
                            && offset % guest.code_align == 0
                            && number.wrapping_sub(first) < count
                            && value != 0
                    })
            })
    }

    /// The page with these contents.
    pub fn find(&self, hash: u128, mode: Mode) -> Option<&Page> {
        let at = self.pages.binary_search_by_key(&(hash, mode), |p| (p.hash, p.mode)).ok()?;
        self.pages.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{rv64, x86};
    use super::*;

    fn index(mode: Mode, offset: u16, value: u32) -> Index {
        let page = |hash| Page { hash, mode, content: 1, entries: Vec::from([(offset, value)]) };
        Index { version: VERSION, pages: Vec::from([page(1), page(2)]), functions: (5, 3) }
    }

    #[test]
    fn inconsistent_indexes_are_refused() {
        let good = index(Mode::User, 2, 5);
        assert!(good.is_valid(&rv64::GUEST) && good.is_valid(&x86::GUEST));
        assert!(good.find(2, Mode::User).is_some() && good.find(2, Mode::Kernel).is_none());
        let odd = index(Mode::User, 1, 5);
        assert!(!odd.is_valid(&rv64::GUEST) && odd.is_valid(&x86::GUEST));
        let compat = index(Mode::Compat, 2, 5);
        assert!(!compat.is_valid(&rv64::GUEST) && compat.is_valid(&x86::GUEST));
        let mut unsorted = good.clone();
        unsorted.pages.swap(0, 1);
        let mut nameless = good.clone();
        nameless.pages[0].content = 0;
        for bad in [
            index(Mode::User, 4096, 5),
            index(Mode::User, 2, 4),
            index(Mode::User, 2, 8),
            index(Mode::User, 2, 0),
            Index { version: VERSION + 1, ..good.clone() },
            unsorted,
            nameless,
        ] {
            assert!(!bad.is_valid(&x86::GUEST), "{bad:?}");
        }
    }
}
