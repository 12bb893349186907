//! The structure of a core WebAssembly module: its sections, its one memory, its active data segments and the
//! address of the header block.
//!
//! Used for the bare runtime, to build an image from it, and for a finished image, to read it back. The
//! module is untrusted: every offset is checked here, once. Function bodies are not validated: the engine
//! that compiles the module does that.

use std::ops::Range;

use forelift_abi::{header, lift::Layout};
use thiserror::Error;
use wasmparser::{DataKind, ExternalKind, Operator, Parser, Payload};

/// Size of a WebAssembly page in bytes.
pub const WASM_PAGE: u64 = 0x1_0000;

/// Why a module cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ModuleError {
    /// The file does not start as a core module does.
    #[error("not a WebAssembly module")]
    NotWasm,
    /// The file ends early or is damaged.
    #[error("damaged WebAssembly module at offset {offset:#x}: {message}")]
    Malformed {
        /// Byte offset in the file.
        offset: u64,
        /// What the parser says.
        message: String,
    },
    /// A feature that no Forelift module has.
    #[error("unexpected WebAssembly module: {0}")]
    Unsupported(&'static str),
    /// A data segment lies outside of the memory.
    #[error("data segment {index} at {addr:#x}+{len:#x} is outside of the memory of {memory:#x} bytes")]
    Segment {
        /// Its number.
        index: usize,
        /// Its address.
        addr: u64,
        /// Its length in bytes.
        len: u64,
        /// The memory's initial size in bytes.
        memory: u64,
    },
}

impl From<wasmparser::Error> for ModuleError {
    fn from(e: wasmparser::Error) -> Self {
        ModuleError::Malformed { offset: e.offset(), message: e.message().to_string() }
    }
}

/// A section, as ranges of the module's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Section id; 0 is a custom section.
    pub id: u8,
    /// Name of a custom section.
    pub name: Option<String>,
    /// The section with its id and length.
    pub whole: Range<usize>,
    /// The contents: for a custom section what follows its name.
    pub body: Range<usize>,
}

/// An active data segment with a constant address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address in linear memory.
    pub addr: u64,
    /// Where its bytes are in the module.
    pub offset: usize,
    /// Its length in bytes.
    pub len: usize,
}

/// A parsed module. See the module's documentation.
#[derive(Debug)]
pub struct Module {
    /// Sections in file order.
    pub sections: Vec<Section>,
    /// Initial memory size in pages of [`WASM_PAGE`].
    pub min_pages: u64,
    /// Largest memory size in pages.
    pub max_pages: Option<u64>,
    /// Active data segments in order; later ones overwrite earlier ones.
    pub segments: Vec<Segment>,
    /// Address of the header block, when the module exports one.
    pub header_addr: Option<u64>,
    /// Address of the layout for lifted code, when the module exports one.
    pub layout_addr: Option<u64>,
    /// Whether there is a data count section: code may then refer to segments by number.
    pub has_data_count: bool,
    /// Whether the module has a start function, which would run before the embedder can fill the memory.
    pub has_start: bool,
}

fn to_usize(r: Range<u64>) -> Range<usize> {
    // Offsets into a slice.
    r.start as usize..r.end as usize
}

fn const_i32(expr: &wasmparser::ConstExpr<'_>) -> Option<u64> {
    let mut ops = expr.get_operators_reader();
    match (ops.read().ok()?, ops.read().ok()?) {
        (Operator::I32Const { value }, Operator::End) => Some(u64::from(value as u32)),
        _ => None,
    }
}

/// What is found on the way through a module, besides the [`Module`] itself.
#[derive(Default)]
struct Seen {
    memories: u32,
    /// Values of the globals that are constants, imported ones included.
    globals: Vec<Option<u64>>,
    /// Indices of the exported globals with the addresses of the header and of the layout.
    header: Option<usize>,
    layout: Option<usize>,
    /// Whether the module's end was reached.
    ended: bool,
}

impl Seen {
    fn address(&self, global: Option<usize>) -> Option<u64> {
        self.globals.get(global?).copied().flatten()
    }

    fn imports(&mut self, reader: wasmparser::ImportSectionReader<'_>) -> Result<(), ModuleError> {
        for import in reader.into_imports() {
            match import?.ty {
                wasmparser::TypeRef::Memory(_) => {
                    return Err(ModuleError::Unsupported("it imports its memory"));
                }
                wasmparser::TypeRef::Global(_) => self.globals.push(None),
                _ => {}
            }
        }
        Ok(())
    }

    fn exports(&mut self, reader: wasmparser::ExportSectionReader<'_>) -> Result<(), ModuleError> {
        for export in reader {
            let export = export?;
            match export.name {
                _ if export.kind != ExternalKind::Global => {}
                header::EXPORT => self.header = Some(export.index as usize),
                Layout::EXPORT => self.layout = Some(export.index as usize),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Module {
    /// Parses `bytes`.
    ///
    /// # Errors
    /// See [`ModuleError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ModuleError> {
        if bytes.len() < 8 || bytes[..8] != *b"\0asm\x01\0\0\0" {
            return Err(ModuleError::NotWasm);
        }
        let mut module = Module {
            sections: Vec::new(),
            min_pages: 0,
            max_pages: None,
            segments: Vec::new(),
            header_addr: None,
            layout_addr: None,
            has_data_count: false,
            has_start: false,
        };
        let mut seen = Seen::default();
        for payload in Parser::new(0).parse_all(bytes) {
            module.note(payload?, &mut seen)?;
        }
        if !seen.ended {
            let offset = bytes.len() as u64;
            return Err(ModuleError::Malformed { offset, message: "unexpected end".into() });
        }
        if seen.memories != 1 {
            return Err(ModuleError::Unsupported("it has not exactly one memory"));
        }
        module.header_addr = seen.address(seen.header);
        module.layout_addr = seen.address(seen.layout);
        module.check_segments()?;
        Ok(module)
    }

    fn note(&mut self, payload: Payload<'_>, seen: &mut Seen) -> Result<(), ModuleError> {
        self.note_section(&payload);
        match payload {
            Payload::ImportSection(reader) => seen.imports(reader)?,
            Payload::MemorySection(reader) => {
                for memory in reader {
                    seen.memories += 1;
                    self.note_memory(memory?)?;
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    seen.globals.push(const_i32(&global?.init_expr));
                }
            }
            Payload::ExportSection(reader) => seen.exports(reader)?,
            Payload::StartSection { .. } => self.has_start = true,
            Payload::DataCountSection { .. } => self.has_data_count = true,
            Payload::DataSection(reader) => {
                for data in reader {
                    self.note_data(data?)?;
                }
            }
            Payload::End(_) => seen.ended = true,
            _ => {}
        }
        Ok(())
    }

    fn note_memory(&mut self, memory: wasmparser::MemoryType) -> Result<(), ModuleError> {
        if memory.memory64 || memory.shared || memory.page_size_log2.is_some() {
            return Err(ModuleError::Unsupported("its memory is not an ordinary 32-bit one"));
        }
        if memory.initial > 0x1_0000 {
            return Err(ModuleError::Unsupported("its memory exceeds 4 GiB"));
        }
        self.min_pages = memory.initial;
        self.max_pages = memory.maximum;
        Ok(())
    }

    fn note_section(&mut self, payload: &Payload<'_>) {
        if let Some((id, range)) = payload.as_section() {
            let start = self.sections.last().map_or(8, |s| s.whole.end);
            let range = to_usize(range);
            let (name, body) = match payload {
                Payload::CustomSection(c) => {
                    (Some(c.name().to_string()), c.data_offset() as usize..range.end)
                }
                _ => (None, range.clone()),
            };
            self.sections.push(Section { id, name, whole: start..range.end, body });
        }
    }

    fn note_data(&mut self, data: wasmparser::Data<'_>) -> Result<(), ModuleError> {
        let DataKind::Active { memory_index: 0, offset_expr } = data.kind else {
            return Err(ModuleError::Unsupported("it has a passive data segment"));
        };
        let Some(addr) = const_i32(&offset_expr) else {
            return Err(ModuleError::Unsupported("a data segment's address is not a constant"));
        };
        let len = data.data.len();
        let offset = data.range.end as usize - len;
        self.segments.push(Segment { addr, offset, len });
        Ok(())
    }

    fn check_segments(&self) -> Result<(), ModuleError> {
        let memory = self.memory_size();
        for (index, s) in self.segments.iter().enumerate() {
            if s.addr + s.len as u64 > memory {
                return Err(ModuleError::Segment { index, addr: s.addr, len: s.len as u64, memory });
            }
        }
        Ok(())
    }

    /// Initial memory size in bytes.
    pub fn memory_size(&self) -> u64 {
        self.min_pages * WASM_PAGE
    }

    /// The first custom section of that name in `bytes`, which the module was parsed from.
    pub fn custom<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let section = self.sections.iter().find(|s| s.name.as_deref() == Some(name))?;
        bytes.get(section.body.clone())
    }

    /// A copy of initial memory at `addr..addr+len`, which must lie within
    /// [`memory_size`](Self::memory_size). `bytes` is what the module was parsed from.
    pub fn memory(&self, bytes: &[u8], addr: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        for s in &self.segments {
            let from = s.addr.max(addr);
            let to = (s.addr + s.len as u64).min(addr + len as u64);
            if from < to {
                let src = s.offset + (from - s.addr) as usize;
                let n = (to - from) as usize;
                out[(from - addr) as usize..][..n].copy_from_slice(&bytes[src..src + n]);
            }
        }
        out
    }

    /// How many bytes of `addr..addr+len` some segment stores (segments of one image do not overlap).
    pub fn stored(&self, addr: u64, len: u64) -> u64 {
        let end = addr.saturating_add(len);
        let part = |s: &Segment| (s.addr + s.len as u64).min(end).saturating_sub(s.addr.max(addr));
        self.segments.iter().map(part).sum()
    }
}

/// Appends `value` as a LEB128 number of five bytes, which every engine accepts (Core Specification 5.2.2)
/// and whose length does not depend on the value.
pub fn leb5(value: u32, out: &mut Vec<u8>) {
    for i in 0..5 {
        let byte = (value >> (7 * i) & 0x7f) as u8;
        out.push(if i < 4 { byte | 0x80 } else { byte });
    }
}

/// As [`leb5`], for the operand of `i32.const`: sign-extended.
pub fn sleb5(value: i32, out: &mut Vec<u8>) {
    let wide = i64::from(value);
    for i in 0..5 {
        let byte = (wide >> (7 * i) & 0x7f) as u8;
        out.push(if i < 4 { byte | 0x80 } else { byte });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_read_back() {
        for v in [0i32, 1, -1, 63, 64, i32::MAX, i32::MIN, 0x1234_5678, -0x1234_5678] {
            let mut out = Vec::new();
            leb5(v as u32, &mut out);
            sleb5(v, &mut out);
            let mut r = wasmparser::BinaryReader::new(&out, 0);
            assert_eq!(r.read_var_u32().unwrap(), v as u32);
            assert_eq!(r.read_var_i32().unwrap(), v);
        }
    }

    #[test]
    fn reads_memory_through_overlapping_segments() {
        let wasm = wat::parse_str(
            r#"(module (memory 1) (data (i32.const 4) "abcdef") (data (i32.const 6) "XY")
                (global (export "forelift_image_header") i32 (i32.const 4096)))"#,
        )
        .unwrap();
        let m = Module::parse(&wasm).unwrap();
        assert_eq!(m.memory(&wasm, 2, 10), b"\0\0abXYef\0\0");
        assert_eq!(m.header_addr, Some(4096));
        assert_eq!(m.stored(5, 2), 3);
    }

    #[test]
    fn refuses_what_it_cannot_place() {
        let refused = |text: &str| Module::parse(&wat::parse_str(text).unwrap()).unwrap_err();
        assert!(matches!(refused("(module)"), ModuleError::Unsupported(_)));
        assert!(matches!(refused("(module (memory i64 1))"), ModuleError::Unsupported(_)));
        assert!(matches!(refused(r#"(module (import "a" "b" (memory 1)))"#), ModuleError::Unsupported(_)));
        assert!(matches!(refused(r#"(module (memory 1) (data "x"))"#), ModuleError::Unsupported(_)));
        assert!(matches!(
            refused(r#"(module (memory 1) (data (i32.const 65535) "xy"))"#),
            ModuleError::Segment { addr: 65535, .. }
        ));
        assert_eq!(Module::parse(b"\x7fELF").unwrap_err(), ModuleError::NotWasm);
    }
}
