//! What an ELF file says about the code in it: functions, stubs of the procedure linkage table, build-id.
//!
//! Functions come from `.symtab` and `.dynsym`; bounds of those without a symbol from the frame descriptions
//! in `.eh_frame`; names of stubs from the relocations of the table entries that they load. Only what is
//! asked for by [`Symbols::at`] gets a name.
//!
//! Files are hostile: everything is bounded by the file's size and the limits below, and what makes no sense
//! is left out and counted.

use crate::guests;
use crate::isa::Isa;
use crate::lift::Target;
use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection};
use goblin::{
    container::{Container, Ctx},
    elf::{
        Elf, RelocSection, SectionHeader, Symtab,
        header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, Header},
        note::NT_GNU_BUILD_ID,
        program_header::{PF_X, PT_LOAD, PT_NOTE, ProgramHeader},
        section_header::{SHN_UNDEF, SHT_DYNSYM, SHT_NOBITS, SHT_RELA, SHT_SYMTAB},
        sym::{STB_GLOBAL, STB_LOCAL, STT_FUNC, STT_GNU_IFUNC, Sym},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Range,
};

/// Symbols, relocations, and frame descriptions that are read, each.
const MAX_ITEMS: usize = 4 << 20;
/// Loadable segments with code that are read.
const MAX_SEGMENTS: usize = 64;
/// Bytes of a name that are kept.
const MAX_NAME: usize = 160;
/// Bytes of frame descriptions that are read.
const MAX_FRAMES: u64 = 32 << 20;
/// Common parts of frame descriptions that are read.
const MAX_COMMON: usize = 64;
/// Functions before a place that are looked at for one that holds it.
const NESTING: usize = 8;
/// A segment with code: file offset, address, length in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file.
    pub offset: u64,
    /// Address.
    pub address: u64,
    /// Bytes that the file has of it.
    pub len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Symbol,
    Stub,
    /// Known by its frame description only.
    Frame,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    start: u64,
    /// The same as `start` when it is not known.
    end: u64,
    kind: Kind,
    /// Position of the name in the file.
    name: usize,
}

/// The code in an ELF file.
#[derive(Debug)]
pub struct Symbols<'a> {
    isa: &'static dyn Isa,
    file: &'a [u8],
    segments: Vec<Segment>,
    functions: Vec<Function>,
    build_id: Option<&'a [u8]>,
    /// Parts of the file that made no sense, or exceeded a limit.
    pub dropped: usize,
}

/// A place in a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The function's name, of printable ASCII characters: `NAME`, `NAME@plt`, or `sub_ADDRESS`.
    pub name: String,
    /// The function's address.
    pub start: u64,
    /// Bytes from there to the place.
    pub offset: u64,
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            0 => f.write_str(&self.name),
            n => write!(f, "{}+{n:#x}", self.name),
        }
    }
}

/// A name as people may see it: printable ASCII, not too long.
pub fn printable(name: &[u8]) -> String {
    name.iter().take(MAX_NAME).map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '_' }).collect()
}

/// The segments with code of `file`; `None` when it is no ELF file of a guest whose code can be lifted.
pub fn segments(file: &[u8]) -> Option<Vec<Segment>> {
    let (header, _) = header(file)?;
    let headers = program_headers(file, &header)?;
    Some(code(&headers, file.len() as u64))
}

const CTX: Ctx = Ctx { container: Container::Big, le: goblin::container::Endian::Little };

fn header(file: &[u8]) -> Option<(Header, &'static dyn Target)> {
    if !file.starts_with(ELFMAG) {
        return None;
    }
    let header = Elf::parse_header(file).ok()?;
    let fits = header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_ident[EI_DATA] == ELFDATA2LSB;
    fits.then_some((header, guests::of_machine(header.e_machine)?))
}

fn program_headers(file: &[u8], header: &Header) -> Option<Vec<ProgramHeader>> {
    ProgramHeader::parse(file, usize::try_from(header.e_phoff).ok()?, header.e_phnum.into(), CTX).ok()
}

fn code(headers: &[ProgramHeader], len: u64) -> Vec<Segment> {
    headers
        .iter()
        .filter(|h| h.p_type == PT_LOAD && h.p_flags & PF_X != 0 && h.p_offset < len)
        .map(|h| Segment { offset: h.p_offset, address: h.p_vaddr, len: h.p_filesz.min(len - h.p_offset) })
        .filter(|s| s.address.checked_add(s.len).is_some())
        .take(MAX_SEGMENTS)
        .collect()
}

impl<'a> Symbols<'a> {
    /// Reads `file`; `None` when it is no ELF file of a guest whose code can be lifted.
    pub fn read(file: &'a [u8]) -> Option<Self> {
        let (header, target) = header(file)?;
        let programs = program_headers(file, &header)?;
        let segments = code(&programs, file.len() as u64);
        let mut symbols =
            Symbols { isa: target, file, segments, functions: Vec::new(), build_id: None, dropped: 0 };
        symbols.read_build_id(&programs);
        let start = usize::try_from(header.e_shoff).unwrap_or(usize::MAX);
        match SectionHeader::parse(file, start, header.e_shnum.into(), CTX) {
            Ok(sections) => symbols.read_sections(&sections, header.e_shstrndx.into()),
            Err(_) => symbols.dropped += 1,
        }
        symbols.settle();
        Some(symbols)
    }

    /// The build-id of the note that the linker left.
    pub fn build_id(&self) -> Option<&'a [u8]> {
        self.build_id
    }

    /// Number of functions.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// Whether no function is known.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The address of what is at `offset` in the file.
    pub fn address(&self, offset: u64) -> Option<u64> {
        self.segments
            .iter()
            .find(|s| offset.checked_sub(s.offset).is_some_and(|n| n < s.len))
            .map(|s| s.address + (offset - s.offset))
    }

    /// The function at `address`.
    pub fn at(&self, address: u64) -> Option<Symbol> {
        let after = self.functions.partition_point(|f| f.start <= address);
        let near = &self.functions[after.saturating_sub(NESTING)..after];
        let function = near.iter().rev().find(|f| address < f.end)?;
        let name = match function.kind {
            Kind::Symbol => printable(self.name(function.name)),
            Kind::Stub => format!("{}@plt", printable(self.name(function.name))),
            Kind::Frame => format!("sub_{:x}", function.start),
        };
        Some(Symbol { name, start: function.start, offset: address - function.start })
    }

    /// Start and end of all functions, sorted by start.
    pub fn bounds(&self) -> impl Iterator<Item = Range<u64>> {
        self.functions.iter().map(|f| f.start..f.end)
    }

    fn name(&self, at: usize) -> &'a [u8] {
        let rest = self.file.get(at..).unwrap_or_default();
        let rest = &rest[..rest.len().min(MAX_NAME)];
        rest.split(|&b| b == 0).next().unwrap_or_default()
    }

    fn read_build_id(&mut self, programs: &[ProgramHeader]) {
        for note in programs.iter().filter(|h| h.p_type == PT_NOTE).take(MAX_SEGMENTS) {
            let Some(mut rest) = self.slice(note.p_offset, note.p_filesz) else {
                self.dropped += 1;
                continue;
            };
            // Name and description are padded to 4 bytes (System V gABI, note section).
            while let Some((head, body)) = rest.split_first_chunk::<12>() {
                let word = |at: usize| {
                    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize
                };
                let (name, desc) = (word(0), word(4));
                let desc_at = name.next_multiple_of(4);
                let Some(id) = body.get(desc_at..desc_at.saturating_add(desc)) else { break };
                if word(8) == NT_GNU_BUILD_ID as usize && body.starts_with(b"GNU\0") {
                    self.build_id = Some(id);
                    return;
                }
                rest = body.get(desc_at + desc.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }

    fn slice(&self, offset: u64, len: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        self.file.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    }

    fn contents(&self, section: &SectionHeader) -> Option<&'a [u8]> {
        (section.sh_type != SHT_NOBITS).then(|| self.slice(section.sh_offset, section.sh_size)).flatten()
    }

    fn read_sections(&mut self, sections: &[SectionHeader], names: usize) {
        let strings = sections.get(names).map_or(usize::MAX, |s| s.sh_offset as usize);
        let name = |section: &SectionHeader| self.name(strings.saturating_add(section.sh_name));
        let find = |wanted: &[u8]| sections.iter().find(|s| name(s) == wanted);
        let (frames, plt) = (find(b".eh_frame"), find(b".plt"));
        let dynamic = sections.iter().find(|s| s.sh_type == SHT_DYNSYM);
        for table in [sections.iter().find(|s| s.sh_type == SHT_SYMTAB), dynamic].into_iter().flatten() {
            match self.symbols(table, sections) {
                Some(list) => self.functions.extend(list),
                None => self.dropped += 1,
            }
        }
        if let (Some(plt), Some(dynamic)) = (plt, dynamic) {
            match self.stubs(plt, dynamic, sections) {
                Some(list) => self.functions.extend(list),
                None => self.dropped += 1,
            }
        }
        if let Some(frames) = frames {
            match self.contents(frames) {
                Some(bytes) if frames.sh_size <= MAX_FRAMES => self.read_frames(bytes, frames.sh_addr),
                _ => self.dropped += 1,
            }
        }
    }

    /// The symbols of `table`, and where their names begin.
    fn table(&self, table: &SectionHeader, sections: &[SectionHeader]) -> Option<(Vec<Sym>, usize)> {
        let strings = sections.get(table.sh_link as usize)?.sh_offset;
        let count = (table.sh_size / 24).min(MAX_ITEMS as u64) as usize;
        let list = Symtab::parse(self.file, usize::try_from(table.sh_offset).ok()?, count, CTX).ok()?;
        Some((list.iter().collect(), usize::try_from(strings).ok()?))
    }

    fn symbols(&self, table: &SectionHeader, sections: &[SectionHeader]) -> Option<Vec<Function>> {
        let (list, strings) = self.table(table, sections)?;
        let mut list: Vec<Sym> = list
            .into_iter()
            .filter(|s| matches!(s.st_type(), STT_FUNC | STT_GNU_IFUNC) && s.st_shndx != SHN_UNDEF as usize)
            .filter(|s| s.st_value.checked_add(s.st_size).is_some())
            .collect();
        // Of several names for one place the plainest: global ones, those without underscores, short ones.
        let place = |s: &Sym| strings.saturating_add(s.st_name);
        list.sort_by_cached_key(|s| {
            let name = self.name(place(s));
            let bind = match s.st_bind() {
                STB_GLOBAL => 0,
                STB_LOCAL => 2,
                _ => 1,
            };
            let underscores = name.iter().take_while(|&&b| b == b'_').count();
            (s.st_value, s.st_size == 0, bind, underscores, name.len(), name)
        });
        list.dedup_by_key(|s| s.st_value);
        let function = |s: &Sym| Function {
            start: s.st_value,
            end: s.st_value + s.st_size,
            kind: Kind::Symbol,
            name: place(s),
        };
        Some(list.iter().map(function).collect())
    }

    /// Entries of the procedure linkage table `plt`, by the symbols of the pointers that they load.
    fn stubs(
        &self,
        plt: &SectionHeader,
        dynamic: &SectionHeader,
        sections: &[SectionHeader],
    ) -> Option<Vec<Function>> {
        let (symbols, strings) = self.table(dynamic, sections)?;
        let Some(form) = self.isa.plt() else { return Some(Vec::new()) };
        let mut slots = HashMap::new();
        let mut left = MAX_ITEMS;
        for section in sections.iter().filter(|s| s.sh_type == SHT_RELA) {
            let size = section.sh_size.min(left as u64 * 24);
            let start = usize::try_from(section.sh_offset).ok()?;
            let relocs = RelocSection::parse(self.file, start, size as usize, true, CTX).ok()?;
            left -= relocs.len().min(left);
            for reloc in relocs.iter().filter(|r| form.relocations.contains(&r.r_type)) {
                if let Some(symbol) = symbols.get(reloc.r_sym) {
                    slots.insert(reloc.r_offset, strings.saturating_add(symbol.st_name));
                }
            }
        }
        let mut out = Vec::new();
        for (n, stub) in self.contents(plt)?.chunks_exact(form.entry).enumerate().take(MAX_ITEMS) {
            let start = plt.sh_addr.wrapping_add((n * form.entry) as u64);
            let Some(slot) = self.isa.plt_pointer(stub, start) else { continue };
            if let (Some(&name), Some(end)) = (slots.get(&slot), start.checked_add(form.entry as u64)) {
                out.push(Function { start, end, kind: Kind::Stub, name });
            }
        }
        Some(out)
    }

    fn read_frames(&mut self, bytes: &[u8], address: u64) {
        let section = EhFrame::new(bytes, LittleEndian);
        let mut bases = BaseAddresses::default().set_eh_frame(address);
        if let Some(text) = self.segments.first() {
            bases = bases.set_text(text.address);
        }
        // Each common part once: a file could name a long one millions of times.
        let mut common = BTreeMap::new();
        let mut entries = section.entries(&bases);
        for _ in 0..MAX_ITEMS {
            match entries.next() {
                Ok(Some(CieOrFde::Cie(_))) => {}
                Ok(Some(CieOrFde::Fde(frame))) => {
                    let at = frame.cie_offset();
                    if !common.contains_key(&at.0) && common.len() < MAX_COMMON {
                        common.insert(at.0, section.cie_from_offset(&bases, at));
                    }
                    let known =
                        common.get(&at.0).cloned().unwrap_or(Err(gimli::Error::NoEntryAtGivenOffset(0)));
                    match frame.parse(|_, _, _| known.clone()) {
                        Ok(frame) => {
                            let start = frame.initial_address();
                            let end = start.saturating_add(frame.len());
                            self.functions.push(Function { start, end, kind: Kind::Frame, name: 0 });
                        }
                        Err(_) => self.dropped += 1,
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.dropped += 1;
                    break;
                }
            }
        }
    }

    /// One function for each start, in order, inside of the code; what has no size reaches to the next.
    fn settle(&mut self) {
        let inside = |segments: &[Segment], address: u64| {
            let segment = segments.iter().find(|s| address.checked_sub(s.address).is_some_and(|n| n < s.len));
            segment.map(|s| s.address + s.len)
        };
        let before = self.functions.len();
        let segments = &self.segments;
        self.functions.retain(|f| inside(segments, f.start).is_some());
        self.dropped += before - self.functions.len();
        // A symbol before a stub before a frame; the sort is stable, so `.symtab` before `.dynsym`.
        self.functions.sort_by_key(|f| (f.start, f.kind));
        self.functions.dedup_by(|next, first| {
            let same = next.start == first.start;
            if same && first.end == first.start {
                first.end = next.end;
            }
            same
        });
        for n in 0..self.functions.len() {
            let next = self.functions.get(n + 1).map_or(u64::MAX, |f| f.start);
            let function = &mut self.functions[n];
            let limit = inside(&self.segments, function.start).unwrap_or(function.start);
            if function.end <= function.start {
                function.end = next;
            }
            function.end = function.end.min(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    const SOURCE: &str = "
        extern int imported(int);
        __attribute__((noinline)) static int hidden(int n) { return n < 2 ? n : imported(n - 1) * 3; }
        int exported(int n) { return hidden(n + 7) + imported(n); }
        __attribute__((alias(\"exported\"))) int __exported(int);
    ";

    /// A shared library, with the symbols of the linker, and without.
    fn library() -> (Vec<u8>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let (source, out) = (dir.path().join("a.c"), dir.path().join("a.so"));
        fs::write(&source, SOURCE).unwrap();
        let run = |program: &str, args: &[&str], files: &[&std::path::Path]| {
            let status = Command::new(program).args(args).args(files).status();
            assert!(status.unwrap_or_else(|e| panic!("{program}: {e}: run scripts/setup build")).success());
        };
        let args =
            ["-shared", "-fPIC", "-O2", "-nostdlib", "-Wl,--build-id=sha1", "-fasynchronous-unwind-tables"];
        run("riscv64-linux-gnu-gcc", &args, &[&source, "-o".as_ref(), &out]);
        let full = fs::read(&out).unwrap();
        run("riscv64-linux-gnu-strip", &[], &[&out]);
        (full, fs::read(&out).unwrap())
    }

    fn names(symbols: &Symbols<'_>) -> Vec<String> {
        symbols.bounds().map(|r| symbols.at(r.start).map_or(String::new(), |s| s.to_string())).collect()
    }

    #[test]
    fn symbols_stubs_and_frames() {
        let (full, stripped) = library();
        let symbols = Symbols::read(&full).unwrap();
        assert_eq!(symbols.dropped, 0);
        assert_eq!(symbols.build_id().map(<[u8]>::len), Some(20));
        let all = names(&symbols);
        for name in ["exported", "hidden", "imported@plt"] {
            assert_eq!(all.iter().filter(|n| *n == name).count(), 1, "{name} in {all:?}");
        }
        let hidden = symbols.bounds().find(|r| symbols.at(r.start).unwrap().name == "hidden").unwrap();
        let inside = symbols.at(hidden.end - 2).unwrap();
        assert_eq!((inside.name.as_str(), inside.start), ("hidden", hidden.start));
        assert_eq!(inside.to_string(), format!("hidden+{:#x}", hidden.end - 2 - hidden.start));
        let segment = segments(&full).unwrap()[0];
        let offset = hidden.start - segment.address + segment.offset;
        assert_eq!(symbols.address(offset), Some(hidden.start));

        let symbols = Symbols::read(&stripped).unwrap();
        let all = names(&symbols);
        assert!(all.contains(&"exported".into()) && all.contains(&"imported@plt".into()), "{all:?}");
        // Without a symbol its bounds are still known.
        assert!(symbols.bounds().any(|r| r == hidden), "{all:?}");
        assert_eq!(symbols.at(hidden.start + 4).unwrap().to_string(), format!("sub_{:x}+0x4", hidden.start));
        assert_eq!(symbols.build_id().map(<[u8]>::len), Some(20));
    }

    #[test]
    fn hostile_files() {
        assert!(Symbols::read(b"").is_none() && Symbols::read(b"\x7fELF").is_none());
        let (full, stripped) = library();
        let mut other = full.clone();
        other[18] = 62;
        assert!(Symbols::read(&other).is_none(), "another machine");
        let mut seed = 1u64;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let (mut read, mut dropped) = (0, 0);
        for round in 0..4000 {
            let mut bytes = if round % 2 == 0 { full.clone() } else { stripped.clone() };
            // The headers at both ends, and what they lead to.
            for _ in 0..1 + random(8) {
                let at = match random(3) {
                    0 => random(1024),
                    1 => bytes.len() - 1 - random(2048),
                    _ => random(bytes.len()),
                };
                bytes[at] = [0, 0xff, 0x80, 1, random(256) as u8][random(5)];
            }
            if random(4) == 0 {
                bytes.truncate(random(bytes.len()));
            }
            let _ = segments(&bytes);
            let Some(symbols) = Symbols::read(&bytes) else { continue };
            read += 1;
            dropped += usize::from(symbols.dropped > 0);
            for range in symbols.bounds() {
                assert!(range.start <= range.end);
                if let Some(symbol) = symbols.at(range.start) {
                    assert!(
                        symbol.name.len() <= MAX_NAME + 4
                            && symbol.name.bytes().all(|b| b.is_ascii_graphic())
                    );
                }
            }
        }
        assert!(read > 100 && dropped > 100, "{read} files were read, {dropped} of them in part");
    }
}
