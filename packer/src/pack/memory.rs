//! The image's linear memory: where each part is, and which bytes the file stores.
//!
//! The parts follow the runtime's own memory. First come the configuration, guest RAM and the data TLB:
//! lifted code contains the addresses of RAM and TLB, so they must not depend on parts that are made later.
//! Then come the root file system, kernel and initrd, machine state, and the index of the lifted code. A gap
//! of at least one page follows each part, so that a data segment can be padded with zeros (see
//! [`data`](super::data)). Pages of zeros are not stored. After the last part, the runtime's heap grows.

use forelift_abi::{
    header::{self, ImageHeader, Span},
    layout::REGION_ALIGN,
    lift,
};

use super::{
    PackError,
    module::{Module, WASM_PAGE},
};

/// Bytes of address space that are left to the runtime's heap, after the parts.
pub const HEAP_RESERVE: u64 = 64 << 20;
/// Bytes of a 32-bit memory that the parts and the runtime may take.
pub const MEMORY_LIMIT: u64 = (4 << 30) - HEAP_RESERVE;
/// Granularity of what is stored.
pub const PAGE: usize = 4096;
/// Most data segments that the packer makes; engines refuse more than 100 000.
const MAX_SEGMENTS: usize = 40_000;
/// Runs of up to this many pages of zeros are stored: another segment would cost a page of padding.
const MERGE_PAGES: usize = 2;

/// The contents of an image, all borrowed: nothing is copied before it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a> {
    /// Encoded [`ImageConfig`](forelift_abi::config::ImageConfig).
    pub config: &'a [u8],
    /// Machine state of the snapshot; empty for none.
    pub state: &'a [u8],
    /// Kernel `Image`; empty with a snapshot.
    pub kernel: &'a [u8],
    /// Initial RAM file system; empty with a snapshot.
    pub initrd: &'a [u8],
    /// Size of guest RAM in bytes.
    pub ram_len: u64,
    /// Contents of guest RAM: `ram_len` bytes, or empty for zeros.
    pub ram: &'a [u8],
    /// Root file system image; empty for none.
    pub root: &'a [u8],
    /// Length in bytes of a root file system that the host has instead; 0 for none.
    pub root_outside: u64,
    /// Encoded index of the lifted code; empty for none.
    pub lifted: &'a [u8],
}

/// Bytes to store at an address.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Address in linear memory.
    pub addr: u64,
    /// What is there.
    pub bytes: &'a [u8],
    /// Whether the bytes are placed in the file so that they can be mapped: file offset and address are equal
    /// modulo the page size.
    pub mappable: bool,
}

/// Places the parts after `template`'s memory; returns the header and the new size of memory in bytes.
///
/// # Errors
/// [`PackError::TooLarge`] when they do not fit into 32 bits of address, with the sum.
pub fn place(template: &Module, parts: &Parts<'_>) -> Result<(ImageHeader, u64), PackError> {
    let mut end = template.memory_size();
    let mut next = |len: u64, align: u64| {
        if len == 0 {
            return Span::default();
        }
        let addr = (end + PAGE as u64).next_multiple_of(align);
        end = addr + len;
        Span { addr, len }
    };
    let root_len = (parts.root.len() as u64).next_multiple_of(REGION_ALIGN);
    let tlb_len = if template.layout_addr.is_some() { lift::dtlb_bytes(parts.ram_len) } else { 0 };
    // In the order of their addresses.
    let image = ImageHeader {
        config: next(parts.config.len() as u64, 16),
        ram: next(parts.ram_len, WASM_PAGE),
        tlb: next(tlb_len, WASM_PAGE),
        root: next(root_len, WASM_PAGE),
        kernel: next(parts.kernel.len() as u64, PAGE as u64),
        initrd: next(parts.initrd.len() as u64, PAGE as u64),
        state: next(parts.state.len() as u64, 16),
        lifted: next(parts.lifted.len() as u64, 16),
        root_outside: parts.root_outside,
    };
    let size = (end + PAGE as u64).next_multiple_of(WASM_PAGE);
    let limit =
        (template.max_pages.unwrap_or(0x1_0000) * WASM_PAGE).saturating_sub(HEAP_RESERVE).min(MEMORY_LIMIT);
    check_sum(parts.ram_len, root_len, size - parts.ram_len - root_len, limit)?;
    Ok((image, size))
}

/// What lifted code needs to know of memory, in an image made from `template` (whose bytes are `bytes`) with
/// this encoded configuration; `None` when the runtime does not support lifted code of this version.
///
/// # Errors
/// [`PackError::TooLarge`].
pub fn lift_layout(
    template: &Module,
    bytes: &[u8],
    config: &[u8],
    ram_len: u64,
) -> Result<Option<lift::Layout>, PackError> {
    let Some(addr) = template.layout_addr else { return Ok(None) };
    let table = template.memory(bytes, addr, lift::Layout::SIZE);
    let Some(mut layout) = lift::Layout::decode(&table) else { return Ok(None) };
    let (image, _) = place(template, &Parts { config, ram_len, ..Parts::default() })?;
    layout.ram = image.ram.addr;
    layout.ram_len = ram_len;
    layout.dtlb_user = image.tlb.addr;
    layout.dtlb_entries = lift::dtlb_entries(ram_len);
    Ok(Some(layout))
}

/// Checks that guest RAM, root file system and the rest, in bytes, fit into `limit`.
///
/// # Errors
/// [`PackError::TooLarge`].
pub fn check_sum(ram: u64, root: u64, other: u64, limit: u64) -> Result<(), PackError> {
    let sum = ram.saturating_add(root).saturating_add(other);
    if sum > limit { Err(PackError::TooLarge { ram, root, other, sum, limit }) } else { Ok(()) }
}

/// Whether a page, or a part of one, is all zeros.
pub(crate) fn is_zero(page: &[u8]) -> bool {
    static ZERO: [u8; PAGE] = [0; PAGE];
    page == &ZERO[..page.len()]
}

/// Runs in ascending order, those with at most `gap` pages between them merged.
pub(crate) fn merged(runs: impl Iterator<Item = (usize, usize)>, gap: usize) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (start, end) in runs {
        match kept.last_mut() {
            Some((_, last)) if start - *last <= gap => *last = end,
            _ => kept.push((start, end)),
        }
    }
    kept
}

/// Runs of pages of `bytes` that are not zero, as ranges of page numbers. Runs with few pages of zeros
/// between them are merged.
pub(crate) fn runs(bytes: &[u8]) -> Vec<(usize, usize)> {
    let pages = bytes.chunks(PAGE).enumerate().filter(|(_, page)| !is_zero(page));
    let mut runs = merged(pages.map(|(n, _)| (n, n + 1)), MERGE_PAGES);
    let mut merge = MERGE_PAGES;
    while runs.len() > MAX_SEGMENTS / 2 {
        merge *= 2;
        runs = merged(runs.into_iter(), merge);
    }
    runs
}

/// All that is stored, in ascending order of address (but for the header block, which comes first).
pub fn pieces<'a>(
    header_addr: u64,
    block: &'a [u8; header::SIZE],
    at: &ImageHeader,
    parts: &Parts<'a>,
) -> Vec<Piece<'a>> {
    let mut out = vec![Piece { addr: header_addr, bytes: block, mappable: false }];
    let small = |out: &mut Vec<Piece<'a>>, span: Span, bytes: &'a [u8]| {
        if !bytes.is_empty() {
            out.push(Piece { addr: span.addr, bytes, mappable: false });
        }
    };
    small(&mut out, at.config, parts.config);
    let large =
        [(at.ram, parts.ram), (at.root, parts.root), (at.kernel, parts.kernel), (at.initrd, parts.initrd)];
    for (span, bytes) in large {
        for (from, to) in runs(bytes) {
            let (from, to) = (from * PAGE, (to * PAGE).min(bytes.len()));
            out.push(Piece { addr: span.addr + from as u64, bytes: &bytes[from..to], mappable: true });
        }
    }
    small(&mut out, at.state, parts.state);
    small(&mut out, at.lifted, parts.lifted);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_with_contents_are_stored() {
        let mut bytes = vec![0u8; 40 * PAGE + 7];
        for at in [3, 4, 7, 11] {
            bytes[at * PAGE + 100] = 1;
        }
        bytes[40 * PAGE + 6] = 9;
        assert_eq!(runs(&bytes), [(3, 8), (11, 12), (40, 41)]);
        assert_eq!(runs(&bytes[..2 * PAGE]), []);
    }

    #[test]
    fn many_islands_stay_below_the_engines_limit() {
        let mut bytes = vec![0u8; 100_000 * 4 * PAGE];
        for n in 0..100_000 {
            bytes[n * 4 * PAGE] = 1;
        }
        assert!(runs(&bytes).len() <= MAX_SEGMENTS / 2);
    }

    #[test]
    fn the_sum_is_named_when_it_does_not_fit() {
        let wasm = wat::parse_str("(module (memory 17))").unwrap();
        let template = Module::parse(&wasm).unwrap();
        let parts = Parts { config: b"x", ram_len: 4 << 30, ..Parts::default() };
        let text = place(&template, &parts).unwrap_err().to_string();
        assert!(text.contains("4098 MiB") && text.contains("--memory"), "{text}");
    }
}
