//! The architecture of an image, found in the ELF headers of its programs.

use super::tree::{InodeId, Kind, Tree};
use forelift_abi::config::ContainerConfig;
use goblin::elf::header::{self as elf, Header};

/// Bytes of an ELF64 header.
const HEADER: usize = 64;
/// PATH when the image does not set it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program, and what it is for.
pub(super) struct Probe {
    pub(super) arch: &'static str,
    pub(super) path: String,
    /// Whether the container certainly runs it, and does not just contain it.
    pub(super) sure: bool,
}

/// The OCI name of a program's architecture.
fn machine(header: &Header) -> Option<&'static str> {
    let wide = header.e_ident[elf::EI_CLASS] == elf::ELFCLASS64;
    let little = header.e_ident[elf::EI_DATA] == elf::ELFDATA2LSB;
    Some(match (header.e_machine, wide, little) {
        (elf::EM_RISCV, true, true) => "riscv64",
        (elf::EM_RISCV, false, true) => "riscv32",
        (elf::EM_X86_64, true, _) => "amd64",
        (elf::EM_X86_64, false, _) => "amd64p32",
        (elf::EM_386, ..) => "386",
        (elf::EM_AARCH64, ..) => "arm64",
        (elf::EM_ARM, ..) => "arm",
        (elf::EM_S390, ..) => "s390x",
        (elf::EM_PPC64, _, true) => "ppc64le",
        (elf::EM_PPC64, _, false) => "ppc64",
        (elf::EM_MIPS, true, true) => "mips64le",
        // Registered after the crate's list was made: LoongArch is 258.
        (258, true, _) => "loong64",
        _ => return None,
    })
}

fn arch_of(tree: &Tree, id: InodeId) -> Option<&'static str> {
    let Kind::File { size, .. } = &tree.inode(id).kind else { return None };
    if *size < HEADER as u64 {
        return None;
    }
    let mut bytes = [0; HEADER];
    tree.read_at(id, 0, &mut bytes).ok()?;
    if !bytes.starts_with(elf::ELFMAG) {
        return None;
    }
    let header = goblin::elf::Elf::parse_header(&bytes).ok()?;
    matches!(header.e_type, elf::ET_EXEC | elf::ET_DYN).then(|| machine(&header)).flatten()
}

/// Paths that the container's first program may have.
fn candidates(config: &ContainerConfig) -> Vec<String> {
    let mut paths = vec!["/bin/sh".to_owned(), "/sbin/init".to_owned()];
    if let Some(program) = config.entrypoint.iter().chain(&config.cmd).next() {
        if program.contains('/') {
            paths.push(program.clone());
        } else {
            let path = config.env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
            paths.extend(path.split(':').take(64).map(|dir| format!("{dir}/{program}")));
        }
    }
    paths
}

pub(super) fn probe(tree: &Tree, config: &ContainerConfig) -> Option<Probe> {
    let sure = candidates(config).into_iter().find_map(|path| {
        let arch = arch_of(tree, tree.lookup(path.as_bytes())?)?;
        Some(Probe { arch, path, sure: true })
    });
    sure.or_else(|| {
        // By directory, names in order: the answer must not depend on the order of an archive.
        let mut todo = vec![(String::new(), tree.root())];
        while let Some((path, id)) = todo.pop() {
            let executable = tree.inode(id).meta.mode & 0o111 != 0;
            match tree.entries(id) {
                Some(entries) if path.len() < 4096 => {
                    let below = entries.iter().rev();
                    todo.extend(
                        below.map(|(n, d)| (format!("{path}/{}", String::from_utf8_lossy(n)), d.inode)),
                    );
                }
                None if executable => {
                    if let Some(arch) = arch_of(tree, id) {
                        return Some(Probe { arch, path, sure: false });
                    }
                }
                _ => {}
            }
        }
        None
    })
}
