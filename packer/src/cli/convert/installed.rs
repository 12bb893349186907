//! The files of the installation that an image is made of.

use anyhow::bail;
use forelift_abi::{
    config::Arch,
    layout::{REGION_ALIGN, pc},
};

use super::args::Args;
use crate::{
    assets::{self, Interpreter, Kernel},
    pack::initrd,
    platform::Platform,
    units::format_size,
};

/// What an image of one platform is made of besides its files.
pub(super) struct Installed {
    pub(super) arch: Arch,
    pub(super) runtime: Vec<u8>,
    pub(super) kernel: Kernel,
    pub(super) init: Vec<u8>,
    pub(super) interpreter: Option<Interpreter>,
    /// Guest RAM in bytes.
    pub(super) ram: u64,
}

impl Installed {
    pub(super) fn find(args: &Args, platform: Platform) -> anyhow::Result<Self> {
        let arch = platform.machine();
        let runtime = assets::runtime(arch)?;
        let kernel = assets::kernel(arch, args.kernel.as_deref())?;
        let init = assets::init(arch)?;
        let interpreter = platform.is_foreign().then(assets::arm64_interpreter).transpose()?;
        let ram = ram_len(args, arch, &kernel, &initrd::build(&init))?;
        Ok(Installed { arch, runtime, kernel, init, interpreter, ram })
    }
}

/// Guest RAM in bytes: what was asked for, in whole units of the kernel's memory map.
fn ram_len(args: &Args, arch: Arch, kernel: &Kernel, initrd: &[u8]) -> anyhow::Result<u64> {
    let least = assets::least_ram(kernel.memory, initrd.len() as u64);
    if args.memory < least {
        bail!(
            "--memory {}: too little, this kernel needs at least {}M",
            format_size(args.memory),
            least >> 20
        );
    }
    if args.memory >= 4 << 30 {
        bail!("--memory {}: a WebAssembly memory holds 4 GiB in all", format_size(args.memory));
    }
    if arch == Arch::X86_64 && args.memory > pc::RAM_END {
        bail!(
            "--memory {}: the x86_64 machine has room for {}",
            format_size(args.memory),
            format_size(pc::RAM_END)
        );
    }
    Ok(args.memory.next_multiple_of(REGION_ALIGN))
}
