//! An x86_64 `vmlinux` by the 64-bit boot protocol (*Documentation/arch/x86/{boot,zero-page}.rst*, "64-bit
//! Boot Protocol"): long mode with the first 4 GiB mapped to themselves, flat segments, RSI at the boot
//! parameters.

use super::{elf, mptable};
use crate::cpu::x86::{Cpu, cpuid, state};
use crate::memory::GuestMemory;
use crate::platform::board::Slot;
use crate::platform::boot::{BootError, BootSource, MIN_RAM};
use forelift_abi::layout::PAGE_SIZE;
use forelift_abi::layout::pc::RAM_END;

// Places in the first 640 KiB, which the kernel leaves alone until it has read what is there.
const GDT: u64 = 0x500;
const BOOT_PARAMS: u64 = 0x7000;
const SEED: u64 = 0x8000;
/// Page tables: one of level 4, one of level 3, four of level 2.
const TABLES: u64 = 0x9000;
const STACK: u64 = 0x8_0000;
const CMDLINE: u64 = 0x2_0000;
/// Longest command line that the kernel takes (`COMMAND_LINE_SIZE`).
const CMDLINE_SIZE: usize = 2048;
/// Above the hole below 1 MiB.
const HIGH: u64 = 0x10_0000;

/// Selectors that the protocol prescribes, and a task state, which `ltr` would have loaded.
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;
const DESCRIPTORS: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

/// Offsets in the boot parameters.
mod param {
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const LOADER: usize = 0x210;
    pub(super) const LOADFLAGS: usize = 0x211;
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const CMD_LINE_PTR: usize = 0x228;
    pub(super) const ALIGNMENT: usize = 0x230;
    pub(super) const SETUP_DATA: usize = 0x250;
    pub(super) const E820_TABLE: usize = 0x2d0;
}

/// Setup data: a seed for the random number generator.
const SETUP_RNG_SEED: u32 = 9;
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

const P: u64 = 1;
const W: u64 = 2;
const LARGE: u64 = 1 << 7;

/// Where things are.
struct Places {
    ram: u64,
    initrd: u64,
    initrd_len: u64,
}

/// The zero page.
fn boot_params(places: &Places) -> Vec<u8> {
    let mut page = vec![0; PAGE_SIZE as usize];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(param::BOOT_FLAG, &0xaa55u16.to_le_bytes());
    put(param::MAGIC, b"HdrS");
    put(param::VERSION, &0x20fu16.to_le_bytes());
    // A loader without a number of its own; the kernel is loaded high.
    put(param::LOADER, &[0xff]);
    put(param::LOADFLAGS, &[1]);
    if places.initrd_len > 0 {
        // Both below 4 GiB, as all of RAM.
        put(param::RAMDISK_IMAGE, &(places.initrd as u32).to_le_bytes());
        put(param::RAMDISK_SIZE, &(places.initrd_len as u32).to_le_bytes());
    }
    put(param::CMD_LINE_PTR, &(CMDLINE as u32).to_le_bytes());
    put(param::ALIGNMENT, &0x20_0000u32.to_le_bytes());
    put(param::SETUP_DATA, &SEED.to_le_bytes());
    let low = mptable::ADDRESS;
    let map = [(0, low, E820_RAM), (low, mptable::ROOM, E820_RESERVED), (HIGH, places.ram - HIGH, E820_RAM)];
    put(param::E820_ENTRIES, &[map.len() as u8]);
    for (n, (start, len, kind)) in map.into_iter().enumerate() {
        let at = param::E820_TABLE + 20 * n;
        put(at, &start.to_le_bytes());
        put(at + 8, &len.to_le_bytes());
        put(at + 16, &kind.to_le_bytes());
    }
    page
}

/// Identity mapping of the first 4 GiB by pages of 2 MiB.
fn page_tables() -> Vec<u8> {
    let mut entries = vec![0u64; 6 * 512];
    entries[0] = (TABLES + PAGE_SIZE) | P | W;
    for n in 0..4 {
        entries[512 + n] = (TABLES + (2 + n as u64) * PAGE_SIZE) | P | W;
    }
    for n in 0..4 * 512 {
        entries[1024 + n] = (n as u64) << 21 | P | W | LARGE;
    }
    entries.iter().flat_map(|e| e.to_le_bytes()).collect()
}

/// One piece of setup data: no next one, kind, length, bytes.
fn seed(bytes: &[u8]) -> Vec<u8> {
    let mut data = vec![0; 8];
    data.extend_from_slice(&SETUP_RNG_SEED.to_le_bytes());
    data.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    data.extend_from_slice(bytes);
    data
}

/// Names the virtio devices for the kernel's command line, as a machine without a device tree has to (Linux's
/// *drivers/virtio/virtio_mmio.c*).
fn virtio_cmdline(slots: &[Slot]) -> String {
    let names = slots.iter().map(|Slot { base, irq }| format!("virtio_mmio.device=4K@{base:#x}:{irq}"));
    names.collect::<Vec<_>>().join(" ")
}

/// Kernel where it wants to be, initial file system after it, the rest below 640 KiB.
pub(in crate::platform) fn load(
    mem: &mut GuestMemory,
    slots: &[Slot],
    source: &BootSource<'_>,
) -> Result<Cpu, BootError> {
    let wanted = "an x86_64 vmlinux";
    let kernel = elf::parse(source.kernel).map_err(|why| BootError::Kernel { wanted, why })?;
    if kernel.segments.iter().any(|s| s.size > 0 && s.address < HIGH) {
        return Err(BootError::Kernel { wanted, why: "a segment is below 1 MiB" });
    }
    let ram = mem.ram_len() as u64;
    if ram > RAM_END {
        return Err(BootError::TooMuchRam { ram, most: RAM_END });
    }
    let cmdline = [source.cmdline, &virtio_cmdline(slots)].join(" ");
    if cmdline.len() >= CMDLINE_SIZE || cmdline.contains('\0') {
        let why = format!("{} bytes, at most {} and none of them zero", cmdline.len(), CMDLINE_SIZE - 1);
        return Err(BootError::CommandLine(why));
    }
    let initrd_len = source.initrd.len() as u64;
    let initrd = kernel.end().next_multiple_of(PAGE_SIZE);
    let fits = |mem: &GuestMemory, at, len: u64| {
        usize::try_from(len).is_ok_and(|len| len == 0 || mem.write_ptr(at, len).is_some())
    };
    let mut placed = ram >= MIN_RAM
        && kernel
            .segments
            .iter()
            .all(|s| fits(mem, s.address, s.size) && (s.data.is_empty() || mem.write(s.address, s.data)));
    placed &= initrd_len == 0 || mem.write(initrd, source.initrd);
    let seed = seed(&source.rng_seed[..source.rng_seed.len().min(PAGE_SIZE as usize - 16)]);
    let descriptors: Vec<u8> = DESCRIPTORS.iter().flat_map(|d| d.to_le_bytes()).collect();
    let [signature, _, _, features] = cpuid::leaf(1, 0);
    let mut text = cmdline.into_bytes();
    text.push(0);
    for (at, bytes) in [
        (GDT, descriptors),
        (BOOT_PARAMS, boot_params(&Places { ram: ram.max(HIGH), initrd, initrd_len })),
        (SEED, seed),
        (TABLES, page_tables()),
        (CMDLINE, text),
        (mptable::ADDRESS, mptable::build(signature, features)),
    ] {
        placed &= mem.write(at, &bytes);
    }
    if !placed {
        return Err(BootError::Ram { ram, kernel: kernel.end(), initrd: initrd_len });
    }
    Ok(processor(mem, kernel.entry))
}

/// A processor at the kernel's entry.
fn processor(mem: &GuestMemory, entry: u64) -> Cpu {
    let mut cpu = Cpu::new(mem);
    let hart = &mut *cpu.vcpu;
    for segment in [state::ES, state::SS, state::DS, state::FS, state::GS] {
        hart.segments[segment].selector = BOOT_DS;
    }
    hart.segments[state::CS].selector = BOOT_CS;
    hart.gdtr = state::Table { base: GDT, limit: 8 * DESCRIPTORS.len() as u16 - 1 };
    hart.cr3 = TABLES;
    hart.cr0 |= state::CR0_PG;
    hart.rip = entry;
    // RSP and RSI.
    hart.r[4] = STACK;
    hart.r[6] = BOOT_PARAMS;
    cpu
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::Devices;
    use crate::platform::x86_64::testing::executable;
    use forelift_abi::config::Arch;

    const RAM: usize = 64 << 20;

    fn source<'a>(kernel: &'a [u8], cmdline: &'a str) -> BootSource<'a> {
        BootSource { arch: Arch::X86_64, kernel, initrd: b"initial", cmdline, rng_seed: &[7; 64] }
    }

    fn memory(len: usize) -> GuestMemory {
        let mut mem = GuestMemory::new(len, None).unwrap();
        mem.set_ram_base(0);
        mem
    }

    #[test]
    fn everything_is_where_the_protocol_says() {
        let kernel = executable(0x100_0010, 0x100_0000, &[0x90; 0x123], 0x20_1000);
        let mut mem = memory(RAM);
        let slots = Devices::new(Arch::X86_64, 0).unwrap().slots();
        let cpu = load(&mut mem, &slots, &source(&kernel, "quiet")).unwrap();
        assert_eq!((cpu.vcpu.rip, cpu.vcpu.r[6], cpu.vcpu.rflags), (0x100_0010, BOOT_PARAMS, 0));
        assert!(cpu.vcpu.long && cpu.vcpu.cpl == 0);
        let word = |at: u64| u32::from_le_bytes(mem.read_array(at).unwrap());
        let long = |at: u64| u64::from_le_bytes(mem.read_array(at).unwrap());
        let zero = cpu.vcpu.r[6];
        assert_eq!(mem.slice(zero + 0x1fe, 8).unwrap(), b"\x55\xaa\0\0HdrS");
        assert_eq!((word(zero + 0x218), word(zero + 0x21c)), (0x120_1000, 7));
        assert_eq!(mem.slice(0x120_1000, 7).unwrap(), b"initial");
        let text = mem.slice(u64::from(word(zero + 0x228)), 300).unwrap();
        assert!(text.starts_with(b"quiet virtio_mmio.device=4K@0xd0000000:16 "));
        let data = long(zero + 0x250);
        assert_eq!((long(data), word(data + 8), word(data + 12)), (0, 9, 64));
        assert_eq!(mem.slice(data + 16, 64).unwrap(), [7; 64]);
        assert_eq!(mem.slice(zero + 0x1e8, 1).unwrap(), [3]);
        let map: Vec<_> =
            (0..3).map(|n| zero + 0x2d0 + 20 * n).map(|at| (long(at), long(at + 8), word(at + 16))).collect();
        assert_eq!(map, [(0, 0x9_fc00, 1), (0x9_fc00, 0x400, 2), (0x10_0000, RAM as u64 - 0x10_0000, 1)]);
        assert_eq!(mem.slice(0x9_fc00, 4).unwrap(), b"_MP_");
        assert_eq!(mem.slice(0x100_0000, 0x124).unwrap()[0x122..], [0x90, 0]);
        // Descriptors: a 64-bit code segment and a data segment.
        let gdt = cpu.vcpu.gdtr.base;
        assert_eq!((long(gdt + 0x10) >> 32, long(gdt + 0x18) >> 32), (0x00af_9b00, 0x00cf_9300));
        // A walk to an address in the fourth GiB.
        let at = 0xfee0_1234u64;
        let l3 = long(cpu.vcpu.cr3) & !0xfff;
        let l2 = long(l3 + 8 * (at >> 30)) & !0xfff;
        assert_eq!(long(l2 + 8 * (at >> 21 & 511)), 0xfee0_0083);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let slots = Devices::new(Arch::X86_64, 0).unwrap().slots();
        let refused = |kernel: &[u8], ram, cmdline: &str| {
            load(&mut memory(ram), &slots, &source(kernel, cmdline)).map(|_| ()).unwrap_err().to_string()
        };
        let good = executable(0x100_0000, 0x100_0000, &[0x90], 0x1000);
        assert!(refused(&good[..100], RAM, "").contains("vmlinux"));
        assert!(refused(&good, 16 << 20, "").contains("--memory"));
        assert!(refused(&good, 1 << 20, "").contains("--memory"));
        assert!(refused(&good, RAM, &"x".repeat(2000)).contains("command line"));
        assert!(refused(&good, RAM, "a\0b").contains("command line"));
        let large = executable(0x100_0000, 0x100_0000, &[0x90], 0x8000_0000);
        assert!(refused(&large, RAM, "").contains("--memory"));
        let end = executable(0x3ff_f000, 0x3ff_f000, &[0x90], 0x1000);
        assert!(refused(&end, RAM, "").contains("--memory"), "no room for the initial file system");
        let low = executable(0x7000, 0x7000, &[0x90], 0x1000);
        assert!(refused(&low, RAM, "").contains("below 1 MiB"));
    }
}
