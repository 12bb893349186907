//! Where guest code comes from, and what it is called.
//!
//! The translator knows pages by their contents. Text pages of a file are mapped as they are, so the pages of
//! the image's programs and libraries are hashed, and those that were executed are found again. The kernel
//! changes its own code while it boots; it is known by its addresses.
//!
//! Names are for people: no code depends on them.

use super::{Hot, Left, Lifted};
use crate::{
    erofs,
    image::{InodeId, Kind, Tree},
};
use forelift_abi::lift::page_hash;
use forelift_translator::{
    program::{CodeAddr, PAGE, Program},
    region::{Function, Limits},
    symbols::{self, Symbol, Symbols, printable},
};
use rayon::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::{self, Write},
    ops::Range,
};

/// Items of each of the report's lists.
const TOP: usize = 50;
/// Longest path of a file that is looked at.
const MAX_PATH: usize = 4096;
/// Most bytes of the vDSO.
const MAX_VDSO: usize = 1 << 16;

/// First line of a [`Lifted::symbol_map`].
pub const MAP_HEAD: &str = "# function\tname\tfile\toffset\tsize\tentries\n";

/// A file with guest code.
#[derive(Clone, Debug)]
pub struct GuestFile<'a> {
    /// Its path in the guest.
    pub path: String,
    /// Its contents.
    pub bytes: &'a [u8],
}

/// The regular files of `tree` that are not empty: path, and where they are in the file system image. In the
/// order of their paths' names, each file once.
pub fn files(tree: &Tree, plan: &erofs::Volume<'_>) -> Vec<(String, Range<u64>)> {
    let mut out = Vec::new();
    let mut seen: HashSet<InodeId> = HashSet::new();
    let mut todo = vec![(String::new(), tree.root())];
    while let Some((path, id)) = todo.pop() {
        if let Some(entries) = tree.entries(id) {
            let below =
                entries.iter().rev().map(|(name, d)| (format!("{path}/{}", printable(name)), d.inode));
            todo.extend(below.filter(|(path, _)| path.len() < MAX_PATH));
        } else if matches!(tree.inode(id).kind, Kind::File { .. })
            && let Some(range) = plan.data(id)
            && seen.insert(id)
        {
            out.push((path, range));
        }
    }
    out
}

/// The vDSO inside of a kernel, which maps it into every process.
pub fn vdso(kernel: &[u8]) -> Option<GuestFile<'_>> {
    let at = (0..kernel.len())
        .step_by(PAGE as usize)
        .find(|&at| kernel[at..].starts_with(b"\x7fELF") && symbols::segments(&kernel[at..]).is_some())?;
    let bytes = &kernel[at..kernel.len().min(at + MAX_VDSO)];
    Some(GuestFile { path: "[vdso]".into(), bytes })
}

/// Names of the kernel's functions.
#[derive(Clone, Debug, Default)]
pub struct KernelSymbols {
    list: Vec<(u64, String)>,
}

impl KernelSymbols {
    /// Reads a `System.map`: lines of an address, a type and a name. Other lines, and what is no code, are
    /// left out.
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
            let code = matches!(kind, "t" | "T" | "w" | "W") && !name.starts_with(['.', '$']);
            code.then_some((u64::from_str_radix(address, 16).ok()?, kind != "T", printable(name.as_bytes())))
        };
        let mut list: Vec<_> = text.lines().filter_map(line).collect();
        // Of several names for one place the plainest.
        let rank = |name: &str| (name.len() - name.trim_start_matches('_').len(), name.len());
        list.sort_by(|a, b| (a.0, a.1, rank(&a.2), &a.2).cmp(&(b.0, b.1, rank(&b.2), &b.2)));
        list.dedup_by_key(|item| item.0);
        KernelSymbols { list: list.into_iter().map(|(address, _, name)| (address, name)).collect() }
    }

    /// The function at `address`.
    pub fn at(&self, address: u64) -> Option<Symbol> {
        let after = self.list.partition_point(|(start, _)| *start <= address);
        // Behind the last function is no code: that symbol only ends the one before it.
        let (start, name) = self.list.get(after.checked_sub(1)?).filter(|_| after < self.list.len())?;
        Some(Symbol { name: name.clone(), start: *start, offset: address - start })
    }
}

/// A place in guest code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path; `vmlinux` for the kernel; `None`: code of no file.
    pub file: Option<String>,
    /// Offset in the file; for the kernel, and code of no file, the address.
    pub offset: u64,
    /// The function.
    pub symbol: Option<Symbol>,
    address: u64,
}

impl Place {
    /// The name of the function that the place is in.
    fn function(&self) -> String {
        let start = self.symbol.clone().map(|symbol| Symbol { offset: 0, ..symbol });
        Place { symbol: start, ..self.clone() }.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.file.as_deref().unwrap_or("anonymous");
        f.write_str(path.rsplit('/').next().unwrap_or(path))?;
        match &self.symbol {
            Some(symbol) => write!(f, ":{symbol}"),
            None => write!(f, ":{:#x}", self.address),
        }
    }
}

/// What is known of a program's code.
pub struct Names<'a> {
    files: Vec<(GuestFile<'a>, Option<Symbols<'a>>)>,
    /// File and offset by page of the program.
    pages: Vec<Option<(usize, u64)>>,
    kernel: KernelSymbols,
}

impl<'a> Names<'a> {
    /// Finds the pages of `program` in `files`.
    pub fn find(program: &Program, files: Vec<GuestFile<'a>>, kernel: KernelSymbols) -> Self {
        let user = (0..program.pages.len()).filter(|&page| !program.pages[page].mode.is_kernel());
        let wanted: HashMap<u128, usize> = user.map(|page| (program.hash(page), page)).collect();
        let hits: Vec<Vec<(usize, u64)>> = files.par_iter().map(|file| hits(file.bytes, &wanted)).collect();
        // A page that several files have belongs to the one that has most of the others.
        let mut pages: Vec<Option<(usize, u64)>> = vec![None; program.pages.len()];
        let mut order: Vec<usize> = (0..files.len()).filter(|&file| !hits[file].is_empty()).collect();
        order.sort_by_key(|&file| (std::cmp::Reverse(hits[file].len()), file));
        for file in order {
            for &(page, offset) in &hits[file] {
                pages[page].get_or_insert((file, offset));
            }
        }
        let used: BTreeSet<usize> = pages.iter().flatten().map(|(file, _)| *file).collect();
        let files = files
            .into_par_iter()
            .enumerate()
            .map(|(n, file)| {
                let symbols = used.contains(&n).then(|| Symbols::read(file.bytes)).flatten();
                (file, symbols)
            })
            .collect();
        Names { files, pages, kernel }
    }

    /// The place at `at`.
    pub fn place(&self, program: &Program, at: CodeAddr) -> Place {
        let page = &program.pages[at.page];
        let address = page.va.wrapping_add(u64::from(at.offset));
        if let Some((file, start)) = self.pages.get(at.page).copied().flatten() {
            let (file, symbols) = &self.files[file];
            let offset = start + u64::from(at.offset);
            let address = symbols.as_ref().and_then(|s| s.address(offset)).unwrap_or(offset);
            let symbol = symbols.as_ref().and_then(|s| s.at(address));
            return Place { file: Some(file.path.clone()), offset, symbol, address };
        }
        if !page.mode.is_kernel() {
            return Place { file: None, offset: address, symbol: None, address };
        }
        Place { file: Some("vmlinux".into()), offset: address, symbol: self.kernel.at(address), address }
    }

    /// Files that were executed from and are damaged: path, number of parts that made no sense.
    pub fn damaged(&self) -> Vec<(&str, usize)> {
        let dropped = self
            .files
            .iter()
            .map(|(f, symbols)| (f.path.as_str(), symbols.as_ref().map_or(0, |s| s.dropped)));
        dropped.filter(|(_, dropped)| *dropped > 0).collect()
    }
}

/// Pages with code of an ELF file that are wanted, with their offsets.
fn hits(file: &[u8], wanted: &HashMap<u128, usize>) -> Vec<(usize, u64)> {
    let Some(segments) = symbols::segments(file) else { return Vec::new() };
    let page = PAGE as u64;
    let mut ranges: Vec<Range<u64>> =
        segments.iter().map(|s| s.offset / page..(s.offset + s.len).div_ceil(page)).collect();
    ranges.sort_by_key(|range| range.start);
    let mut out = Vec::new();
    let mut done = 0;
    for range in ranges {
        for number in range.start.max(done)..range.end {
            let offset = number * page;
            let rest = &file[offset as usize..];
            let hash = match rest.get(..PAGE as usize) {
                Some(whole) => page_hash(whole),
                None => {
                    // The kernel fills the last page with zeros.
                    let mut last = [0; PAGE as usize];
                    last[..rest.len()].copy_from_slice(rest);
                    page_hash(&last)
                }
            };
            if let Some(&page) = wanted.get(&hash) {
                out.push((page, offset));
            }
        }
        done = done.max(range.end);
    }
    out
}

impl Lifted {
    /// Names the functions, and completes the report with names.
    pub fn name(&mut self, names: &Names<'_>) {
        let mut taken = HashSet::new();
        self.names =
            self.functions.iter().map(|f| unique(name(&self.program, names, f), &mut taken)).collect();
        let mut hottest: Vec<Hot> = self
            .functions
            .iter()
            .zip(&self.names)
            .filter(|(f, _)| f.weight > 0)
            .map(|(f, name)| Hot { name: name.clone(), executed: f.weight, instructions: f.insns() as u64 })
            .collect();
        hottest.sort_by_key(|hot| std::cmp::Reverse(hot.executed));
        hottest.truncate(TOP);
        self.report.hottest = hottest;
        self.report.left = self.left(names);
    }

    /// What was executed and is not lifted.
    fn left(&self, names: &Names<'_>) -> Vec<Left> {
        let program = &self.program;
        let mut lifted: HashSet<CodeAddr> = HashSet::new();
        for function in self.functions.iter().filter(|f| !f.resumes) {
            let insns = function.blocks.values().flat_map(|block| &block.insns);
            lifted.extend(insns.filter_map(|(address, _)| at(program, function, *address)));
        }
        let threshold = Limits::default().threshold;
        let mut sums: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for page in 0..program.pages.len() {
            for offset in 0..PAGE as u16 {
                let at = CodeAddr { page, offset };
                let count = program.count(at);
                if count == 0 || lifted.contains(&at) {
                    continue;
                }
                let why = match program.unlifted(at) {
                    Some(mnemonic) => mnemonic,
                    None if count < threshold => "cold",
                    None => "budget",
                };
                *sums.entry((why, names.place(program, at).function())).or_default() += u64::from(count);
            }
        }
        let mut left: Vec<Left> = sums
            .into_iter()
            .map(|((why, place), executed)| Left { why: why.into(), place, executed })
            .collect();
        left.sort_by_key(|left| std::cmp::Reverse(left.executed));
        left.truncate(TOP);
        left
    }

    /// A table of the functions, one a line: index of the function in the module, the first of which is
    /// `first`; name; guest file; offset in it (an address for the kernel and for code of no file); bytes of
    /// WebAssembly; entry points as such offsets.
    pub fn symbol_map(&self, names: &Names<'_>, first: u32) -> String {
        let mut out = String::from(MAP_HEAD);
        for (n, (function, body)) in self.functions.iter().zip(&self.bodies).enumerate() {
            let places: Vec<Place> = function
                .entries
                .iter()
                .filter_map(|&entry| Some(names.place(&self.program, at(&self.program, function, entry)?)))
                .collect();
            let main = at(&self.program, function, main_entry(&self.program, names, function));
            let main = main.map(|at| names.place(&self.program, at));
            let entries: Vec<String> = places.iter().map(|place| format!("{:#x}", place.offset)).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{}\t{}\t{}\t{:#x}\t{}\t{}",
                first as usize + n,
                self.names.get(n).map_or("-", String::as_str),
                main.as_ref().and_then(|place| place.file.as_deref()).unwrap_or("-"),
                main.as_ref().map_or(0, |place| place.offset),
                body.code.len(),
                entries.join(",")
            );
        }
        out
    }
}

/// The place of an address of a function's region.
fn at(program: &Program, function: &Function, address: i32) -> Option<CodeAddr> {
    let page = *function.pages.get(&address.div_euclid(PAGE))?;
    debug_assert!(page < program.pages.len());
    Some(CodeAddr { page, offset: address.rem_euclid(PAGE) as u16 })
}

/// The entry point that a function is named for: where a guest function begins, or else the hottest.
fn main_entry(program: &Program, names: &Names<'_>, function: &Function) -> i32 {
    let rank = |entry: i32| {
        let Some(at) = at(program, function, entry) else { return (false, 0, 0) };
        let symbol = names.place(program, at).symbol;
        (symbol.is_some_and(|s| s.offset == 0), program.count(at), -i64::from(entry))
    };
    function.entries.iter().copied().max_by_key(|&entry| rank(entry)).unwrap_or(0)
}

fn name(program: &Program, names: &Names<'_>, function: &Function) -> String {
    let entry = main_entry(program, names, function);
    let place = at(program, function, entry).map(|at| names.place(program, at).to_string());
    let kind = if function.resumes { ".resume" } else { "" };
    format!("{}{kind}", place.unwrap_or_default())
}

fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let mut unique = name.clone();
    let mut n = 2;
    while !taken.insert(unique.clone()) {
        unique = format!("{name}#{n}");
        n += 1;
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use forelift_abi::lift::Mode;
    use forelift_abi::profile::Page;
    use std::{fs, process::Command};

    /// A program of several pages: functions `f0` to `f999`.
    fn elf() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let (source, out) = (dir.path().join("a.c"), dir.path().join("a.so"));
        let function = |n| format!("int f{n}(int n) {{ return n * {n} + n / {}; }}\n", n + 3);
        fs::write(&source, (0..1000).map(function).collect::<String>()).unwrap();
        let status = Command::new("riscv64-linux-gnu-gcc")
            .args(["-shared", "-fPIC", "-O2", "-nostdlib", "-fvisibility=hidden"])
            .args([source.as_os_str(), "-o".as_ref(), out.as_os_str()])
            .status();
        assert!(
            status
                .unwrap_or_else(|e| panic!("riscv64-linux-gnu-gcc: {e}: run scripts/setup build"))
                .success()
        );
        fs::read(&out).unwrap()
    }

    fn page(bytes: &[u8], mode: Mode, va: u64) -> Page {
        let mut bytes = bytes.to_vec();
        bytes.resize(PAGE as usize, 0);
        Page {
            bytes,
            mode,
            va,
            next: None,
            counts: vec![0; 4096],
            indirect: vec![0; 4096],
            links: Vec::new(),
        }
    }

    #[test]
    fn pages_are_found_by_their_contents() {
        let elf = elf();
        let whole = &elf[4096..8192];
        // The file's last page with code ends early in the one file, and begins with other bytes in the
        // other.
        let mut other = elf[..elf.len() / 4096 * 4096].to_vec();
        other[8192] ^= 1;
        let short = &elf[..6000];
        let pages = vec![
            page(whole, Mode::User, 0x7fff_0000),
            page(&[1; 4096], Mode::User, 0x1000),
            page(whole, Mode::Kernel, 0xffff_ffff_8000_2000),
            page(&elf[8192..12288], Mode::User, 0x7fff_1000),
            page(&short[4096..], Mode::User, 0x5000),
        ];
        let program = testing::program(pages);
        let file = |path: &str, bytes| GuestFile { path: path.into(), bytes };
        let files = vec![
            file("/a", &other[..]),
            file("/usr/lib/b.so", &elf[..]),
            file("/c", b"\x7fELF"),
            file("/d", short),
        ];
        let map = "ffffffff80001ff0 T _do_it\nffffffff80001ff0 T do_it\nffffffff80002100 d data\nffffffff80003000 T _etext\n";
        let names = Names::find(&program, files, KernelSymbols::parse(map));
        let text = |page, offset| names.place(&program, CodeAddr { page, offset }).to_string();

        let place = names.place(&program, CodeAddr { page: 0, offset: 0x124 });
        assert_eq!((place.file.as_deref(), place.offset), (Some("/usr/lib/b.so"), 0x1124));
        // Where the symbol table says it is.
        let symbols = Symbols::read(&elf).unwrap();
        let known = symbols.at(symbols.address(0x1124).unwrap()).unwrap();
        assert!(known.name.starts_with('f'), "{known}");
        assert_eq!(place.to_string(), format!("b.so:{known}"));
        assert!(text(3, 16).starts_with("b.so:f"));
        assert_eq!(text(1, 4), "anonymous:0x1004");
        assert_eq!(text(2, 8), "vmlinux:do_it+0x18");
        assert_eq!(names.place(&program, CodeAddr { page: 4, offset: 2 }).file.as_deref(), Some("/d"));
        assert_eq!(names.damaged().len(), 1, "the file that ends early: {:?}", names.damaged());
    }

    #[test]
    fn symbols_of_the_kernel() {
        let map =
            "000 T start\nzzz T bad\n\n100 t .L1\n100 t $x\n200 W weak\n200 t local\n300 r data\n400 T end";
        let symbols = KernelSymbols::parse(map);
        let at = |address| symbols.at(address).map(|s| s.to_string());
        assert_eq!(at(0x1ff), Some("start+0x1ff".into()));
        assert_eq!(at(0x208), Some("weak+0x8".into()));
        assert_eq!((at(0x400), KernelSymbols::parse("").at(5)), (None, None));
    }

    #[test]
    fn names_are_unique() {
        let mut taken = HashSet::new();
        let all = ["a", "a#2", "a", "a"].map(|name| unique(name.into(), &mut taken));
        assert_eq!(all, ["a", "a#2", "a#3", "a#4"]);
    }
}
