//! Writes the module: the runtime's sections as they are, with a larger memory, the manifest and the data.
//!
//! Code is never re-encoded. The output is a function of the inputs alone: no time, no host name, no random
//! number.

use std::io::Write;

use forelift_abi::header::{self, ImageHeader};
use wasm_encoder::{Encode, MemorySection, MemoryType};

use super::{
    Manifest, PackError, Parts,
    component::Shell,
    data::DataSection,
    manifest::{SECTION, StoredSizes},
    memory::{self, PAGE, Piece},
    module::{Module, WASM_PAGE},
};

/// Largest module that V8 (browsers, Node) accepts, in bytes: `kV8MaxWasmModuleSize`.
pub const V8_LIMIT: u64 = 1 << 30;

/// What was written.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Size of the file in bytes.
    pub size: u64,
    /// Initial linear memory in bytes.
    pub memory: u64,
    /// Number of data segments.
    pub segments: usize,
    /// Bytes stored of each part.
    pub stored: StoredSizes,
    /// Guest pages of RAM that are stored.
    pub ram_pages: u64,
    /// The header.
    pub header: ImageHeader,
}

fn raw_section(id: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    (body.len() as u32).encode(out);
    out.extend_from_slice(body);
}

fn custom_section(name: &str, body: &[u8], out: &mut Vec<u8>) {
    let mut all = Vec::new();
    name.encode(&mut all);
    all.extend_from_slice(body);
    raw_section(0, &all, out);
}

/// Options of [`pack`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Keep the names of the runtime's functions, for profilers and stack traces.
    pub keep_names: bool,
    /// Write a component: what is around the module.
    pub shell: Option<&'a Shell>,
}

/// Packs `parts` into the module `runtime` and writes the result to `out`, front to back. The parts may be
/// mappings of files: they are read once for zeros and once more when they are written. `progress` is told
/// the bytes written.
///
/// # Errors
/// See [`PackError`].
pub fn pack(
    runtime: &[u8],
    parts: &Parts<'_>,
    mut manifest: Manifest,
    options: Options<'_>,
    out: &mut impl Write,
    mut progress: impl FnMut(u64, u64),
) -> Result<Summary, PackError> {
    let template = Module::parse(runtime)?;
    check(&template, parts)?;
    let header_addr = template.header_addr.ok_or(PackError::NoHeader)?;
    if header_addr + header::SIZE as u64 > template.memory_size() {
        return Err(PackError::NoHeader);
    }
    let (image, memory) = memory::place(&template, parts)?;
    let block = image.encode();
    let mut pieces: Vec<Piece<'_>> = template
        .segments
        .iter()
        .map(|s| Piece { addr: s.addr, bytes: &runtime[s.offset..s.offset + s.len], mappable: false })
        .collect();
    pieces.extend(memory::pieces(header_addr, &block, &image, parts));

    let (stored, ram_pages) = stored_sizes(&image, runtime, &pieces);
    manifest.stored = stored.clone();
    manifest.ram_bytes = parts.ram_len;
    manifest.root_bytes = parts.root.len() as u64;
    manifest.snapshot = !parts.state.is_empty();
    manifest.snapshot_pages = if manifest.snapshot { ram_pages } else { 0 };

    let segments = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let (head, tail) = frame(&template, runtime, memory / WASM_PAGE, segments, &manifest, options);
    let before = options.shell.map_or(0, Shell::head_len);
    let data = DataSection::plan(before + head.len() as u64, template.memory_size(), &pieces)?;
    let module = head.len() as u64 + data.size() + tail.len() as u64;
    let after = options.shell.map_or(&[][..], Shell::tail);
    let size = before + module + after.len() as u64;
    let mut done = before + head.len() as u64;
    if let Some(shell) = options.shell {
        out.write_all(&shell.head(module)?)?;
    }
    out.write_all(&head)?;
    data.write(out, |n| {
        done += n;
        progress(done, size);
    })?;
    out.write_all(&tail)?;
    out.write_all(after)?;
    Ok(Summary { size, memory, segments: data.count(), stored, ram_pages, header: image })
}

fn check(template: &Module, parts: &Parts<'_>) -> Result<(), PackError> {
    if template.has_start {
        return Err(super::ModuleError::Unsupported("it has a start function").into());
    }
    if parts.config.is_empty() {
        return Err(PackError::Part("the image configuration is empty".into()));
    }
    if !parts.ram_len.is_multiple_of(PAGE as u64) || parts.ram_len == 0 {
        return Err(PackError::Part(format!(
            "guest RAM of {} bytes is not a number of pages",
            parts.ram_len
        )));
    }
    if !parts.ram.is_empty() && parts.ram.len() as u64 != parts.ram_len {
        return Err(PackError::Part(format!(
            "the snapshot has {} bytes of RAM, the image {}",
            parts.ram.len(),
            parts.ram_len
        )));
    }
    Ok(())
}

fn stored_sizes(image: &ImageHeader, runtime: &[u8], pieces: &[Piece<'_>]) -> (StoredSizes, u64) {
    let within = |span: header::Span| {
        pieces
            .iter()
            .filter(|p| span.len > 0 && p.addr >= span.addr && p.addr < span.end())
            .map(|p| p.bytes.len() as u64)
            .sum::<u64>()
    };
    let sizes = StoredSizes {
        runtime: runtime.len() as u64,
        config: within(image.config),
        state: within(image.state),
        kernel: within(image.kernel),
        initrd: within(image.initrd),
        ram: within(image.ram),
        root: within(image.root),
        lifted: within(image.lifted),
    };
    let pages = sizes.ram / PAGE as u64;
    (sizes, pages)
}

/// The bytes before and after the data section.
fn frame(
    template: &Module,
    bytes: &[u8],
    pages: u64,
    segments: u32,
    manifest: &Manifest,
    options: Options<'_>,
) -> (Vec<u8>, Vec<u8>) {
    let mut head = b"\0asm\x01\0\0\0".to_vec();
    let mut tail = Vec::new();
    // The data follows the code, or the last section that must come before it.
    let last = template.sections.iter().rposition(|s| s.id != 0 && s.id != 11).map_or(0, |i| i + 1);
    for (i, section) in template.sections.iter().enumerate() {
        let out = if i < last { &mut head } else { &mut tail };
        match (section.id, section.name.as_deref()) {
            (5, _) => {
                let mut memory = MemorySection::new();
                memory.memory(MemoryType {
                    minimum: pages,
                    maximum: template.max_pages,
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                });
                out.push(5);
                memory.encode(out);
            }
            (12, _) => {
                let mut body = Vec::new();
                segments.encode(&mut body);
                raw_section(12, &body, out);
            }
            (11, _) | (0, Some(SECTION)) => {}
            (0, Some("name")) if !options.keep_names => {}
            _ => out.extend_from_slice(&bytes[section.whole.clone()]),
        }
    }
    custom_section(SECTION, &manifest.to_json(), &mut head);
    (head, tail)
}
