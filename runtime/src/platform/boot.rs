//! What a kernel is started with, and why it could not be put into memory.

use forelift_abi::config::Arch;
use thiserror::Error;

/// Least RAM in bytes that a kernel of the usual size boots in.
pub const MIN_RAM: u64 = 32 << 20;

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

/// Why a kernel could not be put into memory.
#[derive(Debug, Error)]
pub enum BootError {
    /// The machine cannot boot such a kernel.
    #[error("kernel: not {wanted} ({why})")]
    Kernel {
        /// What it should be.
        wanted: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// RAM is too small.
    #[error(
        "memory: {ram} bytes of RAM are too little for the kernel ({kernel}) and its initial file system ({initrd}): \
         give more with --memory"
    )]
    Ram {
        /// Size of RAM.
        ram: u64,
        /// Size of the kernel with its bss.
        kernel: u64,
        /// Size of the initial file system.
        initrd: u64,
    },
    /// RAM is too large.
    #[error("memory: {ram} bytes of RAM are too many for this machine: give at most {most} with --memory")]
    TooMuchRam {
        /// Size of RAM.
        ram: u64,
        /// Largest size.
        most: u64,
    },
    /// The kernel cannot be told this.
    #[error("kernel command line: {0}")]
    CommandLine(String),
    /// This build has no such machine.
    #[error("this build of the machine runs no {0} guests")]
    Arch(&'static str),
}
