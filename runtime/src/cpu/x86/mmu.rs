//! Address translation: 4-level page walks, TLB fill, and memory accesses that miss the TLB.
//!
//! See SDM vol. 3 4.5-4.7. The walk sets accessed and dirty bits. Accesses may be misaligned and span
//! pages; both pages are translated before anything is written. Entries that are not present are never
//! cached.

use super::Context;
use super::cache::key;
use super::fault::{AC, Fault, Res};
use super::state::{CR0_PG, CR0_WP, EFER_NXE, ITLB_ENTRIES, ItlbEntry, TLB_KERNEL};
use forelift_abi::layout::PAGE_SIZE;

/// Kinds of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Instruction fetch.
    Fetch,
    /// Load.
    Load,
    /// Store, or the load of an instruction that will store to the same place.
    Store,
}

const P: u64 = 1;
const W: u64 = 1 << 1;
const U: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const G: u64 = 1 << 8;
const NX: u64 = 1 << 63;
/// Width of physical addresses in bits, as `cpuid` reports.
pub const PHYSICAL_BITS: u32 = 40;
/// Address bits of an entry beyond [`PHYSICAL_BITS`]: reserved.
const BEYOND: u64 = (1 << 52) - (1 << PHYSICAL_BITS);

/// Page-fault error code: the page was present.
const CODE_P: u32 = 1;
const CODE_W: u32 = 2;
const CODE_U: u32 = 4;
const CODE_RSVD: u32 = 8;
const CODE_I: u32 = 16;

/// Result of a translation.
#[derive(Clone, Copy)]
pub(crate) struct Translation {
    pub(crate) pa: u64,
    writable: bool,
    global: bool,
    /// Log2 of the page's size.
    shift: u8,
}

/// Whether `va` is canonical: bits 47 to 63 are equal.
#[inline]
pub fn is_canonical(va: u64) -> bool {
    ((va << 16) as i64 >> 16) as u64 == va
}

/// What the address of an operand of `size` bytes is checked against where alignment is (SDM vol. 3 table
/// 6-7): far pointers, 80-bit numbers and x87 environments go by their parts. Operands of 16 bytes raise #GP
/// by themselves if they have to be aligned.
fn alignment(size: usize) -> u64 {
    match size {
        2 | 14 => 2,
        4 | 6 | 28 => 4,
        8 | 10 => 8,
        _ => 1,
    }
}

impl Context<'_> {
    /// Translates `va` for `access` at the privilege level in force.
    pub(crate) fn translate(&mut self, va: u64, access: Access) -> Res<Translation> {
        let user = self.vcpu.cpl == 3;
        self.translate_as(va, access, user)
    }

    /// Translates `va` for `access` by user code or by the system (also the processor's own accesses to its
    /// tables).
    pub(crate) fn translate_as(&mut self, va: u64, access: Access, user: bool) -> Res<Translation> {
        if !is_canonical(va) {
            return Err(Fault::gp());
        }
        if self.vcpu.cr0 & CR0_PG == 0 {
            return Ok(Translation { pa: va, writable: true, global: true, shift: 12 });
        }
        let nxe = self.vcpu.msr.efer & EFER_NXE != 0;
        let mut code = if user { CODE_U } else { 0 };
        match access {
            Access::Fetch if nxe => code |= CODE_I,
            Access::Store => code |= CODE_W,
            _ => {}
        }
        let mut table = self.vcpu.cr3 & 0xf_ffff_ffff_f000;
        // Rights are the intersection of all levels'.
        let (mut rights, mut no_execute) = (W | U, false);
        for level in (0..4).rev() {
            let shift = 12 + 9 * level;
            let at = table + (va >> shift & 0x1ff) * 8;
            let entry = self.mem.read_array(at).map_or(0, u64::from_le_bytes);
            if entry & P == 0 {
                return Err(Fault::page(va, code));
            }
            let is_leaf = level == 0 || entry & PS != 0;
            let offset_mask = (1u64 << shift) - 1;
            let misplaced = is_leaf && level > 0 && entry & offset_mask & !0x1fff != 0;
            if entry & BEYOND != 0 || !nxe && entry & NX != 0 || level == 3 && entry & PS != 0 || misplaced {
                return Err(Fault::page(va, code | CODE_P | CODE_RSVD));
            }
            rights &= entry;
            no_execute |= entry & NX != 0;
            if !is_leaf {
                if entry & A == 0 {
                    self.mem.write(at, &(entry | A).to_le_bytes());
                }
                table = entry & 0xf_ffff_ffff_f000;
                continue;
            }
            let denied = match access {
                Access::Fetch => no_execute,
                Access::Load => false,
                Access::Store => rights & W == 0 && (user || self.vcpu.cr0 & CR0_WP != 0),
            };
            if denied || user && rights & U == 0 {
                return Err(Fault::page(va, code | CODE_P));
            }
            let wanted = entry | A | if access == Access::Store { D } else { 0 };
            if wanted != entry {
                self.mem.write(at, &wanted.to_le_bytes());
            }
            let may_write = rights & W != 0 || !user && self.vcpu.cr0 & CR0_WP == 0;
            // Bit 12 of a large page's entry is PAT.
            let base = entry & 0xf_ffff_ffff_f000 & !offset_mask;
            return Ok(Translation {
                pa: base | va & offset_mask,
                writable: may_write && wanted & D != 0,
                global: entry & G != 0,
                shift: shift as u8,
            });
        }
        Err(Fault::page(va, code))
    }

    /// Translates a data access and remembers the page when it is memory that is not watched.
    pub(crate) fn translate_data(&mut self, va: u64, access: Access) -> Res<u64> {
        let t = self.translate(va, access)?;
        let page_pa = t.pa & !(PAGE_SIZE - 1);
        if let Some(offset) = self.mem.ram_offset(page_pa)
            && !self.vcpu.has_watched_data(va)
            && !self.vcpu.checks_alignment
        {
            let fast_write = t.writable && !self.mem.is_code(page_pa);
            self.vcpu.large_pages.note(va, t.shift);
            let set = self.vcpu.tlb_index();
            if fast_write {
                self.mem.note_writable(offset);
            }
            self.vcpu.dtlb.fill(set, va & !(PAGE_SIZE - 1), offset, (true, fast_write), t.global);
        }
        Ok(t.pa)
    }

    /// Whether `size` bytes at `va` can be accessed through the TLB, now that their page has been looked up.
    pub(crate) fn enter(&mut self, va: u64, size: usize, access: Access) -> bool {
        Self::in_page(va) >= size
            && self.translate_data(va, access).is_ok()
            && self.known(va, size, access == Access::Store).is_some()
    }

    /// Bytes of `va`'s page from `va` on.
    fn in_page(va: u64) -> usize {
        (PAGE_SIZE - (va & (PAGE_SIZE - 1))) as usize
    }

    /// Translates `size` bytes at `va`: how many of them are in the first page, and where the two parts are.
    fn translate_span(&mut self, va: u64, size: usize, access: Access) -> Res<(usize, u64, u64)> {
        let split = Self::in_page(va).min(size);
        let low = self.translate_data(va, access)?;
        let high = match size - split {
            0 => 0,
            _ => self.translate_data(va.wrapping_add(split as u64), access)?,
        };
        // The processor's own accesses, also on the way to an inner level, are the system's.
        let checked = self.vcpu.checks_alignment && self.vcpu.cpl == 3;
        if checked && !va.is_multiple_of(alignment(size)) {
            return Err(Fault::with_code(AC, 0));
        }
        Ok((split, low, high))
    }

    /// Fills `bytes` (64 at most) from linear address `va`, as one access.
    pub(crate) fn load_bytes(&mut self, va: u64, bytes: &mut [u8]) -> Res<()> {
        self.load_as(va, bytes, Access::Load)
    }

    fn load_as(&mut self, va: u64, bytes: &mut [u8], access: Access) -> Res<()> {
        let (split, low, high) = self.translate_span(va, bytes.len(), access)?;
        self.vcpu.note_access(va, bytes.len(), false);
        let (first, second) = bytes.split_at_mut(split);
        self.read_physical(low, first);
        self.read_physical(high, second);
        Ok(())
    }

    /// Faults as a store of `size` (64 at most) bytes to linear address `va` would.
    pub(crate) fn probe_store(&mut self, va: u64, size: usize) -> Res<()> {
        self.translate_span(va, size, Access::Store).map(|_| ())
    }

    /// Writes `bytes` (64 at most) to linear address `va`, all or nothing.
    pub(crate) fn store_bytes(&mut self, va: u64, bytes: &[u8]) -> Res<()> {
        let (split, low, high) = self.translate_span(va, bytes.len(), Access::Store)?;
        self.vcpu.note_access(va, bytes.len(), true);
        let (first, second) = bytes.split_at(split);
        self.write_physical(low, first);
        self.write_physical(high, second);
        self.drop_dirty_code();
        Ok(())
    }

    /// Reads memory or a device. A device register is read in one piece if it can be.
    fn read_physical(&mut self, pa: u64, bytes: &mut [u8]) {
        let len = bytes.len();
        if let Some(memory) = self.mem.slice(pa, len) {
            bytes.copy_from_slice(memory);
        } else if matches!(len, 1 | 2 | 4 | 8) {
            self.bus.advance(self.vcpu.instret);
            let value = self.bus.read(self.mem, pa, len as u8);
            bytes.copy_from_slice(&value.to_le_bytes()[..len]);
        } else {
            for (n, byte) in bytes.iter_mut().enumerate() {
                *byte = self.bus.read(self.mem, pa + n as u64, 1) as u8;
            }
        }
    }

    fn write_physical(&mut self, pa: u64, bytes: &[u8]) {
        let len = bytes.len();
        if self.mem.write(pa, bytes) {
        } else if matches!(len, 1 | 2 | 4 | 8) {
            let mut word = [0; 8];
            word[..len].copy_from_slice(bytes);
            self.bus.advance(self.vcpu.instret);
            self.bus.write(self.mem, pa, len as u8, u64::from_le_bytes(word));
        } else {
            for (n, byte) in bytes.iter().enumerate() {
                self.bus.write(self.mem, pa + n as u64, 1, u64::from(*byte));
            }
        }
    }

    /// Offset in RAM of `size` bytes at `va` if the TLB answers it.
    #[inline]
    fn known(&self, va: u64, size: usize, write: bool) -> Option<u64> {
        let tlb = &self.vcpu.dtlb;
        let set = self.vcpu.tlb_index();
        tlb.lookup(set, write, va).filter(|_| va & (PAGE_SIZE - 1) <= PAGE_SIZE - size as u64)
    }

    /// Loads `size` (1, 2, 4, 8) bytes from linear address `va`, zero-extended.
    #[inline]
    pub(crate) fn load(&mut self, va: u64, size: usize) -> Res<u64> {
        let mut word = [0; 8];
        if let Some(offset) = self.known(va, size, false) {
            // SAFETY: the TLB gives offsets of whole pages of RAM, and the access is within the page.
            unsafe {
                let from = self.vcpu.dtlb.ram.add(offset as usize);
                core::ptr::copy_nonoverlapping(from, word.as_mut_ptr(), size.min(8));
            }
        } else {
            self.load_bytes(va, &mut word[..size])?;
        }
        Ok(u64::from_le_bytes(word))
    }

    /// Loads what the same instruction will store to: faults are those of a store.
    #[inline]
    pub(crate) fn load_for_store(&mut self, va: u64, size: usize) -> Res<u64> {
        if self.known(va, size, true).is_some() {
            return self.load(va, size);
        }
        let mut word = [0; 8];
        self.load_as(va, &mut word[..size], Access::Store)?;
        Ok(u64::from_le_bytes(word))
    }

    /// Loads 16 bytes.
    pub(crate) fn load128(&mut self, va: u64) -> Res<u128> {
        let mut bytes = [0; 16];
        self.load_bytes(va, &mut bytes)?;
        Ok(u128::from_le_bytes(bytes))
    }

    /// Stores the low `size` (1, 2, 4, 8) bytes of `value` to linear address `va`.
    #[inline]
    pub(crate) fn store(&mut self, va: u64, size: usize, value: u64) -> Res<()> {
        let word = value.to_le_bytes();
        if let Some(offset) = self.known(va, size, true) {
            // SAFETY: the TLB gives offsets of whole pages of RAM, and the access is within the page.
            unsafe {
                let to = self.vcpu.dtlb.ram.add(offset as usize);
                core::ptr::copy_nonoverlapping(word.as_ptr(), to, size.min(8));
            }
            return Ok(());
        }
        self.store_bytes(va, &word[..size])
    }

    /// Stores 16 bytes.
    pub(crate) fn store128(&mut self, va: u64, value: u128) -> Res<()> {
        self.store_bytes(va, &value.to_le_bytes())
    }

    /// Index in the block cache of the page that holds the code at `va`, and remembers it unless a breakpoint
    /// is in it.
    pub(crate) fn code_page(&mut self, va: u64) -> Res<u32> {
        let t = self.translate(va, Access::Fetch)?;
        let page_pa = t.pa & !(PAGE_SIZE - 1);
        if self.mem.read_ptr(page_pa, PAGE_SIZE as usize).is_none() {
            // Code in a device: nothing that a kernel does.
            return Err(Fault::gp());
        }
        let set = self.vcpu.tlb_index();
        if set == TLB_KERNEL && !t.global {
            self.vcpu.kernel_itlb_local = true;
        }
        self.vcpu.large_pages.note(va, t.shift);
        let page = match self.cache.find_page(self.mem, page_pa) {
            Some(page) => page,
            None => {
                let (page, emptied) = self.cache.add_page(self.mem, page_pa);
                if emptied {
                    self.vcpu.flush_itlb();
                }
                page
            }
        };
        if !self.vcpu.has_code_breakpoint(va) {
            let key = key(page, self.vcpu.long);
            self.vcpu.itlb[set][(va >> 12) as usize % ITLB_ENTRIES] =
                ItlbEntry { tag: va & !(PAGE_SIZE - 1), page, key };
        }
        Ok(page)
    }

    /// The bytes of an instruction at `va`, at most 15, and how many there are before a page that cannot be
    /// fetched, with its fault.
    pub(crate) fn fetch(&mut self, va: u64) -> Res<([u8; 15], usize, Option<Fault>)> {
        let mut bytes = [0; 15];
        let low = self.code_address_of(va)?;
        let split = Self::in_page(va).min(15);
        self.read_physical(low, &mut bytes[..split]);
        if split == 15 {
            return Ok((bytes, 15, None));
        }
        match self.code_address_of(va.wrapping_add(split as u64)) {
            Ok(high) => {
                self.read_physical(high, &mut bytes[split..]);
                Ok((bytes, 15, None))
            }
            Err(fault) => Ok((bytes, split, Some(fault))),
        }
    }

    /// Index in the block cache of the page that holds the code at `va`.
    #[inline]
    pub(crate) fn find_page(&mut self, va: u64) -> Res<u32> {
        let known = &self.vcpu.itlb[self.vcpu.tlb_index()][(va >> 12) as usize % ITLB_ENTRIES];
        if known.tag == va & !(PAGE_SIZE - 1) { Ok(known.page) } else { self.code_page(va) }
    }

    /// Physical address of the code at `va`.
    fn code_address_of(&mut self, va: u64) -> Res<u64> {
        let page = self.find_page(va)?;
        Ok(self.cache.pa(page) | va & (PAGE_SIZE - 1))
    }
}
