//! Page tables (Privileged 4.4, 4.5).

use forelift_runtime::memory::GuestMemory;

/// Valid.
pub const V: u64 = 1;
/// Readable.
pub const R: u64 = 1 << 1;
/// Writable.
pub const W: u64 = 1 << 2;
/// Executable.
pub const X: u64 = 1 << 3;
/// For U mode.
pub const U: u64 = 1 << 4;
/// In every address space.
pub const G: u64 = 1 << 5;
/// Accessed.
pub const A: u64 = 1 << 6;
/// Dirty.
pub const D: u64 = 1 << 7;

/// Modes of address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Three levels, 39 bits.
    Sv39,
    /// Four levels, 48 bits.
    Sv48,
}

impl Mode {
    /// Number of levels; the leaves of 4 KiB pages are on level 0.
    pub fn levels(self) -> u32 {
        match self {
            Mode::Sv39 => 3,
            Mode::Sv48 => 4,
        }
    }
}

/// The tables of one address space.
#[derive(Clone, Copy, Debug)]
pub struct PageTables {
    mode: Mode,
    root: u64,
    next: u64,
}

/// Bytes that a leaf of `level` maps.
pub fn page_size(level: u32) -> u64 {
    4096 << (9 * level)
}

impl PageTables {
    /// Tables without an entry. Their pages are taken from the physical address `pool` on, which must be
    /// zeros.
    pub fn new(mode: Mode, pool: u64) -> Self {
        PageTables { mode, root: pool, next: pool + 4096 }
    }

    /// The value for `satp`.
    pub fn satp(&self, asid: u16) -> u64 {
        let mode = match self.mode {
            Mode::Sv39 => 8,
            Mode::Sv48 => 9,
        };
        mode << 60 | u64::from(asid) << 44 | self.root >> 12
    }

    /// End of what was taken from the pool.
    pub fn end(&self) -> u64 {
        self.next
    }

    /// Physical address of the entry for `va` on `level`; tables above it are made.
    ///
    /// # Panics
    /// When the pool is not in memory.
    pub fn entry(&mut self, mem: &mut GuestMemory, va: u64, level: u32) -> u64 {
        let mut table = self.root;
        for at in (level..self.mode.levels()).rev() {
            let entry = table + (va >> (12 + 9 * at) & 511) * 8;
            if at == level {
                return entry;
            }
            let pte = u64::from_le_bytes(mem.read_array(entry).expect("tables are in memory"));
            if pte & V == 0 {
                table = self.next;
                self.next += 4096;
                assert!(mem.write(entry, &(table >> 12 << 10 | V).to_le_bytes()));
            } else {
                table = pte >> 10 << 12;
            }
        }
        unreachable!("level {level} of {:?}", self.mode)
    }

    /// Maps the page of `va` to that of `pa` by a leaf on `level` with these flags; gives the entry's
    /// address.
    ///
    /// # Panics
    /// When the pool is not in memory.
    pub fn map(&mut self, mem: &mut GuestMemory, va: u64, pa: u64, flags: u64, level: u32) -> u64 {
        let entry = self.entry(mem, va, level);
        assert!(mem.write(entry, &(pa >> 12 << 10 | flags).to_le_bytes()));
        entry
    }
}
