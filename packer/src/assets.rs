//! The files that Forelift is installed with: for each guest architecture the emulator as WebAssembly, the
//! guest's init and the guest's kernel; the interpreter of arm64 programs; and the page of `--web`.
//!
//! They are looked up in `$FORELIFT_ASSETS` if that is set, else in `../share/forelift` relative to the
//! program's directory, where `scripts/build` puts them. Nothing else is tried: the program contains no path
//! of the machine that built it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use forelift_abi::{config::Arch, layout::KERNEL_OFFSET};
use goblin::{
    container::{Container, Ctx, Endian},
    elf::{self, header, program_header::PT_LOAD},
};
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
    #[error("{}no {name} in {looked}: build it with `scripts/build`, or set {VARIABLE} to where it is{}", .arch.lacks(), .arch.others())]
    Missing {
        /// The file's name.
        name: String,
        /// The directory that was looked in.
        looked: String,
        /// The architecture that it is for, and those that are complete.
        arch: Incomplete,
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

/// What an installation lacks, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// The architecture whose files are not all there; `None` for a file that is not of one architecture.
    pub arch: Option<Arch>,
    /// The architectures whose files are all there.
    pub complete: Vec<Arch>,
}

impl Incomplete {
    fn lacks(&self) -> String {
        match self.arch {
            Some(arch) => format!("this installation cannot make images for {}: ", arch.oci_name()),
            None => String::new(),
        }
    }

    fn others(&self) -> String {
        match &self.complete[..] {
            [] => String::new(),
            _ if self.arch.is_none() => String::new(),
            complete => {
                let names: Vec<String> =
                    complete.iter().map(|arch| format!("linux/{}", arch.oci_name())).collect();
                format!("; or choose --platform {}, if the image comes for it", names.join(" or "))
            }
        }
    }
}

/// A guest kernel.
pub struct Kernel {
    /// The `Image`, or `vmlinux`.
    pub bytes: Vec<u8>,
    /// `built-in`, or the file it was read from.
    pub origin: String,
    /// Where to get its source; one line.
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

/// The names of an architecture's files: emulator, init, kernel.
fn names(arch: Arch) -> [String; 3] {
    let suffix = suffix(arch);
    [format!("runtime-{suffix}.wasm"), format!("init-{suffix}"), format!("Image-{suffix}")]
}

/// Where the files are looked up. If the program is called through a symbolic link, the directory is that of
/// the file itself.
fn directory() -> io::Result<PathBuf> {
    if let Some(dir) = env::var_os(VARIABLE).filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    let exe = env::current_exe().and_then(fs::canonicalize)?;
    let prefix = exe.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    Ok(prefix.join("share/forelift"))
}

/// The file of that name, which images for `arch` need.
fn find(name: &str, arch: Option<Arch>) -> Result<PathBuf, AssetError> {
    let dir = directory().map_err(|source| AssetError::Io { path: "/proc/self/exe".into(), source })?;
    let path = dir.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let is_complete = |arch: &Arch| names(*arch).iter().all(|name| dir.join(name).is_file());
    let complete = Arch::ALL.into_iter().filter(is_complete).collect();
    let looked = dir.display().to_string();
    Err(AssetError::Missing { name: name.into(), looked, arch: Incomplete { arch, complete } })
}

fn read(path: &Path) -> Result<Vec<u8>, AssetError> {
    fs::read(path).map_err(|source| AssetError::Io { path: path.into(), source })
}

/// The emulator.
///
/// # Errors
/// See [`AssetError`].
pub fn runtime(arch: Arch) -> Result<Vec<u8>, AssetError> {
    let [runtime, ..] = names(arch);
    read(&find(&runtime, Some(arch))?)
}

/// The emulator for a component.
///
/// # Errors
/// See [`AssetError`].
pub fn component_runtime(arch: Arch) -> Result<Vec<u8>, AssetError> {
    read(&find(&format!("runtime-{}-component.wasm", suffix(arch)), Some(arch))?)
}

/// A program that runs programs of another architecture.
pub struct Interpreter {
    /// The ELF file.
    pub bytes: Vec<u8>,
    /// Where to get its source; one line.
    pub source: String,
}

/// QEMU's emulator of arm64 programs, for the x86_64 guest.
///
/// # Errors
/// See [`AssetError`].
pub fn arm64_interpreter() -> Result<Interpreter, AssetError> {
    let path = find("qemu-aarch64", None)?;
    Ok(Interpreter { bytes: read(&path)?, source: source_line(&path, "qemu-aarch64") })
}

/// The guest's init, an ELF file.
///
/// # Errors
/// See [`AssetError`].
pub fn init(arch: Arch) -> Result<Vec<u8>, AssetError> {
    let [_, init, _] = names(arch);
    read(&find(&init, Some(arch))?)
}

/// The guest's kernel: the installed one, or the user's.
///
/// # Errors
/// See [`AssetError`].
pub fn kernel(arch: Arch, user: Option<&Path>) -> Result<Kernel, AssetError> {
    let [_, _, image] = names(arch);
    let path = match user {
        Some(path) => path.to_path_buf(),
        None => find(&image, Some(arch))?,
    };
    let size = fs::metadata(&path).map_err(|source| AssetError::Io { path: path.clone(), source })?.len();
    if size > MAX_KERNEL {
        let what = format!("{size} bytes are too many for a kernel");
        return Err(AssetError::Kernel { path, what });
    }
    let bytes = read(&path)?;
    let memory = match arch {
        Arch::Riscv64 => check_riscv(&bytes),
        Arch::X86_64 => check_x86_64(&bytes),
    }
    .map_err(|what| AssetError::Kernel { path: path.clone(), what })?;
    let (origin, source) = match user {
        Some(_) => (path.display().to_string(), "unknown: it was given with --kernel".to_string()),
        None => ("built-in".to_string(), source_line(&path, suffix(arch))),
    };
    Ok(Kernel { bytes, origin, source, memory })
}

/// The `System.map` of the guest's kernel, for names: the installed one, or the one next to the user's
/// kernel. Empty when there is none.
pub fn kernel_symbols(arch: Arch, user: Option<&Path>) -> String {
    let path = match user {
        Some(kernel) => Ok(kernel.with_file_name("System.map")),
        None => find(&format!("System.map-{}", suffix(arch)), None),
    };
    let small =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_SYMBOLS);
    let bytes = path.ok().filter(small).and_then(|path| fs::read(path).ok());
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The page of `--web`, and the programs that it loads.
pub struct WebAssets {
    /// The page, in which `{{title}}` and `{{app}}` stand for its title and the programs' directory.
    pub index: String,
    /// Names and contents of the programs, in order.
    pub app: Vec<(String, Vec<u8>)>,
    /// Licences of what the directory holds.
    pub notice: Vec<u8>,
    /// The page's service worker.
    pub service_worker: Vec<u8>,
}

/// The page and its programs.
///
/// # Errors
/// See [`AssetError`].
pub fn web() -> Result<WebAssets, AssetError> {
    let index = find("web/index.html", None)?;
    let bytes = read(&index)?;
    let dir = index.with_file_name("app");
    let entries = fs::read_dir(&dir).map_err(|source| AssetError::Io { path: dir, source })?;
    let mut app = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        app.push((name, read(&path)?));
    }
    app.sort();
    let notice = read(&index.with_file_name("NOTICE"))?;
    let service_worker = read(&index.with_file_name("sw.js"))?;
    Ok(WebAssets { index: String::from_utf8_lossy(&bytes).into_owned(), app, notice, service_worker })
}

/// What the installation says about the source of a file.
fn source_line(file: &Path, suffix: &str) -> String {
    let path = file.with_file_name(format!("SOURCE-{suffix}"));
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    if lines.is_empty() { "see NOTICE".into() } else { lines.join(" | ") }
}

/// Checks the header of a RISC-V `Image` (Documentation/arch/riscv/boot-image-header.rst); returns the bytes
/// of RAM it takes.
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

/// Checks an x86_64 `vmlinux`, whose RAM starts at address 0; returns the bytes of RAM it takes from
/// [`KERNEL_OFFSET`] on.
fn check_x86_64(bytes: &[u8]) -> Result<u64, String> {
    let hint = "give the file vmlinux of an x86_64 kernel build";
    // Documentation/arch/x86/boot.rst: the magic number of the header that a bzImage starts with.
    if bytes.get(0x202..0x206) == Some(b"HdrS") {
        return Err(format!("a bzImage, which unpacks itself: {hint}"));
    }
    let header = elf::Elf::parse_header(bytes).map_err(|_| format!("no ELF file: {hint}"))?;
    let kind = (header.e_ident[header::EI_CLASS], header.e_machine, header.e_type);
    if kind != (header::ELFCLASS64, header::EM_X86_64, header::ET_EXEC) {
        return Err(format!("no program of x86_64 at fixed addresses: {hint}"));
    }
    let context = Ctx::new(Container::Big, Endian::Little);
    let table = usize::try_from(header.e_phoff).unwrap_or(usize::MAX);
    let headers = elf::ProgramHeader::parse(bytes, table, header.e_phnum.into(), context);
    let headers = headers.map_err(|_| "its table of segments is damaged".to_string())?;
    let mut end = 0;
    for segment in headers.iter().filter(|h| h.p_type == PT_LOAD) {
        let last = |start: u64, len: u64| start.checked_add(len).filter(|end| *end <= MAX_KERNEL);
        let file = last(segment.p_offset, segment.p_filesz).filter(|end| *end <= bytes.len() as u64);
        match (file, last(segment.p_paddr, segment.p_memsz)) {
            (Some(_), Some(memory)) if segment.p_filesz <= segment.p_memsz => end = memory.max(end),
            _ => return Err("a segment lies outside of the file or of memory: it is damaged".into()),
        }
    }
    if end <= KERNEL_OFFSET {
        return Err(format!("it has nothing to load: {hint}"));
    }
    Ok(end - KERNEL_OFFSET)
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

    /// An ELF file with one segment of 100 bytes in the file.
    fn vmlinux(paddr: u64, memsz: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56 + 100];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        let fields: [(usize, u64, usize); 13] = [
            (16, 2, 2),
            (18, 62, 2),
            (20, 1, 4),
            (32, 64, 8),
            (52, 64, 2),
            (54, 56, 2),
            (56, 1, 2),
            (64, 1, 4),
            (72, 120, 8),
            (80, 0xffff_ffff_8100_0000, 8),
            (88, paddr, 8),
            (96, 100, 8),
            (104, memsz, 8),
        ];
        for (at, value, len) in fields {
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
        bytes
    }

    #[test]
    fn x86_64_kernels_are_told_from_other_files() {
        assert_eq!(check_x86_64(&vmlinux(0x100_0000, 0x80_0000)), Ok(0x160_0000));
        let with = |at: usize, value: &[u8]| {
            let mut bytes = vmlinux(0x100_0000, 0x80_0000);
            bytes[at..at + value.len()].copy_from_slice(value);
            bytes
        };
        let mut bz = vec![0; 4096];
        bz[0x202..0x206].copy_from_slice(b"HdrS");
        for (bad, word) in [
            (bz, "bzImage"),
            (vec![], "no ELF"),
            (image(4096, 8192), "no ELF"),
            (with(18, &[0xf3]), "no program of x86_64"),
            (with(16, &[3]), "no program of x86_64"),
            (with(4, &[1]), "no program of x86_64"),
            (with(32, &[0xff; 8]), "damaged"),
            (with(56, &[0]), "nothing to load"),
            (with(72, &[0xff; 8]), "damaged"),
            (with(96, &[101]), "damaged"),
            (vmlinux(0x100_0000, 99), "damaged"),
            (vmlinux(u64::MAX, 200), "damaged"),
            (vmlinux(0x10_0000, 200), "nothing to load"),
        ] {
            let text = check_x86_64(&bad).unwrap_err();
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
