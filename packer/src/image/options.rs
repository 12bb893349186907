//! How an image is loaded, and the bounds on what it may hold.

use std::path::PathBuf;

/// Bounds on what an image may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of file data, each file rounded up to pages.
    pub total_bytes: u64,
    /// Most entries in all layers together.
    pub entries: usize,
    /// Most bytes of names and extended attributes in all layers together.
    pub metadata_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // 3.5 GiB: guest RAM and tables must fit into the rest of wasm32's 4 GiB.
        Limits { total_bytes: 3584 << 20, entries: 1_000_000, metadata_bytes: 256 << 20 }
    }
}

impl Limits {
    /// Most bytes in the spool: layers may replace each other's files.
    pub(crate) fn spool_bytes(&self) -> u64 {
        self.total_bytes.saturating_mul(4)
    }

    /// Most bytes of one unpacked archive: file data, headers and padding.
    pub(crate) fn archive_bytes(&self) -> u64 {
        self.total_bytes.saturating_mul(2).saturating_add(64 << 20)
    }
}

/// How to load an image.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Architecture wanted, by its OCI name. `None`: the one that the image is for; of several, the first of
    /// [`Platform::ALL`](crate::platform::Platform::ALL).
    pub arch: Option<String>,
    /// Directory of the spool file; `None`: the system's temporary directory.
    pub spool_dir: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
    /// Directory that holds docker's `config.json`; `None`: `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
}
