//! Loads container images as streams into a tree of files whose data stays outside RAM.
//!
//! [`load`] takes an image's name as skopeo does (see [`reference`](mod@reference)) and returns a
//! [`LoadedImage`]. Nothing is unpacked to the host's file system, and root is not needed: metadata is kept
//! in a [`Tree`], file data in one unlinked spool file. All input is untrusted: digests and sizes are
//! verified, names are resolved inside the image only, and every quantity is bounded by [`Limits`]. It takes
//! a few hundred bytes of memory per file, and a fixed number of buffers.
//!
//! * [`reference`](mod@reference): names of images;
//! * `registry`, `store`: where blobs come from;
//! * `oci`: manifests and configurations; which image of several;
//! * `rootfs`: plain root file systems;
//! * `stream`, `tar`: decompression, digests and archives;
//! * `layer`: layers laid over each other in a `tree`, whose file data is in a `spool`;
//! * `elf`, `loaded`: the architecture, and the result.

mod elf;
mod error;
pub(crate) mod layer;
mod loaded;
mod oci;
mod options;
mod progress;
pub mod reference;
mod registry;
mod rootfs;
mod spool;
mod store;
pub(crate) mod stream;
pub(crate) mod tar;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tree;

pub use error::ImageError;
pub use loaded::LoadedImage;
pub use options::{Limits, LoadOptions};
pub use progress::Progress;
pub use tree::{Dirent, Extent, Inode, InodeId, Kind, Meta, Mtime, Tree, Xattr};

use reference::Source;

/// Loads the image of that name.
///
/// # Errors
/// See [`ImageError`]. No file is left on the host.
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
