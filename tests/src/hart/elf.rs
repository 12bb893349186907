//! Reads what the tests need of a static ELF file for riscv64 (*System V Application Binary Interface*,
//! "Object Files").

use std::{fs, path::Path};

/// A program in memory.
#[derive(Clone, Debug)]
pub struct Executable {
    /// Address of the first instruction.
    pub entry: u64,
    /// Address and bytes of each segment, zeros included.
    pub segments: Vec<(u64, Vec<u8>)>,
    symbols: Vec<(String, u64)>,
}

/// Bytes of a file with the ways to read them.
struct File(Vec<u8>);

impl File {
    fn word(&self, at: u64, size: usize) -> u64 {
        let at = at as usize;
        let mut word = [0; 8];
        word[..size].copy_from_slice(&self.0[at..at + size]);
        u64::from_le_bytes(word)
    }

    fn name(&self, at: u64) -> String {
        let bytes = self.0[at as usize..].iter().copied().take_while(|b| *b != 0).collect();
        String::from_utf8(bytes).expect("a symbol's name")
    }

    fn segments(&self) -> Vec<(u64, Vec<u8>)> {
        let (table, size, count) = (self.word(32, 8), self.word(54, 2), self.word(56, 2));
        let headers = (0..count).map(|n| table + n * size);
        let loaded = headers.filter(|at| self.word(*at, 4) == 1);
        loaded
            .map(|at| {
                let (offset, address) = (self.word(at + 8, 8) as usize, self.word(at + 16, 8));
                let (in_file, in_memory) = (self.word(at + 32, 8) as usize, self.word(at + 40, 8) as usize);
                let mut bytes = self.0[offset..offset + in_file].to_vec();
                bytes.resize(in_memory, 0);
                (address, bytes)
            })
            .collect()
    }

    fn symbols(&self) -> Vec<(String, u64)> {
        let (table, size, count) = (self.word(40, 8), self.word(58, 2), self.word(60, 2));
        let section = |n: u64| table + n * size;
        let Some(symtab) = (0..count).map(section).find(|at| self.word(at + 4, 4) == 2) else {
            return Vec::new();
        };
        let strings = self.word(section(self.word(symtab + 40, 4)) + 24, 8);
        let (offset, bytes) = (self.word(symtab + 24, 8), self.word(symtab + 32, 8));
        let symbols = (0..bytes / 24).map(|n| offset + 24 * n);
        symbols.map(|at| (self.name(strings + self.word(at, 4)), self.word(at + 8, 8))).collect()
    }
}

impl Executable {
    /// Reads a file.
    ///
    /// # Panics
    /// When it is no static ELF file for riscv64.
    pub fn read(path: &Path) -> Self {
        let file = File(fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        let riscv = file.0.len() >= 64 && file.0.starts_with(b"\x7fELF\x02\x01") && file.word(18, 2) == 243;
        assert!(riscv, "{} is no ELF file for riscv64", path.display());
        Executable { entry: file.word(24, 8), segments: file.segments(), symbols: file.symbols() }
    }

    /// Address of a symbol.
    pub fn symbol(&self, name: &str) -> Option<u64> {
        self.symbols.iter().find(|s| s.0 == name).map(|s| s.1)
    }

    /// Addresses from the first byte to past the last one.
    pub fn extent(&self) -> std::ops::Range<u64> {
        let start = self.segments.iter().map(|s| s.0).min().unwrap_or(0);
        start..self.segments.iter().map(|s| s.0 + s.1.len() as u64).max().unwrap_or(0)
    }
}
