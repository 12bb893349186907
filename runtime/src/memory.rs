//! Guest physical memory: RAM, and the root file system as a read-only window that the block device serves
//! from.
//!
//! A root file system may also be outside, where only the host can read it; then there is no window.
//!
//! Natively both are mappings; in WebAssembly they are ranges of the module's own linear memory, where the
//! packer placed them. Either way a guest page is a host page, and the interpreter reaches it through a raw
//! pointer from the TLB.
//!
//! The module also keeps the set of RAM pages that hold decoded code. Whoever writes to such a page (a store,
//! a device) must drop what was decoded from it: [`GuestMemory::write`] and [`GuestMemory::slice_mut`] note
//! the page, and the CPU picks the notes up with [`GuestMemory::take_dirty_code`].

use forelift_abi::layout::{PAGE_SIZE, RAM_BASE, ROOT_BASE};

/// Guest physical memory. See the module's documentation.
pub struct GuestMemory {
    /// Physical address of RAM.
    ram_base: u64,
    ram: *mut u8,
    ram_len: usize,
    root: *const u8,
    root_len: usize,
    /// Bytes of a root file system that is outside, or 0.
    root_outside: u64,
    code: Vec<u64>,
    dirty_code: Vec<u32>,
    tlb_area: *mut u64,
    /// RAM pages that may have been written since [`GuestMemory::track_writes`], as bits.
    written: Option<Vec<u64>>,
    /// Keeps native mappings alive.
    _owner: Option<Box<dyn Send>>,
}

// SAFETY: the pointers are to memory that this value alone owns (or, in WebAssembly, that nothing else refers
// to).
unsafe impl Send for GuestMemory {}

impl GuestMemory {
    /// Wraps memory that lives at least as long as `owner` (or for ever).
    ///
    /// # Safety
    /// `ram..ram+ram_len` must be readable and writable, `root..root+root_len` readable, for the life of
    /// `owner`; no Rust reference to either may exist while this value does. Both are page-aligned in address
    /// and length.
    pub unsafe fn from_raw(
        ram: *mut u8,
        ram_len: usize,
        root: *const u8,
        root_len: usize,
        owner: Option<Box<dyn Send>>,
    ) -> Self {
        let pages = ram_len / PAGE_SIZE as usize;
        GuestMemory {
            ram_base: RAM_BASE,
            ram,
            ram_len,
            root,
            root_len,
            root_outside: 0,
            code: vec![0; pages.div_ceil(64)],
            dirty_code: Vec::new(),
            tlb_area: core::ptr::null_mut(),
            written: None,
            _owner: owner,
        }
    }

    /// Zeroed RAM of `ram_len` bytes and the root file system `root` (empty for none), as native mappings.
    ///
    /// # Errors
    /// When the host has not that much memory.
    #[cfg(not(target_family = "wasm"))]
    pub fn new(ram_len: usize, root: Option<memmap2::Mmap>) -> std::io::Result<Self> {
        let mut ram = memmap2::MmapOptions::new().len(ram_len).map_anon()?;
        let ptr = ram.as_mut_ptr();
        let (root_ptr, root_len) =
            root.as_ref().map_or((core::ptr::NonNull::dangling().as_ptr() as *const u8, 0), |m| {
                (m.as_ptr(), m.len() & !(PAGE_SIZE as usize - 1))
            });
        // SAFETY: both mappings move into the owner and are touched by nobody else.
        Ok(unsafe { Self::from_raw(ptr, ram_len, root_ptr, root_len, Some(Box::new((ram, root)))) })
    }

    /// Moves RAM to physical address `base`, a multiple of the page size. New memory has it at [`RAM_BASE`].
    pub fn set_ram_base(&mut self, base: u64) {
        self.ram_base = base;
    }

    /// Physical address of RAM.
    pub fn ram_base(&self) -> u64 {
        self.ram_base
    }

    /// Size of RAM in bytes.
    pub fn ram_len(&self) -> usize {
        self.ram_len
    }

    /// Size of the root file system window in bytes.
    pub fn root_len(&self) -> usize {
        self.root_len
    }

    /// Puts the root file system, of `len` bytes, outside, in place of a window.
    pub fn set_root_outside(&mut self, len: u64) {
        (self.root_len, self.root_outside) = (0, len);
    }

    /// Whether the host has the root file system.
    pub fn is_root_outside(&self) -> bool {
        self.root_outside > 0
    }

    /// Size of the root file system in bytes, wherever it is.
    pub fn disk_len(&self) -> u64 {
        if self.is_root_outside() { self.root_outside } else { self.root_len as u64 }
    }

    /// All of RAM.
    pub fn ram(&self) -> &[u8] {
        // SAFETY: the range is valid (from_raw) and borrowed from self.
        unsafe { core::slice::from_raw_parts(self.ram, self.ram_len) }
    }

    /// Host address of `len` bytes at physical address `pa` that may be read, or `None` when they are not all
    /// in one region of memory.
    #[inline]
    pub fn read_ptr(&self, pa: u64, len: usize) -> Option<*const u8> {
        let off = pa.wrapping_sub(self.ram_base);
        if off < self.ram_len as u64 && self.ram_len as u64 - off >= len as u64 {
            // SAFETY: inside the allocation, as just checked.
            return Some(unsafe { self.ram.add(off as usize) });
        }
        let off = pa.wrapping_sub(ROOT_BASE);
        if off < self.root_len as u64 && self.root_len as u64 - off >= len as u64 {
            // SAFETY: inside the allocation, as just checked.
            return Some(unsafe { self.root.add(off as usize) });
        }
        None
    }

    /// Host address of `len` bytes of RAM at `pa` that may be written; says nothing to the code tracker.
    #[inline]
    pub fn write_ptr(&self, pa: u64, len: usize) -> Option<*mut u8> {
        let off = pa.wrapping_sub(self.ram_base);
        if off < self.ram_len as u64 && self.ram_len as u64 - off >= len as u64 {
            // SAFETY: inside the allocation, as just checked.
            return Some(unsafe { self.ram.add(off as usize) });
        }
        None
    }

    /// Bytes of guest memory for a device to read.
    pub fn slice(&self, pa: u64, len: usize) -> Option<&[u8]> {
        // SAFETY: read_ptr checked the range.
        self.read_ptr(pa, len).map(|p| unsafe { core::slice::from_raw_parts(p, len) })
    }

    /// Bytes of guest RAM for a device to write; the pages count as written.
    pub fn slice_mut(&mut self, pa: u64, len: usize) -> Option<&mut [u8]> {
        let p = self.write_ptr(pa, len)?;
        self.note_write(pa, len);
        // SAFETY: write_ptr checked the range; the borrow is exclusive.
        Some(unsafe { core::slice::from_raw_parts_mut(p, len) })
    }

    /// Copies `bytes` into RAM; false when they do not fit there.
    pub fn write(&mut self, pa: u64, bytes: &[u8]) -> bool {
        match self.slice_mut(pa, bytes.len()) {
            Some(to) => {
                to.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Copies `len` bytes from `from` (RAM or root window) to `to` in RAM; false when either is not all
    /// there. The ranges may overlap.
    pub fn copy_within(&mut self, from: u64, to: u64, len: usize) -> bool {
        let (Some(source), Some(target)) = (self.read_ptr(from, len), self.write_ptr(to, len)) else {
            return false;
        };
        self.note_write(to, len);
        // SAFETY: both ranges were checked; `copy` allows overlap.
        unsafe { core::ptr::copy(source, target, len) };
        true
    }

    /// Reads an integer of `N` little-endian bytes.
    pub fn read_array<const N: usize>(&self, pa: u64) -> Option<[u8; N]> {
        self.slice(pa, N)?.try_into().ok()
    }

    /// Offset in RAM of the physical address `pa`.
    #[inline]
    pub fn ram_offset(&self, pa: u64) -> Option<u64> {
        let off = pa.wrapping_sub(self.ram_base);
        (off < self.ram_len as u64).then_some(off)
    }

    /// Start of RAM in the host's memory.
    pub(crate) fn ram_ptr(&self) -> *mut u8 {
        self.ram
    }

    /// Memory that was set aside for the data TLB: null for none.
    pub(crate) fn tlb_area(&self) -> *mut u64 {
        self.tlb_area
    }

    /// Sets memory aside for the data TLB, at an address that lifted code knows.
    ///
    /// # Safety
    /// `area` has [`dtlb_bytes`](forelift_abi::lift::dtlb_bytes) bytes for this RAM, is aligned to 8, and
    /// nobody else's as long as this value or a CPU that was made for it lives.
    pub unsafe fn set_tlb_area(&mut self, area: *mut u64) {
        self.tlb_area = area;
    }

    fn ram_page(&self, pa: u64) -> Option<usize> {
        let off = pa.wrapping_sub(self.ram_base);
        (off < self.ram_len as u64).then_some((off / PAGE_SIZE) as usize)
    }

    /// Marks the page of `pa` as holding decoded code. Pages of the root file system need no mark: nobody
    /// writes them.
    pub fn mark_code(&mut self, pa: u64) {
        if let Some(page) = self.ram_page(pa) {
            self.code[page / 64] |= 1 << (page % 64);
        }
    }

    /// Whether the page of `pa` holds decoded code.
    #[inline]
    pub fn is_code(&self, pa: u64) -> bool {
        self.ram_page(pa).is_some_and(|page| self.code[page / 64] >> (page % 64) & 1 != 0)
    }

    /// Notes from now on which pages of RAM may have been written. Pages that the data TLB can write already
    /// are the CPU's to tell.
    pub(crate) fn track_writes(&mut self) {
        let words = (self.ram_len / PAGE_SIZE as usize).div_ceil(64);
        match &mut self.written {
            Some(pages) => pages.fill(0),
            None => self.written = Some(vec![0; words]),
        }
    }

    /// The pages that may have been written since `track_writes`, as bits; empty when nobody
    /// asked for them.
    pub fn written(&self) -> &[u64] {
        self.written.as_deref().unwrap_or(&[])
    }

    /// Notes that the page at `offset` in RAM may be written from now on.
    #[inline]
    pub(crate) fn note_writable(&mut self, offset: u64) {
        if let Some(pages) = &mut self.written {
            let page = (offset / PAGE_SIZE) as usize;
            pages[page / 64] |= 1 << (page % 64);
        }
    }

    /// Notes that `len` bytes at `pa` were or will be written.
    #[inline]
    pub fn note_write(&mut self, pa: u64, len: usize) {
        if len == 0 {
            return;
        }
        let last = pa.saturating_add(len as u64 - 1) / PAGE_SIZE;
        for number in pa / PAGE_SIZE..=last {
            if self.written.is_some()
                && let Some(offset) = self.ram_offset(number * PAGE_SIZE)
            {
                self.note_writable(offset);
            }
            if self.is_code(number * PAGE_SIZE)
                && let Some(page) = self.ram_page(number * PAGE_SIZE)
            {
                self.code[page / 64] &= !(1 << (page % 64));
                self.dirty_code.push(page as u32);
            }
        }
    }

    /// Whether [`take_dirty_code`](Self::take_dirty_code) would give anything.
    #[inline]
    pub fn has_dirty_code(&self) -> bool {
        !self.dirty_code.is_empty()
    }

    /// RAM page numbers whose decoded code is stale, each once; their marks are gone.
    pub fn take_dirty_code(&mut self) -> Vec<u32> {
        core::mem::take(&mut self.dirty_code)
    }

    /// Forgets all marks (all decoded code was dropped).
    pub fn clear_code_marks(&mut self) {
        self.code.fill(0);
        self.dirty_code.clear();
    }
}
