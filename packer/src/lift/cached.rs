//! Regions in a cache: what a lifted region depends on, and its functions as bytes.
//!
//! A region's key is a digest of all that lifting reads: the sources of everything that takes part
//! (`build.rs`), the layout, the mid-end's settings, and the region's shape with its instructions. Pages are
//! in it by their contents, addresses relative to the region. So it is the same wherever the region's pages
//! turn up: in another image with the same layer, at another address. How often something was executed is not
//! in it: that only decides what becomes a region.

use forelift_abi::lift::Layout;
use forelift_emit::{Body, Reloc, RelocKind};
use forelift_translator::{
    isa::Flow,
    lift::{CALLEES, HELPERS, Options},
    program::Program,
    region::{Block, Function, Region},
};
use sha2::{Digest, Sha256};

use super::{Code, Place};
use crate::cache::Key;

/// What the functions of a region became, in order: code, or why a back end refused them.
pub type Made = Vec<Result<Code, String>>;

/// A digest that is given numbers. Every list is preceded by its length.
#[derive(Clone)]
struct Hash(Sha256);

impl Hash {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn address(&mut self, address: i32) {
        self.0.update(address.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text);
    }

    fn block(&mut self, block: &Block) {
        // All fields by name: one that is added has to be thought of here.
        let Block { start, end_address, insns, skips, terminator, count: _ } = block;
        self.address(*start);
        self.address(*end_address);
        self.number(insns.len() as u64);
        for (address, insn) in insns {
            // The rest of an instruction is decoded from its bytes, in the mode of the function.
            self.address(*address);
            self.number(u64::from(insn.len));
            self.0.update(insn.bytes());
        }
        self.number(skips.len() as u64);
        for &(branch, count) in skips {
            self.number(branch as u64);
            self.number(count as u64);
        }
        let (kind, delta) = match *terminator {
            Flow::Next => (0, 0),
            Flow::Branch(delta) => (1, delta),
            Flow::Jump(delta) => (2, delta),
            Flow::Call(delta) => (3, delta),
            Flow::CallRegister => (4, 0),
            Flow::Return => (5, 0),
            Flow::JumpRegister => (6, 0),
            Flow::Unlifted(_) => (7, 0),
            Flow::Trap => (8, 0),
            Flow::TrapReturn => (9, 0),
        };
        self.number(kind);
        self.address(delta);
    }

    fn function(&mut self, program: &Program, function: &Function) {
        let Function {
            mode,
            pages,
            blocks,
            entries,
            elsewhere,
            cuts,
            calls,
            is_jumped_to,
            weight: _,
            resumes: _,
        } = function;
        self.number(*mode as u64);
        self.number(pages.len() as u64);
        for (&number, &page) in pages {
            self.address(number);
            self.0.update(program.hash(page).to_le_bytes());
        }
        self.number(blocks.len() as u64);
        for (&address, block) in blocks {
            self.address(address);
            self.block(block);
        }
        self.number(entries.len() as u64);
        entries.iter().for_each(|&entry| self.address(entry));
        self.number(elsewhere.len() as u64);
        elsewhere.iter().for_each(|&address| self.address(address));
        self.number(cuts.len() as u64);
        for &(from, to) in cuts {
            self.address(from);
            self.address(to);
        }
        self.number(calls.len() as u64);
        for &address in calls {
            self.address(address);
        }
        // The contents of other pages are checked where they are called, and stubs in them are copied.
        for block in blocks.values() {
            let Flow::Call(delta) = block.terminator else { continue };
            let place = function.place(block.last()).and_then(|here| program.jump(here, delta));
            self.0.update(place.map_or(0, |place| program.hash(place.page)).to_le_bytes());
        }
        self.number(u64::from(*is_jumped_to));
    }
}

/// Makes the keys of regions.
pub struct Keys(Hash);

impl Keys {
    /// The keys for these options and settings of the mid-end, and this build of Forelift.
    pub fn new(options: &Options, settings: &str) -> Self {
        Self::of(env!("FORELIFT_LIFT_SOURCES"), options, settings)
    }

    fn of(sources: &str, options: &Options, settings: &str) -> Self {
        let Options { layout, call_conv } = options;
        let mut hash = Hash(Sha256::new());
        hash.text("forelift region");
        hash.text(sources);
        hash.text(settings);
        hash.text(&call_conv.to_string());
        for word in Layout::to_words(*layout) {
            hash.number(word);
        }
        Keys(hash)
    }

    /// The key of `region`, whose pages are `program`'s.
    pub fn key(&self, program: &Program, region: &Region) -> Key {
        let mut hash = self.0.clone();
        hash.number(region.functions.len() as u64);
        region.functions.iter().for_each(|function| hash.function(program, function));
        hash.0.finalize().into()
    }
}

/// Code, places in it with the function that each names (name space, index), and what it calls directly; or
/// why there is none.
type Encoded<'a> = Result<(&'a [u8], Vec<(u32, u32, u32)>, Vec<Place>), &'a str>;

/// A region's functions as bytes. `None`: they refer to something that has no encoding.
pub fn encode(made: &Made) -> Option<Vec<u8>> {
    let mut list: Vec<Encoded<'_>> = Vec::with_capacity(made.len());
    for function in made {
        list.push(match function {
            Ok(Code { body: Body { code, relocs }, callees }) => {
                let places = relocs.iter().map(|reloc| match reloc.kind {
                    RelocKind::Function { namespace, index } => Some((reloc.offset, namespace, index)),
                    RelocKind::Type { .. } => None,
                });
                Ok((code.as_slice(), places.collect::<Option<Vec<_>>>()?, callees.clone()))
            }
            Err(why) => Err(why.as_str()),
        });
    }
    postcard::to_allocvec(&list).ok()
}

/// The functions of a region that has `count`, of a guest with so many helpers, from bytes. `None`: they are
/// not what [`encode`] gave.
pub fn decode(bytes: &[u8], count: usize, helpers: usize) -> Option<Made> {
    let (list, rest) = postcard::take_from_bytes::<Vec<Encoded<'_>>>(bytes).ok()?;
    if !rest.is_empty() || list.len() != count {
        return None;
    }
    let function = |code: &[u8], places: Vec<(u32, u32, u32)>, callees: Vec<Place>| {
        let relocs = places.into_iter().map(|(offset, namespace, index)| {
            let known = match namespace {
                HELPERS => helpers,
                CALLEES => callees.len(),
                _ => 0,
            };
            let inside = offset as usize + 5 <= code.len() && (index as usize) < known;
            inside.then_some(Reloc { offset, kind: RelocKind::Function { namespace, index } })
        });
        let relocs = relocs.collect::<Option<Vec<_>>>()?;
        Some(Code { body: Body { code: code.to_vec(), relocs }, callees })
    };
    list.into_iter()
        .map(|made| match made {
            Ok((code, places, callees)) => function(code, places, callees).map(Ok),
            Err(why) => Some(Err(why.to_string())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use cranelift_codegen::isa::CallConv;
    use forelift_abi::lift::Mode;
    use forelift_translator::isa::{Isa, rv64::Rv64};
    use forelift_translator::region::{self, Limits};
    use std::collections::BTreeMap;

    fn options() -> Options {
        Options { layout: testing::LAYOUT, call_conv: CallConv::SystemV }
    }

    fn keys() -> Keys {
        Keys::new(&options(), "opt_level = speed")
    }

    /// A region of a program with two pages of code, with all kinds of things in it.
    fn sample() -> (Program, Region) {
        let program = testing::program(testing::pages(2, 1));
        let regions = region::regions(&program, Limits::default());
        let rich = |region: &&Region| {
            let function = &region.functions[0];
            function.pages.len() > 1 && !function.elsewhere.is_empty() && region.functions.len() > 1
        };
        let region = regions.iter().find(rich).expect("a region with all that").clone();
        (program, region)
    }

    #[test]
    fn every_input_changes_the_key() {
        let (program, region) = sample();
        let key = keys().key(&program, &region);
        assert_eq!(key, keys().key(&program, &region), "it is a function of its inputs");
        let mut seen = BTreeMap::from([(key, "the region itself".to_string())]);
        let mut differs = |name: &str, key: Key| {
            let other = seen.insert(key, name.to_string());
            assert_eq!(other, None, "{name}");
        };

        let of = |sources: &str, options: &Options, settings: &str| {
            Keys::of(sources, options, settings).key(&program, &region)
        };
        let sources = env!("FORELIFT_LIFT_SOURCES");
        assert_eq!(sources.len(), 64);
        differs("sources", of("other", &options(), "opt_level = speed"));
        differs("settings", of(sources, &options(), "opt_level = none"));
        let fast = Options { call_conv: CallConv::Fast, ..options() };
        differs("calling convention", of(sources, &fast, "opt_level = speed"));
        for n in 0..Layout::WORDS {
            let mut words = testing::LAYOUT.to_words();
            words[n] ^= 8;
            let options = Options { layout: Layout::from_words(words), ..options() };
            differs(&format!("word {n} of the layout"), of(sources, &options, "opt_level = speed"));
        }

        let mut changed = |name: &str, change: &dyn Fn(&mut Region)| {
            let mut other = region.clone();
            change(&mut other);
            assert_ne!(other, region, "{name}");
            differs(name, keys().key(&program, &other));
        };
        fn first(region: &mut Region) -> &mut Function {
            &mut region.functions[0]
        }
        fn block(region: &mut Region) -> &mut Block {
            first(region).blocks.values_mut().next().unwrap()
        }
        changed("fewer functions", &|r| drop(r.functions.pop()));
        changed("order of functions", &|r| r.functions.reverse());
        changed("mode", &|r| first(r).mode = Mode::Kernel);
        changed("a page more", &|r| {
            first(r).pages.insert(9, 0);
        });
        changed("number of a page", &|r| {
            let last = first(r).pages.pop_last().unwrap();
            first(r).pages.insert(last.0 + 1, last.1);
        });
        changed("contents of a page", &|r| {
            let last = first(r).pages.last_entry().unwrap();
            *last.into_mut() = 0;
            let head = first(r).pages.first_entry().unwrap();
            *head.into_mut() = 1;
        });
        changed("a block less", &|r| drop(first(r).blocks.pop_last()));
        changed("a block elsewhere", &|r| {
            let (address, block) = first(r).blocks.pop_last().unwrap();
            first(r).blocks.insert(address + 2, block);
        });
        changed("start", &|r| block(r).start += 2);
        changed("end", &|r| block(r).end_address += 2);
        changed("an instruction less", &|r| {
            block(r).insns.pop();
        });
        changed("a skip", &|r| block(r).skips.push((0, 1)));
        changed("a longer skip", &|r| block(r).skips.push((0, 2)));
        changed("address of an instruction", &|r| block(r).insns[0].0 += 2);
        changed("bits of an instruction", &|r| {
            let (_, insn) = &mut block(r).insns[0];
            *insn = Rv64.spoil(insn).unwrap();
        });
        let ends = [
            Flow::Next,
            Flow::Branch(2),
            Flow::Branch(4),
            Flow::Jump(2),
            Flow::Jump(4),
            Flow::Call(2),
            Flow::Call(4),
            Flow::CallRegister,
            Flow::Return,
            Flow::JumpRegister,
            Flow::Unlifted("wfi"),
            Flow::Trap,
            Flow::TrapReturn,
        ];
        let was = first(&mut region.clone()).blocks.values().next().unwrap().terminator;
        for end in ends.into_iter().filter(|&end| end != was) {
            changed(&format!("{end:?}"), &|r| block(r).terminator = end);
        }
        changed("an entry point less", &|r| {
            first(r).entries.pop();
        });
        changed("an entry point more", &|r| first(r).entries.push(88));
        changed("order of entry points", &|r| {
            first(r).entries.push(88);
            first(r).entries.rotate_left(1);
        });
        changed("address of an entry point", &|r| first(r).entries[0] += 2);
        changed("nothing elsewhere", &|r| first(r).elsewhere.clear());
        changed("something elsewhere", &|r| {
            first(r).elsewhere.insert(77_777);
        });
        changed("a cut", &|r| {
            first(r).cuts.insert((2, 4));
        });
        changed("another cut", &|r| {
            first(r).cuts.insert((2, 6));
        });
        changed("a direct call", &|r| {
            first(r).calls.insert(77_776);
        });
        changed("jumps to it", &|r| first(r).is_jumped_to ^= true);
        changed("a change of the second function", &|r| r.functions[1].entries[0] += 2);
        assert!(seen.len() > 50);

        // The bytes of a page that are no instructions of the region: going on into it checks the contents'
        // number.
        let mut pages = testing::pages(2, 1);
        *pages[1].bytes.last_mut().unwrap() ^= 1;
        let other = testing::program(pages);
        assert_ne!(keys().key(&other, &region), key, "contents");
    }

    /// What the key leaves out does not show in the code.
    #[test]
    fn counts_names_and_numbers_of_pages_decide_nothing() {
        let (program, region) = sample();
        let made = testing::lift(&program, &region);
        let mut pages = testing::pages(2, 1);
        for page in &mut pages {
            page.va += 0x5000;
            page.counts.iter_mut().for_each(|count| *count += 1000);
            page.indirect.fill(0);
        }
        // In another order: pages have other numbers.
        let count = pages.len();
        pages.reverse();
        for page in &mut pages {
            page.next = page.next.map(|next| count - 1 - next);
        }
        let other = testing::program(pages);
        let mut renamed = region.clone();
        for function in &mut renamed.functions {
            function.pages.values_mut().for_each(|page| *page = count - 1 - *page);
            function.weight += 77;
            function.resumes ^= true;
            function.blocks.values_mut().for_each(|block| block.count = 0);
        }
        assert_ne!(renamed, region);
        assert_eq!(keys().key(&other, &renamed), keys().key(&program, &region));
        assert_eq!(testing::lift(&other, &renamed), made);
    }

    #[test]
    fn functions_come_back_from_bytes() {
        let (program, region) = sample();
        let mut made = testing::lift(&program, &region);
        assert!(made.iter().flatten().any(|code| !code.body.relocs.is_empty()));
        if let Some(Ok(code)) = made.first_mut() {
            code.callees.push((7, Mode::Kernel, 1234));
            let kind = RelocKind::Function { namespace: CALLEES, index: code.callees.len() as u32 - 1 };
            code.body.relocs.push(Reloc { offset: 0, kind });
        }
        made.push(Err("too many locals".into()));
        let bytes = encode(&made).unwrap();
        assert_eq!(decode(&bytes, made.len(), 7).unwrap(), made);
        assert!(decode(&bytes, made.len() - 1, 7).is_none());
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], made.len(), 7).is_none());
        }
        assert!(decode(&[&bytes[..], b"x"].concat(), made.len(), 7).is_none());
        let code = |offset, kind| {
            let body = Body { code: vec![0; 7], relocs: vec![Reloc { offset, kind }] };
            vec![Ok(Code { body, callees: Vec::new() })]
        };
        for (offset, namespace, index) in [(3, HELPERS, 0), (0, HELPERS, 99), (0, CALLEES, 0), (0, 7, 0)] {
            let kind = RelocKind::Function { namespace, index };
            assert!(decode(&encode(&code(offset, kind)).unwrap(), 1, 7).is_none());
        }
        assert!(encode(&code(0, RelocKind::Type { signature: 0 })).is_none());
    }
}
