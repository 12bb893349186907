//! The index by which the runtime finds lifted functions: entry points by the contents of their page.

use crate::program::{PAGE, Program};
use crate::region::Function;
use forelift_abi::lift::{FUNCTION_BITS, Index, Mode, Page, VERSION};
use std::collections::BTreeMap;

/// The index of `functions`, which are numbered in order from `first` on (not 0: that stands for none).
pub fn index(program: &Program, functions: &[&Function], first: u32) -> Index {
    let mut pages: BTreeMap<(u128, Mode), Page> = BTreeMap::new();
    let mut note = |number: usize| {
        let hash = program.hash(number);
        let mode = program.pages[number].mode;
        let content = program.content(number);
        pages.entry((hash, mode)).or_insert_with(|| Page { hash, mode, content, entries: Vec::new() });
        (hash, mode)
    };
    let mut entries: Vec<((u128, Mode), u16, u32)> = Vec::new();
    for (number, function) in functions.iter().enumerate() {
        // Pages without an entry point of their own are crossed into, by their number.
        for &page in function.pages.values() {
            note(page);
        }
        for (entry, address) in function.entries.iter().enumerate() {
            let Some(&page) = function.pages.get(&address.div_euclid(PAGE)) else { continue };
            let value = (first + number as u32) | ((entry as u32) << FUNCTION_BITS);
            entries.push((note(page), address.rem_euclid(PAGE) as u16, value));
        }
    }
    for (key, offset, value) in entries {
        if let Some(page) = pages.get_mut(&key) {
            page.entries.push((offset, value));
        }
    }
    Index {
        version: VERSION,
        pages: pages.into_values().collect(),
        functions: (first, functions.len() as u32),
    }
}
