//! A second implementation of address translation: the steps of Privileged 4.3.2, one by one.

use super::pages::{A, D, Mode, R, U, V, W, X, page_size};
use forelift_runtime::cpu::rv64::state::Privilege;
use forelift_runtime::memory::GuestMemory;

/// Kinds of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Instruction fetch.
    Fetch,
    /// Load.
    Load,
    /// Store and AMO.
    Store,
}

impl Access {
    /// Exception codes for page fault and access fault.
    pub fn causes(self) -> (u64, u64) {
        match self {
            Access::Fetch => (12, 1),
            Access::Load => (13, 5),
            Access::Store => (15, 7),
        }
    }
}

/// What decides over a translation besides the tables.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Mode of `satp`.
    pub mode: Mode,
    /// Physical address of the root table.
    pub root: u64,
    /// Privilege of the access.
    pub privilege: Privilege,
    /// `sstatus.SUM`.
    pub sum: bool,
    /// `sstatus.MXR`.
    pub mxr: bool,
}

/// A translation that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Physical address.
    pub pa: u64,
    /// Where the leaf entry is.
    pub entry: u64,
    /// What the leaf entry is after the access.
    pub pte: u64,
}

/// Translates, without a change to memory.
///
/// # Errors
/// The exception code.
pub fn walk(mem: &GuestMemory, c: &Conditions, va: u64, access: Access) -> Result<Found, u64> {
    let (page_fault, access_fault) = access.causes();
    let bits = 12 + 9 * c.mode.levels();
    let upper = va >> (bits - 1);
    if upper != 0 && upper != u64::MAX >> (bits - 1) {
        return Err(page_fault);
    }
    // 1. Let a be satp.ppn * PAGESIZE, and let i = LEVELS - 1.
    let mut a = c.root;
    let mut i = c.mode.levels() - 1;
    loop {
        // 2. Let pte be the value of the PTE at address a + va.vpn[i] * PTESIZE.
        let entry = a + (va >> (12 + 9 * i) & 0x1ff) * 8;
        let pte = mem.read_array(entry).map(u64::from_le_bytes).ok_or(access_fault)?;
        // 3. Not valid, or reserved: stop.
        if pte & V == 0 || (pte & R == 0 && pte & W != 0) || pte >> 54 != 0 {
            return Err(page_fault);
        }
        let ppn = pte >> 10 & ((1 << 44) - 1);
        // 4. A pointer to the next level.
        if pte & (R | X) == 0 {
            // D, A and U are reserved in a pointer.
            if i == 0 || pte & (D | A | U) != 0 {
                return Err(page_fault);
            }
            i -= 1;
            a = ppn * 4096;
            continue;
        }
        // 5. and 6. The leaf: privilege, kind of access.
        let by_privilege = match c.privilege {
            Privilege::User => pte & U != 0,
            Privilege::Supervisor if pte & U == 0 => true,
            Privilege::Supervisor => c.sum && access != Access::Fetch,
        };
        let by_kind = match access {
            Access::Fetch => pte & X != 0,
            Access::Load => pte & R != 0 || (c.mxr && pte & X != 0),
            Access::Store => pte & W != 0,
        };
        // 7. A misaligned superpage.
        let aligned = (ppn * 4096).is_multiple_of(page_size(i));
        if !by_privilege || !by_kind || !aligned {
            return Err(page_fault);
        }
        // 8. Accessed and dirty, by the hardware (Svadu).
        let dirty = if access == Access::Store { D } else { 0 };
        return Ok(Found { pa: ppn * 4096 + va % page_size(i), entry, pte: pte | A | dirty });
    }
}
