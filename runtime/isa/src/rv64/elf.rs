//! Writes the smallest static ELF executable for riscv64 Linux: one readable, writable and executable
//! segment. (*System V Application Binary Interface*, "Object Files"; *RISC-V ELF Specification* for machine
//! and flags.)

use alloc::vec::Vec;

/// Offset of the segment in the file: a page, so that file and memory agree modulo the page size.
const OFFSET: usize = 4096;
/// EM_RISCV.
const MACHINE: u16 = 243;
/// EF_RISCV_RVC, EF_RISCV_FLOAT_ABI_DOUBLE.
const FLAGS: u32 = 1 | 4;

/// An executable that has `image` at address `base` (a multiple of 4096), zeros after it up to `size` bytes,
/// and starts at `entry`.
pub fn executable(base: u64, entry: u64, image: &[u8], size: u64) -> Vec<u8> {
    let mut elf = Vec::with_capacity(OFFSET + image.len());
    // Magic, 64 bits, little endian, version 1, System V.
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    elf.extend(2u16.to_le_bytes()); // ET_EXEC
    elf.extend(MACHINE.to_le_bytes());
    elf.extend(1u32.to_le_bytes());
    elf.extend(entry.to_le_bytes());
    elf.extend(64u64.to_le_bytes()); // program headers
    elf.extend(0u64.to_le_bytes()); // no section headers
    elf.extend(FLAGS.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes()); // PT_LOAD
    elf.extend(7u32.to_le_bytes()); // PF_R, PF_W, PF_X
    for word in [OFFSET as u64, base, base, image.len() as u64, size.max(image.len() as u64), 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.resize(OFFSET, 0);
    elf.extend(image);
    elf
}
