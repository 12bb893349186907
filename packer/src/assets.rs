//! The files that Forelift is installed with: the emulator as WebAssembly, the guest's init, the guest's kernel.
//!
//! They are looked for in `$FORELIFT_ASSETS` if that is set, else in `../share/forelift` beside the program, which is how
//! `scripts/build` lays them out.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use forelift_abi::{config::Arch, layout::KERNEL_OFFSET};
use thiserror::Error;

/// Environment variable with the directory of the assets.
pub const VARIABLE: &str = "FORELIFT_ASSETS";
/// Largest kernel that is read, in bytes.
const MAX_KERNEL: u64 = 512 << 20;
/// Largest table of its symbols that is read, in bytes.
const MAX_SYMBOLS: u64 = 64 << 20;

/// Why an asset cannot be used.
#[derive(Debug, Error)]
pub enum AssetError {
    /// A file is missing.
    #[error("no {name} in {looked}: build it with `scripts/build`, or set ${VARIABLE} to where it is")]
    Missing {
        /// The file's name.
        name: String,
        /// The directories that were tried.
        looked: String,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A kernel that the machine cannot boot.
    #[error("{path}: {what}")]
    Kernel {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

/// A guest kernel.
pub struct Kernel {
    /// The `Image`.
    pub bytes: Vec<u8>,
    /// `built-in`, or the file it was read from.
    pub origin: String,
    /// Where its source is to be had; one line.
    pub source: String,
    /// Bytes of RAM that it takes from [`KERNEL_OFFSET`] on, with its zeroed data.
    pub memory: u64,
}

/// The suffix of an architecture's files.
fn suffix(arch: Arch) -> &'static str {
    match arch {
        Arch::Riscv64 => "riscv64",
        Arch::X86_64 => "x86_64",
    }
}

/// The directories that are tried, in order.
fn directories() -> Vec<PathBuf> {
    if let Some(dir) = env::var_os(VARIABLE) {
        return vec![dir.into()];
    }
    let exe = env::current_exe().and_then(fs::canonicalize);
    let beside = exe.ok().and_then(|exe| Some(exe.parent()?.parent()?.join("share/forelift")));
    beside.into_iter().collect()
}

fn find(name: &str) -> Result<PathBuf, AssetError> {
    let dirs = directories();
    dirs.iter().map(|d| d.join(name)).find(|p| p.is_file()).ok_or_else(|| {
        let looked: Vec<String> = dirs.iter().map(|d| d.display().to_string()).collect();
        AssetError::Missing { name: name.into(), looked: looked.join(", ") }
    })
}

fn read(path: &Path) -> Result<Vec<u8>, AssetError> {
    fs::read(path).map_err(|source| AssetError::Io { path: path.into(), source })
}

/// The emulator.
///
/// # Errors
/// See [`AssetError`].
pub fn runtime() -> Result<Vec<u8>, AssetError> {
    read(&find("runtime.wasm")?)
}

/// The guest's init, an ELF file.
///
/// # Errors
/// See [`AssetError`].
pub fn init(arch: Arch) -> Result<Vec<u8>, AssetError> {
    read(&find(&format!("init-{}", suffix(arch)))?)
}

/// The guest's kernel: the installed one, or the user's.
///
/// # Errors
/// See [`AssetError`].
pub fn kernel(arch: Arch, user: Option<&Path>) -> Result<Kernel, AssetError> {
    let path = match user {
        Some(path) => path.to_path_buf(),
        None => find(&format!("Image-{}", suffix(arch)))?,
    };
    let size = fs::metadata(&path).map_err(|source| AssetError::Io { path: path.clone(), source })?.len();
    if size > MAX_KERNEL {
        let what = format!("{size} bytes are too many for a kernel");
        return Err(AssetError::Kernel { path, what });
    }
    let bytes = read(&path)?;
    let memory = check_riscv(&bytes).map_err(|what| AssetError::Kernel { path: path.clone(), what })?;
    let (origin, source) = match user {
        Some(_) => (path.display().to_string(), "unknown: it was given with --kernel".to_string()),
        None => ("built-in".to_string(), source_line(&path, arch)),
    };
    Ok(Kernel { bytes, origin, source, memory })
}

/// The `System.map` of the guest's kernel, for names: the installed one, or what is beside the user's kernel. Empty when there is
/// none.
pub fn kernel_symbols(arch: Arch, user: Option<&Path>) -> String {
    let path = match user {
        Some(kernel) => Ok(kernel.with_file_name("System.map")),
        None => find(&format!("System.map-{}", suffix(arch))),
    };
    let small =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_SYMBOLS);
    let bytes = path.ok().filter(small).and_then(|path| fs::read(path).ok());
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// What the installation says about the source of its kernel.
fn source_line(image: &Path, arch: Arch) -> String {
    let path = image.with_file_name(format!("SOURCE-{}", suffix(arch)));
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    if lines.is_empty() { "see NOTICE".into() } else { lines.join(" | ") }
}

/// Checks the header of a RISC-V `Image` (Documentation/arch/riscv/boot-image-header.rst) and gives the RAM it takes.
fn check_riscv(bytes: &[u8]) -> Result<u64, String> {
    const HEADER: usize = 64;
    let hint = "give the file arch/riscv/boot/Image of a riscv64 kernel build";
    match bytes {
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', ..] => {
            return Err(format!("a compressed kernel: unpack it first, or {hint}"));
        }
        [0x7f, b'E', b'L', b'F', ..] => return Err(format!("an ELF file (vmlinux?): {hint}")),
        _ => {}
    }
    if bytes.len() < HEADER || bytes[0x38..0x3c] != *b"RSC\x05" {
        return Err(format!("no riscv64 kernel image (no magic number at offset 0x38): {hint}"));
    }
    let mut word = [0u8; 8];
    word.copy_from_slice(&bytes[16..24]);
    let size = u64::from_le_bytes(word);
    if size < bytes.len() as u64 / 2 || size > MAX_KERNEL {
        return Err(format!("its header says that it needs {size} bytes of RAM: it is damaged"));
    }
    if bytes.len() as u64 > size {
        return Err(format!("{} bytes, but its header says {size}: it is damaged", bytes.len()));
    }
    Ok(size)
}

/// The least guest RAM, in bytes, that a kernel and an initrd of these sizes can boot in.
pub fn least_ram(kernel_memory: u64, initrd: u64) -> u64 {
    // As much again for page tables, the page array, the unpacked initrd and the container.
    (KERNEL_OFFSET + kernel_memory + 2 * initrd + (12 << 20)).next_multiple_of(2 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(len: usize, memory: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes[16..24].copy_from_slice(&memory.to_le_bytes());
        bytes[0x30..0x35].copy_from_slice(b"RISCV");
        bytes[0x38..0x3c].copy_from_slice(b"RSC\x05");
        bytes
    }

    #[test]
    fn kernels_are_told_from_other_files() {
        assert_eq!(check_riscv(&image(4096, 8192)), Ok(8192));
        for (bad, word) in [
            (b"\x1f\x8b\x08 gzip".to_vec(), "compressed"),
            (b"\x7fELF".to_vec(), "ELF"),
            (vec![], "magic"),
            (vec![0; 4096], "magic"),
            (image(4096, 8192)[..0x3b].to_vec(), "magic"),
            (image(4096, 4000), "damaged"),
            (image(4096, u64::MAX), "damaged"),
            (image(4096, 0), "damaged"),
        ] {
            let text = check_riscv(&bad).unwrap_err();
            assert!(text.contains(word), "{text}");
        }
    }
}
