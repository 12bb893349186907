//! Puts a kernel into memory and the processor at its entry, as a boot loader would.
//!
//! | file | what it boots |
//! |---|---|
//! | `riscv64` | an `Image`, told of the machine by a device tree |
//! | `x86_64` | a `vmlinux`, told by boot parameters, an MP table and the command line |
//! | `elf` | reads the `vmlinux` |

use crate::cpu::Cpu;
use crate::dev::Devices;
use crate::machine::MachineError;
use crate::memory::GuestMemory;
use forelift_abi::config::Arch;
use forelift_abi::layout;

/// What the kernel is started with.
#[derive(Clone, Copy, Debug)]
pub struct BootSource<'a> {
    /// Guest architecture.
    pub arch: Arch,
    /// Kernel: an `Image` (riscv64), a `vmlinux` (x86_64).
    pub kernel: &'a [u8],
    /// Initial RAM file system: cpio, uncompressed.
    pub initrd: &'a [u8],
    /// Kernel command line. What the kernel needs to know of the machine is added to it.
    pub cmdline: &'a str,
    /// What the kernel's random number generator starts from. Fixed for a snapshot, which has to be
    /// reproducible: init credits fresh entropy before any program of the container runs.
    pub rng_seed: &'a [u8],
}

/// Where a machine's RAM starts.
pub fn ram_base(arch: Arch) -> u64 {
    match arch {
        Arch::Riscv64 => layout::RAM_BASE,
        Arch::X86_64 => layout::pc::RAM_BASE,
    }
}

/// Fills memory, and gives the processor at the kernel's entry.
pub(crate) fn load(
    mem: &mut GuestMemory,
    devices: &Devices,
    source: &BootSource<'_>,
) -> Result<Cpu, MachineError> {
    mem.set_ram_base(ram_base(source.arch));
    match source.arch {
        #[cfg(feature = "riscv64")]
        Arch::Riscv64 => super::riscv64::boot::load(mem, devices, source).map(Cpu::Riscv64),
        #[cfg(feature = "x86_64")]
        Arch::X86_64 => super::x86_64::boot::load(mem, devices, source).map(Cpu::X86_64),
        #[allow(unreachable_patterns, reason = "a build for both")]
        other => Err(crate::dev::RestoreError::Arch(other.oci_name()).into()),
    }
}
