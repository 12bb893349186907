//! The result of loading: the tree of files together with what the image's configuration says. Both must
//! agree on the architecture.

use super::{ImageError, LoadOptions, Tree, elf, layer::Builder, oci::spec::ImageFile};
use crate::platform::Platform;
use forelift_abi::config::ContainerConfig;

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
    /// Warnings for the user, a line each.
    pub warnings: Vec<String>,
    /// Number of layers.
    pub layers: usize,
    /// Bytes of all layers as they are stored.
    pub archive_bytes: u64,
}

/// All of a [`LoadedImage`] but its tree, before the architecture is settled.
pub(crate) struct LoadedParts {
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) image: ImageFile,
    /// Architecture that the image claims.
    pub(crate) claimed: Option<String>,
    pub(crate) layers: usize,
    pub(crate) archive_bytes: u64,
}

/// Whether a container for `told` can start with a program for `arch`.
fn runs(told: &str, arch: &str) -> bool {
    told == arch || Platform::of(told).is_some_and(|platform| platform.runs(arch))
}

/// Makes the result of loading: settles the architecture and collects warnings.
pub(crate) fn finish(
    builder: Builder,
    parts: LoadedParts,
    options: &LoadOptions,
) -> Result<LoadedImage, ImageError> {
    let LoadedParts { name, digest, image, claimed, layers, archive_bytes } = parts;
    let Builder { tree, dropped, .. } = builder;
    let config = image.container();
    let probe = elf::probe(&tree, &config);
    let mut warnings = Vec::new();
    if let Some((count, first)) = dropped {
        warnings.push(format!(
            "{name}: {count} extended attributes were left out (only user., trusted., security. and POSIX ACLs are \
             kept, of at most 65535 bytes); the first: {first}"
        ));
    }
    let told = claimed.or(options.arch.clone());
    let arch = match (told, probe) {
        (None, probe) => probe.map(|p| p.arch.to_owned()),
        (Some(told), Some(probe)) if !runs(&told, probe.arch) => {
            let problem = format!(
                "it should be for {told}, but `{}` in it is a program for {}",
                probe.path, probe.arch
            );
            if probe.sure {
                let problem = format!("{problem}: get the right image, or have it rebuilt for {told}");
                return Err(ImageError::WrongArch { place: name, problem });
            }
            warnings.push(format!("{name}: {problem}"));
            Some(told)
        }
        (told, _) => told,
    };
    Ok(LoadedImage { source: name, digest, arch, config, tree, warnings, layers, archive_bytes })
}
