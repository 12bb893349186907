//! Boots the guest natively during conversion, up to *ready to exec*: kernel and init have done all that does
//! not depend on the command. The snapshot is taken there.

use forelift_abi::config::{Arch, ImageConfig};
use forelift_runtime::{
    host::NoHost,
    machine::{BootSource, Machine, MachineError},
    memory::GuestMemory,
    session::ConsoleLog,
};
use memmap2::Mmap;
use thiserror::Error;

/// Progress of a boot.
pub trait BootProgress {
    /// The guest has executed this many instructions in all.
    fn instructions(&mut self, count: u64);
}

impl BootProgress for () {
    fn instructions(&mut self, _count: u64) {}
}

/// A machine whose init waits for its command.
pub struct Snapshot {
    /// Guest memory.
    pub ram: GuestMemory,
    /// Encoded machine state.
    pub state: Vec<u8>,
}

/// Why the guest did not get ready.
#[derive(Debug, Error)]
pub enum BootError {
    /// The host lacks memory.
    #[error("no memory of {mib} MiB for the guest: {source}")]
    Memory {
        /// Guest RAM.
        mib: usize,
        /// Why.
        source: std::io::Error,
    },
    /// The guest died or hung.
    #[error(transparent)]
    Guest(#[from] MachineError),
}

/// The seed of the kernel's random number generator, the same in every snapshot: equal inputs give equal
/// outputs. At each start, init credits fresh entropy before any program of the container runs.
const RNG_SEED: [u8; 64] = *b"forelift: the same for all, replaced at every start of an image.";

/// Nanoseconds of the guest's time between ready and the snapshot: timers that the kernel has set while it
/// booted (reports of the network's groups, writing back) would otherwise expire at each start.
const SETTLE: u64 = 10_000_000_000;

/// Kernel command line of an image, before the user's additions. The machine adds the addresses of the
/// devices when it boots.
pub fn default_cmdline(arch: Arch) -> &'static str {
    match arch {
        Arch::Riscv64 => "quiet",
        // The console is virtio's, not a serial port. The clocksource watchdog is off (tsc=reliable): it
        // would wake an idle machine twice a second. There is no keyboard controller to reset the machine
        // through, so the kernel resets it by a triple fault.
        Arch::X86_64 => "quiet console=hvc0 tsc=reliable reboot=t",
    }
}

/// Boots the machine of `config` with `kernel` and `initrd`, and the root file system `root` attached, in
/// `ram_len` bytes of RAM until the guest's init says that it is ready to exec.
///
/// # Errors
/// See [`BootError`].
pub fn boot_to_ready(
    config: &ImageConfig,
    kernel: &[u8],
    initrd: &[u8],
    ram_len: usize,
    root: Option<Mmap>,
    progress: &mut dyn BootProgress,
) -> Result<Snapshot, BootError> {
    let memory =
        GuestMemory::new(ram_len, root).map_err(|source| BootError::Memory { mib: ram_len >> 20, source })?;
    let source =
        BootSource { arch: config.arch, kernel, initrd, cmdline: &config.cmdline, rng_seed: &RNG_SEED };
    let mut machine = Machine::boot(memory, source, ConsoleLog::Keep)?;
    machine.boot_to_ready(&mut NoHost::default(), SETTLE, &mut |count| progress.instructions(count))?;
    let state = machine.save(&mut NoHost::default());
    Ok(Snapshot { ram: machine.into_memory(), state })
}
