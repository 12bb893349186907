//! The files of the installation that a module is made of besides the container's.

use std::path::Path;

use forelift_abi::{
    config::Arch,
    layout::{REGION_ALIGN, pc},
};

use super::ConvertError;
use crate::{
    assets::{self, Interpreter, Kernel},
    pack::{
        PackError,
        component::{self, Shell},
        initrd,
    },
    platform::Platform,
};

/// What a module for one platform is made of besides the container's files.
pub struct Installed {
    /// The guest's architecture.
    pub arch: Arch,
    /// The emulator, as WebAssembly.
    pub runtime: Vec<u8>,
    /// What is around the module, if that becomes a component.
    pub shell: Option<Shell>,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The guest's init, an ELF file.
    pub init: Vec<u8>,
    /// The archive with init that the kernel boots from.
    pub initrd: Vec<u8>,
    /// What runs the container's programs, where the guest's processor does not.
    pub interpreter: Option<Interpreter>,
    /// Guest RAM in bytes: what was asked for, in whole units of the kernel's memory map.
    pub ram_len: u64,
}

impl Installed {
    /// Reads the files for `platform`, for a guest with `memory` bytes of RAM, in a component or not;
    /// `kernel` replaces the installed kernel.
    ///
    /// # Errors
    /// When a file is missing or unusable; when the kernel cannot boot in so little memory, or the machine
    /// cannot have so much.
    pub fn find(
        platform: Platform,
        kernel: Option<&Path>,
        memory: u64,
        component: bool,
    ) -> Result<Self, ConvertError> {
        let arch = platform.machine();
        let (runtime, shell) = match component {
            false => (assets::runtime(arch)?, None),
            true => {
                let (runtime, shell) =
                    component::open_up(&assets::component_runtime(arch)?).map_err(PackError::from)?;
                (runtime, Some(shell))
            }
        };
        let kernel = assets::kernel(arch, kernel)?;
        let init = assets::init(arch)?;
        let interpreter = platform.is_foreign().then(assets::arm64_interpreter).transpose()?;
        let initrd = initrd::build(&init);
        let ram_len = ram_len(arch, memory, assets::least_ram(kernel.memory, initrd.len() as u64))?;
        Ok(Installed { arch, runtime, shell, kernel, init, initrd, interpreter, ram_len })
    }
}

fn ram_len(arch: Arch, asked: u64, least: u64) -> Result<u64, ConvertError> {
    if asked < least {
        return Err(ConvertError::MemoryTooSmall { asked, least });
    }
    if asked >= 4 << 30 {
        return Err(ConvertError::MemoryTooLarge { asked });
    }
    if arch == Arch::X86_64 && asked > pc::RAM_END {
        return Err(ConvertError::MemoryNoRoom { asked, room: pc::RAM_END });
    }
    Ok(asked.next_multiple_of(REGION_ALIGN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_has_bounds() {
        const LEAST: u64 = 40 << 20;
        let ram = |arch, asked| ram_len(arch, asked, LEAST);
        assert_eq!(ram(Arch::Riscv64, LEAST).unwrap(), LEAST);
        assert_eq!(ram(Arch::Riscv64, LEAST + 1).unwrap(), LEAST + REGION_ALIGN);
        let error = ram(Arch::Riscv64, LEAST - 1).unwrap_err();
        assert!(matches!(error, ConvertError::MemoryTooSmall { least: LEAST, .. }));
        assert!(error.to_string().ends_with("at least 40M"), "{error}");
        assert!(matches!(ram(Arch::Riscv64, 4 << 30), Err(ConvertError::MemoryTooLarge { .. })));
        assert!(matches!(ram(Arch::X86_64, pc::RAM_END + 1), Err(ConvertError::MemoryNoRoom { .. })));
    }
}
