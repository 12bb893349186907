//! Kernels for tests.

use super::elf::{EM_X86_64, ET_EXEC, PROGRAM_HEADER, PT_LOAD};

/// An executable with one segment.
pub(crate) fn executable(entry: u64, address: u64, data: &[u8], size: u64) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64 + PROGRAM_HEADER, 0);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &ET_EXEC.to_le_bytes());
    put(18, &EM_X86_64.to_le_bytes());
    put(24, &entry.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(54, &(PROGRAM_HEADER as u16).to_le_bytes());
    put(56, &1u16.to_le_bytes());
    put(64, &PT_LOAD.to_le_bytes());
    put(64 + 8, &120u64.to_le_bytes());
    put(64 + 16, &u64::MAX.to_le_bytes());
    put(64 + 24, &address.to_le_bytes());
    put(64 + 32, &(data.len() as u64).to_le_bytes());
    put(64 + 40, &size.to_le_bytes());
    file.extend_from_slice(data);
    file
}
