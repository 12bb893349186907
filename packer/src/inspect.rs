//! What is inside a module, as data: its parts, configuration and manifest.

use std::collections::BTreeMap;

use forelift_abi::config::ContainerConfig;
use serde::Serialize;

use crate::pack::{Manifest, PackedImage, reader::OpenError};

/// A part of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartSize {
    /// Bytes in linear memory.
    pub size: u64,
    /// Bytes that the file stores of them.
    pub stored: u64,
}

/// What is inside a module.
#[derive(Debug, Serialize)]
pub struct Inspection<'a> {
    /// The file.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is a component.
    pub component: bool,
    /// Bytes of native code, in a precompiled image.
    pub native_code: Option<usize>,
    /// The container image's name.
    pub name: &'a str,
    /// The guest's architecture, as OCI names it.
    pub arch: &'static str,
    /// The container's host name.
    pub hostname: &'a str,
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// The container's defaults.
    pub config: &'a ContainerConfig,
    /// Initial linear memory in bytes.
    pub memory: u64,
    /// Guest RAM in bytes.
    pub ram: u64,
    /// Root file system image in bytes.
    pub root: u64,
    /// Whether the module resumes a snapshot.
    pub snapshot: bool,
    /// Pages of guest RAM that a snapshot has.
    pub snapshot_pages: u64,
    /// Number of data segments.
    pub segments: usize,
    /// The parts by name.
    pub parts: BTreeMap<&'static str, PartSize>,
    /// What the conversion noted.
    pub manifest: Option<&'a Manifest>,
}

/// Names and sizes of the parts of `image`, in the order in which they are shown.
pub fn parts(image: &PackedImage) -> Vec<(&'static str, PartSize)> {
    let h = &image.header;
    let parts = [
        ("state", h.state),
        ("config", h.config),
        ("kernel", h.kernel),
        ("initrd", h.initrd),
        ("ram", h.ram),
        ("root", h.root),
        ("tlb", h.tlb),
        ("lifted", h.lifted),
    ];
    let mut out: Vec<_> = parts
        .iter()
        .map(|(name, span)| (*name, PartSize { size: span.len, stored: image.stored(*span) }))
        .collect();
    let stored: u64 = out.iter().map(|(_, part)| part.stored).sum();
    // What is no part is the emulator, lifted code included.
    let runtime = (image.wasm().len() as u64).saturating_sub(stored);
    out.insert(0, ("runtime", PartSize { size: runtime, stored: runtime }));
    out
}

/// What is inside `image`.
///
/// # Errors
/// When its native code is damaged.
pub fn inspect(image: &PackedImage) -> Result<Inspection<'_>, OpenError> {
    let config = &image.config;
    let snapshot = image.header.state.len > 0;
    Ok(Inspection {
        file: image.path().display().to_string(),
        size: image.file_len(),
        component: image.is_component(),
        native_code: image.code()?.map(<[u8]>::len),
        name: &config.name,
        arch: config.arch.oci_name(),
        hostname: &config.hostname,
        cmdline: &config.cmdline,
        config: &config.container,
        memory: image.module.memory_size(),
        ram: image.header.ram.len,
        root: image.header.root.len,
        snapshot,
        snapshot_pages: if snapshot { image.ram_pages() } else { 0 },
        segments: image.module.segments.len(),
        parts: parts(image).into_iter().collect(),
        manifest: image.manifest.as_ref(),
    })
}
