//! Why a conversion failed. Each message names the input, the place in it, and the way out.

use std::{
    io,
    path::{Path, PathBuf},
};

use forelift_translator::opt::OptError;
use thiserror::Error;

use crate::{
    assets::AssetError, boot::BootError, erofs::ErofsError, image::ImageError, lift::train::TrainError,
    pack::PackError, platform::Platform, units::format_size, web::WebError,
};

/// See the module's documentation.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// A file of the installation cannot be used.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// Less guest RAM than the kernel can boot in.
    #[error("--memory {}: too little, this kernel needs at least {}M", format_size(*asked), least >> 20)]
    MemoryTooSmall {
        /// Bytes asked for.
        asked: u64,
        /// The least that will do, in bytes.
        least: u64,
    },
    /// More guest RAM than a WebAssembly memory holds.
    #[error("--memory {}: a WebAssembly memory holds 4 GiB in all", format_size(*asked))]
    MemoryTooLarge {
        /// Bytes asked for.
        asked: u64,
    },
    /// More guest RAM than the machine's address space has room for.
    #[error("--memory {}: the x86_64 machine has room for {}", format_size(*asked), format_size(*room))]
    MemoryNoRoom {
        /// Bytes asked for.
        asked: u64,
        /// The most that fits, in bytes.
        room: u64,
    },
    /// A file or directory cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The container image cannot be loaded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image is for another platform than the one asked for.
    #[error("{image}: the image is for {found}, not for {asked}: choose another image")]
    OtherPlatform {
        /// The image.
        image: String,
        /// OCI name of its architecture.
        found: String,
        /// What was asked for.
        asked: Platform,
    },
    /// No machine here runs the image.
    #[error("{image}: the image is for {found}, which cannot be run: choose an image for {}", platforms())]
    NoMachine {
        /// The image.
        image: String,
        /// OCI name of its architecture.
        found: String,
    },
    /// A part of the module cannot be encoded.
    #[error("encoding {what}: {source}")]
    Encode {
        /// The part.
        what: &'static str,
        /// Why.
        source: postcard::Error,
    },
    /// The root file system has no place in the format.
    #[error(transparent)]
    Erofs(#[from] ErofsError),
    /// The root file system cannot be written.
    #[error("{place}: {source}")]
    WriteRoot {
        /// The file.
        place: String,
        /// Why.
        source: ErofsError,
    },
    /// The root file system cannot be mapped.
    #[error("mapping the root file system: {0}")]
    MapRoot(#[source] io::Error),
    /// The guest did not get ready.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// There was no training run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The emulator's contract with lifted code is another one than this program's.
    #[error("the emulator is of another version than this program: build both with scripts/build")]
    EmulatorVersion,
    /// Nothing can be lifted on this host.
    #[error(transparent)]
    Lift(#[from] OptError),
    /// The parts do not make a module.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// There is no directory for the web.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The module cannot be written.
    #[error("{path}: {source}")]
    WriteModule {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PackError,
    },
}

impl ConvertError {
    /// For an input/output error at `path`.
    pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| ConvertError::File { path: path.clone(), source }
    }
}

/// The architectures that can be converted, as a list.
fn platforms() -> String {
    Platform::ALL.map(Platform::oci_arch).join(", ")
}
