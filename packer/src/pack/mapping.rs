//! Initial linear memory, mapped from the image's file instead of copied.
//!
//! A private mapping of a file page costs nothing until the page is touched, and a page that is only read is
//! shared with every other run of the image. So a run starts in milliseconds, whatever the size of the image.
//! As with a running program, the file must not be overwritten in place while it is mapped (replacing it, as
//! `convert` does, is harmless); if it is truncated, the run ends with SIGBUS.

use std::{fs::File, io, os::fd::AsRawFd, ptr};

use super::module::Segment;

/// Segments below this many bytes are copied: a mapping costs system calls and a kernel object.
const WORTH_MAPPING: u64 = 64 << 10;
/// Most mappings of one image; Linux allows a process 65 530 (`vm.max_map_count`).
const MAX_MAPPINGS: usize = 16_000;

/// Size of the host's pages in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: a system call without side effects.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Where the bytes of a module are.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The module's bytes.
    pub bytes: &'a [u8],
    /// The file that holds them, and the offset of the first of them in it; `None` when there is no such
    /// file.
    pub file: Option<(&'a File, u64)>,
}

/// Maps or copies `segments` into the zeroed memory at `base`.
///
/// # Errors
/// When a mapping fails. Memory is then in an unknown state.
///
/// # Safety
/// `base..base+len` must be readable and writable private memory that nobody else refers to, `base`
/// page-aligned; it may be partly replaced by mappings of the file, which whoever unmaps the range takes down
/// with it.
pub unsafe fn populate(
    base: *mut u8,
    len: usize,
    source: Source<'_>,
    segments: &[Segment],
) -> io::Result<()> {
    let page = page_size() as u64;
    advise_huge(base, len, segments);
    let mut mappings = 0;
    for s in segments {
        let end = s.addr + s.len as u64;
        let bytes = source.bytes.get(s.offset..s.offset + s.len);
        let (Some(bytes), true) = (bytes, end <= len as u64) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "data segment outside of memory"));
        };
        let copy = |from: u64, to: u64| {
            // SAFETY: from..to is within the segment, which is within base..base+len and within `bytes`.
            unsafe {
                let src = bytes.as_ptr().add((from - s.addr) as usize);
                ptr::copy_nonoverlapping(src, base.add(from as usize), (to - from) as usize);
            }
        };
        let (first, last) = (s.addr.next_multiple_of(page), end / page * page);
        if let Some((file, start)) = source.file
            && mappings < MAX_MAPPINGS
            && last >= first + WORTH_MAPPING
        {
            let offset = start + s.offset as u64 + (first - s.addr);
            if offset.is_multiple_of(page) {
                // SAFETY: the range is the caller's to replace, and whole pages of it.
                unsafe { map(base.add(first as usize), (last - first) as usize, file, offset)? };
                mappings += 1;
                copy(s.addr, first);
                copy(last, end);
                continue;
            }
        }
        copy(s.addr, end);
    }
    Ok(())
}

/// Asks for huge pages where there is no segment: a guest touches its memory from one end on, and a page
/// fault for each 4 KiB costs more than clearing them. Hosts without huge pages refuse, which does not
/// matter.
fn advise_huge(base: *mut u8, len: usize, segments: &[Segment]) {
    /// Size of a huge page on x86-64 and AArch64.
    const HUGE: usize = 2 << 20;
    let mut used: Vec<(usize, usize)> =
        segments.iter().map(|s| (s.addr as usize, s.addr as usize + s.len)).collect();
    used.sort_unstable();
    used.push((len, len));
    let mut free = 0;
    for (begin, end) in used {
        let at = (base as usize + free).next_multiple_of(HUGE);
        let to = (base as usize + begin) / HUGE * HUGE;
        if to > at {
            // SAFETY: advice about memory that is the caller's.
            unsafe { libc::madvise(at as *mut libc::c_void, to - at, libc::MADV_HUGEPAGE) };
        }
        free = free.max(end);
    }
}

/// Maps `len` bytes of `file` at `at`, private, and replaces what was mapped there.
///
/// # Safety
/// `at..at+len` must be whole pages that may be replaced.
unsafe fn map(at: *mut u8, len: usize, file: &File, offset: u64) -> io::Result<()> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: the caller's promise.
    let got = unsafe {
        libc::mmap(
            at.cast(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_FIXED,
            file.as_raw_fd(),
            offset,
        )
    };
    if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Anonymous memory of our own for [`populate`], for runs without an engine.
pub struct Region {
    base: *mut u8,
    len: usize,
}

// SAFETY: the memory is owned by this value alone.
unsafe impl Send for Region {}

impl Region {
    /// Zeroed memory of `len` bytes; pages are taken when they are touched.
    ///
    /// # Errors
    /// When the host has not that much address space.
    pub fn new(len: usize) -> io::Result<Self> {
        let len = len.max(1);
        // SAFETY: a fresh anonymous mapping.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Region { base: base.cast(), len })
    }

    /// Its first byte.
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: a region has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, with whatever `populate` put over it.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn mapped_and_copied_bytes_agree() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..0x8_0000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        file.write_all(&bytes).unwrap();
        let segments = [
            Segment { addr: 0x1_0010, offset: 0x10, len: 0x4_0001 }, // agrees modulo a page: mapped
            Segment { addr: 0x8_0000, offset: 0x123, len: 0x2_0000 }, // does not: copied
            Segment { addr: 0x1_8005, offset: 0x7000, len: 9 },      // over the first
        ];
        let mut regions = Vec::new();
        for file in [Some((&file, 0)), None] {
            let region = Region::new(0x10_0000).unwrap();
            let source = Source { bytes: &bytes, file };
            // SAFETY: the region is ours.
            let got = unsafe {
                populate(region.base(), region.len(), source, &segments).unwrap();
                std::slice::from_raw_parts(region.base(), region.len()).to_vec()
            };
            regions.push(got);
        }
        assert!(regions[0] == regions[1]);
        assert_eq!(regions[0][0x1_0010..0x1_8005], bytes[0x10..0x8005]);
        assert_eq!(regions[0][0x1_8005..0x1_800e], bytes[0x7000..0x7009]);
        assert_eq!(regions[0][0x8_0000..0xa_0000], bytes[0x123..0x2_0123]);
        let outside = Segment { addr: 0xf_ffff, offset: 0, len: 2 };
        let region = Region::new(0x10_0000).unwrap();
        // SAFETY: the region is ours.
        let r = unsafe {
            populate(region.base(), region.len(), Source { bytes: &bytes, file: None }, &[outside])
        };
        assert!(r.is_err());
    }
}
