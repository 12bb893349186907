//! The guest's physical address space: a device tree (or on x86_64 an MP table and the command line) tells
//! the kernel, this tells everyone else. Constants without another remark are riscv64's.

/// Where RAM starts on riscv64 (as on QEMU's `virt`).
pub const RAM_BASE: u64 = 0x8000_0000;
/// A riscv64 kernel `Image` is loaded this far into RAM (2 MiB:
/// *Documentation/arch/riscv/boot-image-header.rst*).
pub const KERNEL_OFFSET: u64 = 0x20_0000;
/// Platform-level interrupt controller; 64 MiB are reserved for it.
pub const PLIC_BASE: u64 = 0x0c00_0000;
/// Size of the PLIC's register window in bytes.
pub const PLIC_SIZE: u64 = 0x400_0000;
/// The first virtio-mmio device; device `n` is at `VIRTIO_BASE + n * VIRTIO_STRIDE`.
pub const VIRTIO_BASE: u64 = 0x1000_0000;
/// Distance between two virtio-mmio devices, and the size of each one's window, in bytes.
pub const VIRTIO_STRIDE: u64 = 0x1000;
/// Number of virtio-mmio windows. Device `n` raises PLIC source `VIRTIO_IRQ_BASE + n`.
pub const VIRTIO_SLOTS: usize = 16;
/// PLIC source of virtio device 0.
pub const VIRTIO_IRQ_BASE: u32 = 1;
/// Where the root file system's image is: beyond any possible RAM. The kernel is not told; the block device
/// reads from it.
pub const ROOT_BASE: u64 = 0x2_0000_0000;
/// Alignment of the sizes of RAM and of the root file system's image, in bytes.
pub const REGION_ALIGN: u64 = 0x20_0000;
/// Guest page size in bytes.
pub const PAGE_SIZE: u64 = 4096;
/// Frequency of the `time` CSR in Hz: one tick is 100 ns.
pub const TIMEBASE_HZ: u64 = 10_000_000;

/// The x86_64 machine's: a PC as far as the kernel looks for one.
pub mod pc {
    /// Where RAM starts.
    pub const RAM_BASE: u64 = 0;
    /// RAM ends here at the latest: above are the devices.
    pub const RAM_END: u64 = 0xc000_0000;
    /// The first virtio-mmio device.
    pub const VIRTIO_BASE: u64 = 0xd000_0000;
    /// I/O APIC pin of virtio device 0, and the kernel's number of its interrupt.
    pub const VIRTIO_IRQ_BASE: u32 = 16;
    /// Registers of the I/O APIC.
    pub const IOAPIC_BASE: u64 = 0xfec0_0000;
    /// Registers of the local APIC.
    pub const LAPIC_BASE: u64 = 0xfee0_0000;
    /// Frequency of the time-stamp counter in Hz.
    pub const TSC_HZ: u64 = 1_000_000_000;
}
