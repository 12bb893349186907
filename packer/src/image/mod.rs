//! Loads container images as streams into a tree whose file data stays outside RAM.
//!
//! [`load`] takes skopeo's names (see [`reference`]) and gives a [`LoadedImage`]. Nothing is unpacked to the
//! host's file system and root is not needed: metadata is kept in a [`Tree`], file data goes to one unlinked
//! spool file. All input is untrusted: digests and sizes are verified, names resolved inside the image only,
//! and every quantity bounded by [`Limits`]. Memory is a few hundred bytes per file, and a fixed number of
//! buffers.

mod elf;
mod error;
mod layer;
mod oci;
pub mod reference;
mod registry;
mod rootfs;
mod spool;
mod store;
mod stream;
mod tar;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tree;

pub use error::ImageError;
pub use tree::{Dirent, Extent, Inode, InodeId, Kind, Meta, Mtime, Tree, Xattr};

use forelift_abi::config::ContainerConfig;
use reference::Source;
use std::path::PathBuf;

/// Hears how far a long operation is.
pub trait Progress {
    /// A new stage begins; `total` is its length in bytes, if known.
    fn stage(&mut self, name: &str, total: Option<u64>);
    /// So many more bytes are done.
    fn advance(&mut self, bytes: u64);
}

/// Silence.
impl Progress for () {
    fn stage(&mut self, _: &str, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
}

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
        // 3.5 GiB: the rest of wasm32's 4 GiB must hold guest RAM and tables.
        Limits { total_bytes: 3584 << 20, entries: 1_000_000, metadata_bytes: 256 << 20 }
    }
}

impl Limits {
    /// Most bytes in the spool: layers may replace each other's files.
    fn spool_bytes(&self) -> u64 {
        self.total_bytes.saturating_mul(4)
    }

    /// Most bytes of one unpacked archive: file data, headers and padding.
    fn archive_bytes(&self) -> u64 {
        self.total_bytes.saturating_mul(2).saturating_add(64 << 20)
    }
}

/// How to load an image.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Architecture wanted, by its OCI name. `None`: what the image is for; of several, the first of
    /// [`Platform::ALL`](crate::platform::Platform::ALL).
    pub arch: Option<String>,
    /// Directory of the spool file; `None`: the system's temporary directory.
    pub spool_dir: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
    /// Directory that holds docker's `config.json`; `None`: `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
}

/// An image, ready to be made into a root file system.
#[derive(Debug)]
pub struct LoadedImage {
    /// Its name with the transport that was recognised.
    pub source: String,
    /// Digest of its configuration; of a plain root file system, digest of the archive or the tree.
    pub digest: String,
    /// OCI name of its architecture; `None` for a plain root file system without any program.
    pub arch: Option<String>,
    /// The container's defaults.
    pub config: ContainerConfig,
    /// Its files.
    pub tree: Tree,
    /// What the user should know, a line each.
    pub warnings: Vec<String>,
    /// Number of layers.
    pub layers: usize,
    /// Bytes of all layers as they are stored.
    pub archive_bytes: u64,
}

/// Loads the image of that name.
///
/// # Errors
/// See [`ImageError`]; nothing is left behind.
pub fn load(
    reference: &str,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    let source = reference::parse(reference)?;
    let name = source.to_string();
    match source {
        Source::Tar(path) => rootfs::load_tar(name, &path, options, progress),
        Source::Dir(path) => rootfs::load_dir(name, &path, options, progress),
        Source::Transport(path) => {
            oci::load_transport(name, &mut store::Transport::new(path), options, progress)
        }
        Source::OciDir { dir, tag } => {
            oci::load_layout(name, &mut store::Directory::new(dir), tag.as_deref(), options, progress)
        }
        Source::OciArchive { file, tag } => {
            let mut store = store::ArchiveFile::open(&file, &name, options)?;
            oci::load_layout(name, &mut store, tag.as_deref(), options, progress)
        }
        Source::DockerArchive { file, reference } => {
            let mut store = store::ArchiveFile::open(&file, &name, options)?;
            oci::load_docker_archive(name, &mut store, reference.as_deref(), options, progress)
        }
        Source::Registry(reference) => registry::load(name, &reference, options, progress),
    }
}

/// Entry for fuzzing: lays `data`, an archive in any compression, over an empty tree.
pub fn fuzz_layer(data: &[u8]) {
    let limits = Limits { total_bytes: 16 << 20, entries: 10_000, metadata_bytes: 4 << 20 };
    let Ok(tree) = Tree::new(None) else { return };
    let mut builder = layer::Builder::new(tree, limits);
    let Ok((_, reader)) = stream::decompress(data) else { return };
    let unpacked = stream::Unpacked::new(reader, None, limits.archive_bytes());
    let mut archive = tar::Archive::new(unpacked);
    if builder.apply(&mut archive, "fuzz", true).is_ok() {
        // What was taken must be a sound tree: the writer relies on it.
        let _ = builder.tree.digest();
        let _ = crate::erofs::Plan::new(&builder.tree, &crate::erofs::Options::default())
            .map(|plan| plan.write_to(&mut std::io::sink(), &mut ()));
    }
}
