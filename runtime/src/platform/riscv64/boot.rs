//! A riscv64 `Image` (*Documentation/arch/riscv/{boot,boot-image-header}.rst*).

use super::fdt;
use crate::cpu::rv64::Cpu;
use crate::memory::GuestMemory;
use crate::platform::board::Slot;
use crate::platform::boot::{BootError, BootSource, MIN_RAM};
use forelift_abi::layout::{KERNEL_OFFSET, PAGE_SIZE, RAM_BASE};

/// Checks the header of an `Image` and gives the size in bytes that the kernel takes in RAM, bss included.
fn kernel_size(kernel: &[u8]) -> Result<u64, BootError> {
    const WANTED: &str = "a riscv64 kernel Image, an uncompressed `arch/riscv/boot/Image`";
    let fail = |why| BootError::Kernel { wanted: WANTED, why };
    let header = kernel.first_chunk::<64>().ok_or(fail("shorter than its header"))?;
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    if header[0x38..0x3c] != *b"RSC\x05" {
        return Err(fail("bad magic"));
    }
    let (offset, size) = (word(8), word(16));
    if offset != KERNEL_OFFSET {
        return Err(fail("load offset is not 2 MiB"));
    }
    if size < kernel.len() as u64 || size > 1 << 30 {
        return Err(fail("size field is implausible: the file is truncated or damaged"));
    }
    Ok(size)
}

/// Kernel, initial file system and device tree, one after the other.
pub(in crate::platform) fn load(
    mem: &mut GuestMemory,
    slots: &[Slot],
    source: &BootSource<'_>,
) -> Result<Cpu, BootError> {
    let kernel_len = kernel_size(source.kernel)?;
    let ram = mem.ram_len() as u64;
    let initrd_len = source.initrd.len() as u64;
    let too_small = BootError::Ram { ram, kernel: kernel_len, initrd: initrd_len };
    let kernel_at = RAM_BASE + KERNEL_OFFSET;
    let initrd_at = (kernel_at + kernel_len).next_multiple_of(PAGE_SIZE);
    let config = fdt::Config {
        ram_len: ram,
        bootargs: source.cmdline,
        initrd: (initrd_len > 0).then_some((initrd_at, initrd_at + initrd_len)),
        rng_seed: source.rng_seed,
        mmu: fdt::MmuType::Sv39,
    };
    let tree = fdt::build(&config, slots).map_err(|e| BootError::CommandLine(e.to_string()))?;
    let tree_at = (initrd_at + initrd_len).next_multiple_of(PAGE_SIZE);
    let placed = ram >= MIN_RAM
        && mem.write(kernel_at, source.kernel)
        && mem.write(initrd_at, source.initrd)
        && mem.write(tree_at, &tree);
    if !placed {
        return Err(too_small);
    }
    let mut cpu = Cpu::new(mem);
    // The kernel takes the widest mode it is given; a walk of three levels is enough for such a machine, and
    // cheaper.
    cpu.hart.max_satp_mode = 8;
    cpu.hart.pc = kernel_at;
    cpu.hart.x[10] = 0;
    cpu.hart.x[11] = tree_at;
    Ok(cpu)
}
