//! Puts a kernel into memory and the processor at its entry, as a boot loader would.
//!
//! A `riscv64` kernel is an `Image` and learns of the machine from a device tree; an `x86_64` kernel is a
//! `vmlinux` and learns of it from boot parameters, an MP table and its command line.

use super::board::Slot;
use super::boot::{BootError, BootSource};
use super::ram_base;
use crate::cpu::Cpu;
use crate::memory::GuestMemory;
use forelift_abi::config::Arch;

/// Fills memory, and gives the processor at the kernel's entry. `slots` are the virtio devices that the
/// kernel is told of.
pub(crate) fn load(mem: &mut GuestMemory, slots: &[Slot], source: &BootSource<'_>) -> Result<Cpu, BootError> {
    mem.set_ram_base(ram_base(source.arch));
    match source.arch {
        #[cfg(feature = "riscv64")]
        Arch::Riscv64 => super::riscv64::boot::load(mem, slots, source).map(Cpu::Riscv64),
        #[cfg(feature = "x86_64")]
        Arch::X86_64 => super::x86_64::boot::load(mem, slots, source).map(Cpu::X86_64),
        #[allow(unreachable_patterns, reason = "a build for both")]
        other => Err(BootError::Arch(other.oci_name())),
    }
}
