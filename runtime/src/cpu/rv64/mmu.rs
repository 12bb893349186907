//! Address translation: Sv39 and Sv48 page walks, TLB fill, and the slow paths of loads and stores.
//!
//! Privileged 4.3-4.5. Accessed and dirty bits are set by the walk, as hardware may. Misaligned loads and
//! stores work, also across pages (both halves are translated before anything is written); misaligned atomics
//! raise the exception. Invalid entries are never cached (Svvptc).

use super::Context;
use super::exception::Exception;
use super::state::{ITLB_ENTRIES, ItlbEntry, Privilege};
use forelift_abi::layout::PAGE_SIZE;

/// Kinds of access, as the page tables and the exception codes tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Instruction fetch.
    Fetch,
    /// Load or load-reserved.
    Load,
    /// Store, store-conditional or AMO.
    Store,
}

impl Access {
    /// The page-fault exception for this access to `va`.
    fn page_fault(self, va: u64) -> Exception {
        let cause = match self {
            Access::Fetch => 12,
            Access::Load => 13,
            Access::Store => 15,
        };
        Exception { cause, value: va }
    }

    /// The access-fault exception for this access to `va`.
    fn access_fault(self, va: u64) -> Exception {
        let cause = match self {
            Access::Fetch => 1,
            Access::Load => 5,
            Access::Store => 7,
        };
        Exception { cause, value: va }
    }

    /// The misaligned exception for this access to `va`.
    fn misaligned(self, va: u64) -> Exception {
        let cause = match self {
            Access::Fetch => 0,
            Access::Load => 4,
            Access::Store => 6,
        };
        Exception { cause, value: va }
    }
}

const V: u64 = 1;
const R: u64 = 1 << 1;
const W: u64 = 1 << 2;
const X: u64 = 1 << 3;
const U: u64 = 1 << 4;
const G: u64 = 1 << 5;
const A: u64 = 1 << 6;
const D: u64 = 1 << 7;
/// Bits 54-63: reserved for extensions that this machine does not have (Svnapot, Svpbmt).
const RESERVED: u64 = 0x3ff << 54;

/// Result of a translation.
#[derive(Clone, Copy)]
pub(crate) struct Translation {
    pub(crate) pa: u64,
    readable: bool,
    writable: bool,
    global: bool,
    /// Log2 of the page's size.
    shift: u8,
}

impl Context<'_> {
    /// Translates `va` for `access` at the privilege in force.
    pub(crate) fn translate(&mut self, va: u64, access: Access) -> Result<Translation, Exception> {
        let satp = self.hart.satp;
        let levels = match satp >> 60 {
            8 => 3,
            9 => 4,
            _ => return Ok(Translation { pa: va, readable: true, writable: true, global: true, shift: 12 }),
        };
        let fault = access.page_fault(va);
        let unused = 64 - (12 + 9 * levels);
        if ((va << unused) as i64 >> unused) as u64 != va {
            return Err(fault);
        }
        let mut table = (satp & 0xfff_ffff_ffff) << 12;
        let mut global = false;
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let pte_pa = table + (va >> shift & 0x1ff) * 8;
            let pte = self.mem.read_array(pte_pa).map(u64::from_le_bytes).ok_or(access.access_fault(va))?;
            if pte & V == 0 || pte & RESERVED != 0 || pte & (R | W) == W {
                return Err(fault);
            }
            global |= pte & G != 0;
            let base = pte >> 10 << 12 & 0xff_ffff_ffff_f000;
            if pte & (R | X) == 0 {
                if pte & (U | A | D) != 0 {
                    return Err(fault);
                }
                table = base;
                continue;
            }
            let offset_mask = (1u64 << shift) - 1;
            if base & offset_mask != 0 || !self.permitted(pte, access) {
                return Err(fault);
            }
            let wanted = pte | A | if access == Access::Store { D } else { 0 };
            if wanted != pte && !self.mem.write(pte_pa, &wanted.to_le_bytes()) {
                return Err(access.access_fault(va));
            }
            return Ok(Translation {
                pa: base | va & offset_mask,
                readable: pte & R != 0 || self.hart.mxr && pte & X != 0,
                writable: wanted & (W | D) == W | D,
                global,
                shift: shift as u8,
            });
        }
        Err(fault)
    }

    fn permitted(&self, pte: u64, access: Access) -> bool {
        let level = match self.hart.privilege {
            Privilege::User => pte & U != 0,
            Privilege::Supervisor => pte & U == 0 || self.hart.sum && access != Access::Fetch,
        };
        let kind = match access {
            Access::Fetch => pte & X != 0,
            Access::Load => pte & R != 0 || self.hart.mxr && pte & X != 0,
            Access::Store => pte & W != 0,
        };
        level && kind
    }

    /// Translates a data access and remembers the page when it is memory.
    fn translate_data(&mut self, va: u64, access: Access) -> Result<u64, Exception> {
        let t = self.translate(va, access)?;
        let page_pa = t.pa & !(PAGE_SIZE - 1);
        if let Some(offset) = self.mem.ram_offset(page_pa) {
            let fast_write = t.writable && !self.mem.is_code(page_pa);
            self.hart.large_pages.note(va, t.shift);
            let set = self.hart.tlb_index();
            if fast_write {
                self.mem.note_writable(offset);
            }
            self.hart.dtlb.fill(set, va & !(PAGE_SIZE - 1), offset, (t.readable, fast_write), t.global);
        }
        Ok(t.pa)
    }

    /// A load that the TLB did not answer. `size` is 1, 2, 4 or 8.
    pub(crate) fn load(&mut self, va: u64, size: usize) -> Result<u64, Exception> {
        let in_page = (PAGE_SIZE - (va & (PAGE_SIZE - 1))) as usize;
        if in_page >= size {
            let pa = self.translate_data(va, Access::Load)?;
            return self.load_physical(pa, va, size);
        }
        // Across a page boundary: byte by byte would be simplest, but a device must never see pieces.
        let low_pa = self.translate_data(va, Access::Load)?;
        let high_va = va.wrapping_add(in_page as u64);
        let high_pa = self.translate_data(high_va, Access::Load)?;
        let mut bytes = [0u8; 8];
        let low = self.mem.slice(low_pa, in_page).ok_or(Access::Load.access_fault(va))?;
        bytes[..in_page].copy_from_slice(low);
        let high = self.mem.slice(high_pa, size - in_page).ok_or(Access::Load.access_fault(high_va))?;
        bytes[in_page..size].copy_from_slice(high);
        Ok(u64::from_le_bytes(bytes))
    }

    fn load_physical(&mut self, pa: u64, va: u64, size: usize) -> Result<u64, Exception> {
        if let Some(bytes) = self.mem.slice(pa, size) {
            let mut word = [0u8; 8];
            word[..size].copy_from_slice(bytes);
            return Ok(u64::from_le_bytes(word));
        }
        if !pa.is_multiple_of(size as u64) {
            return Err(Access::Load.misaligned(va));
        }
        let read = self.bus.read(self.mem, pa, size as u8).ok_or(Access::Load.access_fault(va));
        self.drop_external_interrupt();
        read
    }

    /// After an access to a device: an interrupt that the guest has claimed or that its device has withdrawn
    /// is pending no more. (One that comes up is for the end of the slice. If it stayed pending until then,
    /// too, its handler would be entered over and over.)
    fn drop_external_interrupt(&mut self) {
        if self.hart.external_pending {
            self.hart.external_pending = self.bus.external_interrupt();
        }
    }

    /// A store that the TLB did not answer. `size` is 1, 2, 4 or 8.
    pub(crate) fn store(&mut self, va: u64, size: usize, value: u64) -> Result<(), Exception> {
        let bytes = value.to_le_bytes();
        let in_page = (PAGE_SIZE - (va & (PAGE_SIZE - 1))) as usize;
        if in_page >= size {
            let pa = self.translate_data(va, Access::Store)?;
            if self.mem.write(pa, &bytes[..size]) {
                self.drop_dirty_code();
                return Ok(());
            }
            if !pa.is_multiple_of(size as u64) {
                return Err(Access::Store.misaligned(va));
            }
            let written =
                self.bus.write(self.mem, pa, size as u8, value).ok_or(Access::Store.access_fault(va));
            // The device may have written code, by DMA.
            self.drop_dirty_code();
            self.drop_external_interrupt();
            return written;
        }
        let low_pa = self.translate_data(va, Access::Store)?;
        let high_va = va.wrapping_add(in_page as u64);
        let high_pa = self.translate_data(high_va, Access::Store)?;
        if self.mem.write_ptr(low_pa, in_page).is_none() {
            return Err(Access::Store.access_fault(va));
        }
        if !self.mem.write(high_pa, &bytes[in_page..size]) {
            return Err(Access::Store.access_fault(high_va));
        }
        self.mem.write(low_pa, &bytes[..in_page]);
        self.drop_dirty_code();
        Ok(())
    }

    /// Physical address for an aligned atomic access of `size` bytes to memory; a device gives an access
    /// fault.
    pub(crate) fn atomic_address(&mut self, va: u64, size: usize, access: Access) -> Result<u64, Exception> {
        if !va.is_multiple_of(size as u64) {
            return Err(access.misaligned(va));
        }
        let pa = self.translate_data(va, access)?;
        let there = match access {
            Access::Store => self.mem.write_ptr(pa, size).is_some(),
            _ => self.mem.read_ptr(pa, size).is_some(),
        };
        if there { Ok(pa) } else { Err(access.access_fault(va)) }
    }

    /// Index in the block cache of the page that holds the code at `va`, and remembers it.
    pub(crate) fn code_page(&mut self, va: u64) -> Result<u32, Exception> {
        let t = self.translate(va, Access::Fetch)?;
        let page_pa = t.pa & !(PAGE_SIZE - 1);
        if self.mem.read_ptr(page_pa, PAGE_SIZE as usize).is_none() {
            return Err(Access::Fetch.access_fault(va));
        }
        if self.hart.privilege == Privilege::Supervisor && !t.global {
            self.hart.kernel_itlb_local = true;
        }
        self.hart.large_pages.note(va, t.shift);
        let page = match self.cache.find_page(self.mem, page_pa) {
            Some(page) => page,
            None => {
                let (page, emptied) = self.cache.add_page(self.mem, page_pa);
                if emptied {
                    self.hart.flush_itlb();
                    self.forget_profile();
                }
                page
            }
        };
        let privilege = self.hart.privilege;
        self.bind_lifted(page, privilege);
        if let Some(profile) = self.profile.as_deref_mut() {
            profile.note_page(page_pa, va & !(PAGE_SIZE - 1), privilege.mode(), self.hart.satp);
        }
        let code = self.cache.page(page);
        self.hart.itlb[privilege as usize][(va >> 12) as usize % ITLB_ENTRIES] = ItlbEntry {
            tag: va & !(PAGE_SIZE - 1),
            page,
            content: code.content[privilege as usize],
            blocks: code.blocks.as_ptr(),
            lifted: code.lifted(privilege),
        };
        Ok(page)
    }

    /// Fetches the instruction at `va`, which may straddle two pages.
    pub(crate) fn fetch(&mut self, va: u64) -> Result<u32, Exception> {
        let low = self.fetch_half(va)?;
        let high = if low & 3 == 3 { self.fetch_half(va.wrapping_add(2))? } else { 0 };
        Ok(u32::from(low) | u32::from(high) << 16)
    }

    fn fetch_half(&mut self, va: u64) -> Result<u16, Exception> {
        let pa = self.translate(va, Access::Fetch)?.pa;
        self.mem.read_array(pa).map(u16::from_le_bytes).ok_or(Access::Fetch.access_fault(va))
    }
}
